"""Text that can be shown: no value may move a terminal's cursor, or break a line in two."""

from __future__ import annotations

import re

_CONTROL = "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_IN_LINES = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"


def plain(text: str) -> str:
    r"""`text` in one line: line ends and tabs become blanks, other control characters are written as ``\x1b``."""
    return text if text.isprintable() else re.sub(_CONTROL, _visible, text)  # compiled where one is met: a ms


def plain_lines(text: str) -> str:
    """As :func:`plain`, but line feeds and tabs stay."""
    return text if text.isprintable() else re.sub(_IN_LINES, _visible, text)


def shortened(text: str, limit: int = 1000) -> str:
    """`text` if it has at most `limit` characters, else its beginning and its end: values have any length."""
    if len(text) <= limit:
        return text
    tail = limit // 4
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"


def brief(name: str) -> str:
    """The name of an object without its folders, which are made of what is known of the patient."""
    return f"…/{name.rpartition('/')[2]}" if "/" in name else name


def _visible(found: re.Match[str]) -> str:
    character = found.group()
    return " " if character in "\t\r\n" else character.encode("unicode_escape").decode("ascii")
