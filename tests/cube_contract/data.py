"""What CUBE's database holds: PACS, series, files and folders, each list with numbers of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cube_contract.fields import DESCRIPTORS
from cube_contract.search import CUBE_TIME

Row = dict[str, Any]


@dataclass(slots=True)
class Data:
    """Rows by number.  Whoever changes something holds the lock of the server."""

    pacs: dict[int, Row] = field(default_factory=dict)
    series: dict[int, Row] = field(default_factory=dict)
    files: dict[int, Row] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)
    _fnames: set[str] = field(default_factory=set)
    _numbers: dict[int, int] = field(default_factory=dict)

    def add(self, table: dict[int, Row], values: Mapping[str, Any]) -> Row:
        number = self._numbers.get(id(table), 0) + 1
        self._numbers[id(table)] = number
        row = {**values, "id": number, "created": datetime.now(CUBE_TIME)}
        table[number] = row
        return row

    def get_pacs(self, name: str) -> Row:
        """The PACS of that name, made when there is none yet."""
        for row in self.pacs.values():
            if row["identifier"] == name:
                return row
        return self.add(self.pacs, {"identifier": name, "active": True})

    def folder(self, path: str) -> int:
        """Number of a folder; those above it become folders too."""
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            self.folders.setdefault("/".join(parts[:depth]), len(self.folders) + 1)
        return self.folders[path]

    def has_file(self, fname: str) -> bool:
        return fname in self._fnames

    def add_file(self, pacs_name: str, fname: str, descriptors: Mapping[str, Any] | None = None) -> Row:
        self._fnames.add(fname)
        return self.add(self.files, {**(descriptors or {}), "fname": fname, "pacs_identifier": pacs_name})

    def add_series(self, pacs: Row, path: str, descriptors: Mapping[str, Any]) -> Row:
        return self.add(
            self.series,
            {
                **{name: descriptors[name] for name in DESCRIPTORS},
                "folder_path": path,
                "pacs_identifier": pacs["identifier"],
                "pacs_id": pacs["id"],
                "deletion_status": "inactive",
                "deletion_requested_at": None,
                "deletion_error": "",
            },
        )

    def find_series(self, pacs_name: str, SeriesInstanceUID: str) -> Row | None:
        for row in self.series.values():
            if (row["pacs_identifier"], row["SeriesInstanceUID"]) == (pacs_name, SeriesInstanceUID):
                return row
        return None

    def remove_series(self, row: Row) -> None:
        """Forget a series and the files of its folder."""
        gone = [file for file in self.files.values() if file["fname"].startswith(f"{row['folder_path']}/")]
        for file in gone:
            del self.files[file["id"]]
            self._fnames.discard(file["fname"])
        del self.series[row["id"]]
