"""An audit hook that keeps unit tests inside their temporary directory: no other file written, no network, no program."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PATH_EVENTS = {
    "os.mkdir": 1, "os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.link": 2, "os.symlink": 2, "os.truncate": 1,
    "os.chmod": 1,
}  # fmt: skip
"""Audit events that change the file system, and how many of their arguments are paths."""

_CACHES = {"__pycache__", ".hypothesis", ".pytest_cache"}


class Seal:
    """What is allowed while `active`, and what was done in spite of it."""

    def __init__(self) -> None:
        self.active = False
        self.allowed: Path = Path("/nonexistent")
        self.offences: list[str] = []
        self._installed = False

    @contextmanager
    def closed(self, allowed: Path) -> Iterator[None]:
        """Allow writing below `allowed` only; whatever else was tried fails on leaving, swallowed or not."""
        if not self._installed:
            sys.addaudithook(self._audit)  # cannot be removed, hence the flag
            self._installed = True
        self.allowed, self.offences, self.active = allowed.resolve(), [], True
        try:
            yield
        finally:
            self.active = False
        if self.offences:
            pytest.fail("a unit test left its temporary directory: " + "; ".join(self.offences))

    def _audit(self, event: str, args: tuple[object, ...]) -> None:
        if not self.active:
            return
        if event == "open":
            _path, mode, flags = args
            writing = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if writing or (isinstance(mode, str) and set(mode) & set("wax+")):
                self._check_path(event, args[0])
        elif event in _PATH_EVENTS:
            for path in args[: _PATH_EVENTS[event]]:
                self._check_path(event, path)
        elif event == "socket.connect" or event in ("socket.bind", "socket.sendto"):
            self._check_address(event, args[1])
        elif event in ("subprocess.Popen", "os.posix_spawn", "os.exec"):
            self._check_program(event, args[0], args[1])
        elif event in ("os.system", "os.startfile"):
            self._refuse(f"{event} {args[0]!r}")

    def _check_path(self, event: str, path: object) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return  # an open descriptor: it was checked when it was opened
        place = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100  resolve() would follow the link being made
        inside = place.is_relative_to(self.allowed) or place.resolve().is_relative_to(self.allowed)
        if not inside and not place.is_relative_to("/dev") and not _CACHES.intersection(place.parts):
            self._refuse(f"{event} {place}")

    def _check_address(self, event: str, address: object) -> None:
        if isinstance(address, tuple):
            self._refuse(f"{event} {address}")

    def _check_program(self, event: str, executable: object, argv: object) -> None:
        first = next(iter(argv)) if executable is None and isinstance(argv, (list, tuple)) else executable
        name = os.fsdecode(first) if isinstance(first, (str, bytes, os.PathLike)) else str(first)
        if name != sys.executable and not Path(name).resolve().is_relative_to(self.allowed):
            self._refuse(f"{event} {name}")

    def _refuse(self, offence: str) -> None:
        self.offences.append(offence)
        pytest.fail(f"a unit test left its temporary directory: {offence}")


SEAL = Seal()
