"""Walking over files and directories that hold DICOM files, and other things."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pypx.model.dataclass import dataclass
from pypx.model.fileoutcomes import FileOutcome, FileState

MEDIA_DIRECTORY = "DICOMDIR"
"""The index of a DICOM medium (PS3.10 8.6): no image, and no error either."""

_DIRECTORY_LINK = "link to a directory"
_RECOVERED = "lost+found"
"""What mkfs makes at the top of a volume, for root alone (fsck(8))."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What there is to repack: files, sorted within each directory, and outcomes for directories nobody may read."""

    sources: Sequence[Path]
    recursive: bool = True
    substrings: tuple[str, ...] = ()
    skipped: Callable[[Path, str], None] | None = None

    def __iter__(self) -> Iterator[Path | FileOutcome]:
        """Each as it is found."""
        for source in self.sources:
            if source.is_dir():
                yield from self._directory(source)
            else:
                yield source

    def _directory(self, source: Path) -> Iterator[Path | FileOutcome]:
        waiting = [str(source)]
        while waiting:
            directory = waiting.pop()
            try:
                names, folders, odd = _listed(directory)
            except OSError as error:
                reason = f"the directory cannot be read: {error.strerror}"
                yield FileOutcome(Path(directory), FileState.REJECTED, reason=reason)
                continue
            for name in names:
                if self._is_wanted(name):
                    yield from self._file(Path(directory, name), odd=name in odd)
            if self.recursive:
                waiting += [os.path.join(directory, name) for name in reversed(folders)]  # noqa: PTH118 - as scandir does

    def _file(self, path: Path, *, odd: bool) -> Iterator[Path]:
        kind = _no_file(path) if odd else None
        if kind is None:
            yield path
        elif self.skipped is not None and (self.recursive or kind != _DIRECTORY_LINK):
            self.skipped(path, kind)

    def _is_wanted(self, name: str) -> bool:
        return name != MEDIA_DIRECTORY and (not self.substrings or any(part in name for part in self.substrings))


@dataclass(frozen=True, slots=True)
class Unread:
    """A directory that could not be listed, and why."""

    path: Path
    reason: str


def files_below(directory: Path) -> Iterator[Path | Unread]:
    """The files of a packed tree, sorted within each directory; not those that are being written.

    A directory that cannot be listed comes in place of its files; one that is missing has none.
    """
    waiting = [str(directory)]
    while waiting:
        folder = waiting.pop()
        try:
            names, folders, odd = _listed(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            path = Path(folder)
            if path != directory / _RECOVERED:
                yield Unread(path, f"the directory cannot be read: {error.strerror}")
            continue
        for name in names:
            path = Path(folder, name)
            if not (name.startswith(".") and name.endswith(".part")) and not (name in odd and os.path.isdir(path)):  # noqa: PTH112 - Path.is_dir() may raise
                yield path
        waiting += [os.path.join(folder, name) for name in reversed(folders)]  # noqa: PTH118 - as scandir does


def is_bare(directory: Path) -> bool:
    """Whether a directory is missing, or holds nothing: so it looks where a volume is not mounted."""
    try:
        return all(name.startswith(".") or name == _RECOVERED for name in os.listdir(directory))  # noqa: PTH208 - names
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def is_gone(path: Path) -> bool:
    """Whether there certainly is no such file; one that may not be looked at may be there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _listed(directory: str) -> tuple[list[str], list[str], set[str]]:
    """What is in a directory, sorted: names of files and the like, names of folders; and which are no plain files."""
    names: list[str] = []
    folders: list[str] = []
    odd: set[str] = set()
    with os.scandir(directory) as entries:
        for entry in entries:
            try:  # mostly known from the listing, without a look at the file
                folder, plain = entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False)
            except OSError:
                folder, plain = False, False
            (folders if folder else names).append(entry.name)
            if not folder and not plain:
                odd.add(entry.name)
    return sorted(names), sorted(folders), odd


def _no_file(path: Path) -> str | None:
    """What `path` is if it is no file; what nobody may look at is taken for one, and named when it is opened."""
    try:
        mode = path.stat().st_mode
    except PermissionError:
        return None
    except OSError:
        return "dangling link"
    if stat.S_ISREG(mode):
        return None
    return _DIRECTORY_LINK if stat.S_ISDIR(mode) else "no regular file"
