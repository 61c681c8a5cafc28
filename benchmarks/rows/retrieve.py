"""Retrieve a study from Orthanc by C-MOVE to `px listen`, against movescu and storescp alone.

One Orthanc sends in both cases, with the same settings.  The floor is one movescu for the whole study and storescp, and
ends with `sync -f`.  `px move` asks first what the study has, retrieves it series by series, waits until the listener
has recorded every image, and exits with 0 only if the study is complete; the same `sync -f` follows.  pypx is not
measured: what takes its time is its listener, as in the row of receive.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench import PX, BenchError, Case, Measured, Options, Row, Summary, free_port, program, remove, run, sync
from corpus import Corpus, make_corpus
from processes import Watch
from servers import HOST, orthanc, storescp_floor

from rows.receive import AET, MOST_BYTES, filed, listening
from support.servers import Orthanc

LEAST_SPEED = 0.9
SERIES = 4


def _floor(pacs: Orthanc, corpus: Corpus, scratch: Path) -> Measured:
    folder, port = scratch / "floor", free_port()
    pacs.knows(AET, port)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={corpus.studies[0]}"]
    argv = [program("movescu"), "-S", "-aet", AET, "-aec", pacs.aet, "-aem", AET, *keys, HOST, str(pacs.port)]
    with storescp_floor(folder, port=port):
        start = time.perf_counter()
        run(argv)
        sync(folder)
        seconds = time.perf_counter() - start
    if len(list(folder.iterdir())) != corpus.images:
        raise BenchError("storescp did not get every image")
    remove(folder)
    return Measured(seconds, corpus.images)


def _px(pacs: Orthanc, corpus: Corpus, scratch: Path) -> Measured:
    basemount, port = scratch / "px", free_port()
    pacs.knows(AET, port)
    peer = ["--serverIP", HOST, "--serverPort", str(pacs.port), "--aec", pacs.aet, "--aet", AET]
    argv = [PX, "move", *peer, "--StudyInstanceUID", corpus.studies[0], "--basemount", str(basemount)]
    with listening(basemount, port) as pid, Watch(pid) as listener:
        start = time.perf_counter()
        mover = run(argv)
        sync(basemount)
        seconds = time.perf_counter() - start
    if (found := filed(basemount)) != corpus.images:
        raise BenchError(f"px move said complete, and {found} of {corpus.images} images are filed")
    remove(basemount)
    return Measured(
        seconds,
        corpus.images,
        peak_rss_bytes=listener.peak_rss_bytes + mover.peak_rss_bytes,
        processes=listener.processes + mover.processes,
        programs=listener.programs + mover.programs,
    )


@contextmanager
def _open(many: int, options: Options) -> Iterator[Case]:
    images = 12 if options.quick else many
    corpus = make_corpus(options.scratch / "corpus", images, series=SERIES)
    with orthanc(options.scratch / "orthanc") as pacs:
        pacs.upload(corpus.files)
        sync(options.scratch)
        yield Case(partial(_px, pacs, corpus, options.scratch), partial(_floor, pacs, corpus, options.scratch))


def _passes(summary: Summary) -> bool:
    speed = summary.speed
    return speed is not None and speed.median >= LEAST_SPEED and summary.most("peak_rss_bytes") <= MOST_BYTES


def _row(name: str, images: int) -> Row:
    return Row(
        name=name,
        title=f"a study of {SERIES} series, {images} images, from Orthanc by C-MOVE, until reported complete",
        unit="images",
        budget=f">= {LEAST_SPEED} x, <= 200 MiB with px move",
        floor_is="movescu and storescp with the same settings, sync -f",
        open=partial(_open, images),
        passes=_passes,
    )


ROWS = (_row("retrieve-orthanc", 500), _row("retrieve-orthanc-many", 2000))
