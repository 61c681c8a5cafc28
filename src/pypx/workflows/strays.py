"""Files of a BASEMOUNT that no record names, and directories that cannot be listed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pypx.db.smdb import Database
from pypx.errors import InvalidDicomError
from pypx.model.drift import Drift, DriftKind, SeriesDrift
from pypx.model.identifiers import UID
from pypx.model.records import Instance
from pypx.services.dicomfile import read_instance
from pypx.services.dicomsource import UnreadableFileError
from pypx.workflows.pool import run_all
from pypx.workflows.walking import Unread, files_below, is_gone

NO_SERIES = UID("")
MOVED_FROM = "it was "
"""What the reason of a file that was moved begins with; the file that its record names follows."""
_FILING_S = 2.0


class Named:
    """The files that records name, as hashes: a million take some fifty MiB."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def add(self, files: Iterator[str]) -> None:
        """Take the files of a series."""
        self._hashes.update(map(hash, files))

    def __contains__(self, file: str) -> bool:
        return hash(file) in self._hashes


def with_files(database: Database, found: dict[UID, SeriesDrift], named: Named, jobs: int) -> dict[UID, SeriesDrift]:
    """The results with the files that no record names; a lost one among them was moved."""
    layout = database.layout
    strange: list[Path] = []
    for path in files_below(layout.data):
        if isinstance(path, Unread):
            drift = Drift(DriftKind.UNREADABLE_DIRECTORY, layout.relative(path.path), None, path.reason)
            found[NO_SERIES] = _merged(found.get(NO_SERIES) or SeriesDrift(NO_SERIES, 0), drift)
        elif layout.relative(path) not in named:
            strange.append(path)
    if any(map(_is_linked, strange)) and layout.incoming.is_dir():
        time.sleep(_FILING_S)  # a listener names a file a moment before it records it
    for path, instance in zip(strange, run_all(_header, strange, jobs), strict=True):
        series = instance.SeriesInstanceUID if isinstance(instance, Instance) else NO_SERIES
        file = layout.relative(path)
        result = found.get(series) or SeriesDrift(series, 0)
        if result.count(DriftKind.UNREADABLE) or is_gone(path):
            continue
        if isinstance(instance, Instance):
            record = database.images(series).get(instance.SOPInstanceUID)
            if record is not None and record.file == file:
                continue
            drift = Drift(DriftKind.UNRECORDED, file, instance.SOPInstanceUID, "no record names it")
        else:
            drift = Drift(instance[0], file, None, instance[1])
        found[series] = _merged(result, drift)
    return found


def _is_linked(path: Path) -> bool:
    with suppress(OSError):
        return path.stat().st_nlink > 1
    return False


def _header(path: Path) -> Instance | tuple[DriftKind, str]:
    """The header of a file, or what is wrong with it; runs in any process."""
    try:
        return read_instance(path, frozenset())
    except UnreadableFileError as error:
        return DriftKind.UNREADABLE_FILE, str(error)
    except InvalidDicomError as error:
        return DriftKind.UNRECORDED, str(error)


def _merged(result: SeriesDrift, drift: Drift) -> SeriesDrift:
    for position, other in enumerate(result.drifts):
        if other.kind is DriftKind.LOST and other.SOPInstanceUID == drift.SOPInstanceUID:
            moved = Drift(DriftKind.MOVED, drift.file, drift.SOPInstanceUID, f"{MOVED_FROM}{other.file}")
            return replace(result, drifts=(*result.drifts[:position], moved, *result.drifts[position + 1 :]))
    return replace(result, drifts=(*result.drifts, drift))
