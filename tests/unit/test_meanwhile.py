"""What goes on while a PACS sends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event, get_ident

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import DatabaseError, PeerRejectedError, PeerUnreachableError, PxError, ToolMissingError
from pypx.model.identifiers import UID, AETitle
from pypx.model.outcomes import MoveOutcome, MoveState
from pypx.model.peers import PacsNode
from pypx.model.records import SeriesRef
from pypx.services.dcmtk import Conversation, Programs
from pypx.workflows.fetch import shared
from pypx.workflows.meanwhile import Meanwhile

NODE = PacsNode("127.0.0.1", 1, AETitle("PACS"), AETitle("PX"), AETitle("PX"))
TALK = Conversation(NODE, programs=Programs(findscu="true"))
SERIES = (SeriesRef(UID("1.2"), UID("1.2.3"), 4), SeriesRef(UID("1.2"), UID("1.2.4"), 5))

Asked = Callable[..., Meanwhile]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open_or_create(Layout.of_basemount(tmp_path))


@pytest.fixture
def asking(database: Database, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """`asking(answer, then)`: questions that `answer` answers; both get what is to stop them."""

    def made(
        answer: Callable[[Event], object], then: Callable[[Event], Iterable[MoveOutcome]] = lambda _: ()
    ) -> Meanwhile:
        def expect(*_: object, stop: Event, **_options: object) -> None:
            answer(stop)

        monkeypatch.setattr("pypx.workflows.meanwhile.expect", expect)
        monkeypatch.setattr("pypx.workflows.meanwhile.SETTLE_S", 0.0)
        return Meanwhile(SERIES, TALK, database, then=then)

    return made


def requested(database: Database) -> list[str]:
    """The counts in the tables of the requests."""
    noted = (database.series_fields(ref.SeriesInstanceUID, "retrieve") for ref in SERIES)
    return [fields.get("NumberOfSeriesRelatedInstances", "") for fields in noted]


def test_nothing_is_asked_before_the_pacs_has_taken_the_retrieve(asking: Asked, database: Database) -> None:
    with asking(lambda _: pytest.fail("it was asked")):
        pass
    assert requested(database) == ["", ""]


def test_nothing_begins_where_nobody_could_ask(database: Database) -> None:
    talk = Conversation(NODE, programs=Programs(findscu="/nowhere/findscu"))
    with pytest.raises(ToolMissingError), Meanwhile(SERIES, talk, database):
        pytest.fail("the block has begun")


def test_the_block_runs_beside_the_questions_and_its_end_ends_them(asking: Asked) -> None:
    ended: list[bool] = []
    with asking(lambda stop: ended.append(stop.wait(20))) as expecting:
        expecting.begin()
        assert ended == []
    assert ended == [True]


def test_it_is_asked_once_however_often_it_is_told_to_begin(asking: Asked, database: Database) -> None:
    asked = []
    with asking(lambda _: asked.append(get_ident())) as expecting:
        for _ in range(3):
            expecting.begin()
        expecting.finish()
    assert len(asked) == 1
    assert asked[0] != get_ident()
    assert requested(database) == ["4", "5"]


@pytest.mark.parametrize("error", [PeerRejectedError("one at a time"), PeerUnreachableError("no answer")])
def test_a_second_association_that_is_not_taken_is_tried_again_in_the_end(
    asking: Asked, database: Database, error: PxError
) -> None:
    asked = []

    def once_refused(_: Event) -> None:
        asked.append(requested(database))
        if len(asked) == 1:
            raise error

    with asking(once_refused) as expecting:
        expecting.begin()
        expecting.finish()
    assert asked == [["", ""], ["4", "5"]], "the requests are noted even if nobody says what is there"


def outcome(ref: SeriesRef) -> MoveOutcome:
    return MoveOutcome(ref, MoveState.SUCCESS, 0)


def test_what_comes_after_the_questions_comes_as_it_is_done(asking: Asked) -> None:
    first_taken, begun = Event(), Event()

    def then(_: Event) -> Iterator[MoveOutcome]:
        yield outcome(SERIES[0])
        begun.set()
        assert first_taken.wait(20)
        yield outcome(SERIES[1])

    with asking(lambda _: None, then) as meanwhile:
        assert list(meanwhile.rest()) == []
        meanwhile.begin()
        assert begun.wait(20)
        assert list(meanwhile.come()) == [outcome(SERIES[0])]
        first_taken.set()
        assert list(meanwhile.rest()) == [outcome(SERIES[1])]
        meanwhile.finish()


def test_what_has_come_is_taken_once(asking: Asked) -> None:
    with asking(lambda _: None, lambda _: map(outcome, SERIES)) as meanwhile:
        meanwhile.begin()
        meanwhile.finish()
        assert list(meanwhile.come()) == list(map(outcome, SERIES))
        assert list(meanwhile.come()) == []
        assert list(meanwhile.rest()) == []


def test_a_pacs_that_takes_no_second_association_is_asked_for_nothing_through_it(asking: Asked) -> None:
    def refused(_: Event) -> None:
        raise PeerRejectedError("no")

    with asking(refused, lambda _: pytest.fail("it was asked")) as meanwhile:
        meanwhile.begin()
        assert list(meanwhile.rest()) == []


def test_what_has_not_begun_is_asked_in_the_end_and_nothing_asked_for_twice(asking: Asked, database: Database) -> None:
    asked = []
    with asking(lambda _: asked.append(get_ident()), lambda _: pytest.fail("it was asked for again")) as meanwhile:
        meanwhile.finish()
    assert asked == [get_ident()]
    assert requested(database) == ["4", "5"]


def test_a_pacs_that_sends_nothing_beside_is_no_error(asking: Asked) -> None:
    def rejected(_: Event) -> Iterator[MoveOutcome]:
        yield outcome(SERIES[0])
        raise PeerRejectedError("no more")

    with asking(lambda _: None, rejected) as meanwhile:
        meanwhile.begin()
        assert list(meanwhile.rest()) == [outcome(SERIES[0])]
        meanwhile.finish()


def test_a_disk_that_is_full_is_one(asking: Asked) -> None:
    def full(_: Event) -> Iterator[MoveOutcome]:
        raise DatabaseError("the disk is full")

    with asking(lambda _: None, full) as meanwhile:
        meanwhile.begin()
        assert list(meanwhile.rest()) == []
        with pytest.raises(DatabaseError):
            meanwhile.finish()


@pytest.mark.parametrize(
    ("counts", "first", "second"),
    [
        ((), (), ()),
        ((5,), (0,), ()),
        ((5, 5), (0,), (1,)),
        ((5, 5, 5), (0, 2), (1,)),
        ((1, 9, 1), (1,), (0, 2)),
        ((None, None), (0,), (1,)),
        ((900, 10, 10, 10), (0,), (1, 2, 3)),
    ],
)
def test_shares(counts: tuple[int | None, ...], first: tuple[int, ...], second: tuple[int, ...]) -> None:
    series = [SeriesRef(UID("1.2"), UID(f"1.2.{at}"), count) for at, count in enumerate(counts)]
    assert shared(series) == ([series[at] for at in first], [series[at] for at in second])


def test_a_pacs_that_refuses_it_again_is_told(asking: Asked) -> None:
    def refused(_: Event) -> None:
        raise PeerRejectedError("no")

    with asking(refused) as expecting:
        expecting.begin()
        with pytest.raises(PeerRejectedError):
            expecting.finish()


def test_other_trouble_is_told_and_nothing_asked_again(asking: Asked) -> None:
    asked = []

    def full(_: Event) -> None:
        asked.append(1)
        raise DatabaseError("the disk is full")

    with asking(full) as expecting:
        expecting.begin()
        with pytest.raises(DatabaseError):
            expecting.finish()
    assert asked == [1]
