"""Questions that go on while a PACS sends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, get_ident

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import DatabaseError, PeerRejectedError, PeerUnreachableError, PxError, ToolMissingError
from pypx.model.identifiers import UID, AETitle
from pypx.model.peers import PacsNode
from pypx.model.records import SeriesRef
from pypx.services.dcmtk import Conversation, Programs
from pypx.workflows import meanwhile
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
    """`asking(answer)`: questions that `answer` answers, with `stop` as its only parameter."""

    def made(answer: Callable[[Event], object]) -> Meanwhile:
        def expect(*_: object, stop: Event, **_options: object) -> None:
            answer(stop)

        monkeypatch.setattr(meanwhile, "expect", expect)
        monkeypatch.setattr(meanwhile, "SETTLE_S", 0.0)
        return Meanwhile(SERIES, TALK, database)

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
