"""Register files one by one with a CUBE to v5, against the bare POSTs over one connection.

The floor has no name in the budgets.  CUBE is the one of the tests: an HTTP server in this very process, so these
figures say what px adds to the requests, not how fast a CUBE is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pypx3
from bench import PX, ROOT, BenchError, Case, Measured, Options, Row, environment, run
from corpus import SMALL, make_corpus
from servers import cube

from cube_contract import CubeServer, FolderStore
from cube_contract.items import BASE

IMAGES, QUICK_IMAGES, SERIES = 500, 10, 5
PACS, USER, PASSWORD = "BENCH", "chris", "chris1234"
PYPX_SERIES = "%_pad|5,0_SeriesNumber-%SeriesDescription"
"""The series folder that pypx 3.6.2 makes: its px-register knows no other."""


@dataclass(frozen=True, slots=True)
class _Bench:
    basemount: Path
    store: Path
    folder: Path
    StudyInstanceUID: str
    images: int
    scratch: Path

    def px(self) -> Measured:
        with self._cube() as server:
            return self._there(server, self.register(server))

    def register(self, server: CubeServer) -> Measured:
        words: list[str | Path] = [
            PX,
            "register",
            "--basemount",
            self.basemount,
            "--StudyInstanceUID",
            self.StudyInstanceUID,
            "--partial",
        ]
        words += ["--CUBEURL", server.url, "--CUBEusername", USER, "--swiftServicesPACS", PACS]
        measured = run(words, environment({"PX_CUBE_PASSWORD": PASSWORD}), work=self.images)
        for table in self.basemount.glob("log/seriesData/*-register.json"):
            table.unlink()
        return measured

    def floor(self) -> Measured:
        script, bodies = ROOT / "benchmarks" / "posts.py", self.scratch / "bodies.json"
        with self._cube() as server:
            words: list[str | Path] = [sys.executable, script, server.url, USER, PASSWORD, bodies]
            return self._there(server, run(words, environment(), work=self.images))

    def pypx(self, theirs: pypx3.Pypx3) -> Measured:
        with self._cube() as server:
            words = theirs.argv(
                "px-register", "--CUBEURL", server.url, "--CUBEusername", USER, "--CUBEuserpasswd", PASSWORD,
                "--swiftServicesPACS", PACS, "--xcrdir", self.folder, "--parseAllFilesWithSubStr", "dcm",
                "--db", self.scratch / "pypx" / "log",
            )  # fmt: skip
            return self._there(server, run(words, theirs.environment(self.scratch / "home"), work=self.images))

    def keep_bodies(self) -> None:
        """Have px register once, and keep what it sends for the floor."""
        with self._cube() as server:
            self.register(server)
            posts = (seen for seen in server.seen if (seen.method, seen.path) == ("POST", f"{BASE}pacsfiles/"))
            bodies: list[Any] = [dict(seen.sent or {}) for seen in posts]
        (self.scratch / "bodies.json").write_text(json.dumps(bodies))

    @contextmanager
    def _cube(self) -> Iterator[CubeServer]:
        """A CUBE that knows of nothing yet."""
        with cube(FolderStore(self.store), "old") as server:
            yield server

    def _there(self, server: CubeServer, measured: Measured) -> Measured:
        if len(server.cube.data.files) != self.images:
            raise BenchError(f"CUBE has {len(server.cube.data.files)} of {self.images} files")
        return measured


@contextmanager
def _open(options: Options) -> Iterator[Case]:
    images, scratch = (QUICK_IMAGES if options.quick else IMAGES), options.scratch
    corpus = make_corpus(scratch / "corpus", images, size=SMALL, series=SERIES)
    basemount, store = scratch / "basemount", scratch / "store"
    run([PX, "repack", "--basemount", basemount, corpus.folder], environment())
    words: list[str | Path] = [PX, "push", "--basemount", basemount, "--StudyInstanceUID", corpus.studies[0]]
    words += [
        "--partial",
        "--swiftServicesPACS",
        PACS,
        "--storeBaseLocation",
        store,
        "--seriesDirTemplate",
        PYPX_SERIES,
    ]
    run(words, environment())
    flat = scratch / "flat"
    flat.mkdir()
    for number, path in enumerate(corpus.files, start=1):
        (flat / f"{number:06d}.dcm").hardlink_to(path)
    bench = _Bench(basemount, store, flat, corpus.studies[0], corpus.images, scratch)
    bench.keep_bodies()
    yield Case(bench.px, bench.floor, partial(bench.pypx, pypx3.install()) if options.with_pypx else None)


ROWS = (
    Row(
        name="register",
        title="register file by file (CUBE to v5)",
        unit="files",
        budget="none",
        floor_is="the same POSTs over one connection",
        open=_open,
        passes=None,
    ),
)
