"""JSON from outside, read strictly: what one reader would take for this and another for that is refused.

Standard JSON (RFC 8259), without the ``NaN`` and ``Infinity`` that Python adds, no key twice in an object, no number
that nothing here can mean, no half surrogate pairs, which no file and no terminal takes; nested as deep as documents
are, so that whatever works on them later works.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn

MAX_DEPTH = 64
"""How deep objects and lists may be nested; the documents of px and of pypx 3 need 12."""

MAX_DIGITS = 1000


_SHOWN_KEYS = frozenset({"args", "data", "series", "status", "value"})


class JsonTextError(ValueError):
    """The text is no JSON, or none that can be taken.

    The message is the reason alone, and quotes nothing of the text, which may tell of a patient; `detail` does.
    """

    def __init__(self, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.detail = detail or text  # the same where there is nothing to hide


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises
    ------
    JsonTextError : not JSON, a key twice in one object, nested deeper than 64, a number beyond all measure, ``NaN``, or
        half a surrogate pair
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_whole, parse_float=_fraction
        )
    except json.JSONDecodeError as error:
        raise JsonTextError(f"{error.msg}, line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise JsonTextError(f"nested deeper than {MAX_DEPTH}") from None
    _check_depth(value)
    if "\\ud" in text or "\\uD" in text or not text.isascii():
        _check_surrogates(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        whole = f"the key {twice[:40]!r} stands twice in one object"
        raise JsonTextError(whole if _may_be_shown(twice) else "a key stands twice in one object", whole)
    return found


def _may_be_shown(key: str) -> bool:
    """Whether a key is one that documents have, or a usual keyword, and so no value of a patient."""
    from pypx.model.keywords import RECORDED_KEYS  # noqa: PLC0415 - for this error alone

    return key in _SHOWN_KEYS or key in RECORDED_KEYS


def _constant(name: str) -> NoReturn:
    raise JsonTextError(f"{name} is no number of JSON")


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise JsonTextError(f"a number has {len(digits)} digits, more than {MAX_DIGITS}")
    return int(digits)


def _fraction(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise JsonTextError("a number is too large", f"the number {digits[:40]} is too large")
    return number


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise JsonTextError(f"nested deeper than {MAX_DEPTH}")


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise JsonTextError(f"\\u{ord(half):04x} is half of a surrogate pair, which is no text") from None
