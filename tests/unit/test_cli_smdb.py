"""px smdb: its sub-commands, and pypx's actions with pypx's documents."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pypx.cli.main import px
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.outcomes import EchoOutcome
from pypx.model.peers import PacsNode
from pypx.model.records import ImageRecord, Instance

ENTRY = '{"serverIP": "10.0.0.5", "serverPort": "4242", "aec": "ORTHANC", "aet": "CHRIS"}'
TAGS = {
    "PatientID": "42", "PatientName": "DOE^JANE", "StudyDate": "20240131", "Modality": "MR",
    "SeriesDescription": "T1", "SeriesNumber": "2",
}  # fmt: skip


def run(*args: object, **extra: Any) -> Result:
    return CliRunner().invoke(px, ["smdb", *(str(arg) for arg in args)], **extra)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A BASEMOUNT that has one series with two instances."""
    root = tmp_path / "base"
    database = Database.create(Layout.of_basemount(root))
    folder = root / "data" / "p" / "s"
    folder.mkdir(parents=True)
    for number in (1, 2):
        uid = UID(f"1.2.3.{number}")
        instance = Instance(UID("1.2"), UID("1.2.3"), uid, "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1", TAGS)
        (folder / f"{number}.dcm").write_bytes(b"x")
        database.add_headers(instance, folder)
        database.add_images([(instance, ImageRecord(uid, f"data/p/s/{number}.dcm", 1, "2026-01-01T00:00:00.000000Z"))])
    return root


@pytest.mark.parametrize("number", [3, 4])
def test_init(number: int, tmp_path: Path) -> None:
    root = tmp_path / "b"
    args = ["init", "--basemount", root, "--format", number]
    assert run(*args).exit_code == 0
    assert Database.open(Layout.of_basemount(root)).format == number
    assert json.loads(run(*args, "--json").stdout)["format"] == number
    again = run("init", "--basemount", root, "--format", 7 - number)
    assert again.exit_code == 40
    assert str(root) in again.stderr


def test_init_with_templates_of_its_own(tmp_path: Path) -> None:
    run("init", "--basemount", tmp_path / "b", "--imageTemplate", "%SOPInstanceUID.dcm")
    templates = Database.open(Layout.of_basemount(tmp_path / "b")).templates
    assert templates.image == "%SOPInstanceUID.dcm"
    assert "SeriesDescription" in templates.series


def test_options_of_the_group_reach_its_commands(base: Path) -> None:
    assert run("--basemount", base, "search", "--jsonl").stdout == run("search", "--basemount", base, "--jsonl").stdout
    assert run("--logdir", base / "log", "search", "--jsonl").exit_code == 0


@pytest.mark.parametrize(
    ("args", "count"),
    [
        ([], 1),
        (["PatientName=doe*", "Modality=MR"], 1),
        (["StudyDate=20240101-20240201"], 1),
        (["StudyDate=20250101-"], 0),
        (["PatientID=4", "--level", "study"], 0),
        (["--level", "patient"], 1),
    ],
)
def test_search(args: list[str], count: int, base: Path) -> None:
    result = run("search", *args, "--basemount", base, "--jsonl")
    assert result.exit_code == 0, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(records) == count
    assert json.loads(run("search", *args, "--basemount", base, "--json").stdout) == records
    assert len(run("search", *args, "--basemount", base).stdout.splitlines()) == count + 1
    if count:
        assert records[0]["PatientID"] == "42"


@pytest.mark.parametrize(
    ("term", "says"),
    [
        ("PatientNme=x", "did you mean PatientName"),
        ("PatientName", "Keyword=value"),
        ("=x", "Keyword=value"),
        ("StudyDate=31.12.2024", "StudyDate: the value is no date (20240131)"),
        ("TransferSyntaxUID=1.2.840.10008.1.2.1", "TransferSyntaxUID is not recorded; recorded are PatientID, "),
    ],
)
@pytest.mark.parametrize("form", ["--verbosity=1", "--json", "--jsonl"])
def test_what_cannot_be_searched(term: str, says: str, form: str, base: Path) -> None:
    result = run("search", term, "--basemount", base, form)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_services_live_from_set_to_remove(tmp_path: Path) -> None:
    where = ["--basemount", tmp_path / "b"]
    assert run("service", "PACS", "set", "orthanc", ENTRY, *where).exit_code == 0
    file = tmp_path / "b" / "services" / "pacs.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert json.loads(run("service", "pacs", "get", "orthanc", *where).stdout)["aec"] == "ORTHANC"
    assert "10.0.0.5" in run("service", "PACS", *where).stdout
    assert "orthanc" in json.loads(run("service", "PACS", "list", "--json", *where).stdout)["PACS"]
    assert run("service", "PACS", "remove", "orthanc", *where).exit_code == 0
    assert run("service", "PACS", "get", "orthanc", *where).exit_code == 2


def test_passwords_come_from_stdin_and_are_masked(tmp_path: Path) -> None:
    where = ["--basemount", tmp_path / "b"]
    entry = '{"url": "http://cube/api/v1/", "username": "chris", "password": "canary"}'
    results = [
        run("service", "CUBE", "set", "local", "-", *where, input=entry),
        run("service", "CUBE", "list", *where),
        run("service", "CUBE", "list", "--json", *where),
        run("service", "CUBE", "get", "local", *where),
        run("--action", "CUBE", *where),
    ]
    for result in results:
        assert result.exit_code == 0, result.stderr
        assert "chris" in result.stdout
        assert "canary" not in result.output
    assert "canary" in (tmp_path / "b" / "services" / "cube.json").read_text()


def test_a_named_pacs_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[PacsNode] = []

    def echo(node: PacsNode, **_values: object) -> EchoOutcome:
        asked.append(node)
        return EchoOutcome(node, 0.012)

    monkeypatch.setattr("pypx.workflows.echo.echo", echo)
    where = ["--basemount", tmp_path / "b"]
    run("service", "PACS", "set", "orthanc", ENTRY, *where)
    result = run("service", "PACS", "check", "orthanc", *where)
    assert result.exit_code == 0
    assert "12 ms" in result.stdout
    assert (asked[0].host, asked[0].called_aet) == ("10.0.0.5", "ORTHANC")
    assert run("service", "CUBE", "check", "local", *where).exit_code == 2


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["PACS", "set", "k", "{"], "not JSON"),
        (["PACS", "set", "k", "[]"], "object"),
        (["PACS", "set", "k"], "JSON"),
        (["PACS", "set", "k", "{}"], "serverIP"),
        (["PACS", "get"], "KEY"),
        (["PACS", "fetch", "k"], "fetch"),
        (["PACS", "remove", "k"], "k"),
        (["mail"], "mail"),
    ],
)
def test_what_cannot_be_done_with_services(args: list[str], says: str, tmp_path: Path) -> None:
    result = run("service", *args, "--basemount", tmp_path / "b")
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list((tmp_path / "b").rglob("*.json"))


def test_image_directories(base: Path) -> None:
    folder = str(base / "data" / "p" / "s")
    assert run("image-dirs", "--SeriesInstanceUID", "1.2.3", "--basemount", base).stdout == f"{folder}\n"
    assert run("image-dirs", "--PatientID", "42", "--basemount", base).stdout == f"{folder}\n"
    document = json.loads(run("image-dirs", "--SeriesInstanceUID", "1.2.3", "--json", "--basemount", base).stdout)
    assert document == {"status": True, "error": "", "1.2.3": folder}
    assert run("image-dirs", "--PatientID", "nobody", "--basemount", base).exit_code == 2
    assert run("image-dirs", "--basemount", base).exit_code == 2


@pytest.mark.parametrize(
    ("action", "argument", "code", "key"),
    [
        ("imageDirsSeriesInstanceUID", "1.2.3", 0, "1.2.3"),
        ("imageDirsSeriesInstanceUID", "1.2.9", 1, "1.2.9"),
        ("imageDirsPatientID", "42", 0, "d_imageDirs"),
        ("imageDirsPatientID", "nobody", 1, "d_imageDirs"),
        ("seriesDirLocation", "1.2.3", 0, "seriesDirLocation"),
        ("endOfStudy", "1.2", 1, "series"),
        ("PACS", "", 1, "error"),
        ("PACS", '{"orthanc": ' + ENTRY + "}", 0, "PACS"),
        ("pacs", '{"orthanc": ' + ENTRY + "}", 0, "pacs"),
        ("mapsUpdateForPatient", "nobody", 1, "d_imageInfo"),
        ("nonsense", "", 2, "error"),
        ("imageDirsPatientID", "", 2, "error"),
        ("imageDirsSeriesInstanceUID", "one", 2, "error"),
        ("PACS", "{", 2, "error"),
        ("mapsUpdateForFile", "", 2, "error"),
    ],
)
def test_actions_of_pypx(action: str, argument: str, code: int, key: str, base: Path) -> None:
    result = run("--action", action, "--actionArgs", argument, "--logdir", base / "log")
    assert result.exit_code == code, result.stderr
    document = json.loads(result.stdout)
    assert document["status"] is (code == 0)
    assert key in document
    assert len(result.stderr.splitlines()) == (1 if code == 2 else 0)


def test_series_location_by_its_option(base: Path) -> None:
    result = run("--action", "seriesDirLocation", "--SeriesInstanceUID", "1.2.3", "--logdir", base / "log")
    assert json.loads(result.stdout)["seriesDirLocation"] == str(base / "data" / "p" / "s")


def test_end_of_study(base: Path) -> None:
    database = Database.open(Layout.of_basemount(base))
    database.set_series_fields(UID("1.2.3"), "retrieve", {"NumberOfSeriesRelatedInstances": "2"})
    result = run("--action", "endOfStudy", "--actionArgs", "1.2", "--logdir", base / "log")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["series"] == {"1.2.3": "complete"}


def test_tables_of_a_packed_image(golden_corpus: Path, base: Path) -> None:
    file = next(golden_corpus.rglob("*.dcm"))
    document = json.loads(run("tables", file, "--basemount", base).stdout)
    assert document["status"] is True
    for table in ("patientData_DBtablesGet", "studyData_DBtablesGet", "seriesData_DBtablesGet"):
        assert table in document
    only = run("--action", "seriesData_DBtablesGet", "--xcrdirfile", file, "--logdir", base / "log")
    assert list(json.loads(only.stdout)) == ["status", "seriesData_DBtablesGet"]
    split = run("--action", "seriesMap_DBtablesGet", "-p", file.parent, "-f", file.name, "--logdir", base / "log")
    assert split.stdout == only.stdout


def test_a_file_is_entered_anew(golden_corpus: Path, base: Path) -> None:
    file = next(golden_corpus.rglob("*.dcm"))
    document = json.loads(run("maps-update", file, "--basemount", base).stdout)
    assert document["mapsUpdateForFile"]["status"] is True
    bad = base / "bad.dcm"
    bad.write_bytes(b"no DICOM")
    assert run("maps-update", bad, "--basemount", base).exit_code == 50
    assert run("maps-update", base / "absent", "--basemount", base).exit_code == 2


def test_the_action_of_tables_says_of_which(base: Path) -> None:
    result = run("--action", "DBtablesGet", "--xcrdirfile", base / "data" / "p" / "s" / "1.dcm", "--basemount", base)
    assert result.exit_code == 2
    assert "patientData_DBtablesGet, studyData_DBtablesGet, seriesData_DBtablesGet" in result.stderr
    assert "studyData_DBtablesGet" in run("--action", "nothing", "--basemount", base).stderr


@pytest.mark.parametrize("command", [["search"], ["service", "PACS", "list"]])
def test_a_basemount_that_is_not_there_is_told(command: list[str], base: Path, tmp_path: Path) -> None:
    assert "no BASEMOUNT" not in run(*command, "--basemount", base).stderr
    nowhere = run(*command, "--basemount", tmp_path / "absent")
    assert nowhere.exit_code == 0
    assert f"there is no BASEMOUNT at {tmp_path / 'absent'};" in nowhere.stderr
    for wrong in (["--basemount", base / "log"], ["--logdir", base], ["--basemount", base / "data"]):
        assert f"did you mean --basemount {base}?" in run(*command, *wrong).stderr
    assert not (tmp_path / "absent").exists()


def test_wrong_usage_points_to_the_help_of_the_sub_command(base: Path) -> None:
    result = run("search", "--leve", "study", "--basemount", base)
    assert result.exit_code == 2
    assert "(see: px smdb search --help)" in result.stderr
    given = run("--action", "PACS", "--actionArgs", "{", "--basemount", base)
    assert "where an object of service entries was expected" in given.stderr


def test_smdb_alone_says_what_there_is(base: Path) -> None:
    result = run("--basemount", base)
    assert result.exit_code == 2
    assert "--help" in result.stderr
    assert run("--action", "PACS").exit_code == 2
