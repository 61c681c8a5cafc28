"""What was pushed where: ``<SeriesInstanceUID>-push.json``, in pypx's shape, with keys of px beside it.

The latest push of a series stands at the top; under ``earlier`` stands the latest one to each other target.  Nothing in
it is a login.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pypx.db.smdb import Database
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID
from pypx.model.outcomes import PushOutcome

PACS_ROOT = "SERVICES/PACS"
"""Where CUBE keeps what came from a PACS; every object name starts so."""

MAX_EARLIER = 7
"""To so many other targets the latest push is kept."""

_OWN_KEYS = ("status", "store", "timestamp", "target", "objects", "expected", "folder", "time", "checksums", "error")


@dataclass(frozen=True, slots=True)
class Target:
    """A target as records name it: kind ``swift``, ``folder``, ``s3`` or ``pacs``, and where, without login."""

    kind: str
    where: str


@dataclass(frozen=True, slots=True)
class PushRecord:
    """The latest push of a series to one target.

    `objects` of `expected` are there and verified (SOP Instance UIDs in a PACS, else objects of `folder`); `names` and
    `checksums` (MD5) go by the file as it was named.  A record of pypx has neither target nor checksums, and names
    one file; its `objects` is ``None``: nobody counted.
    """

    target: Target | None
    status: bool
    folder: str
    objects: int | None
    expected: int | None
    time: str
    names: Mapping[str, str]
    checksums: Mapping[str, str]


def push_records(database: Database, series: UID) -> tuple[PushRecord, ...]:
    """The pushes of a series on record, the latest first.

    Raises
    ------
    DatabaseError : the record cannot be read
    """
    table = database.series_fields(series, "push")
    earlier = table.get("earlier")
    entries = [table, *(earlier if isinstance(earlier, list) else [])]
    return tuple(_record(entry) for entry in entries if isinstance(entry, dict) and "store" in entry)


def _record(entry: Mapping[str, Any]) -> PushRecord:
    store = entry["store"] if isinstance(entry["store"], dict) else {}
    files, names = (_texts(store.get(key)) for key in ("localFileList", "objectFileList"))
    target = entry.get("target")
    folder = entry.get("folder")
    return PushRecord(
        target=Target(str(target.get("kind")), str(target.get("where"))) if isinstance(target, dict) else None,
        status=bool(entry.get("status")),
        folder=str(folder) if folder is not None else _folder_of(names),
        objects=_count(entry.get("objects")),
        expected=_count(entry.get("expected")),
        time=str(entry.get("time") or entry.get("timestamp") or ""),
        names=dict(zip(files, names, strict=False)),
        checksums=dict(zip(files, _texts(entry.get("checksums")), strict=False)),
    )


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _folder_of(names: list[str]) -> str:
    """The folder of the object that pypx recorded; in a file store it recorded absolute paths."""
    if not names:
        return ""
    before, root, name = names[-1].rpartition(f"{PACS_ROOT}/")
    if not root or (before and not before.endswith("/")):
        return ""
    return f"{root}{name}".rpartition("/")[0]


def record_push(database: Database, outcome: PushOutcome, target: Target, present: Mapping[str, str]) -> None:
    """Record what became of a series.

    Objects that an earlier push has brought to the same target count on, if they are still there as they were, also
    where the file of one could not be pushed again.

    Parameters
    ----------
    database : where
    outcome : what was pushed now
    target : where to
    present : names that the target was seen to hold before this push, with the MD5 of each (``""``: not known)

    Raises
    ------
    DatabaseError, LockTimeoutError : nothing was recorded
    """
    series = outcome.series.SeriesInstanceUID
    table = database.series_fields(series, "push")
    entries = {str(done.file): (done.name, done.md5) for done in outcome.done}
    names_now = {name for name, _ in entries.values()}
    before = next((record for record in push_records(database, series) if record.target == target), None)
    if before is not None:
        for file, name in before.names.items():
            md5 = before.checksums.get(file, "")
            as_it_was = name in present and present[name] in ("", md5)
            if file not in entries and name not in names_now and as_it_was:
                entries[file] = (name, md5)
    fields = _fields(outcome, target, entries)
    earlier = [entry for entry in [table, *_earlier(table)] if entry.get("target") not in (None, fields["target"])]
    fields["earlier"] = [{key: entry[key] for key in _OWN_KEYS if key in entry} for entry in earlier[:MAX_EARLIER]]
    swift = table.get("swift")
    if isinstance(swift, dict):  # pypx put the login there
        fields["swift"] = {key: swift[key] for key in ("ip", "port", "storagetype") if key in swift}
    database.set_series_fields(series, "push", fields)


def _earlier(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    earlier = table.get("earlier")
    return [entry for entry in earlier if isinstance(entry, dict)] if isinstance(earlier, list) else []


def _fields(outcome: PushOutcome, target: Target, entries: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    now = datetime.now(timezone.utc)
    first = next(iter(entries), "")
    return {
        "status": outcome.ok and bool(entries),
        "store": {
            "status": outcome.ok,
            "localFileList": list(entries),
            "objectFileList": [name for name, _ in entries.values()],
            "localpath": str(Path(first).parent) if first else "",
        },
        "timestamp": now.astimezone().strftime("%Y-%m-%d, %H:%M:%S"),
        "target": {"kind": target.kind, "where": target.where},
        "objects": len({name for name, _ in entries.values()}),
        "expected": outcome.expected,
        "folder": outcome.folder,
        "time": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "checksums": [md5 for _, md5 in entries.values()],
        "error": outcome.error or "",
    }
