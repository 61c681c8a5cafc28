"""Walking over files and directories that hold DICOM files, and other things."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pypx.model.fileoutcomes import FileOutcome, FileState

MEDIA_DIRECTORY = "DICOMDIR"
"""The index of a DICOM medium (PS3.10 8.6): no image, and no error either."""

_DIRECTORY_LINK = "link to a directory"


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
