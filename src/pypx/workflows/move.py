"""Retrieve: have a PACS send series to our listener (C-MOVE)."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from threading import Event

from pypx.db.smdb import Database
from pypx.errors import InputError, PxError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID
from pypx.model.keywords import Level, QueryModel
from pypx.model.outcomes import MoveOutcome, MoveState, SubOperations
from pypx.model.pacs import PacsNode
from pypx.model.records import SeriesRef
from pypx.services import dcmtk, dicomfile, dimse
from pypx.services.dcmtk import Conversation, Limits, Programs
from pypx.services.dcmtk_log import FinalResponse
from pypx.services.scratch import scratch_folder
from pypx.workflows.asking import MOST, ask_all
from pypx.workflows.ledger import note_answer, read_ledger


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
        return min((series.NumberOfSeriesRelatedInstances or 0) / self.images_per_second, _MAX_DELAY_S)


NO_DELAY = Delay()
_MAX_DELAY_S = 86_400.0


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
    if not math.isfinite(value) or value < 0 or (dynamic and value == 0) or (not dynamic and value > _MAX_DELAY_S):
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
    instances: Mapping[UID, tuple[UID, ...]] | None = None,
    beside: Callable[[], object] | None = None,
    stop: Event | None = None,
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
    instances : by SeriesInstanceUID, what to ask for at IMAGE level in place of the whole series
    beside : called when the PACS has taken an association, to begin what goes on meanwhile; whoever gives it notes the
        requests (`note_request`)
    stop : set from another thread, it ends the requests, as if the PACS had broken off

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
    groups = _groups([Request(ref, (instances or {}).get(ref.SeriesInstanceUID, ())) for ref in wanted], delay)
    answered = False
    for number, group in enumerate(groups, 1):
        for outcome in _request(group, talk, database, first_must_work=not answered, beside=beside, stop=stop):
            if stop is not None and stop.is_set() and outcome.state is MoveState.NO_ANSWER:
                return  # it was not given the time
            if database is not None:
                _note_outcome(database, outcome, talk)
            answered = True
            yield outcome
        if number < len(groups):
            time.sleep(delay.after(group[-1].series))


@dataclass(frozen=True, slots=True)
class Request:
    """What one C-MOVE asks for: `instances` of a series, or all of it."""

    series: SeriesRef
    instances: tuple[UID, ...] = ()


def _groups(wanted: Sequence[Request], delay: Delay) -> list[Sequence[Request]]:
    size = 1 if delay else MOST
    return [wanted[start : start + size] for start in range(0, len(wanted), size)]


def _request(
    group: Sequence[Request],
    talk: Conversation,
    database: Database | None,
    *,
    first_must_work: bool,
    beside: Callable[[], object] | None,
    stop: Event | None,
) -> Iterator[MoveOutcome]:
    """Outcomes of some series, through one association if the PACS allows it."""
    with scratch_folder("move") as scratch:
        files = [_request_file(scratch / f"q{number:05d}.dcm", one, talk.model) for number, one in enumerate(group, 1)]
        held = [0] * len(group)
        if database is not None:
            for one in group if beside is None else ():
                note_request(database, one.series)
            held = [len(database.images(one.series.SeriesInstanceUID)) for one in group]

        def run(batch: Sequence[int]) -> dcmtk.Finals:
            return dcmtk.move(talk, [files[position] for position in batch], stop, accepted=beside)

        with closing(ask_all(len(group), run, first_must_work=first_must_work)) as answers:
            for position, answer in answers:
                yield replace(_outcome(group[position], answer), held=held[position])


def _request_file(path: Path, request: Request, model: QueryModel) -> Path:
    ref = request.series
    keys: dict[str, str] = {"StudyInstanceUID": ref.StudyInstanceUID, "SeriesInstanceUID": ref.SeriesInstanceUID}
    if model is QueryModel.PATIENT_ROOT and ref.PatientID:
        keys["PatientID"] = ref.PatientID
    if request.instances:
        keys["SOPInstanceUID"] = "\\".join(request.instances)
    dicomfile.write_query(path, Level.IMAGE if request.instances else Level.SERIES, keys, "ISO_IR 192")
    return path


def _outcome(request: Request, answer: FinalResponse | PxError) -> MoveOutcome:
    return replace(_answered(request.series, answer), instances=request.instances)


def _answered(ref: SeriesRef, answer: FinalResponse | PxError) -> MoveOutcome:
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


def note_request(database: Database, ref: SeriesRef) -> None:
    """Note in the retrieve table that a series is asked for, and how many instances are expected."""
    expected = read_ledger(database, ref.SeriesInstanceUID).expectation
    listed = None if expected.instances is None else len(expected.instances)
    counts = (expected.count, listed, ref.NumberOfSeriesRelatedInstances)
    count = next((count for count in counts if count is not None), None)
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
    note_answer(database, outcome, str(talk.node))
