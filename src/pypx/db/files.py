"""Files of the BASEMOUNT: directories and modes, locks, atomic replacement, durability.

Every ``OSError`` leaves here as a :class:`~pypx.errors.DatabaseError` of one line.
"""

from __future__ import annotations

import fcntl
import os
from binascii import crc32
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EDQUOT, EINVAL, ENOSPC, ENOTDIR, ENOTSUP, EPERM, EROFS
from functools import lru_cache
from pathlib import Path
from typing import TextIO

from pypx.db.checkpoints import reached
from pypx.db.layout import DIR_MODE, FILE_MODE, Layout, Modes
from pypx.errors import DatabaseError, LockTimeoutError

_POLL_S = 0.01
_MODES = Modes()
_BLOCK = 1 << 16
_SYNC_FILE_RANGE_WRITE = 2
_logs: dict[Path, Path] = {}
"""The ``log/`` of each packed tree that this process uses."""
_ADVICE = {
    ENOSPC: "free some space there, or keep the BASEMOUNT elsewhere",
    EDQUOT: "free some of your quota, or keep the BASEMOUNT elsewhere",
    EROFS: "it is mounted read-only; mount it for writing, or name another BASEMOUNT",
    EACCES: "run px as the owner of the BASEMOUNT, or give this user access to it",
    EPERM: "run px as the owner of the BASEMOUNT, or give this user access to it",
    ENOTDIR: "a file is in the place of a directory; name another BASEMOUNT, or move that file away",
}


@contextmanager
def os_errors(doing: str, path: Path | str) -> Iterator[None]:
    """Turn an ``OSError`` of the block into a DatabaseError: what was tried, where, why not, what to do."""
    try:
        yield
    except OSError as error:
        raise _explained(error, doing, path) from error


def _explained(error: OSError, doing: str, path: Path | str) -> DatabaseError:
    advice = _ADVICE.get(error.errno or 0, "check the disk and the path")
    return about(path, f": cannot {doing}: {error.strerror or error}; {advice}")


def about(path: Path | str, text: str) -> DatabaseError:
    """The error that says `text` of a file; the name of a file that tells of a patient is in its `detail` alone."""
    brief, whole = shown(path), _printable(path)
    return DatabaseError(f"{brief}{text}", detail="" if brief == whole else f"{whole}{text}")


def use_layout(layout: Layout) -> None:
    """Have `shown` know where packed files are, also where that is away from ``log/``."""
    _logs[layout.data] = layout.log


def shown(path: Path | str) -> str:
    """A file as an error line names it: ``…`` for what is made of the patient's values.

    That is what lies below ``patientData/``, and below ``data/`` in a BASEMOUNT or in a layout that this process uses.
    """
    parents = Path(path).parents
    for folder in parents:
        if (
            folder.name == "patientData"
            or (folder.name == "data" and os.path.isdir(folder.parent / "log"))  # noqa: PTH112 - see make_dirs
            or (folder in _logs and _logs[folder] not in parents)
        ):
            return f"{_printable(folder)}/…"
    return _printable(path)


def _printable(path: Path | str) -> str:
    return str(path) if str(path).isprintable() else repr(str(path))


def make_dirs(path: Path, mode: int = DIR_MODE) -> None:
    """Create a directory and those above it that are missing, with `mode` whatever the umask.

    Directories that exist are left as they are; a set-group-ID bit that the parent hands down stays.

    Raises
    ------
    DatabaseError : it cannot be created, or a file is in its place
    """
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir() raises where a parent may not be entered
        return
    with os_errors("create the directory", path):
        for directory in [*reversed(path.parents), path]:
            if os.path.isdir(directory):  # noqa: PTH112 - as above
                continue
            with suppress(FileExistsError):  # another process was faster; a file in its place fails below
                directory.mkdir(mode)
                found = directory.stat().st_mode & 0o7777
                if found != mode | found & 0o7000:
                    directory.chmod(mode | found & 0o7000)
                _sync_dir(directory.parent)
        if not path.is_dir():
            raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))


@contextmanager
def locked(lock: Path, timeout_s: float = 30, *, modes: Modes = _MODES) -> Iterator[None]:
    """Hold a lock file around a block, against other processes, hosts and threads.

    The lock goes when its holder dies.  Never take a second one within the block.

    Parameters
    ----------
    lock : the lock file; it and its directory are created when missing, and never removed
    timeout_s : how long to wait for another holder, seconds, >= 0
    modes : of the lock file and its directory

    Raises
    ------
    LockTimeoutError : still held by another process
    DatabaseError : the lock file cannot be created or locked
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - kept out of start-up

    make_dirs(lock.parent, modes.directory)
    holder = FileLock(lock, mode=modes.file)
    try:
        holder.acquire(timeout=timeout_s, poll_interval=_POLL_S)
    except Timeout:
        raise LockTimeoutError(
            f"{lock}: held by another process for more than {timeout_s:g} s; end that process, or try again"
        ) from None
    except NotImplementedError:
        raise DatabaseError(f"{lock}: this file system has no locks; keep the BASEMOUNT on one that has") from None
    except OSError as error:
        raise _explained(error, "lock for writing", lock) from error
    try:
        yield
    finally:
        holder.release()


def read_bytes(path: Path) -> bytes | None:
    """The content of a file; ``None`` if there is none.

    Raises
    ------
    DatabaseError : it cannot be read
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # half the system calls of Path.read_bytes
        try:
            blocks = []
            while block := os.read(descriptor, _BLOCK):
                blocks.append(block)
            return b"".join(blocks)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _explained(error, "read", path) from error


def write_file(
    path: Path, data: bytes, mode: int = FILE_MODE, *, scratch: Path | None = None, sync_directory: bool = True
) -> None:
    """Replace a file as a whole, or create it; a crash leaves the old content or the new.

    Parameters
    ----------
    path : the file; its directory exists
    data : the new content
    mode : permissions, whatever the umask
    scratch : directory for the temporary file (default: that of `path`), on the same file system
    sync_directory : make the name durable, too; if not, the caller does it for several files by `sync_dir`

    Raises
    ------
    DatabaseError : disk full, no permission, …; the old content is untouched
    """
    with os_errors("write", path):
        temporary, descriptor = _open_temporary(scratch or path.parent, path.name, mode)
        try:
            _write_all(descriptor, data, mode)
            reached("tables.temporary")
            temporary.replace(path)
            reached("tables.renamed")
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        if sync_directory:
            _sync_dir(path.parent)


def _open_temporary(folder: Path, name: str, mode: int) -> tuple[Path, int]:
    """An empty temporary file that is ours alone, for the new content of `name`.

    Its name follows from `name`, so that what a crash left is used up by the next writer; whether the one before lives
    is known from a lock on it (flock(2)).
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    path = folder / f".tmp-{crc32(os.fsencode(name)):08x}"
    with suppress(PermissionError):  # of another user
        descriptor = os.open(path, flags, mode)
        with suppress(OSError):  # somebody writes it, or has just renamed it; or there are no locks here
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                os.ftruncate(descriptor, 0)
                return path, descriptor
        os.close(descriptor)
    path = folder / f".tmp-{os.urandom(8).hex()}"
    return path, os.open(path, flags | os.O_EXCL, mode)


def _write_all(descriptor: int, data: bytes, mode: int) -> None:
    set_mode(descriptor, mode)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def open_to_append(path: Path, mode: int = FILE_MODE) -> TextIO:
    """Open a file of text that is to grow; a new one has `mode` whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, mode)
    if os.fstat(descriptor).st_size == 0:
        set_mode(descriptor, mode)
    return open(descriptor, "a", encoding="utf-8")  # noqa: PTH123 - a Path cannot be had of a descriptor


def set_mode(descriptor: int, mode: int) -> None:
    """Give an open file `mode` if the umask changed it."""
    if os.fstat(descriptor).st_mode & 0o777 != mode:
        os.fchmod(descriptor, mode)


def sync_dir(path: Path) -> None:
    """Make the names in a directory durable.

    Raises
    ------
    DatabaseError : the disk failed
    """
    with os_errors("sync the directory", path):
        _sync_dir(path)


def _sync_dir(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {EINVAL, ENOTSUP}:  # some network file systems cannot, and need not
            raise
    finally:
        os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Make all that was written to the file system of `path` durable: syncfs(2), or sync(2) where there is none.

    Raises
    ------
    DatabaseError : the disk reported an error
    """
    import ctypes  # noqa: PLC0415 - kept out of start-up

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    with os_errors("sync the file system of", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if syncfs(descriptor) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
        finally:
            os.close(descriptor)


def begin_to_write(path: Path | str) -> None:
    """Have the kernel begin to write a file to the disk, without waiting for it.

    The disk is then busy while there is more to file, and what is made durable later has mostly been written.
    """
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            begin_to_write_open(descriptor)
        finally:
            os.close(descriptor)


def begin_to_write_open(descriptor: int) -> None:
    """As `begin_to_write`, for an open file: sync_file_range(2), which Linux alone has; no harm if it fails."""
    function = _sync_file_range()
    if function is not None:
        function(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)


@lru_cache(maxsize=1)
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    import ctypes  # noqa: PLC0415 - kept out of start-up

    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function
