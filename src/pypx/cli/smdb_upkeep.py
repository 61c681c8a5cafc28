"""``px smdb verify`` and ``px smdb rebuild``: what they found, as table, lines or document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pypx.cli.console import Console
from pypx.cli.records import RECORD_FORMAT
from pypx.cli.render import show_records
from pypx.db.files import os_errors
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import DatabaseError, PartialError
from pypx.model.drift import BROKEN, UNREAD, Drift, DriftKind, SeriesDrift
from pypx.workflows import rebuild as rebuilding
from pypx.workflows import verify as verifying
from pypx.workflows.strays import MOVED_FROM
from pypx.workflows.verify import VerifyOptions

_COLUMNS = ("recorded", "lost", "moved", "damaged", "unrecorded", "conflicts", "unreadable", "SeriesInstanceUID")
_OTHER = frozenset({DriftKind.OTHER_INSTANCE, DriftKind.UNREADABLE})


def run_verify(layout: Layout, options: VerifyOptions, out: Console) -> int:
    """Verify a BASEMOUNT and show what differs.

    Returns
    -------
    Exit code: 0 all as recorded, 3 not
    """
    database = _existing(layout)
    with out.progress("series") as advance:
        results = list(verifying.verify(database, options, advance))
    bad = [result for result in results if not result.ok]
    if out.json:
        out.document(_document(results, options))
    elif out.jsonl:
        for result in bad:
            for drift in result.drifts:
                out.record(drift_record(result, drift))
    else:
        if bad:
            show_records(_COLUMNS, map(_row, bad), out)
        for result in bad:
            for drift in result.drifts:
                out.note(f"{drift.kind.value}: {_named(drift, layout, out)}: {_reason(drift, layout, out)}")
        out.note(_summary(results, bad, options))
    return PartialError.exit_code if bad else 0


def _named(drift: Drift, layout: Layout, out: Console) -> str:
    """A file that differs; but for ``-v``, one in data/ is named by its instance, as its path tells of the patient."""
    path = out.place(layout.base / drift.file)
    known = path.endswith("…") and drift.SOPInstanceUID
    return f"{path} ({drift.SOPInstanceUID})" if known else path


def _reason(drift: Drift, layout: Layout, out: Console) -> str:
    if drift.kind is not DriftKind.MOVED:
        return drift.reason
    return f"{MOVED_FROM}{out.place(layout.base / drift.reason.removeprefix(MOVED_FROM))}"


def _existing(layout: Layout) -> Database:
    database = Database.open(layout)
    if not database.exists:
        raise DatabaseError(f"{layout.base}: there is no BASEMOUNT; name the one of the listener")
    return database


def _summary(results: Iterable[SeriesDrift], bad: list[SeriesDrift], options: VerifyOptions) -> str:
    recorded = sum(result.recorded for result in results)
    fresh = sum(result.digests for result in results)
    unread = sum(result.count(*UNREAD) for result in bad)
    files = sum(len(result.drifts) for result in bad) - unread
    text = f"{recorded} images on record, " + (f"{files} files differ" if files else "" if unread else "all there")
    if unread:
        text += f"{', ' if files else ''}{unread} files or directories cannot be read: give access, then repeat"
    if options.deep and fresh:
        text += f"; {fresh} had no checksum yet, and " + ("get none (--dry-run)" if options.dry_run else "have one now")
    lost = sum(result.count(DriftKind.LOST) for result in bad)
    if lost and not options.dry_run:
        text += f"; {lost} recorded as lost: px move brings them back"
    if any(result.count(DriftKind.UNRECORDED, DriftKind.OTHER_INSTANCE, DriftKind.UNREADABLE) for result in bad):
        text += "; px smdb rebuild records what is there"
    if any(result.count(*BROKEN) for result in bad) and not options.set_aside:
        text += "; --set-aside takes damaged files out of the way"
    return text


def _row(result: SeriesDrift) -> dict[str, Any]:
    return {
        "recorded": result.recorded,
        "lost": result.count(DriftKind.LOST),
        "moved": result.count(DriftKind.MOVED),
        "damaged": result.count(*BROKEN, *_OTHER),
        "unrecorded": result.count(DriftKind.UNRECORDED),
        "conflicts": result.count(DriftKind.CONFLICT),
        "unreadable": result.count(*UNREAD),
        "SeriesInstanceUID": result.SeriesInstanceUID or "-",
    }


def drift_record(result: SeriesDrift, drift: Drift) -> dict[str, Any]:
    """A file that differs, as a flat record."""
    return {
        "format": RECORD_FORMAT,
        "SeriesInstanceUID": result.SeriesInstanceUID or None,
        "SOPInstanceUID": drift.SOPInstanceUID,
        "kind": drift.kind.value,
        "file": drift.file,
        "reason": drift.reason,
    }


def _document(results: list[SeriesDrift], options: VerifyOptions) -> dict[str, Any]:
    bad = [result for result in results if not result.ok]
    return {
        "format": RECORD_FORMAT,
        "status": not bad,
        "deep": options.deep,
        "series": len(results),
        "recorded": sum(result.recorded for result in results),
        "digests": sum(result.digests for result in results),
        "drift": [drift_record(result, drift) for result in bad for drift in result.drifts],
    }


def run_rebuild(layout: Layout, jobs: int, out: Console) -> int:
    """Rebuild the tables of a BASEMOUNT and say what came of it.

    Returns
    -------
    Exit code: 0, or 3 if some files are no whole DICOM files or cannot be read
    """
    with os_errors("read", layout.data):
        found = layout.data.is_dir()
    if not found:
        what = "there are no images to rebuild the tables from; name the BASEMOUNT, or mount the volume of its images"
        raise DatabaseError(f"{layout.data}: {what}")
    with out.progress("files") as advance:
        done = rebuilding.rebuild(Database.open_or_create(layout), jobs=jobs, progress=advance)
    if out.json:
        document = {
            "format": RECORD_FORMAT,
            "status": not done.rejected and not done.unreadable,
            "series": done.series,
            "instances": done.instances,
            "removed": done.removed,
            "rejected": [{"file": file, "reason": reason} for file, reason in done.rejected],
            "copies": done.copies,
            "unreadable": [{"file": file, "reason": reason} for file, reason in done.unreadable],
        }
        out.document(document)
    else:
        for file, reason in [*done.unreadable, *done.rejected]:
            out.note(f"{out.place(layout.base / file)}: {reason}")
        for file in done.copies:
            out.note(f"{out.place(layout.base / file)}: another file of this instance is on record")
        if done.unreadable:
            out.note("what is on record of unreadable files stays, and no table was removed; give access, then repeat")
        out.line(f"{layout.base}: {done.instances} images of {done.series} series on record")
    return PartialError.exit_code if done.rejected or done.unreadable else 0
