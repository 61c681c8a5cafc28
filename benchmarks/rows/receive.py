"""Receive images by `px listen`, against DCMTK's storescp that only writes them to a folder.

Both ends are durable: the floor ends with `sync -f` of its folder, px with the last record in the smdb and the same
`sync -f`.  Senders are storescu, an association each, all at once, with TCP_NODELAY=1 in both cases.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pypx3
from bench import (
    PX,
    BenchError,
    Case,
    Measured,
    Options,
    Row,
    Summary,
    environment,
    free_port,
    program,
    remove,
    sync,
    wait_for,
)
from corpus import BIG, SMALL, Corpus, make_corpus
from processes import Watch, cpu_s, runs_python, tree
from servers import HOST, START_S, answers, background, storescp_floor

FEW_IMAGES, MANY_IMAGES = 500, 2000
LEAST_SPEED = 0.8
MOST_BYTES = 200 * 2**20
MOST_PROCESSES = 3
AET = "PXBENCH"
PYPX_IMAGES = 30
"""Its storescp starts a shell and a Python for every image and does not wait for them: more would fill the memory."""


class Records:
    """How many images the smdb of a BASEMOUNT says are filed; reads each line once."""

    def __init__(self, basemount: Path) -> None:
        self.folder = basemount / "log" / "seriesData"
        self._read: dict[Path, int] = {}
        self.count = 0

    def reach(self, images: int) -> bool:
        """Whether there are so many by now."""
        for log in self.folder.glob("*-img.jsonl"):
            with log.open("rb") as file:
                file.seek(self._read.get(log, 0))
                added = file.read()
            self._read[log] = self._read.get(log, 0) + len(added)
            self.count += added.count(b"\n")
        return self.count >= images


@contextmanager
def listening(basemount: Path, port: int) -> Iterator[int]:
    """`px listen` on a port, ready; its process id."""
    argv = [PX, "listen", "--basemount", str(basemount), "--bind", HOST, "--port", str(port), "--aet", AET]
    with background(argv) as process:
        wait_for(
            lambda: process.poll() is not None or answers(port, AET),
            f"px listen answers on port {port}",
            timeout_s=START_S,
        )
        yield process.pid


def filed(basemount: Path) -> int:
    """How many files lie in the data directory of a BASEMOUNT."""
    return sum(1 for path in (basemount / "data").rglob("*") if path.is_file())


def _send(folders: list[Path], port: int) -> None:
    argv = [program("storescu"), "-aec", AET, "+sd", HOST, str(port)]
    senders = [subprocess.Popen([*argv, str(folder)], env=environment()) for folder in folders]
    if [sender.wait() for sender in senders] != [0] * len(senders):
        raise BenchError("storescu could not send everything")


def _floor(corpus: Corpus, scratch: Path) -> Measured:
    folder = scratch / "floor"
    with storescp_floor(folder) as server, Watch(server.pid, starting=corpus.images < FEW_IMAGES) as watch:
        before, start = cpu_s(server.pid), time.perf_counter()
        _send([series.folder for series in corpus.series], server.port)
        sync(folder)
        seconds = time.perf_counter() - start
        spent = cpu_s(server.pid) - before
    if len(list(folder.iterdir())) != corpus.images:
        raise BenchError("storescp did not keep every image")
    remove(folder)
    return Measured(seconds, corpus.images, watch.peak_rss_bytes, watch.processes, watch.programs, spent)


def _px(corpus: Corpus, scratch: Path) -> Measured:
    basemount, port = scratch / "px", free_port()
    records = Records(basemount)
    with listening(basemount, port) as pid, Watch(pid, starting=corpus.images < FEW_IMAGES) as watch:
        before, start = cpu_s(pid), time.perf_counter()
        _send([series.folder for series in corpus.series], port)
        wait_for(lambda: records.reach(corpus.images), "a record of every image")
        sync(basemount)
        seconds = time.perf_counter() - start
        spent = cpu_s(pid) - before
    if (found := filed(basemount)) != corpus.images:
        raise BenchError(f"px listen filed {found} of {corpus.images} images")
    remove(basemount)
    return Measured(seconds, corpus.images, watch.peak_rss_bytes, watch.processes, watch.programs, spent)


def _pypx(corpus: Corpus, scratch: Path) -> Measured:
    """What its storescp.sh starts, until the last px-repack has ended; `work` is what it has recorded."""
    theirs, root, port = pypx3.install(), scratch / "pypx", free_port()
    (root / "incoming").mkdir(parents=True)
    repack = theirs.argv(
        "px-repack", "--xcrdir", "#p", "--xcrfile", "#f", "--verbosity", "0", "--cleanup",
        "--logdir", root / "log", "--datadir", root / "data",
    )  # fmt: skip
    argv = [program("storescp"), "-od", str(root / "incoming"), "-pm", "-sp", "-xcr", " ".join(repack), str(port)]
    with background(argv, env=theirs.environment(scratch / "pypx-home")) as process:
        wait_for(lambda: answers(port, AET), "storescp of pypx answers", timeout_s=START_S)
        with Watch(process.pid) as watch:
            start = time.perf_counter()
            _send([series.folder for series in corpus.series], port)
            wait_for(lambda: not any(runs_python(pid) is not None for pid in tree(process.pid)[1:]), "pypx has ended")
            sync(root)
            seconds = time.perf_counter() - start
    recorded = len(list((root / "log" / "seriesData").glob("*-img/*.json")))
    if not recorded:
        raise BenchError("pypx recorded nothing")
    remove(root)
    return Measured(seconds, recorded, watch.peak_rss_bytes, watch.processes, watch.programs)


@contextmanager
def _open(associations: int, size: int, many: int, options: Options) -> Iterator[Case]:
    images = 12 if options.quick else many
    corpus = make_corpus(options.scratch / "corpus", images, size=size, series=associations)
    few = corpus
    if options.with_pypx:
        few = make_corpus(options.scratch / "few", min(images, PYPX_IMAGES), size=size, series=1, seed=1)
    sync(options.scratch)
    scratch = options.scratch
    yield Case(partial(_px, corpus, scratch), partial(_floor, corpus, scratch), partial(_pypx, few, scratch))


def _passes(associations: int, summary: Summary) -> bool:
    speed = summary.speed
    return (
        speed is not None
        and speed.median >= LEAST_SPEED
        and summary.most("peak_rss_bytes") <= MOST_BYTES
        and summary.most("processes") <= MOST_PROCESSES
        and summary.most("programs") <= associations
    )


def _row(associations: int, size: int = BIG, images: int = FEW_IMAGES, *, held: bool = True) -> Row:
    kind = "-small" if size != BIG else "-many" if images != FEW_IMAGES else ""
    over = f"{associations} association{'s' * (associations > 1)}"
    return Row(
        name=f"receive-{associations}{kind}",
        title=f"{images} images of {size}x{size}, 16 bit, over {over}, until recorded",
        unit="images",
        budget=f">= {LEAST_SPEED} x, <= 200 MiB, <= {MOST_PROCESSES} processes + 1 an association" if held else "none",
        floor_is="storescp --fork +B -pm +xa +uf -pdu 131072, flat files, sync -f",
        open=partial(_open, associations, size, images),
        passes=partial(_passes, associations) if held else None,
    )


ROWS = (
    _row(1),
    _row(4),
    _row(1, images=MANY_IMAGES),
    _row(4, images=MANY_IMAGES),
    _row(4, SMALL, MANY_IMAGES, held=False),
)
