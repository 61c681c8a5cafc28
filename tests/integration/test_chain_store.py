"""From a PACS into CUBE by the commands a user types: Orthanc, px listen, a real Swift, CUBEs of both dialects."""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cube_contract import CubeServer, FolderStore, SwiftStore
from cube_contract.items import Dialect
from support.corpus import Corpus, CorpusFile
from support.dicom import dataset_bytes
from support.pxrun import PxResult, PxRunner, RunningPx
from support.servers import Orthanc
from support.swift_server import SwiftServer

PATIENT = "PID-1001"
DIALECTS: tuple[Dialect, ...] = ("old", "new")
SECRETS = ("chris1234", "testing")
COUNTS = ("expected", "received", "packed", "pushed", "registered")
SERVICE = "--swiftServicesPACS", "CLINIC"


@pytest.fixture
def listener(px: PxRunner, orthanc: Orthanc, basemount: Path, free_port: Callable[[], int]) -> Iterator[RunningPx]:
    """A listener with AE title PXCHAIN that Orthanc knows, filing into `basemount`."""
    port = free_port()
    orthanc.knows("PXCHAIN", port)
    running = px.start("listen", "--basemount", basemount, "--port", port, "--bind", "127.0.0.1", "--aet", "PXCHAIN")
    running.wait_for("ready")
    try:
        yield running
    finally:
        orthanc.forgets("PXCHAIN")


@dataclass(slots=True)
class Spy:
    """Reads the command lines of all processes of this user while it watches, but those that existed before."""

    lines: set[str]

    @contextmanager
    def watching(self) -> Iterator[None]:
        before, stop = set(Path("/proc").iterdir()), threading.Event()

        def look() -> None:
            while not stop.wait(0.002):
                for name in set(Path("/proc").iterdir()) - before:
                    try:
                        words = (name / "cmdline").read_bytes()
                    except OSError:
                        continue
                    self.lines.add(words.replace(b"\0", b" ").decode(errors="replace"))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def set_service(px: PxRunner, basemount: Path, kind: str, name: str, entry: dict[str, str]) -> None:
    result = px("smdb", "service", kind, "set", name, "-", "--basemount", basemount, input=json.dumps(entry)).ok()
    assert not any(secret in result.stdout + result.stderr for secret in SECRETS)


@dataclass(slots=True)
class Site:
    """A BASEMOUNT that names a Swift `store` and a CUBE `cube` over it."""

    px: PxRunner
    basemount: Path
    swift: SwiftServer
    server: CubeServer
    orthanc: Orthanc

    @property
    def env(self) -> dict[str, str]:
        return {
            "PX_SERVER_IP": self.orthanc.host,
            "PX_SERVER_PORT": str(self.orthanc.port),
            "PX_AEC": self.orthanc.aet,
            "PX_AET": "PXCHAIN",
            "PX_BASEMOUNT": str(self.basemount),
        }

    def run(self, *args: str, env: dict[str, str] | None = None, **more: Any) -> PxResult:
        result = self.px(*args, env={**self.env, **(env or {})}, **more)
        assert not any(secret in result.stdout + result.stderr for secret in SECRETS)
        return result

    def status(self, *args: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run("status", *args, "--jsonl").ok().stdout.splitlines()]

    def registered(self) -> set[str]:
        return {str(row["fname"]) for row in self.server.cube.data.files.values()}

    def records(self) -> str:
        """Every text that px keeps, but for the service keys themselves."""
        return "".join(path.read_text() for path in (self.basemount / "log").rglob("*") if path.is_file())


@pytest.fixture
def make_site(
    px: PxRunner, basemount: Path, swift: SwiftServer, cube_server: Callable[..., CubeServer], orthanc: Orthanc
) -> Iterator[Callable[[Dialect], Site]]:
    sites: list[Site] = []

    def make(dialect: Dialect) -> Site:
        server = cube_server(SwiftStore(swift.account), dialect, looks=3, pause_s=0.05)
        where = {"ip": "127.0.0.1", "port": str(swift.port), "login": swift.user, "key": swift.key}
        set_service(px, basemount, "storage", "store", {"storagetype": "swift", **where})
        set_service(px, basemount, "CUBE", "cube", {"url": server.url, "username": "chris", "password": "chris1234"})
        sites.append(Site(px, basemount, swift, server, orthanc))
        return sites[-1]

    yield make
    for site in sites:
        assert site.server.violations == []
        assert site.server.bugs == []


def wanted(corpus: Corpus) -> list[CorpusFile]:
    return [file for file in corpus if file.PatientID == PATIENT]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_from_the_pacs_into_cube_in_one_command(
    make_site: Callable[[Dialect], Site], corpus: Corpus, listener: RunningPx, dialect: Dialect
) -> None:
    site, spy = make_site(dialect), Spy(set())
    push = {"swift": "store", "swiftServicesPACS": "CLINIC", "swiftPackEachDICOM": True}
    register = {"CUBE": "cube", "swiftServicesPACS": "CLINIC", "parseAllFilesWithSubStr": "dcm"}
    args = ("--then", "retrieve,status,push,register", "--thenArgs", f";;{json.dumps(push)};{json.dumps(register)}")
    with spy.watching():
        result = site.run("find", "--PatientID", PATIENT, *args, "--json").ok()
    files = wanted(corpus)
    then = json.loads(result.stdout)["then"]
    assert list(then) == ["do", "00-retrieve", "01-status", "02-push", "03-register"]
    pushed = [one for study in then["02-push"]["study"] for series in study.values() for one in series]
    assert all(one["status"] is True for one in pushed)
    assert sorted(name for one in pushed for name in one["objectFileList"]) == sorted(site.swift.names())
    entries = [one for study in then["03-register"]["study"] for series in study.values() for one in series]
    assert sum(len(one["run"]) for one in entries) == len(files)
    assert all(one["status"] is True for one in entries)

    statuses = site.status("--PatientID", PATIENT)
    assert {status["SeriesInstanceUID"]: [status[name] for name in COUNTS] for status in statuses} == {
        uid: [len([file for file in files if file.SeriesInstanceUID == uid])] * 5
        for uid in {file.SeriesInstanceUID for file in files}
    }
    assert site.registered() == set(site.swift.names())
    sent = {Path(name).stem.partition("-")[2]: name for name in site.swift.names()}
    for file in files:
        copy = site.basemount / "copy.dcm"
        copy.write_bytes(site.swift.account.get("users", sent[file.SOPInstanceUID]))
        assert dataset_bytes(copy) == dataset_bytes(file.path)
    assert listener.stop() == 0
    assert any("movescu" in line for line in spy.lines), "the spy saw nothing"
    for secret in SECRETS:
        assert secret not in site.records()
        assert not [line for line in spy.lines if secret in line]

    seen = len(site.server.statuses()), len([one for one in site.swift.requests() if one.method == "PUT"])
    again = site.run(
        "find", "--PatientID", PATIENT, "--then", "push,register",
        "--thenArgs", f"{json.dumps(push)};{json.dumps(register)}", "--jsonl",
    ).ok()  # fmt: skip
    records = [json.loads(line) for line in again.stdout.splitlines()]
    assert sum(record.get("pushed", 0) for record in records) == 0
    assert sum(record.get("new", 0) for record in records) == 0
    assert seen == (len(site.server.statuses()), len([one for one in site.swift.requests() if one.method == "PUT"]))


def test_what_a_chain_cannot_do_is_said_before_it_begins(
    make_site: Callable[[Dialect], Site], listener: RunningPx
) -> None:
    site = make_site("new")
    for verbs, arguments, said in (
        ("retrieve,push", ";{}", "no target is named"),
        ("retrieve,push", ';{"swift": "store"}', "--swiftServicesPACS"),
        ("retrieve,push", ';{"swift": "nobody", "swiftServicesPACS": "X"}', "'nobody' is no entry"),
        ("retrieve,push", ';{"swift": "store", "swiftPORT": 1}', "no 'swiftPORT'"),
        ("retrieve,push", ';{"swift": "store", "storeBaseLocation": "/x"}', "several targets"),
        ("retrieve,register", ";{}", "no CUBE"),
        ("retrieve,register", ';{"CUBE": "cube", "swiftServicesPACS": "' + "x" * 21 + '"}', "21 characters"),
        ("retrieve,register", ';{"CUBE": "cube", "db": "/nowhere/log"}', "db names /nowhere/log"),
    ):
        result = site.run("find", "--PatientID", PATIENT, "--then", verbs, "--thenArgs", arguments)
        assert (result.returncode, len(result.stderr.splitlines())) == (2, 1), (result.stderr, arguments)
        assert said in result.stderr
    assert not list((site.basemount / "data").rglob("*.dcm"))


def test_a_chain_whose_store_is_down_keeps_what_it_retrieved(
    make_site: Callable[[Dialect], Site], corpus: Corpus, listener: RunningPx, free_port: Callable[[], int]
) -> None:
    site = make_site("old")
    down = {"swiftIP": "127.0.0.1", "swiftPort": free_port(), "swiftLogin": "a:b", "swiftServicesPACS": "CLINIC"}
    chain = ("--then", "retrieve,push,register,status", "--thenArgs", f';{json.dumps(down)};{{"CUBE": "cube"}};')
    result = site.run("find", "--PatientID", PATIENT, *chain, "--json", env={"PX_SWIFT_KEY": "canary"})
    assert result.returncode == 30, result.stderr
    document = json.loads(result.stdout)
    assert "a:b" not in result.stdout
    assert "canary" not in result.stdout + result.stderr + site.records()
    pushes = [one for study in document["then"]["01-push"]["study"] for series in study.values() for one in series]
    assert {one["status"] for one in pushes} == {False}
    assert len(pushes) == len({file.SeriesInstanceUID for file in wanted(corpus)})
    assert "127.0.0.1" in result.stderr
    assert {
        (status["packed"], status["pushed"], status["registered"]) for status in site.status("--PatientID", PATIENT)
    } == {(len(corpus.of_series(uid)), 0, 0) for uid in {file.SeriesInstanceUID for file in wanted(corpus)}}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_command_by_command(
    make_site: Callable[[Dialect], Site], corpus: Corpus, tmp_path: Path, dialect: Dialect
) -> None:
    """Files that no PACS sent: pushed by directory, the document piped into register; then by UID, and by variables."""
    site = make_site(dialect)
    uid = next(uid for uid in corpus.series() if len(corpus.of_series(uid)) == 6)
    folder = tmp_path / "export"
    folder.mkdir()
    for number, file in enumerate(corpus.of_series(uid)):
        (folder / f"{number}.dcm").write_bytes(file.path.read_bytes())
    site.run("repack", str(folder)).ok()

    bad = site.run("push", "--SeriesInstanceUID", uid, "--swift", "store", *SERVICE)
    assert bad.returncode == 30
    assert "--partial" in bad.stderr
    swift = {
        "PX_SWIFT_IP": "127.0.0.1", "PX_SWIFT_PORT": str(site.swift.port), "PX_SWIFT_LOGIN": site.swift.user,
        "PX_SWIFT_KEY": site.swift.key, "PX_SWIFT_SERVICES_PACS": "CLINIC",
    }  # fmt: skip
    pushed = site.run("push", "--xcrdir", str(folder), "--json", env=swift).ok()
    document = json.loads(pushed.stdout)
    assert (document["status"], sorted(document["objectFileList"])) == (True, sorted(site.swift.names()))
    cube = {"PX_CUBE_URL": site.server.url, "PX_CUBE_PASSWORD": "chris1234"}
    registered = site.run("register", "--json", env=cube, input=pushed.stdout).ok()
    assert len(json.loads(registered.stdout)["run"]) == 6
    assert site.registered() == set(site.swift.names())

    again = site.run("push", "--SeriesInstanceUID", uid, "--swift", "store", *SERVICE, "--partial", "--jsonl").ok()
    record = json.loads(again.stdout)
    assert (record["pushed"], record["skipped"], record["state"]) == (0, 6, "pushed")
    twice = ("--CUBE", "cube", "--swift", "store", "--jsonl", "--partial", "--partial", *SERVICE)
    record = json.loads(site.run("register", "--SeriesInstanceUID", uid, *twice).ok().stdout)
    assert (record["registered"], record["new"], record["dialect"][:8]) == (
        6,
        0,
        "per-file" if dialect == "old" else "per-seri",
    )
    wrong = site.run(
        "register", "--SeriesInstanceUID", uid, "--CUBEURL", site.server.url, env={"PX_CUBE_PASSWORD": "canary"}
    )
    assert wrong.returncode == 31
    assert "canary" not in wrong.stderr + site.records()


def test_push_to_a_pacs_and_never_to_the_one_that_is_asked(
    make_site: Callable[[Dialect], Site], corpus: Corpus, storescp_sink: Callable[..., Any]
) -> None:
    site = make_site("new")
    uid = next(uid for uid in corpus.series() if len(corpus.of_series(uid)) == 6)
    site.run("repack", str(corpus.of_series(uid)[0].path.parent)).ok()
    before = site.orthanc.instances()
    unnamed = site.run("push", "--SeriesInstanceUID", uid, "--partial")
    assert (unnamed.returncode, "no target is named" in unnamed.stderr) == (2, True)
    sink = storescp_sink()
    half = site.run(
        "push", "--SeriesInstanceUID", uid, "--partial", "--serverIP", "127.0.0.1", "--serverPort", str(sink.port)
    )
    assert half.returncode == 2
    assert "--aec" in half.stderr
    to = ("--serverIP", "127.0.0.1", "--serverPort", str(sink.port), "--aec", sink.aet)
    sent = site.run("push", "--SeriesInstanceUID", uid, "--partial", *to, "--jsonl").ok()
    assert json.loads(sent.stdout)["pushed"] == len(site.status("--SeriesInstanceUID", uid)) * 6
    assert site.orthanc.instances() == before
    sink.stop()
    gone = site.run("push", "--SeriesInstanceUID", uid, "--partial", "--replace", *to[:4], "--aec", "OTHER")
    assert gone.returncode == 10


def test_objects_by_hand(make_site: Callable[[Dialect], Site], tmp_path: Path) -> None:
    site = make_site("new")
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    (source / "a.txt").write_text("one")
    (source / "below" / "b.txt").write_text("two")
    for place in (("--swift", "store"), ("--storeBaseLocation", str(tmp_path / "store"))):

        def storage(*words: str, place: tuple[str, ...] = place) -> PxResult:
            return site.run("storage", *words, *place)

        storage("put", str(source), "s1").ok()
        storage("put", str(source / "a.txt"), "s10/").ok()
        assert "was there" in storage("put", str(source / "a.txt"), "s10/a.txt").ok().stdout
        listed = storage("ls", "s1", "--jsonl").ok().stdout.splitlines()
        assert [json.loads(line)["name"] for line in listed] == ["s1/a.txt", "s1/below/b.txt"]
        assert storage("exists", "s10/a.txt").returncode == 0
        assert storage("exists", "s1").returncode == 1
        storage("get", "s1", str(tmp_path / "back")).ok()
        assert (tmp_path / "back" / "below" / "b.txt").read_text() == "two"
        folder = storage("rm", "s1")
        assert (folder.returncode, "rm -r" in folder.stderr) == (2, True)
        storage("rm", "s1", "-r").ok()
        assert storage("rm", "s1", "-r").returncode == 2
        names = [json.loads(line)["name"] for line in storage("ls", "--jsonl").ok().stdout.splitlines()]
        assert names == ["s10/a.txt"], "s10 went with s1"
        do = json.dumps({"action": "ls", "args": {"path": "/s10"}})
        document = json.loads(site.run("storage", *place, "--do", do).ok().stdout)
        assert [entry["name"] for entry in document["ls"]] == ["s10/a.txt"]
        storage("rm", "s10/a.txt").ok()
        assert json.loads(storage("ls", "--json").ok().stdout) == {"status": False, "ls": []}


def test_services_are_checked(make_site: Callable[[Dialect], Site], free_port: Callable[[], int]) -> None:
    site = make_site("old")
    for kind, name, said in (("storage", "store", "users"), ("CUBE", "cube", "file by file")):
        shown = site.run("smdb", "service", kind, "list").ok()
        assert "****" in shown.stdout
        assert said in site.run("smdb", "service", kind, "check", name).ok().stdout
    wrong = {"url": site.server.url, "username": "chris", "password": "canary"}
    set_service(site.px, site.basemount, "CUBE", "wrong", wrong)
    refused = site.run("smdb", "service", "CUBE", "check", "wrong")
    assert refused.returncode == 31
    assert "canary" not in refused.stderr
    entry = {"storagetype": "swift", "ip": "127.0.0.1", "port": str(free_port()), "login": "a:b"}
    set_service(site.px, site.basemount, "storage", "down", entry)
    assert site.run("smdb", "service", "storage", "check", "down").returncode == 30
    site.run("smdb", "service", "storage", "remove", "down").ok()
    assert site.run("smdb", "service", "storage", "check", "down").returncode == 2


def test_a_directory_as_store_shares_the_bytes(
    make_site: Callable[[Dialect], Site], corpus: Corpus, tmp_path: Path, cube_server: Callable[..., CubeServer]
) -> None:
    site = make_site("new")
    uid = next(uid for uid in corpus.series() if len(corpus.of_series(uid)) == 6)
    site.run("repack", str(corpus.of_series(uid)[0].path.parent)).ok()
    root = tmp_path / "media"
    line = f"push --SeriesInstanceUID {uid} --storeBaseLocation media --link --partial --swiftServicesPACS CLINIC"
    site.run(*shlex.split(line), cwd=tmp_path).ok()
    stored = list(root.rglob("*.dcm"))
    assert len(stored) == 6
    assert {path.stat().st_nlink for path in stored} == {2}
    server = cube_server(FolderStore(root), "new", looks=3, pause_s=0.05)
    cube = {"PX_CUBE_URL": server.url, "PX_CUBE_PASSWORD": "chris1234"}
    names = ("--xcrdir", str(site.basemount / "data"), "--parseAllFilesWithSubStr", stored[0].parent.name)
    site.run("register", *names, *SERVICE, "--storeBaseLocation", str(root), env=cube).ok()
    assert len(server.cube.data.files) == 6
    assert server.violations == []
