"""Many requests over few associations, with peers that break off."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypx.errors import PeerFailedError, PeerRejectedError, PeerUnreachableError, PxError, ToolFailedError
from pypx.services.dcmtk_log import (
    FinalResponse,
    PeerBusyError,
    PeerFloodError,
    PeerSilentError,
    ServiceRefusedError,
)
from pypx.workflows import asking
from pypx.workflows.asking import ask_all, associations_for, not_granted

ABORTED = PeerFailedError("aborted")


class Peer:
    """Answers requests until `breaks` says otherwise; `associations` holds the positions asked in each."""

    def __init__(self, breaks: Callable[[int, int, int], PxError | None]) -> None:
        self.breaks = breaks
        self.associations: list[list[int]] = []
        self.times: dict[int, int] = {}

    def run(self, batch: Sequence[int]) -> Generator[FinalResponse, None, PxError | None]:
        asked: list[int] = []
        self.associations.append(asked)
        for message_id, position in enumerate(batch, 1):
            asked.append(position)
            self.times[position] = self.times.get(position, 0) + 1
            failure = self.breaks(position, self.times[position], len(asked))
            if failure is not None:
                return failure
            yield FinalResponse(message_id, position)
        return None


def outcome(total: int, peer: Peer, **options: Any) -> tuple[list[int], list[int]]:
    """Positions that were answered, in order, and positions that were given up."""
    answered, given_up = [], []
    for position, answer in ask_all(total, peer.run, **options):
        if isinstance(answer, FinalResponse):
            assert answer.status == position, "the answer of another request"
            answered.append(position)
        else:
            given_up.append(position)
    return answered, given_up


def test_one_association_if_all_goes_well() -> None:
    peer = Peer(lambda *_: None)
    assert outcome(10, peer) == (list(range(10)), [])
    assert len(peer.associations) == 1


def test_nothing_to_ask() -> None:
    peer = Peer(lambda *_: None)
    assert outcome(0, peer) == ([], [])
    assert peer.associations == []


def test_long_lists_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST", 4)
    peer = Peer(lambda *_: None)
    assert outcome(10, peer) == (list(range(10)), [])
    assert [len(asked) for asked in peer.associations] == [4, 4, 2]


def test_a_request_that_breaks_once_is_asked_again() -> None:
    peer = Peer(lambda position, times, _: ABORTED if (position, times) == (3, 1) else None)
    answered, given_up = outcome(8, peer)
    assert (sorted(answered), given_up) == (list(range(8)), [])
    assert peer.times == {position: 2 if position == 3 else 1 for position in range(8)}


def test_a_request_that_always_breaks_is_given_up_and_the_others_are_not() -> None:
    peer = Peer(lambda position, *_: ABORTED if position == 3 else None)
    answered, given_up = outcome(8, peer)
    assert (sorted(answered), given_up) == ([0, 1, 2, 4, 5, 6, 7], [3])
    assert peer.times[3] == 2


def test_a_request_that_times_out_is_not_repeated() -> None:
    peer = Peer(lambda position, *_: PeerSilentError("silent") if position == 3 else None)
    answered, given_up = outcome(8, peer)
    assert (sorted(answered), given_up) == ([0, 1, 2, 4, 5, 6, 7], [3])
    assert set(peer.times.values()) == {1}


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_peer_with_a_limit_per_association(most: int) -> None:
    peer = Peer(lambda _position, _times, nth: ABORTED if nth > most else None)
    answered, given_up = outcome(40, peer)
    assert (sorted(answered), given_up) == (list(range(40)), [])
    assert len(peer.associations) <= 2 * 40 / most


def test_a_dead_peer_is_not_asked_for_ever() -> None:
    peer = Peer(lambda *_: ABORTED)
    answered, given_up = outcome(100, peer)
    assert (answered, sorted(given_up)) == ([], list(range(100)))
    assert len(peer.associations) == 3


def test_a_run_that_answers_nothing_without_a_reason() -> None:
    def run(_batch: Sequence[int]) -> Generator[FinalResponse, None, PxError | None]:
        yield from ()
        return None

    assert [isinstance(answer, PxError) for _, answer in ask_all(2, run)] == [True, True]


@pytest.mark.parametrize("kind", [PeerUnreachableError, PeerRejectedError, ServiceRefusedError, ToolFailedError])
def test_no_first_association_can_be_an_error(kind: type[PxError]) -> None:
    peer = Peer(lambda *_: kind("no"))
    with pytest.raises(kind, match=r"^no$"):
        outcome(5, peer, first_must_work=True)
    assert len(peer.associations) == 1
    assert len(outcome(5, peer)[1]) == 5


def test_an_abort_of_the_first_request_is_no_such_error() -> None:
    peer = Peer(lambda *_: ABORTED)
    assert len(outcome(5, peer, first_must_work=True)[1]) == 5


def test_an_association_lost_later_is_no_such_error() -> None:
    peer = Peer(lambda position, *_: PeerRejectedError("no") if position else None)
    assert outcome(3, peer, first_must_work=True) == ([0], [1, 2])


@given(st.integers(0, 25), st.randoms(use_true_random=False))
def test_every_request_ends_exactly_once(total: int, random: object) -> None:
    choice: Callable[[], float] = random.random  # type: ignore[attr-defined]
    faults = (None, None, None, ABORTED, PeerSilentError("silent"), PeerRejectedError("no"))
    peer = Peer(lambda *_: faults[int(choice() * len(faults))])
    answered, given_up = outcome(total, peer)
    assert sorted(answered + given_up) == list(range(total))
    assert all(times <= total + 3 for times in peer.times.values())


# several associations


@pytest.mark.parametrize(
    ("total", "wish", "granted", "expected"),
    [
        (0, None, None, 1),
        (1, None, None, 1),
        (15, None, None, 1),
        (16, None, None, 2),
        (5000, None, None, 2),
        (5000, None, 1, 1),
        (5000, None, 2, 2),
        (15, 2, None, 2),
        (5000, 1, None, 1),
        (5000, 8, None, 8),
        (3, 8, None, 3),
        (0, 8, None, 1),
        (5000, 8, 3, 3),
        (2, 8, 3, 2),
    ],
)
def test_how_many_associations(total: int, wish: int | None, granted: int | None, expected: int) -> None:
    assert associations_for(total, wish, granted) == expected


@pytest.mark.parametrize(
    ("failure", "barren", "later"),
    [
        (PeerRejectedError("no"), True, True),
        (PeerBusyError("not now"), True, True),
        (PeerUnreachableError("nobody"), True, True),
        (ABORTED, True, False),
        (ServiceRefusedError("not here"), True, False),
        (PeerSilentError("silent"), False, False),
        (PeerFloodError("too much"), False, False),
        (ToolFailedError("crashed"), False, False),
        (PxError("the request was not answered"), False, False),
    ],
)
def test_which_failures_say_that_an_association_is_not_granted(failure: PxError, barren: bool, later: bool) -> None:
    assert not_granted(failure, barren=True) is barren
    assert not_granted(failure, barren=False) is later


def test_what_is_pending_can_be_left_after_an_association_without_an_answer() -> None:
    peer = Peer(lambda position, *_: ABORTED if position >= 2 else None)
    asked: list[PxError] = []

    def leave(failure: PxError) -> bool:
        asked.append(failure)
        return len(asked) == 2

    answered, given_up = outcome(8, peer, leave=leave)
    assert (answered, given_up) == ([0, 1], [2]), "what was answered and given up before is told"
    assert peer.associations == [[0, 1, 2], [2], [3]]
    assert asked == [ABORTED, ABORTED], "an association that was served is not asked about"


def test_leaving_goes_before_the_error_of_no_first_association() -> None:
    peer = Peer(lambda *_: PeerRejectedError("no"))
    assert outcome(5, peer, first_must_work=True, leave=lambda _: True) == ([], [])
    with pytest.raises(PeerRejectedError):
        outcome(5, peer, first_must_work=True, leave=lambda _: False)
