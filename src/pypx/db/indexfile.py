"""The file of the index, ``log/.index.jsonl``: what the tables said when they looked as they did.

It is a cache: any process may write it anew at any time (as a whole, by a rename), and none needs it.  The first line
says where the others are; the line ``rows`` has a row a series with the stamps of its tables; then follows a line a
keyword with the values of all series, so that a search reads only the columns it needs.  A line that does not have the
checksum that the first one gives makes the file none.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import field, fields
from pathlib import Path
from typing import Any

from pypx.db.files import write_file
from pypx.db.layout import FILE_MODE
from pypx.errors import DatabaseError
from pypx.model.dataclass import dataclass
from pypx.model.keywords import RECORDED_KEYS

_VERSION = 1
_HEAD = 1 << 16
_SETTLED_NS = 3_000_000_000

Stamp = tuple[int, int, int]
"""How a file or directory looked: its size in bytes and the times of its last modification and change in ns."""

ABSENT: Stamp = (-1, -1, -1)
UNSURE: Stamp = (-2, -2, -2)
"""What is remembered of a file that cannot be relied on: no file ever looks so."""

UNREADABLE: Stamp = (-3, -3, -3)
"""What a file looks like that may not be looked at; never remembered."""


@dataclass(slots=True)
class Rows:
    """A row a series in the order of a scan, and all that was looked at; stamps stand in a row, three numbers each.

    `studies` and `patients` are those that the tables of series name, `study` and `patient` of a row an index in them
    (-1: none named).  A patient can have two tables, so `patient_stamps` has six numbers each.
    """

    root: list[int] = field(default_factory=lambda: [*UNSURE])
    folders: list[str] = field(default_factory=list)
    folder_stamps: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    series: list[str] = field(default_factory=list)
    meta_stamps: list[int] = field(default_factory=list)
    header_stamps: list[int] = field(default_factory=list)
    study: list[int] = field(default_factory=list)
    patient: list[int] = field(default_factory=list)
    studies: list[str] = field(default_factory=list)
    study_stamps: list[int] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    patient_stamps: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows, and the values of some keywords, one a row."""

    rows: Rows
    columns: dict[str, list[str]]


def load(path: Path, keywords: Iterable[str]) -> Snapshot | None:
    """Read the rows and the columns of some keywords (of `RECORDED_KEYS`).

    Returns
    -------
    ``None`` if there is no such file, if it may not be read, is damaged, or of another version of px
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        read = _Lines(descriptor)
        rows = Rows(**read.line("rows"))
        return Snapshot(rows, {keyword: read.line(keyword) for keyword in dict.fromkeys(keywords)})
    except (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError):
        return None
    finally:
        os.close(descriptor)


class _Lines:
    """The lines of an open index, found by its first one."""

    def __init__(self, descriptor: int) -> None:
        head, newline, _ = os.pread(descriptor, _HEAD, 0).partition(b"\n")
        said = json.loads(head)
        if said["version"] != _VERSION or said["keywords"] != list(RECORDED_KEYS):
            raise ValueError("of another version")
        self._descriptor = descriptor
        self._start = len(head) + len(newline)
        self._lines: dict[str, Any] = said["lines"]

    def line(self, name: str) -> Any:
        offset, length, checksum = self._lines[name]
        raw = os.pread(self._descriptor, length, self._start + offset)
        if len(raw) != length or zlib.crc32(raw) != checksum:
            raise ValueError("damaged")
        return json.loads(raw)


def save(path: Path, snapshot: Snapshot, mode: int = FILE_MODE) -> None:
    """Write the index anew, if that is possible; whoever cannot goes on without."""
    lines: dict[str, list[int]] = {}
    body: list[bytes] = []
    offset = 0
    for name, raw in _encoded(snapshot):
        lines[name] = [offset, len(raw), zlib.crc32(raw)]
        body += [raw, b"\n"]
        offset += len(raw) + 1
    head = {"what": "index of the series", "version": _VERSION, "keywords": RECORDED_KEYS, "lines": lines}
    try:
        write_file(path, b"".join([json.dumps(head).encode(), b"\n", *body]), mode, sync_directory=False)
    except DatabaseError:  # a full disk, say: the tables are the truth, not this
        return


def _encoded(snapshot: Snapshot) -> Iterator[tuple[str, bytes]]:
    rows = {one.name: getattr(snapshot.rows, one.name) for one in fields(Rows)}
    yield "rows", json.dumps(rows, separators=(",", ":")).encode()
    for keyword in RECORDED_KEYS:
        yield keyword, json.dumps(snapshot.columns[keyword], separators=(",", ":")).encode()


def stamp(path: Path | str, directory: int | None = None) -> Stamp:
    """How a file looks now; `directory` is the descriptor of the one that a name is in."""
    try:
        found = os.stat(path, dir_fd=directory)
    except FileNotFoundError:
        return ABSENT
    except OSError:  # who reads the file says why
        return UNREADABLE
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def settled(found: Stamp, now_ns: int) -> Stamp:
    """A stamp that can be relied on, or `UNSURE`.

    A file that was changed a moment ago can be changed again without its stamp telling: clocks of file systems tick
    (ext4 every 4 ms, others every 2 s).  So only what was left alone for three seconds is taken for known.

    Parameters
    ----------
    found : the stamp, taken after `now_ns` and before the file was read
    now_ns : the time by the clock of the file system, see `clock`
    """
    return UNSURE if found == UNREADABLE or max(found[1], found[2]) > now_ns - _SETTLED_NS else found


def clock(directory: Path) -> int | None:
    """The time in ns by the clock of a file system (that of its server, over NFS); ``None`` if it cannot be written."""
    path = directory / f".tmp-{secrets.token_hex(8)}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            return os.fstat(descriptor).st_mtime_ns
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)
    except OSError:
        return None
