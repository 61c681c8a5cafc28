"""The PACS as a test sees it: start, stop, another script, and the journal."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, final

from scripted_pacs.archive import Archive
from scripted_pacs.journal import Journal
from scripted_pacs.script import Script

TESTS = Path(__file__).resolve().parents[1]
_CONTROL_S = 30.0


@final
class ScriptedPacs:
    """A PACS on 127.0.0.1 in a process of its own.

    Parameters
    ----------
    port : to listen on; a port that is held with SO_REUSEADDR will do
    aet : its AE title; any called and calling title is accepted
    destinations : address of each move destination by its AE title
    archive : what it holds
    script : what goes wrong
    """

    host = "127.0.0.1"

    def __init__(
        self,
        port: int,
        aet: str = "SCRIPTED",
        destinations: Mapping[str, tuple[str, int]] | None = None,
        archive: Archive | None = None,
        script: Script | None = None,
    ) -> None:
        self.port = port
        self.aet = aet
        self.destinations = dict(destinations or {})
        self.archive = archive or Archive()
        self.script = script or Script()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> ScriptedPacs:
        """Start the process; it listens when this returns.  It ends with the one that started it."""
        assert self._process is None, "the scripted PACS runs already"
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed by _end()
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_CONTROL_S)
        self._lines = self._control.makefile("rw", encoding="utf-8")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "scripted_pacs"],
                cwd=tempfile.gettempdir(),
                env={"PYTHONPATH": str(TESTS), "PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
                stdin=theirs.fileno(),
                stdout=self._said,
                stderr=self._said,
                start_new_session=True,
            )
        try:
            self._order(
                port=self.port,
                aet=self.aet,
                destinations=self.destinations,
                archive=asdict(self.archive),
                script=asdict(self.script),
            )
        except BaseException:
            self._end()
            raise
        return self

    def stop(self) -> None:
        """End the process, whatever it is doing; AssertionError if it had a bug of its own."""
        if self._process is None:
            return
        bugs: list[str] = []
        try:
            if self._process.poll() is None:
                bugs = self._order()["bugs"]
        finally:
            self._end()
        assert not bugs, "the scripted PACS failed:\n" + "\n".join(bugs)

    def _end(self) -> None:
        process, self._process = self._process, None
        self._lines.close()
        self._control.close()
        if process is not None:
            process.kill()
            process.wait(10)
        self._said.close()

    def __enter__(self) -> ScriptedPacs:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def play(self, script: Script | None = None, archive: Archive | None = None) -> None:
        """Begin another script from its start (none: an honest one); with another archive the journal is empty again.

        Requests that wait in silence by the old script are aborted.
        """
        self.script = script or Script()
        order: dict[str, Any] = {"script": asdict(self.script)}
        if archive is not None:
            self.archive = archive
            order |= {"archive": asdict(archive), "forget": True}
        self._order(**order)

    def send_to(self, destinations: Mapping[str, tuple[str, int]]) -> None:
        """Know these move destinations, and no others."""
        self.destinations = dict(destinations)
        self._order(destinations=self.destinations)

    def forget(self) -> None:
        """Empty the journal; associations are counted on."""
        self._order(forget=True)

    def journal(self) -> Journal:
        """What has happened so far."""
        answer = self._order(journal=True)
        assert not answer["bugs"], "\n".join(answer["bugs"])
        return Journal.from_plain(answer["records"])

    def wait_quiet(self, timeout: float = 20) -> Journal:
        """The journal once every association has ended, sub-operations behind an early success among them."""
        deadline = time.monotonic() + timeout
        while not self._order()["quiet"]:
            assert time.monotonic() < deadline, f"the scripted PACS is still busy: {self.journal().records[-20:]}"
            time.sleep(0.01)
        return self.journal()

    def _order(self, **order: Any) -> dict[str, Any]:
        with self._lock:
            assert self._process is not None, "the scripted PACS does not run"
            line = ""
            try:
                print(json.dumps(order), file=self._lines, flush=True)
                line = self._lines.readline()
            except OSError as error:
                problem = str(error)
            else:
                problem = "it ended"
            if not line:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(5)
                self._said.seek(0)
                raise AssertionError(f"scripted PACS: {problem}\n{self._said.read().decode(errors='replace')[-3000:]}")
            answer: dict[str, Any] = json.loads(line)
            return answer
