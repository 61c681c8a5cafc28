"""The tables that the header of an instance fills: patient, study, series within study, series, pack.

The first file of a study or series describes it; only the list of studies of a patient grows.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pypx.db.entries import patient_entry, patient_id, series_entry, study_entry, study_series_entry
from pypx.db.files import locked, make_dirs, write_file
from pypx.db.layout import Layout
from pypx.db.tables import dump, read_table, update_table
from pypx.model.identifiers import UID
from pypx.model.records import Instance

_MAX_KNOWN = 4096


class HeaderTables:
    """Writes what is missing; knows the last 4096 series it found or made complete."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: OrderedDict[tuple[str, UID, UID], str] = OrderedDict()

    def known(self, instance: Instance) -> bool:
        """Whether the tables of this series were complete before and its last table is still there."""
        table = self._known.get(_key(instance))
        return table is not None and os.path.exists(table)  # noqa: PTH110 - asked for every image

    def add(self, instance: Instance, base_dir: str) -> None:
        """Write the tables that lack this series; `base_dir` is where its files are, as the tables name it."""
        layout, study, series = self._layout, instance.StudyInstanceUID, instance.SeriesInstanceUID
        self._add_patient(instance)
        self._add_entry(layout.study_table(study), ("study", study), study, study_entry(instance))
        in_study = layout.study_series_table(study, series)
        self._add_entry(in_study, ("study", study), study, study_series_entry(instance, base_dir))
        self._add_entry(layout.series_table(series, "meta"), ("series", series), series, series_entry(instance))
        pack = layout.series_table(series, "pack")
        self._add_entry(pack, ("series", series), "seriesPack", value=True)
        self._known[_key(instance)] = str(pack)
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    def replace_series(self, instance: Instance, base_dir: str) -> None:
        """Write the tables of a series anew."""
        layout, study, series = self._layout, instance.StudyInstanceUID, instance.SeriesInstanceUID
        in_study = layout.study_series_table(study, series)
        self._replace(in_study, ("study", study), {study: study_series_entry(instance, base_dir)})
        self._replace(layout.series_table(series, "meta"), ("series", series), {series: series_entry(instance)})
        self._replace(layout.series_table(series, "pack"), ("series", series), {"seriesPack": True})

    def replace_study(self, instance: Instance) -> None:
        """Write the table of a study anew."""
        study = instance.StudyInstanceUID
        self._replace(self._layout.study_table(study), ("study", study), {study: study_entry(instance)})

    def replace_patient(self, instance: Instance, studies: Sequence[UID]) -> None:
        """Write the table of a patient anew."""
        key = patient_id(instance)
        entry = {**patient_entry(instance), "StudyList": list(studies)}
        self._replace(self._layout.patient_table(key), ("patient", key), {key: entry})

    def _replace(self, path: Path, lock: tuple[str, str], table: dict[str, Any]) -> None:
        modes = self._layout.modes
        with locked(self._layout.lock(*lock), modes=modes):
            make_dirs(path.parent, modes.directory)
            write_file(path, dump(table), modes.file)

    def _add_patient(self, instance: Instance) -> None:
        key, study = patient_id(instance), instance.StudyInstanceUID
        path, table = self.patient_table(key)
        if study in _listed(table.get(key)):
            return

        def change(now: dict[str, Any]) -> dict[str, Any] | None:
            entry = now.get(key)
            if not isinstance(entry, dict):
                return {**now, key: patient_entry(instance)}
            listed = _listed(entry)
            return None if study in listed else {**now, key: {**entry, "StudyList": [*listed, study]}}

        update_table(path, self._layout.lock("patient", key), change, modes=self._layout.modes)

    def patient_table(self, PatientID: str) -> tuple[Path, dict[str, Any]]:
        """The table that has the patient, or shall have: px's, or the one pypx made under a name px would encode."""
        theirs = self._layout.pypx_patient_table(PatientID)
        if theirs is not None:
            table = table_or_empty(theirs)
            if PatientID in table:
                return theirs, table
        ours = self._layout.patient_table(PatientID)
        return ours, table_or_empty(ours)

    def _add_entry(self, path: Path, lock: tuple[str, str], key: str, value: object) -> None:
        if key not in table_or_empty(path):
            update_table(
                path,
                self._layout.lock(*lock),
                lambda now: None if key in now else {**now, key: value},
                modes=self._layout.modes,
            )


def table_or_empty(path: Path) -> dict[str, Any]:
    """A table as it is on disk, ``{}`` if there is none."""
    return read_table(path) or {}


def _key(instance: Instance) -> tuple[str, UID, UID]:
    return patient_id(instance), instance.StudyInstanceUID, instance.SeriesInstanceUID


def _listed(entry: object) -> list[Any]:
    studies = entry.get("StudyList") if isinstance(entry, dict) else None
    return studies if isinstance(studies, list) else []
