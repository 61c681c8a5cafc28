"""What became of registrations, as pypx 3 printed it, without the dumps of whole headers that it added."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pypx.model.outcomes import RegisteredFile, RegisterOutcome
from pypx.workflows.registerlog import item_of


def to_document(outcomes: Iterable[RegisterOutcome]) -> dict[str, Any]:
    """The document of px-register, an entry in ``run`` for each file.

    Each ``status`` says whether CUBE has the file, the top one whether it has all of all series (pypx: always true).
    A series that failed before any file was looked at has one entry, without file.

    Parameters
    ----------
    outcomes : one a series
    """
    everything = list(outcomes)
    run = [entry for outcome in everything for entry in _entries(outcome)]
    return {"status": bool(run) and all(outcome.ok for outcome in everything), "run": run}


def _entries(outcome: RegisterOutcome) -> list[dict[str, Any]]:
    if not outcome.files:
        return [_entry(RegisteredFile(outcome.folder, None, {}, error=outcome.error))]
    return [_entry(file) for file in outcome.files]


def _entry(file: RegisteredFile) -> dict[str, Any]:
    ok = file.error is None
    read = {
        "method": "DICOMfile_read",
        "status": file.file is not None and bool(file.name),
        "inputPath": str(file.file.parent) if file.file else "",
        "inputFileName": file.file.name if file.file else "",
    }
    answer = item_of(file) if ok else {"path": file.name, "msg": file.error}
    return {
        "status": ok,
        "d_DICOMfile_register": {"status": ok, "d_DICOMfile_read": read, "d_CUBE_register_pacs_file": answer},
    }
