"""A retrieve and its questions: beside each other, or, where a PACS serves one association at a time, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.workflows.ledger import read_ledger
from scripted_pacs import Journal, Script, ScriptedPacs, make_archive
from support.listening import Start
from support.ports import free_port
from support.pxrun import PxResult, PxRunner
from support.servers import HOST

LISTENER = "PXLISTEN"
ARCHIVE = make_archive("one-association", patients=1, studies=1, series=3, instances=4)
STUDY = ARCHIVE.studies()[0]
SLOWLY_S = 0.1
"""Between two images, so that the retrieve takes longer than to begin the questions beside it."""

Beyond = Literal["rejected", "unanswered"]
Begin = Callable[[Beyond], ScriptedPacs]


@pytest.fixture
def one_at_a_time(listen: Start) -> Iterator[Begin]:
    """`one_at_a_time("rejected")` begins a PACS that sends to our listener, and refuses a second association."""
    with ExitStack() as stack:

        def begin(beyond: Beyond) -> ScriptedPacs:
            return _begin(stack, listen, Script(most_associations=1, beyond=beyond, store_delay_s=SLOWLY_S))

        yield begin


def _begin(stack: ExitStack, listen: Start, script: Script) -> ScriptedPacs:
    pacs = ScriptedPacs(free_port(), "SCRIPTED", {LISTENER: (HOST, listen().port)}, ARCHIVE, script).start()
    stack.callback(pacs.stop)
    return pacs


def run(px: PxRunner, pacs: ScriptedPacs, basemount: Path, *words: str | int) -> PxResult:
    peer = ("--serverIP", HOST, "--serverPort", pacs.port, "--aec", pacs.aet, "--aet", "PX")
    limits = ("--timeout", "5", "--acse-timeout", "1", "--dimse-timeout", "20")
    return px(*words, *peer, *limits, "--move-destination", LISTENER, "--basemount", basemount).ok()


def check_retrieved(basemount: Path) -> None:
    """All is there, and what the PACS has was asked of each series."""
    database = Database.open(Layout.of_basemount(basemount))
    for series in STUDY.series:
        uid = UID(series.SeriesInstanceUID)
        assert set(database.images(uid)) == set(series.uids)
        assert set(read_ledger(database, uid).expectation.instances or ()) == set(series.uids)


def check_asked(journal: Journal, beyond: Beyond) -> None:
    """The second association was tried once; no series was asked for twice, and none listed twice."""
    assert len(journal.associations(beyond)) == 1, "the questions were not tried beside the retrieve"
    for command, level in (("C-MOVE", "SERIES"), ("C-FIND", "IMAGE")):
        asked = [one.keys["SeriesInstanceUID"] for one in journal.asked(command, level)]
        assert sorted(asked) == sorted(series.SeriesInstanceUID for series in STUDY.series)
    assert len(journal.asked("C-FIND", "SERIES")) == 1, "the series were counted again"
    (moves,) = {one.association for one in journal.asked("C-MOVE")}
    assert moves < min(one.association for one in journal.asked("C-FIND", "IMAGE"))


@pytest.mark.parametrize("beyond", ["rejected", "unanswered"])
def test_a_move_asks_one_thing_after_the_other(
    px: PxRunner, one_at_a_time: Begin, basemount: Path, beyond: Beyond
) -> None:
    pacs = one_at_a_time(beyond)
    result = run(px, pacs, basemount, "move", "--StudyInstanceUID", STUDY.StudyInstanceUID)
    assert "limit" not in result.stderr, "the trouble was told, though there was none in the end"
    check_retrieved(basemount)
    check_asked(pacs.wait_quiet(), beyond)


def test_a_find_that_retrieves_asks_one_thing_after_the_other(
    px: PxRunner, one_at_a_time: Begin, basemount: Path
) -> None:
    pacs = one_at_a_time("rejected")
    words = ("find", "--StudyInstanceUID", STUDY.StudyInstanceUID, "--then", "retrieve")
    run(px, pacs, basemount, *words)
    check_retrieved(basemount)
    check_asked(pacs.wait_quiet(), "rejected")


@pytest.mark.parametrize(
    "words",
    [
        ("move", "--StudyInstanceUID", STUDY.StudyInstanceUID),
        ("find", "--StudyInstanceUID", STUDY.StudyInstanceUID, "--then", "retrieve"),
    ],
    ids=["move", "find"],
)
def test_answers_that_come_after_the_images_are_waited_for(
    px: PxRunner, listen: Start, basemount: Path, words: tuple[str, ...]
) -> None:
    with ExitStack() as stack:
        run(px, _begin(stack, listen, Script(answer_delay_s=SLOWLY_S)), basemount, *words)
    check_retrieved(basemount)
