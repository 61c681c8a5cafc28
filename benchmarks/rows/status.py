"""Say how much has arrived of a study of 20 series of 500 images, in a BASEMOUNT that holds others, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pypx3
from basemount import ROOT, Writer, one_study, plan
from bench import PX, BenchError, Case, Measured, Options, Row, environment, run

BUDGET_S = 0.3
SERIES, IMAGES, OTHERS = 20, 500, 100_000
STUDY = f"{ROOT}.20"


def make_study(root: Path, series: int, images: int, others: int) -> Path:
    """A BASEMOUNT with a study whose files are there (though empty), and `others` instances of other patients."""
    writer = Writer(root)
    for one in one_study(series, images, STUDY):
        writer.write(one, files=True)
    for one in plan(others) if others else ():
        writer.write(one)
    writer.finish()
    return root


def ask(root: Path, series: int, images: int, scratch: Path) -> Measured:
    """`px status` of the study, whole process; what it says is checked."""
    said = scratch / "status.jsonl"
    words: list[str | Path] = [PX, "status", "--basemount", root, "--StudyInstanceUID", STUDY, "--jsonl"]
    measured = run(words, environment(), stdout=said)
    if said.read_text().count(f'"packed": {images},') != series:
        raise BenchError(f"px status does not say that {series} series of {images} images are packed")
    return measured


@contextmanager
def _open(options: Options) -> Iterator[Case]:
    series, images, others = (2, 10, 500) if options.quick else (SERIES, IMAGES, OTHERS)
    root = make_study(options.scratch / "basemount", series, images, others)
    pypx = None
    if options.with_pypx:
        theirs = pypx3.install()
        pypx = partial(_ask_pypx, theirs, _repacked_by_pypx(theirs, series, options.scratch), options.scratch)
    yield Case(partial(ask, root, series, images, options.scratch), None, pypx)


def _repacked_by_pypx(theirs: pypx3.Pypx3, series: int, scratch: Path) -> Path:
    """A BASEMOUNT of pypx with a study of as many series, but of 5 images each: it takes its time to make."""
    from corpus import SMALL, make_corpus  # noqa: PLC0415 - pydicom is not needed otherwise

    corpus = make_corpus(scratch / "corpus", 5 * series, size=SMALL, series=series)
    root = scratch / "pypx"
    for one in corpus.series:
        words = theirs.argv(
            "px-repack", "--xcrdir", one.folder, "--parseAllFilesWithSubStr", "dcm",
            "--logdir", root / "log", "--datadir", root / "data", "--verbosity", "0",
        )  # fmt: skip
        run(words, theirs.environment(scratch / "home"))
    (root / "study").write_text(corpus.studies[0])
    return root


def _ask_pypx(theirs: pypx3.Pypx3, root: Path, scratch: Path) -> Measured:
    study = (root / "study").read_text()
    words = theirs.argv("px-status", "--dblogbasepath", root / "log", "--StudyInstanceUID", study, "--json")
    return run(words, theirs.environment(scratch / "home"))


ROWS = (
    Row(
        name="status",
        title=f"status, {SERIES} series of {IMAGES} images, {OTHERS:,} images elsewhere",
        unit="questions",
        budget=f"at most {BUDGET_S:g} s, whole process",
        floor_is="none",
        open=_open,
        passes=lambda summary: summary.px_s.median <= BUDGET_S,
        ratio_of="time",
    ),
)
