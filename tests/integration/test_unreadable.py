"""What cannot be read is never taken for absent: no record is dropped, no good file set aside, nothing passed over."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from support.corpus import make_series
from support.pxrun import PxResult, PxRunner, installed
from support.servers import program

IMAGES = 3
Powerless = Callable[..., PxResult]


@pytest.fixture
def powerless(px: PxRunner) -> Powerless:
    """Run px as the owner of all files, but bound by permissions: root without its capabilities, or who runs the tests."""

    def run(*args: str | Path | int) -> PxResult:
        if os.geteuid() != 0:
            return px(*args, timeout=30)
        drop = ("--bounding-set", "-all", "--inh-caps", "-all", installed("px"))
        return px(*drop, *args, timeout=30, command=program("setpriv"))

    return run


class Closed:
    """Files and directories without access, which is given back in the end."""

    def __init__(self) -> None:
        self._modes: dict[Path, int] = {}

    def __call__(self, *paths: Path, mode: int = 0) -> None:
        for path in paths:
            self._modes.setdefault(path, path.stat().st_mode & 0o7777)
            path.chmod(mode)

    def open_again(self) -> None:
        for path in sorted(self._modes):
            path.chmod(self._modes[path])
        self._modes.clear()


@pytest.fixture
def closed() -> Iterator[Closed]:
    one = Closed()
    yield one
    one.open_again()


class Mount:
    """A BASEMOUNT with two patients, the first with two studies."""

    def __init__(self, base: Path) -> None:
        self.layout = Layout.of_basemount(base)

    @property
    def database(self) -> Database:
        return Database.open(self.layout)

    def files(self) -> list[Path]:
        database = self.database
        records = (one for series in database.recorded_series() for one in database.images(series).values())
        return sorted(self.layout.resolve(record.file) for record in records)

    def known(self) -> dict[str, Any]:
        """All that the tables and records say."""
        database = self.database
        found: dict[str, Any] = {uid: database.images(uid) for uid in database.recorded_series()}
        for path in sorted(self.layout.log.rglob("*.json")):
            if path.name != "format.json":
                found[str(path)] = json.loads(path.read_text())
        return found


@pytest.fixture
def mount(px: PxRunner, basemount: Path, tmp_path: Path) -> Mount:
    for patient, study in (("P1", "one"), ("P1", "two"), ("P2", "three")):
        corpus = make_series(tmp_path / "series" / study, IMAGES, 8, 8, seed=study, study=study, PatientID=patient)
        px("repack", "--basemount", basemount, corpus.directory).ok()
    px("smdb", "rebuild", "--basemount", basemount).ok()
    return Mount(basemount)


def said(result: PxResult, code: int, *words: str) -> None:
    assert result.returncode == code, (result.args, result.stdout, result.stderr)
    for word in words:
        assert word in result.stderr, (word, result.stderr)
    for value in ("P1", "P2"):
        assert f"{value}-" not in result.stderr, "the path of a patient"


# --- rebuild


def test_rebuild_changes_nothing_where_it_can_read_nothing(powerless: Powerless, mount: Mount, closed: Closed) -> None:
    before = mount.known()
    closed(*mount.layout.data.iterdir())
    result = powerless("smdb", "rebuild", "--basemount", mount.layout.base)
    said(result, 40, "cannot be read: Permission denied", "nothing was changed", "give access")
    assert len(result.stderr.splitlines()) == 1
    closed.open_again()
    closed(*mount.files())
    said(powerless("smdb", "rebuild", "--basemount", mount.layout.base), 40, "Permission denied", "nothing was changed")
    closed.open_again()
    assert mount.known() == before
    closed(mount.layout.data)
    assert powerless("smdb", "rebuild", "--basemount", mount.layout.base).returncode == 40
    closed.open_again()
    assert mount.known() == before
    powerless("smdb", "rebuild", "--basemount", mount.layout.base).ok()
    assert mount.known() == before


@pytest.mark.parametrize("missing", [False, True])
def test_an_unmounted_volume_is_no_empty_basemount(px: PxRunner, mount: Mount, missing: bool) -> None:
    before, data = mount.known(), mount.layout.data
    away = data.rename(data.with_name("elsewhere"))
    if not missing:
        (data / "lost+found").mkdir(parents=True)
    base = ("--basemount", mount.layout.base)
    said(px("smdb", "rebuild", *base), 40, "mount")
    said(px("smdb", "verify", *base), 40, "mount", "nothing was changed")
    looked = px("smdb", "verify", "--dry-run", "--json", *base)
    assert (looked.returncode, len(json.loads(looked.stdout)["drift"])) == (3, 3 * IMAGES)
    if not missing:
        (data / "lost+found").rmdir()
        data.rmdir()
    away.rename(data)
    assert mount.known() == before
    px("smdb", "verify", *base).ok()


@pytest.mark.parametrize("what", ["file", "directory", "unentered", "patient"])
def test_rebuild_keeps_the_records_of_what_it_cannot_read(
    powerless: Powerless, mount: Mount, closed: Closed, what: str
) -> None:
    before, file = mount.known(), mount.files()[0]
    patient = mount.layout.data / file.relative_to(mount.layout.data).parts[0]
    place = {"file": file, "directory": file.parent, "unentered": file.parent, "patient": patient}[what]
    closed(place, mode=0o444 if what == "unentered" else 0)
    base = ("--basemount", mount.layout.base)
    said(powerless("smdb", "rebuild", *base), 3, "Permission denied", "no table was removed")
    listed = powerless("smdb", "rebuild", "--json", *base)
    document = json.loads(listed.stdout)
    named = [one["file"] for one in document["unreadable"]]
    assert (listed.returncode, document["status"], document["instances"]) == (3, False, 3 * IMAGES)
    within = [mount.layout.relative(path) for path in mount.files() if path.parent == file.parent]
    assert named == (within if what == "unentered" else [mount.layout.relative(place)])
    closed.open_again()
    assert told(mount.known()) == told(before)
    powerless("smdb", "rebuild", *base).ok()
    assert mount.known() == before


def told(known: dict[str, Any]) -> dict[str, Any]:
    """What is known but for the values of headers: another file may describe a series while its first is unreadable."""
    return {
        name: value if "Data/" not in name or "patientData/" in name else sorted(value) for name, value in known.items()
    }


def test_a_broken_off_rebuild_asks_again_for_what_it_could_not_read(
    powerless: Powerless, mount: Mount, closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pypx.workflows import scanning, sparing  # noqa: PLC0415 - what the broken-off run does, without the rest

    before, file = mount.known(), mount.files()[0]
    folder = mount.layout.log / ".rebuild"
    folder.mkdir()
    monkeypatch.setattr(scanning, "_scanned", refusing(scanning._scanned, mount.layout.relative(file)))
    unreadable = sparing.Unreadable()
    assert scanning.scan(mount.layout, folder, 1, None, unreadable) == 3 * IMAGES - 1
    assert unreadable.listed() == [(mount.layout.relative(file), "cannot be read: Input/output error")]
    powerless("smdb", "rebuild", "--basemount", mount.layout.base).ok()
    assert mount.known() == before


def refusing(scanned: Callable[..., Any], file: str) -> Callable[..., Any]:
    """Reading as on a disk with a bad block."""
    from dataclasses import replace  # noqa: PLC0415
    from errno import EIO  # noqa: PLC0415

    def work(layout: Layout, one: Any) -> Any:
        if one.file != file:
            return scanned(layout, one)
        return replace(one, reason=f"cannot be read: {os.strerror(EIO)}", errno=EIO)

    return work


def test_rebuild_keeps_what_lies_behind_a_link_and_drops_what_is_gone(
    px: PxRunner, mount: Mount, tmp_path: Path
) -> None:
    before, base = mount.known(), ("--basemount", mount.layout.base)
    first, *_, last = mount.files()
    patient = mount.layout.data / first.relative_to(mount.layout.data).parts[0]
    patient.rename(tmp_path / "other volume")
    patient.symlink_to(tmp_path / "other volume")
    px("smdb", "rebuild", *base).ok()
    assert mount.known() == before
    last.unlink()
    assert json.loads(px("smdb", "rebuild", "--json", *base).ok().stdout)["instances"] == 3 * IMAGES - 1


# --- verify


@pytest.mark.parametrize("deep", [False, True])
def test_an_unreadable_file_is_not_damaged(powerless: Powerless, mount: Mount, closed: Closed, deep: bool) -> None:
    before, file = mount.known(), mount.files()[0]
    words = ("smdb", "verify", *(["--deep"] if deep else []), "--basemount", mount.layout.base)
    closed(file)
    looked = powerless(*words, "--set-aside", "--json")
    (drift,) = json.loads(looked.stdout)["drift"]
    assert (looked.returncode, drift["kind"], drift["file"]) == (3, "unreadable-file", mount.layout.relative(file))
    table = powerless(*words, "--set-aside")
    said(table, 3, "unreadable-file: ", "1 files or directories cannot be read: give access")
    assert "--set-aside takes" not in table.stderr
    head, row = (line.split("\t") for line in table.stdout.splitlines())
    assert (row[head.index("unreadable")], row[head.index("damaged")]) == ("1", "0")
    closed.open_again()
    assert file.exists()
    assert mount.known() == before
    powerless(*words).ok()


def test_verify_names_directories_that_it_cannot_list(powerless: Powerless, mount: Mount, closed: Closed) -> None:
    before, folder = mount.known(), mount.files()[0].parent
    closed(folder)
    looked = powerless("smdb", "verify", "--set-aside", "--json", "--basemount", mount.layout.base)
    drifts = json.loads(looked.stdout)["drift"]
    kinds = [drift["kind"] for drift in drifts]
    assert (looked.returncode, sorted(kinds)) == (3, ["unreadable-directory", *["unreadable-file"] * IMAGES])
    assert mount.layout.relative(folder) in [drift["file"] for drift in drifts]
    closed.open_again()
    (mount.layout.data / "strange").mkdir()
    closed(mount.layout.data / "strange")
    said(powerless("smdb", "verify", "--basemount", mount.layout.base), 3, "unreadable-directory: ")
    assert mount.known() == before


def test_a_loop_of_links_is_not_damage(px: PxRunner, mount: Mount) -> None:
    before, file = mount.known(), mount.files()[0]
    kept = file.rename(mount.layout.base / "kept")
    file.symlink_to(file.name)
    looked = px("smdb", "verify", "--set-aside", "--json", "--basemount", mount.layout.base)
    assert [drift["kind"] for drift in json.loads(looked.stdout)["drift"]] == ["unreadable-file"]
    assert file.is_symlink()
    file.unlink()
    kept.rename(file)
    assert mount.known() == before


# --- elsewhere


def test_push_names_directories_that_it_cannot_list(
    powerless: Powerless, mount: Mount, closed: Closed, tmp_path: Path
) -> None:
    sources, store = tmp_path / "series", tmp_path / "store"
    store.mkdir()
    to = ("--storeBaseLocation", store, "--swiftServicesPACS", "CLINIC", "--basemount", mount.layout.base)
    closed(sources / "two")
    result = powerless("push", "--xcrdir", sources, *to)
    said(result, 3, f"{sources / 'two'}: the directory cannot be read: Permission denied")
    assert len(list(store.rglob("*.dcm"))) == 2 * IMAGES
    closed(sources)
    assert powerless("push", "--xcrdir", sources, *to).returncode == 50
    closed.open_again()
    powerless("push", "--xcrdir", sources, *to).ok()
    assert len(list(store.rglob("*.dcm"))) == 3 * IMAGES


def test_status_does_not_call_missing_what_it_cannot_list(powerless: Powerless, mount: Mount, closed: Closed) -> None:
    series = next(iter(mount.database.recorded_series()))
    (record, *_) = mount.database.images(series).values()
    closed(mount.layout.resolve(record.file).parent)
    words = ("--basemount", mount.layout.base, "--SeriesInstanceUID", series)
    said(powerless("status", *words), 40, "Permission denied", "give access")
    closed.open_again()
    assert powerless("status", *words).returncode in {0, 3}


def test_storage_does_not_pass_over_what_it_cannot_list(
    powerless: Powerless, basemount: Path, closed: Closed, tmp_path: Path
) -> None:
    store, local = tmp_path / "store", tmp_path / "local"
    for name in ("a/1", "b/2", "lost+found/3"):
        (store / name).parent.mkdir(parents=True)
        (store / name).write_text(name)
    (local / "sub").mkdir(parents=True)
    (local / "x").write_text("x")
    to = ("--storeBaseLocation", store, "--basemount", basemount)
    closed(store / "lost+found", local / "sub")
    assert "b/2" in powerless("storage", "ls", *to).ok().stdout
    said(powerless("storage", "put", local, "c", *to), 2, "Permission denied")
    assert not (store / "c").exists()
    closed(store / "b")
    said(powerless("storage", "ls", *to), 30, "Permission denied")
