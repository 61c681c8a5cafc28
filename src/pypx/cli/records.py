"""Outcomes as flat records, one a line of ``--jsonl``.

Each carries the version of its form; it grows when a key changes its meaning or goes.
"""

from __future__ import annotations

from typing import Any

from pypx.model.fileoutcomes import FileOutcome
from pypx.model.keywords import Level
from pypx.model.outcomes import MoveOutcome, SeriesStatus

RECORD_FORMAT = 1


def move_record(outcome: MoveOutcome) -> dict[str, Any]:
    """The verdict on a series, and beside it the PACS's own words on the last C-MOVE.

    ``state`` is that of the series, and where nobody looked what arrived, ``answer``: that of the request.  ``asked``
    is ``series``, ``instances`` or ``nothing``.
    """
    counts, verdict, level = outcome.counts, outcome.verdict, outcome.level
    expected = outcome.series.NumberOfSeriesRelatedInstances if verdict is None else verdict.expected
    return {
        "format": RECORD_FORMAT,
        "StudyInstanceUID": outcome.series.StudyInstanceUID,
        "SeriesInstanceUID": outcome.series.SeriesInstanceUID,
        "SeriesDescription": outcome.series.SeriesDescription,
        "state": outcome.state.value if verdict is None else verdict.state.value,
        "expected": expected,
        "received": outcome.received if verdict is None else verdict.packed,
        "missing": None if verdict is None or verdict.missing is None else list(verdict.missing),
        "conflicts": 0 if verdict is None else verdict.conflicts,
        "asked": "nothing" if level is None else "instances" if level is Level.IMAGE else "series",
        "attempts": outcome.attempts,
        "answer": outcome.state.value,
        "status": None if outcome.status is None else f"{outcome.status:04X}",
        "completed": counts.completed,
        "failed": counts.failed,
        "warning": counts.warning,
        "error": outcome.error,
    }


def status_record(status: SeriesStatus) -> dict[str, Any]:
    """The life of a series so far; ``missing`` are SOP Instance UIDs, null where they are not known."""
    return {
        "format": RECORD_FORMAT,
        "StudyInstanceUID": status.series.StudyInstanceUID,
        "SeriesInstanceUID": status.series.SeriesInstanceUID,
        "SeriesDescription": status.series.SeriesDescription,
        "state": status.state.value,
        "expected": status.expected,
        "received": status.received,
        "packed": status.packed,
        "pushed": status.pushed,
        "registered": status.registered,
        "conflicts": status.conflicts,
        "missing": None if status.missing is None else list(status.missing),
    }


def file_record(outcome: FileOutcome) -> dict[str, Any]:
    """What became of one file on its way into the BASEMOUNT."""
    instance = outcome.instance
    return {
        "format": RECORD_FORMAT,
        "source": str(outcome.source),
        "state": outcome.state.value,
        "file": str(outcome.file) if outcome.file else None,
        "StudyInstanceUID": instance.StudyInstanceUID if instance else None,
        "SeriesInstanceUID": instance.SeriesInstanceUID if instance else None,
        "SOPInstanceUID": instance.SOPInstanceUID if instance else None,
        "reason": outcome.reason,
        "stays": outcome.stays,
    }
