"""What the tables say of a series, in one mapping: patient, study, recorded header, and the series itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pypx.db.entries import text_of
from pypx.db.smdb import Database
from pypx.model.identifiers import UID

Tags = dict[str, str]


class SeriesTags:
    """Reads the tables of one series after the other; those of a patient and of a study once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._patients: dict[str, Tags] = {}
        self._studies: dict[UID, Tags] = {}

    def entry(self, series: UID) -> Tags:
        """What the table of the series says; ``{}`` if there is none.

        Raises
        ------
        DatabaseError : it cannot be read
        """
        return _texts(self._database.series(series))

    def of(self, series: UID, entry: Tags) -> Tags:
        """All that the tables say, those of the series last; `entry` is what `entry` returned.

        Raises
        ------
        DatabaseError : a table cannot be read
        """
        study, patient = study_of(entry), patient_of(entry)
        if patient not in self._patients:
            self._patients[patient] = _texts(self._database.patient(patient)) if patient else {}
        if study not in self._studies:
            self._studies[study] = _texts(self._database.study(study)) if study else {}
        header = _header(self._database.study_series(study, series)) if study else {}
        return self._patients[patient] | self._studies[study] | header | entry | {"SeriesInstanceUID": series}

    def read(self, series: UID) -> Tags:
        """All that the tables say of a series.

        Raises
        ------
        DatabaseError : a table cannot be read
        """
        return self.of(series, self.entry(series))


def study_of(entry: Tags) -> UID:
    """The study that the table of a series names, ``""`` if none."""
    return UID(entry.get("StudyInstanceUID", ""))


def patient_of(entry: Tags) -> str:
    """The patient that the table of a series names, ``""`` if none."""
    return entry.get("PatientID", "")


def scan(database: Database) -> Iterator[Tags]:
    """What the tables say of every series on record, each of them read.

    Raises
    ------
    DatabaseError : a table cannot be read
    """
    tags = SeriesTags(database)
    yield from map(tags.read, database.series_uids())


def _texts(fields: Mapping[str, Any] | None) -> Tags:
    return {name: text_of(value) for name, value in (fields or {}).items() if not isinstance(value, list | dict)}


def _header(fields: Mapping[str, Any] | None) -> Tags:
    block = (fields or {}).get("DICOM")
    if not isinstance(block, dict):
        return {}
    return {name: text_of(item.get("value") if isinstance(item, dict) else item) for name, item in block.items()}
