"""Peers that send a message without end: no program of DCMTK takes more memory than it may, and the reason is told."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pypx.services.process import MEMORY_BYTES
from pypx.workflows.serving import MEMORY_BYTES as RECEIVER_BYTES
from support.endless import Kind, endless_peer, flood, most_memory
from support.limits import LONG
from support.listening import Listener, Start
from support.ports import wait_until
from support.pxrun import PxRunner
from support.rawdicom import DEFLATED, EXPLICIT, element, identity, text
from support.rawsend import RawSender
from support.servers import HOST, StorescpSink, run_tool

BESIDES = 48 << 20
"""What else a process has: libraries, a busy sampler."""

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

LARGE = 600 << 20 if LONG else 160 << 20
"""More than the storescp of a listener may have in memory."""

NODE = ("--serverIP", HOST, "--timeout", "1", "--acse-timeout", "1", "--dimse-timeout", "1")
COMMANDS = {
    "echo": ("echo",),
    "find": ("find", "--PatientID", "1"),
    "move": ("move", "--StudyInstanceUID", "1.2", "--SeriesInstanceUID", "1.2.3", "--move-destination", "X", "--no-wait"),
    "push": ("push", "--aec", "SCRIPTED", "--xcrdir"),
}  # fmt: skip
PROGRAMS = {"echo": "echoscu", "find": "findscu", "move": "movescu", "push": "dcmsend"}


def echo(listener: Listener) -> int:
    return run_tool("echoscu", "-to", "5", "-ta", "5", "-td", "5", HOST, str(listener.port)).returncode


def whole_file(dataset: bytes, syntax: bytes = EXPLICIT) -> bytes:
    """A file with the meta information that a sender needs (PS3.10 7.1)."""
    named = text(0x0002_0002, b"UI", SECONDARY_CAPTURE) + text(0x0002_0003, b"UI", "1.2.4")
    meta = named + text(0x0002_0010, b"UI", syntax.decode())
    return bytes(128) + b"DICM" + element(0x0002_0000, b"UL", len(meta).to_bytes(4, "little")) + meta + dataset


def pixels(size: int) -> bytes:
    """A data set up to its pixels, of which so many bytes are to follow."""
    named = identity().replace(text(0x0008_0016, b"UI", "1.2.3"), text(0x0008_0016, b"UI", SECONDARY_CAPTURE))
    return named + element(0x7FE0_0010, b"OB", b"")[:-4] + size.to_bytes(4, "little")


def large_file(path: Path, size: int) -> Path:
    """An object with so many bytes of pixels, all 0, which need no room on a disk that keeps no zeros."""
    head = whole_file(pixels(size))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(head)
    os.truncate(path, len(head) + size)
    return path


@pytest.mark.parametrize("kind", ["announced", "items"])
def test_a_command_without_end_costs_a_listener_little(listen: Start, kind: Kind) -> None:
    """Two such senders beside one that was there before: they are cut, with a notice, the others are served."""
    listener = listen("--max-associations", "3")
    with closing(RawSender(listener.port)) as other, most_memory(listener.px.pid) as used:
        for _ in range(2):
            with closing(RawSender(listener.port)) as sender:
                sent = flood(sender.socket, kind, most=1 << 30)
            assert sent < 1 << 30, "nobody hung up"
        notices = listener.wait_for("notice", 2)
        ended = listener.wait_for("association-ended", 2)
        assert echo(listener) == 0
        other.ask("1.2.4")
        dataset = identity()
        other.data(dataset, last=True)
        assert other.status() == 0
    assert used["storescp"] < RECEIVER_BYTES + BESIDES
    for notice in notices:
        assert "128 MiB of memory of its storescp" in notice["reason"]
        assert notice["calling_aet"] == "RAWSENDER"
    assert {event["association"] for event in ended} == {notice["association"] for notice in notices}
    wait_until(lambda: not listener.children("storescp"), "every place is free")
    assert len(listener.events("notice")) == 2
    assert listener.events("worker-restarted") == []
    listener.stop()


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("find", "announced"), ("find", "items"), ("echo", "items"), ("move", "announced"), ("push", "items"), ("push", "announced")],
)  # fmt: skip
def test_an_answer_without_end_costs_a_command_little(px: PxRunner, tmp_path: Path, verb: str, kind: Kind) -> None:
    """It ends with 12 and says why in a line."""
    words: tuple[str | Path, ...] = COMMANDS[verb]
    if verb == "push":
        words = (*words, large_file(tmp_path / "images" / "one.dcm", 1 << 10).parent)
    for _ in range(5):
        with endless_peer(kind) as port, most_memory(os.getpid()) as used:
            done = px(*words, *NODE, "--serverPort", port)
        if PROGRAMS[verb] in used:
            break  # else it was gone again before anybody looked
    lines = done.stderr.splitlines()
    assert done.returncode == 12, done.stderr
    assert "sent or announced" in (done.stdout if verb == "move" else done.stderr), done
    assert len(lines) <= (3 if verb == "push" else 1), done.stderr
    assert f"@{HOST}:{port}" in lines[-1]
    assert used[PROGRAMS[verb]] < MEMORY_BYTES + BESIDES
    assert used["px"] < 200 << 20


def test_an_answer_that_does_not_end_and_needs_no_memory(px: PxRunner) -> None:
    """Our own limit around findscu ends it; the peer did anything but fall silent."""
    with endless_peer("flat") as port, most_memory(os.getpid()) as used:
        done = px(*COMMANDS["find"], *NODE, "--serverPort", port)
    assert done.returncode == 12, done.stderr
    assert f"@{HOST}:{port} did not finish an answer within 13 s; findscu was ended" in done.stderr
    assert "silent" not in done.stderr
    assert used["findscu"] < BESIDES


def test_a_large_object_is_received(listen: Start, tmp_path: Path) -> None:
    listener = listen()
    path = large_file(tmp_path / "images" / "large.dcm", LARGE)
    with most_memory(listener.px.pid) as used:
        listener.send(path)
        assert listener.statuses() == ["0x0000"]
    (ended,) = listener.wait_for("association-ended", timeout=60)
    assert (ended["files"], ended["exit_status"]) == (1, 0)
    assert used["storescp"] < BESIDES
    (filed,) = listener.layout.data.rglob("*.dcm")
    assert filed.stat().st_size >= LARGE
    assert listener.events("notice") == []
    listener.stop()


@pytest.mark.parametrize("kind", ["plain", "deflated", "elements"])
def test_a_large_object_is_pushed(
    px: PxRunner, storescp_sink: Callable[..., StorescpSink], tmp_path: Path, kind: str
) -> None:
    """dcmsend inflates what is deflated, and holds every element: it needs more than other programs get."""
    sink = storescp_sink()
    path = large_file(tmp_path / "images" / "large.dcm", LARGE)
    if kind == "deflated":
        deflater = zlib.compressobj(1, wbits=-15)
        zeros = (deflater.compress(bytes(1 << 20)) for _ in range(MEMORY_BYTES >> 20))
        packed = deflater.compress(pixels(MEMORY_BYTES)) + b"".join(zeros) + deflater.flush()
        path.write_bytes(whole_file(packed, DEFLATED))
    if kind == "elements":
        items = element(0x5200_9230, b"SQ", b"\xfe\xff\x00\xe0\0\0\0\0" * (18 << 17))
        path.write_bytes(whole_file(pixels(0)[:-12] + items + pixels(2)[-12:] + b"\0\0"))
    with most_memory(os.getpid()) as used:
        done = px("push", "--xcrdir", path.parent, "--serverIP", HOST, "--serverPort", sink.port, "--aec", "SINK")
    assert done.returncode == 0, done.stderr
    assert kind == "plain" or used["dcmsend"] > MEMORY_BYTES, used
