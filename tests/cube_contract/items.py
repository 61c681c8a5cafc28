"""What an item of each list looks like on the outside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from cube_contract.data import Data, Row
from cube_contract.fields import DESCRIPTORS
from cube_contract.stores import ListingStore
from cube_contract.wire import CrashError, Request

Dialect = Literal["old", "new", "gap", "none"]
BASE = "/api/v1/"


def url(request: Request, path: str) -> str:
    """A URL of ours; ``format=json`` of the question sticks to it."""
    sticky = "?format=json" if request.params.get("format") == "json" else ""
    return f"http://{request.host}{BASE}{path}{sticky}"


def _head(address: str, row: Row) -> dict[str, Any]:
    created: datetime = row["created"]
    return {"url": address, "id": row["id"], "creation_date": created.isoformat(timespec="microseconds")}


@dataclass(frozen=True, slots=True)
class Items:
    """Makes them.  The size of a file is asked of the store each time: CrashError if the object is gone."""

    store: ListingStore
    data: Data
    dialect: Dialect

    def file(self, request: Request, row: Row) -> Row:
        size = self.store.size(row["fname"])
        if size is None:
            raise CrashError
        folder, _, name = row["fname"].rpartition("/")
        at = "pacsfiles" if self.dialect == "old" else "pacs/files"
        address = url(request, f"{at}/{row['id']}/")
        head = {**_head(address, row), "fname": row["fname"], "fsize": size}
        if self.dialect == "old":
            descriptors = {name: row[name] for name in DESCRIPTORS}
            return {
                **head,
                **descriptors,
                "pacs_identifier": row["pacs_identifier"],
                "file_resource": f"{address}{name}",
            }
        return {
            **head,
            "public": False,
            "owner_username": "chris",
            "file_resource": f"{address}{name}",
            "parent_folder": url(request, f"filebrowser/{self.data.folder(folder)}/"),
            "owner": url(request, "users/1/"),
        }

    def series(self, request: Request, row: Row) -> Row:
        item = _head(url(request, f"pacs/series/{row['id']}/"), row)
        folder = url(request, f"filebrowser/{self.data.folder(row['folder_path'])}/")
        descriptors = {name: row[name] for name in (*DESCRIPTORS, "pacs_identifier")}
        if self.dialect == "gap":
            return {**item, **descriptors, "folder": folder}
        deletion = {name: row[name] for name in ("deletion_status", "deletion_requested_at", "deletion_error")}
        return {**item, "folder_path": row["folder_path"], **descriptors, **deletion, "folder": folder}

    def pacs(self, request: Request, row: Row) -> Row:
        path = f"SERVICES/PACS/{row['identifier']}"
        address = url(request, f"pacs/{row['id']}/")
        return {
            "url": address,
            "id": row["id"],
            "identifier": row["identifier"],
            "active": row["active"],
            "folder_path": path,
            "folder": url(request, f"filebrowser/{self.data.folder(path)}/"),
            "query_list": url(request, f"pacs/{row['id']}/queries/"),
            "series_list": url(request, f"pacs/{row['id']}/series/"),
        }
