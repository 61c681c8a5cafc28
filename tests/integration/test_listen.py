"""`px listen` against real senders: everything that was acknowledged is filed, once, whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.workflows import spool
from support.corpus import Corpus, make_series
from support.dicom import dataset_bytes
from support.listening import (
    SLOWLY,
    SMALL,
    Connect,
    Listener,
    Start,
    assert_filed,
    assert_port_is_free,
    echo,
    kill,
    leave_behind,
    recorded,
    request,
    some_files,
    split,
)
from support.ports import wait_until
from support.pxrun import PxRunner
from support.servers import HOST, program


def test_the_mixed_corpus_is_filed_byte_for_byte(listen: Start, corpus: Corpus) -> None:
    """All but what dcmsend re-encodes: two transfer syntaxes, and the one value with more padding than it needs."""
    listener = listen("--aet", "PX")
    files = [f for f in corpus if f.TransferSyntaxUID not in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2")]
    listener.send(*(file.path for file in files), options=["-aec", "PX"])
    sent = listener.acknowledged()
    assert sent == {file.SOPInstanceUID for file in files}
    listener.stop()
    assert_filed(listener.layout, [file for file in files if file.PatientID != ".. "], besides=1)


@pytest.mark.parametrize("sending", ["parts", "the same"])
def test_one_series_on_four_associations_at_once(listen: Start, tmp_path: Path, sending: str) -> None:
    corpus = make_series(tmp_path / "series", 60, SMALL, SMALL)
    listener = listen()
    for part in split(corpus, tmp_path, 4) if sending == "parts" else [corpus.directory] * 4:
        listener.send(part)
    assert listener.acknowledged() == {file.SOPInstanceUID for file in corpus}
    ended = listener.wait_for("association-ended", 4)
    assert sum(event["files"] for event in ended) == (60 if sending == "parts" else 240)
    assert [event["exit_status"] for event in ended] == [0] * 4
    series = listener.events("series")
    assert sum(event["new"] for event in series) == 60
    assert series[-1]["total"] == 60
    listener.stop()
    assert_filed(listener.layout, corpus)


def test_an_association_that_has_ended_is_on_record(listen: Start, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 5, SMALL, SMALL)
    listener = listen()
    listener.send(corpus.directory)
    (event,) = listener.wait_for("association-ended")
    assert (event["files"], event["calling_aet"], event["called_aet"]) == (5, "DCMSEND", "ANY-SCP")
    assert len(recorded(listener.layout, corpus.series())) == 5
    assert "PID-5000" not in listener.px.stdout() + listener.px.stderr()
    assert "Doe" not in listener.px.stdout() + listener.px.stderr()


def test_fifty_studies_of_one_patient_at_once(listen: Start, tmp_path: Path) -> None:
    made = [make_series(tmp_path / "all" / str(n), 2, SMALL, SMALL, seed=n) for n in range(50)]
    listener = listen()
    for part in range(4):
        listener.send(*(corpus.directory for corpus in made[part::4]))
    files = [file for corpus in made for file in corpus]
    assert listener.acknowledged() == {file.SOPInstanceUID for file in files}
    listener.stop()
    assert_filed(listener.layout, files)
    patient = Database.open(listener.layout).patient("PID-5000")
    assert patient is not None
    assert sorted(patient["StudyList"]) == sorted({file.StudyInstanceUID for file in files})
    assert len(patient["StudyList"]) == 50


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-aet", "PACS", "-aec", "PX"], None),
        (["-aet", "PACS", "-aec", "px"], "Called AE Title Not Recognized"),
        (["-aet", "OTHER", "-aec", "PX"], "Calling AE Title Not Recognized"),
    ],
)
def test_titles_are_checked(listen: Start, options: list[str], reason: str | None) -> None:
    listener = listen("--aet", "PX", "--allow-calling", "PACS", "--allow-from", "127.0.0.0/8")
    answer = echo(listener.port, *options)
    assert (answer.returncode == 0) == (reason is None)
    if reason is not None:
        assert reason in answer.stderr
        (event,) = listener.wait_for("association-rejected")
        assert event["reason"] == reason.lower().replace("ae title", "AE title")
        assert listener.events("association-opened") == []
    listener.stop()


def test_addresses_are_checked(listen: Start) -> None:
    """A stranger's connection ends before it is heard, and the first of each address is told."""
    listener = listen("--allow-from", "192.0.2.0/24")
    for _ in range(3):
        assert echo(listener.port).returncode != 0
    (event,) = listener.wait_for("association-rejected")
    assert (event["address"], event["reason"]) == (HOST, "calling address not allowed")
    assert listener.events("association-opened") == []
    listener.stop()


def test_a_stranger_keeps_nobody_out(listen: Start) -> None:
    """Hundreds of connections from an address that may not: none is heard, none takes a place."""
    listener = listen("--allow-from", "127.0.0.7")
    held = [socket.create_connection((HOST, listener.port), timeout=10) for _ in range(300)]
    for connection in held:
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b"", "at once, and without a byte"
    with socket.create_connection((HOST, listener.port), timeout=10, source_address=("127.0.0.7", 0)) as welcome:
        welcome.sendall(request())
        assert welcome.recv(1) == b"\2", "A-ASSOCIATE-AC"
    for connection in held:
        connection.close()
    assert len(listener.events("association-rejected")) == 1


def test_beyond_the_limit_associations_are_rejected_as_transient(listen: Start, connect: Connect) -> None:
    listener = listen("--max-associations", "2")
    held = [connect(listener.port) for _ in range(2)]
    for connection in held:
        connection.sendall(request())
        assert connection.recv(1) == b"\2", "A-ASSOCIATE-AC"
    third = connect(listener.port)
    third.sendall(request())
    assert third.recv(100) == bytes.fromhex("03000000000400020302")
    assert third.recv(1) == b""
    for connection in held:
        connection.close()
    listener.wait_for("association-ended", 2)
    assert echo(listener.port).returncode == 0
    listener.stop()


def test_what_is_no_association_holds_nothing_up(listen: Start, connect: Connect) -> None:
    listener = listen()
    silent, slow, web = (connect(listener.port) for _ in range(3))
    slow.sendall(request()[:73])
    web.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/7.88.1\r\nAccept: text/html, */*\r\n\r\n")
    with suppress(ConnectionResetError):
        assert web.recv(1) == b"", "closed at once"
    assert echo(listener.port).returncode == 0
    slow.sendall(request()[73:])
    assert slow.recv(1) == b"\2", "it may come in pieces"
    silent.close()
    listener.px.process.send_signal(signal.SIGTERM)
    listener.wait_for("draining")
    slow.close()
    assert listener.px.process.wait(30) == 0


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (request(calling=b" "), "03000000000400010103"),
        (request(calling=bytes(16)), "03000000000400010103"),
        (request(calling=b"A\\B"), "03000000000400010103"),
        (request(called=b" "), "03000000000400010107"),
        (request(contexts=0), "03000000000400010201"),
        (request(name=b"n" * 60_000), "03000000000400010201"),
        (request(calling=b"  lower case"), None),
    ],
    ids=["blanks", "NULs", "backslash", "blanks called", "no context", "60 kB", "lower case"],
)
def test_what_storescp_would_not_answer_is_rejected(
    listen: Start, connect: Connect, asked: bytes, answer: str | None
) -> None:
    listener = listen("--max-associations", "1")
    for _ in range(3):
        connection = connect(listener.port)
        connection.sendall(asked)
        if answer is not None:
            assert connection.recv(100).hex() == answer
    if answer is None:
        assert connection.recv(1) in {b"\2", b"\3"}, "taken, or beyond the limit"
        connection.close()
        listener.wait_for("association-opened")
    else:
        assert echo(listener.port).returncode == 0, "no place is taken"
        assert len(listener.wait_for("association-rejected", 3)) == 3
    listener.px.process.send_signal(signal.SIGTERM)


MUTE = """#!/bin/sh
[ "$1" = --version ] && exec {} --version
exec cat > /dev/null
"""


def test_who_gets_no_answer_loses_the_place(listen: Start, connect: Connect, tmp_path: Path) -> None:
    mute = tmp_path / "mute"
    mute.write_text(MUTE.format(program("storescp")))
    mute.chmod(0o755)
    listener = listen("--storescp", str(mute))
    connection = connect(listener.port)
    connection.settimeout(20)
    connection.sendall(request())
    with suppress(ConnectionResetError):
        assert connection.recv(1) == b"", "closed"
    (event,) = listener.wait_for("notice")
    assert event["reason"] == "cut off: its request was not answered in 10 s"
    listener.wait_for("association-ended")
    listener.stop()


def test_half_open_connections_are_dropped_in_time(listen: Start, connect: Connect) -> None:
    listener = listen()
    began = time.monotonic()
    silent = [connect(listener.port) for _ in range(40)]
    for number, connection in enumerate(silent):
        connection.sendall(request()[: 3 * number])
    for connection in silent:
        connection.settimeout(20)
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b"", "whatever part of its request it has sent"
    assert listener.events("association-opened") == []
    assert 5 < time.monotonic() - began < 20
    listener.stop()


def test_half_open_connections_are_bounded(listen: Start, connect: Connect) -> None:
    """With all places taken, the oldest one gives way."""
    listener = listen()
    began = time.monotonic()
    silent = [connect(listener.port) for _ in range(80)]
    assert echo(listener.port).returncode == 0
    assert silent[0].recv(1) == b""
    assert time.monotonic() - began < 5
    listener.stop()


def test_sigterm_lets_a_running_association_end(listen: Start, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 150)
    listener = listen()
    listener.send(corpus.directory)
    listener.wait_for("association-opened")
    listener.px.process.send_signal(signal.SIGTERM)
    listener.wait_for("draining")
    assert echo(listener.port).returncode != 0, "nobody is let in any more"
    assert listener.px.process.wait(60) == 0
    assert listener.acknowledged() == {file.SOPInstanceUID for file in corpus}
    assert_filed(listener.layout, corpus)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_does_not_wait_for_a_hanging_association_for_ever(
    listen: Start, connect: Connect, number: signal.Signals
) -> None:
    listener = listen("--drain", "0.2")
    hanging = connect(listener.port)
    hanging.sendall(request())
    assert hanging.recv(1) == b"\2"
    assert listener.px.stop(number, timeout=10) == 0
    assert listener.events("association-ended")[0]["exit_status"] == -signal.SIGTERM


def test_a_second_signal_ends_it_at_once_and_the_next_listener_goes_on(
    listen: Start, connect: Connect, tmp_path: Path
) -> None:
    listener = listen()
    hanging = connect(listener.port)
    hanging.sendall(request())
    assert hanging.recv(1) == b"\2"
    listener.px.process.send_signal(signal.SIGTERM)
    listener.wait_for("draining")
    assert listener.px.stop(timeout=10) == 1
    assert "1 associations were cut" in listener.px.stderr()
    assert_port_is_free(listener.port)
    following = listen(port=listener.port)
    corpus = make_series(tmp_path / "series", 2, SMALL, SMALL)
    following.send(corpus.directory)
    following.wait_for("association-ended")
    following.stop()
    assert_filed(following.layout, corpus)


@pytest.mark.parametrize("times", [1, 3])
def test_kill_the_worker_in_mid_transfer(listen: Start, tmp_path: Path, times: int) -> None:
    corpus = make_series(tmp_path / "series", 300)
    listener = listen()
    listener.series = set(corpus.series())
    for part in split(corpus, tmp_path, 2):
        listener.send(part, options=SLOWLY)
    for time_ in range(1, times + 1):
        some_files(listener, 60 * time_)
        kill(wait_until(lambda: listener.children("python"), "a worker runs")[0])
        listener.wait_for("worker-restarted", time_)
    assert listener.acknowledged() == {file.SOPInstanceUID for file in corpus}
    listener.stop()
    assert [event["exit_status"] for event in listener.events("worker-restarted")] == [-signal.SIGKILL] * times
    assert_filed(listener.layout, corpus)


def test_kill_the_supervisor_in_mid_transfer(listen: Start, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 300)
    listener = listen()
    listener.series = set(corpus.series())
    for part in split(corpus, tmp_path, 2):
        listener.send(part, options=SLOWLY)
    listener.wait_for("association-opened", 2)
    some_files(listener, 50)
    kill(listener.px.pid)
    listener.px.process.wait()
    assert_port_is_free(listener.port)
    following = listen(port=listener.port)
    assert listener.acknowledged() == {file.SOPInstanceUID for file in corpus}, "storescp goes on without us"
    wait_until(lambda: len(recorded(listener.layout, corpus.series())) == 300, "all are filed", timeout=40)
    wait_until(lambda: len(spool.listeners(following.layout.incoming)) == 1, "the old folder is gone")
    following.stop()
    assert_filed(following.layout, corpus)


def test_kill_everything_in_mid_transfer(listen: Start, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 300)
    listener = listen()
    listener.series = set(corpus.series())
    for part in split(corpus, tmp_path, 2):
        listener.send(part, options=SLOWLY)
    listener.wait_for("association-opened", 2)
    some_files(listener, 100)
    victims = [listener.px.pid, *listener.children("python"), *listener.children("storescp")]
    for pid in victims:
        kill(pid)
    listener.px.process.wait()
    acknowledged = listener.acknowledged()
    assert 0 < len(acknowledged) < 300
    following = listen()
    wait_until(lambda: spool.listeners(following.layout.incoming)[1:] == [], "the old folder is worked off", timeout=40)
    following.stop()
    found = set(recorded(following.layout, corpus.series()))
    assert acknowledged <= found
    assert_filed(following.layout, [file for file in corpus if file.SOPInstanceUID in found])
    for path in (following.layout.incoming / spool.REJECTED).glob("CT.*[!t]"):
        assert path.with_name(f"{path.name}.reason.txt").read_text().strip()


def test_receiving_takes_the_processor_after_filing(listen: Start, connect: Connect) -> None:
    listener = listen()
    for _ in range(2):
        connect(listener.port).sendall(request())
    listener.wait_for("association-opened", 2)
    receiving, (worker,) = listener.children("storescp"), listener.children("python")
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    later = 2 * [min(ours + 10, 19)]
    wait_until(lambda: [os.getpriority(os.PRIO_PROCESS, pid) for pid in receiving] == later, "both give way")
    sessions = [path for pid in receiving if (path := Path(f"/proc/{pid}/autogroup")).exists()]
    wait_until(lambda: all("nice 10" in path.read_text() for path in sessions), "their sessions do, too")
    assert os.getpriority(os.PRIO_PROCESS, worker) == ours


def test_kill_storescp_in_mid_transfer(listen: Start, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 300)
    listener = listen()
    listener.series = set(corpus.series())
    listener.send(corpus.directory, options=SLOWLY)
    some_files(listener, 50)
    kill(listener.children("storescp")[0])
    acknowledged = listener.acknowledged()
    assert 0 < len(acknowledged) < 300
    (event,) = listener.wait_for("association-ended")
    assert event["exit_status"] == -signal.SIGKILL
    found = set(recorded(listener.layout, corpus.series()))
    assert acknowledged <= found
    assert echo(listener.port).returncode == 0
    listener.stop()
    assert_filed(listener.layout, [file for file in corpus if file.SOPInstanceUID in found])


def test_what_a_dead_listener_left_is_filed_and_the_broken_set_aside(
    listen: Start, basemount: Path, tmp_path: Path
) -> None:
    corpus = make_series(tmp_path / "series", 25, SMALL, SMALL)
    layout = Layout.of_basemount(basemount)
    folder = leave_behind(layout, corpus)
    first = corpus.files[0]
    (folder / "00000001" / "CT.short").write_bytes(first.path.read_bytes()[:-100])
    (folder / "00000002" / "CT.empty").write_bytes(b"")
    (folder / "00000003" / "CT.text").write_bytes(b"no image at all" * 50)
    listener = listen()
    events = listener.wait_for("rejected-file", 3)
    assert {event["name"] for event in events} == {"CT.short", "CT.empty", "CT.text"}
    wait_until(lambda: not folder.exists(), "the old folder is gone")
    listener.stop()
    assert_filed(layout, corpus)
    for event in events:
        kept = layout.incoming / spool.REJECTED / event["name"]
        assert kept.with_name(f"{kept.name}.reason.txt").read_text() == f"{event['reason']}\n"


def test_what_a_dead_listener_left_is_filed_before_the_next_one_stops(
    listen: Start, basemount: Path, tmp_path: Path
) -> None:
    corpus = make_series(tmp_path / "series", 300, 4, 4)
    layout = Layout.of_basemount(basemount)
    leave_behind(layout, corpus)
    listen().stop()
    assert_filed(layout, corpus)


NO_TIME = """
from pypx.workflows import receiver
receiver._LAST_ADOPTED_S = -1.0
receiver.Worker._adopt = lambda worker: None
main = receiver.main
"""
"""A worker that does not come to what another listener has left."""


def test_what_still_waits_at_the_end_is_counted(listen: Start, px: PxRunner, basemount: Path, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 12, SMALL, SMALL)
    layout = Layout.of_basemount(basemount)
    leave_behind(layout, corpus)
    options = ["listen", "--basemount", str(basemount), "--port", "0", "--bind", HOST, "--jsonl", "--min-free", "1M"]
    running = px.start("-c", PATCHED, NO_TIME, *options, command="python")
    listener = Listener(running, 0, layout)
    listener.wait_for("ready")
    assert running.stop() == 3
    assert listener.events("stopped") == [{"kind": "stopped", "earlier": 12}]
    assert running.stderr().endswith("12 files received earlier wait in incoming; the next px listen files them\n")
    listen().stop()
    assert_filed(layout, corpus)


DEADLY = """
import os
from pypx.workflows import filing
read = filing.Filer.read
def deadly(filer, source):
    if source.name == "CT.deadly":
        os._exit(3)
    return read(filer, source)
filing.Filer.read = deadly
from pypx.workflows.receiver import main
"""
"""A worker that a file kills, as a bug in a library could."""

PATCHED = """
import sys
from pypx.cli.main import run
from pypx.workflows import worker
worker._PROGRAM = worker._PROGRAM.replace("from pypx.workflows.receiver import main", "exec(" + repr(sys.argv.pop(1)) + ")")
run()
"""


def test_a_file_that_kills_the_worker_is_set_aside(px: PxRunner, basemount: Path, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 12, SMALL, SMALL)
    layout = Layout.of_basemount(basemount)
    folder = leave_behind(layout, corpus)
    (folder / "00000001" / "CT.deadly").write_bytes(corpus.files[0].path.read_bytes())
    options = ["listen", "--basemount", str(basemount), "--port", "0", "--bind", HOST, "--jsonl", "--min-free", "1M"]
    running = px.start("-c", PATCHED, DEADLY, *options, command="python")
    listener = Listener(running, 0, layout)
    (event,) = listener.wait_for("rejected-file")
    assert event["name"] == "CT.deadly"
    assert "ended abnormally" in event["reason"]
    assert [event["exit_status"] for event in listener.events("worker-restarted")] == [3, 3]
    wait_until(lambda: not folder.exists(), "the old folder is gone")
    listener.stop()
    assert_filed(layout, corpus)
    assert (layout.incoming / spool.REJECTED / "CT.deadly").exists()


def test_much_that_waits_does_not_starve_what_comes(listen: Start, basemount: Path, tmp_path: Path) -> None:
    waiting = make_series(tmp_path / "old", 3000, 4, 4, seed="old")
    layout = Layout.of_basemount(basemount)
    folder = leave_behind(layout, waiting, per_folder=1000)
    listener = listen("--max-backlog", "100")
    corpus = make_series(tmp_path / "new", 5, SMALL, SMALL, seed="new")
    listener.send(corpus.directory)
    listener.wait_for("association-ended")
    assert len(recorded(layout, corpus.series())) == 5
    assert folder.exists(), "the new ones did not wait for the old ones"
    wait_until(lambda: not folder.exists(), "the old folder is gone", timeout=60)
    listener.stop()
    assert_filed(layout, [*waiting, *corpus])


def test_two_listeners_on_one_basemount(listen: Start, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 120, SMALL, SMALL)
    first, second = listen(), listen()
    for listener in (first, second, first, second):
        listener.send(corpus.directory)
    everything = {file.SOPInstanceUID for file in corpus}
    assert first.acknowledged() == second.acknowledged() == everything
    first.wait_for("association-ended", 2)
    second.wait_for("association-ended", 2)
    new = sum(event["new"] for listener in (first, second) for event in listener.events("series"))
    assert new == 120
    first.stop()
    assert spool.listeners(first.layout.incoming) != [], "the folder of the living one is not touched"
    second.stop()
    assert_filed(first.layout, corpus)


def test_senders_wait_while_too_much_waits(listen: Start, basemount: Path, tmp_path: Path) -> None:
    """The worker is stopped, so files pile up; the next sender is served when they have been filed."""
    corpus = make_series(tmp_path / "series", 20, SMALL, SMALL)
    more = make_series(tmp_path / "more", 5, SMALL, SMALL, seed="more")
    listener = listen("--max-backlog", "10")
    (worker,) = listener.children("python")
    os.kill(worker, signal.SIGSTOP)
    listener.send(corpus.directory)
    assert listener.acknowledged() == {file.SOPInstanceUID for file in corpus}, "a running association goes on"
    (event,) = listener.wait_for("paused")
    assert event["reason"] == "10 received files wait to be filed"
    second = listener.send(more.directory)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(1.5)
    assert len(listener.events("association-opened")) == 1
    os.kill(worker, signal.SIGCONT)
    listener.wait_for("resumed")
    assert listener.acknowledged() == {file.SOPInstanceUID for file in [*corpus, *more]}
    listener.stop()
    assert_filed(listener.layout, [*corpus, *more])


def test_senders_wait_while_the_disk_is_full(listen: Start, connect: Connect) -> None:
    listener = listen("--min-free", "900T")
    assert "are free" in listener.wait_for("paused")[0]["reason"]
    waiting = connect(listener.port)
    waiting.sendall(request())
    waiting.settimeout(1.5)
    with pytest.raises(TimeoutError):
        waiting.recv(1)
    assert listener.px.stop() == 0


def test_the_same_and_other_content(listen: Start, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 3, SMALL, SMALL)
    changed = tmp_path / "changed" / "1.dcm"
    changed.parent.mkdir()
    data = bytearray(corpus.files[0].path.read_bytes())
    data[-1] ^= 0xFF
    changed.write_bytes(data)
    listener = listen()
    for number, folder in enumerate((corpus.directory, corpus.directory, changed.parent), start=1):
        listener.send(folder)
        listener.wait_for("association-ended", number)
    first = corpus.files[0]
    (event,) = listener.wait_for("conflict")
    assert event == {
        "kind": "conflict", "SeriesInstanceUID": first.SeriesInstanceUID, "SOPInstanceUID": first.SOPInstanceUID,
    }  # fmt: skip
    assert sum(event["new"] for event in listener.events("series")) == 3
    listener.stop()
    assert_filed(listener.layout, corpus)
    kept = listener.layout.incoming / spool.CONFLICTS / first.SeriesInstanceUID / f"{first.SOPInstanceUID}.1.dcm"
    assert dataset_bytes(kept) == dataset_bytes(changed)
    assert Database.open(listener.layout).conflicts(UID(first.SeriesInstanceUID)) == 1


def test_a_busy_port_is_named(listen: Start, px: PxRunner, basemount: Path) -> None:
    port = listen().port
    result = px("listen", "--basemount", basemount, "--port", port, "--bind", HOST)
    assert result.returncode == 1
    assert f"cannot listen on {HOST}:{port}: Address already in use" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert len(spool.listeners(Layout.of_basemount(basemount).incoming)) == 1


def test_a_missing_storescp_is_named(px: PxRunner, basemount: Path) -> None:
    result = px("listen", "--basemount", basemount, "--port", 0, "--bind", HOST, "--storescp", "/nowhere/storescp")
    assert result.returncode == 20
    assert "apt-get install dcmtk" in result.stderr
    assert not basemount.exists()


@pytest.mark.parametrize("other", ["/bin/true", "echoscu"])
def test_another_program_than_storescp_is_named(px: PxRunner, basemount: Path, other: str) -> None:
    result = px("listen", "--basemount", basemount, "--port", 0, "--bind", HOST, "--storescp", other)
    assert result.returncode == 20
    assert f"{other} is not DCMTK's storescp" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not basemount.exists()


@pytest.mark.parametrize(
    "option",
    [("--max-object-size", "0"), ("--max-object-size", "0G"), ("--max-backlog", "0"), ("--max-associations", "0"),
     ("--acse-timeout", "0"), ("--dimse-timeout", "0")],
)  # fmt: skip
def test_a_limit_is_not_switched_off(px: PxRunner, basemount: Path, option: tuple[str, str]) -> None:
    result = px("listen", "--basemount", basemount, "--port", 0, "--bind", HOST, *option)
    assert result.returncode == 2
    assert option[0] in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not basemount.exists()


def test_a_basemount_that_cannot_be_written_is_named(px: PxRunner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = px("listen", "--basemount", tmp_path / "file", "--port", 0, "--bind", HOST)
    assert result.returncode == 40
    assert str(tmp_path / "file") in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_data_on_another_filesystem(listen: Start, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no other filesystem here")
        corpus = make_series(tmp_path / "series", 10, SMALL, SMALL)
        listener = listen("--datadir", f"{other}/data")
        assert "copied instead of linked" in listener.events("notice")[0]["reason"]
        for number in (1, 2):
            listener.send(corpus.directory)
            listener.wait_for("association-ended", number)
        listener.stop()
        assert_filed(replace(listener.layout, data=Path(other, "data")), corpus)


def descriptors(pid: int) -> list[str]:
    """What the descriptors of a process are; some may close meanwhile."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(path.readlink()))
    return found


def test_nobody_is_started_through_a_shell_and_nothing_is_left(listen: Start, connect: Connect) -> None:
    listener = listen()
    connection = connect(listener.port)
    connection.sendall(request())
    assert connection.recv(1) == b"\2"
    (storescp,), (worker,) = listener.children("storescp"), listener.children("python")
    for pid in (storescp, worker):
        assert Path(f"/proc/{pid}/exe").resolve().name not in ("sh", "bash", "dash")
        sockets = descriptors(pid)
        listening = f"{listener.port:04X}"
        inodes = {
            line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if line.split()[1].endswith(f":{listening}") and line.split()[3] == "0A"
        }  # fmt: skip
        assert len(inodes) == 1
        assert not any(inode in name for name in sockets for inode in inodes), "only the supervisor has the port"
    connection.close()
    listener.wait_for("association-ended")
    listener.stop()
    assert not Path(f"/proc/{worker}").exists()
    assert not Path(f"/proc/{storescp}").exists()
