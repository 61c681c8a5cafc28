"""Repack a directory: images of 512x512 against `cp -r`, small ones under long headers against a loop with pydicom."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pypx3
from bench import PX, ROOT, BenchError, Case, Measured, Options, Row, environment, program, remove, run, sync
from corpus import BIG, SMALL, Corpus, make_corpus

IMAGES = {BIG: 500, SMALL: 2000}
QUICK_IMAGES = 10
SERIES = 5

Floor = Callable[[Path, Path], Measured]


@dataclass(frozen=True, slots=True)
class Bench:
    corpus: Corpus
    scratch: Path

    def px(self) -> Measured:
        basemount = self.scratch / "basemount"
        words: list[str | Path] = [PX, "repack", "--basemount", basemount, self.corpus.folder]
        measured = run(words, environment(), work=self.corpus.images)
        lines = sum(log.read_bytes().count(b"\n") for log in basemount.glob("log/seriesData/*-img.jsonl"))
        if lines != self.corpus.images:
            raise BenchError(f"px repack recorded {lines} of {self.corpus.images} images")
        remove(basemount)
        return measured

    def floor(self, floor: Floor) -> Measured:
        target = self.scratch / "floor"
        measured = replace(floor(self.corpus.folder, target), work=self.corpus.images)
        files = sum(len(names) for _, _, names in os.walk(target))
        if files != self.corpus.images:
            raise BenchError(f"the floor copied {files} of {self.corpus.images} images")
        remove(target)
        return measured

    def pypx(self, theirs: pypx3.Pypx3, folder: Path) -> Measured:
        """pypx looks into one directory only, so it gets all files in one."""
        root = self.scratch / "pypx"
        words = theirs.argv(
            "px-repack", "--xcrdir", folder, "--parseAllFilesWithSubStr", "dcm",
            "--logdir", root / "log", "--datadir", root / "data", "--verbosity", "0",
        )  # fmt: skip
        measured = run(words, theirs.environment(self.scratch / "home"), work=self.corpus.images)
        files = sum(len(names) for _, _, names in os.walk(root / "data"))
        if files != self.corpus.images:
            raise BenchError(f"pypx filed {files} of {self.corpus.images} images")
        remove(root)
        return measured


def copied(source: Path, target: Path) -> Measured:
    """`cp -r`; what it copied is in memory then, not on disk."""
    return run([program("cp"), "-r", source, target])


def copied_durably(source: Path, target: Path) -> Measured:
    """`cp -r`, then `sync -f`, after which it is as durable as what px has filed."""
    copy = copied(source, target)
    start = time.perf_counter()
    sync(target)
    return replace(copy, seconds=copy.seconds + time.perf_counter() - start)


def looped(source: Path, target: Path) -> Measured:
    """`loop.py`: what one would write with pydicom."""
    return run([sys.executable, ROOT / "benchmarks" / "loop.py", source, target])


@contextmanager
def _open(size: int, floor: Floor, options: Options) -> Iterator[Case]:
    images = QUICK_IMAGES if options.quick else IMAGES[size]
    corpus = make_corpus(options.scratch / "corpus", images, size=size, series=SERIES)
    bench = Bench(corpus, options.scratch)
    pypx = None
    if options.with_pypx:
        pypx = partial(bench.pypx, pypx3.install(), one_folder(corpus, options.scratch / "flat"))
    yield Case(bench.px, partial(bench.floor, floor), pypx)


def one_folder(corpus: Corpus, folder: Path) -> Path:
    """All files of a corpus in one folder, by hard links."""
    folder.mkdir()
    for number, path in enumerate(corpus.files, start=1):
        (folder / f"{number:06d}.dcm").hardlink_to(path)
    return folder


def _row(name: str, size: int, floor: Floor, floor_is: str, most: float | None, title: str) -> Row:
    return Row(
        name=name,
        title=title,
        unit="images",
        budget="none" if most is None else f"at most {most:g} x the time of the floor",
        floor_is=floor_is,
        open=partial(_open, size, floor),
        passes=None if most is None else lambda summary: summary.time is not None and summary.time.median <= most,
        ratio_of="time",
    )


ROWS = (
    _row("repack-large", BIG, copied, "cp -r, without sync", 2.0, "repack, 512x512"),
    _row("repack-large-durable", BIG, copied_durably, "cp -r and sync -f", None, "repack, 512x512, both ends durable"),
    _row("repack-small", SMALL, looped, "loop.py (pydicom), without sync", 0.5, "repack, 64x64 under long headers"),
)
