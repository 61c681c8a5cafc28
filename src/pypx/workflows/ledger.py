"""The ledger of a series in the smdb: ``<SeriesInstanceUID>-ledger.jsonl``, which only grows.

A line is what a PACS said when it was asked what it has (``expected``), its answer to a C-MOVE (``answer``), or what
had come of that when the waiting ended (``brought``).  The newest of each counts; lines and keys that are unknown are
passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from pypx.db.smdb import Database
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID, is_uid
from pypx.model.keywords import Level
from pypx.model.ledger import NOTHING_SAID, Answer, Expectation, Judgement, judge
from pypx.model.outcomes import Completeness, MoveOutcome, SubOperations

LOG = "ledger"


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the ledger of a series says now: the expectation, the answer to the last C-MOVE of all of it, and to any."""

    expectation: Expectation = NOTHING_SAID
    of_series: Answer | None = None
    last: Answer | None = None

    def judged(self, held: Collection[UID], *, known: bool) -> Judgement:
        """Measure what is held against it; `known`: some table knows the series."""
        return judge(self.expectation, self.of_series, self.last, held, known=known)


def read_ledger(database: Database, series: UID, announced: int | None = None) -> Ledger:
    """The ledger of a series.

    Parameters
    ----------
    announced : the count of its retrieve table, which stands in where the ledger is empty, as in BASEMOUNTs of pypx 3

    Raises
    ------
    DatabaseError : a complete line is no JSON object
    """
    expectation = of_series = last = brought = None
    for line in reversed(database.log_lines(series, LOG)):
        if expectation is None and isinstance(line.get("expected"), dict):
            expectation = _expectation(line["expected"])
        if last is None and brought is None:
            brought = _count(line.get("brought"))
        if of_series is None and isinstance(line.get("answer"), dict):
            answer = _answer(line["answer"])
            last = last or replace(answer, brought=brought)
            of_series = answer if answer.level is Level.SERIES else None
    return Ledger(expectation or Expectation(count=announced), of_series, last)


def note_expectation(database: Database, series: UID, expectation: Expectation) -> None:
    """Append what a PACS said it has, unless the ledger says so already."""
    if read_ledger(database, series).expectation == expectation and expectation != NOTHING_SAID:
        return
    listed = expectation.instances
    said = {
        "peer": expectation.peer,
        "time": _now(),
        "count": expectation.count,
        "listing": expectation.listing.value,
        "instances": None if listed is None else sorted(listed),
    }
    database.append_log(series, LOG, [{"expected": said}])


def note_answer(database: Database, outcome: MoveOutcome, peer: str) -> None:
    """Append the answer to a C-MOVE."""
    counts = outcome.counts
    said = {
        "peer": peer,
        "time": _now(),
        "level": (outcome.level or Level.SERIES).value,
        "asked": len(outcome.instances),
        "held": outcome.held,
        "status": None if outcome.status is None else f"0x{outcome.status:04x}",
        "completed": counts.completed,
        "failed": counts.failed,
        "warning": counts.warning,
        "remaining": counts.remaining,
    }
    database.append_log(outcome.series.SeriesInstanceUID, LOG, [{"answer": said}])


def note_brought(database: Database, outcome: MoveOutcome) -> None:
    """Append how many instances had come of the last C-MOVE when the waiting for them ended."""
    brought = max(0, (outcome.received or 0) - outcome.held)
    database.append_log(outcome.series.SeriesInstanceUID, LOG, [{"brought": brought, "time": _now()}])


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def _expectation(said: Mapping[str, Any]) -> Expectation:
    listed = said.get("instances")
    instances = frozenset(UID(str(uid)) for uid in listed if is_uid(str(uid))) if isinstance(listed, list) else None
    listing = said.get("listing")
    known = {one.value: one for one in Completeness}
    return Expectation(
        instances, _count(said.get("count")), known.get(str(listing), Completeness.NO), str(said.get("peer", ""))
    )


def _answer(said: Mapping[str, Any]) -> Answer:
    status = said.get("status")
    counts = SubOperations(*(_count(said.get(name)) for name in ("completed", "failed", "warning")))
    return Answer(
        level=Level.IMAGE if said.get("level") == Level.IMAGE.value else Level.SERIES,
        status=int(status, 16) if isinstance(status, str) else None,
        done=tried(counts),
    )


def tried(counts: SubOperations) -> int | None:
    """How many sub-operations a response speaks of as done, well or badly; ``None`` if it gave no counts."""
    if counts.completed is None:
        return None
    return counts.completed + (counts.failed or 0) + (counts.warning or 0)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
