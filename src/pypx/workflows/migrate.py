"""Migrating: a BASEMOUNT that pypx made (format 3) becomes one of format 4.

Nothing under ``data/`` is touched, and nothing is forgotten: image records become lines, ``format.json`` comes last.
It may be stopped at any instant and done again, beside a listener and beside another migration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pypx.db.files import about
from pypx.db.formats import check_writable, lift_format, read_format
from pypx.db.layout import Layout
from pypx.db.lift import (
    OldImage,
    await_writers,
    has_old_images,
    lift_base_dirs,
    lift_images,
    old_images,
    old_series,
    plan_lifting,
    recorded_studies,
)
from pypx.errors import DatabaseError, InputError, InvalidDicomError, PartialError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID
from pypx.services.dicomfile import read_instance
from pypx.services.dicomsource import UnreadableFileError
from pypx.workflows.sparing import ABSENT


@dataclass(frozen=True, slots=True)
class SeriesLifted:
    """A series that was lifted, or would be.

    `images` are on record, `lifted` of them became lines now.  `lost` are files that are not where their record says;
    `unknown` those whose SOP Instance UID nobody can tell, since their record does not and they are lost, no whole
    DICOM files or of another series: their name stands in for it.  The records of both are kept.  `problem` says why
    the series could not be lifted (``""``: it could).
    """

    SeriesInstanceUID: UID
    images: int = 0
    lifted: int = 0
    lost: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    problem: str = ""


@dataclass(slots=True)
class MigrationSummary:
    """Totals over the series; `take` each, then `check`."""

    series: int = 0
    images: int = 0
    lifted: int = 0
    lost: int = 0
    unknown: int = 0
    problems: int = 0
    problem: str = ""

    def take(self, one: SeriesLifted) -> None:
        """Count one."""
        self.series += 1
        self.images += one.images
        self.lifted += one.lifted
        self.lost += len(one.lost)
        self.unknown += len(one.unknown)
        if one.problem:
            self.problems += 1
            self.problem = self.problem or one.problem

    def check(self) -> None:
        """Raise if not all is well.

        Raises
        ------
        PartialError : a series cannot be lifted
        """
        if self.problems:
            raise PartialError(
                f"{self.problems} of {self.series} series cannot be lifted, and the BASEMOUNT stays format 3 until they"
                f" are: {self.problem}; then run it again"
            )


class Migration:
    """The migration of one BASEMOUNT: look at it by `plan`, do it by `run`.

    Raises
    ------
    InputError : there is no BASEMOUNT
    DatabaseError : it cannot be read
    """

    def __init__(self, layout: Layout) -> None:
        found = read_format(layout)
        if found is None:
            raise InputError(f"{layout.base}: there is no BASEMOUNT here (no tables below {layout.log}); name one")
        self.layout = replace(layout, modes=found.modes)
        self.format = found.number
        series = old_series(layout)
        self.series = tuple(one for one in series if found.number == 3 or has_old_images(layout, one))

    @property
    def needed(self) -> bool:
        """Whether there is anything to do: format 3, or records of it that came to a BASEMOUNT of format 4."""
        return self.format == 3 or bool(self.series)

    def plan(self) -> Iterator[SeriesLifted]:
        """What `run` would do; nothing is changed, no lock is taken."""
        for series in self.series:
            yield _planned(self.layout, series, _Uids(self.layout, series))

    def run(self) -> Iterator[SeriesLifted]:
        """Lift series by series, then the paths in the study tables, then the format of the BASEMOUNT.

        Yields
        ------
        One outcome a series, as soon as it is lifted.  Where one has a `problem`, the format stays 3.

        Raises
        ------
        DatabaseError, LockTimeoutError : the BASEMOUNT cannot be written; what was yielded is lifted
        """
        check_writable(self.layout)
        problems: set[UID] = set()
        for series in self.series:
            outcome = _lifted(self.layout, series)
            if outcome.problem:
                problems.add(series)
            yield outcome
        for study in recorded_studies(self.layout):
            lift_base_dirs(self.layout, study)
        if not problems and self.format == 3:
            self.format = lift_format(self.layout).number
        await_writers(self.layout)
        for series in old_series(self.layout):  # what a listener has recorded before it saw the new format
            if series not in problems and has_old_images(self.layout, series):
                _lifted(self.layout, series)


def _lifted(layout: Layout, series: UID) -> SeriesLifted:
    uids = _Uids(layout, series)
    outcome = _planned(layout, series, uids)  # headers are read here, not while others wait for the locks
    if outcome.problem:
        return outcome
    lifting = lift_images(layout, series, uids)
    return replace(outcome, images=lifting.images, lifted=len(lifting.added))


def _planned(layout: Layout, series: UID, uids: _Uids) -> SeriesLifted:
    try:
        old = old_images(layout, series)
        lifting = plan_lifting(layout, series, old, uids)
        lost = tuple(uids.lost(image.record.file for image in old))
    except DatabaseError as error:
        return SeriesLifted(series, problem=str(error))
    return SeriesLifted(series, lifting.images, len(lifting.added), lost, tuple(uids.unknown))


class _Uids:
    """The SOP Instance UIDs of the images of a series: from their records, else from their headers, each read once."""

    def __init__(self, layout: Layout, series: UID) -> None:
        self._layout, self._series = layout, series
        self._read: dict[str, UID | None] = {}

    def __call__(self, image: OldImage) -> UID:
        """The UID of an image; what its record has in place of one if nobody can tell."""
        if image.told:
            return image.record.SOPInstanceUID
        file = image.record.file
        if file not in self._read:
            self._read[file] = self._of_header(file)
        return self._read[file] or image.record.SOPInstanceUID

    def _of_header(self, file: str) -> UID | None:
        path = self._layout.resolve(file)
        try:
            header = read_instance(path, frozenset())
        except UnreadableFileError as error:
            if error.errno in ABSENT:
                return None
            raise about(path, f": {error}; give access, then repeat") from error
        except InvalidDicomError:
            return None
        return header.SOPInstanceUID if header.SeriesInstanceUID == self._series else None

    @property
    def unknown(self) -> list[str]:
        """The files whose UID nobody can tell."""
        return [file for file, uid in self._read.items() if uid is None]

    def lost(self, files: Iterable[str]) -> Iterator[str]:
        """Those of `files` that are not there; each directory is listed once."""
        names: dict[Path, frozenset[str]] = {}
        for file in files:
            path = self._layout.resolve(file)
            if path.parent not in names:
                try:
                    names[path.parent] = frozenset(entry.name for entry in path.parent.iterdir())
                except (FileNotFoundError, NotADirectoryError):
                    names[path.parent] = frozenset()
                except OSError as error:
                    raise about(path, f": cannot be read: {error.strerror}; give access, then repeat") from error
            if path.name not in names[path.parent]:
                yield file
