"""The made-up patient and passwords between px and a PACS that fails: listener, TLS, find, move, and damaged tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.canary import (
    AET,
    ANY,
    BIRTH,
    IDENTITY,
    KEY_PASSWORD,
    NAME,
    SERIES,
    STUDY,
    WRONG,
    Site,
    check_people,
    check_records,
    check_seen,
    instance,
)
from support.hanging import Stage, hanging_peer
from support.limits import LONG
from support.ports import free_port, wait_until
from support.pxrun import RunningPx
from support.rawsend import RawSender, short
from support.servers import HOST, run_tool
from support.tls import Certificates, TlsOrthanc
from support.watch import watching

LIMITS = ("--timeout", "1", "--acse-timeout", "1", "--dimse-timeout", "1")


def send(port: int, *files: Path) -> None:
    run_tool("dcmsend", "-aec", AET, HOST, str(port), *map(str, files))


def port_of(listener: RunningPx) -> int:
    return next(int(json.loads(line)["port"]) for line in listener.stdout().splitlines() if '"ready"' in line)


# --- the listener


def test_a_listener_that_gets_conflicts_and_broken_files(
    canary: Site, canary_listener: RunningPx, canary_images: list[Path], tmp_path: Path
) -> None:
    port, incoming = port_of(canary_listener), canary.basemount / "incoming"
    other = tmp_path / "other.dcm"
    instance(2, description="Other").save_as(other, enforce_file_format=True)
    with watching(canary.px.home / "tmp", incoming) as seen:
        send(port, *canary_images)
        wait_until(lambda: len(list((canary.basemount / "data").rglob("*.dcm"))) == len(canary_images), "all is filed")
        send(port, other)
        wait_until(lambda: any((incoming / "conflicts").rglob("*.reason.txt")), "the conflict is set aside")
        leave_broken(port, incoming, canary_images)
        wait_until(lambda: len(list((incoming / "rejected").rglob("*.reason.txt"))) >= 2, "broken files are set aside")
        run_tool("echoscu", "-to", "5", "-ta", "5", "-aec", "OTHER", HOST, str(port))
        busy = canary.px("listen", "--basemount", canary.basemount, "--port", port, "--bind", HOST)
        assert busy.returncode == 1
        assert canary_listener.stop() == 0
    kinds = {json.loads(line)["kind"] for line in canary_listener.stdout().splitlines()}
    assert {"conflict", "rejected-file", "association-rejected"} <= kinds, f"only {kinds} were told"
    check_people([*canary.said, canary_listener.stderr(), canary_listener.stdout(), busy.stderr, busy.stdout])
    check_seen(seen, "storescp")
    check_records(canary.basemount)


def leave_broken(port: int, incoming: Path, images: list[Path]) -> None:
    """What a killed listener left: an instance cut short, and a text; and a sender that goes away half way."""
    dead = incoming / "listener-dead" / "00000001"
    dead.mkdir(parents=True)
    (dead / "MR.cut").write_bytes(images[3].read_bytes()[:-3])
    (dead / "MR.text").write_text(f"{NAME} {IDENTITY} {BIRTH}")
    with closing(RawSender(port, called=AET)) as sender:
        sender.ask(f"{SERIES}.9")
        sender.data(short(8, 0x18, "UI", f"{SERIES}.9") + short(0x10, 0x10, "PN", NAME), last=False)


def test_a_listener_that_cannot_file(
    canary: Site, canary_listener: RunningPx, canary_images: list[Path], tmp_path: Path
) -> None:
    """A file is in the place of the patient's directory, and a table of theirs is damaged."""
    port, data = port_of(canary_listener), canary.basemount / "data"
    with watching(canary.px.home / "tmp", canary.basemount / "incoming") as seen:
        send(port, canary_images[0])
        wait_until(lambda: any(data.rglob("*.dcm")), "the first is filed")
        top = next(path for path in data.iterdir() if IDENTITY in path.name)
        top.rename(tmp_path / "elsewhere")
        top.write_text("in the way")
        send(port, *canary_images[1:])
        wait_until(lambda: "filing-failed" in canary_listener.stdout(), "that the images cannot be filed is told")
        top.unlink()
        (tmp_path / "elsewhere").rename(top)
        canary_listener.stop()
    check_people([canary_listener.stderr(), canary_listener.stdout()])
    check_seen(seen, "storescp")
    check_records(canary.basemount)


# --- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(tmp_path: Path, certificates: Certificates, canary_images: list[Path]) -> Iterator[TlsOrthanc]:
    server = TlsOrthanc(tmp_path / "orthanc-tls", certificates)
    try:
        server.upload(canary_images)
        yield server
    finally:
        server.stop()


def test_keys_with_a_password(
    canary: Site, secure: TlsOrthanc, certificates: Certificates, canary_images: list[Path], tmp_path: Path
) -> None:
    """The password of the key is known to px alone: to none of its programs, and not to the relay's."""
    locked, port = certificates.locked(KEY_PASSWORD), free_port()
    own = {
        "PX_TLS": "1", "PX_TLS_CA": str(certificates.ca), "PX_TLS_CERT": str(locked.cert),
        "PX_TLS_KEY": str(locked.key), "PX_TLS_KEY_PASSWORD": KEY_PASSWORD, "PX_SERVER_PORT": str(secure.port),
    }  # fmt: skip
    secure.knows(AET, port, UseDicomTls=True)
    query = tmp_path / "query.json"
    query.write_text(json.dumps({"PatientID": IDENTITY, "PatientName": NAME, "PatientBirthDate": BIRTH}))
    push = ("push", "--xcrdir", canary_images[0].parent, "--serverIP", HOST, "--serverPort", secure.port, "--aec", "ORTHANC",
            "--tls", "--tls-ca", certificates.ca, "--tls-cert", locked.cert, "--tls-key", locked.key)  # fmt: skip
    bad: tuple[dict[str, str], ...] = (
        {"PX_TLS_KEY_PASSWORD": WRONG}, {"PX_TLS_CA": str(certificates.other_ca)}, {"PX_TLS_CA": str(query)},
    )  # fmt: skip
    with watching(canary.px.home / "tmp", canary.basemount / "incoming") as seen:
        listener = listen_by_tls(canary, port, certificates)
        canary.run("echo", env=own, data_out=False)
        found = canary.run("find", "--query-file", query, "--json", env=own).stdout
        assert IDENTITY in found, "the canary was not found: nothing is tested here"
        canary.run("move", input=found, env=own)
        canary.run(*push, env={**own, "PX_TLS_KEY_PASSWORD": WRONG}, ends=None)
        canary.run(*push, env=own)
        for wrong in bad:
            canary.run("echo", env={**own, **wrong}, ends=None, data_out=False)
            canary.run("find", "--query-file", query, env={**own, **wrong}, ends=None)
            canary.run("move", "--StudyInstanceUID", STUDY, "--move-destination", AET, env={**own, **wrong}, ends=None)
        run_tool("echoscu", "-to", "5", "-ta", "5", "+tla", "+cf", str(certificates.other_ca), HOST, str(port))
        assert listener.stop() == 0
    assert "tls-refused" in listener.stdout(), "the listener refused nobody"
    check_people([*canary.said, listener.stderr(), listener.stdout()])
    check_seen(seen, "echoscu", "findscu", "movescu", "dcmsend", "storescp")
    check_records(canary.basemount)


def listen_by_tls(canary: Site, port: int, certificates: Certificates) -> RunningPx:
    """A listener whose key has a password; before, one that is told a wrong one."""
    locked = certificates.locked(KEY_PASSWORD, certificates.server)
    words = (
        "listen", "--basemount", canary.basemount, "--port", port, "--bind", HOST, "--aet", AET, "--jsonl", "--tls",
        "--tls-cert", locked.cert, "--tls-key", locked.key,
    )  # fmt: skip
    canary.run(*words, env={"PX_LISTEN_TLS_KEY_PASSWORD": WRONG}, ends=2, data_out=False)
    listener = canary.px.start(*words, env={"PX_LISTEN_TLS_KEY_PASSWORD": KEY_PASSWORD, "PX_SWIFT_KEY": WRONG})
    listener.wait_for("ready")
    return listener


# --- a PACS that refuses or hangs


@pytest.mark.parametrize("stage", ["refused", "connected", "associated"] if LONG else ["refused", "connected"])
def test_commands_that_reach_no_pacs(canary: Site, tmp_path: Path, stage: Stage | str) -> None:
    query = tmp_path / "query.json"
    query.write_text(json.dumps({"PatientID": IDENTITY, "PatientName": NAME, "PatientBirthDate": BIRTH}))
    found = canary.run("find", "--query-file", query, "--json").stdout
    with watching(canary.px.home / "tmp") as seen:
        if stage == "refused":
            fail_to_ask(canary, free_port(), query, found)
        else:
            with hanging_peer("connected" if stage == "connected" else "associated") as port:
                fail_to_ask(canary, port, query, found)
    check_people(canary.said)
    check_seen(seen, "findscu", "movescu")
    check_records(canary.basemount)


def fail_to_ask(canary: Site, port: int, query: Path, found: str) -> None:
    peer = ("--serverPort", port, *LIMITS)
    document = json.loads(found)
    document["args"]["serverPort"] = str(port)
    canary.run("find", "--query-file", query, *peer, ends=None)
    canary.run("move", *peer, "--no-wait", input=found, ends=None)
    canary.run("do", "--then", "retrieve", "--force", *LIMITS, input=json.dumps(document), ends=None)
    if LONG:
        canary.run("find", "--query-file", query, "--then", "retrieve,status", *peer, ends=None)
        canary.run("move", *peer, input=found, ends=None)
        canary.run("move", "--StudyInstanceUID", STUDY, *peer, ends=None)


# --- the database


def test_commands_on_damaged_tables(canary: Site, canary_images: list[Path], tmp_path: Path) -> None:
    canary.run("smdb", "init", "--format", "3", data_out=False)
    canary.run("repack", canary_images[0].parent)
    query = tmp_path / "query.json"
    query.write_text(json.dumps({"PatientID": IDENTITY}))
    found = canary.run("find", "--query-file", query, "--json").stdout
    log = canary.basemount / "log"
    tables = [path for path in log.rglob("*.json") if IDENTITY in path.name or IDENTITY in path.read_text()]
    assert len(tables) > 2, "the patient is in no table: nothing is tested here"
    with watching(canary.px.home / "tmp") as seen:
        some = {table.parent.name: table for table in tables}
        for number, table in enumerate(tables if LONG else some.values()):
            whole = table.read_bytes()
            damages = (whole[:-5], f'{{"PatientName": {NAME}, {IDENTITY}: {BIRTH}'.encode(), b"[]")
            for damage in damages if LONG else damages[number % 3 :][:1]:
                table.write_bytes(damage)
                use(canary, found)
            table.write_bytes(whole)
        canary.run("smdb", "migrate")
        canary.run("report", input=found[:-40], ends=2, data_out=False)
    check_people(canary.said)
    check_seen(seen)
    check_records(canary.basemount)


def use(canary: Site, found: str) -> None:
    """Read, check and migrate; what fails is not the point here, but what is said then."""
    for words in (
        ("search", f"PatientID={IDENTITY}"), ("search", "Modality=MR"), ("verify",), ("migrate", "--dry-run"),
    ):  # fmt: skip
        may_fail(canary, "smdb", *words)
    may_fail(canary, "status", "--StudyInstanceUID", STUDY)
    may_fail(canary, "do", "--then", "status", input=found)


def may_fail(canary: Site, *words: str, input: str | None = None) -> None:  # noqa: A002 - named as in subprocess.run
    result = canary.run(*words, ends=ANY, input=input)
    assert result.returncode in (0, 1, 2, 3, 40), f"{words} ended with {result.returncode}: {result.stderr}"
