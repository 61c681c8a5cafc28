"""The fields of service entries: what each kind must have, and the spellings of a PACS; pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pypx.errors import InputError
from pypx.model.identifiers import parse_ae_title, parse_host, parse_port
from pypx.model.tls import TLS_FIELDS, check_tls_entry

_STORAGE_TYPES = ("swift", "fs", "s3")
_PACS_SPELLINGS = {
    "aet": ("aet",),
    "aec": ("aec",),
    "serverIP": ("serverIP", "ip"),
    "serverPort": ("serverPort", "port"),
    "aet_listener": ("aet_listener",),
    **{field: (field,) for field in TLS_FIELDS},
}
_SCALAR_FIELDS = frozenset({
    "aet", "aec", "aet_listener", "ip", "serverIP", "port", "serverPort", "login", "key", "storagetype", "storepath",
    "url", "username", "password", "regFSdir",
    *TLS_FIELDS[1:],
})  # fmt: skip


def check_entry(kind: str, name: str, entry: object) -> None:
    """Check an entry before it is written; fields that px does not know are let through.

    Parameters
    ----------
    kind : ``swift``, ``storage``, ``cube``, ``pacs`` or ``telemetry``
    name : the key of the entry
    entry : the object under it

    Raises
    ------
    InputError : not an object, or a field is missing or cannot be used; names kind, entry and field, never its value
    """
    where = f"{kind} entry {name!r}"
    if not name.strip():
        raise InputError(f"{kind}: the name of an entry is empty")
    if not isinstance(entry, Mapping):
        raise InputError(f"{where}: a JSON object is expected, such as {_EXAMPLES[kind]}")
    for field, value in entry.items():
        if field in _SCALAR_FIELDS and (isinstance(value, bool) or not isinstance(value, str | int)):
            raise InputError(f"{where}: {field} must be a text, such as in {_EXAMPLES[kind]}")
    _CHECKS[kind](where, {field: str(value) for field, value in entry.items()}, _EXAMPLES[kind])


def _require(where: str, fields: Mapping[str, str], example: str, *wanted: str) -> None:
    missing = [field for field in wanted if not fields.get(field, "").strip()]
    if missing:
        raise InputError(f"{where}: {' and '.join(missing)} missing; such an entry looks like {example}")


def _check_swift(where: str, fields: Mapping[str, str], example: str) -> None:
    if not any(field.lower().replace("_", "") in ("authurl", "osauthurl") for field in fields):
        _require(where, fields, example, "ip", "port")
    _check_port(where, fields, "port")


def _check_storage(where: str, fields: Mapping[str, str], example: str) -> None:
    _require(where, fields, example, "storagetype")
    kind = fields["storagetype"]
    if kind not in _STORAGE_TYPES:
        raise InputError(f"{where}: storagetype {kind[:20]!r} is unknown; there are {', '.join(_STORAGE_TYPES)}")
    if kind == "swift":
        _check_swift(where, fields, example)
    elif kind == "fs":
        _require(where, fields, '{"storagetype": "fs", "storepath": "/mnt/store"}', "storepath")


def _check_url(where: str, fields: Mapping[str, str], example: str) -> None:
    _require(where, fields, example, "url")
    if not fields["url"].lower().startswith(("http://", "https://")):
        raise InputError(f"{where}: url must begin with http:// or https://")


def _check_pacs(where: str, fields: Mapping[str, str], example: str) -> None:
    node = pacs_fields(fields)
    missing = [field for field in ("aec", "serverIP") if not node[field].strip()]
    if missing:
        raise InputError(f"{where}: {' and '.join(missing)} missing; such an entry looks like {example}")
    for field in ("aet", "aec", "aet_listener"):
        if node.get(field):
            parse_ae_title(node[field], f"{where}: {field}")
    parse_host(node["serverIP"], f"{where}: serverIP")
    if node["serverPort"]:
        parse_port(node["serverPort"], f"{where}: serverPort")
    check_tls_entry(node, where)


def _check_port(where: str, fields: Mapping[str, str], field: str) -> None:
    if fields.get(field):
        parse_port(fields[field], f"{where}: {field}")


_CHECKS: dict[str, Callable[[str, Mapping[str, str], str], None]] = {
    "swift": _check_swift,
    "storage": _check_storage,
    "cube": _check_url,
    "pacs": _check_pacs,
    "telemetry": _check_url,
}
_EXAMPLES = {
    "swift": '{"ip": "10.0.0.2", "port": "8080", "login": "account:user"}',
    "storage": '{"storagetype": "swift", "ip": "10.0.0.2", "port": "8080", "login": "account:user"}',
    "cube": '{"url": "https://cube.example.org/api/v1/", "username": "…", "password": "…"}',
    "pacs": '{"aet": "PX", "aec": "PACS", "serverIP": "10.0.0.1", "serverPort": "104"}',
    "telemetry": '{"url": "https://telemetry.example.org/", "username": "…", "password": "…"}',
}


def pacs_fields(entry: Mapping[str, Any]) -> dict[str, str]:
    """A PACS entry with the names of px's options: ``aet aec serverIP serverPort``, ``""`` where it has none.

    Understands ``ip`` and ``port`` as well; ``aet_listener`` and the fields of TLS are there if the entry has them.
    """
    fields = dict.fromkeys(("aet", "aec", "serverIP", "serverPort"), "")
    for field, spellings in _PACS_SPELLINGS.items():
        found = next((entry[name] for name in spellings if entry.get(name) not in (None, "")), None)
        if isinstance(found, str | int):
            fields[field] = str(found).lower() if isinstance(found, bool) else str(found)
    return fields


def services_block(table: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is under ``services`` in a file as pfdcm has it, ``{"services": {name: {"info": {…}}}}``; else ``None``."""
    block = table.get("services")
    if isinstance(block, Mapping) and all(isinstance(value, Mapping) for value in block.values()):
        return block
    return None


def pacs_entries(table: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The PACS of ``pacs.json`` by name, of every shape that file has had; what is no object is left out."""
    block = services_block(table)
    plain = {name: entry for name, entry in table.items() if block is None or name != "services"}
    entries: dict[str, Mapping[str, Any]] = {}
    for name, entry in {**(block or {}), **plain}.items():
        info = entry.get("info", entry) if isinstance(entry, Mapping) else None
        if isinstance(info, Mapping):
            entries[str(name)] = info
    return entries
