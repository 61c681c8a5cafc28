"""Programs as child processes: argument lists, time limits, a process group each, nothing left behind.

Those that run on while we do other things are in :mod:`pypx.services.children`.  The only module that imports
:mod:`subprocess`.  No child is ever started through a shell, and each gets a small
environment of its own: a few variables of ours, ``LC_ALL=C.UTF-8``, and ``TCP_NODELAY=1``, without which DCMTK waits
for delayed acknowledgements (120 small C-STOREs on loopback: 10.8 s instead of 0.09 s; DCMTK 3.6.7).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import field
from pathlib import Path
from threading import Event
from types import MappingProxyType

from pypx.errors import ToolFailedError, ToolMissingError
from pypx.model.dataclass import dataclass
from pypx.services.outputs import OutputReader
from pypx.services.tether import Tether

DEVNULL = subprocess.DEVNULL
"""In the place of a file descriptor: nothing."""

Running = subprocess.Popen[bytes]
"""A program that was started."""

MEMORY_BYTES = 512 << 20
"""How much memory a program may fill (RLIMIT_DATA): DCMTK holds a whole message, and would hold one without end.

With an answer of 64 MiB, the longest px reads, findscu needs 400 MiB (3.6.7).
"""

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
_GRACE_S = 2.0
_LATER = 10
_POLL_S = 0.25
_GATHER_S = 0.002  # DCMTK flushes line by line: a wake-up for each would cost a third of our CPU time of a find
_GATHER_SHARE, _GATHER_MOST_S = 0.03, 0.05  # the longer it has run, the less does it matter to hear of all at once
_INHERITED = (
    "PATH", "HOME", "TMPDIR", "LANG", "TZ", "LD_LIBRARY_PATH", "DCMDICTPATH", "TCP_BUFFER_LENGTH", "PX_STOP_AT",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended.

    `stdout` and `stderr` hold the last 8 MiB of each; they may hold patient data and are kept out of
    the representation.  `timed_out` says that a time limit of ours ended it; `returncode` is negative for a signal.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)
    seconds: float
    timed_out: bool


_running: set[Running] = set()
_ending = Event()


def end_all() -> None:
    """End every program that :func:`stream` runs, from any thread, and start none any more: px itself is to end."""
    _ending.set()
    for child in tuple(_running):
        signal_group(child, signal.SIGTERM)


def find_program(name_or_path: str) -> str:
    """Path of a program of DCMTK.

    pynetdicom installs programs of the same names into its virtual environment, which often comes first in ``PATH``;
    they take other options and are passed over.

    Parameters
    ----------
    name_or_path : a name to look up in ``PATH``, or a path

    Raises
    ------
    ToolMissingError : there is no such program, or it may not be executed
    """
    found = next((path for path in _candidates(name_or_path) if not _is_of_pynetdicom(path)), None)
    if found is None:
        raise ToolMissingError(
            f"{name_or_path} is not installed (or not executable); on Debian or Ubuntu: sudo apt-get install dcmtk"
        )
    return found


def _candidates(name_or_path: str) -> Iterator[str]:
    """What a name stands for in each directory of ``PATH``, in order; a path stands for itself."""
    directories = [""] if os.sep in name_or_path else os.environ.get("PATH", os.defpath).split(os.pathsep)
    for directory in directories:
        found = shutil.which(name_or_path, path=directory or os.curdir)
        if found:
            yield found


def _is_of_pynetdicom(path: str) -> bool:
    try:
        with Path(path).open("rb") as program:
            start = program.read(512)
    except OSError:
        return False
    return start.startswith(b"#!") and b"pynetdicom" in start


def environment(defaults: Mapping[str, str] = _NO_VARIABLES) -> dict[str, str]:
    """The environment every child gets; variables in `defaults` yield to those that px itself was given."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {"PATH": os.defpath, **defaults, **kept, "LC_ALL": "C.UTF-8", "TCP_NODELAY": "1"}


def run(
    argv: Sequence[str],
    *,
    idle_s: float,
    total_s: float | None = None,
    on_line: Callable[[str], object] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    defaults: Mapping[str, str] = _NO_VARIABLES,
) -> Finished:
    """Run a program to its end.

    Parameters
    ----------
    argv : program and arguments; the program is looked up in ``PATH``
    idle_s : end it after so many seconds without output
    total_s : end it after so many seconds altogether
    on_line : gets each line of stderr, without its newline, as it comes
    memory_bytes : how much memory it may fill
    defaults : variables of its environment, unless px was given them otherwise

    Raises
    ------
    ToolMissingError : the program is not there
    ToolFailedError : it could not be started
    """
    lines = stream(argv, idle_s=idle_s, total_s=total_s, memory_bytes=memory_bytes, defaults=defaults)
    try:
        while True:
            line = next(lines)
            if on_line is not None:
                on_line(line)
    except StopIteration as stop:
        finished: Finished = stop.value
        return finished
    finally:
        lines.close()


def stream(
    argv: Sequence[str],
    *,
    idle_s: float,
    total_s: float | None = None,
    stop: Event | None = None,
    memory_bytes: int = MEMORY_BYTES,
    defaults: Mapping[str, str] = _NO_VARIABLES,
) -> Generator[str, None, Finished]:
    """Run a program, yielding the lines of its stderr as they come; returns a :class:`Finished`.

    Closing the generator, or any exception in it (``KeyboardInterrupt`` too), ends the program and its process
    group, and so does the end of px, by ``kill -9`` too; so does setting `stop` from another thread, as if a limit
    had been reached.  The idle limit does not run
    while the consumer works on a line.  Other parameters and errors: :func:`run`.
    """
    began = time.monotonic()
    command = (find_program(argv[0]), *argv[1:])
    if _ending.is_set():
        raise ToolFailedError(f"{command[0]} is not started: px was told to end")
    with closing(Tether()) as tether:
        pipe = subprocess.PIPE
        child = popen(command, DEVNULL, pipe, pipe, pass_fds=tether.inherited, defaults=defaults)
        tether.tie(child.pid)
        limit_memory(child.pid, memory_bytes)
        reader = OutputReader(child.stdout, child.stderr)
        _running.add(child)
        try:
            deadline = None if total_s is None else began + total_s
            timed_out = yield from _pump(child, reader, idle_s, deadline, stop or Event())
            yield from reader.lines(last=True)
        finally:
            _running.discard(child)
            _end_group(child, left_behind=reader.open)
            reader.close()
    return Finished(
        argv=command,
        returncode=child.returncode,
        stdout=reader.text("stdout"),
        stderr=reader.text("stderr"),
        seconds=time.monotonic() - began,
        timed_out=timed_out,
    )


def _pump(
    child: Running, reader: OutputReader, idle_s: float, deadline: float | None, stop: Event
) -> Generator[str, None, bool]:
    """Yield lines until the child has ended (``False``) or is to be ended (``True``)."""
    began = last = looked = time.monotonic()
    ended = False
    while True:
        now = time.monotonic()
        left = last + idle_s - now if deadline is None else min(last + idle_s, deadline) - now
        if left <= 0 or stop.is_set() or _ending.is_set():
            return True
        if not reader.open:
            wait(child, min(left, _POLL_S))
        elif reader.read(0.0 if ended else min(left, _POLL_S)):
            yield from reader.lines()
            last = time.monotonic()
            reader.gather(min(_GATHER_S + _GATHER_SHARE * (last - began), _GATHER_MOST_S))
            if last - looked < _POLL_S:  # it most likely still runs; asking costs a system call
                continue
        elif ended:
            return False
        ended, looked = child.poll() is not None, now
        if ended and not reader.open:
            return False


def popen(
    command: tuple[str, ...],
    stdin: int,
    stdout: int,
    stderr: int,
    *,
    cwd: Path | None = None,
    umask: int = 0o077,
    pass_fds: Sequence[int] = (),
    restore_signals: bool = True,
    defaults: Mapping[str, str] = _NO_VARIABLES,
) -> Running:
    """Start a program in a session of its own; parameters: :func:`pypx.services.children.start`.

    Raises
    ------
    ToolFailedError : it could not be started
    """
    try:
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env=environment(defaults),
            umask=umask,
            start_new_session=True,
            pass_fds=pass_fds,
            restore_signals=restore_signals,
            bufsize=0,
        )
    except (OSError, ValueError) as error:
        raise ToolFailedError(f"{command[0]} could not be started: {error}") from error


def limit_memory(pid: int, size: int) -> None:
    """Let a program fill `size` bytes of memory at most, beyond which it gets none, and leave no core file (Linux).

    RLIMIT_DATA counts what it fills, RLIMIT_AS would count the libraries as well.  A core would hold what was received.
    """
    import resource  # noqa: PLC0415 - a third of a millisecond, while the program is being loaded

    limit(pid, resource.RLIMIT_DATA, size)
    limit(pid, resource.RLIMIT_CORE, 0)


def limit(pid: int, which: int, soft: int | None) -> None:
    """Set a limit of a program (prlimit(2), Linux); ``None``: as far as it may go, as is what lies beyond that."""
    import resource  # noqa: PLC0415 - see above

    with suppress(ProcessLookupError, PermissionError):
        hard = resource.prlimit(pid, which)[1]
        beyond = soft is None or (hard != resource.RLIM_INFINITY and soft > hard)
        resource.prlimit(pid, which, (hard if beyond or soft is None else soft, hard))


def yield_to_others(pid: int) -> bool:
    """Have a program that leads a session take the processor after others (nice 10 more); whether that is settled.

    Where Linux schedules by sessions (autogroup, sched(7)), nice counts within one only, and how it stands to others is
    written to /proc.  A user other than root may do so ten times a second: to be called again while ``False``.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + _LATER)
        Path(f"/proc/{pid}/autogroup").write_text(str(_LATER))
    except BlockingIOError:
        return False
    except OSError:
        return True  # it has ended, or there is none of that here
    return True


def signal_group(child: Running, number: signal.Signals) -> None:
    """Send a signal to a program and its process group, if it still runs."""
    if child.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)


def wait(child: Running, timeout_s: float | None) -> int | None:
    """Exit status of a program, or ``None`` if it still runs after `timeout_s` seconds."""
    try:
        return child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None


def _end_group(child: Running, *, left_behind: bool) -> None:
    """End the child and, if it has `left_behind` something that holds its outputs, that as well."""
    signal_group(child, signal.SIGTERM)
    wait(child, _GRACE_S)
    signal_group(child, signal.SIGKILL)
    child.wait()
    if left_behind:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
