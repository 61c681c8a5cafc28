r"""DICOM files: headers of instances, query identifiers, answers.

The only module that imports pydicom, and only for what the table of :mod:`pypx.services.dicomtags` does not cover:
rare keywords, and sequences in answers.  Pixel data is never read.
"""

from __future__ import annotations

import json
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from pypx.errors import InputError, InvalidDicomError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID, is_uid
from pypx.model.keywords import Level
from pypx.model.records import Element, Instance
from pypx.services.charsets import decoder, encoder
from pypx.services.dicomsource import RawElement, opened
from pypx.services.dicomstructure import read_meta, walk
from pypx.services.dicomtags import KEYWORDS, TAGS
from pypx.services.dicomvalues import value_bytes, value_text

_CHARSET = 0x0008_0005
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x0008_0016, 0x0008_0018, 0x0020_000D, 0x0020_000E
_TRANSFER_SYNTAX = 0x0002_0010
_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_FIND_STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
_IMPLEMENTATION = "2.25.164793412389054623816423876192315340018"
_COMPARED = 1024 * 1024
_SHORT = 128
MAX_ANSWER = 64 * 1024**2
"""An answer of a PACS may not have more bytes than this: unlike the header of an image it is read as a whole."""


@dataclass(frozen=True, slots=True)
class KeywordInfo:
    """An attribute of the DICOM dictionary; `tag` as ``gggg,eeee`` in lower-case hexadecimal."""

    keyword: str
    tag: str
    VR: str


def keyword_info(keyword: str) -> KeywordInfo:
    """Look up a keyword in the DICOM dictionary (PS3.6).

    Raises
    ------
    InputError : there is none; the text names the nearest right ones
    """
    found = _lookup(keyword)
    if found is None:
        near = _nearest(keyword)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"{keyword[:64]!r} is not a DICOM keyword{hint}")
    return KeywordInfo(keyword, _tag_text(found[0]), found[1])


def keyword_spelled(letters: str) -> str | None:
    """The keyword of the DICOM dictionary that consists of `letters`, upper and lower case being alike, or ``None``."""
    return _lower_case().get(letters.lower())


def write_query(path: Path, level: Level, keys: Mapping[str, str], charset: str) -> None:
    r"""Write the identifier of a C-FIND or C-MOVE request as a file for findscu and movescu.

    Parameters
    ----------
    path : new file, explicit VR little endian
    level : Query/Retrieve Level
    keys : keyword to value; an empty value asks for the attribute, several values are joined by a backslash
    charset : SpecificCharacterSet of values beyond ASCII (several joined by a backslash); sent only if there are any

    Raises
    ------
    InputError : unknown keyword, or a value that its value representation or the character set cannot hold
    """
    elements = {0x0008_0052: _element(0x0008_0052, "CS", _padded(level.value.encode("ascii")))}
    if not all(value.isascii() for value in keys.values()):
        elements[_CHARSET] = _element(_CHARSET, "CS", _padded(charset.encode("ascii", "replace")))
    encode = encoder(charset)
    for keyword, value in keys.items():
        found = _lookup(keyword)
        if found is None:
            raise InputError(f"{keyword[:64]!r} is not a DICOM keyword")
        tag, vr = found
        if tag >> 16 <= 0x0002:
            raise InputError(f"{keyword}: not an attribute of a query")
        if tag not in (_CHARSET, 0x0008_0052):
            elements[tag] = _element(tag, vr, value_bytes(keyword, vr, value, encode))
    path.write_bytes(_meta(_FIND_STUDY_ROOT) + b"".join(elements[tag] for tag in sorted(elements)))


def read_answer(path: Path | str) -> tuple[Element, ...]:
    """Read an answer that findscu has written, each value decoded by its SpecificCharacterSet.

    Text without a SpecificCharacterSet is taken as UTF-8 if it is valid UTF-8, else as Latin-1.  A sequence comes as
    its items in the DICOM JSON model (PS3.18 F.2); one whose items cannot be read comes empty.

    Raises
    ------
    InvalidDicomError : the file is not whole, or has more than 64 MiB
    """
    with opened(path) as source:
        if source.size > MAX_ANSWER:
            raise InvalidDicomError(f"it has {source.size} bytes, more than the {MAX_ANSWER} that an answer may have")
        meta, position = read_meta(source)
        raw = walk(source, position, _transfer_syntax(meta.get(_TRANSFER_SYNTAX)), None)
    charset = _plain(raw.get(_CHARSET))
    sequences = _sequences(path) if any(_is_sequence(tag, one.VR) for tag, one in raw.items()) else {}
    answer = []
    for tag in sorted(raw):
        if tag & 0xFFFF == 0:
            continue
        make = _known_element if len(raw[tag].value) + len(charset) <= _SHORT else _answered
        element = make(raw[tag], charset)
        answer.append(replace(element, value=sequences[tag]) if tag in sequences else element)
    return tuple(answer)


def _answered(raw: RawElement, charset: str) -> Element:
    """An element of an answer."""
    keyword, vr = _described(raw.tag)
    return Element(_tag_text(raw.tag), keyword, value_text(raw, vr, decoder(charset)))


_known_element = lru_cache(maxsize=1024)(_answered)
"""The same for a short one: most elements of an answer are those of the answer before."""


@lru_cache(maxsize=1024)
def _is_sequence(tag: int, vr: str) -> bool:
    return "SQ" in (vr, _described(tag)[1])


def read_instance(path: Path, keywords: frozenset[str]) -> Instance:
    """Read the header of a file, and prove that the file is whole.

    Parameters
    ----------
    path : a DICOM file (PS3.10)
    keywords : attributes wanted in `tags`; values longer than 64 KiB are cut there

    Raises
    ------
    InvalidDicomError : not DICOM, cut short, or without a usable Study, Series or SOP Instance UID.  The text is the
        reason alone: it names neither the file nor any value in it
    """
    wanted = _tags_of(keywords)
    with opened(path) as source:
        meta, position = read_meta(source)
        syntax = _transfer_syntax(meta.get(_TRANSFER_SYNTAX))
        raw = walk(source, position, syntax, wanted.keys())
    tags = _texts(raw, wanted)
    study, series, instance = [_uid(raw.get(tag), what) for tag, what in _REQUIRED]
    return Instance(study, series, instance, _plain(raw.get(_SOP_CLASS)), syntax, tags)


def has_pixels(path: Path) -> bool:
    """Whether a file has pixel data; one without can be cut between two elements and look whole.

    Raises
    ------
    InvalidDicomError : not DICOM, or cut short
    """
    with opened(path) as source:
        meta, position = read_meta(source)
        return bool(walk(source, position, _transfer_syntax(meta.get(_TRANSFER_SYNTAX)), _PIXELS))


def same_instance(first: Path, second: Path) -> bool:
    """Whether two files hold the same data set bytes in the same transfer syntax; their meta information may differ.

    Raises
    ------
    InvalidDicomError : one of them cannot be read
    """
    with opened(first) as one, opened(second) as other:
        (meta_one, at_one), (meta_other, at_other) = read_meta(one), read_meta(other)
        syntaxes = {_transfer_syntax(meta.get(_TRANSFER_SYNTAX)) for meta in (meta_one, meta_other)}
        if len(syntaxes) > 1 or one.size - at_one != other.size - at_other:
            return False
        return all(
            one.block(at_one + offset, _COMPARED) == other.block(at_other + offset, _COMPARED)
            for offset in range(0, one.size - at_one, _COMPARED)
        )


def _texts(raw: Mapping[int, RawElement], wanted: Mapping[int, tuple[str, str]]) -> dict[str, str]:
    """The text of each wanted element; most files of a series say the same, so what is short is remembered."""
    charset = _plain(raw.get(_CHARSET))
    short = _SHORT - len(charset)
    texts = {}
    for tag, element in raw.items():
        keyword, vr = wanted[tag]
        if keyword:
            known = len(element.value) <= short
            texts[keyword] = _remembered(element, vr, charset) if known else value_text(element, vr, decoder(charset))
    return texts


@lru_cache(maxsize=1024)
def _remembered(element: RawElement, vr: str, charset: str) -> str:
    return value_text(element, vr, decoder(charset))


_PIXELS = frozenset((0x7FE0_0008, 0x7FE0_0009, 0x7FE0_0010))
_REQUIRED = ((_STUDY, "StudyInstanceUID"), (_SERIES, "SeriesInstanceUID"), (_SOP_INSTANCE, "SOPInstanceUID"))


@lru_cache(maxsize=128)
def _uid(element: RawElement | None, what: str) -> UID:
    text = _plain(element)
    if is_uid(text):
        return UID(text)
    if not text:
        raise InvalidDicomError(f"it has no {what}")
    raise InvalidDicomError(f"its {what} is not a UID (digits and dots, at most 64 characters)")


def _plain(element: RawElement | None) -> str:
    return "" if element is None else element.value.decode("latin_1").strip(" \0")


@lru_cache(maxsize=64)
def _transfer_syntax(element: RawElement | None) -> str:
    syntax = _plain(element)
    if not is_uid(syntax):
        raise InvalidDicomError("its meta information names no transfer syntax")
    return syntax


@lru_cache(maxsize=32)
def _tags_of(keywords: frozenset[str]) -> dict[int, tuple[str, str]]:
    """Tag to keyword and VR, of the wanted keywords; and, without a keyword, of what every reading needs."""
    needed = ("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    found = ((keyword, _lookup(keyword)) for keyword in {*keywords, *needed})
    return {info[0]: (keyword if keyword in keywords else "", info[1]) for keyword, info in found if info is not None}


def _tag_text(tag: int) -> str:
    return f"{tag >> 16:04x},{tag & 0xFFFF:04x}"


def _padded(value: bytes) -> bytes:
    return value + b" " * (len(value) % 2)


def _element(tag: int, vr: str, value: bytes) -> bytes:
    if vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"):
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), len(value)) + value


def _meta(sop_class: str) -> bytes:
    """Preamble and meta information of a query file."""

    def uid(text: str) -> bytes:
        return text.encode("ascii") + b"\0" * (len(text) % 2)

    group = b"".join(
        (
            _element(0x0002_0001, "OB", b"\0\1"),
            _element(0x0002_0002, "UI", uid(sop_class)),
            _element(0x0002_0003, "UI", uid(_IMPLEMENTATION)),
            _element(0x0002_0010, "UI", uid(_EXPLICIT_LITTLE)),
            _element(0x0002_0012, "UI", uid(_IMPLEMENTATION)),
        )
    )
    return bytes(128) + b"DICM" + _element(0x0002_0000, "UL", struct.pack("<L", len(group))) + group


# pydicom, for what the tables do not cover


@lru_cache(maxsize=1024)
def _lookup(keyword: str) -> tuple[int, str] | None:
    known = TAGS.get(keyword)
    if known is not None:
        return known
    from pydicom.datadict import dictionary_VR, tag_for_keyword  # noqa: PLC0415  a quarter of a second, rarely needed

    tag = tag_for_keyword(keyword)
    return None if tag is None else (tag, dictionary_VR(tag)[:2])


@lru_cache(maxsize=1024)
def _described(tag: int) -> tuple[str, str]:
    """Keyword and VR of a tag; private and unknown ones have no keyword."""
    known = KEYWORDS.get(tag)
    if known is not None:
        return known
    if (tag >> 16) % 2:
        return "", "UN"
    from pydicom.datadict import dictionary_VR, keyword_for_tag  # noqa: PLC0415  see _lookup

    keyword = keyword_for_tag(tag)
    return (keyword, dictionary_VR(tag)[:2]) if keyword else ("", "UN")


def _lower_case() -> dict[str, str]:
    from pydicom.datadict import keyword_dict  # noqa: PLC0415  see _lookup

    return {name.lower(): name for name in keyword_dict if name}


def _nearest(keyword: str) -> list[str]:
    names = _lower_case()
    wanted = keyword[:64].lower()
    if wanted in names:
        return [names[wanted]]
    import difflib  # noqa: PLC0415 - for an error only

    return [names[near] for near in difflib.get_close_matches(wanted, names, n=3, cutoff=0.65)]


def _sequences(path: Path | str) -> dict[int, str]:
    """The sequences of an answer as DICOM JSON, by tag."""
    from pydicom import dcmread, errors  # noqa: PLC0415  see _lookup

    # What pydicom raises at the bytes of a stranger, found by tests/unit/test_fuzz_dicom.py; there is no common class.
    damaged = (
        ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
        TypeError, ValueError, errors.BytesLengthException, errors.InvalidDicomError, struct.error, zlib.error,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            elements = [element for element in dcmread(path, defer_size=64 * 1024) if element.VR == "SQ"]
            return {
                int(element.tag): json.dumps([item.to_json_dict() for item in element.value], ensure_ascii=False)
                for element in elements
                if element.value
            }
        except damaged:
            return {}
