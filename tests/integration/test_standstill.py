"""Peers that keep their association and next to nothing else: they lose their place, slow ones that get on do not."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.listening import echo
from support.ports import free_port, wait_until
from support.rawsend import BASIC_TEXT_SR, RawSender, short
from support.servers import HOST

STALL_S = 3.0
PLACES = 4
PROGRAM = f"""
import json, sys
from pathlib import Path
from pypx.db.layout import Layout
from pypx.workflows.listen import listen
from pypx.workflows.serving import ListenOptions
options = ListenOptions(port=int(sys.argv[2]), bind="{HOST}", stall_s={STALL_S}, dimse_s=60, min_free_bytes=1 << 20,
                        max_associations={PLACES})
listen(Layout.of_basemount(Path(sys.argv[1])), options, lambda event: print(json.dumps(event.as_dict()), flush=True))
"""
"""A listener with a limit that is shorter than ``px listen`` allows."""


@dataclass(frozen=True, slots=True)
class Running:
    """The listener, and what it tells."""

    process: subprocess.Popen[str]
    port: int
    base: Path
    output: Path

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = self.output.read_text().split("\n")[:-1]
        return [event for line in lines if (event := json.loads(line))["kind"] == kind]

    def storescps(self) -> list[int]:
        found = []
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with suppress(FileNotFoundError):
                if Path(f"/proc/{child}/exe").readlink().name == "storescp":
                    found.append(int(child))
        return found


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    output, port = tmp_path / "events", free_port()
    with output.open("w") as stream:
        argv = [sys.executable, "-c", PROGRAM, str(tmp_path / "basemount"), str(port)]
        process = subprocess.Popen(argv, stdout=stream, stderr=subprocess.STDOUT, text=True)
    try:
        found = Running(process, port, tmp_path / "basemount", output)
        wait_until(lambda: process.poll() is not None or found.events("ready"), "it is ready")
        yield found
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, output.read_text()
    finally:
        process.kill()
        process.wait()


def _head(length: int) -> bytes:
    return b"\4\0" + struct.pack(">L", length)


def _in_a_message(sender: RawSender) -> bytes:
    sender.socket.sendall(_head(16_000))
    return b"\0"


def _in_an_image(sender: RawSender) -> bytes:
    sender.ask("1.2.3.4.5")
    sender.data(short(8, 0x18, "UI", "1.2.3.4.5"), last=False)
    sender.socket.sendall(_head(16_000) + struct.pack(">LBB", 15_996, 1, 0))
    return b"\0"


def _in_empty_parts(sender: RawSender) -> bytes:
    sender.ask("1.2.3.4.6")
    return _head(6) + struct.pack(">LBB", 2, 1, 0)


DRIBBLES: list[Callable[[RawSender], bytes]] = [_in_a_message, _in_an_image, _in_empty_parts]


def test_peers_that_dribble_lose_their_place(running: Running) -> None:
    """All places are taken by such; each loses its own in time, and a sender gets in."""
    began = time.monotonic()
    peers = [RawSender(running.port) for _ in range(PLACES)]
    drops = [DRIBBLES[number % len(DRIBBLES)](peer) for number, peer in enumerate(peers)]
    assert echo(running.port).returncode != 0, "no place is left"

    def gone() -> bool:
        for peer, drop in zip(peers, drops, strict=True):
            with suppress(OSError):
                peer.socket.sendall(drop)
        return len(running.events("association-ended")) == PLACES

    wait_until(gone, "they have lost their places", timeout=20, pause=0.5)
    assert STALL_S <= time.monotonic() - began < STALL_S + 10
    assert (
        len([one for one in running.events("notice") if "cut off: no message ended in 3 s" in one["reason"]]) == PLACES
    )
    assert running.storescps() == []
    assert echo(running.port).returncode == 0
    for peer in peers:
        peer.close()
    assert not list((running.base / "data").rglob("*.dcm"))


def test_slow_peers_that_get_on_keep_theirs(running: Running) -> None:
    """One sends 2 kB a second of one image, one a C-ECHO a second: both for three times the limit."""
    sender = RawSender(running.port)
    uid = "1.2.3.4.7"
    sender.ask(uid)
    sender.data(short(8, 0x16, "UI", BASIC_TEXT_SR) + short(8, 0x18, "UI", uid), last=False)
    began, talks = time.monotonic(), Talker(running.port)
    while time.monotonic() - began < 3 * STALL_S:
        sender.data(short(0x20, 0x4000, "LT", "x" * 1000), last=False)
        assert talks.echoes(), "it was cut off"
        time.sleep(0.5)  # the speed of the sender, not a wait for anything
    sender.data(short(0x40, 0xA730, "LT", "end"), last=True)
    assert sender.status() == 0
    assert running.events("notice") == []
    sender.close()
    talks.close()


class Talker:
    """An association that does nothing but C-ECHO."""

    def __init__(self, port: int) -> None:
        from pynetdicom import AE  # noqa: PLC0415 - slow to import
        from pynetdicom.sop_class import Verification  # noqa: PLC0415

        entity = AE("TALKER")
        entity.add_requested_context(Verification)
        self.association = entity.associate(HOST, port)
        assert self.association.is_established

    def echoes(self) -> bool:
        return bool(self.association.send_c_echo().Status == 0)

    def close(self) -> None:
        self.association.release()


def test_a_peer_that_waits_for_us_keeps_its_place(running: Running) -> None:
    """While our own side reads nothing, nobody else is to blame."""
    sender = RawSender(running.port)
    (pid,) = running.storescps()
    os.kill(pid, signal.SIGSTOP)
    try:
        sender.ask("1.2.3.4.8")
        sender.socket.settimeout(STALL_S + 3)
        with pytest.raises(TimeoutError):
            sender.socket.recv(1)
        assert running.events("notice") == []
    finally:
        os.kill(pid, signal.SIGCONT)
    sender.data(short(8, 0x16, "UI", BASIC_TEXT_SR) + short(8, 0x18, "UI", "1.2.3.4.8"), last=True)
    assert sender.status() == 0
    sender.close()


def test_the_end_of_storescp_is_the_end_of_its_connection(running: Running) -> None:
    """That the listener keeps a hold of the connection delays nothing."""
    sender = RawSender(running.port)
    (pid,) = running.storescps()
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    with suppress(ConnectionResetError):
        assert sender.socket.recv(1) == b""
    assert time.monotonic() - began < 3
    sender.close()
