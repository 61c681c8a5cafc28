r"""Values of DICOM elements as text and back (PS3.5 section 6).

Several values are joined by a backslash, as DICOM does; in the value representations that hold one text only (LT, ST,
UT, UR) a backslash is just a character.  What cannot be decoded is decoded with replacement characters, never dropped.
"""

from __future__ import annotations

import struct

from pypx.errors import InputError
from pypx.services.charsets import Decoder, Encoder, guessed
from pypx.services.dicomsource import RawElement

_ENCODED = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_PLAIN = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"))
_SINGLE = frozenset(("LT", "ST", "UT", "UR"))
_STRIPPED = frozenset(("AE", "DS", "IS"))
_NUMBERS = {
    "US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d",
}  # fmt: skip


def value_text(element: RawElement, vr: str, decode: Decoder) -> str:
    """The text of an element.

    Parameters
    ----------
    element : as the file has it
    vr : its value representation in the dictionary, for elements that name none of their own (implicit VR, UN)
    decode : for text in the character set of the data set
    """
    if element.VR not in ("", "UN"):
        vr = element.VR
    if vr in _ENCODED:
        return _trimmed(decode(element.value), vr)
    if vr in _PLAIN:
        return _trimmed(guessed(element.value), vr)
    if vr == "AT":
        order = ">HH" if element.big_endian else "<HH"
        usable = element.value[: len(element.value) // 4 * 4]
        return "\\".join(f"{group:04x},{number:04x}" for group, number in struct.iter_unpack(order, usable))
    if vr in _NUMBERS:
        item = struct.Struct((">" if element.big_endian else "<") + _NUMBERS[vr])
        usable = element.value[: len(element.value) // item.size * item.size]
        return "\\".join(str(number) for (number,) in item.iter_unpack(usable))
    return ""


def value_bytes(keyword: str, vr: str, value: str, encode: Encoder) -> bytes:
    """The bytes of a value in an explicit VR little endian data set, of even length.

    Parameters
    ----------
    keyword : named in errors
    vr : its value representation
    value : several values joined by a backslash; empty asks for the attribute
    encode : encodes text into the character set of the data set; UnicodeError where it cannot

    Raises
    ------
    InputError : the value cannot be written in that value representation or character set
    """
    if not value:
        return b""
    if vr in _NUMBERS:
        return _packed(keyword, vr, value)
    if vr not in _ENCODED and vr not in _PLAIN:
        raise InputError(f"{keyword}: attributes of value representation {vr} cannot be matched on")
    try:
        raw = encode(value) if vr in _ENCODED else value.encode("ascii")
    except UnicodeError:
        where = "the character set of the query" if vr in _ENCODED else f"an attribute of value representation {vr}"
        raise InputError(f"{keyword}: the value has characters that {where} cannot hold") from None
    return raw + (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)


def _packed(keyword: str, vr: str, value: str) -> bytes:
    kind = float if vr in ("FL", "FD") else int
    try:
        return b"".join(struct.pack("<" + _NUMBERS[vr], kind(part)) for part in value.split("\\"))
    except (ValueError, struct.error, OverflowError):
        raise InputError.of_value(keyword, value, f"is no number of value representation {vr}") from None


def _trimmed(text: str, vr: str) -> str:
    if vr in _SINGLE:
        return text.rstrip(" \0")
    if vr == "PN":  # empty component groups at the end say nothing (PS3.5 6.2.1)
        return "\\".join(name.rstrip(" \0").rstrip("=") for name in text.split("\\"))
    if "\\" not in text:
        return text.strip(" \0") if vr in _STRIPPED else text.rstrip(" \0")
    return "\\".join(part.strip(" \0") if vr in _STRIPPED else part.rstrip(" \0") for part in text.split("\\"))
