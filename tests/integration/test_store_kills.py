"""kill -9 of px push and px register at random instants: the next run completes, and nothing lies in between."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cube_contract import CubeServer, FolderStore
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.workflows.pushlog import push_records
from pypx.workflows.repack import repack
from support.corpus import make_series
from support.pxrun import clean_environment, installed
from support.swift_server import SwiftServer

KILLS = 200 if os.environ.get("PX_TEST_LONG") == "1" else 6
FILES = 40


class Case:
    """One series of forty, and what is run over it."""

    def __init__(self, base: Path) -> None:
        series = make_series(base / "source", FILES, rows=128, cols=128)
        self.root = base / "basemount"
        self.uid = UID(series.files[0].SeriesInstanceUID)
        self.home = base / "home"
        database = Database.open_or_create(Layout.of_basemount(self.root))
        list(repack([series.directory], database))
        database.set_series_fields(self.uid, "retrieve", {"NumberOfSeriesRelatedInstances": str(FILES)})
        images = [database.layout.resolve(one.file) for one in database.images(self.uid).values()]
        data = database.layout.data
        self.wanted = {f"SERVICES/PACS/P/{file.relative_to(data).as_posix()}": file.read_bytes() for file in images}

    def database(self) -> Database:
        return Database.open(Layout.of_basemount(self.root))

    def forget(self, what: str) -> None:
        self.database().layout.series_table(self.uid, what).unlink(missing_ok=True)

    def run(self, *words: str, kill_after_s: float | None = None, **env: str) -> tuple[bool, float]:
        """Run px, to its end or until it is killed; whether it came to its end, and the seconds it took."""
        argv = [installed("px"), *words, "--SeriesInstanceUID", self.uid, "--basemount", str(self.root)]
        began = time.monotonic()
        environment = clean_environment(self.home, env)
        with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as px:
            try:
                _, said = px.communicate(timeout=60 if kill_after_s is None else kill_after_s)
            except subprocess.TimeoutExpired:
                px.send_signal(signal.SIGKILL)
                px.communicate()
                return False, time.monotonic() - began
        assert px.returncode == 0, said.decode()
        return True, time.monotonic() - began

    def recorded(self) -> dict[str, str]:
        records = push_records(self.database(), self.uid)
        return dict(records[0].names) if records else {}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("kills"))


def instants(seconds: float, name: str) -> list[float]:
    """When to kill, a third of all, anywhere in a run that takes so long."""
    rng = random.Random(name)
    return [rng.uniform(0.2, 1.0) * seconds for _ in range(KILLS // 3 + (name == "folder") * (KILLS % 3))]


def test_push_to_a_folder(case: Case, tmp_path: Path) -> None:
    root = tmp_path / "store"
    words = ["push", "--storeBaseLocation", str(root), "--swiftServicesPACS", "P"]
    case.forget("push")
    _, seconds = case.run(*words)
    for instant in instants(seconds, "folder"):
        shutil.rmtree(root, ignore_errors=True)
        case.forget("push")
        case.run(*words, kill_after_s=instant)
        there = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.dcm")}
        assert all(case.wanted[name] == data for name, data in there.items()), "half a file under a final name"
        assert set(case.recorded().values()) <= there.keys(), "recorded and not there"
        case.run(*words)
        assert {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.dcm")} == case.wanted
        assert set(case.recorded().values()) == set(case.wanted)


def test_push_to_swift(case: Case, swift: SwiftServer) -> None:
    where = ["--swiftIP", "127.0.0.1", "--swiftPort", str(swift.port), "--swiftLogin", swift.user]
    words = ["push", *where, "--swiftServicesPACS", "P"]
    case.forget("push")
    _, seconds = case.run(*words, PX_SWIFT_KEY=swift.key)
    for instant in instants(seconds, "swift"):
        swift.empty()
        case.forget("push")
        case.run(*words, kill_after_s=instant, PX_SWIFT_KEY=swift.key)
        listed = {entry.name: entry.size for entry in swift.account.listing("users")}
        assert all(len(case.wanted[name]) == size for name, size in listed.items())
        assert set(case.recorded().values()) <= listed.keys()
        case.run(*words, PX_SWIFT_KEY=swift.key)
        assert {name: swift.account.get("users", name) for name in swift.names()} == case.wanted
        assert set(case.recorded().values()) == set(case.wanted)


def test_register(case: Case, cube_server: Callable[..., CubeServer], tmp_path: Path) -> None:
    media = tmp_path / "media"
    store = ["--storeBaseLocation", str(media), "--swiftServicesPACS", "P"]
    case.forget("push")
    case.run("push", *store)
    seconds = 0.0
    for number, instant in enumerate([1.0, *instants(1.0, "cube")]):
        server = cube_server(FolderStore(media), "new" if number % 3 == 2 else "old", looks=3, pause_s=0.05)
        words = ["register", *store, "--CUBEURL", server.url]
        case.forget("register")
        if number:
            case.run(*words, kill_after_s=instant * seconds, PX_CUBE_PASSWORD="chris1234")
        record = case.database().series_fields(case.uid, "register")
        assert int(record.get("registered", 0)) <= len(server.cube.data.files), "recorded and not there"
        _, took = case.run(*words, PX_CUBE_PASSWORD="chris1234")
        seconds = seconds or took
        assert sorted(row["fname"] for row in server.cube.data.files.values()) == sorted(case.wanted)
        assert case.database().series_fields(case.uid, "register")["registered"] == FILES
        assert len(server.cube.data.series) == (1 if number % 3 == 2 else 0)
