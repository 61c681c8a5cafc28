"""A part of a file as a file of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from pypx.services.storage import CHUNK


class FileSlice:
    """`length` bytes of a file from `start` on, that can be sent, and sent again; for one thread."""

    def __init__(self, stream: BinaryIO, start: int, length: int) -> None:
        self._stream, self._start, self._length = stream, start, length
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes, ``b""`` at the end."""
        left = self._length - self._at
        self._stream.seek(self._start + self._at)
        data = self._stream.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def tell(self) -> int:
        """Position within the slice."""
        return self._at

    def seek(self, position: int, _whence: int = 0) -> int:
        """Go to a position counted from the start of the slice."""
        self._at = position
        return self._at

    def chunks(self) -> Iterator[bytes]:
        """The rest, in pieces."""
        while chunk := self.read(CHUNK):
            yield chunk
