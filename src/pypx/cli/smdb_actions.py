"""What ``px smdb`` does: pypx's actions with pypx's documents, and the named services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypx.cli import inputs
from pypx.cli.console import Console, OutputFormat
from pypx.cli.options import given, note_missing
from pypx.compat import smdb_json
from pypx.db.service_keys import ServiceKeys
from pypx.db.smdb import Database
from pypx.errors import InputError, PxError
from pypx.model.identifiers import parse_uid
from pypx.workflows import smdb, status

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.services.dcmtk import Limits, Programs

Document = dict[str, Any]

_ACTIONS = (
    "mapsUpdateForFile", "imageDirsPatientID", "imageDirsSeriesInstanceUID", "mapsUpdateForPatient",
    "seriesDirLocation", "DBtablesGet", "endOfStudy", "swift", "storage", "CUBE", "PACS",
)  # fmt: skip
"""What an action may contain, in the order in which pypx looked for it."""

_TABLES = "patientData_DBtablesGet, studyData_DBtablesGet, seriesData_DBtablesGet"

_SERVICES = {name.lower(): name for name in ("swift", "storage", "CUBE", "PACS")}


def run_action(action: str, text: str, file: str, layout: Layout, out: Console) -> int:
    """Do what pypx's ``--action`` asks for and print its document.

    Parameters
    ----------
    action : as spelled by the user
    text : ``--actionArgs``
    file : a packed DICOM file, if the action is about one

    Returns
    -------
    Exit code: 0, or 1 where the document says ``"status": false``
    """
    answer = Console(OutputFormat.JSON, out.verbosity)
    with answer.failing(PxError, lambda error: smdb_json.failure(action, str(error))):
        kind = next((known for known in _ACTIONS if known in action), None) or _SERVICES.get(action.lower())
        if kind is None:
            raise InputError(f"--action {action}: there are {', '.join(_ACTIONS).replace('DBtablesGet', _TABLES)}")
        if kind == "DBtablesGet" and not any(part in action for part in ("atient", "tudy", "eries")):
            raise InputError(f"--action {action}: of which tables? There are {_TABLES}")
        document = _document(kind, action, text, file, layout)
    if answer.verbosity:
        answer.document(document)
    return 0 if document["status"] else PxError.exit_code


def _document(kind: str, action: str, text: str, file: str, layout: Layout) -> Document:
    if kind in _SERVICES.values():
        keys = ServiceKeys(layout)
        if text.strip():
            keys.set(kind, inputs.parse_object(text, "--actionArgs", "object of service entries"))
        spelled = action if action.lower() in _SERVICES else kind
        return smdb_json.service_document(spelled, keys.masked(kind))
    if kind.startswith("mapsUpdate"):
        return _maps_update(kind, text, file, Database.open(layout))
    return _looked_up(kind, action, text, file, Database.open(layout))


def _maps_update(kind: str, text: str, file: str, database: Database) -> Document:
    if kind == "mapsUpdateForFile":
        return smdb_json.maps_update_document(smdb.record_file(database, Path(_needed(file, "a file"))), database)
    patient = _needed(text, "a PatientID")
    images = smdb.images_of_patient(database, patient)
    files = smdb.record_patient(database, patient)
    return smdb_json.maps_update_patient_document(patient, images, files, database)


def _looked_up(kind: str, action: str, text: str, file: str, database: Database) -> Document:
    if kind == "DBtablesGet":
        return _tables(action, Path(_needed(file, "a file")), database)
    if kind == "imageDirsPatientID":
        patient = _needed(text, "a PatientID")
        return smdb_json.image_dirs_patient_document(patient, smdb.images_of_patient(database, patient), database)
    if kind == "endOfStudy":
        return _end_of_study(_needed(text, "a StudyInstanceUID"), database)
    wanted = text or str(given("SeriesInstanceUID") or "")
    series = parse_uid(_needed(wanted, "a SeriesInstanceUID"), "SeriesInstanceUID")
    images = smdb.images_of_series(database, series)
    if kind == "imageDirsSeriesInstanceUID":
        return smdb_json.image_dirs_series_document(images, database)
    directory = str(images.directories[0]) if images.directories else None
    return {"status": directory is not None, "seriesDirLocation": directory}


def _needed(text: str, what: str) -> str:
    if not text.strip():
        raise InputError(f"{what} is needed")
    return text


def _tables(action: str, file: Path, database: Database) -> Document:
    from pypx.services.dicomfile import read_instance

    instance = read_instance(file, frozenset({"PatientID"}))
    return smdb_json.tables_document(
        action,
        database,
        series=instance.SeriesInstanceUID,
        study=instance.StudyInstanceUID,
        PatientID=instance.tag("PatientID"),
        image=file.name,
    )


def _end_of_study(text: str, database: Database) -> Document:
    """Whether a study has arrived whole: each of its recorded series as far as its PACS announced it."""
    from pypx.model.outcomes import SeriesState

    study = parse_uid(text, "StudyInstanceUID")
    series = list(status.series_status(status.refs_of_study(database, study), database))
    return {
        "status": bool(series) and all(one.state is SeriesState.COMPLETE for one in series),
        "StudyInstanceUID": study,
        "series": {one.series.SeriesInstanceUID: one.state.value for one in series},
    }


def image_directories(series: str | None, patient: str | None, layout: Layout) -> Iterator[str]:
    """Where the images of a series, or of all series of a patient, are.

    Raises
    ------
    InputError : none is recorded
    """
    database = Database.open(layout)
    if series:
        found = [smdb.images_of_series(database, parse_uid(series, "SeriesInstanceUID"))]
    else:
        found = [one for study in smdb.images_of_patient(database, patient or "").values() for one in study]
    directories = dict.fromkeys(str(path) for one in found for path in one.directories)
    if not directories:
        raise InputError(f"{layout.log}: no image of it is recorded")
    yield from directories


def run_service(
    *,
    kind: str,
    act: str,
    key: str | None,
    value: str | None,
    layout: Layout,
    limits: Limits,
    programs: Programs,
    out: Console,
) -> None:
    """List, show, set, remove or check named services."""
    keys = ServiceKeys(layout)
    for path in keys.loose_files():
        out.note(f"{path}: others may read it; chmod go= {path}")
    if act == "list":
        note_missing(layout, out)
        _list(kind, keys, out)
        return
    if act not in {"get", "set", "remove", "check"}:
        raise InputError(f"{act!r} is none of list, get, set, remove, check")
    if not key:
        raise InputError(f"px smdb service {kind} {act} needs the KEY of an entry")
    if act == "check":
        _check(kind, key, keys, limits=limits, programs=programs, out=out)
        return
    if act == "set":
        keys.set(kind, {key: _entry(value)})
    elif act == "remove":
        keys.remove(kind, key)
        out.note(f"{kind} {key}: removed")
        return
    else:
        keys.entry(kind, key)
    out.document(_masked(kind, keys).get(key, {}))


def _masked(kind: str, keys: ServiceKeys) -> Mapping[str, Any]:
    """The entries by name, passwords masked; those of PACS from whichever shape their file has."""
    if kind == "PACS":
        return {name: keys.pacs(name) for name in keys.names(kind)}
    return keys.masked(kind)


def _entry(value: str | None) -> Document:
    if not value:
        raise InputError("an entry is set to a JSON object; give it, or - to read it from stdin")
    text = inputs.read_text("-", "service entry") if value == "-" else value
    return inputs.parse_object(text, "stdin" if value == "-" else "the entry", "service entry")


def _list(kind: str, keys: ServiceKeys, out: Console) -> None:
    entries = _masked(kind, keys)
    if out.json:
        out.document(smdb_json.service_document(kind, keys.masked(kind)) if entries else {"status": True, kind: {}})
        return
    if not entries:
        out.note(f"no {kind} is named; px smdb service {kind} set KEY JSON names one")
        return
    fields = list(dict.fromkeys(field for entry in entries.values() for field in entry))
    out.table(
        ["name", *fields], ([name, *(entry.get(field, "") for field in fields)] for name, entry in entries.items())
    )


def _check(kind: str, key: str, keys: ServiceKeys, *, limits: Limits, programs: Programs, out: Console) -> None:
    """Connect to a named service, and say what answered."""
    if kind == "PACS":
        answer, *notices = (_check_pacs(key, keys, limits, programs),)
    else:
        from pypx.cli.service_check import check_cube, check_storage

        answer, *notices = check_cube(key, keys) if kind == "CUBE" else check_storage(kind, key, keys)
    for notice in notices:
        out.note(notice)
    if out.json:
        out.document({"status": True, "message": answer})
    else:
        out.line(answer)


def _check_pacs(key: str, keys: ServiceKeys, limits: Limits, programs: Programs) -> str:
    from pypx.cli.peer_options import PeerOptions
    from pypx.workflows.echo import echo

    node = PeerOptions({}, {field: text for field, text in keys.pacs(key).items() if text}).node()
    outcome = echo(node, limits=limits, programs=programs)
    return f"{key}: {node} answered in {round(outcome.seconds * 1000)} ms"
