"""Processes that read and copy ahead: what comes of the files is the same as without, whatever becomes of them."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.workflows import ahead, filing, line
from pypx.workflows.ahead import Ahead
from pypx.workflows.batches import Entry
from pypx.workflows.copying import GivenUpError
from pypx.workflows.placing import Placement
from pypx.workflows.repack import RepackOptions, repack
from support.corpus import make_series
from support.dicom import dataset_bytes

LARGE, SMALL = 40, 30
UNREADABLE = "d-nobody-may-read-this.dcm"


class Place:
    """Files to repack, BASEMOUNTs to file them in, and what the processes handed back."""

    def __init__(self, directory: Path) -> None:
        self.sent = directory / "sent"
        self.directory = directory
        self.taken: list[Entry | None] = []
        self.copies = 0
        make_series(self.sent, LARGE, 200, 200)

    def layout(self, name: str = "base") -> Layout:
        return Layout.of_basemount(self.directory / name)

    def repack(self, name: str = "base", processes: int = 2, **options: Any) -> list[FileOutcome]:
        database = Database.open_or_create(self.layout(name))
        return list(repack([self.sent], database, RepackOptions(processes=processes, **options)))

    def tree(self, name: str) -> dict[str, bytes]:
        data = self.layout(name).data
        return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}

    def assert_all_filed(self, name: str = "base") -> None:
        layout = self.layout(name)
        files = self.recorded(name)
        assert files == {path for path in layout.data.rglob("*") if path.is_file()}
        sent = [path for path in self.sent.rglob("*") if path.is_file()]
        assert len(files) == len(sent)
        assert {dataset_bytes(path) for path in files} == {dataset_bytes(path) for path in sent}

    def recorded(self, name: str = "base") -> set[Path]:
        layout = self.layout(name)
        database = Database.open(layout)
        return {
            layout.resolve(record.file)
            for series in database.recorded_series()
            for record in database.images(series).values()
        }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Small batches; in the end neither a process nor a descriptor more than at the beginning."""
    monkeypatch.setattr(filing, "BATCH_FILES", 7)
    monkeypatch.setattr(line, "may_fork", lambda: True)  # whatever threads whoever runs the tests may have
    made = Place(tmp_path)
    take = Ahead.take

    def taken(self: Ahead) -> Entry | None:
        begun = take(self)
        made.taken.append(begun)
        made.copies += begun is not None and begun.copying is not None
        return begun

    monkeypatch.setattr(Ahead, "take", taken)
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield made
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert multiprocessing.active_children() == []


@pytest.fixture
def mixed(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Large and small files, duplicates and conflicts before and after their like, and files that cannot be filed."""
    for file in make_series(place.directory / "small", SMALL, 16, 16, seed=1):
        shutil.copy(file.path, place.sent / f"s-{file.path.name}")
    names = sorted(place.sent.iterdir())
    for number in (0, 1, 20, 50):
        shutil.copy(names[number], place.sent / f"{names[number].name}.again")
        changed = bytearray(names[number].read_bytes())
        changed[-1] ^= 0xFF
        (place.sent / f"{names[number].name}.other").write_bytes(changed)
        (place.sent / f"0-{names[number].name}.late").write_bytes(changed)
    (place.sent / "b-cut.dcm").write_bytes(names[3].read_bytes()[:-100])
    (place.sent / "c-text.dcm").write_text("no image")
    (place.sent / "e-empty.dcm").touch()
    (place.sent / UNREADABLE).touch()
    opened, may = os.open, os.access

    def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if str(path).endswith(UNREADABLE):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "access", lambda path, *rest: not str(path).endswith(UNREADABLE) and may(path, *rest))
    return place


def told(outcomes: list[FileOutcome], layout: Layout) -> list[FileOutcome]:
    """The outcomes without what differs from BASEMOUNT to BASEMOUNT."""
    return [
        replace(one, file=None if one.file is None else Path(layout.relative(one.file)), crc32=None)
        for one in outcomes
    ]  # fmt: skip


@pytest.mark.parametrize("placement", list(Placement))
@pytest.mark.parametrize("image", [None, "%Modality.dcm"])
def test_it_is_the_same_as_without_processes(mixed: Place, placement: Placement, image: str | None) -> None:
    default = Database.open(mixed.layout()).templates
    templates = None if image is None else replace(default, image=image)
    kept = mixed.directory / "kept"
    shutil.copytree(mixed.sent, kept)
    without = mixed.repack("without", processes=0, placement=placement, templates=templates)
    assert mixed.taken == []
    mixed.sent.rename(mixed.directory / "done")
    shutil.copytree(kept, mixed.sent)
    outcomes = mixed.repack("with", placement=placement, templates=templates)
    assert told(outcomes, mixed.layout("with")) == told(without, mixed.layout("without"))
    assert mixed.tree("with") == mixed.tree("without")
    assert {one.state for one in outcomes} == set(FileState)
    assert sum(one is None for one in mixed.taken) == 4, "all but those that are refused"
    assert sorted(path.name for path in mixed.sent.iterdir()) == sorted(
        path.name for path in kept.iterdir() if placement is not Placement.MOVE or path.name in left(outcomes)
    )
    if placement is Placement.COPY:
        filed = [one for one in outcomes if one.state is FileState.FILED]
        assert all(one.crc32 for one in filed), "the processes made the checksums on the way"


def left(outcomes: list[FileOutcome]) -> set[str]:
    return {one.source.name for one in outcomes if one.state is FileState.REJECTED}


@pytest.mark.parametrize("victims", [1, 2])
@pytest.mark.parametrize("after", [0, 20, 39])
def test_what_a_dead_process_had_is_done_here(
    place: Place, monkeypatch: pytest.MonkeyPatch, victims: int, after: int
) -> None:
    take, taken = Ahead.take, [0]

    def kill(self: Ahead) -> Entry | None:
        if taken[0] == after:
            for worker in self._workers[:victims]:
                os.kill(worker._process.pid or 0, signal.SIGKILL)
        taken[0] += 1
        return take(self)

    monkeypatch.setattr(Ahead, "take", kill)
    assert {one.state for one in place.repack()} == {FileState.FILED}
    place.assert_all_filed()


def test_who_stops_in_the_midst_gives_up_what_was_handed_back(place: Place) -> None:
    layout = place.layout()
    make_series(place.sent / "more", 60, 200, 200, seed=2)
    outcomes = repack([place.sent], Database.open_or_create(layout), RepackOptions(processes=2))
    next(outcomes)
    outcomes.close()
    placed = {path for path in layout.data.rglob("*") if path.is_file()}
    assert 7 <= len(placed) < LARGE + 60
    assert place.recorded() == placed
    place.repack()
    place.assert_all_filed()


def test_a_second_run_copies_nothing(place: Place) -> None:
    place.repack()
    assert place.copies == LARGE
    assert {one.state for one in place.repack()} == {FileState.DUPLICATE}
    assert len(place.taken) == 2 * LARGE
    assert place.copies == LARGE


def no_processes(begin: object, processes: int) -> Ahead:
    raise AssertionError(begin, processes)


def test_few_files_start_no_process(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in sorted(place.sent.iterdir())[31:]:
        path.unlink()
    monkeypatch.setattr(line, "Ahead", no_processes)
    assert len(place.repack()) == 31


def test_nobody_forks_beside_another_thread(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "may_fork", ahead.may_fork)
    monkeypatch.setattr(line, "Ahead", no_processes)
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()
    try:
        assert not ahead.may_fork()
        place.repack()
    finally:
        end.set()
        other.join()
    place.assert_all_filed()


@pytest.mark.parametrize("number", [0, 1])
def test_threads_copy_where_there_can_be_no_process(place: Place, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    forked, calls = ahead._forked, [0]

    def refuse(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] > number:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return forked(*arguments)

    monkeypatch.setattr(ahead, "_forked", refuse)
    place.repack()
    assert place.taken == []
    place.assert_all_filed()


def test_a_header_that_fits_into_no_message(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_LARGEST", 100)
    place.repack()
    assert place.taken == [None] * LARGE
    place.assert_all_filed()


def test_messages_of_a_few_files(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_LARGEST", 2500)
    place.repack()
    assert None not in place.taken
    place.assert_all_filed()


def test_large_files_are_not_many_at_a_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_CHUNK_BYTES", 100_000)
    depths: list[int] = []
    give = Ahead.give

    def given(self: Ahead, path: Path) -> None:
        give(self, path)
        depths.append(self.depth)

    monkeypatch.setattr(Ahead, "give", given)
    (place.sent / "more").mkdir()
    make_series(place.sent / "more", 60, 200, 200, seed=2)
    place.repack()
    assert max(depths) == 64
    assert depths[-1] == 8


def few_descriptors(number: int) -> Callable[[], None]:
    """Let no more than so many files be open besides those that are; returns what undoes it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + number, before[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_few_open_files_are_enough(place: Place) -> None:
    undo = few_descriptors(16)
    try:
        place.repack()
    finally:
        undo()
    place.assert_all_filed()


def test_copies_end_with_the_process_that_wants_them(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    source = min(place.sent.iterdir())
    copying = ahead.Copying()
    copy = copying.begin(source, place.sent, 0o640)
    assert copy is not None
    copy.close()
    monkeypatch.setattr(os, "getppid", lambda: 1)
    with pytest.raises(GivenUpError):
        copying.begin(source, place.sent, 0o640)


def test_descriptors_that_got_lost_on_the_way(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel drops those for which a process has no room (unix(7), MSG_CTRUNC)."""
    receive = socket.recv_fds

    def short(*arguments: Any) -> Any:
        answer, descriptors, flags, address = receive(*arguments)
        for descriptor in descriptors[-1:]:
            os.close(descriptor)
        return answer, descriptors[:-1], flags, address

    monkeypatch.setattr(socket, "recv_fds", short)
    place.repack()
    assert None not in place.taken
    assert place.copies == 0, "which of them got lost is not told, so none is trusted"
    place.assert_all_filed()


def test_descriptors_that_cannot_be_sent(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any) -> int:
        raise OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))

    monkeypatch.setattr(socket, "send_fds", refuse)
    place.repack()
    assert place.taken == [None] * LARGE
    place.assert_all_filed()
