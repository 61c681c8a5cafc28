"""The structure of a DICOM file, walked to its end without reading pixel data.

A receiver that is killed in mid-transfer leaves a file under its final name that tools call a good DICOM file.  Here
a file counts as whole only if it ends exactly where its last element ends (PS3.5 section 7, PS3.10 section 7).
Memory is bounded whatever the file says: values of interest are cut at :data:`MAX_VALUE` bytes, elements of known
length are skipped, only sequences and items of undefined length are entered, to a depth of :data:`MAX_DEPTH`.

Up to :data:`MAX_PADDING` bytes of zeros behind the last element are taken: some archives pad files to whole blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from struct import Struct
from typing import NamedTuple

from pypx.errors import InvalidDicomError
from pypx.services.dicomsource import (
    FIRST_BLOCK,
    MAX_VALUE,
    FileSource,
    InflatedSource,
    RawElement,
    Source,
    raw_element,
)

MAX_DEPTH = 64
MAX_ELEMENTS = 10_000_000

_UNDEFINED = 0xFFFF_FFFF
_ITEM = 0xFFFE_E000
_ITEM_END = 0xFFFE_E00D
_SEQUENCE_END = 0xFFFE_E0DD
_PIXEL_DATA = 0x7FE0_0010
_LONG_FORM = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT_FORM = {
    name.encode("ascii"): name
    for name in (
        "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM",
        "UI", "UL", "US",
    )
}  # fmt: skip

IMPLICIT = frozenset(("1.2.840.10008.1.2", "1.2.840.113619.5.2"))
"""Implicit VR little endian, and GE's private one (big endian pixels)."""
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = frozenset(("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"))
"""Deflated explicit VR little endian, and the two deflated JPIP ones (PS3.5 A.5, A.6)."""


def read_meta(source: FileSource) -> tuple[dict[int, RawElement], int]:
    """The file meta information, and the position of the data set behind it (PS3.10 section 7.1).

    Raises
    ------
    InvalidDicomError : not a DICOM file, or cut short within it
    """
    head = source.head()
    if head[128:132] != b"DICM":
        raise InvalidDicomError("empty" if not head else "not a DICOM file (no DICM behind the preamble)")
    found: dict[int, RawElement] = {}
    walker = _Walker(source, 132, head, 0, implicit=False, big_endian=False)
    walker.take_plain(None, found, 0x0002)
    while walker.next_group() == 0x0002 and (header := walker.next_header()) is not None:
        tag, vr, begin, length = header
        if length > MAX_VALUE:
            raise InvalidDicomError("not a DICOM file (its meta information is damaged)")
        found[tag] = RawElement(tag, vr.decode("ascii"), walker.value(begin, length))
        walker.position = begin + length
        walker.take_plain(None, found, 0x0002)
    return found, walker.position


def walk(source: FileSource, position: int, syntax: str, wanted: Collection[int] | None) -> dict[int, RawElement]:
    """Go through the data set of a file to its end.

    Parameters
    ----------
    source : the file
    position : where the data set begins
    syntax : its Transfer Syntax UID
    wanted : tags whose values are returned if they stand at the top level; ``None``: all

    Returns
    -------
    the wanted elements that are there; sequences come without a value

    Raises
    ------
    InvalidDicomError : cut short, or no data set
    """
    implicit, big_endian = syntax in IMPLICIT, syntax == BIG_ENDIAN
    data: Source = source
    buffer, base = source.head(), 0
    if syntax in DEFLATED:
        data, position = InflatedSource(source, position), 0
    if data is not source or position + 12 > len(buffer):
        buffer, base = data.block(position, FIRST_BLOCK), position
    first = buffer[position - base : position - base + 12]
    vr = first[4:6]
    if implicit and vr in _SHORT_FORM and first[:2] == b"\x08\0":
        implicit = False  # writers that mix the two up are common enough; the first VR tells
    elif not implicit and len(first) > 8 and not vr.isalpha():
        implicit = True
    walker = _Walker(data, position, buffer, base, implicit=implicit, big_endian=big_endian)
    return walker.run(wanted)


class _Walker:
    """One pass over elements; `position` is where the next header is expected."""

    __slots__ = ("_base", "_big_endian", "_buffer", "_count", "_implicit", "_long", "_short", "_source", "position")

    def __init__(
        self, source: Source, position: int, buffer: bytes, base: int, *, implicit: bool, big_endian: bool
    ) -> None:
        self._source = source
        self.position = position
        self._buffer = buffer
        self._base = base
        self._implicit = implicit
        self._big_endian = big_endian
        self._count = 0
        order = ">" if big_endian else "<"
        self._short: Callable[[bytes, int], tuple[int, int, bytes, int]] = Struct(order + "HH2sH").unpack_from
        self._long: Callable[[bytes, int], tuple[int, int, int]] = Struct(order + "HHL").unpack_from

    def run(self, wanted: Collection[int] | None) -> dict[int, RawElement]:
        """Walk to the end of the data set."""
        found: dict[int, RawElement] = {}
        if not self._implicit:
            self.take_plain(wanted, found)
        while (header := self.next_header()) is not None:
            tag, vr, begin, length = header
            if tag < 0x0001_0000 or tag >= 0xFFFE_0000:
                break
            if length == _UNDEFINED:
                self.position = begin
                self._nested(tag, vr)
                if wanted is None or tag in wanted:
                    found[tag] = RawElement(tag, "SQ", b"", self._big_endian)
                continue
            if wanted is None or tag in wanted:
                value = b"" if vr == b"SQ" else self.value(begin, min(length, MAX_VALUE))
                found[tag] = RawElement(tag, vr.decode("ascii"), value, self._big_endian)
            self.position = begin + length
            if not self._implicit:
                self.take_plain(wanted, found)
        self._source.close_at(self.position)
        return found

    def take_plain(
        self, wanted: Collection[int] | None, found: dict[int, RawElement], last_group: int = 0xFFFD
    ) -> None:
        """Go past elements of known length up to a group, taking what is wanted, as far as the buffer reaches.

        It does what :meth:`run` would do, but without calls for each, which are most of its time.
        """
        buffer, offset, size = self._buffer, self.position - self._base, len(self._buffer)
        unpack, count = self._short, self._count
        while offset <= size - 12:
            group, number, vr, length = unpack(buffer, offset)
            if not 0 < group <= last_group:
                break
            tag, begin = group << 16 | number, offset + 8
            if (name := _SHORT_FORM.get(vr)) is None:
                begin, length = offset + 12, self._long(buffer, offset + 4)[2]
                if vr not in _LONG_FORM or length == _UNDEFINED or (vr == b"SQ" and (wanted is None or tag in wanted)):
                    break
                name = vr.decode("ascii")
            if wanted is None or tag in wanted:
                if begin + length > size:
                    break
                found[tag] = raw_element((tag, name, buffer[begin : begin + length], self._big_endian))
            offset = begin + length
            count += 1
        self.position, self._count = self._base + offset, count

    def next_group(self) -> int:
        """Group number of the next element, -1 at the end."""
        offset = self.position - self._base
        if offset + 12 > len(self._buffer):
            self._buffer, self._base, offset = self._source.block(self.position), self.position, 0
        return int.from_bytes(self._buffer[offset : offset + 2], "little") if len(self._buffer) >= offset + 8 else -1

    def next_header(self) -> tuple[int, bytes, int, int] | None:
        """Tag, VR, begin of the value and its length of the next element; ``None`` at the end of the data set."""
        offset = self.position - self._base
        if offset + 12 > len(self._buffer):
            self._buffer, self._base, offset = self._source.block(self.position), self.position, 0
            if len(self._buffer) < 8:
                self._end(self._buffer)
                return None
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise InvalidDicomError(f"more than {MAX_ELEMENTS} elements")
        if self._implicit:
            group, number, length = self._long(self._buffer, offset)
            return group << 16 | number, b"", self.position + 8, length
        group, number, vr, length = self._short(self._buffer, offset)
        if vr in _SHORT_FORM:
            return group << 16 | number, vr, self.position + 8, length
        if group in (0xFFFE, 0):
            return group << 16 | number, b"", self.position + 8, self._long(self._buffer, offset)[2]
        if vr not in _LONG_FORM and not (vr.isalpha() and vr.isupper()):
            raise InvalidDicomError(f"damaged: ({group:04x},{number:04x}) at byte {self.position} has no VR")
        if offset + 12 > len(self._buffer):
            raise InvalidDicomError("cut short: the file ends inside the header of an element")
        return group << 16 | number, vr, self.position + 12, self._long(self._buffer, offset + 4)[2]

    def value(self, begin: int, length: int) -> bytes:
        """The bytes of a value."""
        offset = begin - self._base
        if offset + length <= len(self._buffer):
            return self._buffer[offset : offset + length]
        value = self._source.block(begin, length)
        if len(value) < length:
            raise InvalidDicomError("cut short: the file ends inside a value of its header")
        return value

    def _end(self, rest: bytes) -> None:
        if rest.strip(b"\0"):
            raise InvalidDicomError("cut short: the file ends inside the header of an element")

    def _nested(self, tag: int, vr: bytes) -> None:
        """Go through a value of undefined length: a sequence, or the fragments of encapsulated pixel data."""
        outer = self._implicit
        stack = [self._entered(tag, vr)]
        while stack:
            header = self.next_header()
            if header is None:
                raise InvalidDicomError("cut short: the delimiter that closes a sequence or the pixel data is missing")
            tag, vr, begin, length = header
            place = stack[-1]
            self.position = begin if length == _UNDEFINED else begin + length
            if tag == (_ITEM_END if place.item else _SEQUENCE_END):
                self.position = begin
                stack.pop()
                self._implicit = stack[-1].implicit if stack else outer
            elif (tag == _ITEM) is place.item or (place.item and tag >= 0xFFFE_0000):
                raise InvalidDicomError(f"damaged: no item of a sequence at byte {begin - 8}")
            elif length == _UNDEFINED and place.fragments:
                raise InvalidDicomError("damaged: a fragment of the pixel data has no length")
            elif length == _UNDEFINED:
                stack.append(self._entered(tag, vr) if place.item else _Place(item=True, implicit=self._implicit))
                if len(stack) > 2 * MAX_DEPTH:
                    raise InvalidDicomError(f"sequences are nested deeper than {MAX_DEPTH}")

    def _entered(self, tag: int, vr: bytes) -> _Place:
        """The place inside a value of undefined length."""
        fragments = tag == _PIXEL_DATA or vr in (b"OB", b"OW")
        if not fragments and vr not in (b"SQ", b"UN", b""):
            raise InvalidDicomError(f"damaged: ({tag >> 16:04x},{tag & 0xFFFF:04x}) may not be of undefined length")
        if vr == b"UN":
            self._implicit = True  # PS3.5 6.2.2 note 2
        return _Place(implicit=self._implicit, fragments=fragments)


class _Place(NamedTuple):
    """Where the walk is: inside an item, or between the items of a sequence or the fragments of pixel data."""

    implicit: bool
    item: bool = False
    fragments: bool = False
