"""Too much at once, for too long, by too many: senders that never stop, a full spool, many writers, clocks that jump."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from pypx.db import files, tables
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.records import ImageRecord
from pypx.workflows import spool
from pypx.workflows.repack import repack
from support.corpus import Corpus, make_series
from support.dbwork import instance, record
from support.listening import SMALL, Listener, Start, assert_filed, leave_behind, recorded
from support.ports import wait_until
from support.pxrun import PxRunner

LONG = bool(os.environ.get("PX_TEST_LONG"))
WAITING = 10_000 if LONG else 3_000
MANY = 20_000 if LONG else 2_500
MEMORY = 200 << 20
LIVELY_S = 10.0
"""A new instance is on record after so many seconds, however many old ones wait."""


class Largest:
    """The largest memory of a listener and its worker so far (PSS, bytes)."""

    memory = 0


@contextmanager
def sampled(listener: Listener) -> Iterator[Largest]:
    """Sample the memory of a listener and its worker within a block, every 50 ms."""
    stop, largest = threading.Event(), Largest()

    def sample() -> None:
        while not stop.wait(0.05):
            pids = [listener.px.pid, *listener.children("python")]
            largest.memory = max(largest.memory, sum(_memory(pid) for pid in pids))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield largest
    finally:
        stop.set()
        thread.join()


def _memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def test_senders_that_never_stop(listen: Start, tmp_path: Path) -> None:
    """The worker is held up: beyond the backlog new senders wait; nothing grows but the number of files."""
    corpus = make_series(tmp_path / "series", MANY // 4, 16, 16)
    listener = listen("--max-backlog", "100")
    (worker,) = listener.children("python")
    with sampled(listener) as largest:
        os.kill(worker, signal.SIGSTOP)
        listener.send(corpus.directory)
        listener.wait_for("paused")
        for _ in range(3):
            listener.send(corpus.directory)
        listener.senders[0].wait(60)
        assert len(listener.events("association-opened")) == 1, "the others wait at the door"
        os.kill(worker, signal.SIGCONT)
        listener.wait_for("association-ended", 4, timeout=120)
    assert 0 < largest.memory < MEMORY
    ended = listener.events("association-ended")
    assert sum(event["files"] for event in ended) == len(corpus.files) * 4
    assert listener.acknowledged() == {file.SOPInstanceUID for file in corpus}
    listener.stop()
    assert_filed(listener.layout, corpus)


def have_come(layout: Layout, corpus: Corpus) -> bool:
    return len(recorded(layout, corpus.series())) == len(corpus.files)


def test_ten_thousand_that_wait_do_not_starve_one_that_comes(listen: Start, basemount: Path, tmp_path: Path) -> None:
    waiting = make_series(tmp_path / "old", WAITING, 4, 4, seed="old")
    layout = Layout.of_basemount(basemount)
    folder = leave_behind(layout, waiting, per_folder=WAITING)
    listener = listen("--max-backlog", "100")
    with sampled(listener) as largest:
        for number in range(3):
            new = make_series(tmp_path / f"new-{number}", 2, SMALL, SMALL, seed=f"new-{number}")
            began = time.monotonic()
            listener.send(new.directory)
            wait_until(partial(have_come, layout, new), "the new ones are on record")
            assert time.monotonic() - began < LIVELY_S
            if number == 0:
                assert folder.exists(), "the old ones are still being filed"
        wait_until(lambda: not folder.exists(), "the old folder is worked off", timeout=300)
    assert 0 < largest.memory < MEMORY
    assert len(recorded(layout, waiting.series())) == WAITING
    listener.stop()


@pytest.mark.parametrize("same_series", [True, False] if LONG else [True])
def test_two_listeners_and_a_repack_on_one_basemount(
    listen: Start, px: PxRunner, basemount: Path, tmp_path: Path, same_series: bool
) -> None:
    parts = [make_series(tmp_path / f"{n}", 40, 16, 16, seed="one" if same_series else n) for n in range(3)]
    first, second = listen(), listen()
    first.send(parts[0].directory)
    second.send(parts[1].directory)
    px("repack", "--basemount", basemount, parts[2].directory).ok()
    first.wait_for("association-ended")
    second.wait_for("association-ended")
    first.stop()
    second.stop()
    everything = {file.SOPInstanceUID: file for part in parts for file in part}
    assert_filed(first.layout, everything.values())
    px("smdb", "verify", "--basemount", basemount).ok()


HOLDER = """
import os, sys, time
from pathlib import Path
from pypx.db.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_of_a_dead_process_holds_nobody_up(px: PxRunner, basemount: Path, tmp_path: Path) -> None:
    """While its holder lives, others wait; when it is killed, they go on at once."""
    corpus = make_series(tmp_path / "series", 2, 16, 16)
    (series,) = corpus.series()
    layout = Layout.of_basemount(basemount)
    px("smdb", "init", "--basemount", basemount).ok()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(layout.lock("filing", series))], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        running = px.start("repack", "--basemount", basemount, corpus.directory)
        wait_until(lambda: list(layout.data.rglob("*.dcm")), "the files have their names")
        assert running.process.poll() is None
        assert recorded(layout, [series]) == {}
        began = time.monotonic()
        holder.kill()
    assert running.process.wait(20) == 0
    assert time.monotonic() - began < 5
    assert len(recorded(layout, [series])) == 2


def test_a_temporary_file_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    table = tmp_path / "t.json"
    tables.write_file(table, b"1")
    left, descriptor = files._open_temporary(tmp_path, "t.json", 0o640)
    os.write(descriptor, b"half of what somebody else wri")
    tables.write_file(table, b"2")
    assert table.read_bytes() == b"2"
    assert left.read_bytes() == b"half of what somebody else wri"
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
    tables.write_file(table, b"3")
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"], "what a dead one left is used up"


def test_received_times_in_the_future_change_nothing(basemount: Path, tmp_path: Path) -> None:
    """The clock jumped back: a later line wins by its place, not by its time."""
    layout = Layout.of_basemount(basemount)
    database = Database.open_or_create(layout)
    future = "2126-01-01T00:00:00.000000Z"
    old, new = record("1.2.3.9", "data/old"), record("1.2.3.9", "data/new")
    database.add_images([(instance("1.2.3.9"), ImageRecord(old.SOPInstanceUID, old.file, old.size, future))])
    database.add_images([(instance("1.2.3.9"), new)])
    found = Database.open(layout).images(UID("1.2.3"))
    assert found[UID("1.2.3.9")].file == new.file
    corpus = make_series(tmp_path / "series", 2, 16, 16)
    for path in (basemount / "log").rglob("*"):
        os.utime(path, (5e9, 5e9))
    list(repack([corpus.directory], database))
    assert len(recorded(layout, corpus.series())) == 2


JUMPING = """
import sys, time, itertools
steps = itertools.count()
real = time.time
time.time = lambda: real() - 3600 * (next(steps) % 3)
from pypx.workflows import filing
class Clock(filing.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().fromtimestamp(time.time(), tz)
filing.datetime = Clock
from pypx.workflows.receiver import main
"""
PATCHED = """
import sys
from pypx.cli.main import run
from pypx.workflows import worker
code = sys.argv.pop(1)
worker._PROGRAM = worker._PROGRAM.replace("from pypx.workflows.receiver import main", "exec(" + repr(code) + ")")
exec(code.replace("from pypx.workflows.receiver import main", ""))
run()
"""


def test_a_clock_that_jumps(px: PxRunner, basemount: Path, tmp_path: Path) -> None:
    """Each look at the clock is an hour off the last: no limit of time ends early or never, and all is filed."""
    corpus = make_series(tmp_path / "series", 40, 16, 16)
    layout = Layout.of_basemount(basemount)
    folder = leave_behind(layout, corpus)
    options = ["listen", "--basemount", str(basemount), "--port", "0", "--bind", "127.0.0.1", "--jsonl"]
    running = px.start("-c", PATCHED, JUMPING, *options, "--min-free", "1M", command="python")
    listener = Listener(running, 0, layout, tmp_path)
    port = listener.wait_for("ready")[0]["port"]
    listener = Listener(running, port, layout, tmp_path)
    more = make_series(tmp_path / "more", 40, 16, 16, seed="more")
    try:
        listener.send(more.directory)
        listener.wait_for("association-ended")
    finally:
        for sender in listener.senders:
            sender.kill()
            sender.wait()
    wait_until(lambda: not folder.exists(), "the old folder is worked off")
    listener.stop()
    assert_filed(layout, [*corpus, *more])
    times = [
        json.loads(line)["received"]
        for series in {*corpus.series(), *more.series()}
        for line in layout.image_log(series).read_text().splitlines()
    ]
    assert len({text[:13] for text in times}) > 1, "the clock did jump"
    assert spool.listeners(layout.incoming) == []
