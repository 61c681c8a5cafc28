"""What became of pushes, registrations and objects as flat records, and which of their fields a table shows."""

from __future__ import annotations

from typing import Any

from pypx.cli.records import RECORD_FORMAT
from pypx.model.outcomes import PushOutcome, RegisterOutcome
from pypx.workflows.objects import Moved

PUSH_COLUMNS = (
    "state", "expected", "files", "pushed", "skipped", "failed", "StudyInstanceUID", "SeriesInstanceUID", "error",
)  # fmt: skip
REGISTER_COLUMNS = (
    "state", "expected", "registered", "new", "failed", "StudyInstanceUID", "SeriesInstanceUID", "error",
)  # fmt: skip


def push_record(outcome: PushOutcome) -> dict[str, Any]:
    """What became of a series on its way to a target; ``failures`` has file and reason of each that is not there."""
    return {
        "format": RECORD_FORMAT,
        "StudyInstanceUID": outcome.series.StudyInstanceUID,
        "SeriesInstanceUID": outcome.series.SeriesInstanceUID,
        "SeriesDescription": outcome.series.SeriesDescription,
        "state": _state(outcome.ok, outcome.pushed + outcome.skipped, "pushed"),
        "target": outcome.target,
        "folder": outcome.folder,
        "expected": outcome.expected,
        "files": outcome.files,
        "pushed": outcome.pushed,
        "skipped": outcome.skipped,
        "failed": outcome.failed,
        "bytes": outcome.bytes,
        "replaced": list(outcome.replaced),
        "seconds": round(outcome.seconds, 3),
        "error": outcome.error,
        "failures": [{"file": str(failure.file), "reason": failure.reason} for failure in outcome.failures],
    }


def register_record(outcome: RegisterOutcome) -> dict[str, Any]:
    """What CUBE has of a series; ``failures`` has object and reason of each file that it has not."""
    return {
        "format": RECORD_FORMAT,
        "StudyInstanceUID": outcome.series.StudyInstanceUID,
        "SeriesInstanceUID": outcome.series.SeriesInstanceUID,
        "SeriesDescription": outcome.series.SeriesDescription,
        "state": _state(outcome.ok, outcome.registered, "registered"),
        "dialect": outcome.dialect,
        "pacs_name": outcome.pacs_name,
        "folder": outcome.folder,
        "expected": outcome.expected,
        "registered": outcome.registered,
        "new": outcome.new,
        "failed": len(outcome.failed),
        "seconds": round(outcome.seconds, 3),
        "error": outcome.error,
        "failures": [
            {"object": file.name, "file": str(file.file) if file.file else None, "reason": file.error}
            for file in outcome.failed
        ],
    }


def _state(ok: bool, done: int, word: str) -> str:
    return word if ok else "partial" if done else "failed"


def moved_record(moved: Moved) -> dict[str, Any]:
    """What became of one object and its file."""
    return {
        "format": RECORD_FORMAT,
        "name": moved.name,
        "file": str(moved.file),
        "bytes": moved.size,
        "sent": moved.sent,
        "error": moved.error,
    }
