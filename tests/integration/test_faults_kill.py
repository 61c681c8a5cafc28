"""kill -9 of everything that files, at named points and at random ones: nothing acknowledged is lost, nothing half is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.services.scratch import scratch_folder
from pypx.workflows import spool
from support.corpus import Corpus, CorpusFile, make_series
from support.dicom import dataset_bytes
from support.listening import (
    SLOWLY,
    Listener,
    Start,
    assert_filed,
    kill,
    leave_behind,
    recorded,
    some_files,
    split,
)
from support.ports import wait_until
from support.pxrun import PxRunner, clean_environment, installed
from support.rawsend import RawSender, short

LONG = bool(os.environ.get("PX_TEST_LONG"))
ROUNDS = 200 if LONG else 4
FILING = ("filing.placed", "filing.synced", "filing.recorded", "filing.removed", "logs.appended")
TABLES = ("tables.temporary", "tables.renamed")
SIZE = 64


def state(pid: int) -> str:
    """The state of a process: T is stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def stopped(pid: int) -> bool:
    """Whether a process, or one of its children, has stopped at its point."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        children = []
    return "T" in {state(pid), *(state(int(child)) for child in children)}


def assert_sound(layout: Layout, files: Iterable[CorpusFile]) -> set[str]:
    """No partial file under a final name, no broken table; what is recorded is whole.  Returns what is recorded."""
    by_uid = {file.SOPInstanceUID: file for file in files}
    found = recorded(layout, {file.SeriesInstanceUID for file in by_uid.values()})
    for uid, path in found.items():
        assert dataset_bytes(path) == dataset_bytes(by_uid[uid].path)
    for path in (path for path in layout.data.rglob("*") if path.is_file() and not path.name.startswith(".")):
        uid = path.stem.split("-", 1)[1]
        assert dataset_bytes(path) == dataset_bytes(by_uid[uid].path), f"{path} is not whole"
    database = Database.open(layout)
    for series in database.recorded_series():
        database.series(series)
    return set(found)


def assert_tidy(layout: Layout) -> None:
    """Nothing temporary is left anywhere."""
    left = [path for path in layout.base.rglob(".*") if path.name.startswith((".tmp-", ".new-", ".errors"))]
    assert left == []


def kill_all(listener: Listener) -> None:
    for pid in [listener.px.pid, *listener.children("python"), *listener.children("storescp")]:
        kill(pid)
    listener.px.process.wait()


@pytest.mark.parametrize(
    ("victim", "point"),
    [(victim, point) for victim in ("worker", "all") for point in (*FILING, *TABLES)][:: 1 if LONG else 3],
)
def test_the_worker_at_a_point(
    listen: Start, px: PxRunner, basemount: Path, tmp_path: Path, point: str, victim: str
) -> None:
    corpus = make_series(tmp_path / "series", 12, SIZE, SIZE)
    px("smdb", "init", "--basemount", basemount).ok()
    listener = listen(env={"PX_STOP_AT": point})
    listener.send(corpus.directory)
    acknowledged = listener.acknowledged()
    assert acknowledged == {file.SOPInstanceUID for file in corpus}
    wait_until(lambda: any(state(pid) == "T" for pid in listener.children("python")), f"the worker is at {point}")
    assert_sound(listener.layout, corpus)
    if victim == "worker":
        kill(listener.children("python")[0])
        listener.wait_for("worker-restarted")
    kill_all(listener)
    assert_sound(listener.layout, corpus)
    following = listen()
    wait_until(lambda: len(spool.listeners(following.layout.incoming)) == 1, "the old folder is worked off")
    following.stop()
    assert_filed(following.layout, corpus)
    assert_tidy(following.layout)


def run_to(point: str, argv: list[str], home: Path) -> None:
    """Run a command to a point, and kill it there with its children; it may end without coming by."""
    quiet = subprocess.DEVNULL
    environment = clean_environment(home, {"PX_STOP_AT": point})
    process = subprocess.Popen(
        argv, env=environment, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )  # fmt: skip
    wait_until(lambda: stopped(process.pid) or process.poll() is not None, f"{argv[1]} is at {point}")
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, f"{argv[1]} comes by {point}"


@pytest.mark.parametrize(
    ("option", "point"),
    [(option, point) for option in ("--copy", "--move") for point in (*FILING, *TABLES)][:: 1 if LONG else 4],
)
def test_repack_at_a_point(px: PxRunner, basemount: Path, tmp_path: Path, point: str, option: str) -> None:
    corpus = make_series(tmp_path / "series", 6, SIZE, SIZE)
    originals = {f.SOPInstanceUID: f for f in corpus}
    kept = Path(shutil.copytree(corpus.directory, tmp_path / "sources"))
    px("smdb", "init", "--basemount", basemount).ok()
    argv = ["repack", "--basemount", str(basemount), *(["--move"] if option == "--move" else []), str(kept)]
    run_to(point, [installed("px"), *argv], tmp_path / "home")
    layout = Layout.of_basemount(basemount)
    assert_sound(layout, corpus)
    assert px(*argv).returncode in ((0, 50) if option == "--move" else (0,)), "50: all was moved already"
    assert assert_sound(layout, corpus) == set(originals)
    assert_tidy(layout)
    px("smdb", "verify", "--basemount", basemount).ok()


@pytest.mark.parametrize(
    ("verb", "point"),
    [(verb, point) for verb in ("migrate", "rebuild") for point in TABLES][:: 1 if LONG else 3],
)
def test_smdb_at_a_point(px: PxRunner, basemount: Path, tmp_path: Path, verb: str, point: str) -> None:
    corpus = make_series(tmp_path / "series", 6, SIZE, SIZE)
    layout = Layout.of_basemount(basemount)
    px("smdb", "init", "--basemount", basemount, *(("--format", "3") if verb == "migrate" else ())).ok()
    px("repack", "--basemount", basemount, corpus.directory).ok()
    if verb == "rebuild":
        lose_tables(layout)
    argv = ["smdb", verb, "--basemount", str(basemount)]
    run_to(point, [installed("px"), *argv], tmp_path / "home")
    assert_sound(layout, corpus)
    px(*argv).ok()
    assert assert_sound(layout, corpus) == {file.SOPInstanceUID for file in corpus}
    assert_tidy(layout)
    px("smdb", "verify", "--basemount", basemount).ok()


def lose_tables(layout: Layout) -> None:
    for directory in (layout.patient_dir, layout.study_dir, layout.series_dir):
        shutil.rmtree(directory)
        directory.mkdir()


def text_report(SOPInstanceUID: str, meta_bytes: int) -> tuple[bytes, bytes]:
    """The data set of an SR in two parts; a file of `meta_bytes` and the first ends with an element and a block."""
    first = (
        short(8, 0x0016, "UI", "1.2.840.10008.5.1.4.1.1.88.11") + short(8, 0x0018, "UI", SOPInstanceUID)
        + short(8, 0x0020, "DA", "20260101") + short(8, 0x0060, "CS", "SR") + short(8, 0x103E, "LO", "A report")
        + short(0x10, 0x0010, "PN", "Doe^Jane") + short(0x10, 0x0020, "LO", "PID-77")
        + short(0x20, 0x000D, "UI", "1.2.3.4") + short(0x20, 0x000E, "UI", "1.2.3.4.5")
    )  # fmt: skip
    filler = -(meta_bytes + len(first) + 8) % 4096 + 4096
    first += short(0x20, 0x4000, "LT", "x" * filler)
    assert (meta_bytes + len(first)) % 4096 == 0
    return first, short(0x40, 0xA040, "CS", "CONTAINER") + short(0x40, 0xA050, "CS", "SEPARATE")


def meta_bytes(listen: Start) -> int:
    """How long the preamble and the meta information are that storescp writes for an SR with a UID of our length."""
    listener = listen()
    uid = "1.2.3.4.5.100"
    parts = text_report(uid, 0)
    with closing(RawSender(listener.port)) as sender:
        sender.ask(uid)
        sender.data(b"".join(parts), last=True)
        assert sender.status() == 0
    listener.wait_for("association-ended")
    (path,) = recorded(listener.layout, ["1.2.3.4.5"]).values()
    listener.stop()
    return path.stat().st_size - len(b"".join(parts))


@pytest.mark.parametrize("victims", ["storescp", "all"])
def test_storescp_between_two_pdus_of_a_report(listen: Start, victims: str) -> None:
    """The cut is at the end of an element and of a block on disk: the file looks whole, but nobody was told so."""
    size = meta_bytes(listen)
    uid = "1.2.3.4.5.200"
    first, _ = text_report(uid, size)
    listener = listen()
    layout = listener.layout
    with closing(RawSender(listener.port)) as sender:
        sender.ask(uid)
        sender.data(first, last=False)

        def received() -> list[Path]:
            found = [path for path in layout.incoming.rglob("SR*") if path.is_file()]
            return [path for path in found if path.stat().st_size == size + len(first)]

        wait_until(received, "the first part is on disk")
        if victims == "all":
            kill_all(listener)
        else:
            kill(listener.children("storescp")[0])
            listener.wait_for("association-ended")
    following = listen() if victims == "all" else listener
    (event,) = following.wait_for("rejected-file")
    assert event["reason"] == "the program that received it was killed before it was known to be whole"
    following.stop()
    assert set(recorded(layout, ["1.2.3.4.5"])) == {"1.2.3.4.5.100"}
    assert len([path for path in layout.data.rglob("*") if path.is_file()]) == 1


def test_a_report_of_whole_blocks_is_filed(listen: Start) -> None:
    """The same size on disk, but acknowledged."""
    size = meta_bytes(listen)
    uid = "1.2.3.4.5.200"
    first, _ = text_report(uid, size)
    listener = listen()
    with closing(RawSender(listener.port)) as sender:
        sender.ask(uid)
        sender.data(first, last=True)
        assert sender.status() == 0
    listener.wait_for("association-ended")
    assert set(recorded(listener.layout, ["1.2.3.4.5"])) == {"1.2.3.4.5.100", uid}
    listener.stop()


def cut_sender(listener: Listener, corpus: Corpus, tmp_path: Path) -> None:
    listener.series = set(corpus.series())
    for part in split(corpus, tmp_path, 2):
        listener.send(part, options=SLOWLY)


def kill_listener_at_random(listen: Start, tmp_path: Path, chance: random.Random) -> None:
    """Kill the worker, storescp, px listen or all of them in mid-transfer; the next listener files what was acknowledged."""
    corpus = make_series(tmp_path / "series", 80, SIZE, SIZE)
    listener = listen()
    cut_sender(listener, corpus, tmp_path)
    some_files(listener, chance.randint(1, 70))
    time.sleep(chance.uniform(0, 0.02))
    victim = chance.choice(["worker", "storescp", "listener", "all"])
    if victim == "all":
        kill_all(listener)
    else:
        pids = {"worker": listener.children("python"), "storescp": listener.children("storescp")[:1]}
        for pid in pids.get(victim, [listener.px.pid]):
            kill(pid)
    acknowledged = listener.acknowledged()
    assert_sound(listener.layout, corpus)
    listener.px.kill()
    following = listen()
    wait_until(lambda: len(spool.listeners(following.layout.incoming)) == 1, "the old folder is worked off")
    following.stop()
    assert acknowledged <= assert_sound(following.layout, corpus), f"after a kill of {victim}"
    assert_tidy(following.layout)


def kill_command_at_random(argv: list[str], home: Path, chance: random.Random, longest_s: float) -> None:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        argv, env=clean_environment(home), stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )  # fmt: skip
    time.sleep(chance.uniform(0.05, longest_s))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kill_repack_at_random(px: PxRunner, basemount: Path, tmp_path: Path, chance: random.Random) -> None:
    corpus = make_series(tmp_path / "series", 150, SIZE, SIZE)
    argv = ["repack", "--basemount", str(basemount), str(corpus.directory)]
    for _ in range(3):
        kill_command_at_random([installed("px"), *argv], tmp_path / "home", chance, 0.6)
    layout = Layout.of_basemount(basemount)
    px(*argv).ok()
    assert assert_sound(layout, corpus) == {file.SOPInstanceUID for file in corpus}
    assert_tidy(layout)


def kill_smdb_at_random(px: PxRunner, basemount: Path, tmp_path: Path, chance: random.Random, verb: str) -> None:
    corpus = make_series(tmp_path / "series", 60, 16, 16)
    layout = Layout.of_basemount(basemount)
    px("smdb", "init", "--basemount", basemount, *(("--format", "3") if verb == "migrate" else ())).ok()
    px("repack", "--basemount", basemount, corpus.directory).ok()
    if verb == "rebuild":
        lose_tables(layout)
    argv = ["smdb", verb, "--basemount", str(basemount)]
    for _ in range(3):
        kill_command_at_random([installed("px"), *argv], tmp_path / "home", chance, 0.7)
        assert_sound(layout, corpus)
    px(*argv).ok()
    assert assert_sound(layout, corpus) == {file.SOPInstanceUID for file in corpus}
    assert_tidy(layout)


Crime = Callable[[Start, PxRunner, Path, Path, random.Random], None]
CRIMES: dict[str, Crime] = {
    "listen": lambda listen, px, base, tmp, chance: kill_listener_at_random(listen, tmp, chance),
    "repack": lambda listen, px, base, tmp, chance: kill_repack_at_random(px, base, tmp, chance),
    "migrate": lambda listen, px, base, tmp, chance: kill_smdb_at_random(px, base, tmp, chance, "migrate"),
    "rebuild": lambda listen, px, base, tmp, chance: kill_smdb_at_random(px, base, tmp, chance, "rebuild"),
}
ORDER = ("listen", "repack", "migrate", "rebuild", "listen", "listen", "listen", "repack")


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_at_a_random_instant(listen: Start, px: PxRunner, basemount: Path, tmp_path: Path, seed: int) -> None:
    """Commands three times in a round."""
    CRIMES[ORDER[seed % len(ORDER)]](listen, px, basemount, tmp_path, random.Random(seed))


def test_what_the_dead_left_is_cleaned_but_not_what_is_alive(listen: Start, basemount: Path, tmp_path: Path) -> None:
    layout = Layout.of_basemount(basemount)
    corpus = make_series(tmp_path / "series", 3, 16, 16)
    leave_behind(layout, corpus)
    long_ago = time.time() - 3600
    for name in ("dead", "living", "young"):
        unborn = layout.incoming / f".new-listener-{name}"
        unborn.mkdir()
        (unborn / spool.LOCK).touch()
        if name != "young":
            os.utime(unborn, (long_ago, long_ago))
    held = spool.take_lock(layout.incoming / ".new-listener-living")
    assert held is not None
    os.utime(layout.incoming / ".new-listener-living", (long_ago, long_ago))
    listener = listen()
    wait_until(lambda: len(spool.listeners(layout.incoming)) == 1, "the old folder is worked off")
    listener.stop()
    os.close(held)
    assert sorted(path.name for path in layout.incoming.glob(".new-*")) == [
        ".new-listener-living", ".new-listener-young",
    ]  # fmt: skip
    assert_filed(layout, corpus)


def test_a_scratch_folder_of_a_killed_find_goes_with_the_next(px: PxRunner, tmp_path: Path) -> None:
    """It holds the query, so the name of a patient."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        argv = [
            "find", "--serverIP", "127.0.0.1", "--serverPort", str(mute.getsockname()[1]), "--aec", "MUTE",
            "--PatientID", "PID-5000",
        ]  # fmt: skip
        running = px.start(*argv)
        scratch = tmp_path / "home" / "tmp"
        wait_until(lambda: list(scratch.glob("px-find-*/**/*.dcm")), "the query is written")
        px.start(*argv)
        wait_until(lambda: len(list(scratch.glob("px-find-*/.lock"))) == 2, "a second one lives beside it")
        running.kill()
    px.stop_all()
    assert len(list(scratch.glob("px-find-*"))) == 2
    assert px(*[word.replace(argv[4], "1") if word == argv[4] else word for word in argv]).returncode == 10
    assert list(scratch.glob("px-*")) == []


def test_scratch_folders_of_the_dead_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = tmp_path / "px-find-dead"
    unlocked = tmp_path / "px-other-thing"
    loose = tmp_path / "px-find-loose"
    for folder, mode in ((dead, 0o700), (unlocked, 0o700), (loose, 0o755)):
        folder.mkdir()
        folder.chmod(mode)
        (folder / "q1.dcm").write_bytes(b"Doe^Jane")
    for folder in (dead, loose):
        (folder / ".lock").touch()
    with scratch_folder("find") as living:
        assert living.stat().st_mode & 0o777 == 0o700
        with scratch_folder("move") as other:
            assert living.is_dir()
            assert other.is_dir()
        assert not other.exists()
        assert not dead.exists()
    assert sorted(tmp_path.iterdir()) == [loose, unlocked], "of those that are not surely ours and dead, none"


def test_a_scratch_folder_that_never_got_its_lock_goes_when_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process was killed in between; one that was just made may get its lock in a moment."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    old, young, foreign = (tmp_path / name for name in ("px-send-old", "px-send-young", "px-send-foreign"))
    for folder in (old, young, foreign):
        folder.mkdir(mode=0o700)
    (foreign / "something").touch()
    for folder in (old, foreign):
        os.utime(folder, (1, 1))
    with scratch_folder("find"):
        assert (old.exists(), young.exists(), foreign.exists()) == (False, True, True)
