"""What the disk lost, and what verify and rebuild make of it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.drift import DriftKind, SeriesDrift
from pypx.model.identifiers import UID
from pypx.workflows.rebuild import Rebuilt, rebuild
from pypx.workflows.repack import repack
from pypx.workflows.verify import VerifyOptions, verify
from support.corpus import make_series
from support.mounts import ReadOnly
from support.pxrun import PxRunner

ROUNDS = 100 if os.environ.get("PX_TEST_LONG") else 8
SERIES = 4
IMAGES = 6
DEEP = VerifyOptions(deep=True)
LOOK = VerifyOptions(deep=True, dry_run=True)
ANY_CHANGE = frozenset({DriftKind.DIGEST, DriftKind.DAMAGED, DriftKind.OTHER_INSTANCE, DriftKind.SIZE})
Kinds = frozenset[DriftKind]
BOTH_FORMATS = pytest.mark.parametrize("number", [3, 4])


class Mount:
    """A BASEMOUNT with some series, and the damage that is done to it: file to the ways in which it may be reported."""

    def __init__(self, base: Path) -> None:
        self.layout = Layout.of_basemount(base)
        self.damage: dict[str, Kinds] = {}

    @property
    def database(self) -> Database:
        return Database.open(self.layout)

    def series(self) -> list[UID]:
        return list(self.database.recorded_series())

    def files(self, series: UID) -> list[Path]:
        return [self.layout.resolve(record.file) for record in self.database.images(series).values()]

    def note(self, path: Path, *kinds: DriftKind) -> None:
        self.damage[self.layout.relative(path)] = frozenset(kinds)

    def look(self, options: VerifyOptions = LOOK) -> dict[str, DriftKind]:
        return found(verify(self.database, options))


def found(results: Any) -> dict[str, DriftKind]:
    return {drift.file: drift.kind for result in results for drift in result.drifts}


def make(base: Path, number: int = 4) -> Mount:
    sources = []
    for one in range(SERIES):
        folder = base.parent / f"sources-{base.name}" / f"{one}"
        make_series(folder, IMAGES, 8, 8, seed=f"verify {one}", PatientID=f"P{one % 2}", study=f"study {one % 3}")
        sources.append(folder)
    database = Database.create(Layout.of_basemount(base), format=number)
    assert all(outcome.file for outcome in repack(sources, database))
    shutil.rmtree(sources[0].parent)
    mount = Mount(base)
    for series in mount.series():
        for table in ("retrieve", "push", "register"):
            database.set_series_fields(series, table, {"kept": f"{table} of {series}"})
        database.append_log(series, "ledger", [{"expected": {"count": IMAGES, "instances": None}}])
    return mount


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Mount:
    """A BASEMOUNT of format 4 in order; copy it before it is touched."""
    return make(tmp_path_factory.mktemp("whole") / "base")


@pytest.fixture
def mount(whole: Mount, tmp_path: Path) -> Mount:
    shutil.copytree(whole.layout.base, tmp_path / "base")
    return Mount(tmp_path / "base")


# --- kinds of damage


def delete(mount: Mount, rng: random.Random, files: list[Path]) -> None:
    path = files.pop()
    path.unlink()
    mount.note(path, DriftKind.LOST)


def truncate(mount: Mount, rng: random.Random, files: list[Path]) -> None:
    path = files.pop()
    os.truncate(path, rng.randrange(path.stat().st_size))
    mount.note(path, DriftKind.DAMAGED, DriftKind.SIZE)


def rename(mount: Mount, rng: random.Random, files: list[Path]) -> None:
    path = files.pop()
    other = rng.choice([path.parent, mount.layout.data]) / f"renamed-{path.name}"
    path.rename(other)
    mount.note(other, DriftKind.MOVED)


def swap(mount: Mount, rng: random.Random, files: list[Path]) -> None:
    one, other = files.pop(), files.pop()
    spare = one.with_name("spare")
    one.rename(spare)
    other.rename(one)
    spare.rename(other)
    mount.note(one, DriftKind.OTHER_INSTANCE)
    mount.note(other, DriftKind.OTHER_INSTANCE)


def flip(mount: Mount, rng: random.Random, files: list[Path]) -> None:
    path = files.pop()
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    mount.note(path, *ANY_CHANGE)


def cut_records(mount: Mount, series: UID, rng: random.Random) -> None:
    log = mount.layout.image_log(series)
    data = log.read_bytes()
    at = rng.randrange(1, len(data) - 1)
    files = mount.files(series)
    log.write_bytes(data[:at])
    for path in files[data[:at].count(b"\n") :]:
        mount.note(path, DriftKind.UNRECORDED)


DAMAGES: tuple[Callable[[Mount, random.Random, list[Path]], None], ...] = (delete, truncate, rename, swap, flip)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_damage_at_random(mount: Mount, tmp_path: Path, seed: int) -> None:
    rng = random.Random(f"damage/{seed}")
    series = mount.series()
    rng.shuffle(series)
    cut = series.pop()
    files = [path for one in series for path in mount.files(one)]
    rng.shuffle(files)
    for _ in range(rng.randint(1, 6)):
        rng.choice(DAMAGES)(mount, rng, files)
    if rng.random() < 0.7:
        cut_records(mount, cut, rng)
    seen = mount.look()
    assert seen.keys() == mount.damage.keys()
    assert {file: kind for file, kind in seen.items() if kind not in mount.damage[file]} == {}
    assert mount.look() == seen, "a dry run has changed something"

    done = rebuild(mount.database)
    again = mount.look()
    assert again.keys() <= mount.damage.keys()
    assert set(again.values()) <= {DriftKind.DIGEST, DriftKind.UNRECORDED}
    assert {file for file, kind in again.items() if kind is DriftKind.UNRECORDED} == {file for file, _ in done.rejected}
    assert tables(mount) == tables(repacked(mount, tmp_path / "fresh"))
    for one in series:
        assert mount.database.series_fields(one, "push") == {"kept": f"push of {one}"}


def repacked(mount: Mount, base: Path) -> Mount:
    """What the files of a BASEMOUNT give when they are filed anew."""
    copy = base.parent / "copy"
    shutil.copytree(mount.layout.data, copy)
    list(repack([copy], Database.open_or_create(Layout.of_basemount(base))))
    return Mount(base)


def tables(mount: Mount) -> dict[str, Any]:
    """All tables that files make, without places and times, which the two differ in."""
    database, log = mount.database, mount.layout.log
    values: dict[str, Any] = {}
    for path in sorted(log.rglob("*.json")):
        name = str(path.relative_to(log))
        if path.name.endswith(("-meta.json", "-pack.json")) or name.startswith("patientData/"):
            values[name] = json.loads(path.read_text())
            for entry in values[name].values():
                if isinstance(entry, dict):
                    entry.pop("SeriesBaseDir", None)
    for series in database.recorded_series():
        images = database.images(series)
        values[f"images {series}"] = {uid: record.size for uid, record in images.items()}
    return values


# --- one by one


@BOTH_FORMATS
def test_in_order(tmp_path: Path, number: int) -> None:
    mount = make(tmp_path / "base", number)
    results = list(verify(mount.database, DEEP))
    assert [result.recorded for result in results] == [IMAGES] * SERIES
    assert all(result.ok for result in results)
    assert sum(result.digests for result in results) == 0, "repack has made the checksums"


@BOTH_FORMATS
def test_lost_files_are_recorded_as_lost_unless_it_is_a_dry_run(tmp_path: Path, number: int) -> None:
    mount = make(tmp_path / "base", number)
    series = mount.series()[0]
    for path in mount.files(series)[:2]:
        path.unlink()
    assert list(mount.look().values()) == [DriftKind.LOST] * 2
    assert len(mount.database.images(series)) == IMAGES
    assert list(mount.look(DEEP).values()) == [DriftKind.LOST] * 2
    assert len(mount.database.images(series)) == IMAGES - 2
    assert mount.look(DEEP) == {}


@BOTH_FORMATS
def test_a_moved_file_is_recorded_where_it_is_with_its_checksum(tmp_path: Path, number: int) -> None:
    mount = make(tmp_path / "base", number)
    series = mount.series()[0]
    path = mount.files(series)[0]
    other = path.rename(path.with_name("elsewhere.dcm"))
    file = mount.layout.relative(other)
    assert mount.look(DEEP) == {file: DriftKind.MOVED}
    assert other in mount.files(series)
    assert mount.look() == {}
    data = bytearray(other.read_bytes())
    data[-1] ^= 1
    other.write_bytes(data)
    assert mount.look() == {file: DriftKind.DIGEST}


def test_one_flipped_bit_after_a_repack_is_found_by_deep_only(mount: Mount) -> None:
    path = mount.files(mount.series()[0])[0]
    data = bytearray(path.read_bytes())
    data[-5] ^= 0x10
    path.write_bytes(data)
    assert mount.look(VerifyOptions()) == {}
    assert mount.look(DEEP) == {mount.layout.relative(path): DriftKind.DIGEST}
    rebuild(mount.database)
    assert mount.look(DEEP) == {mount.layout.relative(path): DriftKind.DIGEST}, "a rebuild has blessed it"


def test_damaged_files_are_set_aside_on_demand(mount: Mount) -> None:
    series = mount.series()[0]
    path = mount.files(series)[0]
    os.truncate(path, path.stat().st_size - 10)
    assert list(mount.look(DEEP).values()) == [DriftKind.DAMAGED]
    assert path.exists()
    assert list(mount.look(VerifyOptions(deep=True, set_aside=True)).values()) == [DriftKind.DAMAGED]
    assert not path.exists()
    assert sorted(one.name for one in (mount.layout.incoming / "rejected").iterdir()) == [
        path.name, f"{path.name}.reason.txt",
    ]  # fmt: skip
    assert len(mount.database.images(series)) == IMAGES - 1
    assert mount.look() == {}


def test_conflicts_are_reported_while_they_are_kept(mount: Mount) -> None:
    series = mount.series()[0]
    uid = next(iter(mount.database.images(series)))
    aside = mount.layout.incoming / "conflicts" / series / f"{uid}.1.dcm"
    aside.parent.mkdir(parents=True)
    aside.write_bytes(b"other")
    mount.database.add_conflict(series, uid, mount.layout.relative(aside))
    assert mount.look() == {mount.layout.relative(aside): DriftKind.CONFLICT}
    aside.unlink()
    assert mount.look() == {}


def test_records_that_cannot_be_read_are_reported_and_rebuilt(mount: Mount) -> None:
    series = mount.series()[0]
    log = mount.layout.image_log(series)
    log.write_text("no json\n" + log.read_text())
    assert mount.look() == {mount.layout.relative(log): DriftKind.UNREADABLE}
    done = rebuild(mount.database)
    assert (done.series, done.instances, done.rejected) == (SERIES, SERIES * IMAGES, [])
    assert mount.look() == {}


def test_the_first_deep_look_makes_the_checksums_that_are_missing(mount: Mount) -> None:
    for series in mount.series():
        mount.layout.series_log(series, "digests").unlink()
    counts = [sum(result.digests for result in verify(mount.database, options)) for options in (LOOK, DEEP, DEEP)]
    assert counts == [SERIES * IMAGES, SERIES * IMAGES, 0]


def test_other_processes_find_the_same(mount: Mount) -> None:
    path = mount.files(mount.series()[0])[0]
    path.unlink()
    (mount.layout.data / "note.txt").write_text("no DICOM")
    alone = list(verify(mount.database, LOOK))
    assert list(verify(mount.database, VerifyOptions(deep=True, dry_run=True, jobs=2))) == alone
    assert rebuild(mount.database, jobs=2).instances == SERIES * IMAGES - 1


def test_an_interrupted_verify_is_resumed(mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def stop(done: int, _total: int) -> None:
        calls.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(verify(mount.database, DEEP, stop))
    calls.clear()
    results = list(
        verify(mount.database, VerifyOptions(deep=True, resume=True), lambda done, _total: calls.append(done))
    )
    assert calls == [3, 4]
    assert [result.recorded for result in results] == [IMAGES] * SERIES
    assert not (mount.layout.log / ".verify").exists()


def test_an_interrupted_rebuild_is_gone_on_with(mount: Mount) -> None:
    rebuild(mount.database)
    before = tables(mount)
    shutil.rmtree(mount.layout.series_dir)
    total = SERIES * IMAGES

    def stop(done: int, _total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(mount.database, progress=stop)
    seen: list[int] = []
    done = rebuild(mount.database, progress=lambda done, _total: seen.append(done))
    assert len(seen) <= total // 2 + 1
    assert done.instances == total
    assert tables(mount) == before
    assert not (mount.layout.log / ".rebuild").exists()


@BOTH_FORMATS
def test_rebuild_removes_what_no_file_belongs_to_and_keeps_what_only_tables_know(tmp_path: Path, number: int) -> None:
    mount = make(tmp_path / "base", number)
    series = mount.series()
    gone = series[0]
    for path in mount.files(gone):
        path.unlink()
    done = rebuild(mount.database)
    assert isinstance(done, Rebuilt)
    assert mount.database.format == number
    assert mount.series() == series[1:]
    assert gone not in set(mount.database.series_uids())
    assert mount.database.series_fields(gone, "register") == {"kept": f"register of {gone}"}
    assert mount.database.log_lines(gone, "ledger")
    assert mount.look() == {}


# --- the commands


def test_the_commands(px: PxRunner, mount: Mount) -> None:
    base = ("--basemount", mount.layout.base)
    assert "24 images on record, all there" in px("smdb", "verify", "--deep", *base).ok().stderr
    path = mount.files(mount.series()[0])[0]
    path.unlink()
    looked = px("smdb", "verify", "--dry-run", "--json", *base)
    assert looked.returncode == 3
    (drift,) = json.loads(looked.stdout)["drift"]
    assert (drift["kind"], drift["file"]) == ("lost", mount.layout.relative(path))
    listed = px("smdb", "verify", "--jsonl", *base)
    assert (listed.returncode, json.loads(listed.stdout)) == (3, drift)
    (mount.layout.data / "note.txt").write_text("no DICOM")
    table = px("smdb", "verify", *base)
    assert table.returncode == 3
    assert table.stdout.splitlines()[1].split("\t")[4] == "1"
    built = px("smdb", "rebuild", "--json", *base)
    assert built.returncode == 3
    document = json.loads(built.stdout)
    assert (document["instances"], [one["file"] for one in document["rejected"]]) == (23, ["data/note.txt"])
    assert px("smdb", "verify", "--dry-run", "--set-aside", *base).returncode == 2
    assert px("smdb", "verify", "--basemount", mount.layout.base / "nowhere").returncode == 40


def test_a_basemount_that_cannot_be_written(px: PxRunner, mount: Mount, read_only: ReadOnly) -> None:
    """It can be looked at, also by somebody else; what would have to be written is said in one line, and not done."""
    place = read_only(mount.layout.base)
    assert os.access(mount.layout.log, os.W_OK)
    for words in ((), ("--deep",), ("--resume",), ("--dry-run",)):
        result = px("smdb", "verify", *words, "--basemount", place).ok()
        assert "24 images on record, all there" in result.stderr
    refused = px("smdb", "verify", "--set-aside", "--basemount", place)
    mount.files(mount.series()[0])[0].unlink()
    looked = px("smdb", "verify", "--dry-run", "--json", "--basemount", place)
    assert (looked.returncode, len(json.loads(looked.stdout)["drift"])) == (3, 1)
    lost = px("smdb", "verify", "--basemount", place)
    for found in mount.layout.log.rglob("*-digest*"):
        found.unlink()
    fresh = px("smdb", "verify", "--deep", "--basemount", place)
    for result in (refused, lost, fresh):
        assert result.returncode == 40, result.stderr
        (line,) = result.stderr.splitlines()
        assert "may not be written to" in line
        assert "--dry-run" in line
    assert "1 images are gone or elsewhere" in lost.stderr


def test_a_drift_is_what_its_counts_say() -> None:
    assert SeriesDrift(UID("1.2"), 3).ok
