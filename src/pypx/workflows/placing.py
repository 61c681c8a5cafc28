"""Giving a file its final name: at once and whole, and never over another file.

A hard link does all three (link(2) is atomic and fails where the name is taken).  Where a link cannot be made (another
filesystem, one without links, a file that is not ours) the bytes are copied into a file without a name, or with a
temporary one, which then gets the final name in the same way.  A temporary one that a killed process left is removed by
the next that copies into its directory, and by ``px smdb verify``.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path

from pypx.db.files import set_mode
from pypx.db.layout import Modes
from pypx.db.tables import make_dirs
from pypx.workflows.copying import copy_bytes, copy_unnamed

_MODES = Modes()
_PART = re.compile(r"\.[0-9a-f]{16}\.part")
_UNLOCKED_S = 60.0  # longer than it takes to lock a file that was just made
_DIRECTORIES = 1024
_NO_LINKS = frozenset({
    errno.EPERM, errno.EACCES, errno.EXDEV, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL,
})  # fmt: skip


class Placement(str, Enum):
    """What becomes of the source of a file that is filed.

    COPY leaves it and shares nothing with it; LINK leaves it and shares the bytes where the filesystem can; MOVE
    shares the bytes, then removes the source once the record is durable.
    """

    COPY = "copy"
    LINK = "link"
    MOVE = "move"


def place(source: Path, target: Path, placement: Placement, modes: Modes = _MODES) -> bool:
    """Let `target` name the bytes of `source`, if nothing has that name yet.

    Directories on the way are made.  A copied or moved file gets the permissions that `modes` say.

    Returns
    -------
    Whether the name is ours now; ``False``: it is taken, and what has it is untouched

    Raises
    ------
    OSError : `source` cannot be read, or `target` not written (no space, no permission)
    """
    try:
        return _place(source, target, placement, modes.file)
    except FileNotFoundError:  # most often the directory is there
        make_dirs(target.parent, modes.directory)
        return _place(source, target, placement, modes.file)


def _place(source: Path, target: Path, placement: Placement, mode: int) -> bool:
    if placement is Placement.LINK or (placement is Placement.MOVE and _can_go(source)):
        try:
            _link(source, target, mode if placement is Placement.MOVE else None)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            return True
    return not os.path.lexists(target) and _copy(source, target, mode)


def _can_go(source: Path) -> bool:
    """Whether a source can be removed; one that stays shares nothing, and keeps its mode."""
    folder = os.path.dirname(source) or os.curdir  # noqa: PTH120 - for each file
    return os.access(folder, os.W_OK | os.X_OK)


def _link(source: Path, target: Path, mode: int | None) -> None:
    status = source.lstat()
    if mode is not None and status.st_mode & 0o7777 != mode:
        source.chmod(mode)
    os.link(source.resolve() if stat.S_ISLNK(status.st_mode) else source, target)


def _copy(source: Path, target: Path, mode: int) -> bool:
    copy = copy_unnamed(source, target.parent, mode=mode)
    if copy is None:
        return _copy_by_name(source, target, mode)
    try:
        return copy.give_name(target)
    finally:
        copy.close()


def _copy_by_name(source: Path, target: Path, mode: int) -> bool:
    _clear_once(target.parent)
    temporary = target.with_name(f".{os.urandom(8).hex()}.part")
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writer = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
        try:
            with suppress(OSError):  # no locks here: then what a killed process leaves stays
                fcntl.flock(writer, fcntl.LOCK_EX)
            set_mode(writer, mode)
            copy_bytes(reader, writer)
            os.fsync(writer)
            return _rename_new(temporary, target, mode)
        finally:
            os.close(writer)
            temporary.unlink(missing_ok=True)
    finally:
        os.close(reader)


@functools.lru_cache(maxsize=_DIRECTORIES)
def _clear_once(directory: Path) -> None:
    clear_parts(directory)


def clear_parts(directory: Path) -> int:
    """Remove the temporary files in a directory whose makers are gone; how many they were.

    Each is locked by its maker as long as that lives (flock(2)); what is younger than a minute may not be locked yet.
    """
    removed = 0
    with suppress(OSError):
        for name in os.listdir(directory):  # noqa: PTH208 - a name is all that is wanted of most
            if _PART.fullmatch(name) is not None:
                with suppress(OSError):
                    removed += _clear(directory / name)
    return removed


def _clear(part: Path) -> bool:
    descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or time.time() - found.st_mtime < _UNLOCKED_S:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(part.lstat(), os.fstat(descriptor)):
            return False
        part.unlink()
    finally:
        os.close(descriptor)
    return True


def _rename_new(temporary: Path, target: Path, mode: int) -> bool:
    """Rename without replacing: by a link, or, without links, over an empty file that claims the name."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode))
        except FileExistsError:
            return False
        temporary.replace(target)
    return True


def same_file(first: Path, second: Path) -> bool:
    """Whether both names are of one file (the same inode)."""
    try:
        return os.path.samestat(first.stat(), second.stat())
    except FileNotFoundError:
        return False


def set_aside(
    source: Path,
    directory: Path,
    names: Iterable[str],
    *,
    move: bool,
    known: Callable[[Path, Path], bool] = same_file,
    modes: Modes = _MODES,
) -> Path:
    """Keep `source` in `directory` under the first of `names` that is free; idempotent.

    Parameters
    ----------
    names : candidates, without end
    move : share the bytes (the caller removes the source later) instead of copying them
    known : whether a file that already has one of the names is what would be kept: it is kept once, also when a call
        is repeated after a crash

    Returns
    -------
    Where it is
    """
    placement = Placement.MOVE if move else Placement.COPY
    for name in names:
        target = directory / name
        if place(source, target, placement, modes) or known(source, target):
            return target
    raise FileExistsError(f"no free name in {directory}")
