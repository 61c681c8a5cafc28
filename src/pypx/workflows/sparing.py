"""What a rebuild must not drop: records of files that may be there although it could not read them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from errno import ENOENT, ENOTDIR
from pathlib import PurePosixPath

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import DatabaseError, InvalidDicomError
from pypx.model.identifiers import UID, is_uid
from pypx.model.records import ImageRecord
from pypx.services.dicomfile import read_instance
from pypx.services.dicomsource import UnreadableFileError

ABSENT = frozenset({ENOENT, ENOTDIR})
"""Errors that prove that there is no such file."""


class Unreadable:
    """Directories and files below ``data/`` that could not be read, each with the reason, in the order they came up."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def add(self, file: str, reason: str) -> None:
        """Take one, named as records name files, unless it or a directory that it is in is known."""
        if not any(str(folder) in self._reasons for folder in PurePosixPath(file).parents):
            self._reasons.setdefault(file, reason)

    def listed(self) -> list[tuple[str, str]]:
        """All of them."""
        return list(self._reasons.items())


def old_records(database: Database, series: UID) -> dict[UID, ImageRecord] | None:
    """The image records of a series; ``None``: they are damaged, which a rebuild is for.

    Raises
    ------
    DatabaseError : the system does not let them be read
    """
    try:
        return database.images(series)
    except DatabaseError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return None


def spared(
    layout: Layout, series: UID, old: Iterable[ImageRecord], read: Collection[str], unreadable: Unreadable
) -> dict[UID, ImageRecord]:
    """Those of the records of a series that stay, as their files may be there; not those of the files in `read`."""
    fresh = (record for record in old if record.file not in read)
    return {record.SOPInstanceUID: record for record in fresh if _may_be_there(layout, series, record, unreadable)}


def _may_be_there(layout: Layout, series: UID, record: ImageRecord, unreadable: Unreadable) -> bool:
    """Whether a record may be right: only a file that is gone, damaged or of another image proves that it is not."""
    try:
        instance = read_instance(layout.resolve(record.file), frozenset())
    except UnreadableFileError as error:
        if error.errno in ABSENT:
            return False
        unreadable.add(record.file, str(error))
        return True
    except (InvalidDicomError, DatabaseError):
        return False
    uid = record.SOPInstanceUID if is_uid(record.SOPInstanceUID) else instance.SOPInstanceUID
    return (instance.SeriesInstanceUID, instance.SOPInstanceUID) == (series, uid)
