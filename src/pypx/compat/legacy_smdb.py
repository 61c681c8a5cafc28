"""px-smdb: actions on the database, as documents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pypx.compat import smdb_json
from pypx.compat.legacy_call import Answer, Call, Document
from pypx.compat.smdb_actions import ACTIONS, service_document
from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.errors import InputError, PxError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID, parse_uid
from pypx.model.jsontext import JsonTextError, parse_json
from pypx.model.records import Instance
from pypx.services.dicomfile import read_instance


def run(call: Call) -> Answer:
    """Run every action whose name stands in ``str_action``, in pypx's order; the last one's document counts."""
    action = call.text("str_action")
    wanted = [work for name, work in ACTIONS.items() if name in action]
    try:
        asked = _Asked(call, action, call.layout())
        if not wanted:
            raise InputError(f"--action {action}: there are {', '.join(ACTIONS)}")
        for work in wanted:
            document = work(asked)
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
    kind, entries = name.strip(), _entries(text)
    if masked:
        return service_document(layout, kind, name, entries)
    keys = ServiceKeys(layout)
    if entries is not None:
        keys.set(kind, entries)
    return smdb_json.service_document(name, keys.storage() if kind.lower() == "storage" else keys.read(kind))


def _entries(text: str) -> Mapping[str, Any] | None:
    if not text.strip():
        return None
    try:
        found = parse_json(text)
    except JsonTextError as error:
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


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the options of px-smdb name."""

    call: Call
    action: str
    layout: Layout

    def file(self) -> Path:
        return file_of(self.call)

    def instance(self) -> Instance:
        file = self.file()
        if not file.is_file():
            raise InputError(f"{file}: no such file")
        return read_instance(file, frozenset({"PatientID"}))

    def patient(self) -> str:
        return self._needed("a PatientID")

    def series(self) -> UID:
        return parse_uid(self._needed("a SeriesInstanceUID"), "SeriesInstanceUID")

    def located_series(self) -> UID:
        return parse_uid(self.call.text("SeriesInstanceUID") or self.call.text("str_actionArgs"), "--SeriesInstanceUID")

    def study(self) -> UID:
        """The study that is named, or that of the file."""
        text = self.call.text("str_actionArgs").strip()
        return parse_uid(text, "StudyInstanceUID") if text else self.instance().StudyInstanceUID

    def spelled(self, kind: str) -> str:
        return kind

    def entries(self) -> Mapping[str, Any] | None:
        return _entries(self.call.text("str_actionArgs"))

    def _needed(self, what: str) -> str:
        text = self.call.text("str_actionArgs").strip()
        if not text:
            raise InputError(f"--actionArgs: {what} is needed")
        return text
