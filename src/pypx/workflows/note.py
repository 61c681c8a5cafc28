"""What a worker is busy with, for whoever has to find out why it died."""

from __future__ import annotations

import os


class Note:
    """Which file is being worked on, in memory that the supervisor shares and reads should the worker die of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> None:
        """Replace the note; ``""`` for nothing."""
        data = text.encode("utf-8", "surrogateescape")
        os.pwrite(self._descriptor, len(data).to_bytes(4, "big") + data, 0)

    def read(self) -> str:
        """The note."""
        size = int.from_bytes(os.pread(self._descriptor, 4, 0), "big")
        return os.pread(self._descriptor, size, 4).decode("utf-8", "surrogateescape")
