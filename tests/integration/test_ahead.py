"""The processes of `px repack`: killed, orphaned, short of room; nothing is lost or left, and none outlives it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from support.corpus import Corpus, make_series
from support.dicom import dataset_bytes
from support.ports import wait_until
from support.pxrun import PxRunner, clean_environment, installed

FILES = 200
COPIED = {"PX_STOP_AT": "ahead.copied"}


@pytest.fixture(autouse=True)
def two_processors() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("with one processor px repack starts no process")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return make_series(tmp_path / "sent", FILES, 256, 256)


def children(pid: int) -> set[int]:
    with suppress(FileNotFoundError):
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return set()


def state(pid: int) -> str:
    """T: stopped; empty: gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def carry_on(pid: int) -> bool:
    """Let a process go on that has stopped, as it does with each message; whether it is gone."""
    if state(pid) == "T":
        os.kill(pid, signal.SIGCONT)
    return gone([pid])


def gone(pids: Iterable[int]) -> bool:
    return all(state(pid) in {"", "Z"} for pid in pids)  # Z: orphans of a container without an init


def files(basemount: Path) -> list[Path]:
    return [path for path in (basemount / "data").rglob("*") if path.is_file()]


def assert_whole(basemount: Path, corpus: Corpus) -> None:
    """Whatever has a name is whole, and whatever has a record is there."""
    known = {dataset_bytes(file.path) for file in corpus}
    found = files(basemount)
    assert {dataset_bytes(path) for path in found} <= known
    layout = Layout.of_basemount(basemount)
    database = Database.open(layout)
    for series in database.recorded_series():
        assert {layout.resolve(record.file) for record in database.images(series).values()} <= set(found)


def assert_all(px: PxRunner, basemount: Path, corpus: Corpus) -> None:
    assert_whole(basemount, corpus)
    assert len(files(basemount)) == len(corpus.files)
    px("smdb", "verify", "--deep", "--basemount", basemount).ok()


@pytest.mark.parametrize("victims", [1, 2])
def test_killed_with_copies_that_nobody_has_yet(px: PxRunner, basemount: Path, corpus: Corpus, victims: int) -> None:
    running = px.start("repack", "--basemount", basemount, corpus.directory, env=COPIED)
    wait_until(lambda: [state(pid) for pid in children(running.pid)] == ["T", "T"], "both processes have copied")
    assert files(basemount) == []
    workers = sorted(children(running.pid))
    for pid in workers[:victims]:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: all(carry_on(pid) for pid in workers[victims:]), "the other does its part")
    assert running.process.wait(30) == 0
    assert running.stderr() == ""
    assert gone(workers)
    assert_all(px, basemount, corpus)


def test_they_end_with_a_killed_px(px: PxRunner, basemount: Path, corpus: Corpus) -> None:
    running = px.start("repack", "--basemount", basemount, corpus.directory)
    wait_until(lambda: len(children(running.pid)) == 2 and files(basemount), "it files")
    workers = children(running.pid)
    os.kill(running.pid, signal.SIGKILL)  # itself, not its group
    assert running.process.wait(10) == -signal.SIGKILL
    wait_until(lambda: gone(workers), "its processes are gone")
    assert_whole(basemount, corpus)
    px("repack", "--basemount", basemount, corpus.directory).ok()
    assert_all(px, basemount, corpus)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_they_end_with_px_that_was_told_to(
    px: PxRunner, basemount: Path, corpus: Corpus, number: signal.Signals
) -> None:
    """They stand still with copies in their hands, so nothing comes from them any more."""
    running = px.start("repack", "--basemount", basemount, corpus.directory, env=COPIED)
    wait_until(lambda: [state(pid) for pid in children(running.pid)] == ["T", "T"], "both processes have copied")
    workers = children(running.pid)
    began = time.monotonic()
    os.kill(running.pid, number)
    assert running.process.wait(10) == 128 + number
    assert time.monotonic() - began < 3
    wait_until(lambda: gone(workers), "its processes are gone")
    assert files(basemount) == []
    px("repack", "--basemount", basemount, corpus.directory).ok()
    assert_all(px, basemount, corpus)


def test_a_bar_on_a_terminal_keeps_nobody_from_forking(basemount: Path, corpus: Corpus, tmp_path: Path) -> None:
    """The thread that draws it begins after that."""
    ours, theirs = pty.openpty()
    argv = [installed("px"), "repack", "--basemount", str(basemount), str(corpus.directory)]
    environment = clean_environment(tmp_path / "home", COPIED)
    try:
        with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=theirs) as running:
            try:
                wait_until(lambda: len(children(running.pid)) == 2, "it has forked")
            finally:
                running.terminate()
    finally:
        os.close(ours)
        os.close(theirs)


def test_few_files_start_none(px: PxRunner, basemount: Path, tmp_path: Path) -> None:
    few = make_series(tmp_path / "few", 31, 256, 256)
    running = px.start("repack", "--basemount", basemount, few.directory, env={"PX_STOP_AT": "filing.placed"})
    wait_until(lambda: state(running.pid) == "T", "it has begun")
    assert children(running.pid) == set()
