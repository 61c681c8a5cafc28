"""The answers of px-smdb as pypx 3 printed them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pypx.compat.status_json import series_table_block, study_table_block
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.records import ImageRecord
from pypx.workflows.smdb import FileRecorded, SeriesImages, patient_tables


def failure(action: str, error: str = "") -> dict[str, Any]:
    """The document of an action that did not work; `error` says why, if more is known than pypx said."""
    said = f"An error occurred while executing '{action}'"
    return {"status": False, "error": f"{said}: {error}" if error else said}


def service_document(action: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a service under the name of the action as spelled; no entries: a failure."""
    return {"status": True, action: dict(entries)} if entries else failure(action)


def image_dirs_series_document(images: SeriesImages, database: Database) -> dict[str, Any]:
    """``imageDirsSeriesInstanceUID``: the directory of the first image."""
    uid = images.SeriesInstanceUID
    if images.first is None:
        return {**failure("imageDirsSeriesInstanceUID"), uid: str(database.layout.image_dir(uid))}
    return {"status": True, "error": "", uid: str(database.layout.resolve(images.first.file).parent)}


def image_dirs_patient_document(
    PatientID: str, images: Mapping[UID, tuple[SeriesImages, ...]], database: Database
) -> dict[str, Any]:
    """``imageDirsPatientID``: per study, the first image record of each of its series, and their directories.

    Each element of ``d_series`` holds its own series only (in pypx all elements were one and the same object).
    """
    return {
        "status": bool(images),
        "PatientID": PatientID,
        "d_series": {
            study: [
                {one.SeriesInstanceUID: image_block(one.SeriesInstanceUID, one.first, database)}
                for one in series
                if one.first is not None
            ]
            for study, series in images.items()
        },
        "d_imageDirs": {
            study: list(dict.fromkeys(str(path) for one in series for path in one.directories))
            for study, series in images.items()
        },
    }


def image_block(series: UID, record: ImageRecord, database: Database) -> dict[str, Any]:
    """An image record in pypx's shape: the series fields, and name, size and place of the file."""
    name = record.file.rpartition("/")[2]
    location = {"size": record.size, "FSlocation": str(database.layout.resolve(record.file))}
    return {**(database.series(series) or {}), "outputFile": name, "imageObj": {name: location}}


def maps_update_document(done: FileRecorded, database: Database) -> dict[str, Any]:
    """``mapsUpdateForFile``: what the tables now say of the file; ``status`` tells whether they do."""
    return {"status": done.error is None, "mapsUpdateForFile": _maps(done, database)}


def maps_update_patient_document(
    PatientID: str,
    images: Mapping[UID, tuple[SeriesImages, ...]],
    files: Iterable[FileRecorded],
    database: Database,
) -> dict[str, Any]:
    """``mapsUpdateForPatient``: the images of the patient, and per file what the tables now say of it."""
    document: dict[str, Any] = {
        "d_imageInfo": image_dirs_patient_document(PatientID, images, database),
        "status": bool(images),
    }
    for done in files:
        document[str(done.path)] = maps_update_document(done, database)
        document["status"] = document["status"] and done.error is None
    return document


def _maps(done: FileRecorded, database: Database) -> dict[str, Any]:
    if done.instance is None or done.record is None:
        return {"status": False, "error": done.error or ""}
    study, series = done.instance.StudyInstanceUID, done.instance.SeriesInstanceUID
    return {
        "status": True,
        "d_patientData_process": database.patient(done.instance.tag("PatientID")) or {},
        "d_studyData_process": {
            "status": True,
            "d_studyMeta": {study: database.study(study) or {}},
            "d_studySeries": {study: database.study_series(study, series) or {}},
        },
        "d_seriesData_process": {
            "status": True,
            "update": {
                "status": True,
                "updatesMade": done.new,
                "image": {series: image_block(series, done.record, database)},
            },
        },
    }


def tables_document(
    action: str, database: Database, *, series: UID, study: UID, PatientID: str, image: str = ""
) -> dict[str, Any]:
    """``seriesData_DBtablesGet``, ``studyData_…``, ``patientData_…``: table files and whether they exist.

    Which of the three are meant is found in the text of `action`, as pypx did (``seriesMap_DBtablesGet`` too).
    """
    document: dict[str, Any] = {"status": True}
    if "eries" in action:
        document["seriesData_DBtablesGet"] = series_table_block(database, series, image)
    if "tudy" in action:
        document["studyData_DBtablesGet"] = study_table_block(database, study)
    if "atient" in action:
        (table,) = patient_tables(database, PatientID)
        found = {"name": str(table.path), "exists": table.exists}
        document["patientData_DBtablesGet"] = {"status": True, "patientDataFile": found}
    return document if len(document) > 1 else failure(action)
