"""Programs that run on while we do other things: those of the listener.

They may outlive us: a storescp serves its association to the end, also after a ``kill -9`` of its listener.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from pypx.services.process import (
    DEVNULL,
    Running,
    find_program,
    limit,
    limit_memory,
    popen,
    signal_group,
    wait,
    yield_to_others,
)


class Child:
    """A program that runs on its own until it ends or is told to."""

    __slots__ = ("_running", "argv", "pid")

    def __init__(self, argv: tuple[str, ...], running: Running) -> None:
        self.argv = argv
        self.pid: int = running.pid
        self._running = running

    def poll(self) -> int | None:
        """Exit status, or ``None`` while it runs."""
        return self._running.poll()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Exit status, or ``None`` if it still runs after `timeout_s` seconds."""
        return wait(self._running, timeout_s)

    def terminate(self) -> None:
        """Send SIGTERM to it and its process group, if it still runs."""
        signal_group(self._running, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to it and its process group, if it still runs."""
        signal_group(self._running, signal.SIGKILL)

    def limit_open_files(self, number: int | None) -> None:
        """Let it open no further file while it has `number` or more (prlimit(2), Linux); ``None``: as many as ever."""
        limit(self.pid, resource.RLIMIT_NOFILE, number)

    def limit_file_size(self, size: int) -> None:
        """Let its files grow to `size` bytes at most; a write beyond fails with EFBIG (prlimit(2), Linux)."""
        limit(self.pid, resource.RLIMIT_FSIZE, size)

    def limit_memory(self, size: int) -> None:
        """Let it fill `size` bytes of memory at most; see :func:`pypx.services.process.limit_memory`."""
        limit_memory(self.pid, size)

    def yield_to_others(self) -> bool:
        """Have it take the processor after others; see :func:`pypx.services.process.yield_to_others`."""
        return yield_to_others(self.pid)

    def pidfd(self) -> int:
        """A new file descriptor that becomes readable when it ends (pidfd_open(2), Linux); the caller closes it."""
        return os.pidfd_open(self.pid)


def start(
    argv: Sequence[str],
    *,
    stdin: int = DEVNULL,
    stdout: int = DEVNULL,
    stderr: int = DEVNULL,
    cwd: Path | None = None,
    umask: int = 0o027,
    pass_fds: Sequence[int] = (),
    keep_ignored: bool = False,
    defaults: Mapping[str, str] | None = None,
) -> Child:
    """Start a program and return at once; it has a session of its own.

    Parameters
    ----------
    argv : program and arguments; the program is looked up in ``PATH``
    stdin, stdout, stderr : file descriptors (by default: nothing); the child has no other one of ours
    cwd : its working directory
    umask : its file mode creation mask
    pass_fds : other descriptors it keeps, such as that of a lock it is to hold for as long as it lives
    keep_ignored : leave SIGPIPE and SIGXFSZ ignored in it: its writes fail (EPIPE, EFBIG) instead of ending it
    defaults : variables of its environment, unless px was given them otherwise

    Raises
    ------
    ToolMissingError : the program is not there
    ToolFailedError : it could not be started
    """
    command = (find_program(argv[0]), *argv[1:])
    running = popen(
        command,
        stdin,
        stdout,
        stderr,
        cwd=cwd,
        umask=umask,
        pass_fds=pass_fds,
        restore_signals=not keep_ignored,
        defaults=defaults or {},
    )
    return Child(command, running)
