"""Pushing: images to an object store, a directory or a PACS, each verified, what is there and equal skipped."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field, replace
from pathlib import Path
from typing import TypeVar

from pypx.db.files import shown
from pypx.db.smdb import Database
from pypx.errors import InputError, InvalidDicomError, PartialError, StorageError
from pypx.model.dataclass import dataclass
from pypx.model.outcomes import FailedFile, PushedFile, PushOutcome
from pypx.model.packpath import Templates
from pypx.model.records import SeriesRef
from pypx.workflows.carriers import Carrier, Present, Result
from pypx.workflows.pushjobs import NO_SERIES, Job, find_files, jobs_of_files, recorded_job
from pypx.workflows.pushlog import PushRecord, push_records, record_push
from pypx.workflows.pushplan import Plan, check_pacs_name, make_plan, recorded_folder, templates_for
from pypx.workflows.status import series_status

Progress = Callable[[int, int, int], None]
"""Gets files done, files in all, and bytes sent."""

_IN = TypeVar("_IN")
_OUT = TypeVar("_OUT")


@dataclass(frozen=True, slots=True)
class PushOptions:
    """What is pushed, and under which names.

    `pacs_name` is the folder below ``SERVICES/PACS`` (not needed for a PACS).  `templates` make the names; ``None``:
    the folder of an earlier push, else those of the BASEMOUNT (of pypx's BASEMOUNTs: those of px-push).  `partial`
    pushes also series that are not known to be complete.  `jobs` is how many uploads run at once.
    """

    pacs_name: str = ""
    templates: Templates | None = None
    partial: bool = False
    jobs: int = 8


@dataclass(slots=True)
class PushSummary:
    """Counts of what came of the series; `take` each outcome, then `check`.

    `errors` name no patient; `detail` is the first of them with the whole name of its file.
    """

    series: int = 0
    files: int = 0
    pushed: int = 0
    skipped: int = 0
    failed: int = 0
    bytes: int = 0
    errors: list[str] = field(default_factory=list)
    detail: str = ""

    def take(self, outcome: PushOutcome) -> None:
        """Count one."""
        self.series += 1
        self.files += outcome.files
        self.pushed += outcome.pushed
        self.skipped += outcome.skipped
        self.failed += outcome.failed
        self.bytes += outcome.bytes
        if outcome.error is not None:
            self.errors.append(outcome.error)
            if len(self.errors) == 1 and outcome.failures:
                file = outcome.failures[0].file
                self.detail = outcome.error.replace(shown(file), str(file), 1)

    def check(self) -> None:
        """Raise if not all is well.

        Raises
        ------
        PartialError : some files or series are not where they were to go
        StorageError : not one file is
        """
        if not self.errors:
            return
        more = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
        named = self.detail not in ("", self.errors[0])
        if not self.pushed and not self.skipped:
            text = "nothing was pushed: "
            raise StorageError(f"{text}{self.errors[0]}{more}", detail=f"{text}{self.detail}{more}" if named else "")
        raise PartialError(f"{self.errors[0]}{more}", detail=f"{self.detail}{more}" if named else "")


@dataclass(slots=True)
class _Flight:
    """A series on its way; `refused`: nothing was tried, hence nothing is to be recorded."""

    job: Job
    began: float
    plan: Plan
    record: PushRecord | None = None
    present: Present = field(default_factory=dict)
    refused: bool = False
    error: str | None = None
    futures: list[Future[list[Result]]] = field(default_factory=list)


def push_series(
    series: Iterable[SeriesRef],
    carrier: Carrier,
    database: Database,
    options: PushOptions,
    progress: Progress | None = None,
) -> Iterator[PushOutcome]:
    """Push the recorded instances of series.

    Parameters
    ----------
    series : which ones; each is pushed once, order kept.  Where its PACS said how many instances it has
        (``NumberOfSeriesRelatedInstances``), that is what makes it complete; else what a retrieve has recorded
    carrier : the way to the target (:func:`pypx.workflows.targets.carrier_to`)
    database : where the images and the records of pushes are
    options : names, and whether series may be incomplete
    progress : told as files are done

    Yields
    ------
    One outcome a series as it ends; a series that is not complete has its `error` set and was not touched

    Raises
    ------
    InputError : the name of the PACS cannot be used
    StorageUnreachableError, PeerError : the target as a whole cannot be used; what was pushed until then is recorded
    DatabaseError : a record cannot be read or written
    """
    refs = list({ref.SeriesInstanceUID: ref for ref in reversed(list(series))}.values())[::-1]
    statuses = list(series_status(refs, database))
    jobs = (recorded_job(status, database, partial=options.partial) for status in statuses)
    total = sum(status.received for status in statuses)
    yield from _Pusher(carrier, database, options, progress, total).run(jobs)


def push_files(
    sources: Sequence[Path],
    carrier: Carrier,
    database: Database | None,
    options: PushOptions,
    *,
    substring: str = "",
    progress: Progress | None = None,
) -> Iterator[PushOutcome]:
    """Push the files of directories, and no others; which series they are of is read from them.

    Parameters
    ----------
    sources : files, and directories to be walked with all below them
    substring : of the files in a directory, those that have it in their full path; ``""``: all
    database : where the pushes are recorded (``None``: nowhere)
    carrier, options, progress : see :func:`push_series`; `partial` does not matter

    Yields
    ------
    One outcome a series as it ends; the files that are no DICOM come last, together, under `NO_SERIES`

    Raises
    ------
    InputError : a source does not exist, or no file is left
    InvalidDicomError : not one of the files is DICOM
    StorageUnreachableError, PeerError : as :func:`push_series`
    """
    files = list(find_files(sources, substring))
    if not files:
        having = f" with {substring!r} in their path" if substring else ""
        raise InputError(f"{', '.join(map(str, sources))}: no files{having}; name a directory that has some")
    jobs = jobs_of_files(files, database)
    if jobs[0].ref == NO_SERIES:
        first = jobs[0].failures[0]
        raise InvalidDicomError(
            f"no DICOM file among {len(files)} files; the first one: {shown(first.file)}: {first.reason}"
        )
    yield from _Pusher(carrier, database, options, progress, len(files)).run(iter(jobs))


class _Pusher:
    """Runs jobs over one pool: plans are made ahead, uploads of several series overlap, outcomes come in order."""

    def __init__(
        self,
        carrier: Carrier,
        database: Database | None,
        options: PushOptions,
        progress: Progress | None,
        total: int,
    ) -> None:
        if carrier.target.kind != "pacs":
            options = replace(options, pacs_name=check_pacs_name(options.pacs_name))
        self._carrier, self._database, self._options = carrier, database, options
        self._progress, self._total = progress, total
        self._jobs = max(1, min(options.jobs, carrier.jobs or options.jobs))
        self._done = self._bytes = 0
        self._interrupted = False

    def run(self, jobs: Iterator[Job]) -> Iterator[PushOutcome]:
        """Push; see :func:`push_series`."""
        self._carrier.check()
        flights: deque[_Flight] = deque()
        with ThreadPoolExecutor(self._jobs) as pool, ThreadPoolExecutor(min(4, self._jobs)) as planners:
            try:
                for flight in _ahead(planners, self._plan, jobs, depth=4):
                    if self._carrier.brake.fatal is not None:
                        break
                    flights.append(flight)
                    self._launch(flight, pool)
                    while flights and (self._waiting(flights) > 8 * self._jobs or _ended(flights[0])):
                        yield self._landed(flights)
                while flights:
                    yield self._landed(flights)
            except BaseException:
                self._interrupted = True
                planners.shutdown(wait=False, cancel_futures=True)
                pool.shutdown(wait=True, cancel_futures=True)
                while flights:
                    self._landed(flights)
                raise
        fatal = self._carrier.brake.fatal
        if fatal is not None:
            raise fatal

    def _plan(self, job: Job) -> _Flight:
        """Names of the objects, and what is there already."""
        began = time.monotonic()
        if job.error is not None:
            return _Flight(job, began, Plan("", (), (), job.failures), error=job.error, refused=True)
        records = push_records(self._database, job.ref.SeriesInstanceUID) if self._database is not None else ()
        record = next((record for record in records if record.target == self._carrier.target), None)
        templates = self._options.templates
        folder = recorded_folder(records, self._options.pacs_name) if templates is None else ""
        plan = make_plan(
            job.ref,
            job.wanted,
            folder=folder,
            templates=templates or templates_for(self._database),
            pacs_name=self._options.pacs_name,
            known=record.names if record is not None and templates is None else {},
        )
        flight = _Flight(job, began, plan, record)
        try:
            flight.present = self._carrier.present(plan, record)
        except StorageError as error:
            flight.error, flight.refused = str(error), True
            self._carrier.brake.failed(error)
        return flight

    def _launch(self, flight: _Flight, pool: ThreadPoolExecutor) -> None:
        if flight.error is None:
            tasks = self._carrier.tasks(flight.plan, flight.present, flight.record)
            flight.futures = [pool.submit(task) for task in tasks]

    def _waiting(self, flights: Iterable[_Flight]) -> int:
        return sum(len(flight.futures) for flight in flights)

    def _landed(self, flights: deque[_Flight]) -> PushOutcome:
        """The outcome of the oldest flight, recorded."""
        flight = flights[0]
        done, failures = self._results(flight)
        job, plan = flight.job, flight.plan
        error = flight.error
        if done:
            try:
                self._carrier.settle(plan)
            except StorageError as failure:
                error = error or str(failure)
        if error is None and (failures or len(done) < len(job.wanted)):
            error = _error_text(job, done, failures)
        outcome = PushOutcome(
            series=job.ref,
            target=self._carrier.target.where,
            files=len(job.wanted) or len(job.failures),
            expected=job.expected,
            done=tuple(done),
            failures=tuple(failures),
            folder=plan.folder if self._carrier.target.kind != "pacs" else "",
            seconds=time.monotonic() - flight.began,
            error=error,
        )
        if self._database is not None and not flight.refused:
            seen = {name: item.md5 for name, item in flight.present.items()}
            record_push(self._database, outcome, self._carrier.target, seen)
        flights.popleft()
        return outcome

    def _results(self, flight: _Flight) -> tuple[list[PushedFile], list[FailedFile]]:
        done: list[PushedFile] = []
        failures = list(flight.plan.failures)
        self._tell(len(failures), 0)
        for future in flight.futures:
            if future.cancelled() or (self._interrupted and not future.done()):
                continue
            results = future.result()
            done += [result for result in results if isinstance(result, PushedFile)]
            failures += [result for result in results if isinstance(result, FailedFile)]
            sent = (result.size for result in results if isinstance(result, PushedFile) and result.sent)
            self._tell(len(results), sum(sent))
        by_name = {file.name: file for file in done}
        for twin in flight.plan.twins:
            first = by_name.get(twin.name) or by_name.get(twin.uid)
            if first is not None:
                done.append(PushedFile(twin.file, first.name, first.size, first.md5, sent=False))
        self._tell(len(flight.plan.twins), 0)
        return done, failures

    def _tell(self, files: int, sent: int) -> None:
        self._done += files
        self._bytes += sent
        if files and self._progress is not None and not self._interrupted:
            self._progress(self._done, max(self._done, self._total), self._bytes)


def _error_text(job: Job, done: Sequence[PushedFile], failures: Sequence[FailedFile]) -> str:
    text = f"{len(job.wanted) - len(done)} of {len(job.wanted)} files of series {job.ref.SeriesInstanceUID} not pushed"
    return (
        f"{text}: {shown(failures[0].file)}: {failures[0].reason}" if failures else f"{text}: interrupted; push again"
    )


def _ended(flight: _Flight) -> bool:
    return all(future.done() for future in flight.futures)


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[_IN], _OUT], items: Iterator[_IN], *, depth: int
) -> Iterator[_OUT]:
    """``map`` over a pool, in order, at most `depth` items ahead."""
    waiting: deque[Future[_OUT]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
