"""The outputs of a running program: read as they come, kept within bounds."""

from __future__ import annotations

import os
import select
import selectors
from collections import deque
from typing import IO

KEPT_BYTES = 8 * 1024 * 1024
"""How much of each output of a program is kept: its last 8 MiB."""

_MAX_LINE = 64 * 1024
_CHUNK = 64 * 1024


class OutputReader:
    """The two outputs of a child: the last part of each, and the lines of stderr."""

    def __init__(self, stdout: IO[bytes] | None, stderr: IO[bytes] | None) -> None:
        self._selector = selectors.DefaultSelector()
        self._ends = select.poll()
        self._pipes: list[IO[bytes]] = []
        self._kept: dict[str, deque[bytes]] = {"stdout": deque(), "stderr": deque()}
        self._size = {"stdout": 0, "stderr": 0}
        self._pending = b""
        for name, pipe in (("stdout", stdout), ("stderr", stderr)):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, selectors.EVENT_READ, name)
                self._ends.register(pipe, 0)
                self._pipes.append(pipe)
        self.open = bool(self._pipes)

    def read(self, timeout_s: float) -> bool:
        """Take what is there, waiting up to `timeout_s` seconds for it; whether there was anything."""
        got = False
        for key, _ in self._selector.select(timeout_s):
            data = os.read(key.fd, _CHUNK)
            if data:
                self._keep(key.data, data)
                got = True
            else:
                self._selector.unregister(key.fileobj)
                self._ends.unregister(key.fileobj)
        self.open = bool(self._selector.get_map())
        return got

    def gather(self, seconds: float) -> None:
        """Let more come for so long, or until the child has closed one of them."""
        self._ends.poll(max(1, round(seconds * 1000)))

    def lines(self, *, last: bool = False) -> list[str]:
        """The lines of stderr since the last call; `last` gives an unfinished one too."""
        *done, self._pending = self._pending.split(b"\n")
        if self._pending and (last or len(self._pending) > _MAX_LINE):
            done.append(self._pending)
            self._pending = b""
        return [line.rstrip(b"\r").decode("utf-8", "replace") for line in done]

    def text(self, name: str) -> str:
        """What was kept of one output."""
        return b"".join(self._kept[name])[-KEPT_BYTES:].decode("utf-8", "replace")

    def close(self) -> None:
        """Close our ends of the pipes."""
        self.open = False
        self._selector.close()
        for pipe in self._pipes:
            pipe.close()

    def _keep(self, name: str, data: bytes) -> None:
        kept = self._kept[name]
        kept.append(data)
        self._size[name] += len(data)
        while self._size[name] - len(kept[0]) >= KEPT_BYTES:
            self._size[name] -= len(kept.popleft())
        if name == "stderr":
            self._pending += data
