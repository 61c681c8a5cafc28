"""What the smdb knows: image directories, table files, and recording files anew."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from pypx.db.smdb import Database
from pypx.errors import InputError, InvalidDicomError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID
from pypx.model.keywords import RECORDED_KEYS
from pypx.model.records import ImageRecord, Instance
from pypx.services.dicomfile import read_instance
from pypx.workflows.status import studies_of_patient

SERIES_TABLES = ("meta", "retrieve", "push", "pack", "register")
"""The tables of a series, besides its image records."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file of the smdb: which table, where, and whether it is there."""

    table: str
    path: Path
    exists: bool


@dataclass(frozen=True, slots=True)
class SeriesImages:
    """The images of a series on disk.

    `directories` in the order of their first image; `first` is the image that comes first by file name (``None``: no
    image on record).
    """

    StudyInstanceUID: UID
    SeriesInstanceUID: UID
    directories: tuple[Path, ...]
    first: ImageRecord | None


@dataclass(frozen=True, slots=True)
class FileRecorded:
    """A packed file that was entered into the tables.

    `new` tells whether it was unknown before; `error` says why it could not be recorded.
    """

    path: Path
    instance: Instance | None = None
    record: ImageRecord | None = None
    new: bool = False
    error: str | None = None


def images_of_series(database: Database, series: UID, study: UID | None = None) -> SeriesImages:
    """Where the images of a series are, by their records."""
    records = sorted(database.images(series).values(), key=lambda record: record.file)
    one_each = {record.file.rpartition("/")[0]: record.file for record in records}
    known = study or UID(str((database.series(series) or {}).get("StudyInstanceUID", "")))
    return SeriesImages(
        StudyInstanceUID=known,
        SeriesInstanceUID=series,
        directories=tuple(database.layout.resolve(file).parent for file in one_each.values()),
        first=min(records, key=lambda record: record.file.rpartition("/")[2], default=None),
    )


def images_of_patient(database: Database, PatientID: str) -> dict[UID, tuple[SeriesImages, ...]]:
    """Study UID to the images of each of its series, for all studies recorded of a patient."""
    return {
        study: tuple(images_of_series(database, series, study) for series in database.series_of_study(study))
        for study in studies_of_patient(database, PatientID)
    }


def record_file(database: Database, path: Path) -> FileRecorded:
    """Enter one packed file into the tables.

    Parameters
    ----------
    database : written to
    path : a DICOM file where it is to stay; it is neither moved nor changed

    Raises
    ------
    InvalidDicomError : no DICOM, or cut short
    InputError : no such file
    DatabaseError : the tables cannot be written
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    instance = read_instance(path, frozenset(RECORDED_KEYS))
    record = ImageRecord(
        SOPInstanceUID=instance.SOPInstanceUID,
        file=database.layout.relative(path),
        size=path.stat().st_size,
        received=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    )
    database.add_headers(instance, path.parent)
    new = database.add_images([(instance, record)])
    return FileRecorded(path, instance, record, new=bool(new))


def record_patient(database: Database, PatientID: str) -> Iterator[FileRecorded]:
    """Enter every file on record of a patient anew; a file that is gone or damaged is reported, the others go on."""
    for series_images in images_of_patient(database, PatientID).values():
        for images in series_images:
            for record in database.images(images.SeriesInstanceUID).values():
                path = database.layout.resolve(record.file)
                try:
                    yield record_file(database, path)
                except (InputError, InvalidDicomError) as error:
                    yield FileRecorded(path, record=record, error=str(error))


def patient_tables(database: Database, PatientID: str) -> tuple[TableFile, ...]:
    """The table file of a patient."""
    return (_table("patient", database.layout.patient_table(PatientID)),)


def study_tables(database: Database, study: UID) -> tuple[TableFile, ...]:
    """The table file of a study and the directory of its series."""
    layout = database.layout
    return (_table("meta", layout.study_table(study)), _table("series", layout.study_series_dir(study)))


def series_tables(database: Database, series: UID, image: str = "") -> tuple[TableFile, ...]:
    """The table files of a series.

    ``images`` is where its image records are (format 3: a directory, format 4: a file of lines); with `image`, the
    name of an image file, ``image`` is the file with its record.
    """
    layout = database.layout
    records = layout.image_dir(series) if database.format == 3 else layout.image_log(series)
    tables = [_table("images", records)]
    if image:
        tables.append(_table("image", records / f"{image}.json" if database.format == 3 else records))
    return (*tables, *(_table(name, layout.series_table(series, name)) for name in SERIES_TABLES))


def _table(name: str, path: Path) -> TableFile:
    return TableFile(name, path, path.exists())
