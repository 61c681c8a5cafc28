"""Each command: argv becomes the arguments of one workflow call, outcomes become output and exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pypx.cli.main import px
from pypx.db.smdb import Database
from pypx.errors import PeerUnreachableError
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.model.identifiers import UID, AETitle
from pypx.model.keywords import QueryModel
from pypx.model.outcomes import (
    FindResult,
    MoveOutcome,
    MoveState,
    SeriesFound,
    SeriesState,
    SeriesStatus,
    StudyFound,
    SubOperations,
)
from pypx.model.peers import PacsNode
from pypx.model.query import Query
from pypx.model.records import SeriesRef
from pypx.workflows.events import EventKind, ListenEvent
from pypx.workflows.fetch import FetchOptions
from pypx.workflows.placing import Placement

ADDRESS = ("--serverIP", "127.0.0.1", "--aet", "OURS")
Calls = list[dict[str, Any]]


def run(*args: object, **extra: Any) -> Result:
    return CliRunner().invoke(px, [str(arg) for arg in args], **extra)


def found(*series: str, study: str = "1.2") -> str:
    """A find document with one study."""
    entries = [
        {
            "SeriesInstanceUID": {"tag": "0020,000e", "value": uid, "label": "SeriesInstanceUID"},
            "NumberOfSeriesRelatedInstances": {"tag": "0020,1209", "value": "2", "label": "x"},
            "SeriesDescription": {"tag": "0008,103e", "value": "AX", "label": "x"},
        }
        for uid in series
    ]
    entry = {"StudyInstanceUID": {"tag": "0020,000d", "value": study, "label": "x"}, "series": entries}
    args = {"serverIP": "10.0.0.1", "serverPort": "104", "aec": "DOC", "aet": "DOCAET"}
    return json.dumps({"status": "success", "data": [entry], "args": args})


# --- move


class Mover:
    """Stands for the retrieve workflow: remembers what it was asked for, answers with `states` in turn."""

    def __init__(self) -> None:
        self.calls: Calls = []
        self.asked: list[Query] = []
        self.states: list[MoveState] = []
        self.received: int | None = None

    def retrieve(self, series: Any, node: PacsNode, **values: Any) -> Iterator[MoveOutcome]:
        refs = tuple(series)
        self.calls.append({"series": refs, "node": node, **values})
        for number, ref in enumerate(refs):
            state = self.states[number] if self.states else MoveState.SUCCESS
            good = state is MoveState.SUCCESS
            yield MoveOutcome(
                ref, state, 0 if good else 0xA702, SubOperations(2 if good else 0), None if good else "no"
            )

    def fetch(self, series: Any, node: PacsNode, database: Database, options: FetchOptions) -> Fetching:
        return Fetching(self, list(self.retrieve(series, node, database=database, options=options)))

    def find(self, query: Query, node: PacsNode, **_values: Any) -> FindResult:
        self.asked.append(query)
        refs = [SeriesRef(UID("1.2"), UID(uid), 2) for uid in ("1.2.3", "1.2.4")]
        study = StudyFound(UID("1.2"), (), tuple(SeriesFound(ref, ()) for ref in refs))
        return FindResult(node, query, (study,))


class Fetching:
    """Stands for a retrieve that is waited for and judged: `received` of two images are there."""

    def __init__(self, mover: Mover, outcomes: list[MoveOutcome]) -> None:
        self.mover = mover
        self.outcomes = outcomes

    def ask(self) -> Iterator[MoveOutcome]:
        yield from self.outcomes

    def settle(self, outcomes: Any) -> list[MoveOutcome]:
        self.mover.calls[-1]["settled"] = True
        return [self.judged(outcome) for outcome in outcomes]

    def judged(self, outcome: MoveOutcome) -> MoveOutcome:
        count = self.mover.received
        if count is None:
            count = 2 if outcome.ok else 0
        state = SeriesState.COMPLETE if count == 2 else SeriesState.MISSING
        missing = tuple(UID(f"9.{number}") for number in range(2 - count))
        verdict = SeriesStatus(outcome.series, state, 2, count, count, 0, 0, missing=missing)
        return replace(outcome, received=count, verdict=verdict)


@pytest.fixture
def mover(monkeypatch: pytest.MonkeyPatch) -> Mover:
    stand_in = Mover()
    monkeypatch.setattr("pypx.workflows.move.retrieve", stand_in.retrieve)
    monkeypatch.setattr("pypx.workflows.fetch.Fetch", stand_in.fetch)
    monkeypatch.setattr("pypx.workflows.chain.Fetch", stand_in.fetch)
    monkeypatch.setattr("pypx.workflows.find.find", stand_in.find)
    return stand_in


def test_move_of_given_series_asks_nothing_else(mover: Mover) -> None:
    result = run("move", *ADDRESS, "--StudyInstanceUID", "1.2", "--SeriesInstanceUID", "1.2.3,1.2.4",
                 "--series-instance-uid", "1.2.5", "--move-destination", "THERE", "--patient-root")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    (call,) = mover.calls
    assert [ref.SeriesInstanceUID for ref in call["series"]] == ["1.2.3", "1.2.4", "1.2.5"]
    assert {ref.StudyInstanceUID for ref in call["series"]} == {"1.2"}
    assert (call["node"].move_destination, call["node"].calling_aet) == ("THERE", "OURS")
    assert call["database"] is None
    assert call["model"] is QueryModel.PATIENT_ROOT
    assert mover.asked == []
    assert "3 of 3 series" in result.stderr


def test_move_of_a_study_asks_for_its_series(mover: Mover) -> None:
    assert run("move", *ADDRESS, "--StudyInstanceUID", "1.2").exit_code == 0
    assert mover.asked[0].value("StudyInstanceUID") == "1.2"
    assert [ref.SeriesInstanceUID for ref in mover.calls[0]["series"]] == ["1.2.3", "1.2.4"]


def test_move_of_what_the_pacs_does_not_have(mover: Mover) -> None:
    result = run("move", *ADDRESS, "--StudyInstanceUID", "1.2,1.9", "--SeriesInstanceUID", "1.2.3,1.2.9")
    assert result.exit_code == 12
    assert "1.2.9" in result.stderr
    assert mover.calls == []


@pytest.mark.parametrize("how", ["stdin", "file", "text"])
def test_move_of_what_was_found(how: str, mover: Mover, tmp_path: Path) -> None:
    text = found("1.2.3", "1.2.4")
    file = tmp_path / "found.json"
    file.write_text(text)
    args = {"stdin": [], "file": ["--reportDataFile", str(file)], "text": ["--reportData", text]}[how]
    result = run("move", *args, input=text if how == "stdin" else "")
    assert result.exit_code == 0, result.stderr
    (call,) = mover.calls
    assert [ref.NumberOfSeriesRelatedInstances for ref in call["series"]] == [2, 2]
    assert call["node"] == PacsNode("10.0.0.1", 104, AETitle("DOC"), AETitle("DOCAET"), AETitle("DOCAET"))


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([MoveState.SUCCESS, MoveState.SUCCESS], 0),
        ([MoveState.SUCCESS, MoveState.FAILED], 3),
        ([MoveState.WARNING, MoveState.SUCCESS], 3),
        ([MoveState.FAILED, MoveState.NO_ANSWER], 12),
    ],
)
def test_exit_code_of_move(states: list[MoveState], code: int, mover: Mover) -> None:
    mover.states = states
    for form in ([], ["--json"], ["--jsonl"]):
        assert run("move", *form, input=found("1.2.3", "1.2.4")).exit_code == code


def test_what_move_prints(mover: Mover) -> None:
    mover.states = [MoveState.SUCCESS, MoveState.FAILED]
    document = json.loads(run("move", "--json", input=found("1.2.3", "1.2.4")).stdout)
    assert document["status"] == "error"
    assert [one["state"] for one in document["series"]] == ["success", "failed"]
    assert {"data", "command", "returncode"} <= document.keys()
    first, second = map(json.loads, run("move", "--jsonl", input=found("1.2.3", "1.2.4")).stdout.splitlines())
    assert (first["completed"], first["status"]) == (2, "0000")
    assert (second["status"], second["error"]) == ("A702", "no")
    rows = run("move", input=found("1.2.3")).stdout.splitlines()
    assert rows[0].split("\t")[0] == "state"
    assert rows[1].split("\t")[0] == "success"


@pytest.mark.parametrize(("received", "code"), [(2, 0), (1, 3), (0, 3)])
def test_move_judges_where_a_basemount_is_named(received: int, code: int, mover: Mover, tmp_path: Path) -> None:
    mover.received = received
    args = ["move", "--basemount", tmp_path / "b", "--idle", "3", "--retry", "2", "--retry-wait", "0.5", "--force",
            "--no-expect"]  # fmt: skip
    result = run(*args, input=found("1.2.3"))
    assert result.exit_code == code
    options = mover.calls[0]["options"]
    assert (options.idle_s, options.retries, options.pause_s, options.force, options.expect) == (3, 2, 0.5, True, False)
    assert isinstance(mover.calls[0]["database"], Database)
    assert mover.calls[0]["settled"]
    assert ("1 of 1 series" if not code else "0 of 1 series") in result.stderr
    assert run(*args, "--no-wait", input=found("1.2.3")).exit_code == 0
    assert "settled" not in mover.calls[1]


def test_the_verdict_as_json(mover: Mover, tmp_path: Path) -> None:
    mover.received = 1
    args = ["move", "--basemount", tmp_path / "b"]
    document = json.loads(run(*args, "--json", input=found("1.2.3", "1.2.4")).stdout)
    assert document["complete"] is False
    (record,) = map(json.loads, run(*args, "--jsonl", input=found("1.2.3")).stdout.splitlines())
    assert record == document["series"][0]
    assert (record["state"], record["answer"], record["status"]) == ("missing", "success", "0000")
    assert (record["expected"], record["received"], record["missing"]) == (2, 1, ["9.0"])
    heading, row = (line.split("\t") for line in run(*args, input=found("1.2.3")).stdout.splitlines())
    assert row[heading.index("missing")] == "1"


def test_an_unreachable_pacs_under_json(mover: Mover, monkeypatch: pytest.MonkeyPatch) -> None:
    def retrieve(*_args: object, **_values: object) -> Iterator[MoveOutcome]:
        def fail(_number: int) -> MoveOutcome:
            raise PeerUnreachableError("no connection")

        return map(fail, range(1))

    monkeypatch.setattr("pypx.workflows.move.retrieve", retrieve)
    result = run("move", "--json", input=found("1.2.3"))
    assert result.exit_code == 10
    assert json.loads(result.stdout)["error"] == "no connection"


@pytest.mark.parametrize(
    ("args", "text", "says"),
    [
        (["--SeriesInstanceUID", "1.2.3"], "", "needs --StudyInstanceUID"),
        (["--StudyInstanceUID", "one"], "", "not a UID"),
        ([], "", "empty"),
        ([], "{", "not JSON"),
        ([], "[]", "list"),
        ([], '{"data": [{"series": []}]}', "StudyInstanceUID"),
        (["--intraSeriesRetrieveDelay", "-3"], '{"data": []}', "-3"),
        (["--wait"], found("1.2.3"), "--basemount"),
        (["--reportDataFile", "/nonexistent"], "", "No such file"),
    ],
)
def test_what_cannot_be_moved(args: list[str], text: str, says: str, mover: Mover) -> None:
    result = run("move", *ADDRESS, *args, input=text)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert mover.calls == []


def test_nothing_found_is_nothing_to_move(mover: Mover) -> None:
    result = run("move", *ADDRESS, input='{"data": []}')
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == "nothing to move: the find document holds no series\n"
    assert json.loads(run("move", *ADDRESS, "--json", input='{"data": []}').stdout)["series"] == []
    assert mover.calls == []


def test_a_failed_find_is_not_moved(mover: Mover) -> None:
    failed = json.dumps({"status": "error", "data": "no connection to X"})
    result = run("move", *ADDRESS, input=failed)
    assert result.exit_code == 12
    assert "reports a failed find; that find told why" in result.stderr
    assert "no connection to X" in run("move", "-v", *ADDRESS, input=failed).stderr


# --- do


def test_do_takes_pacs_and_database_of_the_document(mover: Mover, tmp_path: Path) -> None:
    document = json.loads(found("1.2.3"))
    document["args"] |= {"dblogbasepath": str(tmp_path / "b" / "log"), "then": "status"}
    text = json.dumps(document)
    result = run("do", "--then", "retrieve", input=text)
    assert result.exit_code == 0, result.stderr
    assert mover.calls[0]["node"].host == "10.0.0.1"
    assert mover.calls[0]["database"].layout.log == tmp_path / "b" / "log"
    assert "1.2.3" in result.stdout
    upstream = run("do", "--json", input=text)
    assert list(json.loads(upstream.stdout)) == ["do", "00-status"]
    run("do", "--then", "retrieve", "--serverIP", "10.0.0.9", "--basemount", tmp_path / "c", input=text)
    assert mover.calls[-1]["node"].host == "10.0.0.9"
    assert mover.calls[-1]["database"].layout.base == tmp_path / "c"


def test_do_says_which_series_failed(mover: Mover, tmp_path: Path) -> None:
    mover.states = [MoveState.SUCCESS, MoveState.FAILED]
    result = run("do", "--then", "retrieve", "--basemount", tmp_path / "b", input=found("1.2.3", "1.2.4"))
    assert result.exit_code == 3
    assert "1.2.4" in result.stderr


@pytest.mark.parametrize(
    ("args", "text", "says"),
    [
        ([], "", "empty"),
        ([], "nonsense", "not JSON"),
        ([], found("1.2.3"), "--then"),
        (["--then", "fetch"], found("1.2.3"), "fetch"),
        (["--then", "status"], found("1.2.3"), "PX_BASEMOUNT"),
        (["--then", "retrieve", "--basemount", "/nonexistent"], '{"data": []}', "no PACS address"),
    ],
)
def test_what_cannot_be_done(args: list[str], text: str, says: str) -> None:
    result = run("do", *args, input=text)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


# --- status


def test_status_of_uids(tmp_path: Path) -> None:
    args = ["status", "--basemount", tmp_path / "b", "--StudyInstanceUID", "1.2", "--SeriesInstanceUID", "1.2.3"]
    document = json.loads(run(*args, "--json").stdout)
    assert document["state"]["series"] == "NoSeriesFound"
    assert json.loads(run(*args, "--json", "--verifySeriesInStudy").stdout)["state"]["study"] == "StudyNotFound"
    several = json.loads(run(*args, "--series-instance-uid", "1.2.4", "--json").stdout)
    assert [one["status"] for one in several] == [False, False]
    record = json.loads(run(*args, "--jsonl").stdout)
    assert record["state"] == "not-recorded"
    for key in ("StudyInstanceUID", "SeriesInstanceUID", "expected", "received", "pushed", "registered", "missing"):
        assert key in record
    assert not (tmp_path / "b").exists()


def test_status_of_what_was_found(tmp_path: Path) -> None:
    result = run("status", "--db", tmp_path / "b" / "log", input=found("1.2.3", "1.2.4"))
    assert result.exit_code == 0
    assert [line.split("\t")[-1] for line in result.stdout.splitlines()] == ["SeriesInstanceUID", "1.2.3", "1.2.4"]


def test_status_of_an_unknown_patient(tmp_path: Path) -> None:
    result = run("status", "--basemount", tmp_path, "--PatientID", "nobody")
    assert result.exit_code == 0
    assert "nothing of it is recorded" in result.stderr
    assert f"there is no BASEMOUNT at {tmp_path}" in result.stderr


# --- report


@pytest.mark.parametrize("form", ["tabular", "rawText", "csv", "json"])
def test_report_forms(form: str) -> None:
    result = run("report", "--printReport", form, "--reportBodySeriesTags", "SeriesInstanceUID", input=found("1.2.3"))
    assert result.exit_code == 0, result.stderr
    assert "1.2.3" in result.stdout
    assert "\x1b" not in run("report", "--printReport", form, "--colorize", "dark", input=found("1.2.3")).stdout


def test_report_sources(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    file.write_text(found("1.2.3"))
    tabular = run("report", input=found("1.2.3")).stdout
    assert run("report", file).stdout == tabular
    assert run("report", "--reportDataFile", file).stdout == tabular
    assert run("report", "--reportData", found("1.2.3")).stdout == tabular


def test_report_csv_options() -> None:
    args = ["report", "--printReport", "csv", "--csvPrintHeaders", "--csvSeparator", ";"]
    tags = ["--reportHeaderStudyTags", "StudyInstanceUID", "--reportHeaderSeriesTags", "SeriesDescription"]
    body = ["--reportBodySeriesTags", "SeriesInstanceUID"]
    result = run(*args, *tags, *body, input=found("1.2.3"))
    assert result.stdout == "StudyInstanceUID;SeriesDescription;SeriesInstanceUID\n1.2;AX;1.2.3\n"


def test_report_of_an_unknown_tag_tells() -> None:
    result = run("report", "--reportBodySeriesTags", "SeriesDescripton,seriesStatus", input=found("1.2.3"))
    assert result.exit_code == 0
    assert "did you mean SeriesDescription" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert run("report", "--seriesSpecial", "seriesStatus", input=found("1.2.3")).stderr == ""


def test_report_records() -> None:
    (line,) = run("report", "--jsonl", input=found("1.2.3")).stdout.splitlines()
    assert json.loads(line)["SeriesInstanceUID"] == "1.2.3"


@pytest.mark.parametrize(
    ("args", "text", "code", "says"),
    [
        ([], "", 2, "empty"),
        ([], "{", 2, "not JSON"),
        (["--printReport", "html"], found("1.2.3"), 2, "html"),
        (["--reportLayout", "{"], found("1.2.3"), 2, "--reportLayout"),
        ([], '{"status": "error", "data": "gone"}', 12, "a failed find; that find told why"),
        (["-v"], '{"status": "error", "data": "gone"}', 12, "a failed find: gone"),
    ],
)
def test_what_cannot_be_reported(args: list[str], text: str, code: int, says: str) -> None:
    result = run("report", *args, input=text)
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "command", [["report"], ["do", "--then", "status"], ["move", "--serverIP", "h"], ["status", "--db", "/x"]]
)
def test_a_terminal_as_stdin_does_not_hang(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypx.cli.inputs.stdin_is_terminal", lambda: True)
    result = run(*command)
    assert result.exit_code == 2
    assert "pipe" in result.stderr


# --- repack


@pytest.fixture
def repacked(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[FileState]], Calls]:
    """Make the workflow end with these states; returns what it is asked."""

    def answer(states: list[FileState]) -> Calls:
        calls: Calls = []

        def repack(sources: Any, database: Database, options: Any, *_tellers: Any) -> Iterator[FileOutcome]:
            calls.append({"sources": list(sources), "layout": database.layout, "options": options})
            for number, state in enumerate(states):
                bad = state in {FileState.REJECTED, FileState.CONFLICT}
                yield FileOutcome(Path(f"/in/{number}.dcm"), state, None, None, "no good" if bad else None)

        monkeypatch.setattr("pypx.workflows.repack.repack", repack)
        return calls

    return answer


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([FileState.FILED, FileState.DUPLICATE], 0),
        ([FileState.FILED, FileState.REJECTED], 3),
        ([FileState.CONFLICT, FileState.FILED], 3),
        ([FileState.REJECTED], 50),
        ([], 50),
    ],
)
def test_exit_code_of_repack(states: list[FileState], code: int, repacked: Any, tmp_path: Path) -> None:
    repacked(states)
    for form in ([], ["--json"], ["--jsonl"]):
        result = run("repack", *form, "--basemount", tmp_path, "/in")
        assert result.exit_code == code
    assert json.loads(run("repack", "--json", "--basemount", tmp_path, "/in").stdout)["status"] is (code == 0)
    if code == 3:
        assert "no good" in result.stderr


@pytest.mark.parametrize(
    ("args", "sources", "placement", "recursive", "substrings"),
    [
        (["/in", "/more.dcm"], ["/in", "/more.dcm"], Placement.COPY, True, ()),
        (["--link", "--no-recursive", "/in"], ["/in"], Placement.LINK, False, ()),
        (["--xcrdir", "/in", "--xcrfile", "a.dcm", "--cleanup"], ["/in/a.dcm"], Placement.MOVE, True, ()),
        (["-p", "/in", "-f", "a.dcm"], ["/in/a.dcm"], Placement.COPY, True, ()),
        (["--xcrdirfile", "/in/b.dcm", "--move"], ["/in/b.dcm"], Placement.MOVE, True, ()),
        (["-p", "/in", "--parseAllFilesWithSubStr", "dcm, IMA"], ["/in"], Placement.COPY, False, ("dcm", "IMA")),
    ],
)
def test_what_is_repacked(
    args: list[str], sources: list[str], placement: Placement, recursive: bool, substrings: tuple[str, ...],
    repacked: Any, tmp_path: Path,
) -> None:  # fmt: skip
    calls = repacked([FileState.FILED])
    result = run(
        "repack", *args, "-l", tmp_path / "b" / "log", "-d", tmp_path / "d", "--imageTemplate", "%SOPInstanceUID"
    )
    assert result.exit_code == 0, result.stderr
    (call,) = calls
    assert call["sources"] == [Path(source) for source in sources]
    assert (call["layout"].log, call["layout"].data) == (tmp_path / "b" / "log", tmp_path / "d")
    options = call["options"]
    assert (options.placement, options.recursive, options.substrings) == (placement, recursive, substrings)
    assert options.templates.image == "%SOPInstanceUID"


def test_bad_input_of_repack_leaves_nothing(tmp_path: Path) -> None:
    base, folder = tmp_path / "b", tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("not DICOM")
    assert run("repack", "--basemount", base, folder).exit_code == 50
    assert run("repack", "--basemount", base, folder / "absent").exit_code == 2
    assert run("repack", "--basemount", base).exit_code == 2
    assert run("repack", "--basemount", base, "--link", "--move", folder).exit_code == 2
    assert run("repack", "--basemount", base, "--imageTemplate", "%_nofunc_PatientID", folder).exit_code == 2
    assert not base.exists()


# --- listen


def test_listen_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: Calls = []

    def listen(layout: Any, options: Any, on_event: Callable[[ListenEvent], None]) -> None:
        calls.append({"layout": layout, "options": options})
        on_event(ListenEvent(EventKind.READY, address="0.0.0.0", port=11113, aet="CHRIS", basemount="/b"))
        on_event(ListenEvent(EventKind.SERIES, SeriesInstanceUID="1.2.3", new=2, total=2))
        on_event(ListenEvent(EventKind.REJECTED_FILE, reason="cut short"))

    monkeypatch.setattr("pypx.workflows.listen.listen", listen)
    args = ["listen", "--basemount", tmp_path, "--port", "11113", "--aet", "CHRIS"]
    more = ["--bind", "127.0.0.1", "--allow-calling", "A,B", "--allow-calling", "C", "--allow-from", "10.0.0.0/24",
            "--max-associations", "3", "--max-backlog", "9", "--min-free", "5M", "--drain", "7"]  # fmt: skip
    result = run(*args, *more)
    assert result.exit_code == 0, result.stderr
    options = calls[0]["options"]
    assert calls[0]["layout"].base == tmp_path
    assert (options.port, options.bind, options.aet) == (11113, "127.0.0.1", "CHRIS")
    assert options.calling_aets == {"A", "B", "C"}
    assert [str(network) for network in options.networks] == ["10.0.0.0/24"]
    assert (options.max_associations, options.max_backlog, options.drain_s) == (3, 9, 7)
    assert options.min_free_bytes == 5 << 20
    assert result.stdout == ""
    assert "ready" in result.stderr.splitlines()[0]
    assert "cut short" in result.stderr
    assert "1.2.3" not in result.stderr
    assert "1.2.3" in run(*args, "-v").stderr
    lines = run(*args, "--jsonl").stdout.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["ready", "series", "rejected-file"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--basemount", "/b"], "--port"),
        (["--port", "1"], "PX_BASEMOUNT"),
        (["--basemount", "/b", "--port", "1", "--min-free", "much"], "much"),
        (["--basemount", "/b", "--port", "99999"], "99999"),
        (["--basemount", "/b", "--port", "1", "--aet", "x" * 17], "AE title"),
        (["--basemount", "/b", "--port", "1", "--allow-from", "here"], "here"),
    ],
)
def test_what_cannot_be_listened_to(args: list[str], says: str) -> None:
    result = run("listen", *args)
    assert result.exit_code == 2
    assert says in result.stderr
