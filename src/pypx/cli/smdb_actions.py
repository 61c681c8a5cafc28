"""What ``px smdb`` does: pypx's actions with pypx's documents, and the named services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypx.cli import inputs
from pypx.cli.console import Console, OutputFormat
from pypx.cli.options import given, note_missing
from pypx.compat import smdb_json
from pypx.compat.smdb_actions import ACTIONS, SERVICES
from pypx.db.service_keys import ServiceKeys
from pypx.db.smdb import Database
from pypx.errors import InputError, PxError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID, parse_uid
from pypx.workflows import smdb

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.model.records import Instance
    from pypx.services.dcmtk import Limits, Programs

Document = dict[str, Any]

_TABLES = "patientData_DBtablesGet, studyData_DBtablesGet, seriesData_DBtablesGet"

_SERVICES = {name.lower(): name for name in SERVICES}


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
        kind = next((known for known in ACTIONS if known in action), None) or _SERVICES.get(action.lower())
        if kind is None:
            raise InputError(f"--action {action}: there are {', '.join(ACTIONS).replace('DBtablesGet', _TABLES)}")
        if kind == "DBtablesGet" and not any(part in action for part in ("atient", "tudy", "eries")):
            raise InputError(f"--action {action}: of which tables? There are {_TABLES}")
        document = ACTIONS[kind](_Asked(action, text, file, layout))
    if answer.verbosity:
        answer.document(document)
    return 0 if document["status"] else PxError.exit_code


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the options of ``px smdb --action`` name."""

    action: str
    text: str
    named: str
    layout: Layout

    def file(self) -> Path:
        return Path(_needed(self.named, "a file"))

    def instance(self) -> Instance:
        from pypx.services.dicomfile import read_instance

        return read_instance(self.file(), frozenset({"PatientID"}))

    def patient(self) -> str:
        return _needed(self.text, "a PatientID")

    def series(self) -> UID:
        wanted = self.text or str(given("SeriesInstanceUID") or "")
        return parse_uid(_needed(wanted, "a SeriesInstanceUID"), "SeriesInstanceUID")

    def located_series(self) -> UID:
        return self.series()

    def study(self) -> UID:
        return parse_uid(_needed(self.text, "a StudyInstanceUID"), "StudyInstanceUID")

    def spelled(self, kind: str) -> str:
        return self.action if self.action.lower() in _SERVICES else kind

    def entries(self) -> Mapping[str, Any] | None:
        if not self.text.strip():
            return None
        return inputs.parse_object(self.text, "--actionArgs", "object of service entries")


def _needed(text: str, what: str) -> str:
    if not text.strip():
        raise InputError(f"{what} is needed")
    return text


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
    store_timeout: float | None,
    cube_timeout: float | None,
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
        answer, *notices = _checked(
            kind, key, keys, limits=limits, store_s=store_timeout, cube_s=cube_timeout, programs=programs
        )
        for notice in notices:
            out.note(notice)
        if out.json:
            out.document({"status": True, "message": answer})
        else:
            out.line(answer)
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


def _checked(
    kind: str,
    key: str,
    keys: ServiceKeys,
    *,
    limits: Limits,
    store_s: float | None,
    cube_s: float | None,
    programs: Programs,
) -> tuple[str, ...]:
    """Connect to a named service: what answered, then notices."""
    if kind == "PACS":
        return (_check_pacs(key, keys, limits, programs),)
    from pypx.cli.service_check import check_cube, check_storage

    return check_cube(key, keys, cube_s) if kind == "CUBE" else check_storage(kind, key, keys, store_s)


def _check_pacs(key: str, keys: ServiceKeys, limits: Limits, programs: Programs) -> str:
    from pypx.cli.peer_options import PeerOptions
    from pypx.workflows.echo import echo

    node = PeerOptions({}, {field: text for field, text in keys.pacs(key).items() if text}).node()
    outcome = echo(node, limits=limits, programs=programs)
    return f"{key}: {node} answered in {round(outcome.seconds * 1000)} ms"
