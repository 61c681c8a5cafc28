"""Many large files at once: copied ahead in threads and recorded behind, in order, and nothing of it lost or left."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import DatabaseError
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.model.identifiers import UID
from pypx.model.records import ImageRecord, Instance
from pypx.workflows import copying, filing
from pypx.workflows.copying import Copier, Copy, GivenUpError, copy_unnamed, drop
from pypx.workflows.digests import checksum, digests_of
from pypx.workflows.repack import repack
from pypx.workflows.walking import Walk
from support.corpus import Corpus, make_series
from support.dicom import dataset_bytes

FILES = 30
SIDE = 200  # 80,000 bytes of pixels: more than what is copied at once


class Spot:
    """A BASEMOUNT, and a directory of large files."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout.of_basemount(directory / "base")
        self.sent = directory / "sent"
        self.made: Corpus = make_series(self.sent, FILES, SIDE, SIDE)
        self.series = UID(self.made.files[0].SeriesInstanceUID)

    def repack(self) -> list[FileOutcome]:
        return list(repack([self.sent], Database.open_or_create(self.layout)))

    def records(self) -> dict[UID, ImageRecord]:
        return Database.open(self.layout).images(self.series)

    def data(self) -> set[Path]:
        return {path for path in self.layout.data.rglob("*") if path.is_file()}

    def assert_all_filed(self) -> None:
        records = self.records()
        assert {self.layout.resolve(record.file) for record in records.values()} == self.data()
        assert len(records) == len(self.made.files)
        for file in self.made:
            path = self.layout.resolve(records[UID(file.SOPInstanceUID)].file)
            assert dataset_bytes(path) == dataset_bytes(file.path)


@pytest.fixture
def spot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spot]:
    """Batches of seven files; at the end no descriptor more is open than at the beginning."""
    monkeypatch.setattr(filing, "BATCH_FILES", 7)
    made = Spot(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield made
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_outcomes_come_in_order_with_the_checksums_of_what_was_written(spot: Spot) -> None:
    outcomes = spot.repack()
    assert [outcome.source for outcome in outcomes] == sorted(spot.sent.iterdir())
    assert {outcome.state for outcome in outcomes} == {FileState.FILED}
    spot.assert_all_filed()
    sums = {digest.file: digest.crc32 for digest in digests_of(Database.open(spot.layout), spot.series).values()}
    assert sums == {spot.layout.relative(path): checksum(path) for path in spot.data()}


def test_files_are_not_read_again_for_their_checksums(spot: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_again(path: Path) -> str:
        raise AssertionError(path)

    monkeypatch.setattr("pypx.workflows.digests.checksum", read_again)
    assert all(outcome.crc32 for outcome in spot.repack())
    assert len(digests_of(Database.open(spot.layout), spot.series)) == FILES


def test_of_two_files_with_one_uid_the_first_in_order_is_filed(spot: Spot) -> None:
    names = sorted(spot.sent.iterdir())
    shutil.copy(names[0], spot.sent / f"{names[0].name}.again")
    changed = bytearray(names[1].read_bytes())
    changed[-1] ^= 0xFF
    (spot.sent / f"{names[1].name}.other").write_bytes(changed)
    states = [(outcome.source.suffix, outcome.state) for outcome in spot.repack()]
    assert states[:4] == [
        (names[0].suffix, FileState.FILED),
        (".again", FileState.DUPLICATE),
        (names[1].suffix, FileState.FILED),
        (".other", FileState.CONFLICT),
    ]
    spot.assert_all_filed()


def test_a_second_run_copies_nothing(spot: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    spot.repack()

    def copied(*_args: Any) -> str:
        raise AssertionError("copied again")

    monkeypatch.setattr(copying, "copy_bytes", copied)
    assert {outcome.state for outcome in spot.repack()} == {FileState.DUPLICATE}


def test_records_are_added_only_to_what_was_synchronised(spot: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    durable: set[Path] = set()
    add_images = Database.add_images

    def sync(_path: Path) -> None:
        durable.update(spot.data())

    def add(database: Database, instances: Sequence[tuple[Instance, ImageRecord]]) -> int:
        assert {spot.layout.resolve(record.file) for _, record in instances} <= durable
        return add_images(database, instances)

    monkeypatch.setattr(filing, "sync_filesystem", sync)
    monkeypatch.setattr(Database, "add_images", add)
    spot.repack()
    spot.assert_all_filed()


def test_who_stops_in_the_midst_leaves_a_record_of_each_file_in_its_place(spot: Spot) -> None:
    outcomes = repack([spot.sent], Database.open_or_create(spot.layout))
    next(outcomes)
    outcomes.close()
    placed = spot.data()
    assert 7 <= len(placed) < FILES
    assert {spot.layout.resolve(record.file) for record in spot.records().values()} == placed
    spot.repack()
    spot.assert_all_filed()


def test_a_batch_that_cannot_be_recorded_ends_it_and_the_next_run_does_the_rest(
    spot: Spot, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_images, calls = Database.add_images, [0]

    def full(database: Database, instances: Sequence[tuple[Instance, ImageRecord]]) -> int:
        calls[0] += 1
        if calls[0] == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return add_images(database, instances)

    told: list[FileOutcome] = []
    with monkeypatch.context() as patched:
        patched.setattr(Database, "add_images", full)
        with pytest.raises(DatabaseError, match="No space left"):
            told.extend(repack([spot.sent], Database.open_or_create(spot.layout)))
    records = spot.records()
    assert {outcome.instance.SOPInstanceUID for outcome in told if outcome.instance} <= records.keys()
    assert len(records) < FILES
    spot.repack()
    spot.assert_all_filed()


def test_no_room_while_copying_ahead_ends_it(spot: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, calls = copying.copy_unnamed, [0]

    def full(*args: Any, **more: Any) -> Copy | None:
        calls[0] += 1
        if calls[0] == 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return copy(*args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(copying, "copy_unnamed", full)
        with pytest.raises(DatabaseError, match="No space left"):
            spot.repack()
    assert spot.repack()[-1].state is FileState.FILED
    spot.assert_all_filed()


def test_a_filesystem_without_unnamed_files(spot: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert {outcome.state for outcome in spot.repack()} == {FileState.FILED}
    spot.assert_all_filed()
    assert len(digests_of(Database.open(spot.layout), spot.series)) == FILES


def test_a_copy_that_is_not_wanted_any_more_ends_between_two_blocks(spot: Spot) -> None:
    source = spot.made.files[0].path
    with pytest.raises(GivenUpError):
        copy_unnamed(source, source.parent, lambda: False)


def test_copies_that_were_begun_can_be_dropped(spot: Spot) -> None:
    copier = Copier()
    for file in spot.made:
        drop(copier.begin(file.path, spot.sent))
    copier.close()
    assert len(list(spot.sent.iterdir())) == FILES


def test_a_walk_lists_files_before_folders_each_by_name(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "c", "a", "b/d/1", "B/1", "DICOMDIR"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "folder").symlink_to(tmp_path / "b")
    told: list[tuple[str, str]] = []
    found = [
        str(path.relative_to(tmp_path))
        for path in Walk([tmp_path], skipped=lambda path, kind: told.append((path.name, kind)))
        if isinstance(path, Path)
    ]
    assert found == ["a", "c", "link", "B/1", "b/1", "b/2", "b/d/1"]
    assert told == [("folder", "link to a directory")]
    flat = [path.name for path in Walk([tmp_path], recursive=False, substrings=("a", "l")) if isinstance(path, Path)]
    assert flat == ["a", "link"]
