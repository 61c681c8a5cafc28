"""Bytes of DICOM files by position: plain, and inflated as they are read.

Memory is bounded whatever a file says of itself.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from pypx.errors import InvalidDicomError

MAX_VALUE = 64 * 1024
MAX_PADDING = 4096
MAX_INFLATED = 4 * 1024**3
"""A deflated data set may not inflate to more bytes than this."""

BLOCK = 64 * 1024
FIRST_BLOCK = 16 * 1024


class RawElement(NamedTuple):
    """An element as the file has it; `VR` is empty in implicit VR, `value` holds at most :data:`MAX_VALUE` bytes."""

    tag: int
    VR: str
    value: bytes
    big_endian: bool = False


raw_element: Callable[[tuple[int, str, bytes, bool]], RawElement] = partial(tuple.__new__, RawElement)
"""Makes one of all its fields: some thirty are made a file, and its own way takes three times as long."""


class Source(Protocol):
    """Bytes of a data set by position."""

    def block(self, position: int, length: int = BLOCK) -> bytes:
        """Bytes from `position` on, up to `length`; empty at the end.  InvalidDicomError if it lies behind the end."""

    def close_at(self, position: int) -> None:
        """InvalidDicomError unless the data set ends at `position`, padding apart."""


class FileSource:
    """An open regular file; its first block is read once, and nothing at its end."""

    __slots__ = ("_descriptor", "_head", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._head: bytes | None = None
        self.size = size

    def head(self) -> bytes:
        """The first :data:`FIRST_BLOCK` bytes; mostly all that stands before the pixels."""
        if self._head is None:
            self._head = os.pread(self._descriptor, FIRST_BLOCK, 0)
        return self._head

    def block(self, position: int, length: int = BLOCK) -> bytes:
        """Bytes from `position` on."""
        if position >= self.size:
            if position == self.size:
                return b""
            raise InvalidDicomError(f"cut short: an element should end at byte {position}, the file has {self.size}")
        return os.pread(self._descriptor, length, position)

    def close_at(self, position: int) -> None:
        """Check that the file ends at `position`, padding apart."""
        rest = self.block(position, MAX_PADDING + 1)
        if len(rest) > MAX_PADDING or rest.strip(b"\0"):
            raise InvalidDicomError(f"not a data set: what stands at byte {position} is no element")


class InflatedSource:
    """The deflated data set of a file, inflated as it is read; positions may only grow."""

    def __init__(self, file: FileSource, position: int) -> None:
        self._file = file
        self._position = position
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._kept = b""
        self._begin = 0

    def block(self, position: int, length: int = BLOCK) -> bytes:
        """Bytes from `position` on."""
        if position > MAX_INFLATED:
            raise InvalidDicomError(f"the deflated data set has more than {MAX_INFLATED} bytes")
        while position + length > self._begin + len(self._kept):
            more = self._inflate()
            if not more:
                break
            if position > self._begin:
                drop = min(position - self._begin, len(self._kept))
                self._kept = self._kept[drop:]
                self._begin += drop
            self._kept += more
        if position > self._begin + len(self._kept):
            raise InvalidDicomError("cut short: the deflated data set ends inside an element")
        offset = position - self._begin
        return self._kept[offset : offset + length]

    def close_at(self, position: int) -> None:
        """Check that the data set ends at `position`, padding apart."""
        padding = self.block(position, MAX_PADDING + 1)
        if len(padding) > MAX_PADDING or padding.strip(b"\0"):
            raise InvalidDicomError("not a data set: what follows its last element is no element")
        rest = self._inflater.unused_data + self._file.block(self._position, MAX_PADDING + 1)
        total = self._begin + len(self._kept)
        if rest[4:8] == (total & 0xFFFF_FFFF).to_bytes(4, "little"):
            rest = rest[8:]  # some writers leave the trailer of gzip there: CRC and length (RFC 1952 2.3.1)
        if len(rest) > MAX_PADDING or rest.strip(b"\0"):
            raise InvalidDicomError("not a data set: bytes follow its deflated part")

    def _inflate(self) -> bytes:
        """The next bytes; empty at the end of the deflated part."""
        while not self._inflater.eof:
            tail = self._inflater.unconsumed_tail
            if not tail:
                tail = self._file.block(self._position)
                self._position += len(tail)
            try:
                data = self._inflater.decompress(tail, BLOCK)
            except zlib.error:
                raise InvalidDicomError("the deflated data set is damaged") from None
            if data:
                return data
            if not tail and not self._inflater.eof:
                raise InvalidDicomError("cut short: the deflated data set has no end")
        return b""


class UnreadableFileError(InvalidDicomError):
    """A file could not be read, so nobody knows what it holds; `errno` is why (0: it has no possible name)."""

    def __init__(self, *args: object, errno: int = 0) -> None:
        super().__init__(*args)
        self.errno = errno


@contextmanager
def opened(path: Path | str) -> Iterator[FileSource]:
    """Open a regular file for reading.

    Raises
    ------
    UnreadableFileError : it cannot be opened or read
    InvalidDicomError : it is no regular file (a FIFO is not waited for)
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidDicomError("not a regular file")
        yield FileSource(descriptor, status.st_size)
    except OSError as error:
        raise _unreadable(error) from None
    finally:
        os.close(descriptor)


def _unreadable(error: OSError | ValueError) -> UnreadableFileError:
    reason = getattr(error, "strerror", None) or "no such name"
    return UnreadableFileError(f"cannot be read: {reason}", errno=getattr(error, "errno", None) or 0)
