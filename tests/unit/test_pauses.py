"""What a server may ask for by Retry-After, and what comes of it."""

from __future__ import annotations

import math
import random
import time
from email.utils import formatdate

import pytest

from pypx.services.pauses import LONGEST_S, pause_before, retry_after

NOTHING = [
    None, "", " ", "-1", "+5", "1.5", "1e3", "nan", "NaN", "inf", "-inf", "Infinity", "0x10", "²", "٣", "soon", "\0", "0",
    "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
    "Fri, 31 Feb 2099 00:00:00 GMT", "Fri, 01 Jan 99999 00:00:00 GMT", "Fri, 01 Jan 2100 25:61:61 GMT",
    "Fri, 01 Jan 2100 00:00:00 +9999", "Fri, 01 Jan 0000 00:00:00 GMT", "Fri, , ,", ",,,,", "a " * 20_000,
    "-" + "9" * 400,
]  # fmt: skip


@pytest.mark.parametrize("text", NOTHING, ids=lambda text: repr(text)[:30])
def test_what_is_no_time_to_wait(text: str | None) -> None:
    assert retry_after(text) == 0
    assert pause_before(1, 0.5, text) == 0.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1), (" 12 ", 12), ("0012", 12), ("0" * 400 + "3", 3), ("30", 30), ("31", LONGEST_S), ("9" * 9, LONGEST_S),
        ("9" * 5000, LONGEST_S), ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_S),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_what_is_one(text: str, seconds: float) -> None:
    assert retry_after(text) == seconds


def test_a_date() -> None:
    assert 15 < retry_after(formatdate(time.time() + 20, usegmt=True)) <= 20


WORDS = [
    "Wed,", "Fri", "01", "Jan", "9999", "9" * 30, "-1", "00:00:00", "25:61:61", "GMT", "+9999", "-0000", "+24000000000", "",
    "é", "1e309", "nan", "::", ":", ",", "\0", "+", "-", ".", "PST", "(", '"', "31", "0001", "-99999",
]  # fmt: skip


def test_any_words() -> None:
    chosen = random.Random("retry after")
    for _ in range(5000):
        seconds = retry_after(" ".join(chosen.choices(WORDS, k=chosen.randrange(9))))
        assert math.isfinite(seconds)
        assert 0 <= seconds <= LONGEST_S


def test_no_pause_is_longer_than_the_longest() -> None:
    assert pause_before(50, 0.5, None) == LONGEST_S
    assert pause_before(1, 0.5, "9" * 400, longest_s=2) == 2
