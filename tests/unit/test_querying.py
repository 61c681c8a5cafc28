"""Queries of one call over several associations: who asks what, and what becomes of what a refused one leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pypx.errors import PeerFailedError, PeerRejectedError, PeerUnreachableError, PxError, ToolFailedError
from pypx.model.identifiers import AETitle
from pypx.model.keywords import Level
from pypx.model.pacs import PacsNode
from pypx.services import dcmtk
from pypx.services.dcmtk import Conversation
from pypx.services.dcmtk_log import FinalResponse, PeerBusyError, PeerSilentError
from pypx.workflows import querying
from pypx.workflows.querying import Asker, Reply

ABORTED = PeerFailedError("aborted")
BUSY = PeerBusyError("too many associations")
SILENT = PeerSilentError("silent")


@dataclass
class Association:
    """What one association is given to ask, and whether it is one of several side by side."""

    queries: list[int]
    beside: bool


Breaks = Callable[[Association, int, int], PxError | None]
"""Why an association breaks off at a query, given the query and how often it has been asked; ``None``: it does not."""


class Peer:
    """Stands for findscu and its PACS; numbers of queries count from 0."""

    def __init__(self, breaks: Breaks) -> None:
        self.breaks = breaks
        self.associations: list[Association] = []
        self.times: dict[int, int] = {}
        self.statuses: dict[int, int] = {}
        self._lock = threading.Lock()

    def find(
        self, _talk: Conversation, files: Sequence[Path], _out_dir: Path, stop: threading.Event, **_options: object
    ) -> Generator[FinalResponse, None, PxError | None]:
        beside = threading.current_thread().name.startswith("px-find")
        association = Association([int(path.stem[1:]) - 1 for path in files], beside)
        with self._lock:
            self.associations.append(association)
        for message_id, query in enumerate(association.queries, 1):
            with self._lock:
                self.times[query] = self.times.get(query, 0) + 1
            failure = SILENT if stop.is_set() else self.breaks(association, query, self.times[query])
            if failure is not None:
                return failure
            yield FinalResponse(message_id, self.statuses.get(query, 0))
        return None

    def seen(self) -> list[tuple[list[int], bool]]:
        """What each association was given to ask, and whether beside others; those beside first, by their queries."""
        return sorted(((one.queries, one.beside) for one in self.associations), key=lambda one: (not one[1], one[0]))


Make = Callable[[Breaks], tuple[Asker, Peer]]


@pytest.fixture
def stop() -> threading.Event:
    """Ends what the asker asks."""
    return threading.Event()


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: threading.Event) -> Make:
    """An asker and the peer that it asks."""
    monkeypatch.setattr(querying, "SETTLE_S", 0)

    def make(breaks: Breaks) -> tuple[Asker, Peer]:
        peer = Peer(breaks)
        monkeypatch.setattr(dcmtk, "find", peer.find)
        node = PacsNode("127.0.0.1", 104, AETitle("PACS"), AETitle("PX"), AETitle("PX"))
        return Asker(Conversation(node), tmp_path, "ISO_IR 192", stop), peer

    return make


def ask(asker: Asker, total: int, **options: Any) -> list[Reply]:
    return asker.ask(Level.SERIES, [{"StudyInstanceUID": f"1.2.{number}"} for number in range(total)], **options)


def second(failure: PxError, *, after: int = 0) -> Breaks:
    """The share of queries 1, 3, 5 ... breaks off after so many, as long as it is asked beside the other."""
    return lambda one, query, _: failure if one.beside and query % 2 and query >= 2 * after else None


def errors(replies: Sequence[Reply]) -> dict[int, str]:
    return {at: str(reply.error) for at, reply in enumerate(replies) if reply.error is not None}


EVEN, ODD = list(range(0, 16, 2)), list(range(1, 16, 2))


@pytest.mark.parametrize(("total", "jobs"), [(15, None), (16, 1)])
def test_one_association(make: Make, total: int, jobs: int | None) -> None:
    asker, peer = make(lambda *_: None)
    assert not errors(ask(asker, total, jobs=jobs))
    assert peer.seen() == [(list(range(total)), False)]


@pytest.mark.parametrize(
    ("total", "jobs", "shares"),
    [(16, None, [EVEN, ODD]), (16, 2, [EVEN, ODD]), (7, 3, [[0, 3, 6], [1, 4], [2, 5]]), (2, 9, [[0], [1]])],
)
def test_shares(make: Make, total: int, jobs: int | None, shares: list[list[int]]) -> None:
    asker, peer = make(lambda *_: None)
    assert not errors(ask(asker, total, jobs=jobs))
    assert peer.seen() == [(share, True) for share in shares]


@pytest.mark.parametrize("jobs", [None, 2])
@pytest.mark.parametrize("failure", [BUSY, PeerRejectedError("no"), PeerUnreachableError("no answer"), ABORTED])
def test_what_a_refused_association_leaves_is_asked_afterwards(make: Make, failure: PxError, jobs: int | None) -> None:
    asker, peer = make(second(failure))
    seen: list[tuple[int, int]] = []
    replies = ask(asker, 16, jobs=jobs, progress=lambda done, total: seen.append((done, total)), first_must_work=True)
    assert not errors(replies)
    assert peer.seen() == [(EVEN, True), (ODD, True), (ODD, False)]
    assert seen == [(done, 16) for done in range(1, 17)]


def test_one_that_is_refused_later_leaves_the_rest(make: Make) -> None:
    """It was served, broke off, and then was not taken again."""

    def breaks(one: Association, query: int, times: int) -> PxError | None:
        if not one.beside or query < 5 or not query % 2:
            return None
        return ABORTED if query == 5 and times == 1 else BUSY

    asker, peer = make(breaks)
    assert not errors(ask(asker, 16))
    assert peer.seen() == [(EVEN, True), (ODD, True), (ODD[2:4], True), (ODD[2:], False)]


def test_one_that_breaks_off_after_an_answer_goes_by_the_usual_rules(make: Make) -> None:
    asker, peer = make(lambda _, query, times: ABORTED if query == 5 and times == 1 else None)
    assert not errors(ask(asker, 16))
    assert all(one.beside for one in peer.associations)
    assert peer.times[5] == 2


def test_a_query_that_is_always_aborted_is_given_up_by_the_usual_rules(make: Make) -> None:
    asker, peer = make(lambda _, query, __: ABORTED if query == 5 else None)
    assert errors(ask(asker, 16)) == {5: "aborted"}
    assert all(one.beside for one in peer.associations)
    assert peer.times[5] == 2
    asker, peer = make(lambda _, query, __: ABORTED if query == 1 else None)
    assert errors(ask(asker, 16)) == {1: "aborted"}, "it is the first of its association, and those behind it are asked"
    assert peer.times[3] == 1


@pytest.mark.parametrize("query", [1, 5])
def test_a_query_that_ran_into_the_time_limit_is_not_asked_again(make: Make, query: int) -> None:
    asker, peer = make(lambda _, asked, __: SILENT if asked == query else None)
    assert errors(ask(asker, 16)) == {query: "silent"}
    assert set(peer.times.values()) == {1}
    assert all(one.beside for one in peer.associations)


def test_a_silent_query_and_then_a_refusal(make: Make) -> None:
    asker, peer = make(
        lambda one, query, _: None if not one.beside or not query % 2 else SILENT if query == 1 else BUSY
    )
    assert errors(ask(asker, 16)) == {1: "silent"}
    assert peer.seen()[-1] == (ODD[1:], False)


def test_a_failing_status_is_an_answer(make: Make) -> None:
    asker, peer = make(second(BUSY, after=2))
    peer.statuses = {0: 0xA700, 1: 0xA700}
    replies = ask(asker, 16)
    assert set(errors(replies)) == {0, 1}
    assert replies[1].status == 0xA700
    assert (peer.times[0], peer.times[1]) == (1, 1)


def test_who_asks_for_more_than_is_granted(make: Make) -> None:
    asker, peer = make(lambda one, query, _: BUSY if one.beside and query % 4 in (1, 3) else None)
    assert not errors(ask(asker, 16, jobs=4))
    shares = [list(range(first, 16, 4)) for first in range(4)]
    assert peer.seen() == [*((share, True) for share in shares), (shares[1] + shares[3], False)]


def test_what_is_granted_is_remembered(make: Make) -> None:
    asker, peer = make(lambda one, query, _: BUSY if one.beside and query % 4 in (1, 3) else None)
    ask(asker, 16, jobs=4)
    peer.associations, peer.breaks = [], lambda *_: None
    ask(asker, 16, jobs=4)
    assert peer.seen() == [(EVEN, True), (ODD, True)]
    asker, peer = make(second(BUSY))
    ask(asker, 16)
    peer.associations = []
    assert not errors(ask(asker, 16) + ask(asker, 16, jobs=8))
    assert peer.seen() == [(list(range(16)), False)] * 2


def test_both_refused_at_once(make: Make) -> None:
    """Each stood in the way of the other."""
    asker, peer = make(lambda one, *_: BUSY if one.beside else None)
    assert not errors(ask(asker, 16, first_must_work=True))
    assert peer.seen() == [(EVEN, True), (ODD, True), (EVEN + ODD, False)]


def test_what_is_refused_afterwards_too_is_told(make: Make) -> None:
    """No error of the whole: there was an association."""
    asker, _ = make(lambda _, query, __: BUSY if query % 2 else None)
    assert errors(ask(asker, 16, first_must_work=True)) == dict.fromkeys(ODD, str(BUSY))


def test_two_that_break_off_at_their_first_query(make: Make) -> None:
    asker, _ = make(lambda _, query, __: ABORTED if query < 2 else None)
    assert errors(ask(asker, 16)) == {0: "aborted", 1: "aborted"}


def test_nobody_is_served(make: Make) -> None:
    asker, peer = make(lambda *_: BUSY)
    replies = ask(asker, 16)
    assert errors(replies) == dict.fromkeys(range(16), str(BUSY))
    assert len(peer.associations) == 5
    peer.associations, peer.breaks = [], lambda *_: None
    assert not errors(ask(asker, 16))
    assert len(peer.associations) == 2, "a PACS that was not there has not said how many it grants"


@pytest.mark.parametrize("failure", [BUSY, PeerUnreachableError("nobody"), ToolFailedError("crashed")])
def test_nobody_is_served_where_the_first_must_work(make: Make, failure: PxError) -> None:
    asker, _ = make(lambda *_: failure)
    with pytest.raises(type(failure), match=str(failure)):
        ask(asker, 16, first_must_work=True)


def test_stopped(make: Make, stop: threading.Event) -> None:
    """Set while one association is refused, it keeps what is left from being asked; all are told."""
    asker, peer = make(lambda *_: None)

    def breaks(_one: Association, query: int, _times: int) -> PxError | None:
        if query != 1:
            return None
        stop.set()
        return BUSY

    peer.breaks = breaks
    replies = ask(asker, 16)
    assert set(errors(replies)) >= set(ODD)
    assert all(one.beside for one in peer.associations)


def test_an_error_in_a_thread_ends_the_others(make: Make, stop: threading.Event) -> None:
    class BugError(Exception):
        pass

    def breaks(_one: Association, query: int, _times: int) -> PxError | None:
        if query == 0:
            raise BugError
        if query == 3:
            assert stop.wait(10)
        return None

    asker, peer = make(breaks)
    with pytest.raises(BugError):
        ask(asker, 16)
    assert 15 not in peer.times, "it asked on"
