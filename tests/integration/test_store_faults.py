"""Push and register through a proxy that does harm: they succeed after bounded repeats, or say why not; records are true."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cube_contract import CubeServer, FolderStore
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.peers import SwiftTarget
from pypx.services.storage import file_md5
from pypx.services.swift import SwiftStore
from pypx.workflows.pushlog import push_records
from pypx.workflows.repack import repack
from support.corpus import make_series
from support.fault_proxy import Fault, FaultProxy, fault_proxy
from support.ports import wait_until
from support.pxrun import PxResult, PxRunner
from support.swift_server import SwiftServer

FILES = 6
LONG = os.environ.get("PX_TEST_LONG") == "1"
_T = TypeVar("_T")


def some(cases: Sequence[_T], number: int) -> list[_T]:
    """All cases in a long run, else some, always the same."""
    return list(cases) if LONG else random.Random("store faults").sample(list(cases), number)


SOFT_S = 25.0
"""No run of these may take longer, with the time limits that they set."""


@dataclass(frozen=True, slots=True)
class Series:
    """A BASEMOUNT with one series of six images."""

    root: Path
    uid: str

    @property
    def database(self) -> Database:
        return Database.open(Layout.of_basemount(self.root))

    def wanted(self) -> dict[str, bytes]:
        layout = self.database.layout
        paths = [layout.resolve(record.file) for record in self.database.images(UID(self.uid)).values()]
        return {f"SERVICES/PACS/CLINIC/{path.relative_to(layout.data).as_posix()}": path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory) -> Series:
    base = tmp_path_factory.mktemp("faults")
    series = make_series(base / "source", FILES, rows=64, cols=64)
    database = Database.open_or_create(Layout.of_basemount(base / "basemount"))
    list(repack([series.directory], database))
    uid = series.files[0].SeriesInstanceUID
    database.set_series_fields(UID(uid), "retrieve", {"NumberOfSeriesRelatedInstances": str(FILES)})
    return Series(base / "basemount", uid)


@pytest.fixture
def series(filed: Series, tmp_path: Path) -> Series:
    shutil.copytree(filed.root, tmp_path / "basemount")
    return Series(tmp_path / "basemount", filed.uid)


@dataclass(frozen=True, slots=True)
class Store:
    """A Swift behind a proxy, as px is told of it; S3 is the same Swift."""

    kind: str
    swift: SwiftServer
    proxy: FaultProxy
    series: Series
    px: PxRunner

    def push(self, *options: str, timeout_s: float = 2) -> PxResult:
        env = {"PX_BASEMOUNT": str(self.series.root), "PX_STORE_TIMEOUT": str(timeout_s)}
        if self.kind == "swift":
            env |= {"PX_SWIFT_KEY": self.swift.key}
            where = ["--swiftIP", "127.0.0.1", "--swiftPort", str(self.proxy.port), "--swiftLogin", self.swift.user]
        else:
            entry = {
                "storagetype": "s3", "endpoint": f"http://127.0.0.1:{self.proxy.port}", "access_key": self.swift.user,
                "secret_key": self.swift.key,
            }  # fmt: skip
            file = self.series.root / "services" / "storage.json"
            file.parent.mkdir(mode=0o700, exist_ok=True)
            file.write_text(json.dumps({"far": entry}))
            file.chmod(0o600)
            where = ["--swift", "far"]
        words = ["push", "--SeriesInstanceUID", self.series.uid, "--swiftServicesPACS", "CLINIC", *where, *options]
        began = time.monotonic()
        result = self.px(*words, env=env)
        assert time.monotonic() - began < SOFT_S
        return result

    def content(self) -> dict[str, bytes]:
        return {name: self.swift.account.get("users", name) for name in self.swift.names()}

    def check_record(self) -> int:
        """What is recorded as pushed is there with equal bytes; how many that are."""
        content = self.content()
        records = push_records(self.series.database, UID(self.series.uid))
        names = dict(records[0].names) if records else {}
        for file, name in names.items():
            assert content.get(name) == Path(file).read_bytes(), f"{name} is recorded and not in the store"
        return len(names)


@pytest.fixture(params=["swift", "s3"])
def store(request: pytest.FixtureRequest, swift: SwiftServer, series: Series, px: PxRunner) -> Iterator[Store]:
    with fault_proxy(swift.port) as proxy:
        yield Store(request.param, swift, proxy, series, px)


def one_line(result: PxResult) -> str:
    """The last line of stderr, which says what went wrong."""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert lines, "nothing was said"
    assert "a bug in px" not in result.stderr
    assert result.returncode != 70
    return lines[-1]


OBJECT = "SERVICES/PACS"
PASSING = [
    Fault("reset-before", "PUT", OBJECT, at=2),
    Fault("reset-in-request", "PUT", OBJECT, at=2),
    Fault("reset-after", "PUT", OBJECT, at=3),
    Fault("reset-in-response", "GET"),
    Fault("reset-in-response", "PUT", OBJECT, at=1),
    Fault("status", "PUT", OBJECT, at=2, times=2),
    Fault("status", "GET", at=1),
    Fault("status", "HEAD", at=1),
    Fault("short", "GET", "prefix"),
    Fault("chunked", "GET", "prefix"),
    Fault("silence", "PUT", OBJECT, at=4, seconds=30),
    Fault("silence-after", "PUT", OBJECT, at=4, seconds=30),
    Fault("drip", "GET", "prefix", seconds=0.01),
]


def called(fault: Fault) -> str:
    return f"{fault.kind}-{fault.method}-{fault.path.replace('/', '')}-{fault.at}"


@pytest.mark.parametrize("fault", some(PASSING, 3), ids=called)
def test_push_gets_through_what_passes(store: Store, fault: Fault) -> None:
    store.proxy.script(fault)
    if fault.path == "prefix":
        store.push().ok()  # so that the listing has something in it
        for name in store.swift.names()[:2]:
            store.swift.account.delete("users", name)
        store.proxy.script(fault)
    store.push().ok()
    assert store.proxy.hits() >= 1, [one.path for one in store.proxy.seen]
    assert store.content() == store.series.wanted(), "something is missing, broken, or there twice"
    assert store.check_record() == FILES


STAYING = [
    Fault("reset-before", "PUT", OBJECT, at=None),
    Fault("reset-in-request", "PUT", OBJECT, at=3, times=99),
    Fault("status", "PUT", OBJECT, at=3, times=99, status=403),
    Fault("silence", "PUT", OBJECT, at=3, times=99, seconds=30),
    Fault("etag", "PUT", OBJECT, at=2),
]


@pytest.mark.parametrize("fault", some(STAYING, 2), ids=called)
def test_push_says_what_does_not_pass_and_the_next_goes_on(store: Store, fault: Fault) -> None:
    if fault.kind == "silence" and store.kind == "s3":
        pytest.skip("boto3 repeats a silence five times; that a limit is kept is seen with Swift")
    store.proxy.script(fault)
    result = store.push("--jobs", "2", timeout_s=1)
    assert result.returncode in (3, 30), result.stderr
    assert "push" in one_line(result)
    assert store.check_record() < FILES
    store.proxy.script()
    store.push().ok()
    assert store.content() == store.series.wanted()
    assert store.check_record() == FILES


def test_retry_after_is_kept_to(store: Store) -> None:
    if store.kind == "s3":
        pytest.skip("boto3 has pauses of its own")
    store.proxy.script(Fault("status", "PUT", OBJECT, at=1, headers={"Retry-After": "3"}))
    began = time.monotonic()
    store.push("--jobs", "1").ok()
    assert time.monotonic() - began >= 3
    assert store.check_record() == FILES


ABSURD = ["9" * 400, "-1", "nan", "1e309", "Fri, 31 Feb 99999 25:00:00 GMT", ""]


@pytest.mark.parametrize("asked", ABSURD if LONG else ABSURD[1::2])
def test_what_is_no_time_to_wait_changes_nothing(store: Store, asked: str) -> None:
    """Neither a crash nor a wait that is longer than our own pauses, but for the number that is one: see below."""
    if asked == ABSURD[0]:
        pytest.skip("that is a time: the longest, 30 s; the next test breaks it off")
    store.proxy.script(Fault("status", "PUT", OBJECT, at=1, headers={"Retry-After": asked}))
    began = time.monotonic()
    store.push("--jobs", "1").ok()
    assert time.monotonic() - began < 10
    assert store.proxy.hits() == 1
    assert store.check_record() == FILES


@pytest.mark.parametrize("asked", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_ctrl_c_ends_a_wait_that_a_store_asked_for(store: Store, asked: str) -> None:
    if store.kind == "s3":
        pytest.skip("boto3 has pauses of its own")
    store.proxy.script(Fault("status", "PUT", OBJECT, at=1, times=99, headers={"Retry-After": asked}))
    env = {"PX_BASEMOUNT": str(store.series.root), "PX_SWIFT_KEY": store.swift.key}
    words = ["--swiftIP", "127.0.0.1", "--swiftPort", str(store.proxy.port), "--swiftLogin", store.swift.user]
    command = ["push", "--SeriesInstanceUID", store.series.uid, "--swiftServicesPACS", "CLINIC", "--jobs", "1"]
    running = store.px.start(*command, *words, env=env)
    wait_until(store.proxy.hits, "the store asks for it")
    time.sleep(0.3)  # it is in the wait, or about to be: both are to be ended
    assert running.process.poll() is None
    began = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(20) == 130, running.stderr()
    assert time.monotonic() - began < 3, "a second, and a loaded machine"
    assert len(running.stderr().strip().splitlines()) <= 2, running.stderr()


def test_token_that_expires_in_mid_upload_is_renewed_once(swift: SwiftServer, series: Series, px: PxRunner) -> None:
    with fault_proxy(swift.port) as proxy:
        store = Store("swift", swift, proxy, series, px)
        proxy.script(Fault("status", "PUT", OBJECT, at=3, status=401))
        store.push("--jobs", "1").ok()
        assert sum(1 for one in proxy.seen if one.path.startswith("/auth/")) == 2
        assert store.content() == series.wanted()
        swift.empty()
        proxy.script(Fault("status", "PUT", OBJECT, at=3, times=99, status=401))
        result = store.push("--jobs", "1")
        assert result.returncode in (3, 30)
        assert "401" in one_line(result)
        assert sum(1 for one in proxy.seen if one.path.startswith("/auth/")) == 2, "it goes on logging in"
        assert store.check_record() == 2


@pytest.mark.parametrize("kind", ["reset-in-response", "short", "chunked", "drip"])
def test_download_goes_on_where_it_broke_off(swift: SwiftServer, tmp_path: Path, kind: Any) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * (20 if kind == "drip" else 20_000))
    with fault_proxy(swift.port) as proxy:
        auth = f"http://127.0.0.1:{proxy.port}/auth/v1.0"
        store = SwiftStore(SwiftTarget(auth, swift.user, swift.key), timeout_s=2, backoff_s=0.01)
        store.put(source, "a/b.dcm", file_md5(source))
        proxy.script(Fault(kind, "GET", "a/b.dcm", seconds=0.0001))
        got = store.get("a/b.dcm", tmp_path / "got.dcm")
        assert (tmp_path / "got.dcm").read_bytes() == source.read_bytes()
        assert got.size == source.stat().st_size
        assert proxy.hits() == 1


# CUBE


@dataclass(frozen=True, slots=True)
class Site:
    """A CUBE behind a proxy, over a folder that the series is pushed to."""

    server: CubeServer
    proxy: FaultProxy
    series: Series
    media: Path
    px: PxRunner

    def push(self) -> None:
        words = ["--storeBaseLocation", str(self.media), "--swiftServicesPACS", "CLINIC"]
        self.px("push", "--SeriesInstanceUID", self.series.uid, *words, env=self._env()).ok()

    def _env(self) -> dict[str, str]:
        return {"PX_BASEMOUNT": str(self.series.root), "PX_CUBE_PASSWORD": "chris1234", "PX_CUBE_TIMEOUT": "2"}

    def register(self) -> PxResult:
        url = f"http://127.0.0.1:{self.proxy.port}/api/v1/"
        words = ["--CUBEURL", url, "--storeBaseLocation", str(self.media), "--swiftServicesPACS", "CLINIC"]
        began = time.monotonic()
        result = self.px("register", "--SeriesInstanceUID", self.series.uid, *words, env=self._env())
        assert time.monotonic() - began < SOFT_S
        return result

    def registered(self) -> list[str]:
        return sorted(row["fname"] for row in self.server.cube.data.files.values())

    def check_record(self) -> int:
        record = self.series.database.series_fields(UID(self.series.uid), "register")
        count = int(record.get("registered", 0))
        assert count <= len(self.registered()), "more is recorded than CUBE has"
        return count


@pytest.fixture
def site(
    request: pytest.FixtureRequest, cube_server: Callable[..., CubeServer], series: Series, px: PxRunner, tmp_path: Path
) -> Iterator[Site]:
    media = tmp_path / "media"
    server = cube_server(FolderStore(media), request.param, looks=3, pause_s=0.05)
    with fault_proxy(server.port) as proxy:
        found = Site(server, proxy, series, media, px)
        found.push()
        yield found


OLD, NEW = "/pacsfiles/", "/pacs/series/"
ON_CUBE = [
    ("old", Fault("reset-before", "POST", OLD, at=2)),
    ("old", Fault("reset-in-request", "POST", OLD, at=2)),
    ("old", Fault("reset-after", "POST", OLD, at=2)),
    ("old", Fault("reset-in-response", "POST", OLD, at=3)),
    ("old", Fault("short", "POST", OLD, at=3)),
    ("old", Fault("chunked", "POST", OLD, at=3)),
    ("old", Fault("status", "POST", OLD, at=2, headers={"Retry-After": "1"})),
    ("old", Fault("status", "POST", OLD, at=3, status=401)),
    ("old", Fault("silence-after", "POST", OLD, at=2, seconds=30)),
    ("old", Fault("status", "GET", "/search/", at=1, headers={"Retry-After": "1"})),
    ("old", Fault("short", "GET", "/search/", at=1)),
    ("old", Fault("status", "POST", "/auth-token/", at=1)),
    ("old", Fault("drip", "POST", OLD, at=1, seconds=0.001)),
    ("new", Fault("reset-after", "POST", NEW, at=1)),
    ("new", Fault("reset-in-response", "POST", NEW, at=1)),
    ("new", Fault("short", "POST", NEW, at=1)),
    ("new", Fault("status", "POST", NEW, at=1, status=401)),
    ("new", Fault("chunked", "GET", "/search/", at=1)),
    ("new", Fault("reset-before", "GET", "", at=1)),
]


@pytest.mark.parametrize(
    ("site", "fault"),
    some(ON_CUBE, 5),
    indirect=["site"],
    ids=lambda value: value if isinstance(value, str) else called(value),
)
def test_register_gets_through_what_passes(site: Site, fault: Fault) -> None:
    site.proxy.script(fault)
    site.register().ok()
    assert site.proxy.hits() >= 1, [one.path for one in site.proxy.seen]
    assert site.registered() == sorted(site.series.wanted())
    assert site.check_record() == FILES
    posts = [one for one in site.proxy.seen if one.method == "POST" and one.path.endswith((OLD, NEW))]
    assert len(posts) <= (FILES if fault.path == OLD or len(posts) > 2 else 1) + 1
    done = site.server.statuses()[201]
    assert done == (FILES if OLD in {fault.path} or len(posts) > 2 else 1)


@pytest.mark.parametrize(
    ("site", "fault"),
    [
        ("old", Fault("silence", "POST", OLD, at=2, seconds=30)),
        ("old", Fault("status", "POST", OLD, at=2, times=99)),
        ("old", Fault("reset-before", ".*", "", at=None)),
        ("new", Fault("status", "POST", NEW, at=1)),
        ("new", Fault("status", ".*", "/search/", at=None, status=401)),
    ],
    indirect=["site"],
)
def test_register_says_what_does_not_pass_and_the_next_goes_on(site: Site, fault: Fault) -> None:
    site.proxy.script(fault)
    result = site.register()
    assert result.returncode in (3, 31), result.stderr
    assert "CUBE" in one_line(result)
    assert site.check_record() < FILES
    site.proxy.script()
    site.register().ok()
    assert site.registered() == sorted(site.series.wanted())
    assert site.check_record() == FILES
