"""The spool of listeners: ``incoming/<listener>/<association>/``, one folder an association.

Who lives is known from locks that the kernel frees, flock(2) on the file ``.lock`` of each folder: that of a listener
is held by its supervisor and its worker, that of an association by its storescp.  A folder gets its name only when its
lock is held, so a folder whose lock is free belongs to nobody who lives.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pypx.db.layout import FILE_MODE
from pypx.db.tables import make_dirs
from pypx.errors import DatabaseError

LOCK = ".lock"
PREFIX = "listener-"
CONFLICTS = "conflicts"
REJECTED = "rejected"
_UNBORN = ".new-"


def create_listener(incoming: Path) -> tuple[Path, int]:
    """Make the folder of a new listener.

    Returns
    -------
    The folder, and the descriptor that holds its lock

    Raises
    ------
    DatabaseError : it cannot be made, or the filesystem has no flock
    """
    make_dirs(incoming)
    return _create_locked(incoming, f"{PREFIX}{secrets.token_hex(6)}")


def create_association(listener: Path, number: int) -> tuple[Path, int]:
    """Make the folder of the `number`-th association; as :func:`create_listener`."""
    return _create_locked(listener, f"{number:08d}")


def _create_locked(parent: Path, name: str) -> tuple[Path, int]:
    hidden = parent / f"{_UNBORN}{name}"
    try:
        hidden.mkdir(mode=0o750)
        descriptor = os.open(hidden / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(parent / name)
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        remove_folder(hidden)
        raise DatabaseError(f"{parent}: cannot make and lock a folder: {error.strerror}") from error
    return parent / name, descriptor


def take_lock(folder: Path) -> int | None:
    """Take over a folder that nobody holds.

    Returns
    -------
    The descriptor that holds its lock now; ``None``: somebody lives in it, or it is gone
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(folder / LOCK)):  # noqa: PTH116  the pair reads better
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def remove_folder(folder: Path) -> bool:
    """Remove a folder that holds nothing but its lock, and folders that a crash kept from getting their name.

    Returns
    -------
    Whether it is gone
    """
    with suppress(OSError):
        for unborn in folder.glob(f"{_UNBORN}*"):
            remove_folder(unborn)
        if os.listdir(folder) == [LOCK]:  # noqa: PTH208  names are all that is asked for
            (folder / LOCK).unlink()
        folder.rmdir()
    return not folder.exists()


def listeners(incoming: Path) -> list[Path]:
    """The folders of all listeners, living and dead, oldest first."""
    found = []
    with suppress(FileNotFoundError), os.scandir(incoming) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
    return [incoming / name for _, name in sorted(found)]


def associations(listener: Path) -> list[Path]:
    """The folders of the associations of a listener, oldest first."""
    with suppress(FileNotFoundError), os.scandir(listener) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)]
        return [listener / name for name in sorted(names)]
    return []


def files(folder: Path) -> list[str]:
    """Names of the files in the folder of an association, in no order."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return [e.name for e in entries if not e.name.startswith(".") and e.is_file(follow_symlinks=False)]
    return []


def waiting(listener: Path, limit: int) -> int:
    """How many files wait in the folder of a listener, counted up to `limit`."""
    names = (name for folder in associations(listener) for name in files(folder))
    return sum(1 for _ in islice(names, limit))


@dataclass(slots=True)
class AssociationFolder:
    """The folder of one association, seen again and again while files come in.

    storescp writes its files one after the other, so a file is closed when a later one exists.  Which is later is told
    by the order in which they appear here, never by a clock.  A name that shows up first in look *n* was made after
    look *n* - 2 had ended (else look *n* - 1 would have found it); so all that was there in look *n* - 2 is closed.
    """

    path: Path
    ended: bool = False
    _looks: int = field(default=0, init=False)
    _newest: int = field(default=0, init=False)
    _first: dict[str, int] = field(default_factory=dict, init=False)

    def closed(self) -> list[str]:
        """Names of the files that nobody writes any more.

        They come again with the next call unless they have gone.
        """
        if not self.ended:
            self.ended = self._is_ended()  # before the look: what ended before it has left all its files
        if self.ended:
            return sorted(files(self.path))
        self._looks += 1
        first = {name: self._first.get(name, self._looks) for name in files(self.path)}
        self._first = first
        self._newest = max(self._newest, max(first.values(), default=0))
        return sorted(name for name, look in first.items() if look <= self._newest - 2)

    @property
    def filling(self) -> bool:
        """Whether files lie in it."""
        return bool(self._first)

    def _is_ended(self) -> bool:
        descriptor = take_lock(self.path)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None or not self.path.exists()
