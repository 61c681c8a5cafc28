"""Files of the BASEMOUNT: directories and modes, locks, atomic replacement, durability.

Every ``OSError`` leaves here as a :class:`~pypx.errors.DatabaseError` of one line.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EDQUOT, EINVAL, ENOSPC, ENOTDIR, ENOTSUP, EPERM, EROFS
from pathlib import Path

from pypx.db.layout import DIR_MODE, FILE_MODE
from pypx.errors import DatabaseError, LockTimeoutError

_POLL_S = 0.01
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
    shown = str(path) if str(path).isprintable() else repr(str(path))
    advice = _ADVICE.get(error.errno or 0, "check the disk and the path")
    return DatabaseError(f"{shown}: cannot {doing}: {error.strerror or error}; {advice}")


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
                if found & 0o777 != mode:
                    directory.chmod(mode | found & 0o7000)
                _sync_dir(directory.parent)
        if not path.is_dir():
            raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))


@contextmanager
def locked(lock: Path, timeout_s: float = 30) -> Iterator[None]:
    """Hold a lock file around a block, against other processes, hosts and threads.

    The lock goes when its holder dies.  Never take a second one within the block.

    Parameters
    ----------
    lock : the lock file; it and its directory are created when missing, and never removed
    timeout_s : how long to wait for another holder, seconds, >= 0

    Raises
    ------
    LockTimeoutError : still held by another process
    DatabaseError : the lock file cannot be created or locked
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - kept out of start-up

    make_dirs(lock.parent)
    holder = FileLock(lock, mode=FILE_MODE)
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
        return path.read_bytes()
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
    temporary = (scratch or path.parent) / f".tmp-{secrets.token_hex(8)}"
    with os_errors("write", path):
        try:
            _write_new(temporary, data, mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if sync_directory:
            _sync_dir(path.parent)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        set_mode(descriptor, mode)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
