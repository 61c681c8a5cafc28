"""Find a patient's studies and their series, against findscu alone.

The floor is two runs of findscu: the study query, then the queries for series, all in one association.  Both ask for
the attributes that px asks for, and keep the answers in files, as px has to.  px may take 1.3 x that and its start-up,
which is measured beside each run (`px find --help`).

The PACS is Orthanc with TCP_NODELAY=1.  dcmqrscp answers quicker, but does not say how many instances a series has, so
px asks it a third time, for the images of every series, and the floor would be another piece of work.  Numbers such as
50 look like the limit of a PACS: px asks for the studies once more in two parts, which counts as its own time.  pypx
runs as it is installed, so without TCP_NODELAY, which it does not set.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pypx3
from bench import PX, BenchError, Case, Measured, Options, Row, Summary, program, run
from corpus import make_corpus
from servers import HOST, orthanc

from pypx.model.keywords import SERIES_RETURN_KEYS, STUDY_RETURN_KEYS, Level
from pypx.services.dicomfile import write_query

MOST_TIME = 1.3
SERIES_A_STUDY = 2
AET = "PXBENCH"
PATIENT = "BENCH0"
CHARSET = "ISO_IR 192"


@dataclass(frozen=True, slots=True)
class Bed:
    """A PACS, how many studies it has of the patient, and the two lists of query files of the floor."""

    aet: str
    port: int
    studies: int
    queries: tuple[Sequence[Path], Sequence[Path]]
    scratch: Path

    @property
    def peer(self) -> list[str]:
        """Options of px and of pypx."""
        return ["--serverIP", HOST, "--serverPort", str(self.port), "--aec", self.aet, "--aet", AET]


def _queries(folder: Path, studies: Sequence[str]) -> tuple[Sequence[Path], Sequence[Path]]:
    folder.mkdir()
    study = folder / "study.dcm"
    write_query(study, Level.STUDY, {**dict.fromkeys(STUDY_RETURN_KEYS, ""), "PatientID": PATIENT}, CHARSET)
    series = [folder / f"series{number:05d}.dcm" for number in range(len(studies))]
    for path, uid in zip(series, studies, strict=True):
        keys = {**dict.fromkeys(SERIES_RETURN_KEYS, ""), "StudyInstanceUID": uid}
        write_query(path, Level.SERIES, keys, CHARSET)
    return [study], series


def _floor(bed: Bed) -> Measured:
    folders = [bed.scratch / "answers-studies", bed.scratch / "answers-series"]
    for folder in folders:
        folder.mkdir()
    peer = ["-aet", AET, "-aec", bed.aet, HOST, str(bed.port)]
    start = time.perf_counter()
    for folder, files in zip(folders, bed.queries, strict=True):
        run([program("findscu"), "-S", "-X", "-od", folder, *peer, *files])
    seconds = time.perf_counter() - start
    found = [len(list(folder.iterdir())) for folder in folders]
    for folder in folders:
        shutil.rmtree(folder)
    if found != [bed.studies, bed.studies * SERIES_A_STUDY]:
        raise BenchError(f"findscu found {found[0]} studies and {found[1]} series")
    return Measured(seconds, bed.studies)


def _px(bed: Bed) -> Measured:
    printed = bed.scratch / "px.jsonl"
    startup = run([PX, "find", "--help"])
    measured = run([PX, "find", *bed.peer, "--PatientID", PATIENT, "--jsonl"], work=bed.studies, stdout=printed)
    records = [json.loads(line) for line in printed.read_text().splitlines()]
    series = sum("SeriesInstanceUID" in json.dumps(record) for record in records)
    if series < bed.studies * SERIES_A_STUDY:
        raise BenchError(f"px find printed {series} series of {bed.studies} studies")
    return replace(measured, startup_s=startup.seconds)


def _pypx(bed: Bed) -> Measured:
    theirs, home, printed = pypx3.install(), bed.scratch / "pypx-home", bed.scratch / "pypx.json"
    argv = theirs.argv("px-find", *bed.peer, "--db", bed.scratch / "pypx" / "log", "--PatientID", PATIENT, "--json")
    measured = run(argv, theirs.environment(home), work=bed.studies, stdout=printed)
    found = len(json.loads(printed.read_text())["data"])
    if found != bed.studies:
        raise BenchError(f"px-find of pypx found {found} of {bed.studies} studies")
    return measured


@contextmanager
def _open(studies: int, pypx: bool, options: Options) -> Iterator[Case]:
    many = min(studies, 3) if options.quick else studies
    corpus = make_corpus(options.scratch / "corpus", many * SERIES_A_STUDY, size=16,
                         series=many * SERIES_A_STUDY, studies=many)  # fmt: skip
    with orthanc(options.scratch / "orthanc") as pacs:
        pacs.upload(corpus.files)
        queries = _queries(options.scratch / "queries", corpus.studies)
        bed = Bed(pacs.aet, pacs.port, many, queries, options.scratch)
        yield Case(partial(_px, bed), partial(_floor, bed), partial(_pypx, bed) if pypx else None)


def _passes(summary: Summary) -> bool:
    time_ = summary.time_after_startup
    return time_ is not None and time_.median <= MOST_TIME


def _row(studies: int) -> Row:
    return Row(
        name=f"find-{studies}",
        title=f"{studies} stud{'y' if studies == 1 else 'ies'} of {SERIES_A_STUDY} series in Orthanc",
        unit="studies",
        budget=f"<= {MOST_TIME} x + start-up",
        floor_is="findscu for the studies, then findscu for all series in one association, TCP_NODELAY=1",
        open=partial(_open, studies, studies == 50),
        passes=_passes,
        ratio_of="time after start-up",
    )


ROWS = tuple(_row(studies) for studies in (1, 10, 50, 200))
