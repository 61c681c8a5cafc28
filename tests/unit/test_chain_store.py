"""The verbs push and register of a chain: what their arguments may be, and what becomes of every series."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pypx.compat.feedback import Feedback
from pypx.compat.find_args import NO_PEER
from pypx.compat.then_json import to_document
from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.db.smdb import Database
from pypx.errors import InputError
from pypx.model.identifiers import UID, AETitle
from pypx.model.outcomes import FindResult, PushedFile, PushOutcome, RegisterOutcome, SeriesFound, StudyFound
from pypx.model.peers import FolderTarget, PacsNode, SwiftTarget
from pypx.model.query import Query
from pypx.model.records import SeriesRef
from pypx.services.cubeerrors import CubeUnreachableError
from pypx.services.storage import StorageUnreachableError
from pypx.workflows import chainstore
from pypx.workflows.chain import ChainOptions, Event, Scene, run_chain
from pypx.workflows.chainstore import push_step, register_step
from pypx.workflows.then import Step, parse_then, public_args

NODE = PacsNode("127.0.0.1", 104, AETitle("ORTHANC"), AETitle("OURS"), AETitle("OURS"))
CUBE = {"PX_CUBE_URL": "http://c.example.org/api/v1/", "PX_CUBE_PASSWORD": "canary"}
FOLDER = {"storeBaseLocation": "/mnt/store", "swiftServicesPACS": "CLINIC"}
REFS = tuple(SeriesRef(UID("1"), UID(uid), 2, f"AX {uid}") for uid in ("1.1", "1.2", "1.1"))
RESULT = FindResult(NODE, Query(), (StudyFound(UID("1"), (), tuple(SeriesFound(ref, ()) for ref in REFS)),))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    layout = Layout.of_basemount(tmp_path / "base")
    entry = {"ip": "10.0.0.2", "port": "8080", "login": "chris:one"}
    ServiceKeys(layout).set("swift", {"chris": entry})
    return Database.open(layout)


def scene(database: Database, args: dict[str, Any], *before: Step, **options: Any) -> Scene:
    return Scene(REFS, NODE, database, ChainOptions(**{"environ": {}, **options}), args, before)


def test_the_arguments_of_pypx(database: Database) -> None:
    args = {
        "db": str(database.layout.log), "swift": "chris", "swiftServicesPACS": "CLINIC", "swiftPackEachDICOM": True,
        "parseAllFilesWithSubStr": "dcm", "imageTemplate": "%SOPInstanceUID.dcm",
    }  # fmt: skip
    said: list[str] = []
    push = push_step(scene(database, args))
    chainstore.check_push(scene(database, args, notice=said.append))
    assert isinstance(push.destination.target, SwiftTarget)
    assert "'testing' is tried" in said[0]
    assert push.options.pacs_name == "CLINIC"
    assert push.options.templates is not None
    assert push.options.templates.image == "%SOPInstanceUID.dcm"
    assert (push.options.partial, push.options.jobs) == (False, 8)
    theirs = {"CUBE": "", "swiftServicesPACS": "CLINIC", "parseAllFilesWithSubStr": "dcm", "debug": False}
    register = register_step(scene(database, theirs, environ=CUBE))
    assert (register.cube.url, register.cube.username) == ("http://c.example.org/api/v1/", "chris")
    assert register.below is None


def test_more_arguments(database: Database) -> None:
    push = push_step(scene(database, {**FOLDER, "link": True, "replace": True, "jobs": "3", "partial": True}))
    assert isinstance(push.destination.target, FolderTarget)
    assert (push.link, push.carry.replace, push.options.jobs, push.options.partial) == (True, True, 3, True)
    to = {"serverIP": "10.0.0.9", "serverPort": 104, "aec": "ARCHIVE"}
    sent = push_step(scene(database, to, environ={"PX_STORAGE": "chris"})).destination.target
    assert isinstance(sent, PacsNode)
    assert (sent.port, sent.calling_aet) == (104, "OURS")
    twice = register_step(scene(database, {"partial": 2}, environ=CUBE)).options
    assert (twice.partial, twice.really_partial) == (True, True)


def test_register_looks_into_the_store_of_the_push_before_it(database: Database) -> None:
    pushed = Step("push", FOLDER)
    register = register_step(scene(database, {}, Step("retrieve", {}), pushed, environ=CUBE))
    assert register.below == FolderTarget(Path("/mnt/store"))
    assert register.options.pacs_name == "CLINIC"
    own = register_step(scene(database, {"swift": "chris", "swiftServicesPACS": "OTHER"}, pushed, environ=CUBE))
    assert isinstance(own.below, SwiftTarget)
    assert own.options.pacs_name == "OTHER"


@pytest.mark.parametrize(
    ("verb", "args", "says"),
    [
        ("push", {}, "no target is named"),
        ("push", {**FOLDER, "nonsense": 1}, "there is no 'nonsense'"),
        ("push", {**FOLDER, "CUBE": "x"}, "there is no 'CUBE'"),
        ("push", {"storeBaseLocation": "/m"}, "--swiftServicesPACS"),
        ("push", {**FOLDER, "jobs": 0}, "jobs must be a number"),
        ("push", {**FOLDER, "jobs": -1}, "jobs must be a number"),
        ("push", {**FOLDER, "jobs": 1.5}, "jobs must be a number"),
        ("push", {**FOLDER, "link": "yes"}, "link must be true or false"),
        ("push", {**FOLDER, "storeBaseLocation": ["/m"]}, "storeBaseLocation must be a text"),
        ("push", {**FOLDER, "db": "/elsewhere/log"}, "db names /elsewhere/log"),
        ("push", {"swift": "chris", "storage": "other", "swiftServicesPACS": "X"}, "twice which store"),
        ("push", {"swift": "chris", "link": True, "swiftServicesPACS": "X"}, "link is for a directory"),
        ("register", {"swiftServicesPACS": "x" * 21}, "21 characters"),
        ("register", {"CUBE": "nobody"}, "'nobody' is no entry"),
        ("register", {"serverIP": "x"}, "there is no 'serverIP'"),
    ],
)
def test_arguments_that_cannot_be_used_stop_the_chain_before_it_begins(
    verb: str, args: dict[str, Any], says: str, database: Database
) -> None:
    events: list[Event] = []
    steps = [Step("status", {}), Step(verb, args)]
    with pytest.raises(InputError, match=says):
        run_chain(
            RESULT, steps, database=database, options=ChainOptions(environ=CUBE), on_event=events.append
        )  # fmt: skip
    assert events == []


def pushed(ref: SeriesRef) -> PushOutcome:
    file = PushedFile(Path("/d/1.dcm"), "S/1.dcm", 1, "0", sent=True)
    return PushOutcome(ref, "folder", 1, 1, (file,), folder="S")


def test_every_series_has_an_outcome_though_each_is_pushed_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SeriesRef] = []

    def push_series(refs: Sequence[SeriesRef], *_args: Any) -> Iterator[PushOutcome]:
        for ref in refs:
            asked.append(ref)
            yield pushed(ref)

    monkeypatch.setattr(chainstore, "push_series", push_series)
    done = run_chain(RESULT, [Step("push", FOLDER)], database=database, options=ChainOptions(environ={}))
    assert [ref.SeriesInstanceUID for ref in asked] == ["1.1", "1.2"]
    (entry,) = to_document(done, database)["00-push"]["study"]
    assert [one["status"] for one in entry["1"]] == [True] * 3
    assert entry["1"][0]["objectFileList"] == ["S/1.dcm"]
    assert done.failed == ()


def test_a_store_that_fails_for_all_is_said_of_every_series_that_is_left(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def push_series(refs: Sequence[SeriesRef], *_args: Any) -> Iterator[PushOutcome]:
        yield pushed(refs[0])
        raise StorageUnreachableError("the store is gone")

    def refuse(ref: SeriesRef) -> RegisterOutcome:
        raise CubeUnreachableError(f"CUBE is gone at {ref.SeriesInstanceUID}")

    def register(refs: Sequence[SeriesRef], *_args: Any, **_values: Any) -> Iterator[RegisterOutcome]:
        return map(refuse, refs)

    monkeypatch.setattr(chainstore, "push_series", push_series)
    monkeypatch.setattr(chainstore, "register", register)
    steps = [Step("push", FOLDER), Step("register", {}), Step("report", {})]
    texts: list[str] = []
    feedback = Feedback(RESULT, database)
    done = run_chain(
        RESULT, steps, database=database, options=ChainOptions(environ=CUBE),
        on_event=lambda event: texts.append(feedback.text(event)),
    )  # fmt: skip
    assert done.failed == (
        "push of series 1.2: the store is gone",
        *(f"register of series {uid}: CUBE is gone at 1.1" for uid in ("1.1", "1.2", "1.1")),
    )
    document = to_document(done, database)
    assert [one["status"] for one in document["00-push"]["study"][0]["1"]] == [True, False, True]
    assert document["01-register"]["study"][0]["1"][0]["status"] is False
    assert "canary" not in json.dumps(document)
    text = "".join(texts)
    assert f"Pushing [ 000 ]: {'AX 1.2':<50}1.2\n    the store is gone\n" in text
    assert f"Registering [ 000 ]: {'AX 1.1':<50}1.1\n    CUBE is gone at 1.1\n" in text


def test_push_and_register_need_no_pacs(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chainstore, "push_series", lambda refs, *_args: map(pushed, refs))
    nobody = FindResult(NO_PEER, Query(), RESULT.studies)
    assert run_chain(nobody, [Step("push", FOLDER)], database=database).failed == ()


@pytest.mark.parametrize(
    ("then", "args", "shown"),
    [
        ("", "", ""),
        ("retrieve,push", ' ;{"swift":"chris"}', ' ;{"swift":"chris"}'),
        ("push", '{"swiftIP": "h", "swiftLogin": "a:b"}', '{"swiftIP": "h"}'),
        ("status,register", '{};{"CUBEURL": "u", "CUBEuserpasswd": "p;q"}', '{};{"CUBEURL": "u"}'),
    ],
)
def test_no_login_stands_in_what_is_shown(then: str, args: str, shown: str) -> None:
    assert public_args(then, args) == shown
    parse_then(then, shown)
