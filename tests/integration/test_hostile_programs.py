"""What px starts and with which words: no shell, no identifier that has not been checked, nothing that moves a cursor."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from pypx.cli.main import px as px_group
from support.corpus import Corpus, make_series
from support.limits import cpu_limit
from support.listening import Start
from support.ports import free_port, wait_until
from support.pxrun import PxRunner, clean_environment, installed
from support.rawdicom import instance
from support.servers import HOST, Dcmqrscp, StorescpSink

SHELLS = {"sh", "dash", "bash", "ash", "zsh", "ksh", "busybox", "env", "xargs"}
_EXECUTED = re.compile(r'execve\("([^"]+)", .* = 0$')


_NUMBERS = itertools.count()


class Traced:
    """A command of px under strace: it and all its children, and every program one of them became."""

    def __init__(self, directory: Path, *args: str | Path | int) -> None:
        strace = shutil.which("strace")
        if strace is None:
            pytest.skip("strace is not installed; ./tests/run.sh installs what the tests need")
        self._log = directory / f"execve-{next(_NUMBERS)}"
        self.process = subprocess.Popen(
            [strace, "-f", "-qq", "-s", "200", "-e", "trace=execve", "-e", "signal=none", "-o", str(self._log),
             installed("px"), *map(str, args)],
            env=clean_environment(directory / "home"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    def ended(self) -> Traced:
        with self.process:
            _, said = self.process.communicate(timeout=90)
        assert self.process.returncode == 0, said.decode()
        return self

    @property
    def programs(self) -> set[str]:
        """Names of the programs that were executed."""
        lines = self._log.read_text().splitlines()
        return {Path(found[1]).name for line in lines if (found := _EXECUTED.search(line))}


def test_a_shell_would_be_seen(tmp_path: Path) -> None:
    """storescp of DCMTK calls its -xcr by a shell; so would anything of ours: the trap works."""
    fake = tmp_path / "echoscu"
    fake.write_text("#!/bin/sh\necho 'I: Received Echo Response (Success)' >&2\n")
    fake.chmod(0o755)
    seen = Traced(tmp_path, "echo", "--serverIP", HOST, "--serverPort", 9, "--echoscu", fake).ended()
    assert "echoscu" in seen.programs or "sh" in seen.programs


def test_no_shell_is_started(
    dcmqrscp: Dcmqrscp, corpus: Corpus, storescp_sink: Callable[..., StorescpSink], tmp_path: Path
) -> None:
    """Echo, find, move, listen, repack and push, with everything they start; the values are hostile."""
    peer = ("--serverIP", HOST, "--serverPort", dcmqrscp.port, "--aec", dcmqrscp.aet)
    base = ("--basemount", tmp_path / "base")
    destination = dcmqrscp.destinations[0]
    listening = Traced(tmp_path, "listen", *base, "--port", destination.port, "--bind", HOST, "--min-free", "1M")
    try:
        echo = Traced(tmp_path, "echo", *peer).ended()
        find = Traced(tmp_path, "find", *peer, "--StudyDescription", "$(touch OWNED)*").ended()
        file = corpus.of_kind("ct")[0]
        move = Traced(
            tmp_path, "move", *peer, *base, "--aet", destination.aet, "--StudyInstanceUID", file.StudyInstanceUID,
            "--SeriesInstanceUID", file.SeriesInstanceUID,
        ).ended()  # fmt: skip
        wait_until(lambda: list((tmp_path / "base" / "data").rglob("*.dcm")), "images have come", timeout=60)
    finally:
        with suppress(ProcessLookupError):
            for child in (
                Path(f"/proc/{listening.process.pid}/task/{listening.process.pid}/children").read_text().split()
            ):
                os.kill(int(child), 15)
        listening.process.communicate(timeout=60)
    hostile = corpus.of_kind("hostile")[2].path.parent
    repack = Traced(tmp_path, "repack", "--basemount", tmp_path / "other", hostile).ended()
    sink = storescp_sink()
    push = Traced(
        tmp_path, "push", "--xcrdir", hostile, "--serverIP", HOST, "--serverPort", sink.port, "--aec", "SINK"
    ).ended()
    expected: tuple[tuple[Traced, set[str]], ...] = (
        (echo, {"echoscu"}), (find, {"findscu"}), (move, {"movescu"}), (listening, {"storescp"}), (repack, set()),
        (push, {"dcmsend"}),
    )  # fmt: skip
    for traced, needed in expected:
        assert needed <= traced.programs
        assert not traced.programs & SHELLS, traced.programs
    assert not list(tmp_path.rglob("OWNED"))


# Identifiers from outside

UIDS = ("../../x", "1.2;id", "$(id)", "-x", "1..2", ".1", "1" * 65, "١.٢", "1.2/3", "\x1b[2J")
TITLES = ("-aec", "A\\B", "x" * 17, "A\nB", "Ä", "\x1b[2J", "A\tB")
HOSTS = ("-x", "a b", "a;id", "$(id)", "http://x", "\x1b[2J", "a\nb")
NODE = ("--serverIP", "127.0.0.1", "--serverPort", "9")
OPTIONS = (
    *(("--StudyInstanceUID", UIDS, (*command, *NODE)) for command in (("find",), ("move",))),
    *(("--SeriesInstanceUID", UIDS, (*command, *NODE)) for command in (("find",), ("move", "--StudyInstanceUID", "1.2"))),
    *(("--StudyInstanceUID", UIDS, (command, "--storeBaseLocation", "{tmp}/store", "--swiftServicesPACS", "X")) for command in ("push",)),
    ("--SeriesInstanceUID", UIDS, ("push", "--storeBaseLocation", "{tmp}/store", "--swiftServicesPACS", "X", "--StudyInstanceUID", "1.2")),
    ("--StudyInstanceUID", UIDS, ("status",)),
    ("--SeriesInstanceUID", UIDS, ("status",)),
    ("--StudyInstanceUID", UIDS, ("register", "--CUBEURL", "http://127.0.0.1:9", "--CUBEusername", "a", "--CUBEuserpasswd", "b")),
    *((option, TITLES, (command, *NODE)) for option in ("--aet", "--aec") for command in ("echo", "find", "move")),
    ("--move-destination", TITLES, ("move", *NODE)),
    ("--aet", TITLES, ("listen", "--port", "0")),
    ("--allow-calling", TITLES, ("listen", "--port", "0")),
    *(("--serverIP", HOSTS, (command, "--serverPort", "9")) for command in ("echo", "find", "move")),
    *(("--serverPort", ("0", "65536", "x", "-1", "1;id", "٣"), (command, "--serverIP", "127.0.0.1")) for command in ("echo", "find")),
)  # fmt: skip


@pytest.mark.parametrize(
    ("option", "values", "command"),
    OPTIONS,
    ids=[f"{command[0]} {option} {len(command)}" for option, _, command in OPTIONS],
)
def test_identifiers_are_checked_before_anything_is_started(
    option: str, values: Sequence[str], command: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 says so: a program that cannot be found would be 20, a PACS that is not there 10."""
    monkeypatch.setenv("PX_BASEMOUNT", str(tmp_path / "base"))
    for program in ("ECHOSCU", "FINDSCU", "MOVESCU", "STORESCP"):
        monkeypatch.setenv(f"PX_{program}", "/nonexistent")
    what = (
        "UID" if option.endswith("UID") else "AE title" if values is TITLES else "host" if values is HOSTS else "port"
    )
    for value in values:
        words = [word.replace("{tmp}", str(tmp_path)) for word in command]
        if command[0] == "move" and "UID" not in option:
            words += ["--StudyInstanceUID", "1.2"]
        with cpu_limit(20):
            result = CliRunner().invoke(px_group, [*words, f"{option}={value}"])
        assert result.exit_code == 2, (value, result.output)
        assert result.stderr.count("\n") == 1, (value, result.stderr)
        assert "\x1b" not in result.output
        assert what in result.stderr, (value, result.stderr)
    assert not (tmp_path / "base" / "data").exists()


@pytest.mark.parametrize("uid", [*UIDS, "1.2\n3"])
def test_uids_of_documents_are_checked_as_well(uid: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PX_BASEMOUNT", str(tmp_path / "base"))
    monkeypatch.setenv("PX_MOVESCU", "/nonexistent")
    series = {"SeriesInstanceUID": {"tag": "0020,000e", "value": uid}}
    document = {"data": [{"StudyInstanceUID": {"tag": "0020,000d", "value": "1.2"}, "series": [series]}]}
    for command in (
        ("move", *NODE),
        ("status",),
        ("push", "--storeBaseLocation", str(tmp_path / "store"), "--swiftServicesPACS", "X"),
        ("do", "--then", "status"),
    ):
        result = CliRunner().invoke(px_group, list(command), input=json.dumps(document))
        assert result.exit_code == 2, (command, result.output)
        assert "SeriesInstanceUID" in result.stderr


@pytest.mark.parametrize("value", [*HOSTS, "x" * 300])
def test_addresses_and_titles_of_documents_are_checked(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PX_BASEMOUNT", str(tmp_path / "base"))
    monkeypatch.setenv("PX_MOVESCU", "/nonexistent")
    series = {"SeriesInstanceUID": {"tag": "0020,000e", "value": "1.2.3"}}
    good = {"serverIP": "127.0.0.1", "serverPort": "9", "aec": "A", "aet": "B"}
    for name in ("serverIP", "aec", "aet"):
        if name != "serverIP" and value not in ("-x", "\x1b[2J", "a\nb", "x" * 300):
            continue
        document = {
            "data": [{"StudyInstanceUID": {"tag": "0020,000d", "value": "1.2"}, "series": [series]}],
            "args": {**good, name: value},
        }
        result = CliRunner().invoke(px_group, ["move"], input=json.dumps(document))
        assert result.exit_code == 2, result.output
        assert f"args.{name}" in result.stderr


# Terminals

NASTY = "x\x1b]0;owned\x07\x1b[2J\x9b31m\r\nroot# \u2028y"


def on_terminal(home: Path, args: Sequence[str | Path], document: str = "") -> bytes:
    """What a command writes to a terminal, stdout and stderr."""
    words = [str(word) for word in args]
    words = words if words[0].startswith("px-") else ["px", *words]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [installed(words[0]), *words[1:]],
        env={**clean_environment(home), "TERM": "xterm-256color", "COLUMNS": "100"},
        stdin=subprocess.PIPE if document else subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        if process.stdin is not None:
            process.stdin.write(document.encode())
            process.stdin.close()
        seen = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    data = os.read(ours, 65536)
                except OSError:  # EIO: the other end is closed
                    break
                seen += data
        os.close(ours)
    return seen


def check_terminal(seen: bytes, *, of: object) -> None:
    """Nothing but colours of our own, and what progress bars need: no title, no cleared screen, no C1."""
    text = seen.decode(errors="replace")
    rest = re.sub(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A", "", text).replace("\r\n", "\n").replace("\r", "")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", rest), (of, rest[:2000])
    assert "csv" in str(of) or "\nroot#" not in rest, (of, rest[:2000])  # a quoted line end is part of a CSV


@pytest.fixture
def nasty(px: PxRunner, tmp_path: Path) -> Path:
    """A BASEMOUNT whose every text is an attack."""
    values = {
        0x0008_0020: (b"DA", "20200101"), 0x0008_0060: (b"CS", NASTY[:16]), 0x0010_0010: (b"PN", NASTY),
        0x0010_0020: (b"LO", NASTY), 0x0008_1030: (b"LO", NASTY), 0x0008_103E: (b"LO", NASTY), 0x0018_1030: (b"LO", NASTY),
        0x0020_0011: (b"IS", NASTY), 0x0020_0013: (b"IS", NASTY), 0x0008_0050: (b"SH", NASTY),
    }  # fmt: skip
    source = tmp_path / "source"
    source.mkdir()
    (source / "one.dcm").write_bytes(instance(("1.2", "1.2.3", "1.2.3.4"), values))
    (source / f"bad{NASTY[:12]}".replace("/", "")).write_bytes(b"none")
    seen = on_terminal(tmp_path / "home", ["repack", "--basemount", tmp_path / "base", source])
    check_terminal(seen, of="repack")
    return tmp_path / "base"


def test_values_never_move_the_cursor(nasty: Path, tmp_path: Path) -> None:
    """Each command that shows values, on a terminal."""
    home = tmp_path / "home"
    tag = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3", "PatientName": NASTY, "PatientID": NASTY}
    texts = {**tag, "StudyDescription": NASTY, "SeriesDescription": NASTY, "Modality": NASTY, "StudyDate": NASTY}
    entry = {name: {"tag": "", "value": value, "label": name} for name, value in texts.items()}
    document = json.dumps({"status": "success", "data": [{**entry, "series": [entry]}], "args": {}})
    failed = json.dumps({"status": "error", "data": NASTY})
    base = ("--basemount", nasty)
    shown = 0
    commands: tuple[tuple[tuple[str | Path, ...], str], ...] = (
        *((("report", "--printReport", form), document) for form in ("tabular", "rawtext", "csv", "json")),
        (("report", "--jsonl"), document),
        (("report",), failed),
        (("px-report", "--printReport", "rawText"), document),
        (("px-report",), failed),
        (("status", *base), document),
        (("status", *base, "--json"), document),
        (("do", *base, "--then", "status,report", "--withFeedBack"), document),
        (("push", *base, "--storeBaseLocation", tmp_path / "store", "--swiftServicesPACS", "X"), document),
        (("smdb", "search", *base, "PatientID="), ""),
        (("smdb", *base, "--action", "mapsUpdateForFile", "--xcrdirfile", tmp_path / "source" / "one.dcm"), ""),
        (("smdb", *base, "--action", "imageDirsPatientID", "--actionArgs", NASTY), ""),
        (("storage", "ls", "--storeBaseLocation", tmp_path / "store"), ""),
        (("repack", *base, tmp_path / NASTY[:20]), ""),
        (("find", "--serverIP", HOST, "--PatientID", NASTY), ""),
    )
    for args, text in commands:
        seen = on_terminal(home, args, text)
        check_terminal(seen, of=args)
        shown += b"owned" in seen
    assert shown >= 8, "hardly a command has shown a value: this proves nothing"


@pytest.mark.parametrize("kind", ["garbage", "huge lines", "endless"])
def test_a_findscu_that_writes_anything(px: PxRunner, tmp_path: Path, kind: str) -> None:
    """NULs, escapes, no line ends, megabytes: px says in one line that the PACS did not answer."""
    fake = tmp_path / "findscu"
    body = {
        "garbage": "w.write(bytes(range(256)) * 4000)",
        "huge lines": "[w.write(b'D: ' + b'x' * (1 << 20)) for _ in range(64)]",
        "endless": "[w.write(b'I: Received Find Response\\nE: \\x1b[2J\\0\\n' * 1000) for _ in range(300)]",
    }[kind]
    fake.write_text(f"#!{shutil.which('python3')}\nimport sys\nw = sys.stderr.buffer\n{body}\nsys.exit(1)\n")
    fake.chmod(0o755)
    done = px(
        "find", "--serverIP", HOST, "--serverPort", free_port(), "--PatientID", "1", "--findscu", fake, timeout=60
    )
    assert done.returncode in (10, 11, 12, 21), done.stderr
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr
    assert len(done.stderr) < 1200


def test_a_listener_takes_hostile_titles_and_tells_them_harmlessly(listen: Start, tmp_path: Path) -> None:
    """Titles of a peer reach no command line, and its events stay a JSON object a line."""
    listener = listen()
    series = make_series(tmp_path / "series", 1, 16, 16)
    listener.send(series.directory, options=("-aet", "$(id);`id`|&'", "-aec", "../../x"))
    assert listener.acknowledged() == {file.SOPInstanceUID for file in series}
    opened = listener.wait_for("association-opened")[0]
    assert (opened["calling_aet"], opened["called_aet"]) == ("$(id);`id`|&'", "../../x")
    listener.send(series.directory, options=("-aet", "$(id);\x1b[2J"))
    rejected = listener.wait_for("association-rejected")[0]
    assert rejected["calling_aet"] == "$(id);?[2J"
    assert listener.senders[1].wait(60) != 0
    listener.stop()
