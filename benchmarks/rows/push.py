"""Push a study: to Swift against `swift upload` into the same server, to a directory against `cp -r`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pypx3
from bench import PX, BenchError, Case, Measured, Options, Row, Summary, environment, program, remove, run
from corpus import make_corpus
from servers import HOST, swift

from support.swift_server import SwiftServer

IMAGES, QUICK_IMAGES, SERIES = 500, 10, 5
JOBS = 8
PACS = "BENCH"
SERVICES = f"SERVICES/PACS/{PACS}"


@dataclass(frozen=True, slots=True)
class Packed:
    """A BASEMOUNT that holds one study."""

    root: Path
    StudyInstanceUID: str
    images: int

    def forget(self) -> None:
        """Remove the record of a push, so that the next one does not know of it."""
        for table in self.root.glob("log/seriesData/*-push.json"):
            table.unlink()


def pack(scratch: Path, images: int) -> Packed:
    """Make 512x512 images and have px file them."""
    corpus = make_corpus(scratch / "corpus", images, series=SERIES)
    root = scratch / "basemount"
    run([PX, "repack", "--basemount", root, "--move", corpus.folder], environment())
    shutil.rmtree(scratch / "corpus")
    return Packed(root, corpus.studies[0], corpus.images)


def push(packed: Packed, *target: str | Path, extra: dict[str, str] | None = None) -> Measured:
    """`px push` of the study; series are incomplete as no PACS has said how many images there are."""
    words: list[str | Path] = [
        PX,
        "push",
        "--basemount",
        packed.root,
        "--StudyInstanceUID",
        packed.StudyInstanceUID,
        "--partial",
    ]
    return run([*words, "--swiftServicesPACS", PACS, *target], environment(extra), work=packed.images)


@dataclass(frozen=True, slots=True)
class _ToSwift:
    packed: Packed
    server: SwiftServer
    scratch: Path

    def px(self) -> Measured:
        target = ("--swiftIP", HOST, "--swiftPort", str(self.server.port), "--swiftLogin", self.server.user)
        measured = push(self.packed, *target, extra={"PX_SWIFT_KEY": self.server.key})
        self.packed.forget()
        return self._there(measured)

    def floor(self) -> Measured:
        words: list[str | Path] = [
            program("swift"),
            "upload",
            "--object-name",
            SERVICES,
            self.server.container,
            self.packed.root / "data",
        ]
        login = {"ST_AUTH": self.server.auth_url, "ST_USER": self.server.user, "ST_KEY": self.server.key}
        return self._there(run(words, environment(login), work=self.packed.images))

    def bare(self) -> Measured:
        """The PUTs alone: curl, as many at once as px has, without a listing, a checksum or a look at the answers."""
        config = self.scratch / "curl.cfg"
        url, token = self.server.account.login()
        head = ["silent", "fail", "parallel", "parallel-immediate", f"parallel-max = {JOBS}"]
        one = '{next}\nsilent\nheader = "X-Auth-Token: {token}"\nupload-file = "{file}"\nurl = "{url}"'
        parts = [
            one.format(next="next" if n else "", token=token, file=file, url=f"{url}/users/{SERVICES}/{n:06d}.dcm")
            for n, file in enumerate(sorted((self.packed.root / "data").rglob("*.dcm")))
        ]
        config.write_text("\n".join([*head, *parts, ""]))
        return self._there(run([program("curl"), "--config", config], work=self.packed.images))

    def pypx(self, theirs: pypx3.Pypx3) -> Measured:
        words = theirs.argv(
            "px-push", "--swiftIP", HOST, "--swiftPort", self.server.port, "--swiftLogin", self.server.user,
            "--swiftServicesPACS", PACS, "--swiftPackEachDICOM", "--xcrdir", self.packed.root / "data",
            "--parseAllFilesWithSubStr", "dcm", "--db", self.scratch / "pypx" / "log",
        )  # fmt: skip
        measured = run(words, theirs.environment(self.scratch / "home"), work=self.packed.images)
        remove(self.scratch / "pypx")
        return self._there(measured)

    def _there(self, measured: Measured) -> Measured:
        """Look whether all is there, and remove it."""
        objects = len(self.server.names(SERVICES))
        if objects != self.packed.images:
            raise BenchError(f"Swift has {objects} of {self.packed.images} objects")
        self.server.empty()
        return measured


@dataclass(frozen=True, slots=True)
class _ToFolder:
    packed: Packed
    target: Path

    def px(self) -> Measured:
        measured = push(self.packed, "--storeBaseLocation", self.target)
        self.packed.forget()
        return self._there(measured)

    def floor(self) -> Measured:
        words: list[str | Path] = [program("cp"), "-r", self.packed.root / "data", self.target]
        return self._there(run(words, work=self.packed.images))

    def _there(self, measured: Measured) -> Measured:
        files = sum(name.endswith(".dcm") for _, _, names in os.walk(self.target) for name in names)
        if files != self.packed.images:
            raise BenchError(f"the store has {files} of {self.packed.images} files")
        remove(self.target)
        return measured


@contextmanager
def _open_swift(bare: bool, options: Options) -> Iterator[Case]:
    packed = pack(options.scratch, QUICK_IMAGES if options.quick else IMAGES)
    with swift(options.scratch / "swift") as server:
        bench = _ToSwift(packed, server, options.scratch)
        pypx = partial(bench.pypx, pypx3.install()) if options.with_pypx else None
        yield Case(bench.px, bench.bare if bare else bench.floor, None if bare else pypx)


@contextmanager
def _open_folder(options: Options) -> Iterator[Case]:
    packed = pack(options.scratch, QUICK_IMAGES if options.quick else IMAGES)
    bench = _ToFolder(packed, options.scratch / "store")
    yield Case(bench.px, bench.floor)


def _at_least(least: float) -> Callable[[Summary], bool]:
    return lambda summary: summary.speed is not None and summary.speed.median >= least


ROWS = (
    Row(
        name="push-swift",
        title="push to Swift, 512x512",
        unit="images",
        budget="at least 1 x the floor",
        floor_is="swift upload, default threads",
        open=partial(_open_swift, False),
        passes=_at_least(1.0),
    ),
    Row(
        name="push-swift-limit",
        title="push to Swift, against what the server takes",
        unit="images",
        budget="none",
        floor_is=f"curl, {JOBS} PUTs at once, nothing checked",
        open=partial(_open_swift, True),
        passes=None,
    ),
    Row(
        name="push-folder",
        title="push to a directory, 512x512",
        unit="images",
        budget="none",
        floor_is="cp -r, without sync",
        open=_open_folder,
        passes=None,
    ),
)
