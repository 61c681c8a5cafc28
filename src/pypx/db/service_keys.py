"""Named PACS, storage, CUBE, Swift and telemetry entries: ``<BASEMOUNT>/services/<kind>.json``.

Each file maps a name to an object.  They hold passwords: files are 0600 in a directory of 0700.  One that holds
passwords and that others may read, as pypx leaves them, is made 0600 when it is read, and its directory 0700 if others
may write there, if this user may do that; if not, it is refused, but with ``PX_ALLOW_LOOSE_SERVICES=1`` in the
environment, which leaves all files as they are.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pypx.db.files import os_errors
from pypx.db.formats import FRESH, read_format
from pypx.db.layout import SECRET, Layout
from pypx.db.service_fields import check_entry, pacs_entries, pacs_fields, services_block
from pypx.db.tables import read_table, update_table
from pypx.errors import DatabaseError, InputError
from pypx.model.tls import TLS_FIELDS, check_tls_entry

ALLOW_LOOSE = "PX_ALLOW_LOOSE_SERVICES"
"""The environment variable that has service files used as they are, whoever may read them."""

KINDS = ("swift", "storage", "cube", "pacs", "telemetry")

_SECRET = re.compile(r"pass|secret|token|credential|^key$|_key$|apikey", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]*(?=@)")
_MASK = "****"


class ServiceKeys:
    """The service entries of one BASEMOUNT.

    Kinds are ``swift``, ``storage``, ``cube``, ``pacs`` and ``telemetry``, in any case.  Each method raises InputError
    for another kind, and DatabaseError for a file that cannot be read or understood.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def path(self, kind: str) -> Path:
        """The file of a kind."""
        return self._layout.services / f"{_checked_kind(kind)}.json"

    def read(self, kind: str) -> dict[str, Any]:
        """The file of a kind as it stands, passwords included; ``{}`` if there is none.

        Raises
        ------
        DatabaseError : also where it holds passwords, others have access to it, and this user cannot change that
        """
        path = self.path(kind)
        table = read_table(path) or {}
        if table and os.environ.get(ALLOW_LOOSE, "") not in ("1", "yes", "true"):
            with os_errors("read", path):
                loose, replaceable = _is_loose(path), bool(path.parent.stat().st_mode & 0o022)
                if (loose or replaceable) and _masked_table(table) != table:
                    if replaceable:
                        _tighten(path.parent, "others could replace the files that hold passwords", "700")
                    if loose:
                        _tighten(path, "other users have access to the passwords in it", "600")
        return table

    def set(self, kind: str, entries: Mapping[str, Any]) -> dict[str, Any]:
        """Add entries, or replace those of the same name; the others stay.

        Files and directory that others may read are tightened.

        Parameters
        ----------
        kind : see above
        entries : name to object; for PACS also pfdcm's ``{"services": {name: {"info": {…}}}}``

        Returns
        -------
        The whole file as it is now

        Raises
        ------
        InputError : an entry cannot be used; nothing is written then
        """
        kind = _checked_kind(kind)
        if not isinstance(entries, Mapping) or not entries:
            raise InputError(f'{kind}: a JSON object {{"name": {{…}}}} with at least one entry is expected')
        block = services_block(entries) if kind == "pacs" else None
        for name, entry in (pacs_entries(entries) if block is not None else entries).items():
            check_entry(kind, str(name), entry)
        return self._change(kind, lambda now: {**now, **entries})

    def remove(self, kind: str, key: str) -> dict[str, Any]:
        """Remove an entry; returns the whole file as it is now.

        Raises
        ------
        InputError : there is none of that name
        """
        kind = _checked_kind(kind)

        def change(now: dict[str, Any]) -> dict[str, Any]:
            block = services_block(now) if kind == "pacs" else None
            if block is not None and key in block and key != "services":
                return {**now, "services": {name: entry for name, entry in block.items() if name != key}}
            if key not in now:
                raise self._unknown(kind, key, now)
            return {name: entry for name, entry in now.items() if name != key}

        return self._change(kind, change)

    def _change(self, kind: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        path, lock = self.path(kind), self._layout.lock("services", kind)
        lock_modes = (read_format(self._layout) or FRESH).modes
        table = update_table(path, lock, change, modes=SECRET, lock_modes=lock_modes)
        for loose in (self._layout.services, path):
            with os_errors("restrict the permissions of", loose):
                if loose.exists() and _is_loose(loose):
                    loose.chmod(stat.S_IMODE(loose.stat().st_mode) & 0o7700)
        return table

    def entry(self, kind: str, key: str) -> dict[str, Any]:
        """One entry as it stands; ``storage`` finds those of ``swift.json`` as well.

        Raises
        ------
        InputError : there is none of that name; names the known ones
        """
        kind = _checked_kind(kind)
        entries = self.storage() if kind == "storage" else self.read(kind)
        if not isinstance(entries.get(key), Mapping):
            raise self._unknown(kind, key, entries)
        return dict(entries[key])

    def pacs(self, key: str) -> dict[str, str]:
        """A named PACS of any spelling: ``aet aec serverIP serverPort``, ``""`` where the entry has none.

        Raises
        ------
        InputError : there is none of that name (names the known ones), or what it says of TLS does not go together
        """
        table = self.read("pacs")
        entries = pacs_entries(table)
        if key not in entries:
            raise self._unknown("pacs", key, entries)
        fields = pacs_fields(entries[key])
        check_tls_entry(fields, f"pacs entry {key!r}")
        return fields

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of the entries, sorted."""
        kind = _checked_kind(kind)
        if kind == "pacs":
            return tuple(sorted(pacs_entries(self.read(kind))))
        return tuple(sorted(self.storage() if kind == "storage" else self.read(kind)))

    def storage(self) -> dict[str, Any]:
        """All object stores: the entries of ``storage.json``, and those only ``swift.json`` has, marked as Swift."""
        older = {
            name: {"storagetype": "swift", **entry}
            for name, entry in self.read("swift").items()
            if isinstance(entry, Mapping)
        }
        return {**older, **self.read("storage")}

    def masked(self, kind: str) -> dict[str, Any]:
        """The file of a kind with each secret replaced by ``****``; of a login the part before the colon stays."""
        return _masked_table(self.read(kind))

    def loose_files(self) -> tuple[Path, ...]:
        """The service files, and their directory, that group or others have access to."""
        directory = self._layout.services
        with os_errors("read", directory):
            if not directory.is_dir():
                return ()
            return tuple(path for path in [directory, *sorted(directory.glob("*.json"))] if _is_loose(path))

    def _unknown(self, kind: str, key: str, entries: Mapping[str, Any]) -> InputError:
        known = f"there are {', '.join(sorted(entries))}" if entries else "there are none"
        return InputError(f"{key!r} is no entry of {self.path(kind)}; {known}; px smdb service {kind} set adds one")


def _checked_kind(kind: str) -> str:
    if kind.lower() not in KINDS:
        raise InputError(f"{kind!r} is no kind of service; there are {', '.join(KINDS)}")
    return kind.lower()


def _is_loose(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077)


def _tighten(path: Path, why: str, mode: str) -> None:
    """Take a file that holds passwords, or the directory of it, away from group and others, and say so.

    Raises
    ------
    DatabaseError : this user cannot
    """
    try:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o7700)
    except OSError as error:
        raise DatabaseError(
            f"{path}: {why}; chmod {mode} it as its owner, or set {ALLOW_LOOSE}=1 to use it as it is"
        ) from error
    import logging  # noqa: PLC0415 - kept out of start-up

    logging.getLogger(__name__).warning("%s: %s; it is chmod %s now (%s=1 leaves it)", path, why, mode, ALLOW_LOOSE)


def _masked_table(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _masked(entry, "" if isinstance(entry, Mapping) else name) for name, entry in table.items()}


def _masked(value: Any, field: str = "") -> Any:
    if _SECRET.search(field) and field not in TLS_FIELDS:  # those name files
        return _MASK
    if isinstance(value, Mapping):
        return {name: _masked(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, field) for inner in value]
    if field.lower() == "login" and isinstance(value, str):
        return f"{value.partition(':')[0]}:{_MASK}" if ":" in value else _MASK
    return _URL_PASSWORD.sub(rf"\1:{_MASK}", value) if isinstance(value, str) else value
