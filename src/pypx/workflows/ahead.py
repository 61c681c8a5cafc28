"""Processes that read and copy files ahead of the filing: two of them use two processors, which threads cannot.

A thread that reads a header holds the interpreter's lock, and one that copies takes it again for each block.  So files
are given, some at a time, to processes that are forked from this one.  Each reads the header, copies a large file into
one without a name (:mod:`pypx.workflows.copying`), and hands back what it read together with the open descriptor
(unix(7), SCM_RIGHTS).  It gives no name and writes no record: all that depends on order is done by the filer, in order.

A process that fails at a file, refuses it, or dies, says nothing of it; the filer then does that file itself, and so
tells what is wrong as it would without them.  What a dead one had copied is gone with it, for it had no name.

The processes hear nothing of ^C, which a terminal sends to all; they end when the socket to the filer is closed, as it
is by the kernel if the filer is killed.  Passwords are not kept from them, as they are from programs that px starts:
they are this program, with what it has in memory anyway, and start no other.
"""

from __future__ import annotations

import marshal
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pypx.db.checkpoints import reached
from pypx.errors import DatabaseError
from pypx.model.records import Instance
from pypx.workflows.batches import Begun, Entry
from pypx.workflows.copying import Copy, copy_unnamed
from pypx.workflows.pool import deaf

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess
    from socket import socket as Socket  # noqa: N812 - a class, for all its name

_CHUNK = 8
_CHUNK_BYTES = 4 << 20
_CHUNKS_AHEAD = 4
_MESSAGE = 64 * 1024
_LARGEST = 40 * 1024

Begin: TypeAlias = Callable[[Path, "Copying"], Begun]
"""`Filer.begin`."""


class Copying:
    """Copies at once, as long as the process lives that wants the copies."""

    above = -1

    def __init__(self) -> None:
        self._parent = os.getppid()

    def begin(self, source: Path, directory: Path, mode: int) -> Copy | None:
        """Copy a file; ``None``: this filesystem has no files without a name."""
        return copy_unnamed(source, directory, self._wanted, mode=mode)

    def _wanted(self) -> bool:
        return os.getppid() == self._parent


def may_fork() -> bool:
    """Whether a copy of this process can work: another thread could hold a lock, which nobody would release in it.

    The thread in which the command line waits for signals is not counted; all it does is to wait in read(2).
    """
    from multiprocessing import current_process  # noqa: PLC0415 - kept out of start-up

    alone = threading.active_count() == 1 and threading.current_thread() is threading.main_thread()
    return alone and not current_process().daemon


class Ahead:
    """Some processes, and the files they have; what became of each is taken in the order in which they were given."""

    def __init__(self, begin: Begin, processes: int) -> None:
        """Fork so many processes.

        Raises
        ------
        OSError : there can be no more processes, or no more open files
        """
        from socket import AF_UNIX, SOCK_SEQPACKET, socketpair  # noqa: PLC0415 - kept out of start-up

        self._chunk: list[Path] = []
        self._most = _CHUNK
        self._order: deque[tuple[_Worker | None, Path]] = deque()
        self._workers: list[_Worker] = []
        pairs: list[tuple[Socket, Socket]] = []
        try:
            with deaf():
                pairs.extend(socketpair(AF_UNIX, SOCK_SEQPACKET) for _ in range(processes))
                channels = [channel for pair in pairs for channel in pair]
                for ours, theirs in pairs:
                    process = _forked(begin, theirs, [channel for channel in channels if channel is not theirs])
                    self._workers.append(_Worker(ours, process))
        except BaseException:
            self.close()
            raise
        finally:
            for ours, theirs in pairs:
                theirs.close()
                if len(self._workers) < processes:
                    ours.close()

    @property
    def depth(self) -> int:
        """How many files may have been given and not taken; of large ones fewer, for each takes room on the disk."""
        return self._most * _CHUNKS_AHEAD * len(self._workers)

    def give(self, path: Path) -> None:
        """Let a file be read, and copied if it is large."""
        self._chunk.append(path)
        if len(self._chunk) >= self._most:
            self._send()

    def take(self) -> Entry | None:
        """The next file as it was begun; ``None``: it is to be begun here."""
        if not self._order:
            self._send()
        worker, path = self._order.popleft()
        begun = None if worker is None else worker.take(path)
        if begun is not None and begun.copying is not None:
            self._most = max(1, min(_CHUNK, _CHUNK_BYTES // max(begun.size, 1)))
        return begun

    def close(self) -> None:
        """End the processes; what was not taken is given up."""
        for worker in self._workers:
            worker.close()

    def _send(self) -> None:
        chunk, self._chunk = self._chunk, []
        living = sorted((worker for worker in self._workers if worker.lives), key=lambda worker: worker.waiting)
        chosen = next((worker for worker in living if worker.send(chunk)), None)
        self._order.extend((chosen, path) for path in chunk)


class _Worker:
    """A process as the filer sees it; `waiting`: how many files it has that were not taken."""

    def __init__(self, channel: Socket, process: ForkProcess) -> None:
        self._channel = channel
        self._process = process
        self._done: deque[tuple[Any, Copy | None]] = deque()
        self.lives = True
        self.waiting = 0

    def send(self, paths: Sequence[Path]) -> bool:
        """Give it files; whether it lives to take them."""
        try:
            self._channel.send(marshal.dumps([os.fsencode(path) for path in paths]))
        except OSError:
            self.lives = False
            return False
        self.waiting += len(paths)
        return True

    def take(self, path: Path) -> Entry | None:
        """The next of its files as it was begun; ``None``: it said nothing of it."""
        self.waiting -= 1
        while not self._done:
            if not self.lives or not self._receive():
                return None
        return _unpacked(path, *self._done.popleft())

    def _receive(self) -> bool:
        """Take an answer; ``False``: it is dead."""
        from socket import MSG_CMSG_CLOEXEC, recv_fds  # noqa: PLC0415 - loaded since this was made

        try:
            answer, descriptors, _, _ = recv_fds(self._channel, _MESSAGE, _CHUNK, MSG_CMSG_CLOEXEC)
        except OSError:
            answer, descriptors = b"", []
        if not answer:
            self.lives = False
            return False
        copies = iter([Copy(descriptor, None) for descriptor in descriptors])
        items = [marshal.loads(item) for item in marshal.loads(answer)]  # noqa: S302 - from a copy of ourselves
        if len(descriptors) != sum(_has_copy(item) for item in items):  # there was no room for more open files
            for copy in copies:
                copy.close()
        self._done.extend((item, next(copies, None) if _has_copy(item) else None) for item in items)
        return True

    def close(self) -> None:
        """End it; it has nothing to tidy up."""
        self.lives = False
        self._channel.close()
        while self._done:
            _, copy = self._done.popleft()
            if copy is not None:
                copy.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _forked(begin: Begin, channel: Socket, others: Sequence[Socket]) -> ForkProcess:
    from multiprocessing import get_context  # noqa: PLC0415 - kept out of start-up

    process = get_context("fork").Process(target=_serve, args=(begin, channel, others), daemon=True)
    with warnings.catch_warnings():  # from Python 3.12 on, of any other thread; see may_fork
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    return process


# In the processes


def _serve(begin: Begin, channel: Socket, others: Sequence[Socket]) -> None:
    """Begin the files that come, to the end of the filer or of this process; nothing is told to people here."""
    try:
        _settle(others)
        copying = Copying()
        while request := channel.recv(_MESSAGE):
            answer = _Answer(channel)
            for path in marshal.loads(request):  # noqa: S302 - from the process that forked this one
                answer.add(*_begun(begin, Path(os.fsdecode(path)), copying))
            answer.send()
    finally:
        os._exit(0)


def _settle(others: Sequence[Socket]) -> None:
    """Keep nothing of the filer's: not its signals, not the other sockets, not its terminal and pipes."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP, signal.SIGTERM})
    for other in others:
        other.close()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    os.close(nowhere)


def _begun(begin: Begin, path: Path, copying: Copying) -> tuple[bytes, Copy | None, int]:
    """What there is to say of a file, its copy, and how many bytes were copied."""
    try:
        begun = begin(path, copying)
    except (OSError, DatabaseError):
        return _NOTHING, None, 0
    if not isinstance(begun, Entry):  # its trouble may be ours: too many open files
        return _NOTHING, None, 0
    copy = begun.copying if isinstance(begun.copying, Copy) else None
    item = _packed(begun, copy)
    if len(item) <= _LARGEST:
        return item, copy, 0 if copy is None else begun.size
    if copy is not None:
        copy.close()
    return _NOTHING, None, 0


class _Answer:
    """Some files' answers in one message; sent early when the files are large, so that nobody waits for the last."""

    def __init__(self, channel: Socket) -> None:
        self._channel = channel
        self._begin()

    def _begin(self) -> None:
        self._items: list[bytes] = []
        self._copies: list[Copy] = []
        self._length = self._copied = 0

    def add(self, item: bytes, copy: Copy | None, copied: int) -> None:
        if self._length + len(item) > _LARGEST:
            self.send()
        self._items.append(item)
        self._length += len(item)
        self._copied += copied
        if copy is not None:
            self._copies.append(copy)
        if self._copied >= _CHUNK_BYTES:
            self.send()

    def send(self) -> None:
        from socket import send_fds  # noqa: PLC0415 - loaded since the process was forked

        if not self._items:
            return
        if self._copies:
            reached("ahead.copied")
        try:
            send_fds(self._channel, [marshal.dumps(self._items)], [copy.descriptor for copy in self._copies])
        except OSError:  # too many open files are on their way
            self._channel.send(marshal.dumps([_NOTHING] * len(self._items)))
        for copy in self._copies:
            copy.close()
        self._begin()


# What goes from process to process

_NOTHING = marshal.dumps(None)


def _packed(entry: Entry, copy: Copy | None) -> bytes:
    one = entry.instance
    uids = (one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID, one.SOPClassUID, one.TransferSyntaxUID)
    crc32 = None if copy is None else copy.crc32
    return marshal.dumps((*uids, dict(one.tags), entry.size, os.fspath(entry.file), copy is not None, crc32))


def _has_copy(item: Any) -> bool:
    return item is not None and bool(item[-2])


def _unpacked(path: Path, item: Any, copy: Copy | None) -> Entry | None:
    if item is None:
        return None
    *header, size, file, _, crc32 = item
    if copy is not None:
        copy.crc32 = crc32
    return Entry(path, Instance(*header), size, Path(file), copying=copy)
