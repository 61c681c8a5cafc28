"""The functions of the path-template language: md5, seahash, strmsk, nospc, pad, name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from pypx.model.seahash import seahash

Function = Callable[[str, str], str]
"""From the value of the keyword, and the value of the seed (``""``: none) which only ``name`` uses, to the result."""

_NOT_WORD = re.compile(r"\W+", re.ASCII)
_SEED = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_MAX_WIDTH = 255


class BadArgumentsError(ValueError):
    """A function that does not exist, or arguments it cannot take; the parser adds where."""


def make_function(name: str, arguments: str | None) -> tuple[Function, str]:
    """Build a function of the language.

    Parameters
    ----------
    name : one of md5, seahash, strmsk, nospc, pad, name
    arguments : the text between ``|`` and ``_``; ``None`` if there was no ``|``

    Returns
    -------
    The function, and the keyword of its seed (``""``: none)

    Raises
    ------
    BadArgumentsError : no such function, or unfit arguments
    """
    if name == "name":
        return _name, _seed(arguments)
    maker = _MAKERS.get(name)
    if maker is None:
        raise BadArgumentsError(f"there is no function {name!r}; known are {', '.join(sorted([*_MAKERS, 'name']))}")
    return maker(arguments), ""


def _md5(arguments: str | None) -> Function:
    """Hexadecimal MD5 of the UTF-8 value, or its first n digits: a short name, no protection."""
    import hashlib  # noqa: PLC0415 - OpenSSL, not for a help page

    length = _length("md5", arguments)
    return lambda value, _: hashlib.md5(_bytes(value), usedforsecurity=False).hexdigest()[:length]


def _seahash(arguments: str | None) -> Function:
    """Hexadecimal SeaHash of the UTF-8 value, or its first n digits, **without leading zeros**, as pypx 3.12 has it.

    Tools that pad to 16 digits first give another text for one value in sixteen.
    """
    length = _length("seahash", arguments)
    return lambda value, _: f"{seahash(_bytes(value)):x}"[:length]


def _strmsk(arguments: str | None) -> Function:
    """Character by character: ``*`` keeps the value's, any other replaces it; as long as the shorter of the two."""
    if not arguments:
        raise BadArgumentsError("strmsk needs a mask: %_strmsk|****XX_PatientID")
    mask = arguments
    return lambda value, _: "".join(old if new == "*" else new for old, new in zip(value, mask, strict=False))


def _nospc(arguments: str | None) -> Function:
    """Join the words of the value by the argument (default: by nothing); a word is letters, marks, digits and ``_``."""
    joint = arguments or ""

    def join_words(value: str, _: str) -> str:
        if value.isascii():
            return joint.join(_NOT_WORD.sub(" ", value).split())
        text = unicodedata.normalize("NFC", value)
        return joint.join("".join(c if c == "_" or is_kept(c) else " " for c in text).split())

    return join_words


def _pad(arguments: str | None) -> Function:
    """Justify right to a width (0 to 255) with a character, default ``0``; without an argument nothing changes."""
    if not arguments:
        return lambda value, _: value
    width, comma, character = arguments.partition(",")
    if re.fullmatch(r"[0-9]{1,3}", width) is None or int(width) > _MAX_WIDTH:
        raise BadArgumentsError(f"pad: the width {width[:20]!r} is no number from 0 to {_MAX_WIDTH}")
    if comma and len(character) != 1:
        raise BadArgumentsError(f"pad: it pads with one character, not with {character[:20]!r}")
    columns, fill = int(width), character or "0"
    return lambda value, _: value.rjust(columns, fill)


_MAKERS: dict[str, Callable[[str | None], Function]] = {
    "md5": _md5,
    "nospc": _nospc,
    "pad": _pad,
    "seahash": _seahash,
    "strmsk": _strmsk,
}


def _name(value: str, seed: str) -> str:
    """Make up a person name, ``FAMILY^GIVEN^ANON``; always the same for the same value.

    The seed, ``%_name|patientID_PatientName``, is the keyword of another tag (its first letter may be lower case):
    who shares its value shares the name, however the value itself is spelled.  A seed that is absent or empty is
    replaced by the value; an empty value without seed stays empty.  The name is spelled from 64 bits of SHA-256, so
    that different values get different names; it hides a name from readers, but whoever can guess a value can check
    the guess.
    """
    source = seed or value
    if not source:
        return ""
    import hashlib  # noqa: PLC0415 - see _md5

    digest = hashlib.sha256(b"pypx name\0" + _bytes(source)).digest()
    words = [_spelled(int.from_bytes(digest[at : at + 2], "big")) for at in (0, 2, 4, 6)]
    return f"{words[0]}{words[1]}^{words[2]}{words[3]}^ANON"


def _spelled(number: int) -> str:
    """Spell 16 bits as a pronounceable word, consonant-vowel-consonant-vowel-consonant (proquints, arXiv:0901.4016)."""
    consonants, vowels = "BDFGHJKLMNPRSTVZ", "AIOU"
    return (
        consonants[number >> 12]
        + vowels[number >> 10 & 3]
        + consonants[number >> 6 & 15]
        + vowels[number >> 4 & 3]
        + consonants[number & 15]
    )


def _seed(arguments: str | None) -> str:
    if not arguments:
        return ""
    if _SEED.fullmatch(arguments) is None:
        raise BadArgumentsError(f"name: the seed {arguments[:40]!r} is no DICOM keyword")
    return arguments[0].upper() + arguments[1:]


def _length(name: str, arguments: str | None) -> int | None:
    if arguments is None:
        return None
    if re.fullmatch(r"[1-9][0-9]{0,2}", arguments) is None:
        raise BadArgumentsError(f"{name}: {arguments[:20]!r} is no number of digits (1 to 999)")
    return int(arguments)


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=4096)
def is_kept(character: str) -> bool:
    """Whether a character stays in a path: a letter, mark or digit of any script, or one for private use (gaiji)."""
    return character.isalnum() or unicodedata.category(character) in {"Mn", "Mc", "Me", "Co"}
