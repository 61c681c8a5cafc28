"""Rebuild the smdb of a BASEMOUNT from its files, in place.

What the files tell is written anew: patient, study and series tables, image records.  What only the tables knew stays:
requests, pushes, registrations, ledgers, checksums, conflicts.  Each table is replaced as a whole under its lock, so
readers and a listener may go on.  The headers that were read are kept in ``log/.rebuild/`` until the end: a run that
was interrupted is gone on with.

A record goes only where its file was seen to be gone, damaged or of another image.  While something below ``data/``
cannot be read, no table is removed and no study is taken from a patient.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import field
from datetime import datetime, timezone
from pathlib import Path

from pypx.db.files import about
from pypx.db.smdb import Database
from pypx.db.tables import locked, make_dirs
from pypx.errors import DatabaseError, InvalidDicomError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID
from pypx.model.keywords import RECORDED_KEYS
from pypx.model.records import ImageRecord, Instance
from pypx.services.dicomfile import read_instance
from pypx.workflows.digests import digests_of
from pypx.workflows.scanning import STRIPES, Scanned, scan, stripe_file, studies_of, walk_order
from pypx.workflows.sparing import Unreadable, old_records, spared
from pypx.workflows.status import studies_of_patient
from pypx.workflows.verify import no_files

_FOLDER = ".rebuild"


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild did.

    `series` and `instances` are on record now; `rejected` are files that are no whole DICOM, and why; `copies` are
    files of instances that another file is recorded for; `removed` is how many tables no file belonged to.
    `unreadable` are files and directories that could not be read, and why: what was on record of them still is.
    """

    series: int = 0
    instances: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    removed: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Patient:
    """A patient as it comes up: the instance that describes it, and the first file of each study."""

    instance: Instance
    file: str
    studies: dict[UID, str] = field(default_factory=dict)


@dataclass(slots=True)
class _State:
    """What has been rebuilt so far: the result, patients by ID, and the studies and series that have files.

    `spared` are the studies that stay in the tables although no file of them was read.  `began` is when the files were
    counted: a record made later is of a file that a listener has filed since.
    """

    began: str
    done: Rebuilt = field(default_factory=Rebuilt)
    patients: dict[str, _Patient] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    spared: set[str] = field(default_factory=set)
    unreadable: Unreadable = field(default_factory=Unreadable)


def rebuild(database: Database, *, jobs: int = 1, progress: Callable[[int, int], None] | None = None) -> Rebuilt:
    """Recreate the tables of a BASEMOUNT from the files below ``data/``.

    Parameters
    ----------
    database : of the BASEMOUNT
    jobs : processes that read headers
    progress : called with files read and files in all

    Raises
    ------
    DatabaseError, LockTimeoutError : repeat it then; it goes on where it ended.  So it does where there is no file,
        though images are on record: nothing was changed then
    """
    layout = database.layout
    folder = layout.log / _FOLDER
    make_dirs(folder, layout.modes.directory)
    state = _State(_utc(time.time()))
    if not scan(layout, folder, jobs, progress, state.unreadable):
        _check_empty(database, folder, state.unreadable)
    for stripe in range(STRIPES):
        studies = studies_of(layout, stripe_file(folder, stripe), state.done.rejected, state.unreadable)
        for study, files in sorted(studies.items()):
            _rebuild_study(database, study, files, state)
    _keep_others(database, state)
    for key, one in state.patients.items():
        first_to_last = sorted(one.studies, key=lambda study: walk_order(one.studies[study]))
        stay = [study for study in _listed(database, key) if study in state.spared or study in one.studies]
        known = stay if not state.spared.isdisjoint(stay) else []  # where some were not read, their order stays, too
        database.replace_patient(one.instance, list(dict.fromkeys([*known, *first_to_last])))
    if not state.unreadable:
        state.done.removed = _remove_others(database, state)
    state.done.unreadable = state.unreadable.listed()
    shutil.rmtree(folder, ignore_errors=True)
    return state.done


def _check_empty(database: Database, folder: Path, unreadable: Unreadable) -> None:
    """Refuse to take everything for gone where there is no file, or none that can be read."""
    layout = database.layout
    with suppress(OSError):  # an earlier run has read something
        folder.rmdir()
    if unreadable:
        (file, reason), *more = unreadable.listed()
        others = f", nor can {len(more)} others" if more else ""
        text = f": {reason}{others}, and there is no other file; nothing was changed; give access, then repeat"
        raise about(layout.resolve(file), text)
    if next(database.recorded_series(), None) or next(database.series_uids(), None):
        tables = ", ".join(path.name for path in (layout.patient_dir, layout.study_dir, layout.series_dir))
        raise no_files(layout, f"to begin anew, remove {tables} from {layout.log}")


# --- writing the tables


def _rebuild_study(database: Database, study: UID, files: list[Scanned], state: _State) -> None:
    by_series: dict[UID, list[Scanned]] = {}
    for one in files:
        by_series.setdefault(UID(one.series), []).append(one)
    described = False
    for series, own in by_series.items():
        state.kept.update((study, series))
        instance = _rebuild_series(database, series, own, state)
        if instance is None:
            continue
        if not described:
            database.replace_study(instance)
            described = True
        key = instance.tag("PatientID", "Not defined")
        patient = state.patients.setdefault(key, _Patient(instance, own[0].file))
        if walk_order(own[0].file) < walk_order(patient.file):
            patient.instance, patient.file = instance, own[0].file
        patient.studies.setdefault(study, own[0].file)


def _rebuild_series(database: Database, series: UID, files: list[Scanned], state: _State) -> Instance | None:
    """Write the records and tables of a series; returns its first instance, ``None``: they are left as they are."""
    layout, done = database.layout, state.done
    first = layout.resolve(files[0].file)
    try:
        instance = read_instance(first, frozenset(RECORDED_KEYS))
    except InvalidDicomError as error:  # it has changed within the minute: the next run will see
        state.unreadable.add(files[0].file, str(error))
        return None
    if old_records(database, series) is None and state.unreadable:
        log = layout.relative(layout.image_log(series))
        state.unreadable.add(log, "the records are damaged, and may be of files that cannot be read; left as they are")
        return None
    records, copies = _records(database, series, files)
    read = {one.file for one in files}
    with locked(layout.lock("filing", series), modes=layout.modes):
        old = _old(database, series)
        arrivals = {uid: record for uid, record in old.items() if record.received >= state.began}
        stays = spared(
            layout, series, (one for one in old.values() if one.received < state.began), read, state.unreadable
        )
        database.replace_images(instance, list({**arrivals, **records, **stays}.values()))
        database.replace_headers(instance, first.parent)
    done.series += 1
    done.instances += len({**records, **stays})
    done.copies += copies
    return instance


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
    return old_records(database, series) or {}


def _utc(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def _keep_others(database: Database, state: _State) -> None:
    """Keep series of which no file was met, but whose files may be there: unreadable, behind a link, or come since."""
    layout, kept = database.layout, state.kept
    for series in database.recorded_series():
        records = _old(database, series) if series not in kept else {}
        if records and spared(layout, series, records.values(), (), state.unreadable):
            kept.add(series)
            state.done.series += 1
            state.done.instances += len(records)
    read = {study for one in state.patients.values() for study in one.studies}
    for folder in layout.study_dir.glob("*-series"):
        study = folder.name.removesuffix("-series")
        names = (path.name.removesuffix("-meta.json") for path in _tables(folder, "-meta.json"))
        if study not in read and (state.unreadable or any(name in kept for name in names)):
            state.spared.add(study)
    kept |= state.spared


def _remove_others(database: Database, state: _State) -> int:
    """Remove tables of patients, studies and series that no file belongs to; what only tables know of them stays."""
    layout, kept = database.layout, state.kept
    gone = 0
    for path in _tables(layout.patient_dir, ".json"):
        if not _names_one_of(path, state):
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


def _arrivals(database: Database, series: UID, began: str) -> bool:
    """Whether a listener has filed images of a series since the files were counted."""
    return any(record.received >= began for record in _old(database, series).values())


def _listed(database: Database, PatientID: str) -> tuple[UID, ...]:
    """The studies that a patient has on record."""
    try:
        return studies_of_patient(database, PatientID)
    except DatabaseError as error:  # damaged: that is what a rebuild is for
        if isinstance(error.__cause__, OSError):
            raise
        return ()


def _names_one_of(path: Path, state: _State) -> bool:
    """Whether a table is of a patient who has files; one that cannot be read may be."""
    try:
        table = json.loads(path.read_bytes())
    except OSError:
        return True
    except ValueError:
        return False
    entries = table.items() if isinstance(table, dict) else ()
    return any(
        key in state.patients
        or (isinstance(one, dict) and not state.spared.isdisjoint(map(str, one.get("StudyList") or ())))
        for key, one in entries
    )


def _tables(directory: Path, ending: str) -> list[Path]:
    return sorted(path for path in directory.glob(f"*{ending}") if not path.name.startswith("."))


def _unlink(*paths: Path) -> int:
    gone = 0
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
            gone += 1
    return gone
