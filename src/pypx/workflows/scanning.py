"""Reading the headers of all files of a BASEMOUNT for a rebuild, and writing them down by study."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pypx.db.files import open_to_append
from pypx.db.layout import Layout
from pypx.errors import DatabaseError, InvalidDicomError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID
from pypx.services.dicomfile import read_instance
from pypx.services.dicomsource import UnreadableFileError
from pypx.workflows.pool import run_all
from pypx.workflows.sparing import ABSENT, Unreadable
from pypx.workflows.walking import Unread, files_below

STRIPES = 64


def stripe_file(folder: Path, stripe: int) -> Path:
    """Where the headers of a stripe of the studies are written down, 0 <= `stripe` < `STRIPES`."""
    return folder / f"{stripe:02d}.jsonl"


@dataclass(frozen=True, slots=True)
class Scanned:
    """The header of a file below ``data/``; `reason` says why it has none, `errno` if it could not be read at all."""

    file: str
    size: int
    mtime_ns: int
    study: str = ""
    series: str = ""
    SOPInstanceUID: str = ""
    reason: str = ""
    errno: int | None = None


def scan(
    layout: Layout,
    folder: Path,
    jobs: int,
    progress: Callable[[int, int], None] | None,
    unreadable: Unreadable,
) -> int:
    """Read the header of every file that an earlier run has not read, and write it down by study; how many there are.

    What cannot be read is not written down: the next run is to try again.
    """
    known = {hash((one.file, one.size, one.mtime_ns)) for path in folder.glob("*.jsonl") for one in _lines(path)}
    total = sum(1 for _ in files_below(layout.data)) if progress is not None else 0
    there = _Counted(_found(layout, unreadable))
    fresh = (one for one in there if hash((one.file, one.size, one.mtime_ns)) not in known)
    done = len(known)
    streams: dict[int, Any] = {}
    try:
        for one in run_all(partial(_scanned, layout), fresh, jobs):
            done += 1
            if progress is not None:
                progress(done, max(done, total))
            if one.errno is not None:
                there.count -= 1
                if one.errno not in ABSENT:
                    unreadable.add(one.file, one.reason)
                continue
            stripe = zlib.crc32(one.study.encode()) % STRIPES
            if stripe not in streams:
                streams[stripe] = open_to_append(stripe_file(folder, stripe), layout.modes.file)
            streams[stripe].write(json.dumps(_plain(one)) + "\n")
    except OSError as error:
        raise DatabaseError(f"{folder}: cannot be written: {error.strerror}; make room, then repeat") from error
    finally:
        for stream in streams.values():
            stream.close()
    return there.count


class _Counted:
    """An iterator that knows how many it gave."""

    def __init__(self, files: Iterator[Scanned]) -> None:
        self._files = files
        self.count = 0

    def __iter__(self) -> Iterator[Scanned]:
        for one in self._files:
            self.count += 1
            yield one


def _found(layout: Layout, unreadable: Unreadable) -> Iterator[Scanned]:
    for path in files_below(layout.data):
        if isinstance(path, Unread):
            unreadable.add(layout.relative(path.path), path.reason)
            continue
        try:
            status = path.stat()
        except OSError as error:
            if error.errno not in ABSENT:
                unreadable.add(layout.relative(path), f"cannot be read: {error.strerror}")
            continue
        yield Scanned(layout.relative(path), status.st_size, status.st_mtime_ns)


def _scanned(layout: Layout, one: Scanned) -> Scanned:
    """A file with its UIDs; runs in any process."""
    try:
        header = read_instance(layout.resolve(one.file), frozenset())
    except UnreadableFileError as error:
        return Scanned(one.file, one.size, one.mtime_ns, reason=str(error), errno=error.errno)
    except InvalidDicomError as error:
        return Scanned(one.file, one.size, one.mtime_ns, reason=str(error))
    uids = (header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID)
    return Scanned(one.file, one.size, one.mtime_ns, *uids)


def _plain(one: Scanned) -> list[Any]:
    return [one.file, one.size, one.mtime_ns, one.study, one.series, one.SOPInstanceUID, one.reason]


def _lines(path: Path) -> Iterator[Scanned]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            with suppress(ValueError, TypeError):  # the last line of a run that was killed
                yield Scanned(*json.loads(line))


def studies_of(
    layout: Layout, path: Path, rejected: list[tuple[str, str]], unreadable: Unreadable
) -> dict[UID, list[Scanned]]:
    """The files of the studies of one stripe that are still as they were read, sorted by name."""
    if not path.exists():
        return {}
    studies: dict[UID, list[Scanned]] = {}
    newest = {one.file: one for one in _lines(path)}
    for one in sorted(newest.values(), key=lambda one: walk_order(one.file)):
        try:
            same = os.stat(layout.resolve(one.file)).st_mtime_ns == one.mtime_ns  # noqa: PTH116 - once a file
        except OSError as error:
            if error.errno not in ABSENT:
                unreadable.add(one.file, f"cannot be read: {error.strerror}")
            continue
        if same and one.reason:
            rejected.append((one.file, one.reason))
        elif same:
            studies.setdefault(UID(one.study), []).append(one)
    return studies


def walk_order(file: str) -> list[tuple[bool, str]]:
    """Sorts files as a walk meets them, and so as a repack files them: those of a directory before its folders."""
    *folders, name = file.split("/")
    return [*((True, folder) for folder in folders), (False, name)]
