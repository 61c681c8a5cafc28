r"""Character sets of DICOM, with and without code extensions (PS3.3 C.12.1.1.2, PS3.5 6.1.2).

With code extensions (ISO 2022) escape sequences switch between sets in the middle of a value; at the end of a value, of
a component of a name and of a line the first set holds again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from pypx.errors import InputError

Decoder = Callable[[bytes], str]
Encoder = Callable[[str], bytes]

_CODECS = {
    6: "ascii", 100: "latin_1", 101: "iso8859_2", 109: "iso8859_3", 110: "iso8859_4", 144: "iso8859_5",
    127: "iso8859_6", 126: "iso8859_7", 138: "iso8859_8", 148: "iso8859_9", 203: "iso8859_15", 13: "shift_jis",
    166: "tis_620", 192: "utf_8", 149: "euc_kr", 58: "gb2312", 87: "iso2022_jp", 159: "iso2022_jp_2",
}  # fmt: skip
"""Python's codec by ISO registration number."""

_ESCAPES = {
    100: b"\x1b-A", 101: b"\x1b-B", 109: b"\x1b-C", 110: b"\x1b-D", 144: b"\x1b-L", 127: b"\x1b-G", 126: b"\x1b-F",
    138: b"\x1b-H", 148: b"\x1b-M", 203: b"\x1b-b", 166: b"\x1b-T", 13: b"\x1b)I", 149: b"\x1b$)C", 58: b"\x1b$)A",
    87: b"\x1b$B", 159: b"\x1b$(D",
}  # fmt: skip
"""The escape sequence that designates each set (PS3.3 tables C.12-3 and C.12-4)."""

_DOUBLE = {87, 159}
"""Two-byte sets in the place of ASCII; the others leave ASCII where it is."""
_ASCII = b"\x1b(B"
_DESIGNATES = {escape: number for number, escape in _ESCAPES.items()} | {_ASCII: 6, b"\x1b(J": 6}
_DELIMITERS = "\\^=\r\n\t\f"
_RUNS = re.compile(rb"[\\^=\r\n\t\f]|[^\\^=\r\n\t\f]+")
_PARTS = re.compile(rb"(\x1b\$?[()\-]?[\x30-\x7e])")
_NAME = re.compile(r"(?:ISO|iso)[ _-]?(2022)?[ _-]?(?:IR)?[ _-]?(\d{1,3})")
_OTHERS = {"GB18030": "gb18030", "GBK": "gbk", "ISO 2022 GBK": "gbk", "UTF-8": "utf_8", "UTF8": "utf_8"}

_EXTENDED_ONLY = _DOUBLE | {149, 58}
DEFINED_TERMS = frozenset(
    {f"ISO_IR {number}" for number in _CODECS if number not in _EXTENDED_ONLY}
    | {f"ISO 2022 IR {number}" for number in _CODECS if number != 192}
    | {"GB18030", "GBK", "ISO 2022 GBK"}
)
"""The values that SpecificCharacterSet may have (PS3.3 tables C.12-2 to C.12-5)."""


class _Set(NamedTuple):
    """A character set; `number` is its ISO registration number, 0 where it has none."""

    codec: str
    number: int = 0


def guessed(raw: bytes) -> str:
    """Text of which nobody says how it is encoded: UTF-8 if it is valid UTF-8, else Latin-1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin_1")


@lru_cache(maxsize=64)
def decoder(charset: str) -> Decoder:
    r"""How text of a data set is decoded; never fails: what cannot be decoded is replaced.

    Parameters
    ----------
    charset : SpecificCharacterSet, several values joined by a backslash; common misspellings are understood, an empty
        or unknown one makes :func:`guessed` of the text
    """
    names = [name.strip() for name in charset.split("\\")]
    sets = [_set(name) for name in names]
    first = sets[0] if names[0] else None

    def single(raw: bytes) -> str:
        return guessed(raw) if first is None or first.number == 6 else raw.decode(first.codec, "replace")

    if len(names) == 1 and "2022" not in names[0]:
        return single
    return lambda raw: _extended(raw, single) if b"\x1b" in raw else single(raw)


def encoder(charset: str) -> Encoder:
    r"""How text is encoded for a query; UnicodeError where the character set cannot hold it.

    Parameters
    ----------
    charset : SpecificCharacterSet, several values joined by a backslash; empty means ASCII
    """
    sets = [_set(name.strip()) or _Set("ascii", 6) for name in charset.split("\\")]
    if len(sets) == 1 and sets[0].number not in _DOUBLE | {149, 58}:
        return lambda text: text.encode(sets[0].codec)
    return lambda text: _encoded(text, sets)


def check_charset(charset: str) -> None:
    r"""Refuse what is no SpecificCharacterSet: a PACS would not decode the query, and so find nothing.

    Parameters
    ----------
    charset : as in a data set, several values joined by a backslash, of which the first may be empty

    Raises
    ------
    InputError : one of them is no defined term; the text names the nearest right one
    """
    for position, name in enumerate(charset.split("\\")):
        if name in DEFINED_TERMS or (not name and not position):
            continue
        near = _nearest_term(name)
        hint = f"did you mean {near!r}?" if near else "there are ISO_IR 192, ISO_IR 100, GB18030 and others"
        raise InputError(f"character set: {name[:40]!r} is no defined term of DICOM (PS3.3 C.12.1.1.2); {hint}")


def _nearest_term(name: str) -> str:
    """The defined term that `name` misspells, or ``""``."""
    known = _set(name.strip().upper())
    if known and known.codec == "utf_8":
        return "ISO_IR 192"
    if known and known.number:
        extended = "2022" in name or known.number in _EXTENDED_ONLY
        return f"ISO 2022 IR {known.number}" if extended else f"ISO_IR {known.number}"
    import difflib  # noqa: PLC0415 - for a misspelling only

    return next(iter(difflib.get_close_matches(name.upper(), sorted(DEFINED_TERMS), 1, 0.6)), "")


def _set(name: str) -> _Set | None:
    """The set of one name; ``None`` for an empty or unknown one."""
    if name in _OTHERS:
        return _Set(_OTHERS[name])
    found = _NAME.fullmatch(name)
    number = int(found[2]) if found else 0
    return _Set(_CODECS[number], number) if number in _CODECS else None


def _extended(raw: bytes, single: Decoder) -> str:
    """Decode a value with escape sequences."""
    text = []
    double: _Set | None = None
    high: _Set | None = None
    for part in _PARTS.split(raw):
        number = _DESIGNATES.get(part)
        if number is None:
            if double is not None:
                text.append(_double(part, double))
                continue
            for run in _RUNS.findall(part):
                text.append(run.decode(high.codec, "replace") if high else single(run))
                if run[:1] in b"\\^=\r\n\t\f":
                    high = None
        elif number in _DOUBLE:
            double = _Set(_CODECS[number], number)
        elif part[1:2] == b"(":
            double = None
        else:
            high, double = _Set(_CODECS[number], number), None
    return "".join(text)


def _double(part: bytes, double: _Set) -> str:
    """Decode a run of two-byte characters."""
    return (_ESCAPES[double.number] + part).decode(double.codec, "replace")


def _encoded(text: str, sets: list[_Set]) -> bytes:
    """Encode with escape sequences."""
    out = bytearray()
    current = sets[0]
    for character in text:
        if character.isascii():
            if current.number in _DOUBLE:
                out += _ASCII
                current = sets[0]
            out += character.encode("ascii")
            if character in _DELIMITERS:
                current = sets[0]
            continue
        using, raw = next(_holding(character, current, sets), (None, b""))
        if using is None:
            raise UnicodeEncodeError("ascii", character, 0, 1, "not in the character set of the query")
        if using != current:
            out += _ESCAPES[using.number]
            current = using
        out += raw
    if current.number in _DOUBLE:
        out += _ASCII
    return bytes(out)


def _holding(character: str, current: _Set, sets: list[_Set]) -> Iterator[tuple[_Set, bytes]]:
    """The sets that have a character, the current one first, and its bytes in them."""
    for one in (current, *sets):
        try:
            raw = character.encode(one.codec)
        except UnicodeEncodeError:
            continue
        if one.number not in _DOUBLE:
            yield one, raw
        elif raw.startswith(_ESCAPES[one.number]):
            yield one, raw[len(_ESCAPES[one.number]) : -len(_ASCII)]
