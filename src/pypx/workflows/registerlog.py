"""What CUBE confirmed: ``<SeriesInstanceUID>-register.json``, in pypx's shape, with keys of px beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from pypx.db.smdb import Database
from pypx.model.outcomes import RegisteredFile, RegisterOutcome

_OF_CUBE = frozenset({"id", "creation_date", "fname", "fsize"})
"""What pypx leaves out of the item that it records."""

_OF_PATIENT = frozenset({"PatientID", "PatientName", "PatientBirthDate", "PatientAge", "PatientSex"})
"""What the record leaves out besides: it stands in the table of the patient."""


def record_registration(database: Database, outcome: RegisterOutcome, url: str, username: str) -> None:
    """Record how much of a series CUBE has; what stood there of an earlier run is replaced.

    Parameters
    ----------
    database : where
    outcome : what CUBE said
    url, username : of CUBE; nothing else of the login is recorded

    Raises
    ------
    DatabaseError, LockTimeoutError : nothing was recorded
    """
    now = datetime.now(timezone.utc)
    total = outcome.registered if outcome.expected is None else outcome.expected
    fields: dict[str, Any] = {
        "info": _info(outcome),
        "objectCounter": {"current": outcome.registered, "total": total},
        "timestamp": now.astimezone().strftime("%Y-%m-%d, %H:%M:%S"),
        "CUBE": {"url": url, "username": username},
        "dialect": outcome.dialect,
        "pacs_name": outcome.pacs_name,
        "folder": outcome.folder,
        "registered": outcome.registered,
        "expected": outcome.expected,
        "time": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "error": outcome.error or "",
    }
    database.set_series_fields(outcome.series.SeriesInstanceUID, "register", fields)


def _info(outcome: RegisterOutcome) -> dict[str, Any]:
    """The item of the last file that is registered; CUBE's refusal only if none is."""
    items = [file for file in outcome.files if file.item and (file.error is None or outcome.registered)]
    if items:
        return {name: value for name, value in item_of(items[-1]).items() if name not in _OF_PATIENT}
    path = outcome.folder or next((file.name for file in outcome.files), "")
    return {"path": path, "msg": outcome.error or "nothing was registered"}


def item_of(file: RegisteredFile) -> dict[str, Any]:
    """What CUBE has of a file, without what pypx leaves out."""
    item: Mapping[str, Any] = file.item
    return {name: value for name, value in item.items() if name not in _OF_CUBE}
