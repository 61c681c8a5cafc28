"""Temporary names in data/ that a killed process left, where files without a name are not to be had."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.workflows.placing import Placement, clear_parts, place
from pypx.workflows.repack import repack
from pypx.workflows.verify import VerifyOptions, verify
from support.corpus import make_series

STUCK = """
import errno, os, signal, sys
from pathlib import Path
from pypx.workflows import placing
opened = os.open
def no_unnamed(path, flags, *rest, **options):
    if flags & os.O_TMPFILE == os.O_TMPFILE:
        raise OSError(errno.EOPNOTSUPP, "no")
    return opened(path, flags, *rest, **options)
def half(reader, writer):
    os.write(writer, b"half")
    print("half", flush=True)
    signal.pause()
os.open, placing.copy_bytes = no_unnamed, half
placing.place(Path(sys.argv[1]), Path(sys.argv[2]), placing.Placement.COPY)
"""
"""Copies by a temporary name, and stays in the middle of it."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"all of it")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "series"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def stuck(source: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", STUCK, str(source), str(folder / "image.dcm")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "half\n"
            yield process
        finally:
            process.kill()


def part_of(folder: Path) -> Path:
    (part,) = folder.glob(".*.part")
    return part


def aged(path: Path) -> Path:
    os.utime(path, (time.time() - 3600,) * 2)
    return path


@pytest.fixture
def by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file without a name in this process, either."""
    opened = os.open

    def no_unnamed(path: Any, flags: int, *rest: int, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", no_unnamed)


def test_one_of_a_living_process_stays_however_old(stuck: subprocess.Popen[str], folder: Path) -> None:
    part = aged(part_of(folder))
    assert clear_parts(folder) == 0
    assert part.read_bytes() == b"half"
    stuck.kill()
    stuck.wait()
    assert clear_parts(folder) == 1
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("by_name")
def test_the_next_that_copies_there_removes_it(stuck: subprocess.Popen[str], folder: Path, source: Path) -> None:
    stuck.kill()
    stuck.wait()
    aged(part_of(folder))
    assert place(source, folder / "image.dcm", Placement.COPY)
    assert [path.name for path in folder.iterdir()] == ["image.dcm"]
    assert (folder / "image.dcm").read_bytes() == b"all of it"


def test_what_is_young_or_not_ours_stays(folder: Path, source: Path) -> None:
    names = {".0123456789abcdef.part", "0123456789abcdef.part", ".0123456789abcde.part", ".px-0123456789abcdef.part"}
    for name in names:
        (folder / name).write_bytes(b"x")
    for name in names - {".0123456789abcdef.part"}:
        aged(folder / name)
    (folder / ".00000000000000aa.part").symlink_to(aged(source))
    (folder / ".00000000000000bb.part").mkdir()
    os.mkfifo(aged_fifo := folder / ".00000000000000cc.part")
    aged(aged_fifo)
    assert clear_parts(folder) == 0
    assert source.exists()
    assert len(list(folder.iterdir())) == len(names) + 3
    aged(folder / ".0123456789abcdef.part")
    assert clear_parts(folder) == 1
    assert clear_parts(folder / "nowhere") == 0


@pytest.mark.parametrize("dry_run", [True, False])
def test_verify_removes_them(tmp_path: Path, dry_run: bool) -> None:
    made = make_series(tmp_path / "made", 2, 8, 8)
    database = Database.open_or_create(Layout.of_basemount(tmp_path / "base"))
    assert all(outcome.file for outcome in repack([made.directory], database))
    image = next(database.layout.data.rglob("*.dcm"))
    part = image.with_name(".0123456789abcdef.part")
    part.write_bytes(b"half")
    aged(part)
    (result,) = verify(database, VerifyOptions(dry_run=dry_run))
    assert result.ok
    assert part.exists() is dry_run
    assert len(list(database.layout.data.rglob("*.dcm"))) == 2
