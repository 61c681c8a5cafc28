"""Folders of the spool: who lives in them, and which files are closed."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from pypx.errors import DatabaseError
from pypx.workflows import spool
from pypx.workflows.spool import AssociationFolder


@pytest.fixture
def listener(tmp_path: Path) -> Path:
    folder, lock = spool.create_listener(tmp_path / "incoming")
    os.close(lock)
    return folder


def test_a_listener_is_known_to_live_until_its_lock_is_freed(tmp_path: Path) -> None:
    folder, lock = spool.create_listener(tmp_path / "incoming")
    assert spool.listeners(tmp_path / "incoming") == [folder]
    assert spool.take_lock(folder) is None
    heir = os.dup(lock)
    os.close(lock)
    assert spool.take_lock(folder) is None, "another process of the listener still holds it"
    os.close(heir)
    taken = spool.take_lock(folder)
    assert taken is not None
    assert spool.take_lock(folder) is None
    assert spool.remove_folder(folder)
    os.close(taken)
    assert spool.take_lock(folder) is None
    assert spool.listeners(tmp_path / "incoming") == []


def test_a_folder_with_files_is_not_removed(listener: Path) -> None:
    folder, lock = spool.create_association(listener, 1)
    os.close(lock)
    (folder / "CT.1").write_bytes(b"x")
    assert not spool.remove_folder(folder)
    assert not spool.remove_folder(listener)
    assert (folder / "CT.1").exists()
    (folder / "CT.1").unlink()
    assert spool.remove_folder(folder)
    assert spool.remove_folder(listener)


def test_a_folder_that_never_got_its_name_is_nobodys_and_goes_with_its_listener(listener: Path) -> None:
    unborn = listener / ".new-00000001"
    unborn.mkdir()
    (unborn / spool.LOCK).touch()
    assert spool.associations(listener) == []
    assert spool.remove_folder(listener)


def test_a_folder_that_cannot_be_locked_is_an_error_and_leaves_nothing(
    listener: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(DatabaseError, match="No locks available"):
        spool.create_association(listener, 1)
    assert [path.name for path in listener.iterdir()] == [spool.LOCK]


def test_associations_come_in_order_and_files_are_counted(listener: Path) -> None:
    for number in (11, 2, 1):
        folder, lock = spool.create_association(listener, number)
        os.close(lock)
        for name in range(number):
            (folder / f"CT.{name}").write_bytes(b"")
    assert [int(path.name) for path in spool.associations(listener)] == [1, 2, 11]
    assert spool.waiting(listener, 100) == 14
    assert spool.waiting(listener, 5) == 5


def test_files_of_a_living_association_are_closed_two_looks_before_the_newest_name(listener: Path) -> None:
    path, lock = spool.create_association(listener, 1)
    folder = AssociationFolder(path)

    def look(*names: str) -> list[str]:
        for name in names:
            (path / name).touch()
        return folder.closed()

    assert look() == []
    assert look("a") == []
    assert look() == []
    assert look() == [], "nothing came after it"
    assert look("b") == ["a"]
    assert look("c") == ["a"], "b was there one look ago only: c may have been overlooked then, and be older"
    assert look("d") == ["a", "b"]
    os.utime(path / "d", (0, 0))
    assert look() == ["a", "b"], "no clock is asked"
    for name in "abc":
        (path / name).unlink()
    assert look() == []
    assert look("e") == ["d"]
    os.close(lock)
    assert look() == ["d", "e"]
    assert folder.ended


def test_a_folder_that_has_gone_has_ended(listener: Path) -> None:
    path, lock = spool.create_association(listener, 1)
    folder = AssociationFolder(path)
    os.close(lock)
    spool.remove_folder(path)
    assert folder.closed() == []
    assert folder.ended
