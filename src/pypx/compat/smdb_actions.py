"""The actions of px-smdb, once: ``px smdb --action`` and ``px-smdb`` differ only in how they are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pypx.compat import smdb_json
from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.outcomes import SeriesState
from pypx.model.records import Instance
from pypx.workflows import smdb, status

Document = dict[str, Any]

SERVICES = ("swift", "storage", "CUBE", "PACS")


class Asked(Protocol):
    """What an action is about, as it was named; each method raises an InputError if that is missing or wrong."""

    @property
    def action(self) -> str:
        """The action as spelled."""

    @property
    def layout(self) -> Layout:
        """Of the BASEMOUNT."""

    def file(self) -> Path:
        """A packed file."""

    def instance(self) -> Instance:
        """What that file says of itself: its UIDs and its PatientID."""

    def patient(self) -> str:
        """A PatientID."""

    def series(self) -> UID:
        """The series whose image directory is wanted."""

    def located_series(self) -> UID:
        """The series whose location is wanted."""

    def study(self) -> UID:
        """A study."""

    def spelled(self, kind: str) -> str:
        """The name under which the entries of a service are shown."""

    def entries(self) -> Mapping[str, Any] | None:
        """Entries of a service to be added; ``None``: none."""


def service_document(layout: Layout, kind: str, spelled: str, entries: Mapping[str, Any] | None) -> Document:
    """The entries of a service, passwords masked, after others were added to them."""
    keys = ServiceKeys(layout)
    if entries is not None:
        keys.set(kind, entries)
    return smdb_json.service_document(spelled, keys.masked(kind))


def _maps_of_file(asked: Asked) -> Document:
    database = Database.open(asked.layout)
    return smdb_json.maps_update_document(smdb.record_file(database, asked.file()), database)


def _maps_of_patient(asked: Asked) -> Document:
    database, patient = Database.open(asked.layout), asked.patient()
    images = smdb.images_of_patient(database, patient)
    files = smdb.record_patient(database, patient)
    return smdb_json.maps_update_patient_document(patient, images, files, database)


def _dirs_of_patient(asked: Asked) -> Document:
    database, patient = Database.open(asked.layout), asked.patient()
    return smdb_json.image_dirs_patient_document(patient, smdb.images_of_patient(database, patient), database)


def _dirs_of_series(asked: Asked) -> Document:
    database = Database.open(asked.layout)
    return smdb_json.image_dirs_series_document(smdb.images_of_series(database, asked.series()), database)


def _series_location(asked: Asked) -> Document:
    directories = smdb.images_of_series(Database.open(asked.layout), asked.located_series()).directories
    return {"status": bool(directories), "seriesDirLocation": str(directories[0]) if directories else None}


def _tables(asked: Asked) -> Document:
    name, instance = asked.file().name, asked.instance()
    return smdb_json.tables_document(
        asked.action,
        Database.open(asked.layout),
        series=instance.SeriesInstanceUID,
        study=instance.StudyInstanceUID,
        PatientID=instance.tag("PatientID"),
        image=name,
    )


def _end_of_study(asked: Asked) -> Document:
    """Whether a study has arrived whole: each of its recorded series as far as its PACS announced it."""
    study = asked.study()
    database = Database.open(asked.layout)
    series = list(status.series_status(status.refs_of_study(database, study), database))
    return {
        "status": bool(series) and all(one.state is SeriesState.COMPLETE for one in series),
        "StudyInstanceUID": study,
        "series": {one.series.SeriesInstanceUID: one.state.value for one in series},
    }


def _named(kind: str) -> Callable[[Asked], Document]:
    return lambda asked: service_document(asked.layout, kind, asked.spelled(kind), asked.entries())


ACTIONS: Mapping[str, Callable[[Asked], Document]] = {
    "mapsUpdateForFile": _maps_of_file,
    "imageDirsPatientID": _dirs_of_patient,
    "imageDirsSeriesInstanceUID": _dirs_of_series,
    "mapsUpdateForPatient": _maps_of_patient,
    "seriesDirLocation": _series_location,
    "DBtablesGet": _tables,
    "endOfStudy": _end_of_study,
    **{kind: _named(kind) for kind in SERVICES},
}
"""What an action may contain, in the order in which pypx looked for it."""
