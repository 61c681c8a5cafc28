"""The chain: how it is written, in which order it runs, what it refuses before anything ran."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pypx.compat.feedback import Feedback
from pypx.compat.find_args import NO_PEER
from pypx.compat.then_json import to_document
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import InputError, PartialError
from pypx.model.identifiers import UID, AETitle
from pypx.model.outcomes import FindResult, MoveOutcome, MoveState, SeriesFound, SeriesState, SeriesStatus, StudyFound
from pypx.model.peers import PacsNode
from pypx.model.query import Query
from pypx.model.records import Element, SeriesRef
from pypx.workflows.chain import (
    VERBS,
    ChainOptions,
    Event,
    Outcome,
    Scene,
    SeriesDone,
    SeriesStarted,
    StudyStarted,
    Verb,
    run_chain,
)
from pypx.workflows.then import Step, parse_then
from support import golden

NODE = PacsNode("127.0.0.1", 104, AETitle("ORTHANC"), AETitle("CHRISLOCAL"), AETitle("CHRISLOCAL"))


def study(uid: str, *series: str) -> StudyFound:
    refs = (SeriesRef(UID(uid), UID(one), 4, f"AX {one}") for one in series)
    elements = (Element("0020,0011", "SeriesNumber", "7"),)
    return StudyFound(UID(uid), (), tuple(SeriesFound(ref, elements) for ref in refs))


RESULT = FindResult(NODE, Query(), (study("1", "1.1", "1.2"), study("2"), study("3", "3.1")))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(Layout.of_basemount(tmp_path / "basemount"))


class Moves:
    """Stands for C-MOVE and for the waiting after it; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[UID] = []
        self.waited: list[tuple[int, float]] = []
        self.failing: set[str] = set()
        self.backwards = False
        self.recorded = 4

    def retrieve(self, scene: Scene) -> Iterator[Outcome]:
        for ref in reversed(scene.series) if self.backwards else scene.series:
            self.asked.append(ref.SeriesInstanceUID)
            failing = ref.SeriesInstanceUID in self.failing
            state = MoveState.FAILED if failing else MoveState.SUCCESS
            yield MoveOutcome(ref, state, 0xC000 if failing else 0, error="status C000" if failing else None)

    def settle(self, scene: Scene, outcomes: list[Outcome]) -> list[Outcome]:
        self.waited.append((len(outcomes), scene.options.idle_s))
        return [self.judged(one) if isinstance(one, MoveOutcome) else one for one in outcomes]

    def judged(self, one: MoveOutcome) -> MoveOutcome:
        state = SeriesState.COMPLETE if one.ok and self.recorded == 4 else SeriesState.MISSING
        status = SeriesStatus(one.series, state, 4, self.recorded, self.recorded, 0, 0)
        return replace(one, received=self.recorded, verdict=status)


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> Moves:
    fake = Moves()
    monkeypatch.setitem(VERBS, "retrieve", Verb(fake.retrieve, needs_pacs=True, settle=fake.settle))
    return fake


@pytest.mark.parametrize(
    ("then", "args", "steps"),
    [
        ("", "", []),
        ("retrieve", "", [("retrieve", {})]),
        (" status , push ", "", [("status", {}), ("push", {})]),
        ("push", '{"a": false}', [("push", {"a": False})]),
        ("retrieve,push", ';{"a": 1}', [("retrieve", {}), ("push", {"a": 1})]),
        ("retrieve,push", "{};", [("retrieve", {}), ("push", {})]),
        ("a,b", '{"x": "1;2"} ; {"y": 2}', [("a", {"x": "1;2"}), ("b", {"y": 2})]),
        ("a,b", '[{"x": 1}, {}]', [("a", {"x": 1}), ("b", {})]),
        ("a,b", '[{"x": 1}, null]', [("a", {"x": 1}), ("b", {})]),
        ("a,b", '{"b": {"x": 1}}', [("a", {}), ("b", {"x": 1})]),
        ("push", '{"push": {"x": 1}}', [("push", {"x": 1})]),
    ],
)
def test_then_is_read(then: str, args: str, steps: list[tuple[str, dict[str, Any]]]) -> None:
    assert [(step.verb, dict(step.args)) for step in parse_then(then, args)] == steps


@pytest.mark.parametrize(
    ("then", "args", "said"),
    [
        ("retrieve,,status", "", "empty verb"),
        ("retrieve,", "", "empty verb"),
        ("", "{}", "--thenArgs needs --then"),
        ("a,b", "{}", r"has 1 part\(s\) for 2 verb\(s\) \(a, b\)"),
        ("a", "{};{}", r"has 2 part\(s\) for 1 verb"),
        ("a,b", '[{"x": 1}]', r"has 1 part\(s\) for 2"),
        ("a,b", '{"x": {}}', r"has 1 part\(s\) for 2"),
        ("a", "{x}", "part 1: not JSON"),
        ("a,b", "{};{", "part 2: not JSON"),
        ("a,b", "{} {}", "separate parts by semicolons"),
        ("a,b", "{},{}", "separate parts by semicolons"),
        ("a", "3", "expected a JSON object, got 3"),
        ("a,b", "[{}, 3]", "--thenArgs for b: expected a JSON object"),
    ],
)
def test_then_that_makes_no_sense_is_refused(then: str, args: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_then(then, args)


def test_verb_by_verb_study_by_study_series_by_series(database: Database, moves: Moves) -> None:
    events: list[Event] = []
    run_chain(RESULT, parse_then("retrieve,report"), database=database, on_event=events.append)
    seen = [
        (event.verb, event.study.StudyInstanceUID)
        if isinstance(event, StudyStarted)
        else (event.verb, event.series.SeriesInstanceUID)
        for event in events
        if not isinstance(event, SeriesStarted)
    ]
    order = ["1", "1.1", "1.2", "3", "3.1"]
    assert seen == [("retrieve", uid) for uid in order] + [("report", uid) for uid in order]
    assert moves.asked == ["1.1", "1.2", "3.1"]


def test_document_of_the_chain(database: Database, moves: Moves) -> None:
    done = run_chain(RESULT, parse_then("retrieve,report"), database=database)
    document = to_document(done, database)
    assert list(document) == ["do", "00-retrieve", "01-report"]
    assert document["do"] is True
    assert [list(entry) for entry in document["00-retrieve"]["study"]] == [["1"], ["3"]]
    first = document["00-retrieve"]["study"][0]["1"][0]
    recorded = golden.document("28-retrieve.out", {"PACSPORT": 104})["then"]["00-retrieve"]["study"][0]
    ((uid, (theirs,)),) = recorded.items()
    series = "2.25.1170869343319568895328765358778663006"
    theirs["command"] = theirs["command"].replace(series, "1.1").replace(uid, "1")
    assert first == theirs
    assert document["01-report"] == {"study": [{"1": [{}, {}]}, {"3": [{}]}]}


def test_outcomes_find_their_series_in_whatever_order_they_come(database: Database, moves: Moves) -> None:
    moves.backwards, moves.failing = True, {"1.2"}
    twice = FindResult(NODE, Query(), (*RESULT.studies, RESULT.studies[0]))
    done = run_chain(twice, parse_then("retrieve"), database=database)
    states = [
        [outcome.state.value for outcome in outcomes if isinstance(outcome, MoveOutcome)]
        for _, outcomes in done.verbs[0].studies
    ]
    assert states == [["success", "failed"], ["success"], ["success", "failed"]]


def test_empty_result_does_nothing(database: Database, moves: Moves) -> None:
    done = run_chain(FindResult(NODE, Query()), parse_then("retrieve"), database=database)
    assert to_document(done, database) == {"do": False, "00-retrieve": {"study": []}}
    assert moves.asked == []


def test_failed_series_does_not_stop_the_others(database: Database, moves: Moves) -> None:
    moves.failing = {"1.1", "3.1"}
    done = run_chain(RESULT, parse_then("retrieve"), database=database)
    assert moves.asked == ["1.1", "1.2", "3.1"]
    assert done.failed == tuple(
        f"retrieve of series {uid}: missing, 4 of 4 images are here: status C000" for uid in ("1.1", "3.1")
    )
    with pytest.raises(PartialError, match=r"series 1.1: .*status C000 \(and 1 more\)"):
        done.check()
    (entry, _) = to_document(done, database)["00-retrieve"]["study"]
    assert [result["status"] for result in entry["1"]] == ["error", "success"]
    assert entry["1"][0]["data"] == "status C000\n"


def test_every_retrieve_is_settled_once_before_the_next_verb(database: Database, moves: Moves) -> None:
    options = ChainOptions(idle_s=3.5)
    done = run_chain(RESULT, parse_then("retrieve,status,report"), database=database, options=options)
    assert moves.waited == [(3, 3.5)]
    retrieved = [outcome for _, outcomes in done.verbs[0].studies for outcome in outcomes]
    assert [outcome.received for outcome in retrieved if isinstance(outcome, MoveOutcome)] == [4, 4, 4]
    assert done.failed == ()
    run_chain(RESULT, parse_then("status"), database=database)
    assert len(moves.waited) == 1


def test_images_that_were_sent_and_never_recorded_are_a_failure(database: Database, moves: Moves) -> None:
    moves.recorded = 3
    done = run_chain(RESULT, parse_then("retrieve,status"), database=database)
    assert len(done.failed) == 3
    assert done.failed[0] == "retrieve of series 1.1: missing, 3 of 4 images are here"


@pytest.mark.parametrize("then", ["retrieve,search", "search", "retrieve,Status"])
def test_unknown_verb_is_refused_before_anything_ran(database: Database, moves: Moves, then: str) -> None:
    with pytest.raises(InputError, match="is no verb; px knows retrieve, status, push, register, report"):
        run_chain(RESULT, parse_then(then), database=database)
    assert moves.asked == []


def test_retrieve_without_a_pacs_is_refused(database: Database, moves: Moves) -> None:
    nobody = FindResult(NO_PEER, Query(), RESULT.studies)
    with pytest.raises(InputError, match="no PACS is known"):
        run_chain(nobody, parse_then("status,retrieve"), database=database)
    run_chain(nobody, parse_then("retrieve"), database=database, node=NODE)
    assert len(moves.asked) == 3


def test_series_without_uid_is_refused(database: Database) -> None:
    blank = FindResult(NODE, Query(), (study("1", ""),))
    with pytest.raises(InputError, match="has no StudyInstanceUID or SeriesInstanceUID"):
        run_chain(blank, parse_then("status"), database=database)


def test_a_new_verb_gets_its_own_arguments(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Any] = []

    def push(scene: Scene) -> Iterator[Outcome]:
        got.append(dict(scene.args))
        yield from (None for _ in scene.series)

    monkeypatch.setitem(VERBS, "push", Verb(push, needs_images=True))
    run_chain(RESULT, [Step("report", {"x": 1}), Step("push", {"y": 2})], database=database)
    assert got == [{"y": 2}]


def test_status_outcomes(database: Database) -> None:
    done = run_chain(RESULT, parse_then("status"), database=database)
    outcomes = [outcome for _, of_study in done.verbs[0].studies for outcome in of_study]
    assert all(isinstance(outcome, SeriesStatus) for outcome in outcomes)
    assert done.failed == ()
    done.check()


def test_feedback_of_a_retrieve(database: Database, moves: Moves) -> None:
    moves.failing = {"1.2"}
    feedback = Feedback(RESULT, database)
    texts: list[str] = []
    run_chain(
        RESULT, parse_then("retrieve"), database=database, on_event=lambda event: texts.append(feedback.text(event))
    )
    lines = "".join(texts).splitlines()
    assert lines[:2] == ["", "[ STUDY retrieve ]"]
    assert "     Requesting 004 images for  [ 0007 ] AX 1.1               " in lines
    assert "     status C000" in lines
    (recorded,) = (
        line
        for line in golden.plain(golden.text("32-retrieve-fb.out")).splitlines()
        if "Axial 0" in line and "Req" in line
    )
    ref = SeriesRef(UID("5"), UID("5.1"), 4, "Axial 0 1.5mm")
    assert feedback.text(SeriesStarted(0, "retrieve", ref)) == f"{recorded}\n"
    assert feedback.text(SeriesStarted(0, "status", ref)) == ""
    assert feedback.text(SeriesDone(0, "retrieve", ref, MoveOutcome(ref, MoveState.SUCCESS, 0))) == ""
