"""The smdb of a BASEMOUNT: patients, studies, series and their images, as records.

Tables have the names and shapes of pypx 3.  Reading creates nothing.  Writing holds one lock at a time.  The locks are
px's own: pypx 3 heeds none of them, so the two may share a BASEMOUNT but should not write one patient at one instant.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pypx.db.files import locked, make_dirs, os_errors, use_layout
from pypx.db.formats import FRESH, Format, default_templates, make_format, push_templates, read_format, set_share
from pypx.db.headers import HeaderTables, table_or_empty
from pypx.db.images import ImageRecords
from pypx.db.layout import SERIES_TABLES, Layout, Share
from pypx.db.logs import append_lines, read_lines
from pypx.db.tables import update_table
from pypx.errors import DatabaseError
from pypx.model.identifiers import UID, is_uid
from pypx.model.packpath import Templates
from pypx.model.records import ImageRecord, Instance


class Database:
    """The tables and image records of one BASEMOUNT; get one by `open`, `create` or `open_or_create`.

    May be used by several threads; other processes and hosts may use the same BASEMOUNT.
    """

    def __init__(self, layout: Layout, found: Format | None) -> None:
        self._exists = found is not None
        self._use(layout, found or FRESH)

    def _use(self, layout: Layout, found: Format) -> None:
        self._format = found
        self.layout = replace(layout, modes=found.modes)
        use_layout(self.layout)
        self._images = ImageRecords(self.layout)
        self._headers = HeaderTables(self.layout)

    @classmethod
    def open(cls, layout: Layout) -> Database:
        """Open for reading: creates nothing; where there is no BASEMOUNT, the database is empty.

        Raises
        ------
        DatabaseError : unreadable, or of an unknown format
        """
        return cls(layout, read_format(layout))

    @classmethod
    def create(
        cls,
        layout: Layout,
        *,
        format: int = 4,  # noqa: A002 - a word of the domain
        templates: Templates | None = None,
        share: Share | None = None,
    ) -> Database:
        """Make a new BASEMOUNT.

        Parameters
        ----------
        layout : where
        format : 3 (that of pypx 3) or 4
        templates : of the paths under ``data/``; ``None``: the defaults of the format
        share : whom new directories and files are made for; also of a BASEMOUNT that is there already

        Raises
        ------
        DatabaseError : one of another format or with other templates is there, or it cannot be created
        """
        if format not in (3, 4):
            raise DatabaseError(f"{layout.base}: there is no format {format}; choose 3 or 4")
        chosen = templates or default_templates(format)
        wanted = Format(format, chosen, push_templates(format, chosen), share or Share.GROUP)
        found = make_format(layout, wanted)
        if found.number != format or (templates is not None and found.templates != templates):
            raise DatabaseError(
                f"{layout.base}: is a BASEMOUNT of format {found.number} already, and keeps its format and templates;"
                " name another directory"
            )
        if share is not None and found.share is not share:
            found = set_share(layout, share)
        return cls(layout, found)

    @classmethod
    def open_or_create(cls, layout: Layout) -> Database:
        """Open for writing: an existing BASEMOUNT keeps its format, a fresh one becomes format 4.

        Raises
        ------
        DatabaseError : it cannot be created or may not be written to
        """
        return cls(layout, make_format(layout, FRESH))

    @property
    def exists(self) -> bool:
        """Whether there was a BASEMOUNT when it was opened, or is one since."""
        return self._exists

    @property
    def format(self) -> int:
        """Format of the BASEMOUNT, 3 or 4."""
        return self._format.number

    @property
    def templates(self) -> Templates:
        """Templates of the paths under ``data/``."""
        return self._format.templates

    @property
    def push_templates(self) -> Templates:
        """Templates of the names of objects, where no earlier push says otherwise."""
        return self._format.push_templates

    def _prepare(self) -> None:
        if not self._exists:
            self._use(self.layout, make_format(self.layout, FRESH))
            self._exists = True
        elif self.format == 3:  # it may have been migrated since
            self._format = read_format(self.layout) or self._format

    # --- images

    def images(self, series: UID) -> dict[UID, ImageRecord]:
        """The image records of a series by SOP Instance UID, of both formats; ``{}`` for an unknown series.

        Where a record of format 3 does not tell its SOP Instance UID (its file was not named by the default image
        template), the name of the file stands in for it.

        Raises
        ------
        DatabaseError : a record cannot be read or understood
        """
        return self._images.of_series(series)

    def add_images(self, instances: Sequence[tuple[Instance, ImageRecord]]) -> int:
        """Record instances of one series; what is recorded with the same file already is skipped.

        When this returns, the records are durable; that the files are is the caller's business, before.

        Returns
        -------
        How many SOP Instance UIDs were not recorded before

        Raises
        ------
        DatabaseError, LockTimeoutError : in format 4 nothing was recorded; in format 3 some may be
        """
        if not instances:
            return 0
        self._prepare()
        series = instances[0][0].SeriesInstanceUID
        return self._images.add(instances, self.format, self.layout.lock("series", series))

    def forget_images(self, series: UID, uids: Collection[UID]) -> None:
        """Record that instances of a series are no longer there.

        Raises
        ------
        DatabaseError, LockTimeoutError : they may still be on record
        """
        self._images.forget(series, uids, self.layout.lock("series", series))

    def replace_images(self, instance: Instance, records: Sequence[ImageRecord]) -> None:
        """Record these images of a series and no others; `instance` is one of the series and stands for all.

        Raises
        ------
        DatabaseError, LockTimeoutError : the old records may still be there
        """
        self._prepare()
        series = instance.SeriesInstanceUID
        self._images.replace(instance, records, self.format, self.layout.lock("series", series))

    def recorded_series(self) -> Iterator[UID]:
        """All series that have image records, by listing ``seriesData/``: for who looks at every record anyway."""
        directory = self.layout.series_dir
        names = {*_names(directory, "-img.jsonl"), *_names(directory, "-img")}
        yield from (UID(name) for name in sorted(names) if is_uid(name))

    def conflicts(self, series: UID) -> int:
        """How many instances of a series came again with other content."""
        return len({str(line.get("SOPInstanceUID")) for line in self.log_lines(series, "conflicts")})

    def add_conflict(self, series: UID, SOPInstanceUID: UID, file: str) -> None:
        """Record that an instance came again with other content, and where that was set aside.

        `file` is relative to the BASEMOUNT, as in an image record.
        """
        self.append_log(series, "conflicts", [{"SOPInstanceUID": SOPInstanceUID, "file": file}])

    # --- append-only logs of a series, and what is known of PACS

    def log_lines(self, series: UID, name: str) -> list[dict[str, Any]]:
        """The lines of a log of a series, oldest first; `name` is ``ledger``, ``digests`` or ``conflicts``.

        Raises
        ------
        DatabaseError : a line that is complete is no JSON object
        """
        return read_lines(self.layout.series_log(series, name))[0]

    def append_log(self, series: UID, name: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Append lines to a log of a series; durable when this returns."""
        self._prepare()
        path = self.layout.series_log(series, name)
        modes = self.layout.modes
        with locked(self.layout.lock("series", series), modes=modes):
            make_dirs(path.parent, modes.directory)
            append_lines(path, [json.dumps(line) for line in lines], modes.file)

    def peer(self, peer: str) -> dict[str, Any]:
        """What was noted of a PACS, named as ``AET@host:port``; ``{}`` for an unknown one."""
        return _inner(table_or_empty(self.layout.peers_file), peer) or {}

    def note_peer(self, peer: str, values: Mapping[str, Any]) -> None:
        """Note something of a PACS; what was noted under other keys stays."""
        self._prepare()

        def change(now: dict[str, Any]) -> dict[str, Any]:
            return {**now, peer: {**(_inner(now, peer) or {}), **values}}

        update_table(self.layout.peers_file, self.layout.lock("peers", ""), change, modes=self.layout.modes)

    # --- patient, study and series tables

    def add_headers(self, instance: Instance, series_dir: Path) -> None:
        """Record patient, study and series of an instance, unless they are; the first file of a series describes it.

        Cheap for a series that this process has recorded.

        Parameters
        ----------
        instance : an instance of the series
        series_dir : where the files of the series are

        Raises
        ------
        DatabaseError, LockTimeoutError : some of the tables may be written
        """
        if self._headers.known(instance):
            return
        self._prepare()
        base_dir = str(series_dir) if self.format == 3 else self.layout.relative(series_dir)
        self._headers.add(instance, base_dir)

    def replace_headers(self, instance: Instance, series_dir: Path) -> None:
        """Let an instance describe its series, whatever the tables of the series say now."""
        self._prepare()
        base_dir = str(series_dir) if self.format == 3 else self.layout.relative(series_dir)
        self._headers.replace_series(instance, base_dir)

    def replace_study(self, instance: Instance) -> None:
        """Let an instance describe its study."""
        self._headers.replace_study(instance)

    def replace_patient(self, instance: Instance, studies: Sequence[UID]) -> None:
        """Let an instance describe its patient, who has these studies."""
        self._headers.replace_patient(instance, studies)

    def series_fields(self, series: UID, table: str) -> dict[str, Any]:
        """A table of a series as it is on disk; `table` is one of `SERIES_TABLES`; ``{}`` when absent."""
        return table_or_empty(self._series_table(series, table))

    def set_series_fields(self, series: UID, table: str, values: Mapping[str, Any]) -> None:
        """Set some keys of a table of a series; the others stay.

        Raises
        ------
        DatabaseError, LockTimeoutError : nothing was changed
        """
        self._prepare()
        path = self._series_table(series, table)
        lock = self.layout.lock("series", series)
        update_table(path, lock, lambda now: {**now, **values}, modes=self.layout.modes)

    def _series_table(self, series: UID, table: str) -> Path:
        if table not in SERIES_TABLES:
            raise DatabaseError(
                f"{self.layout.log}: a series has no table {table!r}; there are {', '.join(SERIES_TABLES)}"
            )
        return self.layout.series_table(series, table)

    # --- reading

    def has_study(self, study: UID) -> bool:
        """Whether there is a table of the study."""
        return _exists(self.layout.study_table(study))

    def has_series(self, series: UID) -> bool:
        """Whether there is a table of the series."""
        return _exists(self.layout.series_table(series, "meta"))

    def series_of_study(self, study: UID) -> tuple[UID, ...]:
        """The series recorded in a study, sorted by UID."""
        names = _names(self.layout.study_series_dir(study), "-meta.json")
        return tuple(UID(name) for name in sorted(names) if is_uid(name))

    def patient(self, PatientID: str) -> dict[str, Any] | None:
        """The entry of a patient, with its ``StudyList``."""
        return _inner(self._headers.patient_table(PatientID)[1], PatientID)

    def study(self, study: UID) -> dict[str, Any] | None:
        """The entry of a study."""
        return _inner(table_or_empty(self.layout.study_table(study)), study)

    def series(self, series: UID) -> dict[str, Any] | None:
        """The entry of a series."""
        return _inner(table_or_empty(self.layout.series_table(series, "meta")), series)

    def study_series(self, study: UID, series: UID) -> dict[str, Any] | None:
        """The entry of a series within its study: ``SeriesBaseDir`` and the ``DICOM`` block."""
        return _inner(table_or_empty(self.layout.study_series_table(study, series)), study)

    def patients(self) -> Iterator[dict[str, Any]]:
        """The entries of all patients."""
        for name in sorted(_names(self.layout.patient_dir, ".json")):
            table = table_or_empty(self.layout.patient_dir / f"{name}.json")
            yield from (entry for entry in table.values() if isinstance(entry, dict))

    def studies(self) -> Iterator[dict[str, Any]]:
        """The entries of all studies."""
        for name in sorted(_names(self.layout.study_dir, "-meta.json")):
            table = table_or_empty(self.layout.study_dir / f"{name}-meta.json")
            yield from (entry for entry in table.values() if isinstance(entry, dict))

    def series_uids(self) -> Iterator[UID]:
        """All series that a study lists; found study by study, never by listing all of ``seriesData/``."""
        seen: set[UID] = set()
        for name in sorted(_names(self.layout.study_dir, "-series")):
            fresh = [uid for uid in self.series_of_study(UID(name)) if uid not in seen]
            seen.update(fresh)
            yield from fresh


def _inner(table: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    entry = table.get(key)
    return entry if isinstance(entry, dict) else None


def _exists(path: Path) -> bool:
    with os_errors("read", path):
        try:
            path.stat()
        except FileNotFoundError:
            return False
        return True


def _names(directory: Path, ending: str) -> list[str]:
    """The names in a directory that have an ending, without it; none if there is no directory."""
    with os_errors("read", directory):
        try:
            with os.scandir(directory) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return []
    return [name[: -len(ending)] for name in names if name.endswith(ending) and not name.startswith(".")]
