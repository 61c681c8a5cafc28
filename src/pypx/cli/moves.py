"""What became of C-MOVE requests: how it is shown, and the exit code it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pypx.cli import render
from pypx.cli.console import Console
from pypx.cli.records import move_record
from pypx.compat.commands import move_command
from pypx.compat.move_json import move_document, move_error_document
from pypx.errors import PartialError, PeerError, PeerFailedError
from pypx.model.outcomes import MoveOutcome
from pypx.model.peers import PacsNode
from pypx.model.records import SeriesRef


def show(outcomes: Sequence[MoveOutcome], node: PacsNode, out: Console) -> None:
    """Show what became of each request."""
    if out.json:
        out.document(_document(outcomes, node))
    elif out.jsonl:
        for outcome in outcomes:
            out.record(move_record(outcome))
    else:
        render.show_records(render.MOVE_COLUMNS, map(move_record, outcomes), out)
        good = sum(1 for outcome in outcomes if outcome.ok and not short(outcome))
        out.note(f"{good} of {len(outcomes)} series sent by {node} to {node.move_destination}")


def _document(outcomes: Sequence[MoveOutcome], node: PacsNode) -> dict[str, Any]:
    """The document of px-move for the first request that failed, or the first one, and all of them in ``series``."""
    judged = next((outcome for outcome in outcomes if not outcome.ok), outcomes[0])
    return move_document(judged, node) | {"series": [move_record(outcome) for outcome in outcomes]}


def error_document(error: PeerError, refs: Sequence[SeriesRef], node: PacsNode) -> dict[str, Any]:
    """The document of a retrieve whose PACS could not be asked."""
    return move_error_document(error, move_command(refs[0], node))


def exit_code(outcomes: Sequence[MoveOutcome]) -> int:
    """Exit code of a retrieve: 0 all sent, 3 some not (or not all there), 12 nothing was sent."""
    if all(outcome.ok and not short(outcome) for outcome in outcomes):
        return 0
    sent = any(outcome.ok or outcome.counts.completed or outcome.counts.warning for outcome in outcomes)
    return PartialError.exit_code if sent else PeerFailedError.exit_code


def short(outcome: MoveOutcome) -> bool:
    """Whether fewer images were recorded than the PACS announced or said it sent."""
    expected = outcome.series.NumberOfSeriesRelatedInstances or outcome.counts.completed
    return outcome.received is not None and expected is not None and outcome.received < expected
