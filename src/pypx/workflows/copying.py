"""Copies without a name: the bytes of a file are in the BASEMOUNT before it is known what they are called there.

The kernel removes a file without a name (open(2), O_TMPFILE) with its last descriptor, so a copy that is given up, or
whose process dies, leaves nothing behind.  Each is read once, for copy and checksum alike.

Copying large files takes as long as all else that filing does, and needs the interpreter for nothing: :class:`Copier`
does it in threads while the headers of the next files are read and names are given to the earlier ones.  Names are
given by the filer alone, in order, so which of two files comes first is not a matter of luck.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pypx.db.files import begin_to_write_open, set_mode
from pypx.db.layout import FILE_MODE

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

SMALL = 64 * 1024
"""A file of up to this many bytes is copied in less time than it takes to hand it to a thread."""

_NO_UNNAMED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.ENOSYS})
_FICLONE = 0x4004_9409
_BLOCK = 256 * 1024
_THREADS = 2


class GivenUpError(Exception):
    """The copy is not wanted any more."""


class Copy:
    """A copy without a name; :meth:`close` it when it has got its name, or is not needed.

    `crc32` is the checksum of its bytes, eight hexadecimal digits; ``None`` where the filesystem shares them with the
    source and nobody read them.
    """

    __slots__ = ("crc32", "descriptor")

    def __init__(self, descriptor: int, crc32: str | None) -> None:
        self.descriptor = descriptor
        self.crc32 = crc32

    def give_name(self, target: Path) -> bool:
        """Link it as `target`; ``False``: the name is taken."""
        try:  # through /proc, as no privilege is needed there: with a directory descriptor, which an absolute path
            # ignores, Python follows the link there (linkat(2))
            os.link(f"/proc/self/fd/{self.descriptor}", target, src_dir_fd=self.descriptor, follow_symlinks=True)
        except FileExistsError:
            return False
        return True

    def close(self) -> None:
        """Give it up, but for the name that it may have got."""
        os.close(self.descriptor)


def copy_unnamed(
    source: Path, directory: Path, wanted: Callable[[], bool] = lambda: True, *, mode: int = FILE_MODE
) -> Copy | None:
    """Copy a file into `directory`, without a name.

    Parameters
    ----------
    wanted : asked between blocks; when it says no, the copy is given up
    mode : permissions of the copy, whatever the umask

    Returns
    -------
    The copy; ``None``: this filesystem has no files without a name

    Raises
    ------
    OSError : `source` cannot be read, or there is no room
    GivenUpError : it was not wanted any more
    """
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            writer = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, mode)
        except OSError as error:
            if error.errno not in _NO_UNNAMED or not stat.S_ISDIR(os.stat(directory).st_mode):  # noqa: PTH116 - as here
                raise
            return None
        try:
            set_mode(writer, mode)
            crc32 = None if _clone(reader, writer) else copy_bytes(reader, writer, wanted)
            begin_to_write_open(writer)
            return Copy(writer, crc32)
        except BaseException:
            os.close(writer)
            raise
    finally:
        os.close(reader)


def _clone(reader: int, writer: int) -> bool:
    """Share the blocks, where the filesystem can (ioctl_ficlone(2)); whether it could."""
    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError:
        return False
    return True


def copy_bytes(reader: int, writer: int, wanted: Callable[[], bool] = lambda: True) -> str:
    """Copy all bytes from descriptor to descriptor; returns their CRC-32.

    A block is small enough to be still in the cache of the processor when it is written: reading, summing and writing
    it cost little more than copy_file_range(2) alone, and much less than reading the file again for its checksum.
    """
    size = os.fstat(reader).st_size
    buffer = memoryview(bytearray(min(max(size, 1), _BLOCK)))
    left, crc32 = size, 0
    while got := os.readv(reader, [buffer]):
        if not wanted():
            raise GivenUpError
        block = buffer[:got]
        crc32 = zlib.crc32(block, crc32)
        while block:
            block = block[os.write(writer, block) :]
        left -= got
        if left == 0:
            break
    return f"{crc32:08x}"


class Copies(Protocol):
    """Who copies a file ahead: threads (:class:`Copier`), or a process made for it (:mod:`pypx.workflows.ahead`).

    `above` : only files of more bytes are worth it
    """

    above: int

    def begin(self, source: Path, directory: Path, mode: int) -> Future[Copy | None] | Copy | None:
        """Let a file be copied; the copy, or what will be one."""


class Copier:
    """Copies files in two threads, which start with the first of them."""

    above = SMALL

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._closed = threading.Event()

    def begin(self, source: Path, directory: Path, mode: int = FILE_MODE) -> Future[Copy | None]:
        """Let a file be copied; to be given to `end` or `drop`."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - kept out of start-up

            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="px-copy")
        return self._pool.submit(copy_unnamed, source, directory, self._wanted, mode=mode)

    def _wanted(self) -> bool:
        return not self._closed.is_set()

    def close(self) -> None:
        """Give up what is being copied, and end the threads."""
        self._closed.set()
        if self._pool is not None:
            self._pool.shutdown()


def drop(copying: Future[Copy | None] | Copy) -> None:
    """Give up a copy, whatever becomes of it."""
    if isinstance(copying, Copy):
        copying.close()
        return

    def close(done: Future[Copy | None]) -> None:
        if not done.cancelled() and done.exception() is None and (copy := done.result()) is not None:
            copy.close()

    if not copying.cancel():
        copying.add_done_callback(close)
