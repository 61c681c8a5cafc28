"""What a push is about: files of directories, or the recorded instances of series, as one job a series."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pypx.db.files import shown
from pypx.db.smdb import Database
from pypx.errors import InputError, InvalidDicomError
from pypx.model.dataclass import dataclass
from pypx.model.fileoutcomes import FileOutcome
from pypx.model.identifiers import UID
from pypx.model.outcomes import FailedFile, SeriesState, SeriesStatus
from pypx.model.records import SeriesRef
from pypx.services.dicomfile import read_instance
from pypx.workflows.pushplan import Wanted
from pypx.workflows.walking import Walk, is_gone

NO_SERIES = SeriesRef(UID(""), UID(""))
"""The series of files that are no DICOM."""


@dataclass(frozen=True, slots=True)
class Job:
    """A series to push; `error` says why it is not, `expected` how many instances it has to have."""

    ref: SeriesRef
    wanted: tuple[Wanted, ...]
    expected: int
    error: str | None = None
    failures: tuple[FailedFile, ...] = ()


def find_files(sources: Sequence[Path], substring: str = "") -> Iterator[Path | FailedFile]:
    """The files to push, absolute, sorted within each directory; one that cannot be listed comes as failed.

    Raises
    ------
    InputError : a source does not exist
    """
    for source in sources:
        start = Path(os.path.abspath(source))  # noqa: PTH100 - resolve() would change the names that are recorded
        if is_gone(start):
            raise InputError(f"{source}: no such file or directory")
        if not os.path.isdir(start):  # noqa: PTH112 - Path.is_dir() raises where a parent may not be entered
            yield start
            continue
        for found in Walk([start]):
            if isinstance(found, FileOutcome):
                yield FailedFile(found.source, found.reason or "it cannot be read")
            elif substring in str(found):
                yield found


def jobs_of_files(files: Sequence[Path | FailedFile], database: Database | None) -> list[Job]:
    """A job for each series the files are of; what cannot be pushed comes last, together, under `NO_SERIES`."""
    groups: dict[UID, tuple[UID, list[Wanted]]] = {}
    failures: list[FailedFile] = []
    for file in dict.fromkeys(files):
        found = _series_of(file) if isinstance(file, Path) else file
        if isinstance(found, FailedFile):
            failures.append(found)
        elif isinstance(file, Path):
            groups.setdefault(found.SeriesInstanceUID, (found.StudyInstanceUID, []))[1].append(Wanted(file))
    jobs = []
    for series, (study, wanted) in groups.items():
        recorded = len(database.images(series)) if database is not None else 0
        jobs.append(Job(SeriesRef(study, series), tuple(wanted), max(recorded, len(wanted))))
    if failures:
        first = failures[0]
        unread = any(isinstance(file, FailedFile) for file in files)
        what = "files and directories cannot be read" if unread else "files are no whole DICOM files"
        error_text = f"{len(failures)} of {len(files)} {what}: {shown(first.file)}: {first.reason}"
        jobs.append(Job(NO_SERIES, (), len(failures), error_text, tuple(failures)))
    return jobs


def _series_of(file: Path) -> SeriesRef | FailedFile:
    try:
        instance = read_instance(file, frozenset())
    except InvalidDicomError as error:
        return FailedFile(file, str(error))
    except OSError as error:
        return FailedFile(file, f"cannot be read: {error.strerror or error}")
    return SeriesRef(instance.StudyInstanceUID, instance.SeriesInstanceUID)


def recorded_job(status: SeriesStatus, database: Database, *, partial: bool) -> Job:
    """The recorded instances of a series; unless `partial`, of one that is known to be complete only."""
    ref = status.series
    records = database.images(ref.SeriesInstanceUID).values()
    wanted = tuple(Wanted(database.layout.resolve(item.file), item.SOPInstanceUID, item.size) for item in records)
    expected = ref.NumberOfSeriesRelatedInstances or status.expected
    problem = _problem(len(wanted), expected, recorded=status.state is not SeriesState.NOT_RECORDED) or status.short
    if not wanted or (problem and not partial):
        return Job(ref, wanted, expected or len(wanted), f"series {ref.SeriesInstanceUID} is not pushed: {problem}")
    return Job(ref, wanted, expected or len(wanted))


def _problem(received: int, expected: int | None, *, recorded: bool) -> str:
    """Why a series cannot be taken for complete, ``""`` if it can."""
    rest = "; retrieve the rest, or push what is here with --partial"
    if not received:
        return "no image of it has arrived; retrieve it" if recorded else "it is not recorded; retrieve it first"
    if expected is None:
        return "nobody has asked its PACS how many images it has; retrieve it, or push what is here with --partial"
    if received < expected:
        return f"only {received} of {expected} images are here{rest}"
    if received > expected:
        return f"{received} images are here, but its PACS spoke of {expected}; retrieve it again, or use --partial"
    return ""
