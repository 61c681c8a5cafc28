"""Looking at the directories and tables that the index was made of: which of them look as they did.

Directories are opened, not only looked at, because a network file system asks its server then, and names in them
after that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path

from pypx.db.files import os_errors
from pypx.db.indexfile import ABSENT, UNSURE, Rows, Stamp, stamp
from pypx.db.layout import Layout, encode_name
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import is_uid

_META, _SERIES = "-meta.json", "-series"
_NONE = -1


@dataclass(slots=True)
class Found:
    """The series that the studies list now, and for each its row in the index, -1 where that cannot be relied on."""

    root: Stamp
    folders: list[str] = field(default_factory=list)
    folder_stamps: list[Stamp] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    series: list[str] = field(default_factory=list)
    known: list[int] = field(default_factory=list)

    @property
    def unknown(self) -> int:
        """How many series have to be read."""
        return self.known.count(-1)


def look(layout: Layout, rows: Rows) -> Found:
    """Look at everything that the rows were made of, and for what is new.

    Raises
    ------
    DatabaseError : a directory of studies cannot be read
    """
    study_dir = layout.study_dir
    with _opened(study_dir) as studies:
        found = Found(_stamp_of(studies))
        if studies == _NONE:
            return found
        with _opened(layout.series_dir, lenient=True) as tables, _opened(layout.patient_dir, lenient=True) as patients:
            before = _Before(layout, rows, studies, patients)
            same = found.root == at(rows.root, 0)
            for study in rows.folders if same else _names_in(study_dir, studies, _SERIES):
                with _opened(study_dir, f"{encode_name(study)}{_SERIES}", studies) as listing:
                    _look_into(study, found, before, (listing, tables))
    return found


def _look_into(study: str, found: Found, before: _Before, opened: tuple[int, int]) -> None:
    """Add the directory of a study, and the series in it."""
    listing = opened[0]
    looks, (looked, numbers) = _stamp_of(listing), before.of_folder(study)
    old = before.rows.series
    if looks == looked:
        series = old[numbers.start : numbers.stop]
        known = before.unchanged(numbers, study, opened)
    else:
        names = _names_in(before.layout.study_series_dir(study), listing, _META) if listing != _NONE else []
        series, number_of = [name for name in names if is_uid(name)], {old[number]: number for number in numbers}
        rows = [number_of.get(uid, -1) for uid in series]
        known = [row if row >= 0 and before.same(row, study, opened) else -1 for row in rows]
    found.folders.append(study)
    found.folder_stamps.append(looks)
    found.counts.append(len(series))
    found.series += series
    found.known += known


class _Before:
    """The rows of the index, and which of their studies and patients look as they did."""

    def __init__(self, layout: Layout, rows: Rows, study_dir: int, patient_dir: int) -> None:
        self.rows = rows
        self.layout = layout
        names = [encode_name(study) for study in rows.studies]
        self._same_study = [
            stamp(f"{name}{_META}", study_dir) == at(rows.study_stamps, number) for number, name in enumerate(names)
        ]
        self._same_patient = [
            patient_stamps(layout, patient, patient_dir) == rows.patient_stamps[6 * number : 6 * number + 6]
            for number, patient in enumerate(rows.patients)
        ]
        self._firsts: dict[str, tuple[int, int]] = {}
        first = 0
        for number, folder in enumerate(rows.folders):
            self._firsts[folder] = (number, first)
            first += rows.counts[number]

    def of_folder(self, folder: str) -> tuple[Stamp, range]:
        """How the directory of a study looked, and its rows."""
        number, first = self._firsts.get(folder, (-1, 0))
        if number < 0:
            return UNSURE, range(0)
        return at(self.rows.folder_stamps, number), range(first, first + self.rows.counts[number])

    def unchanged(self, numbers: range, folder: str, opened: tuple[int, int]) -> list[int]:
        """The rows of a directory that lists the same series as before; -1 for those whose tables changed."""
        rows, first, last = self.rows, numbers.start, numbers.stop
        studies, patients = set(rows.study[first:last]), set(rows.patient[first:last])
        if all(study >= 0 and self._same_study[study] and rows.studies[study] == folder for study in studies) and all(
            patient < 0 or self._same_patient[patient] for patient in patients
        ):
            names = [f"{series}{_META}" for series in rows.series[first:last]]
            headers, metas = (_stamps(names, directory) for directory in opened)
            if headers == rows.header_stamps[3 * first : 3 * last] and metas == rows.meta_stamps[3 * first : 3 * last]:
                return list(numbers)
        return [row if self.same(row, folder, opened) else -1 for row in numbers]

    def same(self, row: int, folder: str, opened: tuple[int, int]) -> bool:
        """Whether all tables of a series look as they did.

        `opened` are descriptors: of the directory of the study `folder`, and of ``seriesData/``.
        """
        rows, (listing, tables) = self.rows, opened
        study, patient = rows.study[row], rows.patient[row]
        if (study >= 0 and not self._same_study[study]) or (patient >= 0 and not self._same_patient[patient]):
            return False
        name = f"{rows.series[row]}{_META}"
        if stamp(name, tables) != at(rows.meta_stamps, row):
            return False
        if study < 0:
            return True
        if rows.studies[study] == folder:
            return stamp(name, listing) == at(rows.header_stamps, row)
        elsewhere = self.layout.study_series_table(rows.studies[study], rows.series[row])
        return stamp(elsewhere) == at(rows.header_stamps, row)


def _stamps(names: list[str], directory: int) -> list[int]:
    """The stamps of files in an open directory, in a row; none if one of them cannot be looked at."""
    stamps: list[int] = []
    try:
        for name in names:
            found = os.stat(name, dir_fd=directory)
            stamps += (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    except OSError:
        return []
    return stamps


def at(stamps: list[int], number: int) -> Stamp:
    """The stamp at a place in a row of them."""
    first, second, third = stamps[3 * number : 3 * number + 3]
    return first, second, third


def patient_stamps(layout: Layout, PatientID: str, directory: int | None = None) -> list[int]:
    """How the tables look that a patient can be in: that of px, and that of pypx where its name differs.

    `directory` is the descriptor of ``patientData/`` if that is open.
    """
    ours, theirs = f"{encode_name(PatientID)}.json", layout.pypx_patient_table(PatientID)
    looks = stamp(layout.patient_dir / ours) if directory is None else stamp(ours, directory)
    return [*looks, *(ABSENT if theirs is None else stamp(theirs))]


@contextmanager
def _opened(directory: Path, name: str = "", within: int | None = None, *, lenient: bool = False) -> Iterator[int]:
    """The descriptor of a directory, or of the one that has a name `within` it; -1 if there is none.

    `lenient`: also if it cannot be read.
    """
    descriptor = _NONE
    try:
        descriptor = os.open(name or directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=within)
    except FileNotFoundError:
        pass
    except OSError as error:
        if not lenient:
            with os_errors("read", directory / name):
                raise error from None
    try:
        yield descriptor
    finally:
        if descriptor != _NONE:
            os.close(descriptor)


def _stamp_of(descriptor: int) -> Stamp:
    if descriptor == _NONE:
        return ABSENT
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _names_in(directory: Path, descriptor: int, ending: str) -> list[str]:
    """The names in an open directory that have an ending, without it, sorted; those with a leading dot are none."""
    with os_errors("read", directory), os.scandir(descriptor) as entries:
        names = [entry.name for entry in entries]
    return sorted(name[: -len(ending)] for name in names if name.endswith(ending) and not name.startswith("."))
