from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pypx.db import files, tables
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import DatabaseError, LockTimeoutError
from support.dbwork import append_to_a_full_disk, count_up, together, use_without_permission


@pytest.fixture(params=[0o000, 0o022, 0o077])
def any_umask(request: pytest.FixtureRequest) -> Iterator[int]:
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_absent_is_not_empty(tmp_path: Path) -> None:
    assert tables.read_table(tmp_path / "none.json") is None
    assert tables.read_table(tmp_path / "no" / "where" / "none.json") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"a": 1}x', b"\xff\xfe{}", b'"text"', b"[" * 100_000])
def test_what_does_not_parse_is_an_error_and_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(content)
    with pytest.raises(DatabaseError, match=r"t\.json: not a table"):
        tables.read_table(path)
    with pytest.raises(DatabaseError, match=r"t\.json"):
        tables.update_table(path, tmp_path / "l.lock", lambda _table: {"a": 1})
    assert path.read_bytes() == content


def test_a_table_that_pypx_is_just_writing_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(b"")
    monkeypatch.setattr("pypx.db.tables.time.sleep", lambda _s: path.write_text('{"a": 1}'))
    assert tables.read_table(path) == {"a": 1}


def test_a_table_looks_as_pypx_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    table = {"1.2": {"PatientName": "MÜLLER^JÖRG", "StudyList": ["1"], "n": 1, "ok": True}}
    assert tables.update_table(path, tmp_path / "l.lock", lambda _table: table) == table
    assert path.read_text() == json.dumps(table, indent=4)
    assert path.read_text().isascii()


def test_only_a_change_replaces_the_file(tmp_path: Path) -> None:
    path, lock = tmp_path / "t.json", tmp_path / "l.lock"
    tables.update_table(path, lock, lambda _table: {"a": {"b": 1}})
    inode = path.stat().st_ino

    def spoil(table: dict[str, object]) -> None:
        table["a"] = 2

    assert tables.update_table(path, lock, dict) == {"a": {"b": 1}}
    assert tables.update_table(path, lock, spoil) == {"a": {"b": 1}}
    assert path.stat().st_ino == inode

    def in_place(table: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        table["a"]["b"] = 3
        return table

    tables.update_table(path, lock, in_place)
    assert tables.read_table(path) == {"a": {"b": 3}}
    assert path.stat().st_ino != inode


def test_leaving_an_absent_table_alone_creates_none(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "t.json"
    assert tables.update_table(path, tmp_path / "l.lock", lambda _table: None) == {}
    assert not path.parent.exists()


def test_modes_do_not_depend_on_the_umask(tmp_path: Path, any_umask: int) -> None:
    path = tmp_path / "new" / "sub" / "t.json"
    tables.update_table(path, tmp_path / "locks" / "l.lock", lambda _table: {"a": 1})
    tables.make_dirs(tmp_path / "secret", 0o700)
    tables.write_file(tmp_path / "secret" / "s.json", b"{}", 0o600)
    tables.append_lines(tmp_path / "new" / "l.jsonl", ["{}"])
    found = {name: oct(mode(tmp_path / name)) for name in ("new", "new/sub", "locks", "secret")}
    assert found == {"new": "0o750", "new/sub": "0o750", "locks": "0o750", "secret": "0o700"}
    assert [oct(mode(file)) for file in (path, tmp_path / "secret" / "s.json", tmp_path / "new" / "l.jsonl")] == [
        "0o640",
        "0o600",
        "0o640",
    ]
    assert oct(mode(tmp_path / "locks" / "l.lock")) == "0o640"


def test_the_group_of_a_shared_directory_is_handed_down(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2770)
    tables.make_dirs(shared / "sub")
    assert oct(mode(shared / "sub")) == "0o2750"
    assert oct(mode(shared)) == "0o2770"


def test_a_failing_write_leaves_the_old_table_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.json"
    tables.write_file(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        DatabaseError, match=r"t\.json: cannot write: No space left on device; free some space"
    ) as caught:
        tables.write_file(path, b"new")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["t.json"]


def test_a_write_cut_in_its_middle_is_undone(tmp_path: Path) -> None:
    together(append_to_a_full_disk, tmp_path, 100, processes=1)
    assert (tmp_path / "full.jsonl").read_text() == '{"a": 1}\n'
    assert (tmp_path / "full.json").read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["full.json", "full.jsonl"]


@pytest.mark.parametrize(
    "attempt",
    [
        lambda path: tables.make_dirs(path / "sub"),
        tables.make_dirs,
        lambda path: tables.write_file(path / "t.json", b""),
        lambda path: tables.append_lines(path / "l.jsonl", ["{}"]),
        lambda path: tables.read_table(path / "t.json"),
        lambda path: tables.read_lines(path / "l.jsonl"),
        lambda path: tables.update_table(path / "t.json", path.parent / "l.lock", lambda table: {"a": 1}),
        lambda path: tables.update_table(path.parent / "t.json", path / "l.lock", lambda table: {"a": 1}),
        lambda path: tables.sync_filesystem(path / "x"),
    ],
)
def test_a_file_in_the_place_of_a_directory_is_one_clear_line(
    tmp_path: Path, attempt: Callable[[Path], object]
) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(DatabaseError, match=r"cannot .*Not a directory; a file is in the place") as caught:
        attempt(path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.EROFS, "mounted read-only"),
        (errno.EACCES, "owner of the BASEMOUNT"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "check the disk"),
    ],
)
def test_each_cause_has_its_advice(tmp_path: Path, code: int, advice: str) -> None:
    with pytest.raises(DatabaseError, match=advice) as caught, files.os_errors("write", tmp_path / "a\nb"):
        raise OSError(code, os.strerror(code))
    assert os.strerror(code) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_basemount_without_permission_is_an_error(tmp_path: Path) -> None:
    layout = Layout.of_basemount(tmp_path / "closed")
    Database.open_or_create(layout)
    layout.base.chmod(0o000)
    try:
        together(use_without_permission, layout.base, 0, processes=1)
    finally:
        layout.base.chmod(0o700)


def test_a_held_lock_ends_in_a_timeout_that_says_so(tmp_path: Path) -> None:
    lock, taken, done = tmp_path / "l.lock", threading.Event(), threading.Event()

    def hold() -> None:
        with tables.locked(lock):
            taken.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert taken.wait(60)
        with pytest.raises(LockTimeoutError, match=r"l\.lock: held by another process for more than 0\.05 s"):
            tables.update_table(tmp_path / "t.json", lock, lambda _table: {"a": 1}, timeout_s=0.05)
    finally:
        done.set()
        holder.join()
    assert not (tmp_path / "t.json").exists()
    with tables.locked(lock, timeout_s=0):
        pass
    assert lock.exists()


def test_a_failing_change_releases_the_lock(tmp_path: Path) -> None:
    def fail(_table: dict[str, object]) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        tables.update_table(tmp_path / "t.json", tmp_path / "l.lock", fail)
    with tables.locked(tmp_path / "l.lock", timeout_s=0):
        pass


def test_eight_processes_on_one_table_lose_nothing(tmp_path: Path) -> None:
    together(count_up, tmp_path, 15)
    assert tables.read_table(tmp_path / "n.json") == {"n": 120}
    assert sorted(file.name for file in tmp_path.iterdir()) == [".locks", "n.json"]


def test_the_file_system_can_be_synced(tmp_path: Path) -> None:
    tables.sync_filesystem(tmp_path)
    with pytest.raises(DatabaseError, match="cannot sync"):
        tables.sync_filesystem(tmp_path / "none")
