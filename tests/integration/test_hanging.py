"""A PACS or a store that hangs, at each stage: every command ends by itself, with its code, in one line, and cleans up."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.workflows.ledger import read_ledger
from scripted_pacs import Fault, Script, ScriptedPacs, make_archive
from support.hanging import Stage, hanging_peer
from support.listening import Start
from support.ports import free_port
from support.pxrun import PxResult, PxRunner
from support.rawsend import RawSender, short
from support.servers import HOST
from support.silent import mute_peer
from support.tls import Certificates

LONG = bool(os.environ.get("PX_TEST_LONG"))
LIMITS = ("--timeout", "1", "--acse-timeout", "1", "--dimse-timeout", "1")
SOON_S = 9.0
"""No run may take longer: three limits of a second, start-up, and a busy machine; the limit around a program is 13 s."""

LISTENER = "PXLISTEN"
ARCHIVE = make_archive("hanging", patients=1, studies=1, series=1, instances=6)
STUDY = ARCHIVE.studies()[0]
SERIES = STUDY.series[0]
UIDS = ("--StudyInstanceUID", STUDY.StudyInstanceUID, "--SeriesInstanceUID", SERIES.SeriesInstanceUID)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def peer(port: int) -> tuple[str, ...]:
    return ("--serverIP", HOST, "--serverPort", str(port), "--aec", "SCRIPTED", "--aet", "PX")


def command(verb: str, images: Path) -> tuple[str, ...]:
    """The words of a command that talks to a PACS."""
    return {
        "echo": ("echo",),
        "find": ("find",),
        "find-then": ("find", "--then", "retrieve", "--move-destination", LISTENER, "--basemount", "basemount"),
        "move": ("move", *UIDS, "--move-destination", LISTENER, "--no-wait"),
        "push": ("push", "--xcrdir", str(images)),
    }[verb]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and after how many seconds."""

    px: PxResult
    seconds: float


def ended(px: PxRunner, *words: str | Path | int, env: dict[str, str] | None = None, most: float = SOON_S) -> Ended:
    began = time.monotonic()
    result = px(*words, env=env)
    took = time.monotonic() - began
    assert took < most
    assert not list((px.home / "tmp").iterdir()), "temporary files are left"
    return Ended(result, took)


def assert_said(result: Ended, verb: str, port: int, code: int) -> None:
    """One line that names the PACS; a push names each file before."""
    lines = result.px.stderr.splitlines()
    assert result.px.returncode == code, result.px.stderr
    if verb == "push":
        assert lines[-1].startswith("px push: ")
        lines = lines[-1:]
    assert len(lines) == (1 if code else 0), result.px.stderr
    assert not code or f"SCRIPTED@{HOST}:{port}" in lines[0]


def children_left(home: Path) -> list[str]:
    """Programs that still run with the temporary directory of these commands in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and str(home).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # noqa: PERF203 - a process that has just ended
            continue
    return found


VERBS = ("echo", "find", "find-then", "move", "push")
PLAIN: list[tuple[str, Stage, int]] = [
    *((verb, "full", 10) for verb in VERBS),
    *((verb, "connected", 10) for verb in VERBS),
    *((verb, "associated", 12) for verb in VERBS),
    ("echo", "unreleased", 0),
]
TLS: list[tuple[str, Stage, int]] = [
    *((verb, "full", 10) for verb in VERBS),
    *((verb, "connected", 10) for verb in VERBS),
    *((verb, "secured", 10) for verb in VERBS),
    *((verb, "associated", 12) for verb in VERBS),
    ("echo", "unreleased", 0),
]


@pytest.mark.parametrize(("verb", "stage", "code"), PLAIN if LONG else list(dict.fromkeys(PLAIN[::3] + PLAIN[4::5])))
def test_a_pacs_that_hangs(px: PxRunner, golden_corpus: Path, verb: str, stage: Stage, code: int) -> None:
    with hanging_peer(stage) as port:
        result = ended(px, *command(verb, golden_corpus), *peer(port), *LIMITS)
    assert_said(result, verb, port, code)
    assert children_left(px.home) == []


@pytest.mark.parametrize(("verb", "stage", "code"), TLS if LONG else TLS[5::3])
def test_a_pacs_that_hangs_in_tls(
    px: PxRunner, golden_corpus: Path, certificates: Certificates, verb: str, stage: Stage, code: int
) -> None:
    with hanging_peer(stage, certificates.server) as port:
        tls = ("--tls", "--tls-ca", certificates.ca)
        result = ended(px, *command(verb, golden_corpus), *peer(port), *LIMITS, *tls)
    assert_said(result, verb, port, code)
    assert children_left(px.home) == []


# --- in the middle of a request


@pytest.fixture
def pacs() -> Iterator[Callable[[Script], ScriptedPacs]]:
    running: list[ScriptedPacs] = []

    def start(script: Script, port: int = 0) -> ScriptedPacs:
        one = ScriptedPacs(free_port(), "SCRIPTED", {LISTENER: (HOST, port or free_port())}, ARCHIVE, script).start()
        running.append(one)
        return one

    try:
        yield start
    finally:
        for one in running:
            one.stop()


def test_a_find_that_stops_after_an_answer(px: PxRunner, pacs: Callable[..., ScriptedPacs]) -> None:
    one = pacs(Script(faults=(Fault("silence", "C-FIND", after=1),)))
    result = ended(px, "find", *peer(one.port), *LIMITS)
    assert result.px.returncode == 3, result.px.stderr
    assert f"SCRIPTED@{HOST}:{one.port} sent nothing within the time limit" in result.px.stderr
    assert children_left(px.home) == []


def test_a_move_that_stops_after_two_images(
    px: PxRunner, listen: Start, basemount: Path, pacs: Callable[..., ScriptedPacs]
) -> None:
    """What came is filed and counted; the rest is known to be missing."""
    listener = listen()
    one = pacs(Script(faults=(Fault("silence", "C-MOVE", after=2),)), listener.port)
    words = (*command("move", basemount)[:-1], *peer(one.port), "--basemount", str(basemount), "--idle", "1")
    result = ended(px, *words, *LIMITS)
    assert result.px.returncode == 3, result.px.stderr
    assert f"SCRIPTED@{HOST}:{one.port}" in result.px.stderr + result.px.stdout
    database = Database.open(Layout.of_basemount(basemount))
    assert len(database.images(UID(SERIES.SeriesInstanceUID))) == 2
    expected = read_ledger(database, UID(SERIES.SeriesInstanceUID)).expectation.instances
    assert set(expected or ()) == set(SERIES.uids)


@pytest.mark.skipif(not LONG, reason="the limit within a message is a minute, DCMTK's own: PX_TEST_LONG=1")
@pytest.mark.parametrize("stopped", ["within a PDU", "between two PDUs"])
def test_a_sender_that_stops_within_a_message(listen: Start, stopped: str) -> None:
    """The listener ends the association, though the sender does not hang up; the half image is never filed."""
    listener = listen("--dimse-timeout", "1", "--acse-timeout", "1")
    sender = RawSender(listener.port)
    with closing(sender):
        sender.ask("1.2.3.4.5")
        sender.data(short(8, 0x18, "UI", "1.2.3.4.5"), last=False)
        if stopped == "within a PDU":
            sender.socket.sendall(b"\4\0\0\0\x10\0half")
        began = time.monotonic()
        (event,) = listener.wait_for("association-ended", timeout=90)
        assert time.monotonic() - began > 50, "it was another limit"
        assert event["files"] == 0
        listener.stop()
    assert not list(listener.layout.data.rglob("*.dcm"))


# --- stores and CUBE


KINDS = {"swift": 30, "s3": 30, "CUBE": 31}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_named_service_that_hangs(px: PxRunner, tmp_path: Path, kind: str, by: str) -> None:
    """A check gives up after the silences that docs/limits.rst says: two of a Swift, five of an S3, one of CUBE."""
    with mute_peer() as port:
        entry: dict[str, str] = {"ip": HOST, "port": str(port), "login": "chris:chris", "key": "k"}
        if kind == "s3":
            entry = {"storagetype": "s3", "endpoint": f"http://{HOST}:{port}", "access_key": "a", "secret_key": "b"}
        if kind == "CUBE":
            entry = {"url": f"http://{HOST}:{port}/api/v1/", "username": "chris", "password": "p"}
        file = {"swift": "swift", "s3": "storage", "CUBE": "cube"}[kind]
        (tmp_path / "services").mkdir(mode=0o700)
        path = tmp_path / "services" / f"{file}.json"
        path.write_text(json.dumps({"far": entry}))
        path.chmod(0o600)
        mine, other = ("CUBE", "STORE") if kind == "CUBE" else ("STORE", "CUBE")
        limits = {f"PX_{mine}_TIMEOUT": "0.5", f"PX_{other}_TIMEOUT": "9000"}
        words = [f"--{name[3:].lower().replace('_', '-')}={value}" for name, value in limits.items()]
        began = time.monotonic()
        result = px(
            "smdb", "service", "CUBE" if kind == "CUBE" else "storage" if kind == "s3" else "swift", "check", "far",
            "--basemount", tmp_path, *(words if by == "option" else ()), env=limits if by == "variable" else {},
        )  # fmt: skip
    assert result.returncode == KINDS[kind], result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert ("gives no answer" if kind == "CUBE" else "no answer within 0.5 s") in result.stderr
    assert time.monotonic() - began < 20, "five silences, boto3's pauses of up to 15 s, and the start of px"


def test_a_store_that_hangs(px: PxRunner, golden_corpus: Path) -> None:
    with mute_peer() as port:
        swift = ("--swiftIP", HOST, "--swiftPort", port, "--swiftLogin", "chris:chris", "--store-timeout", "0.5")
        env = {"PX_SWIFT_KEY": "testing"}
        for words in (("storage", "ls", *swift), ("storage", "put", golden_corpus, "to", *swift)):
            result = ended(px, *words, env=env)
            assert result.px.returncode == 30, result.px.stderr
            assert "no answer within 0.5 s" in result.px.stderr
