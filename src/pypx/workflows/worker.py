"""The supervisor's end of the worker: starting it, waking it, hearing it, replacing it when it dies."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pypx.db.layout import Layout
from pypx.services.children import Child, start
from pypx.workflows.note import Note

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from pypx.workflows.receiver import main; "
    "sys.exit(main(sys.argv[1:]))"
)
_MAX_LINE = 1 << 16
_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 30.0
_LAST_STARTS = 3
_DEADLY_STRIKES = 2
_OUTSIDE_CAUSES = {0, -signal.SIGKILL, -signal.SIGTERM}


class WorkerLink:
    """One worker at a time, started again when it ends before it was told to.

    A file of which two workers died, other than by a signal from outside, is not read by the next one but set aside.

    Parameters
    ----------
    layout, folder : the BASEMOUNT, and the folder of this listener in its spool
    lock : descriptor of the lock of that folder; the worker shares it
    debug : let the worker print tracebacks on our standard error
    on_message : gets what the worker says
    on_restart : gets the exit status of a worker that died
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        layout: Layout,
        folder: Path,
        lock: int,
        *,
        on_message: Callable[[dict[str, Any]], None],
        on_restart: Callable[[int | None], None],
        debug: bool = False,
    ) -> None:
        self._selector = selector
        self._layout = layout
        self._folder = folder
        self._lock = lock
        self._on_message = on_message
        self._on_restart = on_restart
        self._debug = debug
        self._pause_s = _FIRST_PAUSE_S
        self._not_before = 0.0
        self._draining = False
        self._last_starts = _LAST_STARTS
        self._child: Child | None = None
        self._channel: socket.socket | None = None
        self._pending = b""
        self._note = os.memfd_create("note")
        self._strikes: Counter[str] = Counter()
        self.exit_status: int | None = None
        self._start()

    @property
    def drained(self) -> bool:
        """Whether it was told to end, and has: with everything filed, or after several that could not."""
        return self._draining and self._channel is None and (self.exit_status == 0 or self._last_starts <= 0)

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return None if self._child is None else self._child.pid

    def wake(self) -> None:
        """Let it look at the folders now."""
        if self._channel is not None and not self._draining:
            with suppress(OSError):  # full: it has been told; gone: the next one looks by itself
                self._channel.send(b"\n", socket.MSG_DONTWAIT)

    def drain(self) -> None:
        """Let it file what is closed, and end; to be called until it has `drained`, as it may die meanwhile."""
        if self._channel is None and not self.drained:
            self._last_starts -= 1
            self._start()
            self._draining = False
        if self._channel is not None and not self._draining:
            self._draining = True
            with suppress(OSError):
                self._channel.shutdown(socket.SHUT_WR)

    def handle(self) -> None:
        """Hear what it says."""
        if self._channel is None:
            return
        try:
            data = self._channel.recv(_MAX_LINE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._ended()
            return
        self._pause_s = _FIRST_PAUSE_S
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._on_message(json.loads(line))

    def tick(self) -> None:
        """Start another one if there is none and its time has come."""
        if self._channel is None and not self._draining and time.monotonic() >= self._not_before:
            self._start()

    def kill(self) -> None:
        """End it now."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def close(self) -> None:
        """Give back what is left of it."""
        os.close(self._note)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._child = start(
                [
                    sys.executable,
                    "-c",
                    _PROGRAM,
                    str(Path(__file__).parents[2]),
                    str(self._layout.log),
                    str(self._layout.data),
                    str(self._folder),
                    str(self._note),
                    *(file for file, strikes in self._strikes.items() if strikes >= _DEADLY_STRIKES),
                ],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=_standard_error(self._debug),
                pass_fds=(self._lock, self._note),
            )
        ours.setblocking(False)
        self._pending = b""
        self._channel = ours
        self._selector.register(ours, selectors.EVENT_READ, self)

    def _ended(self) -> None:
        assert self._channel is not None and self._child is not None  # noqa: S101, PT018  narrows the types
        self._selector.unregister(self._channel)
        self._channel.close()
        self._channel = None
        self.exit_status = self._child.wait()
        file = Note(self._note).read()
        if file and self.exit_status not in _OUTSIDE_CAUSES:
            self._strikes[file] += 1
        if not self._draining:
            self._not_before = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
            self._on_restart(self.exit_status)


def _standard_error(debug: bool) -> int:
    """Where the standard error of the worker goes: to ours, if we have one; tracebacks may hold patient data."""
    if not debug:
        return -3  # subprocess.DEVNULL
    try:
        os.fstat(2)
    except OSError:
        return -3  # subprocess.DEVNULL
    return 2
