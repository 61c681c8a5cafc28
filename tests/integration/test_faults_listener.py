"""`px listen` and those it should not serve, or not for long: strangers, dribblers, objects that are too large, bugs."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pypx.db.layout import Layout
from pypx.workflows import spool
from support.corpus import make_series
from support.listening import (
    SMALL,
    Listener,
    Start,
    assert_filed,
    echo,
    leave_behind,
    request,
)
from support.pxrun import PxRunner
from support.servers import HOST

REFUSED = "0xa700"


@contextmanager
def dribbling(port: int, number: int, beginning: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that have sent `beginning` and go on with a byte a second."""
    connections = [socket.create_connection((HOST, port), timeout=10) for _ in range(number)]
    stop = threading.Event()

    def dribble() -> None:
        rest = request()[len(beginning) :]
        for position in range(len(rest)):
            for connection in connections:
                with suppress(OSError):
                    connection.send(rest[position : position + 1])
            if stop.wait(1):
                return

    for connection in connections:
        with suppress(OSError):
            connection.sendall(beginning)
    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        yield connections
    finally:
        stop.set()
        thread.join()
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("said", [0, 10, 74, 150])
def test_two_hundred_that_dribble_keep_nobody_out(listen: Start, said: int) -> None:
    """Whatever part of their request they have sent: no program is started for them, and a C-ECHO is answered."""
    listener = listen("--max-associations", "2")
    with dribbling(listener.port, 200, request()[:said]):
        for _ in range(2):
            began = time.monotonic()
            assert echo(listener.port).returncode == 0
            assert time.monotonic() - began < 3
    opened = listener.wait_for("association-opened", 2)
    assert [event["calling_aet"] for event in opened] == ["ECHOSCU"] * 2
    listener.stop()


def test_an_object_that_is_too_large_is_refused_and_named(listen: Start, tmp_path: Path) -> None:
    small = make_series(tmp_path / "small", 4, SMALL, SMALL, seed="small")
    large = make_series(tmp_path / "large", 2, 512, 256, seed="large")
    listener = listen("--max-object-size", "200K")
    listener.send(large.files[0].path, small.directory, large.files[1].path, options=["-aet", "BIGPACS"])
    assert listener.statuses().count(REFUSED) == 2
    assert listener.acknowledged() == {file.SOPInstanceUID for file in small}
    (event,) = listener.wait_for("object-too-large")
    assert event == {
        "kind": "object-too-large", "association": "00000001", "calling_aet": "BIGPACS", "called_aet": "ANY-SCP",
        "address": HOST, "reason": "an object of more than 204800 bytes was refused",
    }  # fmt: skip
    (ended,) = listener.wait_for("association-ended")
    assert (ended["files"], ended["refused"]) == (4, 2)
    listener.stop()
    assert_filed(listener.layout, small)


def test_an_object_of_exactly_the_limit_is_taken(listen: Start, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 1, 256, 256)
    size = corpus.files[0].path.stat().st_size
    listener = listen("--max-object-size", str(size + 1024))
    listener.send(corpus.directory)
    assert listener.acknowledged() == {corpus.files[0].SOPInstanceUID}
    listener.stop()
    assert_filed(listener.layout, corpus)


def name_pacs(px: PxRunner, basemount: Path, **hosts: str) -> None:
    entries = {name: {"aec": name, "serverIP": host, "serverPort": "104"} for name, host in hosts.items()}
    for name, entry in entries.items():
        px("smdb", "service", "pacs", "set", name, json.dumps(entry), "--basemount", basemount).ok()


def test_known_pacs_only(listen: Start, px: PxRunner, basemount: Path) -> None:
    name_pacs(px, basemount, HERE=HOST, LOCAL="localhost", ELSEWHERE="192.0.2.7")
    listener = listen("--known-pacs-only")
    assert echo(listener.port, "-aet", "HERE").returncode == 0
    assert echo(listener.port, "-aet", "LOCAL").returncode == 0
    refused = [("ELSEWHERE", "calling address not allowed"), ("STRANGER", "calling AE title not recognized")]
    for title, _ in refused:
        assert "Calling AE Title Not Recognized" in echo(listener.port, "-aet", title).stderr
    events = listener.wait_for("association-rejected", len(refused))
    assert [(event["calling_aet"], event["reason"]) for event in events] == refused
    assert len(listener.events("association-opened")) == 2
    listener.stop()


@pytest.mark.parametrize(("host", "words"), [(None, "names no PACS"), ("no-such-host.invalid", "cannot be looked up")])
def test_known_pacs_only_needs_some(px: PxRunner, basemount: Path, host: str | None, words: str) -> None:
    if host is not None:
        name_pacs(px, basemount, GONE=host)
    result = px("listen", "--basemount", basemount, "--port", 0, "--bind", HOST, "--known-pacs-only")
    assert result.returncode == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_busy_port_leaves_no_basemount_behind(listen: Start, px: PxRunner, tmp_path: Path) -> None:
    port = listen().port
    fresh = tmp_path / "fresh"
    result = px("listen", "--basemount", fresh, "--port", port, "--bind", HOST)
    assert result.returncode == 1
    assert "Address already in use" in result.stderr
    assert not fresh.exists()


BUG = """
from pypx.workflows import filing
def stumble(filer, source):
    raise ValueError("CANARY^PATIENT in " + str(source))
filing.Filer.read = stumble
from pypx.workflows.receiver import main
"""
"""A worker with a bug whose message holds what no log may hold."""

PATCHED = """
import sys
from pypx.cli.main import run
from pypx.workflows import worker
worker._PROGRAM = worker._PROGRAM.replace("from pypx.workflows.receiver import main", "exec(" + repr(sys.argv.pop(1)) + ")")
run()
"""


@pytest.mark.parametrize("debug", [False, True])
def test_a_bug_of_the_worker_is_named_without_what_it_was_about(
    px: PxRunner, basemount: Path, tmp_path: Path, debug: bool
) -> None:
    corpus = make_series(tmp_path / "series", 2, SMALL, SMALL)
    layout = Layout.of_basemount(basemount)
    leave_behind(layout, corpus)
    options = ["listen", "--basemount", str(basemount), "--port", "0", "--bind", HOST, "--jsonl", "--min-free", "1M"]
    running = px.start("-c", PATCHED, BUG, *options, *(["--debug"] if debug else []), command="python")
    listener = Listener(running, 0, layout)
    event = listener.wait_for("filing-failed")[0]
    assert re.fullmatch(r"a bug in px: ValueError at <string>:4 \(run px listen with --debug .*\)", event["reason"])
    listener.wait_for("worker-restarted")
    said = running.stdout() + running.stderr()
    assert ("Traceback" in said) == debug
    assert ("CANARY" in said) == debug
    running.kill()


def test_a_second_listener_on_the_port_changes_nothing_for_the_first(
    listen: Start, px: PxRunner, basemount: Path, tmp_path: Path
) -> None:
    corpus = make_series(tmp_path / "series", 30, SMALL, SMALL)
    listener = listen()
    listener.send(corpus.directory)
    for _ in range(2):
        assert px("listen", "--basemount", basemount, "--port", listener.port, "--bind", HOST).returncode == 1
    assert listener.acknowledged() == {file.SOPInstanceUID for file in corpus}
    assert len(spool.listeners(listener.layout.incoming)) == 1
    listener.stop()
    assert_filed(listener.layout, corpus)
