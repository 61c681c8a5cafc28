"""Repacking: file DICOM files that lie anywhere into the BASEMOUNT."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pypx.db.smdb import Database
from pypx.errors import DatabaseError, InputError, InvalidDicomError, PartialError
from pypx.model.outcomes import FileOutcome, FileState
from pypx.model.packpath import Templates
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

    def take(self, outcome: FileOutcome) -> None:
        """Count one."""
        self.counts[outcome.state] += 1

    @property
    def files(self) -> int:
        """How many files there were."""
        return sum(self.counts.values())

    def check(self) -> None:
        """Raise if not all is well.

        Raises
        ------
        InvalidDicomError : there was not one DICOM file
        PartialError : some files were not filed: rejected, or set aside as conflicts
        """
        rejected, conflicts = self.counts[FileState.REJECTED], self.counts[FileState.CONFLICT]
        if rejected == self.files:
            raise InvalidDicomError(f"no DICOM file among {self.files} files; name a directory that has some")
        if rejected or conflicts:
            raise PartialError(
                f"{rejected} of {self.files} files are not whole DICOM files, {conflicts} hold other content than what"
                " is already there under their UID (kept in incoming/conflicts); the others are filed"
            )


def repack(
    sources: Sequence[Path],
    database: Database,
    options: RepackOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[FileOutcome]:
    """File every file of `sources`, batch by batch.

    Parameters
    ----------
    sources : files and directories; a file named here is taken whatever its name
    progress : gets files done and files in all, after each batch

    Yields
    ------
    One outcome a file, in the order of `sources` and of names, as soon as its record is durable

    Raises
    ------
    InputError : a source does not exist, or is the packed tree itself
    DatabaseError : the BASEMOUNT cannot be written; what was yielded is filed, and a second run does the rest
    """
    options = options or RepackOptions()
    for source in sources:
        _check_source(source, database)
    filer = Filer(database, FilingOptions(options.placement, options.templates))
    total = sum(1 for _ in find_files(sources, options)) if progress is not None else 0
    done = 0
    for path in find_files(sources, options):
        failed = _add(filer, path)
        if filer.due or failed is not None:
            for outcome in [*_commit(filer), *([failed] if failed is not None else [])]:
                done += 1
                yield outcome
            if progress is not None:
                progress(done, max(done, total))
    yield from _commit(filer)
    if progress is not None:
        progress(total, total)


def find_files(sources: Iterable[Path], options: RepackOptions) -> Iterator[Path]:
    """The files to repack, sorted within each directory."""
    for source in sources:
        if not source.is_dir():
            yield source
            continue
        for directory, folders, names in os.walk(source):
            folders[:] = sorted(folders) if options.recursive else []
            for name in sorted(names):
                path = Path(directory, name)
                if name != MEDIA_DIRECTORY and _is_wanted(name, options.substrings) and path.is_file():
                    yield path


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


def _commit(filer: Filer) -> list[FileOutcome]:
    try:
        return filer.commit()
    except OSError as error:
        raise _cannot_file(error) from error


def _cannot_file(error: OSError) -> DatabaseError:
    return DatabaseError(f"cannot file into the BASEMOUNT: {error.strerror}; make room or give access, then repeat")
