"""The index of the series: whatever happens to the tables and to it, the answers are those of a scan."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from pypx.db import index, indexfile, tables
from pypx.db.layout import Layout
from pypx.db.seriestags import SeriesTags, scan
from pypx.db.smdb import Database
from pypx.db.tables import dump
from pypx.errors import DatabaseError, InputError
from pypx.model.identifiers import UID
from pypx.model.keywords import Level
from pypx.workflows import search as searching
from pypx.workflows.search import search
from support.dbwork import instance, together
from support.indexwork import add_series, search_and_add

LONG = bool(os.environ.get("PX_TEST_LONG"))
QUESTIONS: tuple[tuple[Level, dict[str, str]], ...] = (
    (Level.SERIES, {}),
    (Level.SERIES, {"Modality": "M*"}),
    (Level.SERIES, {"StudyDate": "20200102-20210101", "SeriesDescription": "*5*"}),
    (Level.SERIES, {"SeriesInstanceUID": "1.*"}),
    (Level.STUDY, {"PatientName": "*^J*"}),
    (Level.STUDY, {"StudyInstanceUID": "1.3"}),
    (Level.PATIENT, {"PatientID": "p?"}),
    (Level.PATIENT, {"AccessionNumber": "A3"}),
    (Level.SERIES, {"ImageType": "ORIGINAL*"}),
)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index is written from the first series on, and every stamp counts as settled: see `Histories.later`."""
    monkeypatch.setattr(index, "_FEW", 0)
    monkeypatch.setattr(index, "clock", lambda _directory: 1 << 62)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The series whose tables are read."""
    done: list[str] = []
    entry = SeriesTags.entry

    def noted(self: SeriesTags, series: UID) -> dict[str, str]:
        done.append(series)
        return entry(self, series)

    monkeypatch.setattr(SeriesTags, "entry", noted)
    return done


def database_of(place: Path, series: int = 3, number: int = 4) -> Database:
    database = Database.create(Layout.of_basemount(place / "basemount"), format=number)
    for one in range(series):
        add_series(database, one)
    return database


def scanned(
    database: Database, tests: Mapping[str, Callable[[str], bool]], keywords: object
) -> Iterator[Mapping[str, str]]:
    """What `matching` stands for."""
    assert keywords
    return (tags for tags in scan(database) if all(test(tags.get(keyword, "")) for keyword, test in tests.items()))


def answers(layout: Layout) -> list[object]:
    """The answers to all questions by a process that has just started; an error is an answer, too."""
    return [answer(layout, level, matches) for level, matches in QUESTIONS]


def answer(layout: Layout, level: Level, matches: dict[str, str]) -> object:
    try:
        return list(search(Database.open(layout), matches, level))
    except (DatabaseError, InputError) as error:
        return str(error)


def right_answers(layout: Layout) -> list[object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "matching", scanned)
        return answers(layout)


def found(layout: Layout, **matches: str) -> list[str]:
    return [str(record["SeriesInstanceUID"]) for record in search(Database.open(layout), matches)]


# --- that it is used


@pytest.mark.usefixtures("eager")
def test_second_search_reads_no_table(tmp_path: Path, reads: list[str]) -> None:
    layout = database_of(tmp_path).layout
    first = found(layout, Modality="MR")
    assert sorted(set(reads)) == ["1.0.0", "1.0.1", "1.0.2"]
    reads.clear()
    assert found(layout, Modality="MR") == first != []
    assert reads == []
    assert layout.index_file.stat().st_mode & 0o777 == 0o640


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("table", ["meta", "header"])
def test_only_what_changed_is_read(
    tmp_path: Path, reads: list[str], table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = database_of(tmp_path).layout
    found(layout)
    path = (
        layout.series_table("1.0.1", "meta") if table == "meta" else layout.study_series_table(UID("1.0"), UID("1.0.1"))
    )
    path.write_bytes(path.read_bytes().replace(b'"CT"', b'"XX"').replace(b'"MR"', b'"XX"'))
    monkeypatch.setattr(index, "_FEW", 64)
    reads.clear()
    assert found(layout, Modality="XX") == (["1.0.1"] if table == "meta" else [])
    assert set(reads) == {"1.0.1"}


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("keyword", ["PatientAge", "StudyDescription"])
def test_a_table_of_a_study_and_of_a_patient_stand_for_all_their_series(tmp_path: Path, keyword: str) -> None:
    layout = database_of(tmp_path, 6).layout
    assert found(layout, **{keyword: "Z"}) == []
    path = layout.patient_table("p0") if keyword == "PatientAge" else layout.study_table(UID("1.0"))
    ((key, entry),) = json.loads(path.read_text()).items()
    path.write_bytes(dump({key: {**entry, keyword: "Z"}}))
    assert found(layout, **{keyword: "Z"}) == right_found(layout, **{keyword: "Z"}) != []


def right_found(layout: Layout, **matches: str) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "matching", scanned)
        return found(layout, **matches)


def test_a_series_by_its_uid_needs_no_index(tmp_path: Path, reads: list[str]) -> None:
    layout = database_of(tmp_path).layout
    assert found(layout, SeriesInstanceUID="1.0.1") == ["1.0.1"]
    assert reads == ["1.0.1"]
    assert found(layout, SeriesInstanceUID="1.0.1", Modality="XX") == []


# --- that it stays away


def test_a_small_basemount_gets_none(tmp_path: Path) -> None:
    layout = database_of(tmp_path).layout
    before = sorted(tmp_path.rglob("*"))
    assert answers(layout) == right_answers(layout)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_was_written_a_moment_ago_is_not_relied_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_FEW", 0)
    layout = database_of(tmp_path).layout
    found(layout)
    assert not layout.index_file.exists()
    monkeypatch.setattr(indexfile, "_SETTLED_NS", -3_600_000_000_000)
    found(layout)
    assert layout.index_file.exists()


@pytest.mark.usefixtures("eager")
def test_where_nothing_can_be_written_all_is_read_and_nothing_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = database_of(tmp_path).layout
    before = sorted(tmp_path.rglob("*"))

    def refused(*_args: object, **_more: object) -> None:
        raise DatabaseError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(indexfile, "write_file", refused)
        assert answers(layout) == right_answers(layout)
        patch.setattr(index, "clock", lambda _directory: None)
        assert answers(layout) == right_answers(layout)
    assert sorted(tmp_path.rglob("*")) == before
    found(layout)
    layout.series_table("1.0.0", "meta").unlink()
    monkeypatch.setattr(index, "clock", lambda _directory: None)
    written = layout.index_file.read_bytes()
    assert answers(layout) == right_answers(layout)
    assert layout.index_file.read_bytes() == written


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_FEW", 0)
    layout = database_of(tmp_path).layout
    layout.log.chmod(0o550)
    assert indexfile.clock(layout.log) is None
    assert answers(layout) == right_answers(layout)
    layout.log.chmod(0o750)
    assert not layout.index_file.exists()


# --- that it is never wrong


class Histories:
    """What can happen to a BASEMOUNT, in any order; see `OPERATIONS`."""

    def __init__(self, layout: Layout, chance: random.Random) -> None:
        self.layout, self.chance = layout, chance
        self.time_ns = 10**18

    def later(self, *paths: Path) -> None:
        """Let time have passed: each change has a time of its own, as the three seconds see to in life."""
        for path in paths:
            self.time_ns += 1
            if path.exists():
                os.utime(path, ns=(self.time_ns, self.time_ns))

    def table(self) -> Path | None:
        tables = sorted(path for path in self.layout.log.rglob("*.json") if path.name != "format.json")
        return self.chance.choice(tables) if tables else None

    def px_adds(self) -> None:
        add_series(Database.open(self.layout), self.chance.randrange(200))

    def px_describes_anew(self) -> None:
        number = self.chance.randrange(200)
        study, series = UID(f"1.{number // 10}"), UID(f"1.{number // 10}.{number % 10}")
        image = instance(f"{series}.1", series, study, SeriesDescription=f"anew {self.chance.random()}", PatientID="p1")
        Database.open(self.layout).replace_headers(image, self.layout.data)

    def px_studies(self) -> None:
        database, study = Database.open(self.layout), UID(f"1.{self.chance.randrange(20)}")
        database.replace_study(instance("1", "1.1", study, StudyDate="20200607"))
        database.replace_patient(instance("1", "1.1", study, PatientID="p2", PatientName="NEW^JIM"), [study])

    def edited_in_place(self) -> None:
        path = self.table()
        if path is not None:
            text = path.read_text()
            for old, new in (("MR", "CT"), ("^JANE", "^KATE"), ("20200101", "20200103"), ("A3", "A4")):
                text = text.replace(old, new) if self.chance.random() < 0.5 else text.replace(new, old)
            path.write_text(text)
            self.later(path)

    def replaced(self) -> None:
        path, other = self.table(), self.table()
        if path is not None and other is not None:
            new = path.with_name("new.tmp")
            shutil.copyfile(other if self.chance.random() < 0.3 else path, new)
            new.replace(path)

    def removed(self) -> None:
        path = self.table()
        if path is not None:
            path.unlink()

    def study_removed(self) -> None:
        folders = sorted(self.layout.study_dir.glob("*-series"))
        if folders:
            remove_tree(self.chance.choice(folders))

    def broken(self) -> None:
        path = self.table()
        if path is not None and self.chance.random() < 0.3:
            path.write_text("{")
            self.later(path)

    def repaired(self) -> None:
        for path in self.layout.log.rglob("*.json"):
            if path.read_bytes() == b"{":
                path.unlink()

    def listed_twice(self) -> None:
        path = self.table()
        if path is not None and path.parent.name.endswith("-series"):
            folder = self.layout.study_series_dir(UID(f"1.{self.chance.randrange(20)}"))
            folder.mkdir(exist_ok=True)
            if folder != path.parent:
                shutil.copyfile(path, folder / path.name)

    def pypx_wrote(self) -> None:
        odd = self.chance.choice(["é 1", "A%2", "p3"])
        add_series(Database.open(self.layout), self.chance.randrange(200, 220), PatientID=odd)
        theirs = self.layout.pypx_patient_table(odd)
        if theirs is not None:
            entry = {"PatientID": odd, "PatientName": f"PYPX^J{self.chance.randrange(9)}", "StudyList": []}
            theirs.write_bytes(dump({odd: entry}))
            self.later(theirs)

    def index_lost(self) -> None:
        self.layout.index_file.unlink(missing_ok=True)

    def index_damaged(self) -> None:
        if self.layout.index_file.exists():
            data = bytearray(self.layout.index_file.read_bytes())
            if self.chance.random() < 0.5:
                del data[self.chance.randrange(len(data)) :]
            else:
                data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
            self.layout.index_file.write_bytes(data)

    def index_writer_killed(self) -> None:
        (self.layout.log / f".tmp-{self.chance.random()}").write_text("{")

    def restored(self) -> None:
        copied = self.layout.base.with_name("copy")
        shutil.copytree(self.layout.base, copied)
        remove_tree(self.layout.base)
        copied.rename(self.layout.base)


def remove_tree(directory: Path) -> None:
    """Remove a directory by paths: the seal of unit tests does not see where the names are that rmtree removes."""
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    directory.rmdir()


OPERATIONS: tuple[Callable[[Histories], None], ...] = (
    *[Histories.px_adds] * 6, Histories.px_describes_anew, Histories.px_studies, *[Histories.edited_in_place] * 3,
    *[Histories.replaced] * 2, *[Histories.removed] * 2, Histories.study_removed, Histories.broken, Histories.repaired,
    Histories.listed_twice, Histories.pypx_wrote, Histories.index_lost, *[Histories.index_damaged] * 2,
    Histories.index_writer_killed, Histories.restored,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(200 if LONG else 4))
@pytest.mark.parametrize("number", [3, 4])
@pytest.mark.usefixtures("eager")
def test_answers_are_those_of_a_scan_whatever_happened(
    tmp_path: Path, seed: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_RETRY_S", 0)
    chance = random.Random(seed)
    layout = database_of(tmp_path, 12, number).layout
    history = Histories(layout, chance)
    for _ in range(12):
        monkeypatch.setattr(index, "_FEW", chance.choice((0, 3, 64)))
        for _ in range(chance.randrange(1, 4)):
            chance.choice(OPERATIONS)(history)
            history.later(*layout.log.rglob("*-series"), layout.study_dir)
        assert answers(layout) == right_answers(layout)
        assert answers(layout) == right_answers(layout), "asked again"


def test_two_cannot_spoil_each_other(tmp_path: Path) -> None:
    layout = database_of(tmp_path, 20).layout
    together(search_and_add, layout.base, 25 if LONG else 8, processes=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_FEW", 0)
        assert answers(layout) == right_answers(layout)
    assert len(found(layout)) == len(list(scan(Database.open(layout))))
    assert not list(layout.log.glob(".tmp-*"))


@pytest.mark.usefixtures("eager")
def test_an_index_of_another_version_is_none(tmp_path: Path) -> None:
    layout = database_of(tmp_path).layout
    found(layout)
    assert indexfile.load(layout.index_file, ["Modality"]) is not None
    head, _, body = layout.index_file.read_bytes().partition(b"\n")
    said = json.loads(head)
    others: list[object] = [{**said, "version": 99}, {**said, "keywords": ["Modality"]}, [], {"version": 1}]
    for other in others:
        layout.index_file.write_bytes(json.dumps(other).encode() + b"\n" + body)
        assert indexfile.load(layout.index_file, ["Modality"]) is None
        assert found(layout) == ["1.0.0", "1.0.1", "1.0.2"]


def test_stamps_settle(tmp_path: Path) -> None:
    now = indexfile.clock(tmp_path)
    assert now is not None
    assert list(tmp_path.iterdir()) == []
    old, young = (5, now - 4_000_000_000, now - 4_000_000_000), (5, now - 4_000_000_000, now)
    assert indexfile.settled(old, now) == old
    assert indexfile.settled(young, now) == indexfile.UNSURE
    assert indexfile.settled(indexfile.ABSENT, now) == indexfile.ABSENT
    assert indexfile.settled(indexfile.UNREADABLE, now) == indexfile.UNSURE
