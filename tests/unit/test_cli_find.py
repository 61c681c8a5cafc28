"""px find: what stands on the command line or in a query file becomes a Query; what is found is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pypx.cli.main import px
from pypx.model.identifiers import UID
from pypx.model.keywords import QueryModel
from pypx.model.outcomes import Completeness, FindResult, SeriesFound, StudyFound
from pypx.model.peers import PacsNode
from pypx.model.query import Query
from pypx.model.records import Element, SeriesRef

Asked = list[dict[str, Any]]

SERIES = SeriesFound(
    SeriesRef(UID("1.2"), UID("1.2.3"), 4, "T1 [fast]\x1b[31m"),
    (
        Element("0008,0060", "Modality", "MR"),
        Element("0008,103e", "SeriesDescription", "T1 [fast]\x1b[31m"),
        Element("0020,000e", "SeriesInstanceUID", "1.2.3"),
        Element("0020,1209", "NumberOfSeriesRelatedInstances", "4"),
    ),
)
STUDY = StudyFound(
    UID("1.2"),
    (
        Element("0010,0010", "PatientName", "DOE^JANE"),
        Element("0010,0020", "PatientID", "42"),
        Element("0010,0030", "PatientBirthDate", "19800101"),
        Element("0020,000d", "StudyInstanceUID", "1.2"),
    ),
    (SERIES,),
)


class Pacs:
    """Stands for the workflow: remembers what it was asked, answers what it was told to."""

    def __init__(self) -> None:
        self.asked: Asked = []
        self.studies: tuple[StudyFound, ...] = (STUDY,)
        self.problems: tuple[str, ...] = ()

    def find(self, query: Query, node: PacsNode, **values: Any) -> FindResult:
        self.asked.append({"query": query, "node": node, **values})
        return FindResult(node, query, self.studies, Completeness.YES, self.problems)


@pytest.fixture
def pacs(monkeypatch: pytest.MonkeyPatch) -> Pacs:
    stand_in = Pacs()
    monkeypatch.setattr("pypx.workflows.find.find", stand_in.find)
    return stand_in


def run(*args: str, **extra: Any) -> Result:
    return CliRunner().invoke(px, ["find", "--serverIP", "127.0.0.1", *args], **extra)


def matched(pacs: Pacs, *args: str, **extra: Any) -> dict[str, str]:
    result = run(*args, **extra)
    assert result.exit_code == 0, result.stderr
    query = pacs.asked[-1]["query"]
    return {key.keyword: key.value for key in query.match}


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (["--PatientID", "42"], {"PatientID": "42"}),
        (["--patient-id=42", "--modality", "MR"], {"PatientID": "42", "Modality": "MR"}),
        (["--PatientBirthDate", "19800101"], {"PatientBirthDate": "19800101"}),
        (["--PatientBirthDate=1980-01-01", "--json"], {"PatientBirthDate": "19800101"}),
        (["--StudyDate", "-20240131"], {"StudyDate": "-20240131"}),
        (["--PatientBirthDate", "-19800101"], {"PatientBirthDate": "-19800101"}),
        (["--patient-birth-date", "19800101"], {"PatientBirthDate": "19800101"}),
        (["--kvp=120"], {"KVP": "120"}),
        (["--PatientID", "42", "--patient-id", "42"], {"PatientID": "42"}),
        (["--key", "NumberOfStudyRelatedSeries="], {"NumberOfStudyRelatedSeries": ""}),
        (["--key", "BodyPartExamined=HEAD", "--key", "StudyID=a=b"], {"BodyPartExamined": "HEAD", "StudyID": "a=b"}),
        (["--key", "BodyPartExamined="], {"BodyPartExamined": ""}),
        (
            ["--PatientName", "$(id)*", "--SeriesDescription", "a]b"],
            {"PatientName": "$(id)*", "SeriesDescription": "a]b"},
        ),
        (["--SeriesInstanceUID", "1.2,1.3"], {"SeriesInstanceUID": "1.2\\1.3"}),
        (["--PatientID", "", "--Modality", "CT"], {"Modality": "CT"}),
        (["--PatientID", "42", "--key", "PatientID=42"], {"PatientID": "42"}),
        ([], {}),
    ],
)
def test_matching_keys(args: list[str], match: dict[str, str], pacs: Pacs) -> None:
    assert matched(pacs, *args) == match


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"PatientID": "42", "SeriesNumber": 3}', {"PatientID": "42", "SeriesNumber": "3"}),
        ('\ufeff{"StudyInstanceUID": ["1.2", "1.3"]}', {"StudyInstanceUID": "1.2\\1.3"}),
        (
            "# a comment\n\nPatientName = DOE^JANE\nStudyDate=20240101-\n",
            {"PatientName": "DOE^JANE", "StudyDate": "20240101-"},
        ),
        ("PatientID=42\r\nModality=MR\r\n", {"PatientID": "42", "Modality": "MR"}),
    ],
)
def test_query_files(text: str, match: dict[str, str], pacs: Pacs, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(text, encoding="utf-8")
    from_file = matched(pacs, "--query-file", str(file))
    assert from_file == matched(pacs, "--query-file", "-", input=text)
    assert from_file == match


@pytest.mark.parametrize(
    ("args", "text", "says"),
    [
        (["--PatientBirthdate", "x"], "", "PatientBirthDate"),
        (["--PatientBirthDate"], "", "needs a value"),
        (["--PatientBirthDate", "--json"], "", "needs a value"),
        (["--patient-nam", "x"], "", "--patient-name"),
        (["--qqq", "x"], "", "no DICOM keyword either"),
        (["--key", "PatientNme=x"], "", "PatientName"),
        (["--key", "PatientName"], "", "KEYWORD=VALUE"),
        (["--PatientID", "1", "--key", "PatientID=2"], "", "twice"),
        (["--PatientID", "1", "--PatientID", "2"], "", "twice"),
        (["--StudyDate", "20241301"], "", "StudyDate: the value is not a day of the calendar"),
        (["--StudyDate", "20241301", "-v"], "", "20241301"),
        (["--QueryRetrieveLevel", "IMAGE"], "", "--StudyOnly"),
        (["--key", "SpecificCharacterSet="], "", "--query-charset"),
        (["--NumberOfStudyRelatedInstances", "3"], "", "cannot be matched"),
        (["--InstanceNumber", "1"], "", "belongs to images"),
        (["--query-file", "-"], "SOPInstanceUID=1.2", "belongs to images"),
        (["--query-charset", "ISO_IR192"], "", "'ISO_IR 192'"),
        (["--query-charset", "BLA"], "", "no defined term"),
        (["--json", "--jsonl"], "", "--jsonl"),
        (["--StudyDate", "20240201-20240101"], "", "ends before it begins"),
        (["--StudyInstanceUID", "1.2;id"], "", "not a UID"),
        (["--query-file", "-"], "", "no matching key"),
        (["--query-file", "-"], '{"PatientID"', "not JSON"),
        (["--query-file", "-"], '["PatientID"]', "object"),
        (["--query-file", "-"], '{"PatientID": {"a": 1}}', "PatientID"),
        (["--query-file", "-"], '{"PatientID": true}', "PatientID"),
        (["--query-file", "-"], "PatientID", "KEYWORD=VALUE"),
        (["--query-file", "/nonexistent"], "", "No such file"),
        (["--QueryReturnTags", "PatientNme"], "", "PatientName"),
        (["stray"], "", "extra argument"),
        (["stray", "-v"], "", "stray"),
    ],
)
def test_what_cannot_be_asked(args: list[str], text: str, says: str, pacs: Pacs) -> None:
    result = run(*args, input=text)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert (result.stdout == "") is ("--json" not in args)
    assert pacs.asked == []


def test_not_utf8(pacs: Pacs) -> None:
    result = run("--query-file", "-", input=b"PatientName=M\xdcLLER\n")
    assert result.exit_code == 2
    assert "UTF-8" in result.stderr


def test_how_to_ask(pacs: Pacs) -> None:
    args = [
        "--StudyOnly",
        "--QueryReturnTags",
        "PatientName, StudyDate",
        "--patient-root",
        "--query-charset",
        "ISO_IR 100",
    ]
    assert run(*args, "--jobs", "3", "--findscu", "/opt/findscu").exit_code == 0
    asked = pacs.asked[0]
    query = asked["query"]
    assert (query.study_only, query.return_keys) == (True, ("PatientName", "StudyDate"))
    assert (query.model, query.charset) == (QueryModel.PATIENT_ROOT, "ISO_IR 100")
    assert asked["jobs"] == 3
    assert asked["programs"].findscu == "/opt/findscu"


@pytest.mark.parametrize(("args", "jobs"), [((), None), (("--jobs", "1"), 1), (("--jobs", "5"), 5)])
def test_associations(pacs: Pacs, args: tuple[str, ...], jobs: int | None) -> None:
    assert run(*args).exit_code == 0
    assert pacs.asked[0]["jobs"] == jobs


def test_plain_rows_in_a_pipe(pacs: Pacs) -> None:
    result = run("--PatientBirthDate", "19800101")
    heading, row = result.stdout.splitlines()
    cells = dict(zip(heading.split("\t"), row.split("\t"), strict=True))
    assert cells["PatientName"] == "DOE^JANE"
    assert cells["PatientBirthDate"] == "19800101"
    assert cells["Images"] == "4"
    assert cells["SeriesInstanceUID"] == "1.2.3"
    assert cells["SeriesDescription"] == "T1 [fast]\\x1b[31m"
    assert "1 series in 1 study" in result.stderr


def test_quiet_says_nothing(pacs: Pacs) -> None:
    assert run("-v", "0").stderr == ""


def test_a_record_a_line(pacs: Pacs) -> None:
    (line,) = run("--jsonl").stdout.splitlines()
    record = json.loads(line)
    assert record["PatientID"] == "42"
    assert record["SeriesDescription"] == "T1 [fast]\x1b[31m"
    assert (record["StudyInstanceUID"], record["SeriesInstanceUID"]) == ("1.2", "1.2.3")


def test_the_document(pacs: Pacs) -> None:
    result = run("--PatientID", "42", "--json", env={"PX_BASEMOUNT": "/nonexistent/base"})
    document = json.loads(result.stdout)
    assert document["status"] == "success"
    assert document["data"][0]["series"][0]["SeriesInstanceUID"]["value"] == "1.2.3"
    assert document["args"]["PatientID"] == "42"
    assert document["args"]["dblogbasepath"] == "/nonexistent/base/log"
    assert result.stdout.splitlines()[1].startswith('    "')


def test_no_match_is_no_failure(pacs: Pacs) -> None:
    pacs.studies = ()
    result = run("--PatientID", "nobody")
    assert result.exit_code == 0
    assert "no match" in result.stderr


def test_an_answer_with_gaps_is_3(pacs: Pacs) -> None:
    pacs.problems = ("study 1.2: the PACS aborted",)
    for form in ([], ["--json"], ["--jsonl"]):
        result = run(*form)
        assert result.exit_code == 3
        assert "study 1.2: the PACS aborted" in result.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--then", "retrieve"], "PX_BASEMOUNT"),
        (["--then", "retrieve,fetch"], "fetch"),
        (["--then", "status", "--thenArgs", "{}"], "PX_BASEMOUNT"),
        (["--then", "status", "--thenArgs", "{};{}"], "--thenArgs"),
        (["--thenArgs", "{}"], "--then"),
        (["--then", "retrieve", "--basemount", "/nonexistent/b", "--intraSeriesRetrieveDelay", "soon"], "soon"),
    ],
)
def test_a_chain_is_checked_before_the_pacs_is_asked(args: list[str], says: str, pacs: Pacs) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert says in result.stderr
    assert pacs.asked == []


def test_then_report_needs_no_basemount(pacs: Pacs) -> None:
    result = run("--then", "report")
    assert result.exit_code == 0, result.stderr
    assert "DOE^JANE" in result.stdout


def test_then_status_reads_the_basemount(pacs: Pacs, tmp_path: Path) -> None:
    args = ["--then", "status", "--basemount", str(tmp_path / "base")]
    result = run(*args)
    assert result.exit_code == 0, result.stderr
    assert "not-recorded" in result.stdout
    (record,) = [json.loads(line) for line in run(*args, "--jsonl").stdout.splitlines()]
    assert (record["verb"], record["state"], record["SeriesInstanceUID"]) == ("status", "not-recorded", "1.2.3")
    document = json.loads(run(*args, "--json").stdout)
    assert document["then"]["00-status"]["study"][0]["1.2"][0]["state"]["series"] == "NoSeriesFound"
    assert not (tmp_path / "base").exists()


def test_feedback_goes_to_stderr(pacs: Pacs, tmp_path: Path) -> None:
    result = run("--then", "status", "--withFeedBack", "--basemount", str(tmp_path / "base"))
    assert "[ STUDY status ]" in result.stderr
    assert "[ STUDY status ]" not in result.stdout
