"""Permissions of what is made in a BASEMOUNT: what was chosen for it, whatever the umask."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pypx.cli.main import px
from pypx.db.formats import lift_format, read_format, set_share
from pypx.db.layout import Layout, Modes, Share
from pypx.db.service_keys import ServiceKeys
from pypx.db.smdb import Database
from pypx.errors import DatabaseError
from pypx.workflows import spool
from pypx.workflows.filing import Filer, FilingOptions
from pypx.workflows.placing import Placement


@pytest.fixture(params=[0o000, 0o077], ids=["umask 000", "umask 077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    old = os.umask(request.param)
    try:
        yield request.param
    finally:
        os.umask(old)


@pytest.fixture
def layout(basemount: Path) -> Layout:
    return Layout.of_basemount(basemount)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def file_all(database: Database, corpus: Path, placement: Placement = Placement.COPY) -> None:
    filer = Filer(database, FilingOptions(placement))
    for file in sorted(corpus.rglob("*.dcm"))[:6]:
        filer.add(file)
    assert all(outcome.file for outcome in filer.commit())


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("number", [3, 4])
@pytest.mark.parametrize(
    ("share", "directory", "file"),
    [
        (None, 0o750, 0o640),
        (Share.OWNER, 0o700, 0o600),
        (Share.GROUP, 0o750, 0o640),
        (Share.GROUP_WRITE, 0o2770, 0o660),
        (Share.ALL, 0o755, 0o644),
    ],
)
def test_every_writer_keeps_to_them(
    layout: Layout, golden_corpus: Path, number: int, share: Share | None, directory: int, file: int
) -> None:
    database = Database.create(layout, format=number, share=share)
    assert database.layout.modes == Modes(directory, file)
    file_all(Database.open_or_create(layout), golden_corpus)  # another process finds it in log/format.json
    series = next(database.series_uids())
    database.append_log(series, "ledger", [{"a": 1}])
    database.set_series_fields(series, "push", {"a": 1})
    database.note_peer("A@b:1", {"x": 1})
    own, lock = spool.create_listener(layout.incoming, database.layout.modes)
    os.close(lock)
    _, lock = spool.create_association(own, 1, database.layout.modes)
    os.close(lock)
    ServiceKeys(layout).set("cube", {"a": {"url": "http://127.0.0.1/", "password": "x"}})
    found = {path: mode(path) for path in layout.base.rglob("*") if not path.is_relative_to(layout.services)}
    assert len(found) > 30
    wrong = {path: oct(is_) for path, is_ in found.items() if is_ != (directory if path.is_dir() else file)}
    assert wrong == {}
    assert (mode(layout.services) & 0o777, mode(layout.services / "cube.json")) == (0o700, 0o600)


def test_the_group_of_a_directory_is_handed_down(layout: Layout) -> None:
    layout.base.mkdir()
    layout.base.chmod(0o2750)
    database = Database.create(layout)
    assert mode(database.layout.patient_dir) == 0o2750


@pytest.mark.parametrize("number", [3, 4])
def test_they_can_be_changed_for_new_files(layout: Layout, golden_corpus: Path, number: int) -> None:
    file_all(Database.create(layout, format=number), golden_corpus)
    before = {path: mode(path) for path in layout.base.rglob("*") if path != layout.format_file}
    assert set_share(layout, Share.OWNER).share is Share.OWNER
    assert {path: mode(path) for path in before} == before
    Database.open_or_create(layout).note_peer("A@b:1", {"x": 1})
    assert mode(layout.peers_file) == 0o600


def test_a_basemount_of_pypx_is_for_the_group_until_told(layout: Layout) -> None:
    layout.patient_dir.mkdir(parents=True)
    (layout.patient_dir / "1.json").write_text("{}")
    found = read_format(layout)
    assert found is not None
    assert found.modes == Modes(0o750, 0o640)
    assert not layout.format_file.exists()
    assert set_share(layout, Share.GROUP_WRITE).number == 3
    again = read_format(layout)
    assert again is not None
    assert (again.number, again.templates, again.push_templates) == (3, found.templates, found.push_templates)
    assert again.share is Share.GROUP_WRITE


def test_a_migration_keeps_what_is_said_of_them_and_what_it_does_not_know(layout: Layout) -> None:
    Database.create(layout, format=3, share=Share.OWNER)
    table = json.loads(layout.format_file.read_text())
    layout.format_file.write_text(json.dumps({**table, "later": [1]}))
    lift_format(Database.open(layout).layout)
    after = json.loads(layout.format_file.read_text())
    assert (after["format"], after["share"], after["later"]) == (4, "owner", [1])
    set_share(layout, Share.ALL)
    assert json.loads(layout.format_file.read_text())["later"] == [1]


@pytest.mark.parametrize("word", ["nobody", 750, None, ["owner"]])
def test_an_unknown_word_is_refused(layout: Layout, word: object) -> None:
    Database.create(layout)
    table = json.loads(layout.format_file.read_text())
    layout.format_file.write_text(json.dumps({**table, "share": word}))
    with pytest.raises(DatabaseError, match="its share is none of owner, group, group-write, all"):
        Database.open(layout)


@pytest.mark.parametrize("number", ["3", "4"])
def test_px_smdb_init_sets_them_also_later(layout: Layout, number: str) -> None:
    def init(*args: str) -> str:
        result = CliRunner().invoke(px, ["smdb", "init", "--basemount", str(layout.base), *args])
        assert result.exit_code == 0, result.stderr
        return result.stderr

    assert init("--format", number) == ""
    assert "already keeps its permissions" in init("--share", "owner")
    assert "permissions" not in init("--share", "owner")
    found = read_format(layout)
    assert found is not None
    assert (found.number, found.share) == (int(number), Share.OWNER)
