"""How long to wait before a request is repeated."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

LONGEST_S = 30.0
"""No pause is longer, whatever a server asks for."""


def retry_after(text: str | None) -> float:
    """What a server asks for by ``Retry-After`` (RFC 9110 10.2.3: seconds or a date), in seconds, 0 to `LONGEST_S`.

    0 also for what is neither: the pauses of our own then count.
    """
    asked = (text or "").strip()
    if asked.isascii() and asked.isdigit():
        return min(LONGEST_S, float(asked.lstrip("0")[:9] or 0))
    try:
        return min(LONGEST_S, max(0.0, parsedate_to_datetime(asked).timestamp() - time.time()))
    except (TypeError, ValueError, OverflowError):
        return 0.0


def pause_before(tries: int, first_s: float, asked: str | None, longest_s: float = LONGEST_S) -> float:
    """The pause after so many failed tries (>= 1): it doubles, and is not shorter than the server asks for."""
    return float(min(longest_s, max(first_s * 2 ** (tries - 1), retry_after(asked))))
