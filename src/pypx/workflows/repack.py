"""Repacking: file DICOM files that lie anywhere into the BASEMOUNT."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pypx.db.smdb import Database
from pypx.errors import DatabaseError, InputError, InvalidDicomError, PartialError
from pypx.model.outcomes import FileOutcome, FileState
from pypx.model.packpath import Templates
from pypx.workflows.digests import Digesting
from pypx.workflows.filing import Filer, FilingOptions
from pypx.workflows.placing import Placement

MEDIA_DIRECTORY = "DICOMDIR"
"""The index of a DICOM medium (PS3.10 8.6): no image, and no error either."""


@dataclass(frozen=True, slots=True)
class RepackOptions:
    """What is repacked, and how.

    `templates` override those of the BASEMOUNT.  With `recursive`, directories are walked; without, only the files
    directly in them are taken.  `substrings`: of the files in a directory, those whose name contains one of them
    (none: all).
    """

    placement: Placement = Placement.COPY
    templates: Templates | None = None
    recursive: bool = True
    substrings: tuple[str, ...] = ()


@dataclass(slots=True)
class RepackSummary:
    """Counts of what came of the files; `take` each outcome, then `check`."""

    counts: dict[FileState, int] = field(default_factory=lambda: dict.fromkeys(FileState, 0))
    staying: int = 0

    def take(self, outcome: FileOutcome) -> None:
        """Count one."""
        self.counts[outcome.state] += 1
        self.staying += outcome.stays is not None

    @property
    def files(self) -> int:
        """How many files there were."""
        return sum(self.counts.values())

    def check(self) -> None:
        """Raise if not all is well.

        Raises
        ------
        InvalidDicomError : there was not one DICOM file
        PartialError : some files were not filed: rejected, or set aside as conflicts; or sources could not be removed
        """
        rejected, conflicts = self.counts[FileState.REJECTED], self.counts[FileState.CONFLICT]
        if rejected == self.files:
            raise InvalidDicomError(f"no DICOM file among {self.files} files; name a directory that has some")
        if rejected or conflicts:
            raise PartialError(
                f"{rejected} of {self.files} files cannot be read or are not whole DICOM files, {conflicts} hold other"
                " content than what is already there under their UID (kept in incoming/conflicts); the others are filed"
            )
        if self.staying:
            raise PartialError(f"{self.staying} of {self.files} sources could not be removed; all files are filed")


def repack(
    sources: Sequence[Path],
    database: Database,
    options: RepackOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
    skipped: Callable[[Path, str], None] | None = None,
) -> Iterator[FileOutcome]:
    """File every file of `sources`, batch by batch.

    Parameters
    ----------
    sources : files and directories; a file named here is taken whatever its name
    progress : gets files done and files in all, after each batch
    skipped : gets what is no file, such as a dangling link, and what it is

    Yields
    ------
    One outcome a file, in the order of `sources` and of names, as soon as its record is durable; one a directory that
    cannot be read

    Raises
    ------
    InputError : a source does not exist, or is the packed tree itself
    DatabaseError : the BASEMOUNT cannot be written; what was yielded is filed, and a second run does the rest
    """
    options = options or RepackOptions()
    for source in sources:
        _check_source(source, database)
    digesting = Digesting(database)
    try:
        yield from _repack(_Walk(sources, options, skipped), database, digesting, progress)
    finally:
        digesting.close()


def _repack(
    walk: _Walk,
    database: Database,
    digesting: Digesting,
    progress: Callable[[int, int], None] | None,
) -> Iterator[FileOutcome]:
    filer = Filer(database, FilingOptions(walk.options.placement, walk.options.templates, lenient=True))
    total = sum(1 for _ in _Walk(walk.sources, walk.options)) if progress is not None else 0
    done = 0
    try:
        for found in walk:
            failed = _add(filer, found) if isinstance(found, Path) else found
            if filer.due or failed is not None:
                for outcome in [*_commit(filer, digesting), *([failed] if failed is not None else [])]:
                    done += 1
                    yield outcome
                if progress is not None:
                    progress(done, max(done, total))
        yield from _commit(filer, digesting)
    except (KeyboardInterrupt, SystemExit):
        _commit(filer, digesting)  # what has its place gets its record
        raise
    if progress is not None:
        progress(total, total)


@dataclass(frozen=True, slots=True)
class _Walk:
    """What there is to repack: files, sorted within each directory, and outcomes for directories nobody may read."""

    sources: Sequence[Path]
    options: RepackOptions
    skipped: Callable[[Path, str], None] | None = None

    def __iter__(self) -> Iterator[Path | FileOutcome]:
        for source in self.sources:
            if source.is_dir():
                yield from self._directory(source)
            else:
                yield source

    def _directory(self, source: Path) -> Iterator[Path | FileOutcome]:
        unreadable: list[OSError] = []
        for directory, folders, names in os.walk(source, onerror=unreadable.append):
            yield from _refused(unreadable)
            linked = [name for name in folders if _is_link(Path(directory, name))]
            folders[:] = sorted(set(folders).difference(linked)) if self.options.recursive else []
            for name in sorted([*names, *(linked if self.options.recursive else [])]):
                path = Path(directory, name)
                if name == MEDIA_DIRECTORY or not _is_wanted(name, self.options.substrings):
                    continue
                kind = _no_file(path)
                if kind is None:
                    yield path
                elif self.skipped is not None:
                    self.skipped(path, kind)
        yield from _refused(unreadable)


def _refused(unreadable: list[OSError]) -> Iterator[FileOutcome]:
    """An outcome a directory that could not be read; they are taken off the list."""
    while unreadable:
        error = unreadable.pop(0)
        reason = f"the directory cannot be read: {error.strerror}"
        yield FileOutcome(Path(error.filename), FileState.REJECTED, reason=reason)


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except PermissionError:
        return False


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
    return "link to a directory" if stat.S_ISDIR(mode) else "no regular file"


def _is_wanted(name: str, substrings: tuple[str, ...]) -> bool:
    return not substrings or any(part in name for part in substrings)


def _check_source(source: Path, database: Database) -> None:
    if not source.exists():
        raise InputError(f"{source}: no such file or directory")
    data = database.layout.data.resolve()
    real = source.resolve()
    if real == data or data in real.parents or real in data.parents:
        raise InputError(f"{source}: is, or has in it, the packed tree {data}; name what is to be packed")


def _add(filer: Filer, path: Path) -> FileOutcome | None:
    """Add a file to the batch; an outcome if it cannot even be read."""
    try:
        filer.add(path)
    except OSError as error:
        if os.access(path, os.R_OK):
            raise _cannot_file(error) from error
        return FileOutcome(path, FileState.REJECTED, reason=f"cannot be read: {error.strerror}")
    return None


def _commit(filer: Filer, digesting: Digesting) -> list[FileOutcome]:
    try:
        outcomes = filer.commit()
    except OSError as error:
        raise _cannot_file(error) from error
    digesting.take(outcomes)
    return outcomes


def _cannot_file(error: OSError) -> DatabaseError:
    return DatabaseError(f"cannot file into the BASEMOUNT: {error.strerror}; make room or give access, then repeat")
