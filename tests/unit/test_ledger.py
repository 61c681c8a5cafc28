"""Which witness is believed, and what that makes of a series."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.keywords import Level
from pypx.model.ledger import NOTHING_SAID, Answer, Basis, Expectation, basis_of, judge
from pypx.model.outcomes import Completeness, MoveOutcome, MoveState, SeriesState, SubOperations
from pypx.model.records import ImageRecord, Instance, SeriesRef
from pypx.workflows.expecting import NO_IMAGE_FIND, note_refusal, refuses
from pypx.workflows.fetch import may_help
from pypx.workflows.ledger import LOG, note_answer, note_brought, note_expectation, read_ledger
from pypx.workflows.splitting import may_be_capped
from pypx.workflows.status import series_status
from pypx.workflows.waiting import wait_for_images

YES, NO, UNSURE = Completeness.YES, Completeness.NO, Completeness.UNKNOWN
STUDY, SERIES = UID("1.2"), UID("1.2.3")
REF = SeriesRef(STUDY, SERIES)


def uids(count: int, first: int = 0) -> frozenset[UID]:
    return frozenset(UID(f"9.{number}") for number in range(first, first + count))


def said(listed: int | None, count: int | None, listing: Completeness = YES) -> Expectation:
    return Expectation(None if listed is None else uids(listed), count, NO if listed is None else listing)


def tried(done: int | None, status: int | None = 0) -> Answer:
    return Answer(Level.SERIES, status, done)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open_or_create(Layout.of_basemount(tmp_path / "base"))


@pytest.mark.parametrize(
    ("expectation", "answer", "basis"),
    [
        # a list alone, or with a count that agrees or is too low
        (said(5, None), None, Basis.LISTED),
        (said(5, 5), None, Basis.LISTED),
        (said(5, 3), None, Basis.LISTED),
        # with the sub-operations of a C-MOVE: more of them than listed are a contradiction, unless the count agrees
        (said(5, None), tried(5), Basis.LISTED),
        (said(5, None), tried(4), Basis.LISTED),
        (said(5, None), tried(6), Basis.UNKNOWN),
        (said(5, 5), tried(6), Basis.LISTED),
        (said(5, 3), tried(6), Basis.UNKNOWN),
        # a count that is higher than the list: whom the sub-operations bear out is believed
        (said(5, 8), None, Basis.UNKNOWN),
        (said(5, 8), tried(None), Basis.UNKNOWN),
        (said(5, 8), tried(5), Basis.LISTED),
        (said(5, 8), tried(8), Basis.COUNTED),
        (said(5, 8), tried(7), Basis.UNKNOWN),
        (said(5, 8), tried(5, 0xA702), Basis.UNKNOWN),
        # a list that may have been cut short
        (said(10, None, UNSURE), None, Basis.UNKNOWN),
        (said(10, 10, UNSURE), None, Basis.LISTED),
        (said(10, None, UNSURE), tried(10), Basis.LISTED),
        (said(10, None, UNSURE), tried(10, 0xC000), Basis.UNKNOWN),
        (said(10, 25, UNSURE), tried(25), Basis.COUNTED),
        (said(10, 25, UNSURE), None, Basis.UNKNOWN),
        # a list that was cut short, or none
        (said(5, 8, NO), None, Basis.COUNTED),
        (said(5, 3, NO), None, Basis.UNKNOWN),
        (said(None, 8), None, Basis.COUNTED),
        (said(None, 8), tried(8), Basis.COUNTED),
        (said(None, 8), tried(7), Basis.COUNTED),
        (said(None, 8), tried(9), Basis.UNKNOWN),
        (said(None, 8), tried(9, 0xA702), Basis.UNKNOWN),
        (said(None, None), tried(8), Basis.UNKNOWN),
        (NOTHING_SAID, None, Basis.UNKNOWN),
    ],
)
def test_which_witness_is_believed(expectation: Expectation, answer: Answer | None, basis: Basis) -> None:
    assert basis_of(expectation, answer) is basis


@pytest.mark.parametrize(
    ("expectation", "held", "state", "expected", "missing"),
    [
        (said(3, 3), uids(3), SeriesState.COMPLETE, 3, 0),
        (said(3, 3), uids(2), SeriesState.MISSING, 3, 1),
        (said(3, 3), uids(4), SeriesState.MORE_THAN_EXPECTED, 3, 0),
        (said(3, 3), uids(3, 1), SeriesState.MISSING, 3, 1),
        (said(3, 3), uids(0), SeriesState.NOT_RECEIVED, 3, 3),
        (said(None, 3), uids(3), SeriesState.COMPLETE, 3, 0),
        (said(None, 3), uids(2), SeriesState.MISSING, 3, None),
        (said(None, 3), uids(4), SeriesState.MORE_THAN_EXPECTED, 3, 0),
        (said(None, 3), uids(0), SeriesState.NOT_RECEIVED, 3, None),
        (NOTHING_SAID, uids(3), SeriesState.UNKNOWN_EXPECTATION, None, None),
        (said(3, 8), uids(3), SeriesState.UNKNOWN_EXPECTATION, None, None),
        (said(3, 8), uids(2), SeriesState.MISSING, None, None),
        (said(2, 2), frozenset({UID("a.dcm"), UID("b.dcm")}), SeriesState.COMPLETE, 2, 0),
        (said(2, 2), frozenset({UID("a.dcm")}), SeriesState.MISSING, 2, None),
    ],
)
def test_what_is_held_against_what_is_expected(
    expectation: Expectation, held: frozenset[UID], state: SeriesState, expected: int | None, missing: int | None
) -> None:
    judged = judge(expectation, None, None, held, known=True)
    assert (judged.state, judged.expected) == (state, expected)
    assert (None if judged.missing is None else len(judged.missing)) == missing
    if judged.missing:
        assert set(judged.missing) == uids(3) - held


def test_nothing_held() -> None:
    refused = tried(0, 0xA702)
    assert judge(NOTHING_SAID, refused, refused, (), known=True).state is SeriesState.REFUSED
    assert judge(NOTHING_SAID, None, tried(0), (), known=False).state is SeriesState.NOT_RECEIVED
    assert judge(NOTHING_SAID, None, None, (), known=False).state is SeriesState.NOT_RECORDED


def test_the_ledger_is_appended_to_and_survives_a_torn_line(database: Database) -> None:
    assert read_ledger(database, SERIES).expectation == NOTHING_SAID
    assert read_ledger(database, SERIES, 7).expectation == Expectation(count=7)
    first, second = said(3, 3), said(4, 4)
    for expectation in (first, first, second, second):
        note_expectation(database, SERIES, expectation)
    path = database.layout.series_log(SERIES, LOG)
    assert len(path.read_text().splitlines()) == 2
    assert read_ledger(database, SERIES).expectation == second
    path.write_bytes(path.read_bytes()[:-20])
    assert read_ledger(database, SERIES).expectation == first
    note_expectation(database, SERIES, second)
    assert read_ledger(database, SERIES).expectation == second


def test_the_answers_of_both_levels_are_kept_apart(database: Database) -> None:
    whole = MoveOutcome(REF, MoveState.WARNING, 0xB000, SubOperations(3, 1, 1))
    part = MoveOutcome(REF, MoveState.SUCCESS, 0, SubOperations(1), instances=(UID("9.1"),), held=4)
    note_answer(database, whole, "A@h:1")
    note_answer(database, part, "A@h:1")
    ledger = read_ledger(database, SERIES)
    assert ledger.of_series == Answer(Level.SERIES, 0xB000, 5)
    assert ledger.last == Answer(Level.IMAGE, 0, 1)
    note_brought(database, MoveOutcome(REF, MoveState.SUCCESS, 0, received=5, held=4, instances=part.instances))
    assert read_ledger(database, SERIES).last == Answer(Level.IMAGE, 0, 1, brought=1)
    note_answer(database, MoveOutcome(REF, MoveState.NO_ANSWER), "A@h:1")
    assert read_ledger(database, SERIES).last == Answer(Level.SERIES, None)


def test_lines_of_a_later_px_are_passed_over(database: Database) -> None:
    note_expectation(database, SERIES, said(2, 2))
    lines: list[dict[str, Any]] = [
        {"verdict": 3},
        {"expected": "odd"},
        {"answer": []},
        {"expected": {"count": "5", "listing": "new"}},
    ]
    database.append_log(SERIES, LOG, lines[:3])
    assert read_ledger(database, SERIES).expectation == said(2, 2)
    database.append_log(SERIES, LOG, lines[3:])
    assert read_ledger(database, SERIES).expectation == NOTHING_SAID


def test_a_refusal_is_remembered_for_a_month(database: Database) -> None:
    assert not refuses(database, "A@h:1", NO_IMAGE_FIND)
    note_refusal(database, "A@h:1", NO_IMAGE_FIND)
    assert refuses(database, "A@h:1", NO_IMAGE_FIND)
    assert not refuses(database, "B@h:1", NO_IMAGE_FIND)
    for old in ((datetime.now(timezone.utc) - timedelta(days=31)).isoformat(), "2026-01-01", "junk", None):
        database.note_peer("A@h:1", {NO_IMAGE_FIND: old})
        assert not refuses(database, "A@h:1", NO_IMAGE_FIND)


@pytest.mark.parametrize(
    ("status", "state", "ok", "helps"),
    [
        (0xA702, SeriesState.REFUSED, False, True),
        (0xB000, SeriesState.MISSING, False, True),
        (0x0000, SeriesState.MISSING, True, True),
        (None, SeriesState.NOT_RECEIVED, False, True),
        (0xA801, SeriesState.REFUSED, False, False),
        (0xA900, SeriesState.REFUSED, False, False),
        (0x0000, SeriesState.UNKNOWN_EXPECTATION, True, False),
        (0xB000, SeriesState.UNKNOWN_EXPECTATION, False, True),
        (0x0000, SeriesState.COMPLETE, True, False),
        (0xA702, SeriesState.COMPLETE, False, False),
    ],
)
def test_when_asking_again_may_help(
    database: Database, status: int | None, state: SeriesState, ok: bool, helps: bool
) -> None:
    (verdict,) = series_status([REF], database)
    outcome = MoveOutcome(
        REF, MoveState.SUCCESS if ok else MoveState.FAILED, status, verdict=replace(verdict, state=state)
    )
    assert may_help(outcome) is helps


def record(database: Database, number: int) -> None:
    uid = UID(f"9.{number}")
    instance = Instance(STUDY, SERIES, uid, "1.2", "1.2.840.10008.1.2.1", {})
    database.add_images([(instance, ImageRecord(uid, f"data/{uid}.dcm", 1, "2026-01-01T00:00:00Z"))])


def test_waiting_goes_on_while_something_comes_into_the_spool(database: Database) -> None:
    """A large object takes longer than the idle limit: its file grows, and so does the patience."""
    growing = database.layout.incoming / "listener" / "association" / "CT.1"
    growing.parent.mkdir(parents=True)
    growing.write_bytes(b"")
    steps: list[int] = []

    def progress(_recorded: int, _expected: int) -> None:
        steps.append(1)
        if len(steps) <= 6:
            growing.write_bytes(b"x" * len(steps))
        elif len(steps) == 7:
            record(database, 0)

    lost = MoveOutcome(SeriesRef(STUDY, SERIES, 1), MoveState.SUCCESS, 0, SubOperations(1))
    (waited,) = wait_for_images(database, [lost], 0.5, progress)
    assert waited.received == 1


def test_what_was_not_asked_for_is_not_waited_for(database: Database) -> None:
    record(database, 0)
    (waited,) = wait_for_images(database, [MoveOutcome(REF, MoveState.NOT_ASKED)], 60)
    assert waited.received == 1


@pytest.mark.parametrize("count", [10, 20, 50, 64, 100, 128, 250, 500, 512, 1000, 1024, 10000])
def test_numbers_at_which_a_pacs_may_stop(count: int) -> None:
    assert may_be_capped(count)
    assert not may_be_capped(count + 1)
    assert not may_be_capped(0)
    assert not may_be_capped(8)


def test_a_ledger_line_is_plain_json(database: Database) -> None:
    note_expectation(database, SERIES, said(2, None))
    (line,) = database.layout.series_log(SERIES, LOG).read_text().splitlines()
    told = json.loads(line)["expected"]
    assert (told["instances"], told["count"], told["listing"]) == (["9.0", "9.1"], None, "yes")
