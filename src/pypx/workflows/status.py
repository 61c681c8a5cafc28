"""How far each series has come, from the smdb alone: nothing is asked of a PACS, a store or CUBE."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pypx.db.entries import text_of
from pypx.db.files import about
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.outcomes import FindResult, SeriesStatus
from pypx.model.records import ImageRecord, SeriesRef
from pypx.workflows.ledger import read_ledger


def series_status(series: Iterable[SeriesRef], database: Database) -> Iterator[SeriesStatus]:
    """The state of each series.

    Parameters
    ----------
    series : which ones, order kept; a series the smdb does not know is reported as not recorded
    database : where to look; only read

    Yields
    ------
    One status per series.  Counts are of distinct SOP Instance UIDs.  ``received``: instances on record.  ``packed``:
    those of them whose file stands in the listing of its directory (one listing a directory, no file is opened).
    ``pushed``: objects named by the push record, see :func:`pushed_count`.  ``registered``: what the register record
    counts, 0 if its last answer was a refusal.  ``state``: what is packed against what the ledger says the PACS has.

    Raises
    ------
    DatabaseError : a table of the series, or a directory of its files, cannot be read
    """
    listings = _Listings(database)
    for ref in series:
        yield _status(ref, database, listings)


def _status(ref: SeriesRef, database: Database, listings: _Listings) -> SeriesStatus:
    uid = ref.SeriesInstanceUID
    request = database.series_fields(uid, "retrieve")
    push = database.series_fields(uid, "push")
    images = database.images(uid)
    held = [instance for instance, record in images.items() if listings.holds(record)]
    recorded = database.has_series(uid)
    in_study = bool(ref.StudyInstanceUID) and uid in database.series_of_study(ref.StudyInstanceUID)
    ledger = read_ledger(database, uid, count_of(request.get("NumberOfSeriesRelatedInstances")))
    judged = ledger.judged(held, known=recorded or bool(request))
    return SeriesStatus(
        series=ref,
        state=judged.state,
        expected=judged.expected,
        received=len(images),
        packed=len(held),
        pushed=pushed_count(push, len(held)),
        registered=_registered_count(database.series_fields(uid, "register")),
        conflicts=database.conflicts(uid),
        study_recorded=bool(ref.StudyInstanceUID) and database.has_study(ref.StudyInstanceUID),
        series_recorded=recorded,
        listed_in_study=in_study,
        requested=bool(request),
        push_failed="status" in push and not push["status"],
        missing=judged.missing,
        doubtful=judged.expected is None and ledger.expectation.count is not None,
    )


def pushed_count(push: Mapping[str, Any], packed: int) -> int:
    """How many objects a push record vouches for.

    A record with ``objects`` (a count, a list, or an object keyed by name) counts those.  pypx 3 kept neither: there a
    true ``status`` means the files packed, a false one none.
    """
    objects = push.get("objects")
    if isinstance(objects, int) and not isinstance(objects, bool):
        return max(objects, 0)
    if isinstance(objects, list | dict):
        return len(objects)
    return packed if push.get("status") else 0


def _registered_count(register: Mapping[str, Any]) -> int:
    info = register.get("info")
    if isinstance(info, dict) and "msg" in info:
        return 0
    counter = register.get("objectCounter")
    return (count_of(counter.get("current")) or 0) if isinstance(counter, dict) else 0


def count_of(value: object) -> int | None:
    """A recorded count as a non-negative whole number; ``None`` for what is none (absent, ``-1``, any other text)."""
    digits = str(value).strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


class _Listings:
    """Which files stand in which directory, each directory listed once."""

    def __init__(self, database: Database) -> None:
        self._layout = database.layout
        self._names: dict[str, frozenset[str]] = {}

    def holds(self, record: ImageRecord) -> bool:
        directory, _, name = record.file.rpartition("/")
        if directory not in self._names:
            try:
                with os.scandir(self._layout.resolve(record.file).parent) as entries:
                    self._names[directory] = frozenset(entry.name for entry in entries)
            except (FileNotFoundError, NotADirectoryError):
                self._names[directory] = frozenset()
            except OSError as error:
                advice = "give access, then repeat: nobody knows what is there"
                raise about(self._layout.resolve(directory), f": cannot be read: {error.strerror}; {advice}") from error
        return name in self._names[directory]


def refs_of_result(result: FindResult) -> tuple[SeriesRef, ...]:
    """The series of a find result, in order."""
    return tuple(series.ref for series in result.series)


def refs_of_study(database: Database, study: UID) -> tuple[SeriesRef, ...]:
    """The series of a study that the smdb knows; none if it does not know the study."""
    return tuple(ref_of_series(database, series, study) for series in database.series_of_study(study))


def refs_of_patient(database: Database, PatientID: str) -> tuple[SeriesRef, ...]:
    """All series of all studies that the smdb has of a patient; none if it does not know the patient."""
    return tuple(ref for study in studies_of_patient(database, PatientID) for ref in refs_of_study(database, study))


def studies_of_patient(database: Database, PatientID: str) -> tuple[UID, ...]:
    """The study UIDs recorded for a patient, in order of arrival."""
    studies = (database.patient(PatientID) or {}).get("StudyList")
    return tuple(UID(str(uid)) for uid in studies) if isinstance(studies, list) else ()


def ref_of_series(database: Database, series: UID, study: UID | None = None) -> SeriesRef:
    """A series by its UID; the study UID is looked up where `study` is not given (empty if unknown)."""
    fields = database.series(series) or {}
    return SeriesRef(
        StudyInstanceUID=study or UID(str(fields.get("StudyInstanceUID", ""))),
        SeriesInstanceUID=series,
        SeriesDescription=text_of(fields.get("SeriesDescription")),
    )
