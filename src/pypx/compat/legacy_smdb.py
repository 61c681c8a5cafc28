"""px-smdb: actions on the database, as documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pypx.compat import smdb_json
from pypx.compat.legacy_call import Answer, Call, Document
from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.db.smdb import Database
from pypx.errors import InputError, PxError
from pypx.model.identifiers import UID, parse_uid
from pypx.model.outcomes import SeriesState
from pypx.services.dicomfile import read_instance
from pypx.workflows import smdb, status

SERVICES = ("swift", "storage", "CUBE", "PACS")


def run(call: Call) -> Answer:
    """Run every action whose name stands in ``str_action``, in pypx's order; the last one's document counts."""
    action = call.text("str_action")
    wanted = [work for name, work in _ACTIONS.items() if name in action]
    try:
        layout = call.layout()
        if not wanted:
            raise InputError(f"--action {action}: there are {', '.join(_ACTIONS)}")
        for work in wanted:
            document = work(call, layout)
    except PxError as error:
        return Answer(smdb_json.failure(action, str(error)), error)
    trouble = None if document["status"] else PxError(str(document.get("error") or f"{action}: nothing is there"))
    return Answer(document, trouble)


def service(layout: Layout, name: str, text: str = "", *, masked: bool = True) -> Document:
    """Read the entries of a service, or add to them first.

    Parameters
    ----------
    name : as spelled; the document has it as key
    text : a JSON object of entries, or ``""``
    masked : show ``****`` for passwords

    Raises
    ------
    InputError : no such service, or entries that cannot be used
    """
    keys = ServiceKeys(layout)
    kind = name.strip()
    if text.strip():
        keys.set(kind, _entries(text))
    if masked:
        return smdb_json.service_document(name, keys.masked(kind))
    return smdb_json.service_document(name, keys.storage() if kind.lower() == "storage" else keys.read(kind))


def _entries(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"--actionArgs is not JSON ({error}); give an object of named entries") from None
    if not isinstance(found, dict):
        raise InputError("--actionArgs: a JSON object of named entries is expected")
    return found


def file_of(call: Call) -> Path:
    """The packed file that the options name.

    Raises
    ------
    InputError : none is named
    """
    both, name = call.text("str_xcrdirfile"), call.text("str_xcrfile")
    if not both and not name:
        raise InputError("a file is needed: give --xcrdirfile, or --xcrdir and --xcrfile")
    return Path(both) if both else Path(call.text("str_xcrdir", ".")) / name


def _needed(call: Call, what: str) -> str:
    text = call.text("str_actionArgs").strip()
    if not text:
        raise InputError(f"--actionArgs: {what} is needed")
    return text


def _maps_of_file(call: Call, layout: Layout) -> Document:
    database = Database.open(layout)
    return smdb_json.maps_update_document(smdb.record_file(database, file_of(call)), database)


def _maps_of_patient(call: Call, layout: Layout) -> Document:
    database, patient = Database.open(layout), _needed(call, "a PatientID")
    images = smdb.images_of_patient(database, patient)
    files = smdb.record_patient(database, patient)
    return smdb_json.maps_update_patient_document(patient, images, files, database)


def _dirs_of_patient(call: Call, layout: Layout) -> Document:
    database, patient = Database.open(layout), _needed(call, "a PatientID")
    return smdb_json.image_dirs_patient_document(patient, smdb.images_of_patient(database, patient), database)


def _dirs_of_series(call: Call, layout: Layout) -> Document:
    database = Database.open(layout)
    series = parse_uid(_needed(call, "a SeriesInstanceUID"), "SeriesInstanceUID")
    return smdb_json.image_dirs_series_document(smdb.images_of_series(database, series), database)


def _series_location(call: Call, layout: Layout) -> Document:
    series = parse_uid(call.text("SeriesInstanceUID") or call.text("str_actionArgs"), "--SeriesInstanceUID")
    directories = smdb.images_of_series(Database.open(layout), series).directories
    return {"status": bool(directories), "seriesDirLocation": str(directories[0]) if directories else None}


def _tables(call: Call, layout: Layout) -> Document:
    file = file_of(call)
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    instance = read_instance(file, frozenset({"PatientID"}))
    return smdb_json.tables_document(
        call.text("str_action"),
        Database.open(layout),
        series=instance.SeriesInstanceUID,
        study=instance.StudyInstanceUID,
        PatientID=instance.tag("PatientID"),
        image=file.name,
    )


def _end_of_study(call: Call, layout: Layout) -> Document:
    """Whether all recorded series of a study are complete; the study is named by UID or by one of its files."""
    text = call.text("str_actionArgs").strip()
    study: UID = parse_uid(text, "StudyInstanceUID") if text else _study_of(file_of(call))
    database = Database.open(layout)
    series = list(status.series_status(status.refs_of_study(database, study), database))
    return {
        "status": bool(series) and all(one.state is SeriesState.COMPLETE for one in series),
        "StudyInstanceUID": study,
        "series": {one.series.SeriesInstanceUID: one.state.value for one in series},
    }


def _study_of(file: Path) -> UID:
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    return read_instance(file, frozenset()).StudyInstanceUID


def _named(name: str) -> Callable[[Call, Layout], Document]:
    return lambda call, layout: service(layout, name, call.text("str_actionArgs"))


_ACTIONS: Mapping[str, Callable[[Call, Layout], Document]] = {
    "mapsUpdateForFile": _maps_of_file,
    "imageDirsPatientID": _dirs_of_patient,
    "imageDirsSeriesInstanceUID": _dirs_of_series,
    "mapsUpdateForPatient": _maps_of_patient,
    "seriesDirLocation": _series_location,
    "DBtablesGet": _tables,
    "endOfStudy": _end_of_study,
    **{name: _named(name) for name in SERVICES},
}
"""What an action may contain, in the order in which pypx looked for it."""
