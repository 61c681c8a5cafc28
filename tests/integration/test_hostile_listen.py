"""Broken and hostile associations against a running listener: it files what is whole, names the rest, and goes on."""

from __future__ import annotations

import socket
import struct
import zlib
from contextlib import closing, suppress
from pathlib import Path

import pytest

from support.corpus import Corpus, make_series
from support.limits import LONG
from support.listening import Listener, Start
from support.mutate import Mutator, sequence
from support.ports import wait_until
from support.rawdicom import DEFLATED, element, identity, part10, text
from support.servers import HOST, run_tool

ASSOCIATIONS = 500 if LONG else 20
PATIENCE_S = 5.0
CT, EXPLICIT = b"1.2.840.10008.5.1.4.1.1.2", b"1.2.840.10008.1.2.1"
MEMORY = 120 << 20


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def pdu(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBL", kind, 0, len(value)) + value


def request(syntax: bytes = EXPLICIT) -> bytes:
    """An A-ASSOCIATE-RQ for CT images (PS3.8 9.3.2)."""
    context = item(0x20, b"\x01\0\0\0" + item(0x30, CT) + item(0x40, syntax))
    user = item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3") + item(0x55, b"FUZZ"))
    head = struct.pack(">HH16s16s32s", 1, 0, b"ANY".ljust(16), b"FUZZ".ljust(16), b"")
    return pdu(0x01, head + item(0x10, b"1.2.840.10008.3.1.1.1") + context + user)


def implicit(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(value)) + value


def store_command(uid: bytes) -> bytes:
    """The command set of a C-STORE-RQ (PS3.7 9.3.1.1)."""
    body = implicit(0x0002, CT + b"\0") + implicit(0x0100, b"\1\0") + implicit(0x0110, b"\1\0")
    body += implicit(0x0700, b"\0\0") + implicit(0x0800, b"\1\0") + implicit(0x1000, uid + b"\0" * (len(uid) % 2))
    return implicit(0x0000, struct.pack("<L", len(body))) + body


def p_data(value: bytes, *, command: bool, last: bool = True) -> bytes:
    return pdu(0x04, struct.pack(">LBB", len(value) + 2, 1, command | last << 1) + value)


class Sender:
    """A peer that may say anything."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=PATIENCE_S)

    def close(self) -> None:
        self.socket.close()

    def say(self, data: bytes) -> None:
        with suppress(OSError):  # it may hang up on us in the middle
            self.socket.sendall(data)

    def hear(self) -> int:
        """Type of the PDU that comes, -1 if the peer hangs up or stays silent."""
        with suppress(OSError):
            return (self.socket.recv(65536) or b"\xff")[0]
        return -1

    def store(self, uid: str, dataset: bytes) -> None:
        self.say(p_data(store_command(uid.encode()), command=True))
        for start in range(0, max(1, len(dataset)), 16000):
            part = dataset[start : start + 16000]
            self.say(p_data(part, command=False, last=start + 16000 >= len(dataset)))
        self.hear()


def attack(port: int, mutator: Mutator, files: list[bytes]) -> None:
    """One association with something wrong in it."""
    with closing(Sender(port)) as sender:
        kind = mutator.random.randrange(5)
        if kind == 0:
            sender.say(mutator.request(request()))
            if mutator.random.random() < 0.5:
                with suppress(OSError):  # it has hung up already
                    sender.socket.shutdown(socket.SHUT_WR)
                sender.hear()
            return
        sender.say(request(mutator.random.choice((EXPLICIT, EXPLICIT, DEFLATED, b"1.2.840.10008.1.2"))))
        if sender.hear() != 0x02:
            return
        file = mutator.random.choice(files)
        dataset = mutator.dicom(file, files)[300:] if kind < 3 else file[300:]
        if kind < 3:
            sender.store(mutator.random.choice(("1.2.3.4", "../../x", "1" * 64, "", "$(id)")), dataset)
        else:
            words = bytearray(p_data(store_command(b"1.2.3.4"), command=True) + p_data(dataset, command=False))
            for _ in range(mutator.random.choice((1, 3, 10))):
                words[mutator.random.randrange(len(words) if kind == 3 else 60)] = mutator.random.randrange(256)
            sender.say(bytes(words))
            sender.socket.settimeout(0.2)
            sender.hear()
        sender.say(mutator.random.choice((pdu(0x05, bytes(4)), pdu(0x07, bytes(4)), b"", b"\x09" * 30)))


def rss(pid: int) -> int:
    """The most memory a process has had, bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def echo(listener: Listener) -> int:
    return run_tool("echoscu", "-to", "5", "-ta", "5", "-td", "5", HOST, str(listener.port)).returncode


def settled(listener: Listener) -> bool:
    """No association left, and no received file waiting."""
    return not listener.children("storescp") and not list(listener.layout.incoming.glob("listener-*/[0-9]*"))


def test_mutated_associations_leave_a_working_listener(listen: Start, corpus: Corpus, tmp_path: Path) -> None:
    listener = listen("--acse-timeout", "2", "--dimse-timeout", "2")
    worker = listener.children("python")
    files = [file.path.read_bytes() for file in corpus.of_kind("ct", "mr", "sr", "hostile")]
    before = descriptors(listener.px.pid)
    for number in range(ASSOCIATIONS):
        attack(listener.port, Mutator(f"association {number}"), files)
        if number % 25 == 24:
            wait_until(lambda: len(listener.children("storescp")) < 16, "associations end")
            assert echo(listener) == 0
    wait_until(lambda: settled(listener), "every association has ended and its files are filed", timeout=60)
    assert echo(listener) == 0
    good = make_series(tmp_path / "good", 3, 16, 16)
    listener.send(good.directory)
    assert listener.acknowledged() == {file.SOPInstanceUID for file in good}
    wait_until(lambda: settled(listener), "the good images are filed")
    assert listener.children("python") == worker, "the worker died"
    assert listener.events("worker-restarted") == []
    assert listener.events("filing-failed") == []
    assert rss(listener.px.pid) < MEMORY
    assert rss(worker[0]) < MEMORY
    wait_until(lambda: descriptors(listener.px.pid) <= before + 1, "descriptors are given back")
    base = listener.layout.base
    assert {path.name for path in base.iterdir()} <= {"data", "log", "services", "incoming"}
    assert {len(path.relative_to(base / "data").parts) for path in (base / "data").rglob("*.dcm")} == {4}
    listener.stop()


def deflated(data: bytes, then: bytes, times: int) -> bytes:
    deflater = zlib.compressobj(9, wbits=-15)
    packed = deflater.compress(data) + b"".join(deflater.compress(then) for _ in range(times))
    return packed + deflater.flush()


def long_element(length: int) -> bytes:
    return struct.pack("<HH2sHL", 9, 0x1001, b"OB", 0, length)


def bombs() -> dict[str, tuple[bytes, bytes, str]]:
    """Name to transfer syntax, data set, and what the listener says of it."""
    inflating = deflated(identity() + long_element(0xFFFF_FFF0), bytes(1 << 20), 100)
    return {
        "inflates": (DEFLATED, inflating, "the deflated data set has more than 4294967296 bytes"),
        "deep": (EXPLICIT, identity() + sequence(10_000), "sequences are nested deeper than 64"),
        "long": (EXPLICIT, identity() + long_element(0xFFFF_FFFE), "cut short: an element should end at byte"),
        "no UID": (EXPLICIT, identity(instance="../../x"), "its SOPInstanceUID is not a UID"),
        "no data": (EXPLICIT, b"\xff" * 64, "not a data set: what stands at byte"),
    }


def test_bombs_are_rejected_with_the_reason_and_the_listener_goes_on(listen: Start, tmp_path: Path) -> None:
    """Written as storescp +B would, since some versions of storescp refuse one or the other themselves."""
    listener = listen()
    worker = listener.children("python")
    listener.stop()
    folder = listener.layout.incoming / "listener-old" / "00000001"
    folder.mkdir(parents=True)
    made = bombs()
    for number, (syntax, dataset, _) in enumerate(made.values()):
        (folder / f"CT.{number}").write_bytes(part10(dataset, syntax))
    whole = identity() + text(0x0010_0020, b"LO", "7") + element(0x7FE0_0010, b"OW", bytes(64))
    (folder / "CT.whole").write_bytes(part10(whole))
    again = listen()
    told = again.wait_for("rejected-file", len(made), timeout=60)
    reasons = {event["name"]: event["reason"] for event in told}
    for number, (_, _, reason) in enumerate(made.values()):
        assert reasons[f"CT.{number}"].startswith(reason)
        kept = again.layout.incoming / "rejected" / f"CT.{number}"
        assert kept.stat().st_size > 0
        assert kept.with_name(f"{kept.name}.reason.txt").read_text() == f"{reasons[kept.name]}\n"
    wait_until(lambda: len(list(again.layout.data.rglob("*.dcm"))) == 1, "the whole file is filed")
    assert again.children("python") != worker
    assert rss(again.children("python")[0]) < MEMORY
    assert again.events("worker-restarted") == []
    assert echo(again) == 0
    again.stop()


@pytest.mark.parametrize("name", ["deep", "no UID", "no data"])
def test_a_bomb_sent_over_the_network(listen: Start, name: str) -> None:
    listener = listen()
    syntax, dataset, _ = bombs()[name]
    with closing(Sender(listener.port)) as sender:
        sender.say(request(syntax))
        assert sender.hear() == 0x02
        sender.store("1.2.4", dataset)
        sender.say(pdu(0x05, bytes(4)))
        sender.hear()
    wait_until(lambda: settled(listener), "the association is over")
    assert echo(listener) == 0
    assert not list(listener.layout.data.rglob("*.dcm"))
    listener.stop()
