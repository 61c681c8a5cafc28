"""DICOM TLS with made certificates: towards Orthanc, storescp and odd peers, and as `px listen --tls`."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import InputError, PeerUnreachableError, PxError
from pypx.model.identifiers import UID, AETitle
from pypx.model.peers import PacsNode, TlsSettings
from pypx.services.dcmtk import Limits
from pypx.services.line import line_to
from pypx.workflows.echo import echo
from support.corpus import Corpus, make_series
from support.dicom import dataset_bytes, read
from support.ports import free_port, wait_until
from support.pxrun import PxResult, PxRunner, RunningPx
from support.servers import HOST, Destination, StorescpSink, program, run_tool
from support.silent import mute_peer
from support.tls import Certificates, Identity, TlsOrthanc, tls_peer

LIMITS = Limits(connect_s=3, acse_s=3, dimse_s=5)
VERIFICATION = "1.2.840.10008.1.1"
SMALL = 16


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def sinks(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[dict[str, StorescpSink]]:
    """storescp by TLS: with a good certificate, an expired one, one of another host, one that demands ours; and plain."""
    nobody = ("-ic",)
    options: dict[str, Sequence[str]] = {
        "good": (*certificates.server.dcmtk, *nobody),
        "expired": (*certificates.expired.dcmtk, *nobody),
        "other host": (*certificates.other_host.dcmtk, *nobody),
        "demanding": (*certificates.server.dcmtk, "+cf", str(certificates.ca), "-rc"),
        "plain": (),
    }
    with ExitStack() as stack:
        made = {}
        for name, words in options.items():
            folder = tmp_path_factory.mktemp("sink")
            made[name] = StorescpSink(folder, Destination("SINK", free_port()), words)
            stack.callback(made[name].stop)
        yield made


@pytest.fixture(scope="module")
def orthanc_tls(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, corpus: Corpus
) -> Iterator[TlsOrthanc]:
    server = TlsOrthanc(tmp_path_factory.mktemp("orthanc-tls"), certificates)
    try:
        server.upload(file.path for file in ordinary(corpus))
        yield server
    finally:
        server.stop()


def ordinary(corpus: Corpus) -> list[Any]:
    """The files of one study that has several series."""
    studies: dict[str, list[Any]] = {}
    for file in corpus:
        if file.kind == "ct" and file.PatientID:
            studies.setdefault(file.StudyInstanceUID, []).append(file)
    return max(studies.values(), key=len)


def node(port: int, tls: TlsSettings | None) -> PacsNode:
    return PacsNode(HOST, port, AETitle("SINK"), AETitle("PXTEST"), AETitle("PXTEST"), tls)


def refusal(port: int, tls: TlsSettings) -> str:
    with pytest.raises(PeerUnreachableError) as caught:
        echo(node(port, tls), limits=LIMITS)
    text = str(caught.value)
    assert "\n" not in text
    assert f"SINK@{HOST}:{port}" in text
    return text


# --- whom px believes


def test_a_trusted_pacs_answers(sinks: dict[str, StorescpSink], certificates: Certificates) -> None:
    assert echo(node(sinks["good"].port, TlsSettings(ca=certificates.ca)), limits=LIMITS).seconds > 0


def test_a_certificate_may_be_trusted_by_itself(
    sinks: dict[str, StorescpSink], certificates: Certificates, tmp_path: Path
) -> None:
    leaf = tmp_path / "leaf.pem"
    text = certificates.server.cert.read_text()
    leaf.write_text(text[: text.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n")
    assert echo(node(sinks["good"].port, TlsSettings(ca=leaf)), limits=LIMITS).seconds > 0


def test_an_unknown_ca(sinks: dict[str, StorescpSink], certificates: Certificates) -> None:
    for settings in (TlsSettings(ca=certificates.other_ca), TlsSettings()):
        assert "not signed by a CA that we trust" in refusal(sinks["good"].port, settings)
    assert "unknown ca" in sinks["good"].log()


def test_an_expired_certificate(sinks: dict[str, StorescpSink], certificates: Certificates) -> None:
    assert "certificate has expired" in refusal(sinks["expired"].port, TlsSettings(ca=certificates.ca))


def test_a_certificate_of_another_host(sinks: dict[str, StorescpSink], certificates: Certificates) -> None:
    port = sinks["other host"].port
    assert f"is not for {HOST}" in refusal(port, TlsSettings(ca=certificates.ca))
    assert "is not for pacs.example" in refusal(port, TlsSettings(ca=certificates.ca, name="pacs.example"))
    named = TlsSettings(ca=certificates.ca, name="pacs.example.org")
    assert echo(node(port, named), limits=LIMITS).seconds > 0


def test_a_client_certificate(sinks: dict[str, StorescpSink], certificates: Certificates) -> None:
    def with_own(identity: Identity) -> TlsSettings:
        return TlsSettings(ca=certificates.ca, cert=identity.cert, key=identity.key)

    port = sinks["demanding"].port
    assert "asks for a client certificate" in refusal(port, TlsSettings(ca=certificates.ca))
    assert "refuses our certificate: it does not trust its CA" in refusal(port, with_own(certificates.stranger))
    assert "refuses our certificate" in refusal(port, with_own(certificates.expired))
    assert echo(node(port, with_own(certificates.client)), limits=LIMITS).seconds > 0


def test_peers_that_speak_no_tls(sinks: dict[str, StorescpSink], certificates: Certificates) -> None:
    trusting = TlsSettings(ca=certificates.ca)
    assert "does not speak TLS" in refusal(sinks["plain"].port, trusting)
    with mute_peer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert "does not speak TLS" in refusal(port, trusting)
    with mute_peer(b"") as port:
        assert "does not speak TLS" in refusal(port, trusting)


def test_a_peer_that_never_answers_the_handshake(certificates: Certificates) -> None:
    with mute_peer() as port:
        assert "speak TLS on this port?" in refusal(port, TlsSettings(ca=certificates.ca))


def test_nobody_there(certificates: Certificates) -> None:
    assert "Connection refused" in refusal(free_port(), TlsSettings(ca=certificates.ca))
    nowhere = PacsNode("no-such-host.invalid", 104, AETitle("A"), AETitle("B"), AETitle("B"), TlsSettings())
    with pytest.raises(PeerUnreachableError, match="the host name is unknown"):
        echo(nowhere, limits=LIMITS)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_versions_and_suites_below_the_profile(certificates: Certificates) -> None:
    def old_version(context: ssl.SSLContext) -> None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1

    def old_suite(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-AES128-SHA")

    own = TlsSettings(ca=certificates.ca, cert=certificates.client.cert, key=certificates.client.key)
    with tls_peer(certificates.server, old_version) as port:
        assert "only older versions" in refusal(port, own)
    with tls_peer(certificates.server, old_suite) as port:
        assert "lack the cipher suites of BCP 195" in refusal(port, own)


def test_tls_1_2_and_no_client_certificate(certificates: Certificates) -> None:
    def demanding(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(certificates.ca)
        context.verify_mode = ssl.CERT_REQUIRED

    with tls_peer(certificates.server, demanding) as port:
        assert "ask for a client certificate" in refusal(port, TlsSettings(ca=certificates.ca))


# --- our own files


def test_keys_with_a_passphrase(sinks: dict[str, StorescpSink], certificates: Certificates, tmp_path: Path) -> None:
    locked = certificates.locked("sesame")
    port = sinks["demanding"].port
    file = tmp_path / "passphrase"
    file.write_text("sesame\n")
    file.chmod(0o600)
    good = TlsSettings(ca=certificates.ca, cert=locked.cert, key=locked.key, password_file=file)
    assert echo(node(port, good), limits=LIMITS).seconds > 0
    good = TlsSettings(ca=certificates.ca, cert=locked.cert, key=locked.key, password="sesame")
    assert "sesame" not in repr(good)
    assert echo(node(port, good), limits=LIMITS).seconds > 0
    for password, text in (("wrong", "passphrase of the key is wrong"), (None, "--tls-key-password-file")):
        with pytest.raises(InputError, match=text):
            echo(node(port, TlsSettings(cert=locked.cert, key=locked.key, password=password)), limits=LIMITS)
    file.chmod(0o644)
    with pytest.raises(InputError, match="other users have access"):
        echo(node(port, TlsSettings(cert=locked.cert, key=locked.key, password_file=file)), limits=LIMITS)


def test_files_that_cannot_be_used(certificates: Certificates, tmp_path: Path) -> None:
    loose = tmp_path / "loose.key"
    loose.write_bytes(certificates.client.key.read_bytes())
    loose.chmod(0o644)
    own = certificates.client.cert
    for settings, text in (
        (TlsSettings(cert=own, key=loose), "other users have access"),
        (TlsSettings(cert=own, key=certificates.server.key), "does not belong"),
        (TlsSettings(cert=own, key=tmp_path / "none"), "No such file"),
        (TlsSettings(cert=tmp_path / "none", key=certificates.client.key), "No such file"),
        (TlsSettings(ca=tmp_path / "none"), "No such file"),
        (TlsSettings(ca=certificates.client.key), "no certificates in PEM format"),
    ):
        with pytest.raises(InputError, match=text):
            echo(node(free_port(), settings), limits=LIMITS)


# --- the relay


def test_other_users_cannot_use_the_relay(sinks: dict[str, StorescpSink], certificates: Certificates) -> None:
    """A connection of another user is closed unheard, the same bytes of our own are carried."""
    if os.geteuid() != 0:
        pytest.skip("only root can run a program as another user")
    says = "import os,socket,sys;os.setuid(int(sys.argv[2]));s=socket.socket();s.connect(('127.0.0.1',int(sys.argv[1])));s.sendall(b'x'*100);"
    says += "s.settimeout(5);print(len(s.recv(100)))"
    talk = node(sinks["good"].port, TlsSettings(ca=certificates.ca))
    before = sinks["good"].log().count("Unrecognized PDU")
    with line_to(talk, connect_s=3, acse_s=3) as line:
        argv = [sys.executable, "-c", says, str(line.node.port)]
        stranger = subprocess.run([*argv, "65534"], capture_output=True, timeout=20, check=False)
        assert b"ConnectionReset" in stranger.stderr or stranger.stdout.strip() == b"0", stranger
        assert line.failure is None
        assert sinks["good"].log().count("Unrecognized PDU") == before
        subprocess.run([*argv, "0"], capture_output=True, timeout=20, check=False)
        wait_until(lambda: sinks["good"].log().count("Unrecognized PDU") > before, "our own bytes reach the peer")


def test_the_relay_is_gone_afterwards(sinks: dict[str, StorescpSink], certificates: Certificates) -> None:
    with line_to(node(sinks["good"].port, TlsSettings(ca=certificates.ca)), connect_s=3, acse_s=3) as line:
        assert line.node.host == HOST
        assert line.node.port != sinks["good"].port
        idle = socket.create_connection((HOST, line.node.port))
    with idle:
        idle.settimeout(5)
        with suppress(ConnectionError):
            assert idle.recv(1) == b""
    with closing(socket.socket()) as probe:
        assert probe.connect_ex((HOST, line.node.port)) != 0


# --- real work, by the command line


def test_push_by_tls(
    px: PxRunner, sinks: dict[str, StorescpSink], certificates: Certificates, tmp_path: Path, basemount: Path
) -> None:
    series = make_series(tmp_path / "series", 20, SMALL, SMALL, "tls push")
    sink = sinks["demanding"]
    target: list[str | Path | int] = ["--serverIP", HOST, "--serverPort", sink.port, "--aec", "SINK"]
    px(
        "push", "--xcrdir", tmp_path / "series", *target, "--tls", "--tls-ca", certificates.ca, *certificates.client.px
    ).ok()
    assert_same(series, sink)
    refused = px("push", "--xcrdir", tmp_path / "series", *target, "--tls", "--tls-ca", certificates.other_ca)
    assert refused.returncode == 10
    assert "not signed by a CA that we trust" in refused.stderr
    empty(sink)
    named_pacs(px, basemount, "archive", sink.port, certificates)
    px("push", "--xcrdir", tmp_path / "series", "--PACS", "archive", "--basemount", basemount).ok()
    assert_same(series, sink)
    empty(sink)


def test_echo_find_and_move_of_an_orthanc(
    px: PxRunner, orthanc_tls: TlsOrthanc, certificates: Certificates, basemount: Path, corpus: Corpus
) -> None:
    """Both legs by TLS, certificates demanded on both: px asks Orthanc, Orthanc sends to px listen."""
    files = ordinary(corpus)
    listener = start(px, basemount, certificates, "--tls-ca", certificates.ca)
    orthanc_tls.knows("PXTLS", listener.port, UseDicomTls=True)
    named_pacs(px, basemount, "orthanc", orthanc_tls.port, certificates, aec=orthanc_tls.aet, aet="PXTLS")
    try:
        named: list[str | Path | int] = ["--PACS", "orthanc", "--basemount", basemount]
        px("echo", *named).ok()
        found = px("find", *named, "--StudyInstanceUID", files[0].StudyInstanceUID, "--json").ok()
        document = json.loads(found.stdout)
        series = {entry["SeriesInstanceUID"]["value"] for entry in document["data"][0]["series"]}
        assert series == {file.SeriesInstanceUID for file in files}
        assert document["args"]["tls"] == "true"
        px("move", "--basemount", basemount, input=found.stdout).ok()  # all of the PACS is in the document
        assert_recorded(basemount, files)
        opened = listener.events("association-opened")[0]
        assert opened["calling_aet"] == orthanc_tls.aet
        assert opened["certificate"]
        plain = px("echo", *named, "--no-tls", "--acse-timeout", 5)
        assert plain.returncode == 10, plain.stderr
    finally:
        orthanc_tls.forgets("PXTLS")
    assert listener.px.stop() == 0


def test_chains_and_the_older_commands(
    px: PxRunner, orthanc_tls: TlsOrthanc, certificates: Certificates, basemount: Path, corpus: Corpus
) -> None:
    """The steps of --then take TLS from where find did; px-echo and px do, too."""
    files = ordinary(corpus)
    listener = start(px, basemount, certificates)
    orthanc_tls.knows("PXTLS", listener.port, UseDicomTls=True)
    own = certificates.client
    variables = {
        "PX_TLS": "1", "PX_TLS_CA": str(certificates.ca), "PX_TLS_CERT": str(own.cert), "PX_TLS_KEY": str(own.key),
        "PX_SERVER_IP": HOST, "PX_SERVER_PORT": str(orthanc_tls.port), "PX_AEC": orthanc_tls.aet, "PX_AET": "PXTLS",
        "PX_BASEMOUNT": str(basemount),
    }  # fmt: skip
    try:
        legacy = px(command="px-echo", env=variables).ok()
        assert "'status': 'success'" in legacy.stdout
        find = ("find", "--StudyInstanceUID", files[0].StudyInstanceUID)
        px(*find, "--then", "retrieve,status", env=variables).ok()
        assert_recorded(basemount, files)
        document = px(*find, "--json", env=variables).ok().stdout
        px("do", "--then", "retrieve", "--force", "--basemount", basemount, input=document).ok()
    finally:
        orthanc_tls.forgets("PXTLS")
    assert listener.px.stop() == 0


def named_pacs(
    px: PxRunner,
    basemount: Path,
    name: str,
    port: int,
    certificates: Certificates,
    aec: str = "SINK",
    aet: str = "PXTEST",
) -> None:
    own = certificates.client
    entry = {
        "aet": aet, "aec": aec, "serverIP": HOST, "serverPort": str(port), "tls": True, "tls_ca": str(certificates.ca),
        "tls_cert": str(own.cert), "tls_key": str(own.key),
    }  # fmt: skip
    px("smdb", "service", "pacs", "set", name, json.dumps(entry), "--basemount", basemount).ok()


def assert_same(series: Corpus, sink: StorescpSink) -> None:
    arrived = sink.instances()
    assert set(arrived) == {file.SOPInstanceUID for file in series}
    for file in series:
        assert dataset_bytes(arrived[file.SOPInstanceUID]) == dataset_bytes(file.path)


def empty(sink: StorescpSink) -> None:
    for path in sink.files():
        path.unlink()


def assert_recorded(basemount: Path, files: Sequence[Any]) -> None:
    layout = Layout.of_basemount(basemount)
    database = Database.open(layout)
    for series in {file.SeriesInstanceUID for file in files}:
        wanted = {file.SOPInstanceUID for file in files if file.SeriesInstanceUID == series}
        records = database.images(UID(series))
        assert set(records) == wanted
        for uid, record in records.items():
            assert str(read(layout.resolve(record.file)).SOPInstanceUID) == uid


# --- the listener


class Listener:
    """A running `px listen --tls`."""

    def __init__(self, px: RunningPx, port: int) -> None:
        self.px = px
        self.port = port

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = self.px.stdout().split("\n")[:-1]
        return [event for line in lines if (event := json.loads(line))["kind"] == kind]

    def wait_for(self, kind: str, number: int = 1) -> dict[str, Any]:
        wait_until(lambda: len(self.events(kind)) >= number, f"{number} x {kind} in {self.px.stdout()}")
        return self.events(kind)[number - 1]

    def processes(self) -> list[int]:
        children = Path(f"/proc/{self.px.pid}/task/{self.px.pid}/children").read_text().split()
        found = []
        for child in children:
            with suppress(FileNotFoundError):
                if "python" in Path(f"/proc/{child}/exe").readlink().name:
                    found.append(int(child))
        return found

    def terminal(self) -> int:
        """Process id of the one that does TLS."""
        found = [pid for pid in self.processes() if b"tlsterminal" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(found) == 1, found
        return found[0]


Listen = Callable[..., Listener]


def start(px: PxRunner, basemount: Path, certificates: Certificates, *options: str | Path) -> Listener:
    port = free_port()
    running = px.start(
        "listen", "--basemount", basemount, "--port", port, "--bind", HOST, "--jsonl", "--min-free", "1M",
        "--tls", *certificates.server.px, *options,
    )  # fmt: skip
    listener = Listener(running, port)
    listener.wait_for("ready")
    return listener


@pytest.fixture
def listen(px: PxRunner, basemount: Path, certificates: Certificates) -> Listen:
    return lambda *options: start(px, basemount, certificates, *options)


def trusting(certificates: Certificates) -> tuple[str, ...]:
    return "+tla", "+cf", str(certificates.ca)


def echoscu(port: int, *options: str) -> subprocess.CompletedProcess[str]:
    return run_tool("echoscu", "-to", "5", "-ta", "8", "-td", "5", *options, HOST, str(port))


def test_foreign_senders(listen: Listen, certificates: Certificates, tmp_path: Path, basemount: Path) -> None:
    """DCMTK's own TLS on the other side: echoscu, storescu, findscu; a plain sender and one that distrusts us."""
    listener = listen("--aet", "PXTLS")
    series = make_series(tmp_path / "series", 30, SMALL, SMALL, "tls listen")
    tls = (*trusting(certificates), "-aec", "PXTLS")
    assert echoscu(listener.port, *tls).returncode == 0
    sent = run_tool("storescu", *tls, "+sd", HOST, str(listener.port), str(tmp_path / "series"))
    assert sent.returncode == 0, sent.stderr
    listener.wait_for("association-ended", 2)
    assert_recorded(basemount, list(series))
    query = run_tool("findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", *tls, HOST, str(listener.port))
    assert "No Acceptable Presentation Contexts" in query.stderr
    wrong = echoscu(listener.port, *trusting(certificates), "-aec", "OTHER")
    assert "Called AE Title Not Recognized" in wrong.stderr
    assert echoscu(listener.port, "-aec", "PXTLS").returncode != 0
    assert "does not speak TLS" in listener.wait_for("tls-refused")["reason"]
    assert echoscu(listener.port, "+tla", "+cf", str(certificates.other_ca)).returncode != 0
    assert "does not trust its CA" in listener.wait_for("tls-refused", 2)["reason"]
    assert all("certificate" not in event for event in listener.events("association-opened"))
    assert listener.px.stop() == 0


def test_certificates_demanded(listen: Listen, certificates: Certificates) -> None:
    listener = listen("--tls-ca", certificates.ca)
    ours = ("+cf", str(certificates.ca))
    assert echoscu(listener.port, "+tla", *ours).returncode != 0
    assert "gave no certificate" in listener.wait_for("tls-refused")["reason"]
    assert echoscu(listener.port, *certificates.stranger.dcmtk, *ours).returncode != 0
    assert "not signed by a CA of --tls-ca" in listener.wait_for("tls-refused", 2)["reason"]
    assert echoscu(listener.port, *certificates.expired.dcmtk, *ours).returncode != 0
    assert "expired" in listener.wait_for("tls-refused", 3)["reason"]
    assert listener.events("association-opened") == []
    assert echoscu(listener.port, *certificates.client.dcmtk, *ours).returncode == 0
    subject = listener.wait_for("association-opened")["certificate"]
    assert set(subject.split(", ")) >= {"CN=scanner", "O=Hospital"}
    assert all("certificate" not in event for event in listener.events("association-ended"))
    assert listener.px.stop() == 0


def test_the_true_address_is_known(listen: Listen, certificates: Certificates) -> None:
    """The door sees through the relay: --allow-from judges the sender's address, and events name it."""
    listener = listen("--allow-from", "127.0.0.5")
    context = ssl.create_default_context(cafile=str(certificates.ca))
    entity = AE("FOREIGN")
    entity.add_requested_context(VERIFICATION)
    made = entity.associate(HOST, listener.port, bind_address=("127.0.0.5", 0), tls_args=(context, HOST))
    assert made.is_established
    assert made.send_c_echo().Status == 0
    made.release()
    with socket.create_connection((HOST, listener.port), timeout=10, source_address=("127.0.0.6", 0)) as stranger:
        assert stranger.recv(1) == b""
    assert listener.wait_for("association-opened")["address"] == "127.0.0.5"
    assert listener.wait_for("association-rejected")["address"] == "127.0.0.6"
    assert listener.px.stop() == 0


def test_a_stranger_gets_no_handshake(listen: Listen, certificates: Certificates) -> None:
    """--allow-from is judged before TLS: whoever else connects gets not a byte, and the TLS process hears nothing."""
    listener = listen("--allow-from", "127.0.0.5")
    before = len(list(Path(f"/proc/{listener.terminal()}/task").iterdir()))
    context = ssl.create_default_context(cafile=str(certificates.ca))
    for number in range(100):
        with socket.create_connection((HOST, listener.port), timeout=10, source_address=("127.0.0.6", 0)) as stranger:
            if number % 2:
                with pytest.raises((ssl.SSLEOFError, ConnectionResetError, BrokenPipeError)):
                    context.wrap_socket(stranger, server_hostname=HOST)
            else:
                assert stranger.recv(1) == b""
    assert len(list(Path(f"/proc/{listener.terminal()}/task").iterdir())) == before
    assert listener.events("tls-refused") == []
    assert [one["address"] for one in listener.events("association-rejected")] == ["127.0.0.6"]
    with socket.create_connection((HOST, listener.port), timeout=10, source_address=("127.0.0.5", 0)) as welcome:
        context.wrap_socket(welcome, server_hostname=HOST).close()
    assert listener.px.stop() == 0


def test_peers_that_dribble_block_nobody(listen: Listen, certificates: Certificates) -> None:
    listener = listen()
    with ExitStack() as stack:
        for number in range(80):
            peer = stack.enter_context(socket.create_connection((HOST, listener.port)))
            peer.sendall(b"\x16\x03\x01\x02\x00"[: number % 6])
        began = wait_until(lambda: echoscu(listener.port, *trusting(certificates)), "an answer")
        assert began.returncode == 0, began.stderr
        listener.wait_for("tls-refused")
        assert "no TLS handshake within 8 s" in listener.events("tls-refused")[0]["reason"]
    assert len(listener.processes()) == 2
    assert listener.px.stop() == 0


def test_kill_of_the_relay(listen: Listen, certificates: Certificates, tmp_path: Path, basemount: Path) -> None:
    """In the middle of a transfer: what was acknowledged is recorded, and the next sender is served."""
    listener = listen()
    series = make_series(tmp_path / "series", 400, 64, 64, "tls kill")
    argv = [
        program("storescu"),
        "-v",
        *trusting(certificates),
        "+sd",
        HOST,
        str(listener.port),
        str(tmp_path / "series"),
    ]
    log = tmp_path / "storescu.log"
    with log.open("wb") as out:
        sender = subprocess.Popen(argv, stdout=out, stderr=out, env={"PATH": os.environ["PATH"], "TCP_NODELAY": "1"})
    try:
        wait_until(lambda: log.read_bytes().count(b"Received Store Response (Success)") > 20, "a transfer")
        first = listener.terminal()
        os.kill(first, signal.SIGKILL)
        assert sender.wait(30) != 0
    finally:
        sender.kill()
        sender.wait()
    acknowledged = log.read_bytes().count(b"Received Store Response (Success)")
    assert acknowledged < len(list(series)), "it was killed too late"
    assert listener.wait_for("tls-restarted")["exit_status"] == -signal.SIGKILL
    ended = listener.wait_for("association-ended")
    assert ended["files"] >= acknowledged
    records = Database.open(Layout.of_basemount(basemount)).images(UID(next(iter(series)).SeriesInstanceUID))
    assert len(records) >= acknowledged
    assert echoscu(listener.port, *trusting(certificates)).returncode == 0
    assert listener.terminal() != first
    assert listener.px.stop() == 0


def test_draining_lets_a_transfer_end(
    listen: Listen, certificates: Certificates, tmp_path: Path, basemount: Path
) -> None:
    listener = listen()
    series = make_series(tmp_path / "series", 200, 128, 128, "tls drain")
    argv = [program("storescu"), *trusting(certificates), "+sd", HOST, str(listener.port), str(tmp_path / "series")]
    sender = subprocess.Popen(argv, env={"PATH": os.environ["PATH"], "TCP_NODELAY": "1"})
    try:
        listener.wait_for("association-opened")
        terminal = listener.terminal()
        assert listener.px.stop() == 0
        assert sender.wait(30) == 0
    finally:
        sender.kill()
        sender.wait()
    assert_recorded(basemount, list(series))
    assert not Path(f"/proc/{terminal}").exists()


def test_a_listener_without_certificate_does_not_start(
    px: PxRunner, basemount: Path, certificates: Certificates
) -> None:
    def refused(*options: str | Path) -> PxResult:
        result = px("listen", "--basemount", basemount, "--port", 0, "--bind", HOST, *options)
        assert result.returncode == 2, result.stderr
        return result

    assert "needs a certificate" in refused("--tls").stderr
    assert "switched on" in refused(*certificates.server.px).stderr
    locked = certificates.locked("sesame")
    assert "has a passphrase" in refused("--tls", *locked.px).stderr
    assert "sesame" not in refused("--tls", *locked.px).stderr
    assert not basemount.exists()


def test_a_listener_whose_key_has_a_passphrase(px: PxRunner, basemount: Path, certificates: Certificates) -> None:
    """The passphrase reaches the TLS process, and neither arguments nor environment of any process."""
    port, locked = free_port(), certificates.locked("opensesame")
    running = px.start(
        "listen", "--basemount", basemount, "--port", port, "--bind", HOST, "--jsonl", "--min-free", "1M", "--tls",
        *locked.px, env={"PX_LISTEN_TLS_KEY_PASSWORD": "opensesame"},
    )  # fmt: skip
    listener = Listener(running, port)
    listener.wait_for("ready")
    assert echoscu(port, "+tla", "-ic").returncode == 0
    for pid in listener.processes():
        assert b"opensesame" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"opensesame" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert running.stop() == 0


def test_errors_of_the_own_side_are_no_peer_errors() -> None:
    with pytest.raises(PxError) as caught:
        echo(node(free_port(), TlsSettings(ca=Path("/nonexistent"))), limits=LIMITS)
    assert caught.value.exit_code == 2
