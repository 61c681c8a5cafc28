"""Verify a BASEMOUNT: every record against its file, and every file against the records."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from errno import ENOENT, ENOTDIR
from functools import partial
from pathlib import Path

from pypx.db.files import about
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import DatabaseError, InvalidDicomError
from pypx.model.dataclass import dataclass
from pypx.model.drift import BROKEN, Drift, DriftKind, SeriesDrift
from pypx.model.identifiers import UID, is_uid
from pypx.model.keywords import RECORDED_KEYS
from pypx.model.records import ImageRecord
from pypx.services.dicomfile import read_instance
from pypx.services.dicomsource import UnreadableFileError
from pypx.workflows.digests import Digest, add_digests, checksum, digest_of, digests_of
from pypx.workflows.filing import keep_rejected
from pypx.workflows.journal import Journal
from pypx.workflows.placing import clear_parts
from pypx.workflows.pool import run_all
from pypx.workflows.strays import Named, with_files
from pypx.workflows.walking import is_bare, is_gone


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What is verified, and what is done about it.

    `deep`: read every file whole and compare checksums; those without one get it.  `dry_run`: change nothing; else
    files that are gone are recorded as lost, and those that were moved under their new name.  `set_aside`: files that
    are of no use go to ``incoming/rejected/`` and are recorded as lost, so that a retrieve asks for them.  `resume`:
    pass over the series that an interrupted run found in order.  `jobs`: processes.
    """

    deep: bool = False
    dry_run: bool = False
    set_aside: bool = False
    resume: bool = False
    jobs: int = 1


def verify(
    database: Database, options: VerifyOptions | None = None, progress: Callable[[int, int], None] | None = None
) -> Iterator[SeriesDrift]:
    """Compare the records of a BASEMOUNT with its files.

    Parameters
    ----------
    database : of the BASEMOUNT; others may go on filing into it
    options : see `VerifyOptions`
    progress : called with series verified and series in all

    Yields
    ------
    One result a series, those without drift included; last, files that belong to no series

    Raises
    ------
    DatabaseError : the BASEMOUNT cannot be read; or something is to be changed in it, and it may not be written to, or
        its ``data/`` is empty, as where a volume is not mounted
    """
    options = options or VerifyOptions()
    writes = not options.dry_run and os.access(database.layout.log, os.W_OK | os.X_OK)
    if options.set_aside and not options.dry_run and not writes:
        raise _read_only(database.layout, "nothing can be set aside")
    series = _series(database, writes=writes)
    journal = Journal(database.layout, deep=options.deep, resume=options.resume and not options.dry_run, write=writes)
    named = Named()
    found: dict[UID, SeriesDrift] = {}
    work = partial(_verified, database.layout, deep=options.deep, dry_run=not writes)
    fresh = [one for one in series if not journal.knows(one)]
    for count, result in enumerate(run_all(work, fresh, options.jobs), 1):
        found[result.SeriesInstanceUID] = result
        journal.note(result)
        if progress is not None:
            progress(count + len(series) - len(fresh), len(series))
    for one in series:
        try:
            records = database.images(one)
        except DatabaseError:
            records = {}
        named.add(record.file for record in records.values())
        found.setdefault(one, SeriesDrift(one, len(records)))
    results = with_files(database, found, named, options.jobs).values()
    if not writes and not options.dry_run:
        _check_nothing_to_do(database.layout, results)
    for result in results:
        yield _repaired(database, result, options) if writes else result
    if writes:
        for folder, _, _ in os.walk(database.layout.data):
            clear_parts(Path(folder))
    journal.end()


def _series(database: Database, *, writes: bool) -> list[UID]:
    series = list(database.recorded_series())
    if writes and series and is_bare(database.layout.data):
        raise no_files(database.layout, "see with --dry-run what is missing")
    return series


def no_files(layout: Layout, otherwise: str) -> DatabaseError:
    """The refusal to take every image for gone because ``data/`` is empty; `otherwise`: what to do if they are gone."""
    text = ": holds no file, but images are on record; is its volume not mounted? nothing was changed; mount it, or"
    return about(layout.data, f"{text} {otherwise}")


def _check_nothing_to_do(layout: Layout, results: Iterable[SeriesDrift]) -> None:
    """Refuse to end as if it was recorded what differs, where nothing can be."""
    lost = sum(result.count(DriftKind.LOST, DriftKind.MOVED) for result in results)
    fresh = sum(result.digests for result in results)
    if lost:
        raise _read_only(layout, f"it cannot be recorded that {lost} images are gone or elsewhere")
    if fresh:
        raise _read_only(layout, f"{fresh} new checksums cannot be recorded")


def _read_only(layout: Layout, what: str) -> DatabaseError:
    return about(
        layout.log, f": may not be written to, so {what}; --dry-run only looks, or run px as the owner of the BASEMOUNT"
    )


def _verified(layout: Layout, series: UID, *, deep: bool, dry_run: bool) -> SeriesDrift:
    """Verify the records of one series; runs in any process."""
    database = Database.open(layout)
    try:
        records = database.images(series)
        digests = digests_of(database, series) if deep else {}
    except DatabaseError as error:
        bad = Drift(DriftKind.UNREADABLE, layout.relative(layout.image_log(series)), None, str(error))
        return SeriesDrift(series, 0, (bad,))
    drifts: list[Drift] = []
    fresh: list[Digest] = []
    for record in records.values():
        drift, digest = _compared(layout, series, record, digests.get(record.SOPInstanceUID), deep=deep)
        drifts += [drift] if drift is not None else []
        fresh += [digest] if digest is not None else []
    if fresh and not dry_run:
        add_digests(database, series, fresh)
    drifts += _conflicts(database, series)
    return SeriesDrift(series, len(records), tuple(drifts), len(fresh))


class _DiffersError(Exception):
    """A file is not what its record says."""

    def __init__(self, kind: DriftKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def _compared(
    layout: Layout, series: UID, record: ImageRecord, known: Digest | None, *, deep: bool
) -> tuple[Drift | None, Digest | None]:
    """How a file differs from its record, and its first checksum if it had none."""
    kind, digest = DriftKind.DAMAGED, None
    try:
        path = layout.resolve(record.file)
        _check_header(path, series, record)
        if deep:
            digest = _checked_digest(path, record, known)
    except _DiffersError as error:
        kind, reason = error.kind, str(error)
    except UnreadableFileError as error:
        kind, reason = _unread(error.errno, str(error))
    except InvalidDicomError as error:
        reason = str(error)
    except DatabaseError as error:
        reason = f"cannot be read: {error}"
    except OSError as error:
        kind, reason = _unread(error.errno, f"cannot be read: {error.strerror}")
    else:
        return None, digest
    return Drift(kind, record.file, record.SOPInstanceUID, reason), None


def _unread(errno: int | None, reason: str) -> tuple[DriftKind, str]:
    return (DriftKind.LOST, "it is gone") if errno in {ENOENT, ENOTDIR} else (DriftKind.UNREADABLE_FILE, reason)


def _check_header(path: Path, series: UID, record: ImageRecord) -> None:
    size = path.stat().st_size
    instance = read_instance(path, frozenset())
    uid = record.SOPInstanceUID if is_uid(record.SOPInstanceUID) else instance.SOPInstanceUID
    if (instance.SeriesInstanceUID, instance.SOPInstanceUID) != (series, uid):
        raise _DiffersError(DriftKind.OTHER_INSTANCE, f"it holds instance {instance.SOPInstanceUID}")
    if size != record.size:
        raise _DiffersError(DriftKind.SIZE, f"it has {size} bytes, but {record.size} were recorded")


def _checked_digest(path: Path, record: ImageRecord, known: Digest | None) -> Digest | None:
    crc32 = checksum(path)
    if known is None or not known.belongs_to(record):
        return digest_of(record, crc32)
    if known.crc32 != crc32:
        raise _DiffersError(DriftKind.DIGEST, f"its checksum is {crc32}, but {known.crc32} was recorded")
    return None


def _conflicts(database: Database, series: UID) -> list[Drift]:
    """Instances that came again with other content, as long as that content is kept."""
    found = []
    for line in database.log_lines(series, "conflicts"):
        file = str(line.get("file", ""))
        with suppress(DatabaseError):
            if not is_gone(database.layout.resolve(file)):
                uid = UID(str(line.get("SOPInstanceUID")))
                found.append(
                    Drift(DriftKind.CONFLICT, file, uid, "it came again with other content, which is kept here")
                )
    return found


# --- what is done about it


def _repaired(database: Database, result: SeriesDrift, options: VerifyOptions) -> SeriesDrift:
    lost = [drift for drift in result.drifts if drift.kind is DriftKind.LOST]
    if options.set_aside:
        for drift in result.drifts:
            if drift.kind in BROKEN:
                _set_aside(database, drift)
                lost.append(drift)
    uids = [drift.SOPInstanceUID for drift in lost if drift.SOPInstanceUID is not None]
    if uids:
        database.forget_images(result.SeriesInstanceUID, uids)
    for drift in result.drifts:
        if drift.kind is DriftKind.MOVED:
            _record_anew(database, drift)
    return result


def _set_aside(database: Database, drift: Drift) -> None:
    path = database.layout.resolve(drift.file)
    try:
        layout = database.layout
        keep_rejected(path, layout.incoming / "rejected", f"found at {drift.file}: {drift.reason}", layout.modes)
        path.unlink()
    except OSError as error:
        text = f": cannot be set aside: {error.strerror}; give access, then repeat"
        raise about(path, text) from error


def _record_anew(database: Database, drift: Drift) -> None:
    """Record a file that was moved where it is now, as received when it was."""
    path = database.layout.resolve(drift.file)
    try:
        instance = read_instance(path, frozenset(RECORDED_KEYS))
        size = path.stat().st_size
    except (InvalidDicomError, OSError):
        return
    old = database.images(instance.SeriesInstanceUID).get(instance.SOPInstanceUID)
    received = old.received if old is not None else ""
    record = ImageRecord(instance.SOPInstanceUID, drift.file, size, received)
    database.add_images([(instance, record)])
    digest = digests_of(database, instance.SeriesInstanceUID).get(instance.SOPInstanceUID)
    if old is not None and digest is not None and digest.belongs_to(old):
        now = database.images(instance.SeriesInstanceUID).get(instance.SOPInstanceUID, record)
        add_digests(database, instance.SeriesInstanceUID, [digest_of(now, digest.crc32)])
