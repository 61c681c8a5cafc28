"""The spool of listeners: ``incoming/<listener>/<association>/``, one folder an association.

Who lives is known from locks that the kernel frees, flock(2) on the file ``.lock`` of each folder: that of a listener
is held by its supervisor and its worker, that of an association by its storescp.  A folder gets its name only when its
lock is held, so a folder whose lock is free belongs to nobody who lives.  How an association ended is told by the mode
of its lock file (one may be executed by its owner: well; by its group: badly): changing that takes no room on a full
disk.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import field
from itertools import islice
from pathlib import Path

from pypx.db.files import set_mode
from pypx.db.layout import Modes
from pypx.db.tables import make_dirs
from pypx.errors import DatabaseError
from pypx.model.dataclass import dataclass

LOCK = ".lock"
ERRORS = ".errors.cfg"
PREFIX = "listener-"
CONFLICTS = "conflicts"
REJECTED = "rejected"
_UNBORN = ".new-"
_UNBORN_S = 60.0
_BLOCK = 4096
_WELL, _BADLY = 0o100, 0o010
_MODES = Modes()
_TEMPORARY = ".tmp-"


def create_listener(incoming: Path, modes: Modes = _MODES) -> tuple[Path, int]:
    """Make the folder of a new listener.

    Returns
    -------
    The folder, and the descriptor that holds its lock

    Raises
    ------
    DatabaseError : it cannot be made, or the filesystem has no flock
    """
    make_dirs(incoming, modes.directory)
    _clear_unborn(incoming)
    return _create_locked(incoming, f"{PREFIX}{secrets.token_hex(6)}", modes)


def create_association(listener: Path, number: int, modes: Modes = _MODES) -> tuple[Path, int]:
    """Make the folder of the `number`-th association; as :func:`create_listener`."""
    return _create_locked(listener, f"{number:08d}", modes)


def _create_locked(parent: Path, name: str, modes: Modes) -> tuple[Path, int]:
    hidden = parent / f"{_UNBORN}{name}"
    try:
        hidden.mkdir(mode=modes.directory)
        if stat.S_IMODE(hidden.stat().st_mode) & 0o777 != modes.directory & 0o777:
            hidden.chmod(modes.directory)
        descriptor = os.open(hidden / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, modes.file)
        try:
            set_mode(descriptor, modes.file)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(parent / name)
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        remove_folder(hidden)
        raise DatabaseError(f"{parent}: cannot make and lock a folder: {error.strerror}") from error
    return parent / name, descriptor


def _clear_unborn(parent: Path) -> None:
    """Remove folders that never got their name because whoever made them died."""
    for folder in parent.glob(f"{_UNBORN}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime < _UNBORN_S:
                continue  # its lock may not have been taken yet
            descriptor = take_lock(folder)
            if descriptor is not None:
                remove_folder(folder)
                os.close(descriptor)


def take_lock(folder: Path) -> int | None:
    """Take over a folder that nobody holds.

    Returns
    -------
    The descriptor that holds its lock now; ``None``: somebody lives in it, or it is gone
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODES.file)
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


def mark_ended(folder: Path, *, well: bool) -> None:
    """Note how the program of an association ended; `well`: by itself, so that no file of it is unfinished."""
    with suppress(OSError):
        lock = folder / LOCK
        lock.chmod(stat.S_IMODE(lock.stat().st_mode) & 0o666 | (_WELL if well else _BADLY))


def ended_well(folder: Path) -> bool | None:
    """How the program of an association ended; ``None``: nobody has noted it (yet)."""
    return {_WELL: True, _BADLY: False}.get((folder / LOCK).stat().st_mode & (_WELL | _BADLY))


def maybe_unfinished(file: Path) -> bool:
    """Whether a file of an ended association may not have been written to its end, had its program been killed.

    That is the newest one; and as the program writes whole blocks until it closes the file, one of whole blocks.
    """
    status = file.stat()
    if status.st_size % min(status.st_blksize, _BLOCK):
        return False
    others = (file.with_name(name).stat().st_mtime_ns for name in files(file.parent))
    return all(mtime <= status.st_mtime_ns for mtime in others)


def remove_folder(folder: Path) -> bool:
    """Remove a folder that holds nothing but its lock and what else is ours, and folders that never got their name.

    Returns
    -------
    Whether it is gone
    """
    with suppress(OSError):
        for unborn in folder.glob(f"{_UNBORN}*"):
            remove_folder(unborn)
        names = os.listdir(folder)  # noqa: PTH208  names are all that is asked for
        if all(name in (LOCK, ERRORS) or name.startswith(_TEMPORARY) for name in names):
            for name in sorted(names, key=LOCK.__eq__):  # the lock goes last
                (folder / name).unlink()
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


def left_behind(incoming: Path, limit: int) -> int:
    """How many files wait in the folders of listeners that have died, and of which no living one has taken them over.

    Parameters
    ----------
    limit : so many of each are counted
    """
    number = 0
    for folder in listeners(incoming):
        descriptor = take_lock(folder)
        if descriptor is not None:
            number += waiting(folder, limit)
            os.close(descriptor)
    return number


@dataclass(slots=True)
class AssociationFolder:
    """The folder of one association, seen again and again while files come in.

    storescp writes its files one after the other, so a file is closed when a later one exists.  Which is later is told
    by the order in which they appear here, never by a clock.  A name that shows up first in look *n* was made after
    look *n* - 2 had ended (else look *n* - 1 would have found it); so all that was there in look *n* - 2 is closed.

    `fresh` are the names that the last look was the first to find.
    """

    path: Path
    ended: bool = False
    fresh: list[str] = field(default_factory=list, init=False)
    _looks: int = field(default=0, init=False)
    _newest: int = field(default=0, init=False)
    _first: dict[str, int] = field(default_factory=dict, init=False)

    def closed(self) -> list[str]:
        """Names of the files that nobody writes any more.

        They come again with the next call unless they have gone.
        """
        if not self.ended:
            self.ended = self._is_ended()  # before the look: what ended before it has left all its files
        names = files(self.path)
        self.fresh = [name for name in names if name not in self._first]
        if self.ended:
            self._first = dict.fromkeys(names, self._looks)
            return sorted(names)
        self._looks += 1
        first = {name: self._first.get(name, self._looks) for name in names}
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
