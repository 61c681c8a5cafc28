"""Giving a file its final name: at once and whole, and never over another file.

A hard link does all three (link(2) is atomic and fails where the name is taken).  Where a link cannot be made (another
filesystem, one without links, a file that is not ours) the bytes are copied into a file without a name, or with a
temporary one, which then gets the final name in the same way.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path

from pypx.db.layout import FILE_MODE
from pypx.db.tables import make_dirs

_NO_LINKS = frozenset({
    errno.EPERM, errno.EACCES, errno.EXDEV, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL,
})  # fmt: skip
_NO_UNNAMED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.ENOSYS})


class Placement(str, Enum):
    """What becomes of the source of a file that is filed.

    COPY leaves it and shares nothing with it; LINK leaves it and shares the bytes where the filesystem can; MOVE
    shares the bytes, then removes the source once the record is durable.
    """

    COPY = "copy"
    LINK = "link"
    MOVE = "move"


def place(source: Path, target: Path, placement: Placement) -> bool:
    """Let `target` name the bytes of `source`, if nothing has that name yet.

    Directories on the way are made.  The mode of a copied or moved file becomes 0640.

    Returns
    -------
    Whether the name is ours now; ``False``: it is taken, and what has it is untouched

    Raises
    ------
    OSError : `source` cannot be read, or `target` not written (no space, no permission)
    """
    if not target.parent.is_dir():
        make_dirs(target.parent)
    return _place(source, target, placement)


def _place(source: Path, target: Path, placement: Placement) -> bool:
    if placement is Placement.LINK or (placement is Placement.MOVE and _can_go(source)):
        try:
            _link(source, target, own=placement is Placement.MOVE)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            return True
    return not os.path.lexists(target) and _copy(source, target)


def _can_go(source: Path) -> bool:
    """Whether a source can be removed; one that stays shares nothing, and keeps its mode."""
    return os.access(source.parent, os.W_OK | os.X_OK)


def _link(source: Path, target: Path, *, own: bool) -> None:
    status = source.lstat()
    if own and status.st_mode & 0o7777 != FILE_MODE:
        source.chmod(FILE_MODE)
    os.link(source.resolve() if source.is_symlink() else source, target)


def _copy(source: Path, target: Path) -> bool:
    with source.open("rb") as reader:
        try:
            descriptor = os.open(target.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            if error.errno not in _NO_UNNAMED or not target.parent.is_dir():
                raise
            return _copy_by_name(reader.fileno(), target)
        try:
            _copy_bytes(reader.fileno(), descriptor)
            return _give_name(descriptor, target)
        finally:
            os.close(descriptor)


def _give_name(descriptor: int, target: Path) -> bool:
    """Link an unnamed file (open(2), O_TMPFILE): through /proc, as no privilege is needed there."""
    try:  # with a directory descriptor, which an absolute path ignores, Python follows the link in /proc: linkat(2)
        os.link(f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor, follow_symlinks=True)
    except FileExistsError:
        return False
    return True


def _copy_by_name(reader: int, target: Path) -> bool:
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
    try:
        _copy_bytes(reader, descriptor)
        os.fsync(descriptor)
        return _rename_new(temporary, target)
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def _rename_new(temporary: Path, target: Path) -> bool:
    """Rename without replacing: by a link, or, without links, over an empty file that claims the name."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE))
        except FileExistsError:
            return False
        temporary.replace(target)
    return True


def _copy_bytes(reader: int, writer: int) -> None:
    """All bytes, inside the kernel where it can (and without copying them where the filesystem shares extents)."""
    os.fchmod(writer, FILE_MODE)
    left = os.fstat(reader).st_size
    with suppress(OSError):  # what it refuses, or leaves, is copied below from where it stopped
        while left > 0 and (done := os.copy_file_range(reader, writer, left)):
            left -= done
    with os.fdopen(os.dup(reader), "rb") as source, os.fdopen(os.dup(writer), "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


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
        if place(source, target, placement) or known(source, target):
            return target
    raise FileExistsError(f"no free name in {directory}")
