"""Retrieve: have a PACS send series to our listener (C-MOVE)."""

from __future__ import annotations

import math
import shlex
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from pypx.db.smdb import Database
from pypx.errors import InputError, PxError
from pypx.model.keywords import Level, QueryModel
from pypx.model.outcomes import MoveOutcome, MoveState, SubOperations
from pypx.model.peers import PacsNode
from pypx.model.records import SeriesRef
from pypx.services import dcmtk, dicomfile, dimse
from pypx.services.dcmtk import Conversation, Limits, Programs
from pypx.services.dcmtk_log import FinalResponse
from pypx.workflows.asking import MOST, ask_all

_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Delay:
    """The pause between two requests: `seconds`, or one second per `images_per_second` images of the series before."""

    seconds: float = 0.0
    images_per_second: float | None = None

    def __bool__(self) -> bool:
        return self.seconds > 0 or self.images_per_second is not None

    def after(self, series: SeriesRef) -> float:
        """Seconds to wait after a request for `series`."""
        if self.images_per_second is None:
            return self.seconds
        return (series.NumberOfSeriesRelatedInstances or 0) / self.images_per_second


NO_DELAY = Delay()


def parse_delay(text: str) -> Delay:
    """Read ``--intraSeriesRetrieveDelay``.

    Parameters
    ----------
    text : seconds (``2.5``), or ``dynamic:n`` for as long as the series takes at n images a second (``dynamic``: n = 1)

    Raises
    ------
    InputError : neither, or negative
    """
    name, _, number = text.strip().partition(":")
    dynamic = name == "dynamic"
    try:
        value = float((number if ":" in text else "1") if dynamic else text)
    except ValueError:
        value = -1.0
    if not math.isfinite(value) or value < 0 or (dynamic and value == 0):
        raise InputError(
            f"retrieve delay: {text[:40]!r} is neither seconds (0, 2.5) nor dynamic:n with n images a second, n > 0"
        )
    return Delay(images_per_second=value) if dynamic else Delay(seconds=value)


def retrieve(
    series: Iterable[SeriesRef],
    node: PacsNode,
    *,
    database: Database | None = None,
    delay: Delay = NO_DELAY,
    model: QueryModel = QueryModel.STUDY_ROOT,
    limits: Limits | None = None,
    programs: Programs | None = None,
) -> Iterator[MoveOutcome]:
    """Ask the PACS to send each series to ``node.move_destination``.

    All requests go through one association; with a delay each has its own.  After an abort, what was not answered is
    asked for once more; a request that ran into the time limit is not, for its images may still be under way.

    Parameters
    ----------
    series : one request each, order kept; may be empty
    node : the PACS, and the AE titles to use
    database : where the request and the PACS's words on it are noted (the retrieve table of the series)
    delay : pause between two requests
    model, limits, programs : information model (patient root needs the PatientID of each series), limits, programs

    Yields
    ------
    One outcome per series as it ends

    Raises
    ------
    PeerUnreachableError, PeerRejectedError, PeerFailedError : before the first outcome only
    ToolMissingError, ToolFailedError : movescu cannot be run
    DatabaseError : the request cannot be noted

    References
    ----------
    DICOM PS3.4 C.4.2; movescu(1), DCMTK 3.6.7
    """
    wanted = list(series)
    talk = Conversation(node, model, limits or Limits(), programs or Programs())
    groups = _groups(wanted, delay)
    answered = False
    for number, group in enumerate(groups, 1):
        for outcome in _request(group, talk, database, first_must_work=not answered):
            if database is not None:
                _note_outcome(database, outcome, talk)
            answered = True
            yield outcome
        if number < len(groups):
            time.sleep(delay.after(group[-1]))


def _groups(wanted: Sequence[SeriesRef], delay: Delay) -> list[Sequence[SeriesRef]]:
    size = 1 if delay else MOST
    return [wanted[start : start + size] for start in range(0, len(wanted), size)]


def _request(
    group: Sequence[SeriesRef], talk: Conversation, database: Database | None, *, first_must_work: bool
) -> Iterator[MoveOutcome]:
    """Outcomes of some series, through one association if the PACS allows it."""
    with tempfile.TemporaryDirectory(prefix="px-move-") as scratch:
        files = [
            _request_file(Path(scratch) / f"q{number:05d}.dcm", ref, talk.model) for number, ref in enumerate(group, 1)
        ]
        if database is not None:
            for ref in group:
                _note_request(database, ref)

        def run(batch: Sequence[int]) -> dcmtk.Finals:
            return dcmtk.move(talk, [files[position] for position in batch])

        with closing(ask_all(len(group), run, first_must_work=first_must_work)) as answers:
            for position, answer in answers:
                yield _outcome(group[position], answer)


def _request_file(path: Path, ref: SeriesRef, model: QueryModel) -> Path:
    keys: dict[str, str] = {"StudyInstanceUID": ref.StudyInstanceUID, "SeriesInstanceUID": ref.SeriesInstanceUID}
    if model is QueryModel.PATIENT_ROOT and ref.PatientID:
        keys["PatientID"] = ref.PatientID
    dicomfile.write_query(path, Level.SERIES, keys, "ISO_IR 192")
    return path


def _outcome(ref: SeriesRef, answer: FinalResponse | PxError) -> MoveOutcome:
    if isinstance(answer, PxError):
        return MoveOutcome(ref, MoveState.NO_ANSWER, error=str(answer))
    counts, status = answer.counts, answer.status
    if status not in (dimse.SUCCESS, dimse.SUBOPERATIONS_WARNING):
        text = dimse.status_text(status, move=True) + _failed(counts)
        return MoveOutcome(ref, MoveState.FAILED, status, counts, text)
    if status == dimse.SUBOPERATIONS_WARNING or counts.failed:
        text = dimse.status_text(status, move=True) + _failed(counts)
        return MoveOutcome(ref, MoveState.WARNING, status, counts, text)
    if counts.completed == 0 and not counts.warning:
        return MoveOutcome(ref, MoveState.WARNING, status, counts, dimse.NOTHING_SENT)
    return MoveOutcome(ref, MoveState.SUCCESS, status, counts)


def _failed(counts: SubOperations) -> str:
    if not counts.failed:
        return ""
    total = sum(count or 0 for count in (counts.completed, counts.failed, counts.warning, counts.remaining))
    return f"; {counts.failed} of {total} images failed"


def _note_request(database: Database, ref: SeriesRef) -> None:
    count = ref.NumberOfSeriesRelatedInstances
    values = {"NumberOfSeriesRelatedInstances": "" if count is None else str(count)}
    database.set_series_fields(ref.SeriesInstanceUID, "retrieve", values)


def _note_outcome(database: Database, outcome: MoveOutcome, talk: Conversation) -> None:
    """The PACS's words in the retrieve table: pypx's ``command``, and ``retrieve`` with status and counts."""
    failed = outcome.state in (MoveState.FAILED, MoveState.NO_ANSWER)
    argv = [talk.programs.movescu, *dcmtk.move_options(talk), *dcmtk.addressed(talk.node)]
    command = {
        "status": "error" if failed else "success",
        "data": [outcome.error] if outcome.error else [],
        "command": shlex.join(argv),
        "returncode": {MoveState.SUCCESS: 0, MoveState.WARNING: 68, MoveState.FAILED: 69}.get(outcome.state, 1),
    }
    said = {
        "status": None if outcome.status is None else f"0x{outcome.status:04x}",
        "completed": outcome.counts.completed,
        "failed": outcome.counts.failed,
        "warning": outcome.counts.warning,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    fields = {"command": command, "retrieve": said}
    database.set_series_fields(outcome.series.SeriesInstanceUID, "retrieve", fields)


def wait_for_images(
    database: Database,
    outcomes: Iterable[MoveOutcome],
    idle_s: float,
    progress: Callable[[int, int], None] | None = None,
) -> list[MoveOutcome]:
    """Wait until the BASEMOUNT holds what the PACS said it sent.

    Parameters
    ----------
    database : of the listener
    outcomes : what the PACS said; their `received` is filled in
    idle_s : give up when nothing new was recorded for so long, seconds; an idle limit, never a total one
    progress : called with images recorded and images expected

    Returns
    -------
    the outcomes in their order, `received` being the number of instances recorded
    """
    asked = list(outcomes)
    expected = [_expected(outcome) for outcome in asked]
    received = [len(database.images(outcome.series.SeriesInstanceUID)) for outcome in asked]
    last = time.monotonic()
    while True:
        if progress is not None:
            progress(sum(received), sum(want or 0 for want in expected))
        open_ones = [at for at, want in enumerate(expected) if want is None or received[at] < want]
        if not open_ones or time.monotonic() - last >= idle_s:
            break
        time.sleep(min(_POLL_S, idle_s))
        for at in open_ones:
            count = len(database.images(asked[at].series.SeriesInstanceUID))
            if count != received[at]:
                received[at], last = count, time.monotonic()
    return [replace(outcome, received=count) for outcome, count in zip(asked, received, strict=True)]


def _expected(outcome: MoveOutcome) -> int | None:
    """How many images should be there: what the PACS says it sent, else what it announced; ``None``: it did not say."""
    counts = outcome.counts
    if counts.completed is not None:
        return counts.completed + (counts.warning or 0)
    if outcome.state is MoveState.FAILED:
        return 0
    return outcome.series.NumberOfSeriesRelatedInstances
