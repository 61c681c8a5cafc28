"""The rules of a registration, in their order, and what it leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cube_contract.data import Data, Row
from cube_contract.fields import DESCRIPTORS, NEW_FIELDS, OLD_FIELDS, read_fields
from cube_contract.stores import ListingStore, StorageError
from cube_contract.wire import CrashError, RefusedError

MAX_KEY = 512


@dataclass(frozen=True, slots=True)
class Registrar:
    """Checks what was sent and looks into the store; `lock` is held while rows are made, not while it waits."""

    store: ListingStore
    data: Data
    lock: threading.RLock
    stopping: threading.Event
    looks: int
    pause_s: float

    def file(self, sent: Mapping[str, Any]) -> Row:
        """Per-file API: the exact object must be there, looked for once."""
        values, complaints = read_fields(OLD_FIELDS, sent, from_form=False)
        if "path" in values and not self._is_there(values["path"]):
            complaints["path"] = ["Could not find this path."]
        if complaints:
            raise RefusedError(400, complaints)
        path, pacs_name = values["path"], values["pacs_name"]
        if not path.startswith(f"SERVICES/PACS/{pacs_name}/"):
            raise RefusedError(400, {"non_field_errors": [f"File path must start with 'SERVICES/PACS/{pacs_name}/'."]})
        with self.lock:
            if self.data.has_file(path):
                raise RefusedError(400, {"path": ["File has already been registered."]})
            if len(path) > MAX_KEY:
                raise CrashError
            self.data.get_pacs(pacs_name)
            return self.data.add_file(pacs_name, path, {name: values[name] for name in DESCRIPTORS})

    def _is_there(self, name: str) -> bool:
        try:
            return self.store.size(name) is not None
        except StorageError:
            return False

    def series(self, sent: Mapping[str, Any], *, from_form: bool) -> Row:
        """Per-series API: fields, place, count, uniqueness, then the files one by one."""
        values, complaints = read_fields(NEW_FIELDS, sent, from_form=from_form)
        if complaints:
            raise RefusedError(400, complaints)
        path, pacs_name, uid = values["path"], values["pacs_name"], values["SeriesInstanceUID"]
        if not path.startswith(f"SERVICES/PACS/{pacs_name}/"):
            sentence = f"The path field must start with 'SERVICES/PACS/{pacs_name}/'."
            raise RefusedError(400, {"non_field_errors": [sentence]})
        names = self._count(path, values["ndicom"])
        with self.lock:
            if self.data.find_series(pacs_name, uid) is not None:
                sentence = f"A DICOM series with SeriesInstanceUID={uid} already registered for pacs {pacs_name}"
                raise RefusedError(400, [sentence])
            pacs = self.data.get_pacs(pacs_name)
            self._save_files(pacs_name, path, names)
            return self.data.add_series(pacs, path, values)

    def _count(self, path: str, ndicom: int) -> list[str]:
        """Names under `path` as soon as `ndicom` end in .dcm; refused at once for more, in the end for fewer."""
        found = 0
        for look in range(self.looks):
            if look:
                self.stopping.wait(self.pause_s)
            names = self._listing(path)
            found = sum(name.endswith(".dcm") for name in names)
            if found == ndicom:
                return names
            if found > ndicom:
                break
        counts = f"{path}({found}) was different from the ndicom({ndicom}) field"
        raise RefusedError(400, {"non_field_errors": [f"The number of DICOM files found under {counts}"]})

    def _listing(self, path: str) -> list[str]:
        try:
            return self.store.listing(path)
        except StorageError:
            return []

    def _save_files(self, pacs_name: str, path: str, names: list[str]) -> None:
        """One file after the other, in no transaction: those before a crash stay."""
        if "//" in path:
            raise CrashError
        self.data.folder(path)
        for name in names:
            clean = _without_commas(path, name)
            if clean is None:
                self.store.delete(name)
                continue
            if self.data.has_file(clean):
                raise CrashError
            if clean != name:
                self.store.rename(name, clean)
            self.data.folder(clean.rpartition("/")[0])
            self.data.add_file(pacs_name, clean)


def _without_commas(path: str, name: str) -> str | None:
    """The name without the commas behind `path`; None if nothing would be left of the file's own name."""
    below = name[len(path) :]
    if "," not in below:
        return name
    parts = [part.replace(",", "") for part in below.split("/")]
    if not parts[-1].strip():
        return None
    kept = [part for part, old in zip(parts, below.split("/"), strict=True) if part.strip() or not old]
    return path + "/".join(kept)
