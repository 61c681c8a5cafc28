"""Lifting image records and paths from format 3 to format 4, series by series.

Both formats are always read and a line outranks the file it came from, so every instant in between is a whole
BASEMOUNT: lines are made durable first, then the files are moved to ``log/.format3/``, one by one, each only if it
was lifted.  Doing it again does what is left.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pypx.db.entries import tells_uid
from pypx.db.files import locked, make_dirs, os_errors, sync_dir
from pypx.db.images import json_files, line_of, record_of_file
from pypx.db.layout import Layout, encode_name
from pypx.db.logs import append_lines, read_lines
from pypx.db.tables import read_table, update_table
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID
from pypx.model.records import ImageRecord

_IMAGES, _SERIES, _META = "-img", "-series", "-meta.json"


@dataclass(frozen=True, slots=True)
class OldImage:
    """An image record of format 3: the name of its file, what it says, and whether it tells the SOP Instance UID.

    Where it does not, the name of the image file stands in for the UID.
    """

    name: str
    record: ImageRecord
    told: bool


@dataclass(frozen=True, slots=True)
class Lifting:
    """What lifting a series comes to.

    `added` are the records that become lines; `images` is how many instances are on record then, those of lines that
    are there already included; `names` are the files that may be moved once the lines are durable.
    """

    added: tuple[ImageRecord, ...]
    images: int
    names: tuple[str, ...]


def old_series(layout: Layout) -> list[UID]:
    """The series that have a directory of image records of format 3, sorted; one without a record is listed, too."""
    return [UID(name) for name in _plain_names(layout.series_dir, _IMAGES)]


def has_old_images(layout: Layout, series: UID) -> bool:
    """Whether a series has image records of format 3."""
    return any(True for _ in json_files(layout.image_dir(series)))


def old_images(layout: Layout, series: UID) -> list[OldImage]:
    """The image records of format 3 of a series, the one received first first.

    Raises
    ------
    DatabaseError : one cannot be read or understood; names it
    """
    directory = layout.image_dir(series)
    images = []
    for name in sorted(name for name, _ in json_files(directory)):
        table = read_table(directory / name)
        if table is not None:
            images.append(OldImage(name, record_of_file(layout, directory / name, table), tells_uid(table)))
    return sorted(images, key=lambda image: image.record.received)


def plan_lifting(layout: Layout, series: UID, old: Sequence[OldImage], uid_of: Callable[[OldImage], UID]) -> Lifting:
    """What lifting comes to: of several files of an instance the one received last counts, and lines go before files.

    Raises
    ------
    DatabaseError : a line that is there cannot be understood
    """
    lines = {UID(str(line.get("SOPInstanceUID"))): line for line in read_lines(layout.image_log(series))[0]}
    lifted = {str(line.get("file")) for line in lines.values() if not line.get("gone")}
    added: dict[UID, ImageRecord] = {}
    for image in old:
        record = image.record
        if record.file in lifted:
            continue
        uid = uid_of(image)
        if uid not in lines:
            added[uid] = ImageRecord(uid, record.file, record.size, record.received)
    present = sum(not line.get("gone") for line in lines.values())
    return Lifting(tuple(added.values()), present + len(added), tuple(image.name for image in old))


def lift_images(layout: Layout, series: UID, uid_of: Callable[[OldImage], UID]) -> Lifting:
    """Lift the image records of a series under its locks; returns what was done.

    Parameters
    ----------
    uid_of : the SOP Instance UID of an image; called for those that have no line yet

    Raises
    ------
    DatabaseError, LockTimeoutError : nothing is lost; do it again
    """
    modes = layout.modes
    with locked(layout.lock("filing", series), modes=modes), locked(layout.lock("series", series), modes=modes):
        old = old_images(layout, series)
        lifting = plan_lifting(layout, series, old, uid_of)
        append_lines(layout.image_log(series), [json.dumps(line_of(record)) for record in lifting.added], modes.file)
        _put_away(layout, series, lifting.names)
        return lifting


def _put_away(layout: Layout, series: UID, names: Sequence[str]) -> None:
    """Move record files to ``log/.format3/``; the directory goes if it is empty then."""
    directory = layout.image_dir(series)
    kept = layout.format3 / directory.relative_to(layout.log)
    if names:
        make_dirs(kept, layout.modes.directory)
    with os_errors("move records of format 3 to", kept):
        for name in names:
            with suppress(FileNotFoundError):  # another migration was faster
                (directory / name).replace(kept / name)
        if names:
            sync_dir(kept)
        with suppress(OSError):  # something is in it: a record that came just now, or what is not ours
            directory.rmdir()


def await_writers(layout: Layout) -> None:
    """Wait until whoever records images at this moment has done so; who begins later sees the format as it is now.

    Raises
    ------
    LockTimeoutError : somebody does not end
    """
    for lock in sorted(layout.lock("series", "").parent.glob("series-*.lock")):
        with locked(lock, modes=layout.modes):
            pass


def lift_base_dirs(layout: Layout, study: UID) -> None:
    """Make ``SeriesBaseDir`` of the series of a study relative to the BASEMOUNT where it is inside.

    Raises
    ------
    DatabaseError, LockTimeoutError : some may be as they were
    """

    def change(table: dict[str, Any]) -> dict[str, Any] | None:
        lifted = {key: _with_base_dir(layout, entry) for key, entry in table.items()}
        return None if lifted == table else lifted

    directory = layout.study_series_dir(study)
    for series in _plain_names(directory, _META):
        path = layout.study_series_table(study, series)
        if change(read_table(path) or {}) is not None:
            update_table(path, layout.lock("study", study), change, modes=layout.modes)


def _with_base_dir(layout: Layout, entry: object) -> object:
    if not isinstance(entry, Mapping) or not str(entry.get("SeriesBaseDir") or "").startswith("/"):
        return entry
    return {**entry, "SeriesBaseDir": layout.relative(str(entry["SeriesBaseDir"]))}


def recorded_studies(layout: Layout) -> list[UID]:
    """The studies that list series, sorted."""
    return [UID(name) for name in _plain_names(layout.study_dir, _SERIES)]


def _plain_names(directory: Path, ending: str) -> list[str]:
    """The beginnings of the names in a directory that have an ending; such as px finds again."""
    return sorted(name for name in _beginnings(directory, ending) if name and encode_name(name) == name)


def _beginnings(directory: Path, ending: str) -> Iterator[str]:
    with os_errors("read", directory):
        try:
            with os.scandir(directory) as entries:
                yield from (entry.name[: -len(ending)] for entry in entries if entry.name.endswith(ending))
        except FileNotFoundError:
            return
