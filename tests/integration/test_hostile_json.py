"""Mutated JSON on every way in: an answer or one clear line, never a traceback, a hang or a terminal's cursor moved."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pypx.cli import running
from pypx.cli.main import px
from pypx.model import jsontext
from support.limits import LONG, cpu_limit
from support.mutate import Mutator, deep
from support.pxrun import PxRunner

CASES = 5_000 if LONG else 400
LONGEST_LINE = 1_200


def item(tag: str | int, value: object, label: str) -> dict[str, object]:
    return {"tag": tag, "value": value, "label": label}


def find_document() -> dict[str, Any]:
    """All that documents of px and of pypx 3 hold, once."""

    def series(number: int) -> dict[str, Any]:
        return {
            "uid": item(0, number, "uid"),
            "SeriesInstanceUID": item("0020,000e", f"1.2.3.{number}", "SeriesInstanceUID"),
            "SeriesDescription": item("0008,103e", "AX T1", "SeriesDescription"),
            "NumberOfSeriesRelatedInstances": item("0020,1209", "24", "NumberOfSeriesRelatedInstances"),
            "Modality": item("0008,0060", "MR", "Modality"),
            "label": item(0, "SERIES", "RetrieveLevel"),
            "command": item(0, "/usr/bin/findscu", "command"),
            "status": item(0, "success", "status"),
        }

    counts = {name: {"status": True, "count": 24} for name in ("received", "requested", "packed", "pushed")}
    state = {"study": "StudyOK", "series": "SeriesMapMetaOK", "images": "ImagesAllReceivedOK"}
    study = {
        "uid": item(0, 0, "uid"),
        "StudyInstanceUID": item("0020,000d", "1.2.3", "StudyInstanceUID"),
        "PatientName": item("0010,0010", "A^B", "PatientName"),
        "PatientID": item("0010,0020", "42", "PatientID"),
        "StudyDate": item("0008,0020", "20200101", "StudyDate"),
        "series": [series(1), series(2)],
    }
    args = {"aet": "CHRIS", "aec": "ORTHANC", "serverIP": "127.0.0.1", "serverPort": "9", "PatientID": "42", "then": ""}
    then = {"do": True, "00-status": {"study": [{"1.2.3": [{"status": True, "state": state, "images": counts}]}]}}
    return {
        "status": "success", "command": "findscu", "data": [study], "args": args, "then": then, "problems": ["x"],
        "complete": "no",
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Way:
    """A command and the document it reads: on stdin, or where `{}` stands in its arguments."""

    args: tuple[str, ...]
    document: Any


PUSHED = {"status": True, "localFileList": ["/nowhere/1.dcm"], "objectFileList": ["SERVICES/PACS/X/1.dcm"]}
CUBE = ("--CUBEURL", "http://127.0.0.1:9/api/v1/", "--CUBEusername", "a", "--CUBEuserpasswd", "b")
FIND = json.dumps(find_document())
ACTION = {"action": "ls", "args": {"path": "a", "retSpec": ["name"], "substr": ""}}
PUT = {"action": "objPut", "args": {"localpath": "/nowhere", "toLocation": "x", "mapLocationOver": "/"}}
ENTRY = {"aet": "A", "aec": "B", "serverIP": "h", "serverPort": "104"}
LAYOUT = {"header": {"study": ["PatientName"], "series": ["Modality"]}, "body": {"series": ["SeriesDescription"]}}
QUERY = {"PatientID": "1", "StudyDate": "20200101-20210101", "StudyInstanceUID": "1.2", "Modality": ["MR", "CT"]}
WAYS = (
    *(Way(("report", "--printReport", form), find_document()) for form in ("tabular", "rawtext", "csv", "json")),
    Way(("report", "--jsonl"), find_document()),
    Way(("report", "--reportData", FIND, "--reportLayout", "{}"), LAYOUT),
    Way(("status",), find_document()),
    Way(("status", "--json"), find_document()),
    Way(("move", "--no-wait"), find_document()),
    Way(("push", "--storeBaseLocation", "{store}", "--json"), find_document()),
    Way(("register", *CUBE, "--upstreamFile", "-"), PUSHED),
    Way(("do", "--then", "status,report"), find_document()),
    Way(("do", "--then", "status", "--withFeedBack"), find_document()),
    Way(("do", "--then", "retrieve"), find_document()),
    Way(("do", "--then", "status", "--reportData", FIND, "--thenArgs", "{}"), {"db": "/nowhere"}),
    Way(("find", "--serverIP", "127.0.0.1", "--serverPort", "9", "--query-file", "-"), QUERY),
    Way(("smdb", "service", "PACS", "set", "key", "-"), ENTRY),
    Way(("smdb", "--action", "PACS", "--actionArgs", "{}"), {"key": ENTRY}),
    Way(("storage", "--storeBaseLocation", "{store}", "--do", "{}"), ACTION),
    Way(("storage", "--storeBaseLocation", "{store}", "--do", "{}"), PUT),
    Way(("--legacy", "report"), find_document()),
    Way(("--legacy", "report", "--printReport", "json"), find_document()),
    Way(("--legacy", "do", "--then", "status,report"), find_document()),
    Way(("--legacy", "do", "--then", "status", "--withFeedBack"), find_document()),
    Way(("--legacy", "do", "--then", "retrieve"), find_document()),
    Way(("--legacy", "smdb", "--action", "PACS", "--actionArgs", "{}"), {"key": ENTRY}),
    Way(("--legacy", "find", "--JSONargs", "{}"), {"serverIP": "127.0.0.1", "serverPort": "9", "PatientID": "4"}),
)

Run = Callable[[Way, bytes], Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a way in within this process, which is a hundred times as fast as a process each; no program can start."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PX_BASEMOUNT", str(tmp_path / "base"))
    for name in ("FINDSCU", "MOVESCU"):
        monkeypatch.setenv(f"PX_{name}", f"/nonexistent/{name.lower()}")
    bugs: list[Exception] = []
    unexpected = running._unexpected

    def note(argv: Sequence[str], error: Exception) -> int:
        bugs.append(error)
        return unexpected(argv, error)

    monkeypatch.setattr(running, "_unexpected", note)

    def one(way: Way, data: bytes) -> Result:
        text = data.decode("utf-8", "surrogateescape").replace("\0", "")
        args = [text if word == "{}" else word.replace("{store}", str(tmp_path / "store")) for word in way.args]
        with cpu_limit(20):
            result = CliRunner().invoke(px, args, input=None if "{}" in way.args else data)
        assert not bugs, "".join(traceback.format_exception(bugs[0]))
        assert isinstance(result.exception, (SystemExit, type(None)))
        return result

    return one


def check(result: Result, way: Way) -> None:
    assert "\x1b" not in result.output.replace("\x1b[0m", "")
    said = result.stderr.splitlines()
    assert all(len(line) <= LONGEST_LINE for line in said)
    if result.exit_code == 2 and "usage:" not in result.stderr:
        assert sum(line.startswith("px") for line in said if "no database is named" not in line) == 1, result.stderr


def test_mutated_documents_on_every_way_in(run: Run) -> None:
    for number in range(CASES):
        mutator = Mutator(f"json {number}")
        way = mutator.random.choice(WAYS)
        data = mutator.json(way.document)
        try:
            check(run(way, data), way)
        except Exception as error:
            raise AssertionError(f"case {number}: {way.args}: {data[:300]!r}: {error}") from error


BROKEN = {
    "nothing": b"",
    "half": b'{"data": [',
    "a list": b"[]",
    "a number": b"1",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep in a value": b'{"data": ' + json.dumps(deep(200)).encode() + b"}",
    "a key twice": b'{"data": [], "data": []}',
    "not a number": b'{"data": NaN}',
    "infinite": b'{"data": -Infinity}',
    "too large": b'{"data": 1e999}',
    "many digits": b'{"data": ' + b"9" * 100_000 + b"}",
    "half a pair": b'{"data": "\\ud800"}',
    "half a pair as key": b'{"\\udfff": 1}',
    "not UTF-8": b'{"data": "\xff"}',
    "UTF-16": '{"data": []}'.encode("utf-16"),
    "a NUL": b'{"data": "\0"}',
}
READERS = [way for way in WAYS if "{}" not in way.args]


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_no_document_is_refused_in_one_line(run: Run, data: bytes) -> None:
    for way in READERS:
        result = run(way, data)
        assert result.exit_code == 2, (way, result.stderr)
        if "--json" not in way.args:
            assert result.stdout == ""
        line = [line for line in result.stderr.splitlines() if "no database is named" not in line]
        assert len(line) == 1, (way, line)
        assert len(line[0]) < 400


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "a key stands twice in one object"),
        ('{"PatientID": 1, "PatientID": 2}', "the key 'PatientID' stands twice in one object"),
        (json.dumps(deep(jsontext.MAX_DEPTH)), "nested deeper than 64"),
        ("[" * 100_000, "nested deeper than 64"),
        ("NaN", "NaN is no number of JSON"),
        ("[1e400]", "a number is too large"),
        ("9" * 1001, "a number has 1001 digits, more than 1000"),
        ('["a\\ud800b"]', "\\ud800 is half of a surrogate pair, which is no text"),
        ("[1,]", "Illegal trailing comma before end of array"),
    ],
)
def test_reasons(text: str, reason: str) -> None:
    with pytest.raises(jsontext.JsonTextError) as caught:
        jsontext.parse_json(text)
    assert str(caught.value).startswith((reason, "Expecting value, line 1 column 4"))


def test_what_is_good_comes_through() -> None:
    value = {"a": [1, 2.5, "é\U0001f600\\ud800", None, True], "b": deep(60), "": {"a": {"a": 1}}}
    assert jsontext.parse_json(json.dumps(value)) == value
    assert jsontext.parse_json(json.dumps(value, ensure_ascii=False)) == value
    assert jsontext.parse_json("9" * 1000) == int("9" * 1000)


FOUND = {
    "an option that moves the cursor": (("--legacy", "find", "--JSONargs", "{}"), {"\x1b]0;owned\x07\x1b[2J": "x"}),
    "an option without end": (("--legacy", "find", "--JSONargs", "{}"), {"x" * 70_000: "x"}),
    "a path without end": (("storage", "--storeBaseLocation", "{store}", "--do", "{}"), {"action": "objPut", "args": {"localpath": "x" * 5000}}),
    "columns that are lists": (("storage", "--storeBaseLocation", "{store}", "--do", "{}"), {"action": "ls", "args": {"retSpec": [["name"]]}}),
    "a file name without end": (("register", *CUBE, "--upstreamFile", "-"), {**PUSHED, "localFileList": ["/" + "x" * 70_000]}),
    "a file name with a NUL": (("register", *CUBE, "--upstreamFile", "-"), {**PUSHED, "localFileList": ["/a\0b"]}),
    "a keyword without end": (("find", "--serverIP", "127.0.0.1", "--query-file", "-"), {"M" * 5000: {}}),
}  # fmt: skip
"""What has got through once."""


@pytest.mark.parametrize(("args", "document"), FOUND.values(), ids=FOUND)
def test_what_was_found(run: Run, args: tuple[str, ...], document: object) -> None:
    way = Way(args, document)
    result = run(way, json.dumps(document).encode())
    check(result, way)
    assert result.exit_code in (1, 2, 31)


def test_a_few_as_real_processes(px: PxRunner, basemount: Path) -> None:
    """A process has limits of its own: of recursion, of what its streams can encode."""
    for number, verb in enumerate(("report", "status", "report", "do")):
        mutator = Mutator(f"process {number}")
        done = px(verb, *(("--basemount", basemount) if verb != "report" else ()), input=mutator.json(find_document()))
        assert done.returncode in (0, 2, 12), done.stderr
    for name in ("deep", "half a pair", "not UTF-8", "a key twice"):
        done = px(command="px-report", input=BROKEN[name])
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
