"""The image records of a series: lines of ``<uid>-img.jsonl`` (format 4) and files in ``<uid>-img/`` (format 3).

Both are always read; a line outranks a file, the newest line of an instance outranks the earlier ones.  What was read
is kept per series, so that reading again costs what is new.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pypx.db.entries import image_record, image_table
from pypx.db.files import locked, make_dirs, os_errors, sync_dir, write_file
from pypx.db.layout import Layout
from pypx.db.logs import Mark, append_lines, read_since
from pypx.db.tables import dump, read_table
from pypx.errors import DatabaseError
from pypx.model.identifiers import UID
from pypx.model.records import ImageRecord, Instance

_MAX_RECORDS = 50_000
_MAX_SERIES = 256


@dataclass(slots=True)
class _Seen:
    """What has been read of one series: lines (``None``: gone) and files by name."""

    mark: Mark | None = None
    lines: dict[UID, ImageRecord | None] = field(default_factory=dict)
    files: dict[str, tuple[int, ImageRecord]] = field(default_factory=dict)
    by_uid: dict[UID, ImageRecord] = field(default_factory=dict)

    def get(self, uid: UID) -> ImageRecord | None:
        return self.lines[uid] if uid in self.lines else self.by_uid.get(uid)

    def all(self) -> dict[UID, ImageRecord]:
        merged = {**self.by_uid, **self.lines}
        return {uid: record for uid, record in merged.items() if record is not None}

    def size(self) -> int:
        return len(self.lines) + len(self.files)


class ImageRecords:
    """Reads and appends the image records of all series of a BASEMOUNT; safe for threads and processes.

    What it remembers is bounded: 256 series or 50,000 records, the series used last always.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: OrderedDict[UID, _Seen] = OrderedDict()
        self._guard = threading.RLock()

    def of_series(self, series: UID) -> dict[UID, ImageRecord]:
        """The records of a series by SOP Instance UID; a new dict."""
        with self._guard:
            return self._refreshed(series).all()

    def add(self, instances: Sequence[tuple[Instance, ImageRecord]], log_format: int, lock: Path) -> int:
        """Record instances of one series under its lock.

        Returns
        -------
        How many SOP Instance UIDs were not recorded before
        """
        series = instances[0][0].SeriesInstanceUID
        with locked(lock), self._guard:
            seen = self._refreshed(series)
            fresh: dict[UID, tuple[Instance, ImageRecord]] = {}
            for instance, record in instances:
                if instance.SeriesInstanceUID != series:
                    raise DatabaseError(f"{lock}: instances of several series cannot be recorded at once")
                known = seen.get(record.SOPInstanceUID)
                if known is None or known.file != record.file:
                    fresh[record.SOPInstanceUID] = (instance, record)
            new = sum(seen.get(uid) is None for uid in fresh)
            if fresh and log_format == 3:
                self._write_files(series, seen, fresh.values())
            elif fresh:
                self._append(series, (record for _, record in fresh.values()))
        return new

    def _append(self, series: UID, records: Iterable[ImageRecord]) -> None:
        path = self._layout.image_log(series)
        make_dirs(path.parent)
        append_lines(path, [json.dumps(_line(record)) for record in records])

    def _write_files(self, series: UID, seen: _Seen, images: Iterable[tuple[Instance, ImageRecord]]) -> None:
        directory = self._layout.image_dir(series)
        make_dirs(directory)
        for instance, record in images:
            file = self._layout.resolve(record.file)
            taken = seen.files.get(f"{file.name}.json")
            other = taken is not None and taken[1].SOPInstanceUID != record.SOPInstanceUID
            name = f"{record.SOPInstanceUID}-{file.name}" if other else file.name
            with os_errors("record", file):
                table = image_table(instance, name, file, file.stat())
            write_file(directory / f"{name}.json", dump(table), scratch=directory.parent, sync_directory=False)
        sync_dir(directory)

    def _refreshed(self, series: UID) -> _Seen:
        seen = self._seen.setdefault(series, _Seen())
        self._seen.move_to_end(series)
        try:
            self._read_files(series, seen)
            self._read_lines(series, seen)
        except DatabaseError:
            del self._seen[series]
            raise
        while len(self._seen) > _MAX_SERIES or (len(self._seen) > 1 and self._held() > _MAX_RECORDS):
            self._seen.popitem(last=False)
        return seen

    def _held(self) -> int:
        return sum(seen.size() for seen in self._seen.values())

    def _read_lines(self, series: UID, seen: _Seen) -> None:
        path = self._layout.image_log(series)
        values, seen.mark, continued = read_since(path, seen.mark)
        if not continued:
            seen.lines = {}
        try:
            for value in values:
                uid = UID(value["SOPInstanceUID"])
                seen.lines.pop(uid, None)
                seen.lines[uid] = None if value.get("gone") else _record(uid, value)
        except (KeyError, TypeError, ValueError) as error:
            raise DatabaseError(f"{path}: a line is no image record ({error!r}); repair or remove that line") from None

    def _read_files(self, series: UID, seen: _Seen) -> None:
        directory = self._layout.image_dir(series)
        present = dict(_json_files(directory))
        known = {name: entry for name, entry in seen.files.items() if present.get(name) == entry[0]}
        if len(known) == len(present) == len(seen.files):
            return
        for name in sorted(present.keys() - known.keys()):
            table = read_table(directory / name)
            if table is not None:
                known[name] = (present[name], self._record_of(directory / name, table))
        seen.files = known
        oldest_first = sorted((record for _, record in known.values()), key=lambda record: record.received)
        seen.by_uid = {record.SOPInstanceUID: record for record in oldest_first}

    def _record_of(self, path: Path, table: dict[str, Any]) -> ImageRecord:
        try:
            record = image_record(table)
        except ValueError as error:
            raise DatabaseError(f"{path}: {error}; restore or remove this file") from None
        file = self._layout.relative(self._layout.resolve(record.file))
        return ImageRecord(record.SOPInstanceUID, file, record.size, record.received)


def _json_files(directory: Path) -> Iterator[tuple[str, int]]:
    with os_errors("read", directory):
        try:
            with os.scandir(directory) as entries:
                yield from ((entry.name, entry.inode()) for entry in entries if entry.name.endswith(".json"))
        except FileNotFoundError:
            return


def _line(record: ImageRecord) -> dict[str, Any]:
    return {
        "SOPInstanceUID": record.SOPInstanceUID,
        "file": record.file,
        "size": record.size,
        "received": record.received,
    }


def _record(uid: UID, value: dict[str, Any]) -> ImageRecord:
    return ImageRecord(uid, str(value["file"]), int(value["size"]), str(value.get("received", "")))
