"""A running `px listen` and what belongs around it: senders, what they were told, and what must be on disk then."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.workflows import spool
from support.corpus import Corpus, CorpusFile
from support.dicom import dataset_bytes
from support.ports import free_port, wait_until
from support.pxrun import PxRunner, RunningPx
from support.servers import HOST, program, run_tool, sent_instances

SMALL = 16


@dataclass
class Listener:
    """A running `px listen` and what it said."""

    px: RunningPx
    port: int
    layout: Layout
    reports: Path = Path()
    senders: list[subprocess.Popen[bytes]] = field(default_factory=list)
    series: set[str] = field(default_factory=set)

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        lines = self.px.stdout().split("\n")[:-1]
        return [event for line in lines if (event := json.loads(line))["kind"] == kind or kind is None]

    def wait_for(self, kind: str, number: int = 1, *, timeout: float = 30) -> list[dict[str, Any]]:
        wait_until(
            lambda: len(self.events(kind)) >= number, f"{number} x {kind} in {self.px.stderr()}", timeout=timeout
        )
        return self.events(kind)

    def stop(self) -> None:
        """SIGTERM drains, and the exit status is 0."""
        assert self.px.stop() == 0, self.px.stderr()
        assert self.events("stopped") == [{"kind": "stopped"}]

    def children(self, program_: str) -> list[int]:
        """Process ids of its children that run a program; the worker is ``python``."""
        pid = self.px.pid
        found = []
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(FileNotFoundError):
                if Path(f"/proc/{child}/exe").readlink().name.startswith(program_):
                    found.append(int(child))
        return found

    def send(self, *files: Path, options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start dcmsend; it reports on each instance in a file."""
        report = self.reports / f"report-{len(self.senders)}"
        argv = [
            program("dcmsend"), "--no-halt", "--create-report-file", str(report), "+sd", "+r", *options,
            HOST, str(self.port), *map(str, files),
        ]  # fmt: skip
        environment = {"PATH": os.environ["PATH"], "TCP_NODELAY": "1"}
        quiet = subprocess.DEVNULL
        self.senders.append(subprocess.Popen(argv, env=environment, stdin=quiet, stdout=quiet, stderr=quiet))
        return self.senders[-1]

    def statuses(self, number: int = 0) -> list[str]:
        """The DIMSE status of each instance, such as ``0x0000``, as the `number`-th sender reports it."""
        self.senders[number].wait(120)
        text = (self.reports / f"report-{number}").read_text()
        return re.findall(r"^DIMSE Status  : (0x[0-9a-f]{4})", text, re.MULTILINE)

    def acknowledged(self) -> set[str]:
        """SOP Instance UIDs that a sender was told are stored."""
        found = set()
        for number, sender in enumerate(self.senders):
            sender.wait(60)
            report = self.reports / f"report-{number}"
            if report.exists():
                found.update(sent_instances(report.read_text()))
        return found


Start = Callable[..., Listener]
SLOWLY = ("--max-send-pdu", "4096")
"""Makes dcmsend slow enough to be met in mid-transfer."""


@pytest.fixture
def listen(px: PxRunner, basemount: Path, tmp_path: Path) -> Iterator[Start]:
    """`listen(*options)` starts a listener and waits until it is ready."""
    started: list[Listener] = []

    def start(*options: str, port: int | None = None, env: Mapping[str, str] | None = None) -> Listener:
        port = port or free_port()
        running = px.start(
            "listen",
            "--basemount",
            basemount,
            "--port",
            port,
            "--bind",
            HOST,
            "--jsonl",
            "--min-free",
            "1M",
            *options,
            env=env,
        )
        started.append(Listener(running, port, Layout.of_basemount(basemount), tmp_path))
        started[-1].wait_for("ready")
        return started[-1]

    try:
        yield start
    finally:
        for sender in (sender for listener in started for sender in listener.senders):
            sender.kill()
            sender.wait()


def recorded(layout: Layout, series: Iterable[str]) -> dict[str, Path]:
    database = Database.open(layout)
    images = (database.images(UID(uid)) for uid in series)
    return {uid: layout.resolve(record.file) for found in images for uid, record in found.items()}


def assert_filed(layout: Layout, files: Iterable[CorpusFile], *, besides: int = 0) -> None:
    """Each instance once in the tree and once in the records, its data set as it was sent; nothing is left waiting.

    There are no other files, but so many `besides`.
    """
    files = list(files)
    found = recorded(layout, {file.SeriesInstanceUID for file in files})
    assert set(found) == {file.SOPInstanceUID for file in files}
    for file in files:
        assert dataset_bytes(found[file.SOPInstanceUID]) == dataset_bytes(file.path)
    tree = {path for path in layout.data.rglob("*") if path.is_file()}
    assert set(found.values()) <= tree
    assert len(tree) == len(found) + besides
    for series in {file.SeriesInstanceUID for file in files}:
        lines = [json.loads(line)["SOPInstanceUID"] for line in layout.image_log(series).read_text().splitlines()]
        assert max(Counter(lines).values()) == 1
    assert_nothing_waits(layout)


def assert_nothing_waits(layout: Layout) -> None:
    assert spool.listeners(layout.incoming) == []


def split(corpus: Corpus, directory: Path, parts: int) -> list[Path]:
    """The files of a series in several directories, by hard links."""
    folders = [directory / f"part-{number}" for number in range(parts)]
    for folder in folders:
        folder.mkdir(parents=True)
    for number, file in enumerate(corpus):
        os.link(file.path, folders[number % parts] / file.path.name)
    return folders


def echo(port: int, *options: str) -> subprocess.CompletedProcess[str]:
    return run_tool("echoscu", "-v", "-to", "5", "-ta", "5", "-td", "5", *options, HOST, str(port))


def request(called: bytes = b"ANY", calling: bytes = b"TEST", *, contexts: int = 1, name: bytes = b"T") -> bytes:
    """A whole A-ASSOCIATE-RQ for Verification in implicit little endian (PS3.8 9.3.2); `name`: of the implementation."""

    def item(kind: int, data: bytes) -> bytes:
        return bytes([kind, 0]) + len(data).to_bytes(2, "big") + data

    syntaxes = item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2")
    user = item(0x51, (16384).to_bytes(4, "big")) + item(0x52, b"1.2.3") + item(0x55, name)
    body = b"\0\1\0\0" + called.ljust(16) + calling.ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + contexts * item(0x20, b"\1\0\0\0" + syntaxes) + item(0x50, user)
    return b"\1\0" + len(body).to_bytes(4, "big") + body


@pytest.fixture
def connect() -> Iterator[Callable[[int], socket.socket]]:
    opened: list[socket.socket] = []

    def open_one(port: int) -> socket.socket:
        opened.append(socket.create_connection((HOST, port), timeout=10))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


Connect = Callable[[int], socket.socket]


def assert_port_is_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def some_files(listener: Listener, number: int) -> None:
    """Wait until so many files have come in, filed or not; the sources of filed ones go late."""
    layout = listener.layout

    def there() -> bool:
        waiting = sum(spool.waiting(folder, number) for folder in spool.listeners(layout.incoming))
        return waiting >= number or len(recorded(layout, listener.series)) + waiting >= number

    wait_until(there, f"{number} files have come", pause=0.002)


def leave_behind(layout: Layout, corpus: Corpus, *, per_folder: int = 10) -> Path:
    """What a listener leaves that was killed: folders of associations with files, and locks that nobody holds."""
    folder, lock = spool.create_listener(layout.incoming)
    os.close(lock)
    files = list(corpus)
    for number, start in enumerate(range(0, len(files), per_folder), start=1):
        association, lock = spool.create_association(folder, number)
        os.close(lock)
        for file in files[start : start + per_folder]:
            shutil.copyfile(file.path, association / f"CT.X.{file.path.stem}")
    return folder
