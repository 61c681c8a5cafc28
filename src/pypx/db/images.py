"""The image records of a series: lines of ``<uid>-img.jsonl`` (format 4) and files in ``<uid>-img/`` (format 3).

Both are always read; a line outranks a file (of its instance, or naming its file), the newest line of an instance
outranks the earlier ones.  A series that has lines gets lines, whatever the format of the BASEMOUNT.  What was read is
kept per series, so that reading again costs what is new.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from pypx.db.entries import image_record, image_table
from pypx.db.files import locked, make_dirs, os_errors, sync_dir, write_file
from pypx.db.formats import read_format
from pypx.db.layout import Layout
from pypx.db.logs import Mark, append_lines, read_since
from pypx.db.tables import dump, read_table
from pypx.errors import DatabaseError
from pypx.model.dataclass import dataclass
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
        lifted = {record.file for record in self.lines.values() if record is not None} if self.by_uid else set()
        files = {uid: record for uid, record in self.by_uid.items() if not lifted or record.file not in lifted}
        merged = {**files, **self.lines}
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
        with locked(lock, modes=self._layout.modes), self._guard:
            seen = self._refreshed(series)
            fresh: dict[UID, tuple[Instance, ImageRecord]] = {}
            for instance, record in instances:
                if instance.SeriesInstanceUID != series:
                    raise DatabaseError(f"{lock}: instances of several series cannot be recorded at once")
                known = seen.get(record.SOPInstanceUID)
                if known is None or known.file != record.file:
                    fresh[record.SOPInstanceUID] = (instance, record)
            new = sum(seen.get(uid) is None for uid in fresh)
            if fresh and log_format == 3 and not seen.lines and not _is_lifted(self._layout):
                self._write_files(series, seen, fresh.values())
            elif fresh:
                self._append(series, (record for _, record in fresh.values()))
        return new

    def forget(self, series: UID, uids: Collection[UID], lock: Path) -> None:
        """Record that instances are gone: a line says so; a file of format 3 is removed, for pypx counts files."""
        with locked(lock, modes=self._layout.modes), self._guard:
            seen = self._refreshed(series)
            directory = self._layout.image_dir(series)
            lifted = {record.file for uid in uids if (record := seen.lines.get(uid)) is not None}
            records = ((name, record) for name, (_, record) in seen.files.items())
            names = [name for name, record in records if record.SOPInstanceUID in uids or record.file in lifted]
            with os_errors("remove records in", directory):
                for name in names:
                    (directory / name).unlink(missing_ok=True)
            if names:
                sync_dir(directory)
            lines = [json.dumps({"SOPInstanceUID": uid, "gone": True}) for uid in uids if seen.lines.get(uid)]
            append_lines(self._layout.image_log(series), lines, self._layout.modes.file)

    def replace(self, instance: Instance, records: Sequence[ImageRecord], log_format: int, lock: Path) -> None:
        """Record these and no others, in the format of the BASEMOUNT; `instance` is one of the series."""
        series = instance.SeriesInstanceUID
        modes = self._layout.modes
        with locked(lock, modes=modes), self._guard:
            directory, log = self._layout.image_dir(series), self._layout.image_log(series)
            self._seen.pop(series, None)
            make_dirs(log.parent, modes.directory)
            kept: set[str] = set()
            if log_format == 3:
                images = [(replace(instance, SOPInstanceUID=record.SOPInstanceUID), record) for record in records]
                kept = self._write_files(series, _Seen(), images)
            else:
                lines = "".join(f"{json.dumps(line_of(record))}\n" for record in records)
                write_file(log, lines.encode(), modes.file)
            with os_errors("remove records in", directory):
                for name, _ in list(json_files(directory)):
                    if name not in kept:
                        (directory / name).unlink(missing_ok=True)
                if log_format == 3:
                    log.unlink(missing_ok=True)

    def _append(self, series: UID, records: Iterable[ImageRecord]) -> None:
        path = self._layout.image_log(series)
        make_dirs(path.parent, self._layout.modes.directory)
        append_lines(path, [json.dumps(line_of(record)) for record in records], self._layout.modes.file)

    def _write_files(self, series: UID, seen: _Seen, images: Iterable[tuple[Instance, ImageRecord]]) -> set[str]:
        """Write a file an image; returns their names."""
        written: set[str] = set()
        directory = self._layout.image_dir(series)
        modes = self._layout.modes
        make_dirs(directory, modes.directory)
        for instance, record in images:
            file = self._layout.resolve(record.file)
            taken = seen.files.get(f"{file.name}.json")
            other = taken is not None and taken[1].SOPInstanceUID != record.SOPInstanceUID
            other = other or f"{file.name}.json" in written
            name = f"{record.SOPInstanceUID}-{file.name}" if other else file.name
            with os_errors("record", file):
                table = image_table(instance, name, file, file.stat())
            path = directory / f"{name}.json"
            write_file(path, dump(table), modes.file, scratch=directory.parent, sync_directory=False)
            written.add(f"{name}.json")
        sync_dir(directory)
        return written

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
            text, advice = f"{path}: a line is no image record", "repair or remove that line"
            raise DatabaseError(f"{text}; {advice}", detail=f"{text} ({error!r}); {advice}") from None

    def _read_files(self, series: UID, seen: _Seen) -> None:
        directory = self._layout.image_dir(series)
        present = dict(json_files(directory))
        known = {name: entry for name, entry in seen.files.items() if present.get(name) == entry[0]}
        if len(known) == len(present) == len(seen.files):
            return
        for name in sorted(present.keys() - known.keys()):
            table = read_table(directory / name)
            if table is not None:
                known[name] = (present[name], record_of_file(self._layout, directory / name, table))
        seen.files = known
        oldest_first = sorted((record for _, record in known.values()), key=lambda record: record.received)
        seen.by_uid = {record.SOPInstanceUID: record for record in oldest_first}


def record_of_file(layout: Layout, path: Path, table: dict[str, Any]) -> ImageRecord:
    """The image record in a file of format 3, its `file` as `Layout.relative` names it.

    Raises
    ------
    DatabaseError : it is none
    """
    try:
        record = image_record(table)
    except ValueError as error:
        raise DatabaseError(f"{path}: {error}; restore or remove this file") from None
    return ImageRecord(record.SOPInstanceUID, layout.relative_of(record.file), record.size, record.received)


def _is_lifted(layout: Layout) -> bool:
    """Whether a BASEMOUNT that was of format 3 when it was opened has become one of format 4 since."""
    found = read_format(layout)
    return found is not None and found.number != 3


def json_files(directory: Path) -> Iterator[tuple[str, int]]:
    """The record files in a directory: name and inode."""
    with os_errors("read", directory):
        try:
            with os.scandir(directory) as entries:
                yield from ((entry.name, entry.inode()) for entry in entries if entry.name.endswith(".json"))
        except FileNotFoundError:
            return


def line_of(record: ImageRecord) -> dict[str, Any]:
    """An image record as a line of format 4 has it."""
    return {
        "SOPInstanceUID": record.SOPInstanceUID,
        "file": record.file,
        "size": record.size,
        "received": record.received,
    }


def _record(uid: UID, value: dict[str, Any]) -> ImageRecord:
    return ImageRecord(uid, str(value["file"]), int(value["size"]), str(value.get("received", "")))
