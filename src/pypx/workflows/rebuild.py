"""Rebuild the smdb of a BASEMOUNT from its files, in place.

What the files tell is written anew: patient, study and series tables, image records.  What only the tables knew stays:
requests, pushes, registrations, ledgers, checksums, conflicts.  Each table is replaced as a whole under its lock, so
readers and a listener may go on.  The headers that were read are kept in ``log/.rebuild/`` until the end: a run that
was interrupted is gone on with.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from pypx.db.files import open_to_append
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.db.tables import locked, make_dirs
from pypx.errors import DatabaseError, InvalidDicomError
from pypx.model.identifiers import UID
from pypx.model.keywords import RECORDED_KEYS
from pypx.model.records import ImageRecord, Instance
from pypx.services.dicomfile import read_instance
from pypx.workflows.digests import digests_of
from pypx.workflows.pool import run_all
from pypx.workflows.verify import files_below

_STRIPES = 64
_FOLDER = ".rebuild"


@dataclass(frozen=True, slots=True)
class Scanned:
    """The header of a file below ``data/``; `reason` says why it has none."""

    file: str
    size: int
    mtime_ns: int
    study: str = ""
    series: str = ""
    SOPInstanceUID: str = ""
    reason: str = ""


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild did.

    `series` and `instances` are on record now; `rejected` are files that are no whole DICOM, and why; `copies` are
    files of instances that another file is recorded for; `removed` is how many tables no file belonged to.
    """

    series: int = 0
    instances: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    removed: int = 0


@dataclass(slots=True)
class _Patient:
    """A patient as it comes up: the instance that describes it, and the first file of each study."""

    instance: Instance
    file: str
    studies: dict[UID, str] = field(default_factory=dict)


@dataclass(slots=True)
class _State:
    """What has been rebuilt so far: the result, patients by ID, and the studies and series that have files.

    `began` is when the files were counted: a record made later is of a file that a listener has filed since.
    """

    began: str
    done: Rebuilt = field(default_factory=Rebuilt)
    patients: dict[str, _Patient] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)


def rebuild(database: Database, *, jobs: int = 1, progress: Callable[[int, int], None] | None = None) -> Rebuilt:
    """Recreate the tables of a BASEMOUNT from the files below ``data/``.

    Parameters
    ----------
    database : of the BASEMOUNT
    jobs : processes that read headers
    progress : called with files read and files in all

    Raises
    ------
    DatabaseError, LockTimeoutError : repeat it then; it goes on where it ended
    """
    layout = database.layout
    folder = layout.log / _FOLDER
    make_dirs(folder, layout.modes.directory)
    state = _State(_utc(time.time()))
    _scan(layout, folder, jobs, progress)
    for stripe in range(_STRIPES):
        for study, files in sorted(_studies(layout, folder / f"{stripe:02d}.jsonl", state.done).items()):
            _rebuild_study(database, study, files, state)
    for one in state.patients.values():
        first_to_last = sorted(one.studies, key=lambda study: _walk_order(one.studies[study]))
        database.replace_patient(one.instance, first_to_last)
    state.done.removed = _remove_others(database, state)
    shutil.rmtree(folder, ignore_errors=True)
    return state.done


# --- reading the files


def _scan(layout: Layout, folder: Path, jobs: int, progress: Callable[[int, int], None] | None) -> None:
    """Read the header of every file that an earlier run has not read, and write it down by study."""
    known = {hash((one.file, one.size, one.mtime_ns)) for path in folder.glob("*.jsonl") for one in _lines(path)}
    total = sum(1 for _ in files_below(layout.data)) if progress is not None else 0
    fresh = (one for one in _found(layout) if hash((one.file, one.size, one.mtime_ns)) not in known)
    done = len(known)
    streams: dict[int, Any] = {}
    try:
        for one in run_all(partial(_scanned, layout), fresh, jobs):
            stripe = zlib.crc32(one.study.encode()) % _STRIPES
            if stripe not in streams:
                streams[stripe] = open_to_append(folder / f"{stripe:02d}.jsonl", layout.modes.file)
            streams[stripe].write(json.dumps(_plain(one)) + "\n")
            done += 1
            if progress is not None:
                progress(done, max(done, total))
    except OSError as error:
        raise DatabaseError(f"{folder}: cannot be written: {error.strerror}; make room, then repeat") from error
    finally:
        for stream in streams.values():
            stream.close()


def _found(layout: Layout) -> Iterator[Scanned]:
    for path in files_below(layout.data):
        with suppress(FileNotFoundError):
            status = path.stat()
            yield Scanned(layout.relative(path), status.st_size, status.st_mtime_ns)


def _scanned(layout: Layout, one: Scanned) -> Scanned:
    """A file with its UIDs; runs in any process."""
    try:
        header = read_instance(layout.resolve(one.file), frozenset())
    except InvalidDicomError as error:
        return Scanned(one.file, one.size, one.mtime_ns, reason=str(error))
    except OSError as error:
        return Scanned(one.file, one.size, one.mtime_ns, reason=f"cannot be read: {error.strerror}")
    uids = (header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID)
    return Scanned(one.file, one.size, one.mtime_ns, *uids)


def _plain(one: Scanned) -> list[Any]:
    return [one.file, one.size, one.mtime_ns, one.study, one.series, one.SOPInstanceUID, one.reason]


def _lines(path: Path) -> Iterator[Scanned]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            with suppress(ValueError, TypeError):  # the last line of a run that was killed
                yield Scanned(*json.loads(line))


def _studies(layout: Layout, path: Path, done: Rebuilt) -> dict[UID, list[Scanned]]:
    """The files of the studies of one stripe that are still as they were read, sorted by name."""
    if not path.exists():
        return {}
    studies: dict[UID, list[Scanned]] = {}
    newest = {one.file: one for one in _lines(path)}
    for one in sorted(newest.values(), key=lambda one: _walk_order(one.file)):
        with suppress(FileNotFoundError):
            if os.stat(layout.resolve(one.file)).st_mtime_ns != one.mtime_ns:  # noqa: PTH116 - once a file
                continue
            if one.reason:
                done.rejected.append((one.file, one.reason))
            else:
                studies.setdefault(UID(one.study), []).append(one)
    return studies


def _walk_order(file: str) -> list[tuple[bool, str]]:
    """Sorts files as a walk meets them, and so as a repack files them: those of a directory before its folders."""
    *folders, name = file.split("/")
    return [*((True, folder) for folder in folders), (False, name)]


# --- writing the tables


def _rebuild_study(database: Database, study: UID, files: list[Scanned], state: _State) -> None:
    done = state.done
    by_series: dict[UID, list[Scanned]] = {}
    for one in files:
        by_series.setdefault(UID(one.series), []).append(one)
    described = False
    for series, own in by_series.items():
        first = database.layout.resolve(own[0].file)
        try:
            instance = read_instance(first, frozenset(RECORDED_KEYS))
        except (InvalidDicomError, OSError):
            continue  # it has changed within the minute: the next run will see
        records, copies = _records(database, series, own)
        with locked(database.layout.lock("filing", series), modes=database.layout.modes):
            database.replace_images(instance, _with_arrivals(database, series, records, state.began))
            database.replace_headers(instance, first.parent)
        if not described:
            database.replace_study(instance)
            described = True
        key = instance.tag("PatientID", "Not defined")
        patient = state.patients.setdefault(key, _Patient(instance, own[0].file))
        if _walk_order(own[0].file) < _walk_order(patient.file):
            patient.instance, patient.file = instance, own[0].file
        patient.studies.setdefault(study, own[0].file)
        done.series += 1
        done.instances += len(records)
        done.copies += copies
        state.kept.update((study, series))


def _records(database: Database, series: UID, files: Iterable[Scanned]) -> tuple[dict[UID, ImageRecord], list[str]]:
    """A record an instance, of the file that had it before or comes first; and the other files of it."""
    old = _old(database, series)
    digests = digests_of(database, series)
    chosen: dict[UID, Scanned] = {}
    copies = []
    for one in files:
        uid = UID(one.SOPInstanceUID)
        known = old.get(uid)
        if uid not in chosen:
            chosen[uid] = one
        elif known is not None and known.file == one.file:
            copies.append(chosen[uid].file)
            chosen[uid] = one
        else:
            copies.append(one.file)
    records = {}
    for uid, one in chosen.items():
        known, digest = old.get(uid), digests.get(uid)
        if known is not None and known.file == one.file:
            received = known.received
        elif digest is not None and digest.file == one.file:
            received = digest.received
        else:
            received = _utc(one.mtime_ns / 1e9)
        records[uid] = ImageRecord(uid, one.file, one.size, received)
    return records, copies


def _old(database: Database, series: UID) -> dict[UID, ImageRecord]:
    try:
        return database.images(series)
    except DatabaseError:  # that is what a rebuild is for
        return {}


def _with_arrivals(database: Database, series: UID, records: dict[UID, ImageRecord], began: str) -> list[ImageRecord]:
    """The records, and those of files that a listener has filed since they were counted."""
    return list({**_arrivals(database, series, began), **records}.values())


def _arrivals(database: Database, series: UID, began: str) -> dict[UID, ImageRecord]:
    return {uid: record for uid, record in _old(database, series).items() if record.received >= began}


def _utc(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def _remove_others(database: Database, state: _State) -> int:
    """Remove tables of patients, studies and series that no file belongs to; what only tables know of them stays."""
    layout, patients, kept = database.layout, state.patients, state.kept
    gone = 0
    for path in _tables(layout.patient_dir, ".json"):
        if not _names_one_of(path, patients):
            gone += _unlink(path)
    for folder in sorted(layout.study_dir.glob("*-series")):
        study = folder.name.removesuffix("-series")
        for path in _tables(folder, "-meta.json"):
            series = UID(path.name.removesuffix("-meta.json"))
            if series not in kept and not _arrivals(database, series, state.began):
                gone += _unlink(path)
        if study not in kept and not any(folder.iterdir()):
            folder.rmdir()
            gone += _unlink(layout.study_table(study))
    for series in list(database.recorded_series()):
        if series not in kept and not _arrivals(database, series, state.began):
            gone += _unlink(layout.image_log(series), layout.series_table(series, "meta"))
            gone += _unlink(layout.series_table(series, "pack"))
            shutil.rmtree(layout.image_dir(series), ignore_errors=True)
    return gone


def _names_one_of(path: Path, patients: dict[str, _Patient]) -> bool:
    try:
        return any(key in patients for key in json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return False


def _tables(directory: Path, ending: str) -> list[Path]:
    return sorted(path for path in directory.glob(f"*{ending}") if not path.name.startswith("."))


def _unlink(*paths: Path) -> int:
    gone = 0
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
            gone += 1
    return gone
