"""Repacking: file DICOM files that lie anywhere into the BASEMOUNT."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import field
from itertools import chain, islice
from pathlib import Path

from pypx.db.smdb import Database
from pypx.errors import DatabaseError, InputError, InvalidDicomError, PartialError
from pypx.model.dataclass import dataclass
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.model.packpath import Templates
from pypx.workflows.filing import FilingOptions
from pypx.workflows.line import Line
from pypx.workflows.placing import Placement
from pypx.workflows.walking import Walk

_MANY = 32
"""So many files take longer than starting the processes that read and copy them."""


@dataclass(frozen=True, slots=True)
class RepackOptions:
    """What is repacked, and how.

    `templates` override those of the BASEMOUNT.  With `recursive`, directories are walked; without, only the files
    directly in them are taken.  `substrings`: of the files in a directory, those whose name contains one of them
    (none: all).  So many `processes` are forked to read and copy many files, while this one has no other thread; with
    less than two, and for few files, threads copy.
    """

    placement: Placement = Placement.COPY
    templates: Templates | None = None
    recursive: bool = True
    substrings: tuple[str, ...] = ()
    processes: int = 0


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
) -> Generator[FileOutcome, None, None]:
    """File every file of `sources`, batch by batch.

    Parameters
    ----------
    sources : files and directories; a file named here is taken whatever its name
    progress : gets files done and files in all, after each batch
    skipped : gets what is no file, such as a dangling link, and what it is

    Yields
    ------
    One outcome a file, in the order of `sources` and of names, as soon as its record is durable; one a directory that
    cannot be read.  Whoever stops in the midst closes the generator: that records what has its place

    Raises
    ------
    InputError : a source does not exist, or is the packed tree itself
    DatabaseError : the BASEMOUNT cannot be written; what was yielded is filed, and a second run does the rest
    """
    options = options or RepackOptions()
    for source in sources:
        _check_source(source, database)
    total = sum(1 for _ in Walk(sources, options.recursive, options.substrings)) if progress is not None else 0
    done = 0
    line = Line(database, FilingOptions(options.placement, options.templates, lenient=True))
    walk = iter(Walk(sources, options.recursive, options.substrings, skipped))
    try:
        first = list(islice(walk, _MANY))
        if len(first) >= _MANY and options.processes > 1:
            line.fork(options.processes)
        for found in chain(first, walk):
            for outcomes in line.put(found):
                done += len(outcomes)
                yield from outcomes
                if progress is not None:
                    progress(done, max(done, total))
        for outcomes in line.rest():
            yield from outcomes
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        line.stop()  # what has its place gets its record
        raise
    except DatabaseError as error:
        _add(error, line.unrecorded())
        raise
    finally:
        line.close()
    if progress is not None:
        progress(total, total)


def _add(error: DatabaseError, unrecorded: int) -> None:
    """Let an error say that files have their place without a record."""
    if unrecorded:
        text = f"; {unrecorded} files lie below data/ without a record: a repeat, or px smdb rebuild, records them"
        error.args = (f"{error}{text}",)
        error.detail += text if error.detail else ""


def _check_source(source: Path, database: Database) -> None:
    if not source.exists():
        raise InputError(f"{source}: no such file or directory")
    data = database.layout.data.resolve()
    real = source.resolve()
    if real == data or data in real.parents or real in data.parents:
        raise InputError(f"{source}: is, or has in it, the packed tree {data}; name what is to be packed")
