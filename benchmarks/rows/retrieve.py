"""Retrieve a study from Orthanc by C-MOVE to `px listen`, against movescu and storescp alone.

One Orthanc sends in both cases, with the same settings.  The floor is one movescu for the whole study and storescp, and
ends with `sync -f`.  `px move` asks first what the study has, retrieves it series by series, waits until the listener
has recorded every image, and exits with 0 only if the study is complete; the same `sync -f` follows.  pypx is not
measured: what takes its time is its listener, as in the row of receive.

Two more rows show what there is to be reached, in the column of px.  In *dcmtk* DCMTK alone does all that px has done
by it, so what a retrieve takes that knows what it asks for and whether all of it came: findscu for the series of the
study, then movescu for one half of them, beside it findscu for their images and then movescu for the other half.  In
*listener* the same goes to `px listen`, until it has recorded every image: what `px move` would reach if it took no
time at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import PX, BenchError, Case, Measured, Options, Row, Summary, free_port, program, remove, run, sync, wait_for
from corpus import Corpus, make_corpus
from processes import Watch
from servers import HOST, orthanc, storescp_floor

from pypx.model.keywords import SERIES_RETURN_KEYS, STUDY_RETURN_KEYS, Level
from pypx.services.dicomfile import write_query
from rows.receive import AET, MOST_BYTES, Records, filed, listening
from support.servers import Orthanc

LEAST_SPEED = 0.9
SERIES = 4
FEW_IMAGES, MANY_IMAGES = 500, 2000

Way = Callable[[Orthanc, Corpus, Path], Measured]


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


def _questions(pacs: Orthanc, corpus: Corpus, scratch: Path) -> None:
    """All that px has DCMTK do for a retrieve, by DCMTK alone."""
    answers, queries = scratch / "answers", _queries(corpus, scratch / "queries")
    peer = ["-aet", AET, "-aec", pacs.aet, HOST, str(pacs.port)]
    run([program("findscu"), "-S", "-X", "-od", answers / "series", *peer, *queries["find"]])
    moving = [program("movescu"), "-S", "-aem", AET, *peer]

    def second() -> None:
        run([program("findscu"), "-S", "-X", "-od", answers / "images", *peer, *queries["list"]])
        run([*moving, *queries["move"][1::2]])

    with ThreadPoolExecutor(1) as beside:
        done = beside.submit(second)
        run([*moving, *queries["move"][::2]])
        done.result()


@contextmanager
def _answers(corpus: Corpus, scratch: Path) -> Iterator[None]:
    """Where the answers to the questions go, in memory as those to px; in the end all are there."""
    with TemporaryDirectory(dir="/dev/shm") as memory:
        answers = scratch / "answers"
        answers.symlink_to(memory)
        try:
            for name in ("series", "images"):
                (answers / name).mkdir()
            _queries(corpus, scratch / "queries")
            yield
            if len(list((answers / "images").iterdir())) != corpus.images:
                raise BenchError("not every image was listed")
        finally:
            answers.unlink()


def _by_dcmtk(pacs: Orthanc, corpus: Corpus, scratch: Path) -> Measured:
    folder, port = scratch / "dcmtk", free_port()
    pacs.knows(AET, port)
    with storescp_floor(folder, port=port), _answers(corpus, scratch):
        start = time.perf_counter()
        _questions(pacs, corpus, scratch)
        sync(folder)
        seconds = time.perf_counter() - start
    if len(list(folder.iterdir())) != corpus.images:
        raise BenchError("not every image was sent")
    remove(folder)
    return Measured(seconds, corpus.images)


def _by_listener(pacs: Orthanc, corpus: Corpus, scratch: Path) -> Measured:
    basemount, port = scratch / "listener", free_port()
    pacs.knows(AET, port)
    records = Records(basemount)
    with listening(basemount, port), _answers(corpus, scratch):
        start = time.perf_counter()
        _questions(pacs, corpus, scratch)
        wait_for(lambda: records.reach(corpus.images), "a record of every image")
        sync(basemount)
        seconds = time.perf_counter() - start
    remove(basemount)
    return Measured(seconds, corpus.images)


def _queries(corpus: Corpus, folder: Path) -> dict[str, list[Path]]:
    """Query files, written once: for the study and its series, for the images of each series, and to move each."""
    study, unique = {"StudyInstanceUID": corpus.studies[0]}, [one.SeriesInstanceUID for one in corpus.series]
    asked = {
        "find": [
            (Level.STUDY, {**dict.fromkeys(STUDY_RETURN_KEYS, ""), **study}),
            (Level.SERIES, {**dict.fromkeys(SERIES_RETURN_KEYS, ""), **study}),
        ],
        "list": [(Level.IMAGE, {**study, "SeriesInstanceUID": uid, "SOPInstanceUID": ""}) for uid in unique],
        "move": [(Level.SERIES, {**study, "SeriesInstanceUID": uid}) for uid in unique],
    }
    files = {name: [folder / f"{name}{at}.dcm" for at in range(len(queries))] for name, queries in asked.items()}
    if not folder.exists():
        folder.mkdir()
        for name, queries in asked.items():
            for path, (level, keys) in zip(files[name], queries, strict=True):
                write_query(path, level, keys, "ISO_IR 192")
    return files


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
def _open(many: int, way: Way, options: Options) -> Iterator[Case]:
    images = 12 if options.quick else many
    corpus = make_corpus(options.scratch / "corpus", images, series=SERIES)
    with orthanc(options.scratch / "orthanc") as pacs:
        pacs.upload(corpus.files)
        sync(options.scratch)
        yield Case(partial(way, pacs, corpus, options.scratch), partial(_floor, pacs, corpus, options.scratch))


def _passes(summary: Summary) -> bool:
    speed = summary.speed
    return speed is not None and speed.median >= LEAST_SPEED and summary.most("peak_rss_bytes") <= MOST_BYTES


def _row(images: int, kind: str = "", way: Way = _px) -> Row:
    whole = f"a study of {SERIES} series, {images} images, from Orthanc by C-MOVE"
    title = {
        "": f"{whole}, until reported complete",
        "-dcmtk": f"{whole}, series by series with the questions of px, by DCMTK alone",
        "-listener": f"{whole}, the same by DCMTK, but to px listen, until recorded",
    }
    return Row(
        name=f"retrieve-orthanc{kind}{'-many' if images == MANY_IMAGES else ''}",
        title=title[kind],
        unit="images",
        budget="none" if kind else f">= {LEAST_SPEED} x, <= 200 MiB with px move",
        floor_is="movescu and storescp with the same settings, sync -f",
        open=partial(_open, images, way),
        passes=None if kind else _passes,
    )


ROWS = tuple(
    _row(images, kind, way)
    for images in (FEW_IMAGES, MANY_IMAGES)
    for kind, way in (("", _px), ("-dcmtk", _by_dcmtk), ("-listener", _by_listener))
)
