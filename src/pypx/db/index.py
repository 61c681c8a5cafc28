"""The series on record that match, without reading the tables of all of them.

The index remembers what the tables said and how each of them looked (size, times of modification and change).  Every
question looks at all of them again, and at the directories that list them: that takes a tenth of the time of reading.
What looks as before is answered from the index, the rest is read.  So it does not matter who changed what in which
way, or what a killed process left: px by renaming, pypx in place, an editor, a restored backup.  Writers know nothing
of the index and cannot forget it.  When a question had to read many series, it writes the index anew, if its user may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from pypx.db.indexfile import ABSENT, UNSURE, Rows, Snapshot, Stamp, clock, load, save, settled, stamp
from pypx.db.indexlook import Found, at, look, patient_stamps
from pypx.db.seriestags import SeriesTags, Tags, patient_of, study_of
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.keywords import RECORDED_KEYS

_FEW = 64

Test = Callable[[str], bool]


def matching(database: Database, tests: Mapping[str, Test], keywords: Iterable[str]) -> Iterator[Tags]:
    """The series on record that match, in the order of a scan, and exactly those that it would find.

    Parameters
    ----------
    database : its tables are only read; ``log/.index.jsonl`` is written where that helps and is possible
    tests : keyword to what its value (``""``: no such attribute) has to pass; keywords of `RECORDED_KEYS`
    keywords : what the answers shall hold, of `RECORDED_KEYS`

    Raises
    ------
    DatabaseError : a directory, or a table that looks new, cannot be read
    """
    wanted = list(dict.fromkeys(keywords))
    snapshot = load(database.layout.index_file, [*wanted, *tests]) or _nothing()
    found = look(database.layout, snapshot.rows)
    if found.unknown > _FEW + len(found.series) // 100:
        snapshot, found = _renewed(database, snapshot) or (snapshot, found)
    hits = [row for row in found.known if row >= 0]
    for keyword, test in tests.items() if hits else ():
        column = snapshot.columns[keyword]
        hits = [row for row in hits if test(column[row])]
    chosen = frozenset(hits)
    tables, seen = SeriesTags(database), set[str]()
    for uid, row in zip(found.series, found.known, strict=True):
        if uid in seen or (row >= 0 and row not in chosen):
            continue
        seen.add(uid)
        if row >= 0:
            yield {keyword: snapshot.columns[keyword][row] for keyword in wanted}
        else:
            tags = tables.read(UID(uid))
            if all(test(tags.get(keyword, "")) for keyword, test in tests.items()):
                yield {keyword: tags.get(keyword, "") for keyword in wanted}


def _nothing() -> Snapshot:
    return Snapshot(Rows(), {keyword: [] for keyword in RECORDED_KEYS})


def _renewed(database: Database, old: Snapshot) -> tuple[Snapshot, Found] | None:
    """Read what is unknown, and write the index if that helps the next question; what was read answers this one.

    Returns
    -------
    ``None`` if nothing can be written here, or another process just did
    """
    layout = database.layout
    now_ns = clock(layout.log)
    whole = load(layout.index_file, RECORDED_KEYS) or _nothing()
    if now_ns is None or whole.rows != old.rows:
        return None
    found = look(layout, whole.rows)  # again: only what was looked at after the clock can be relied on
    renewal = _Renewal(database, whole, found, now_ns)
    snapshot = renewal.snapshot()
    if renewal.learned > _FEW // 2:
        save(layout.index_file, snapshot, layout.modes.file)
    found.known = list(range(len(found.series)))
    return snapshot, found


class _Renewal:
    """Makes the rows and columns of all series: of those that are known from the old ones, of the others by reading.

    A stamp is always taken before the file is read: if that changes in between, the next question finds it changed.
    """

    def __init__(self, database: Database, old: Snapshot, found: Found, now_ns: int) -> None:
        self._old, self._found, self._now_ns = old, found, now_ns
        self._layout = database.layout
        self._tables = SeriesTags(database)
        self._studies: dict[str, int] = {}
        self._patients: dict[str, int] = {}
        self._new = Rows(
            root=[*settled(found.root, now_ns)],
            folders=found.folders,
            folder_stamps=[part for one in found.folder_stamps for part in settled(one, now_ns)],
            counts=found.counts,
            series=found.series,
        )
        self.learned = 0
        """How many series were read whose tables can be relied on from now on."""

    def snapshot(self) -> Snapshot:
        """All rows and columns."""
        for row in self._found.known:  # before anything is read, so that these stamps of studies and patients stay
            if row >= 0:
                self._keep(row)
        columns: dict[str, list[str]] = {keyword: [] for keyword in RECORDED_KEYS}
        texts: dict[str, str] = {}
        for uid, row in zip(self._found.series, self._found.known, strict=True):
            values = self._copied(row) if row >= 0 else self._read(UID(uid))
            for column, text in zip(columns.values(), values, strict=True):
                column.append(texts.setdefault(text, text))
        return Snapshot(self._new, columns)

    def _keep(self, row: int) -> None:
        old = self._old.rows
        study, patient = old.study[row], old.patient[row]
        if study >= 0:
            self._add_study(old.studies[study], at(old.study_stamps, study))
        if patient >= 0:
            self._add_patient(old.patients[patient], old.patient_stamps[6 * patient : 6 * patient + 6])

    def _add_study(self, study: str, looks: Stamp) -> None:
        if study not in self._studies:
            self._studies[study] = len(self._studies)
            self._new.studies.append(study)
            self._new.study_stamps += looks

    def _add_patient(self, patient: str, looks: list[int]) -> None:
        if patient not in self._patients:
            self._patients[patient] = len(self._patients)
            self._new.patients.append(patient)
            self._new.patient_stamps += looks

    def _copied(self, row: int) -> list[str]:
        old = self._old.rows
        study, patient = old.study[row], old.patient[row]
        self._add_row(
            old.studies[study] if study >= 0 else "",
            old.patients[patient] if patient >= 0 else "",
            at(old.meta_stamps, row),
            at(old.header_stamps, row),
        )
        return [self._old.columns[keyword][row] for keyword in RECORDED_KEYS]

    def _read(self, series: UID) -> list[str]:
        layout = self._layout
        meta = self._settled(stamp(layout.series_table(series, "meta")))
        entry = self._tables.entry(series)
        study, patient = study_of(entry), patient_of(entry)
        header = self._settled(stamp(layout.study_series_table(study, series))) if study else ABSENT
        if study and study not in self._studies:
            self._add_study(study, self._settled(stamp(layout.study_table(study))))
        if patient and patient not in self._patients:
            looks = patient_stamps(layout, patient)
            self._add_patient(patient, [*self._settled(at(looks, 0)), *self._settled(at(looks, 1))])
        self._add_row(study, patient, meta, header)
        self.learned += UNSURE not in (meta, header)
        tags = self._tables.of(series, entry)
        return [tags.get(keyword, "") for keyword in RECORDED_KEYS]

    def _settled(self, looks: Stamp) -> Stamp:
        return settled(looks, self._now_ns)

    def _add_row(self, study: str, patient: str, meta: Stamp, header: Stamp) -> None:
        self._new.study.append(self._studies.get(study, -1))
        self._new.patient.append(self._patients.get(patient, -1))
        self._new.meta_stamps += meta
        self._new.header_stamps += header
