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
from scripted_pacs import Fault, Journal, Script, ScriptedPacs, make_archive
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
Command = Literal["C-FIND", "C-MOVE"]
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
    assert max(associations_of(journal, "C-MOVE")) < min(associations_of(journal, "C-FIND", "IMAGE"))


def associations_of(journal: Journal, command: Command, level: str = "") -> set[int]:
    """The numbers of the associations through which requests came, in the order in which they began."""
    return {one.association for one in journal.asked(command, level)}


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


MOVE = ("move", "--StudyInstanceUID", STUDY.StudyInstanceUID)


def moved(journal: Journal) -> list[str]:
    return [one.keys["SeriesInstanceUID"] for one in journal.asked("C-MOVE")]


def test_two_associations_share_the_series(px: PxRunner, listen: Start, basemount: Path) -> None:
    with ExitStack() as stack:
        pacs = _begin(stack, listen, Script(store_delay_s=SLOWLY_S))
        run(px, pacs, basemount, *MOVE)
        journal = pacs.wait_quiet()
    check_retrieved(basemount)
    assert sorted(moved(journal)) == sorted(series.SeriesInstanceUID for series in STUDY.series)
    assert len(associations_of(journal, "C-MOVE")) == 2


def test_one_by_one(px: PxRunner, one_at_a_time: Begin, basemount: Path) -> None:
    pacs = one_at_a_time("rejected")
    run(px, pacs, basemount, *MOVE, "--one-by-one")
    journal = pacs.wait_quiet()
    check_retrieved(basemount)
    assert not journal.associations("rejected")
    assert len(associations_of(journal, "C-MOVE")) == 1
    assert max(associations_of(journal, "C-FIND")) < min(associations_of(journal, "C-MOVE"))


def test_pauses_leave_no_series_to_another_association(px: PxRunner, listen: Start, basemount: Path) -> None:
    with ExitStack() as stack:
        pacs = _begin(stack, listen, Script(store_delay_s=SLOWLY_S))
        run(px, pacs, basemount, *MOVE, "--intraSeriesRetrieveDelay", "0.1")
        journal = pacs.wait_quiet()
    check_retrieved(basemount)
    assert moved(journal) == [series.SeriesInstanceUID for series in STUDY.series]


@pytest.mark.parametrize("what", ["status", "abort"])
def test_what_cannot_be_sent_beside_is_asked_for_alone(
    px: PxRunner, listen: Start, basemount: Path, what: Literal["status", "abort"]
) -> None:
    beside = STUDY.series[1].SeriesInstanceUID
    fault = Fault(what, command="C-MOVE", series=(beside,), status=0xA702, times=1)
    with ExitStack() as stack:
        pacs = _begin(stack, listen, Script(store_delay_s=SLOWLY_S, faults=(fault,)))
        run(px, pacs, basemount, *MOVE)
        journal = pacs.wait_quiet()
    check_retrieved(basemount)
    assert sorted(moved(journal)) == sorted([beside, *(series.SeriesInstanceUID for series in STUDY.series)])
