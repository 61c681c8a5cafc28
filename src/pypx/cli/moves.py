"""What became of C-MOVE requests: how it is shown, and the exit code it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pypx.cli import render
from pypx.cli.console import Console
from pypx.cli.fetch_options import Completing
from pypx.cli.records import move_record
from pypx.compat.commands import move_command
from pypx.compat.move_json import move_document, move_error_document
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import PartialError, PeerError, PeerFailedError
from pypx.model.dataclass import dataclass
from pypx.model.keywords import QueryModel
from pypx.model.outcomes import MoveOutcome
from pypx.model.pacs import PacsNode
from pypx.model.records import SeriesRef
from pypx.services.dcmtk import Limits, Programs
from pypx.workflows import fetch as fetching
from pypx.workflows import move
from pypx.workflows.move import Delay


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be retrieved, from whom and how; `counted`: the PACS was asked for the series a moment ago."""

    series: tuple[SeriesRef, ...]
    node: PacsNode
    delay: Delay
    model: QueryModel
    limits: Limits
    programs: Programs
    counted: bool


def ask_only(work: Work, layout: Layout | None, out: Console) -> list[MoveOutcome]:
    """Ask for all, wait for nothing, judge nothing: for a PACS that sends to somebody else."""
    requests = move.retrieve(
        work.series,
        work.node,
        database=Database.open(layout) if layout else None,
        delay=work.delay,
        model=work.model,
        limits=work.limits,
        programs=work.programs,
    )
    return list(out.each(requests, "series", len(work.series)))


def fetch(work: Work, layout: Layout, completing: Completing, idle_s: float, out: Console) -> list[MoveOutcome]:
    """Retrieve what is not there, wait for the listener, and judge."""
    with out.progress("images") as advance:
        options = fetching.FetchOptions(
            delay=work.delay,
            model=work.model,
            limits=work.limits,
            programs=work.programs,
            expect=completing.expect,
            counted=work.counted,
            force=completing.force,
            beside=completing.beside,
            retries=completing.retries,
            pause_s=completing.pause_s,
            idle_s=idle_s,
            progress=advance,
        )
        work_in_hand = fetching.Fetch(work.series, work.node, Database.open(layout), options)
        return work_in_hand.settle(list(work_in_hand.ask()))


def show(outcomes: Sequence[MoveOutcome], node: PacsNode, out: Console) -> None:
    """Show what became of each request."""
    if out.json:
        out.document(_document(outcomes, node))
    elif out.jsonl:
        for outcome in outcomes:
            out.record(move_record(outcome))
    else:
        render.show_records(render.MOVE_COLUMNS, map(move_record, outcomes), out)
        out.note(summary(outcomes, node))


def show_nothing(out: Console) -> int:
    """Say that there was nothing to move, which is no failure: the exit code."""
    out.note("nothing to move: the find document holds no series")
    if out.json:
        out.document({
            "status": "success", "data": [], "command": "", "returncode": 0, "complete": True, "series": [],
        })  # fmt: skip
    return 0


def summary(outcomes: Sequence[MoveOutcome], node: PacsNode) -> str:
    """One line on all series: the overall verdict, or, where nobody looked, what the PACS says it sent."""
    good = sum(1 for outcome in outcomes if outcome.complete)
    if not any(outcome.verdict for outcome in outcomes):
        return f"{good} of {len(outcomes)} series sent by {node} to {node.move_destination}"
    states = Counter(one.verdict.state.value for one in outcomes if one.verdict and not one.complete)
    rest = "".join(f", {count} {state}" for state, count in states.items())
    return f"{good} of {len(outcomes)} series of {node} complete{rest}"


def _document(outcomes: Sequence[MoveOutcome], node: PacsNode) -> dict[str, Any]:
    """The document of px-move for the first request that failed, or the first one, and all of them in ``series``."""
    asked = [outcome for outcome in outcomes if outcome.level is not None]
    judged = next((outcome for outcome in asked if not outcome.ok), outcomes[0])
    verdict = {"complete": all(outcome.complete for outcome in outcomes)} if outcomes[0].verdict else {}
    return move_document(judged, node) | verdict | {"series": [move_record(outcome) for outcome in outcomes]}


def error_document(error: PeerError, refs: Sequence[SeriesRef], node: PacsNode) -> dict[str, Any]:
    """The document of a retrieve whose PACS could not be asked."""
    return move_error_document(error, move_command(refs[0], node))


def exit_code(outcomes: Sequence[MoveOutcome]) -> int:
    """Exit code of a retrieve: 0 all complete, 3 something missing or unknown, 12 nothing sent and nothing there.

    Without verdicts, since nobody looked what arrived, the PACS's own words stand in.
    """
    if all(outcome.complete for outcome in outcomes):
        return 0
    sent = any(outcome.ok or outcome.counts.completed or outcome.counts.warning for outcome in outcomes)
    there = any(outcome.verdict.packed for outcome in outcomes if outcome.verdict)
    return PartialError.exit_code if sent or there else PeerFailedError.exit_code
