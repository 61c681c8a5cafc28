"""Recording beside the filing: in order, one batch at a time, and what fails there is told."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypx.db import files
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import DatabaseError
from pypx.model.fileoutcomes import FileOutcome
from pypx.model.identifiers import UID
from pypx.model.records import Instance
from pypx.workflows import filing, spool
from pypx.workflows.batches import Batch
from pypx.workflows.filing import Filer, FilingOptions
from pypx.workflows.note import Note
from pypx.workflows.placing import Placement
from pypx.workflows.receiver import Channel, Worker
from pypx.workflows.recorder import Recorder
from pypx.workflows.spool import AssociationFolder
from support.corpus import Corpus, make_series

FILES = 10


class Disk(Filer):
    """A filer whose disk takes its time: it records when `ready` says so, or not at all."""

    ready: threading.Event
    error: Exception | None

    def record(self, batch: Batch) -> list[FileOutcome]:
        assert self.ready.wait(20)
        if self.error is not None:
            raise self.error
        return super().record(batch)


@pytest.fixture
def made(tmp_path: Path) -> Corpus:
    return make_series(tmp_path / "sent", FILES, 8, 8)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(filing, "BATCH_FILES", 4)
    database = Database.open_or_create(Layout.of_basemount(tmp_path / "base"))
    made = Disk(database, FilingOptions(Placement.COPY))
    made.ready, made.error = threading.Event(), None
    return made


@pytest.fixture
def recorder(disk: Disk) -> Iterator[Recorder]:
    made = Recorder(disk)
    yield made
    disk.ready.set()
    made.close()


def test_the_next_batch_is_filled_while_one_is_recorded(disk: Disk, recorder: Recorder, made: Corpus) -> None:
    for file in made.files[:4]:
        disk.add(file.path)
    recorder.begin()
    assert (recorder.busy, recorder.done, disk.full) == (True, False, False)
    for file in made.files[4:8]:
        disk.add(file.path)
    assert disk.full
    disk.ready.set()
    assert [outcome.source for outcome in recorder.outcomes()] == [file.path for file in made.files[:4]]
    assert (recorder.busy, recorder.outcomes()) == (False, [])
    assert [outcome.source for outcome in recorder.last()] == [file.path for file in made.files[4:8]]
    assert len(disk.database.images(UID(made.files[0].SeriesInstanceUID))) == 8


def test_what_fails_is_told_to_whoever_takes_the_outcomes_or_gives_up(
    disk: Disk, recorder: Recorder, made: Corpus
) -> None:
    disk.error = DatabaseError("no room")
    disk.ready.set()
    for _ in range(2):
        disk.add(made.files[0].path)
        recorder.begin()
        if disk.error is not None:
            with pytest.raises(DatabaseError, match="no room"):
                recorder.outcomes()
        assert not recorder.busy
    disk.add(made.files[0].path)
    recorder.begin()
    recorder.give_up()
    assert not recorder.busy


def test_a_single_batch_starts_no_thread(disk: Disk, made: Corpus) -> None:
    disk.ready.set()
    before = threading.active_count()
    disk.add(made.files[0].path)
    assert len(Recorder(disk).last()) == 1
    assert threading.active_count() == before


def test_a_series_is_announced_beside(
    disk: Disk, recorder: Recorder, made: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever files does not wait for it; what fails there fails again, and is told, when the batch is recorded."""
    go, by = threading.Event(), set()

    def refuse(_database: Database, _instance: Instance, _folder: Path) -> None:
        assert go.wait(20)
        by.add(threading.current_thread() is threading.main_thread())
        raise DatabaseError("no table")

    monkeypatch.setattr(Database, "add_headers", refuse)
    recorder.announce_beside()
    for file in made.files[:3]:
        disk.add(file.path)
    recorder.begin()
    assert by == set()
    go.set()
    disk.ready.set()
    with pytest.raises(DatabaseError, match="no table"):
        recorder.outcomes()
    assert by == {False}


class Spooled:
    """A worker on a spool with one association that has ended."""

    def __init__(self, disk: Disk, made: Corpus) -> None:
        layout = disk.layout
        self.own, self.lock = spool.create_listener(layout.incoming)
        self.folder, lock = spool.create_association(self.own, 1)
        for file in made.files:
            (self.folder / file.path.name).write_bytes(file.path.read_bytes())
        os.close(lock)
        spool.mark_ended(self.folder, well=True)
        self.ours, self.theirs = socket.socketpair()
        self.note = os.memfd_create("note")
        self.worker = Worker(disk, self.own, Channel(self.theirs.fileno()), Note(self.note))

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()
        os.close(self.note)
        os.close(self.lock)


@pytest.fixture
def spooled(disk: Disk, made: Corpus) -> Iterator[Spooled]:
    disk.options = FilingOptions(Placement.MOVE)
    found = Spooled(disk, made)
    yield found
    disk.ready.set()
    found.close()


def test_a_listener_files_on_while_the_disk_takes_its_time(disk: Disk, spooled: Spooled, made: Corpus) -> None:
    runner = threading.Thread(target=spooled.worker.run)
    runner.start()
    try:
        deadline = threading.Event()
        for _ in range(400):
            named = sum(path.is_file() for path in disk.layout.data.rglob("*"))
            if named >= 8 or deadline.wait(0.02):
                break
        assert named == 8, "four are being recorded, and four more have got their names meanwhile"
        assert disk.database.images(UID(made.files[0].SeriesInstanceUID)) == {}
        assert len(spool.files(spooled.folder)) == FILES, "a source goes only when its record is durable"
    finally:
        spooled.ours.shutdown(socket.SHUT_WR)
        disk.ready.set()
        runner.join(20)
    assert not runner.is_alive()
    assert len(Database.open(disk.layout).images(UID(made.files[0].SeriesInstanceUID))) == FILES
    assert not spooled.folder.exists()
    with socket.fromfd(spooled.ours.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as heard:
        heard.settimeout(5)
        told = heard.recv(1 << 16).decode()
    assert (
        sum(int(line.rpartition('"files": ')[2].rstrip("}")) for line in told.splitlines() if "filed" in line) == FILES
    )


def test_a_wake_ends_the_sleep_of_a_listener(spooled: Spooled) -> None:
    """Also one that came before it, and many at once; none of them is heard twice."""
    channel = Channel(spooled.theirs.fileno())
    for _ in range(100_000):
        channel.wake()
    began = time.monotonic()
    channel.wait(20)
    threading.Timer(0.05, channel.wake).start()
    channel.wait(0)  # what is left of the many
    channel.wait(20)
    assert time.monotonic() - began < 10
    assert channel.open


def test_a_listener_looks_at_a_steady_pace_however_fast_files_come(disk: Disk, spooled: Spooled) -> None:
    """A look for each file takes longer than to file it."""
    disk.ready.set()
    folder, lock = spool.create_association(spooled.own, 2)
    looks: list[float] = []
    closed = AssociationFolder.closed

    def counted(self: AssociationFolder) -> list[str]:
        if self.path == folder:
            looks.append(time.monotonic())
        return closed(self)

    runner = threading.Thread(target=spooled.worker.run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AssociationFolder, "closed", counted)
        patch.setattr(filing, "BATCH_FILES", 256)
        runner.start()
        began = time.monotonic()
        series = make_series(disk.layout.base / "more", 300, 8, 8, seed=7)
        for file in series.files:
            (folder / file.path.name).write_bytes(file.path.read_bytes())
            time.sleep(0.002)
        lasted = time.monotonic() - began
        os.close(lock)
        spool.mark_ended(folder, well=True)
        spooled.ours.shutdown(socket.SHUT_WR)
        runner.join(20)
    assert not runner.is_alive()
    during = [look for look in looks if look < began + lasted]
    assert 3 < len(during) < lasted / 0.02 + 15
    assert len(Database.open(disk.layout).images(UID(series.files[0].SeriesInstanceUID))) == 300


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """What the kernel is told to begin to write: size of the file, offset, length, flags."""
    told: list[tuple[int, ...]] = []

    def spy(descriptor: int, *others: int) -> int:
        told.append((os.fstat(descriptor).st_size, *others))
        return -1  # no harm if it fails

    monkeypatch.setattr(files, "_sync_file_range", lambda: spy)
    return told


def test_the_disk_begins_with_each_copy(disk: Disk, made: Corpus, begun: list[tuple[int, ...]]) -> None:
    filer = Filer(disk.database, FilingOptions(Placement.COPY))
    for file in made.files[:3]:
        filer.add(file.path)
    assert len(filer.commit()) == 3
    assert begun == [(file.path.stat().st_size, 0, 0, 2) for file in made.files[:3]]


def test_the_disk_begins_with_what_comes_once_it_is_seen(
    disk: Disk, spooled: Spooled, made: Corpus, begun: list[tuple[int, ...]]
) -> None:
    disk.ready.set()
    spooled.ours.shutdown(socket.SHUT_WR)
    assert spooled.worker.run()
    assert begun == [(file.path.stat().st_size, 0, 0, 2) for file in made.files]
    assert len(Database.open(disk.layout).images(UID(made.files[0].SeriesInstanceUID))) == FILES


def test_a_system_that_cannot_begin_early_files_all_the_same(
    disk: Disk, made: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_sync_file_range", lambda: None)
    files.begin_to_write(made.files[0].path)
    files.begin_to_write(made.files[0].path / "none")
    filer = Filer(disk.database, FilingOptions(Placement.COPY))
    filer.add(made.files[0].path)
    assert len(filer.commit()) == 1


def test_the_kernel_knows_the_call(made: Corpus) -> None:
    function = files._sync_file_range()
    assert function is not None
    with made.files[0].path.open("rb") as file:
        assert function(file.fileno(), 0, 0, 2) == 0
        assert function(file.fileno(), -1, 0, 2) == -1
