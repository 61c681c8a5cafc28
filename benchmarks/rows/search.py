"""The same questions to a BASEMOUNT of a million instances and to one of ten thousand."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from basemount import PROBE_DESCRIPTION, PROBE_IMAGES, PROBE_PATIENT, PROBE_SERIES, PROBE_STUDY, make_basemount, plan
from bench import PX, BenchError, Case, Measured, Options, Row, Summary, environment, run

from pypx.db.layout import Layout

SMALL, LARGE = 10_000, 1_000_000
QUICK_SMALL, QUICK_LARGE = 2_000, 20_000
MOST = 2.0
SETTLED_S = 4.0
"""The index of a search does not rely on tables that are younger than three seconds."""

QUESTIONS = {
    "status": ("status of a study", ("status", "--StudyInstanceUID", str(PROBE_STUDY))),
    "patient": ("search by PatientID", ("smdb", "search", f"PatientID={PROBE_PATIENT}")),
    "study": ("search by StudyInstanceUID", ("smdb", "search", f"StudyInstanceUID={PROBE_STUDY}")),
    "wildcard": ("search by *text* in a description", ("smdb", "search", "SeriesDescription=*needle*")),
}
"""Each has the same answer in every size: the series of `PROBE_STUDY`."""


@cache
def basemount(instances: int) -> Path:
    """A BASEMOUNT of so many instances, made once for all rows; goes with the temporary folder of the benchmarks."""
    root = Path(tempfile.mkdtemp(prefix=f"of-{instances}-")) / "basemount"
    make_basemount(root, plan(instances))
    time.sleep(SETTLED_S)
    return root


def ask(question: tuple[str, ...], instances: int, scratch: Path) -> Measured:
    """One question to the BASEMOUNT of that size, whole process; the answer is checked."""
    said = scratch / "said.jsonl"
    words: list[str | Path] = [PX, *question, "--basemount", basemount(instances), "--jsonl"]
    measured = run(words, environment(), stdout=said)
    answer = said.read_text()
    counted = (answer.count(f'"{key}": {PROBE_IMAGES}') for key in ("instances", "received"))
    if answer.count(PROBE_DESCRIPTION) < PROBE_SERIES or PROBE_SERIES not in counted:
        raise BenchError(f"px {' '.join(question)}: not the answer that is expected")
    return measured


def ask_first(question: tuple[str, ...], instances: int, scratch: Path) -> Measured:
    """The same where nobody has searched before, so that there is no index."""
    Layout.of_basemount(basemount(instances)).index_file.unlink(missing_ok=True)
    return ask(question, instances, scratch)


@contextmanager
def _open(question: tuple[str, ...], options: Options) -> Iterator[Case]:
    small, large = (QUICK_SMALL, QUICK_LARGE) if options.quick else (SMALL, LARGE)
    basemount(small), basemount(large)
    yield Case(partial(ask, question, large, options.scratch), partial(ask, question, small, options.scratch))


def _passes(summary: Summary) -> bool:
    return summary.time is not None and summary.time.median <= MOST


ROWS = tuple(
    Row(
        name=f"search-{name}",
        title=f"{title}, {LARGE:,} instances",
        unit="questions",
        budget=f"at most {MOST:g} x the time in {SMALL:,} instances",
        floor_is=f"the same in a BASEMOUNT of {SMALL:,} instances",
        open=partial(_open, question),
        passes=_passes,
        ratio_of="time",
    )
    for name, (title, question) in QUESTIONS.items()
)
