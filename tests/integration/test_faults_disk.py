"""A disk that is full, in each of the places where px writes: nothing acknowledged is lost, and space is all it takes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from support.corpus import Corpus, make_series
from support.dicom import dataset_bytes
from support.listening import SLOWLY, Listener, Start, assert_filed, assert_nothing_waits, echo, recorded, some_files
from support.mounts import SmallDisk, fill
from support.pxrun import PxResult, PxRunner

MIB = 1 << 20


@pytest.fixture
def basemount(small_disk: SmallDisk) -> Path:
    """A BASEMOUNT on a disk of 24 MiB."""
    return small_disk(24) / "basemount"


def files_of(corpus: Corpus, uids: set[str]) -> list[Path]:
    return [file.path for file in corpus if file.SOPInstanceUID in uids]


def send_to_a_disk_that_fills(listen: Start, corpus: Corpus, basemount: Path, leave: int) -> None:
    """Send more than fits: what is acknowledged is filed; when there is space again, the rest comes, without restart."""
    everything = {file.SOPInstanceUID for file in corpus}
    listener = listen("--min-free", "4M")
    ballast = fill(basemount.parent, leave=leave)
    listener.send(corpus.directory)
    answers = listener.statuses()
    assert len(answers) == len(everything)
    assert set(answers) == {"0x0000", "0xa700"}, "some fit; the others are refused: out of resources"
    first = listener.acknowledged()
    assert len(first) == answers.count("0x0000")
    (event,) = listener.wait_for("out-of-resources")
    assert (event["association"], event["calling_aet"]) == ("00000001", "DCMSEND")
    (ended,) = listener.wait_for("association-ended")
    assert (ended["files"], ended["refused"]) == (len(first), len(everything) - len(first))
    listener.wait_for("paused")
    found = recorded(listener.layout, corpus.series())
    assert set(found) == first, "what was acknowledged is recorded, and nothing else"
    ballast.unlink()
    listener.wait_for("resumed")
    listener.send(*files_of(corpus, everything - first))
    listener.wait_for("association-ended", 2)
    assert listener.acknowledged() == everything
    listener.stop()
    assert_filed(listener.layout, corpus)
    assert len(listener.events("paused")) == 1, "it does not flutter"


def test_large_objects(listen: Start, tmp_path: Path, basemount: Path) -> None:
    send_to_a_disk_that_fills(listen, make_series(tmp_path / "series", 60, 256, 256), basemount, 6 * MIB)


def test_small_objects(listen: Start, tmp_path: Path, basemount: Path) -> None:
    """storescp would acknowledge a file of less than 4 KiB although nothing of it reached a full disk."""
    send_to_a_disk_that_fills(listen, make_series(tmp_path / "series", 1500, 16, 16), basemount, 6 * MIB)


def test_a_disk_that_somebody_else_fills_in_mid_transfer(listen: Start, tmp_path: Path, basemount: Path) -> None:
    """Then no floor helps: objects are refused as soon as that is seen, and the worker waits for space."""
    corpus = make_series(tmp_path / "series", 200, 128, 128)
    listener = listen("--min-free", "2M")
    listener.series = set(corpus.series())
    listener.send(corpus.directory, options=SLOWLY)
    listener.wait_for("association-opened")
    some_files(listener, 20)
    ballast = fill(basemount.parent, leave=1 * MIB)
    listener.wait_for("out-of-resources")
    first = listener.acknowledged()
    ballast.unlink()
    listener.wait_for("association-ended")
    listener.wait_for("resumed")
    assert set(recorded(listener.layout, corpus.series())) == first
    listener.send(corpus.directory)
    listener.wait_for("association-ended", 2)
    assert listener.acknowledged() == {file.SOPInstanceUID for file in corpus}
    listener.stop()
    assert_filed(listener.layout, corpus)


def test_a_worker_without_a_byte_waits_for_space(listen: Start, tmp_path: Path, basemount: Path) -> None:
    corpus = make_series(tmp_path / "series", 10, 64, 64)
    listener = listen("--min-free", "0")
    with Stopped(listener):
        listener.send(corpus.directory)
        assert len(listener.acknowledged()) == 10
        ballast = fill(basemount.parent)
    event = listener.wait_for("filing-failed")[0]
    assert event["reason"] == "cannot write to the BASEMOUNT: No space left on device"
    assert str(basemount) not in event["reason"]
    ballast.unlink()
    listener.wait_for("association-ended")
    assert len(listener.events("filing-failed")) < 5, "it waits longer each time"
    assert listener.events("worker-restarted") == []
    assert echo(listener.port).returncode == 0
    listener.stop()
    assert_filed(listener.layout, corpus)


class Stopped:
    """The worker of a listener is stopped within a block."""

    def __init__(self, listener: Listener) -> None:
        (self._worker,) = listener.children("python")

    def __enter__(self) -> None:
        os.kill(self._worker, 19)

    def __exit__(self, *_: object) -> None:
        os.kill(self._worker, 18)


def assert_one_line(result: PxResult, code: int) -> None:
    assert result.returncode == code, result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "No space left on device" in result.stderr
    assert re.search(r"free some space|make room", result.stderr), "and what to do"


@pytest.mark.parametrize("option", [(), ("--move",)])
def test_repack(px: PxRunner, tmp_path: Path, basemount: Path, option: tuple[str, ...]) -> None:
    """The sources are on another disk, so each option has to copy."""
    corpus = make_series(tmp_path / "series", 60, 256, 256)
    contents = {file.SOPInstanceUID: dataset_bytes(file.path) for file in corpus}
    px("smdb", "init", "--basemount", basemount).ok()
    ballast = fill(basemount.parent, leave=4 * MIB)
    full = px("repack", "--basemount", basemount, *option, corpus.directory)
    assert_one_line(full, 40)
    layout = Layout.of_basemount(basemount)
    known = recorded(layout, corpus.series()).values()
    for path in known:
        assert path.exists()
    loose = sum(path.is_file() for path in layout.data.rglob("*")) - len(known)
    assert loose > 0
    assert f"{loose} files lie below data/ without a record: a repeat, or px smdb rebuild, records them" in full.stderr
    ballast.unlink()
    px("repack", "--basemount", basemount, *option, corpus.directory).ok()
    found = recorded(layout, corpus.series())
    assert {uid: dataset_bytes(path) for uid, path in found.items()} == contents
    assert {path for path in layout.data.rglob("*") if path.is_file()} == set(found.values())
    px("smdb", "verify", "--basemount", basemount).ok()


def test_push_to_a_directory(px: PxRunner, small_disk: SmallDisk, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 20, 256, 256)
    store = small_disk(8) / "store"
    store.mkdir()
    home = tmp_path / "home-of-images"
    px("repack", "--basemount", home, corpus.directory).ok()
    ballast = fill(store.parent, leave=1 * MIB)
    (series,) = corpus.series()
    arguments = (
        "push",
        "--basemount",
        home,
        "--SeriesInstanceUID",
        series,
        "--storeBaseLocation",
        store,
        "--swiftServicesPACS",
        "CLINIC",
        "--partial",
    )
    result = px(*arguments)
    assert result.returncode in (3, 30), result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("px push: folder "), result.stderr
    assert last.endswith("No space left on device; make room or give access, then push again")
    ballast.unlink()
    px(*arguments).ok()
    pushed = sorted(path for path in store.rglob("*") if path.is_file())
    assert [path.suffix for path in pushed] == [".dcm"] * 20, "no part of a file is left"


@pytest.mark.parametrize("verb", ["rebuild", "migrate", "service"])
def test_tables(px: PxRunner, tmp_path: Path, basemount: Path, verb: str) -> None:
    """What was in the tables is in them afterwards, or the new; never half of it."""
    corpus = make_series(tmp_path / "series", 30, 16, 16)
    (series,) = corpus.series()
    form = ("--format", "3") if verb == "migrate" else ()
    px("smdb", "init", "--basemount", basemount, *form).ok()
    px("repack", "--basemount", basemount, corpus.directory).ok()
    if verb == "rebuild":
        for path in Layout.of_basemount(basemount).series_dir.glob("*"):
            if path.is_file():
                path.unlink()
    ballast = fill(basemount.parent)
    command = {
        "rebuild": ("smdb", "rebuild", "--basemount", basemount),
        "migrate": ("smdb", "migrate", "--basemount", basemount),
        "service": ("smdb", "service", "cube", "set", "--basemount", basemount, "A", '{"url": "http://127.0.0.1/"}'),
    }[verb]
    assert_one_line(px(*command), 40)
    ballast.unlink()
    assert not list(basemount.rglob(".tmp-*"))
    px(*command).ok()
    database = Database.open(Layout.of_basemount(basemount))
    assert database.images(UID(series)).keys() == {file.SOPInstanceUID for file in corpus}
    px("smdb", "verify", "--basemount", basemount).ok()


def test_a_listener_does_not_start_without_space(px: PxRunner, basemount: Path) -> None:
    basemount.mkdir()
    fill(basemount.parent)
    assert_one_line(px("listen", "--basemount", basemount, "--port", 0, "--bind", "127.0.0.1"), 40)
    assert_nothing_waits(Layout.of_basemount(basemount))
