"""``px --legacy <verb>``: what it prints and how it ends, without any server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pypx.cli.legacy import VERBS
from pypx.cli.main import px
from pypx.compat.legacy_help import VERSIONS
from pypx.errors import PeerUnreachableError, PxError
from support import golden

CORPUS = Path(__file__).parents[1] / "golden" / "corpus"
BIN = Path(__file__).parents[2] / "bin"
SHIMS = {
    "pfstorage": "pfstorage", "storescp.sh": "storescp",
    **{f"px-{verb}": verb for verb in VERBS if verb not in {"pfstorage", "storescp"}},
}  # fmt: skip


def run(*args: str, **extra: Any) -> Result:
    return CliRunner().invoke(px, ["--legacy", *args], **extra)


def test_shims_hold_no_logic() -> None:
    assert {path.name for path in BIN.iterdir()} == {"px", *SHIMS}
    for name, verb in SHIMS.items():
        path = BIN / name
        lines = path.read_text().splitlines()
        assert path.stat().st_mode & 0o111 == 0o111
        assert len(lines) == 3
        assert lines[0] == "#!/bin/sh"
        word = f"'{verb}'" if verb == "do" else verb  # "do" is a word of the shell
        assert all(line.endswith(f'/px" --legacy {word} "$@"') for line in lines[1:])


def test_shims_are_installed_with_the_package() -> None:
    settings = (BIN.parent / "pyproject.toml").read_text()
    for name in SHIMS:
        assert f'"bin/{name}" = "{name}"' in settings


@pytest.mark.parametrize("verb", VERBS)
def test_version(verb: str) -> None:
    if verb != "storescp":
        result = run(verb, "--version")
        assert (result.stdout, result.exit_code) == (f"Version: {VERSIONS[verb]}\n", 0)


@pytest.mark.parametrize("flag", ["-x", "--desc", "-y", "--synopsis"])
@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"storescp"}))
def test_descriptions(verb: str, flag: str) -> None:
    result = run(verb, flag)
    assert result.exit_code == 0
    assert "SYNOPSIS" in result.stdout
    assert ("EXAMPLES" in result.stdout) is (flag in {"-x", "--desc"})
    assert "\x1b" not in result.stdout
    coloured = run(verb, flag, env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b[1;37m" in coloured


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb: str) -> None:
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("usage: ")


def test_names_with_prefix_are_taken_too() -> None:
    assert run("px-find", "--version").stdout == "Version: 3.2.2\n"
    assert run("storescp.sh", "--help").exit_code == 0


def test_unknown_command() -> None:
    result = run("nosuch")
    assert result.exit_code == 2
    assert "'nosuch' is no command of pypx" in result.stderr


def test_no_address(tmp_path: Path) -> None:
    result = run("find", "--PatientID", "42", "--json", "--db", str(tmp_path / "log"))
    assert result.exit_code == 2
    assert json.loads(result.stdout)["status"] == "error"
    assert result.stderr.startswith("px-find: no PACS address")
    assert list(tmp_path.iterdir()) == []


def failing(error: PxError) -> Any:
    def work(*_args: object, **_values: object) -> None:
        raise error

    return work


def test_exit_code_is_honest_or_always_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypx.compat.legacy_peer.ask", failing(PeerUnreachableError("nobody there")))
    args = ("echo", "--serverIP", "127.0.0.1")
    assert run(*args).exit_code == 10
    result = run(*args, env={"PX_LEGACY_EXIT": "0"})
    assert result.exit_code == 0
    assert result.stderr == "px-echo: nobody there\n"
    assert result.stdout.startswith("{'status': 'error', 'data': 'nobody there\\n', 'command': '/usr/bin/echoscu ")


def test_find_prints_nothing_unless_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypx.compat.legacy_find.ask", failing(PeerUnreachableError("nobody there")))
    args = ("find", "--serverIP", "127.0.0.1")
    assert run(*args).stdout == ""
    assert run(*args, "--json", "-v", "0").stdout == ""
    assert run(*args, "--json", "--withFeedBack").stdout == ""
    assert json.loads(run(*args, "--json").stdout)["data"] == "nobody there\n"


# --- documents in


FOUND = golden.text("08-find-pid.out", {"PACSPORT": 4242, "BASEMOUNT": "/nonexistent"})


def test_report_from_stdin_option_and_file(tmp_path: Path) -> None:
    expected = run("report", "--printReport", "csv", input=FOUND).stdout
    assert expected.count("\n") == 3
    file = tmp_path / "found.json"
    file.write_text(FOUND)
    assert run("report", "--printReport", "csv", "--reportDataFile", str(file)).stdout == expected
    assert run("report", "--printReport", "csv", "--reportData", FOUND).stdout == expected


@pytest.mark.parametrize("form", ["", "html"])
def test_report_without_a_form_prints_nothing(form: str) -> None:
    result = run("report", "--printReport", form, input=FOUND)
    assert (result.stdout, result.exit_code) == ("", 0)


def test_report_of_a_failure() -> None:
    recorded = golden.text("17-find-down.out", {"PACSPORT": 1})
    result = run("report", "--printReport", "csv", input=recorded)
    assert result.exit_code == 12
    sentence, _, document = result.stdout.partition("\n")
    assert sentence == "An error has been flagged in the report payload."
    assert json.loads(document) == json.loads(recorded)


@pytest.mark.parametrize("verb", ["report", "do"])
@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_bad_input(verb: str, text: str) -> None:
    result = run(verb, "--printReport" if verb == "report" else "--then", "csv", input=text)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_do_status_over_a_document(tmp_path: Path) -> None:
    result = run("do", "--then", "status", "--json", "--db", str(tmp_path / "log"), input=FOUND)
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert list(document) == ["do", "00-status"]
    assert sum(len(series) for study in document["00-status"]["study"] for series in study.values()) == 3


def test_do_takes_what_is_given_before_what_the_document_says(tmp_path: Path) -> None:
    """Defect I5: the document won."""
    found = json.loads(FOUND)
    found["args"]["then"] = "report"
    text = json.dumps(found)
    assert list(json.loads(run("do", "--json", "--db", str(tmp_path / "log"), input=text).stdout)) == [
        "do",
        "00-report",
    ]
    given = run("do", "--then", "status", "--json", "--db", str(tmp_path / "log"), input=text)
    assert list(json.loads(given.stdout)) == ["do", "00-status"]


def test_do_nothing() -> None:
    result = run("do", "--json", input=FOUND)
    assert result.exit_code == 2
    assert "nothing to do" in result.stderr


@pytest.mark.parametrize(("verbs", "complaint"), [("retreive", "'retreive' is no verb"), ("status,", "empty verb")])
def test_unknown_verbs_are_refused(verbs: str, complaint: str, tmp_path: Path) -> None:
    """Defect I6."""
    result = run("do", "--then", verbs, "--db", str(tmp_path / "log"), input=FOUND)
    assert result.exit_code == 2
    assert complaint in result.stderr


# --- the database


def repack(tmp_path: Path, *more: str) -> Result:
    places = ("--logdir", str(tmp_path / "log"), "--datadir", str(tmp_path / "data"))
    return run("repack", *places, *more)


def test_repack_one_as_storescp_calls_it(tmp_path: Path) -> None:
    source = tmp_path / "in" / "PAT_1" / "CT.1"
    source.parent.mkdir(parents=True)
    source.write_bytes((CORPUS / "p000/s000/r000/00000.dcm").read_bytes())
    result = repack(tmp_path, "--xcrdir", str(source.parent), "--xcrfile", source.name, "--verbosity", "0", "--cleanup")
    assert (result.stdout, result.stderr, result.exit_code) == ("", "", 0)
    assert not source.exists()
    assert len(list((tmp_path / "data").rglob("*.dcm"))) == 1


def test_repack_keeps_what_it_cannot_file(tmp_path: Path) -> None:
    """Defect D11."""
    bad = tmp_path / "in" / "bad.dcm"
    bad.parent.mkdir()
    bad.write_bytes((CORPUS / "p000/s000/r000/00000.dcm").read_bytes()[:700])
    result = repack(tmp_path, "--xcrdirfile", str(bad), "--cleanup")
    assert result.exit_code == 50
    assert bad.exists()
    assert json.loads(result.stdout)["status"] is False
    assert not (tmp_path / "log").exists()


def test_repack_by_name(tmp_path: Path) -> None:
    result = repack(tmp_path, "--xcrdir", str(CORPUS / "p000/s000/r000"), "--parseAllFilesWithSubStr", "1.dcm,2.dcm")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["run"]) == 2


@pytest.mark.parametrize("args", [(), ("--xcrdir", "/tmp"), ("--xcrdirfile", "/nonexistent/x.dcm")])
def test_repack_of_nothing(tmp_path: Path, args: tuple[str, ...]) -> None:
    result = repack(tmp_path, *args)
    assert result.exit_code == 2
    assert json.loads(result.stdout)["run"] == []


def test_status_and_smdb(tmp_path: Path) -> None:
    repack(tmp_path, "--xcrdir", str(CORPUS / "p000/s000/r000"), "--parseAllFilesWithSubStr", "dcm")
    manifest = json.loads((CORPUS / "manifest.json").read_text())
    text = json.dumps(manifest)
    study, series = "2.25.653198307399165578185356073155066334", "2.25.604306568731276869699318073719750404"
    assert study in text
    args = ("--db", str(tmp_path / "log"), "--StudyInstanceUID", study, "--SeriesInstanceUID", series)
    assert run("status", *args).stdout == ""
    assert json.loads(run("status", *args, "--json").stdout)["images"]["received"]["count"] == 4
    log = ("--logdir", str(tmp_path / "log"))
    found = run("smdb", *log, "--action", "seriesDirLocation", "--SeriesInstanceUID", series)
    assert Path(json.loads(found.stdout)["seriesDirLocation"]).is_dir()
    assert run("smdb", *log, "--action", "imageDirsSeriesInstanceUID", "--actionArgs", "1.2.3").exit_code == 1
    nothing = run("smdb", *log, "--action", "telemetryX", "-v", "0")
    assert (nothing.stdout, nothing.exit_code) == ("", 2)


def test_smdb_names_services(tmp_path: Path) -> None:
    log = ("--logdir", str(tmp_path / "log"))
    entry = json.dumps({"a": {"storagetype": "fs", "storepath": "/mnt/a"}})
    assert json.loads(run("smdb", *log, "--action", "storage", "--actionArgs", entry).stdout) == {
        "status": True,
        "storage": json.loads(entry),
    }
    bad = run("smdb", *log, "--action", "PACS", "--actionArgs", "{")
    assert bad.exit_code == 2
    assert json.loads(bad.stdout)["status"] is False


# --- start-up


@pytest.mark.parametrize(
    ("verb", "allowed"), [("repack", set()), ("status", set()), ("report", set()), ("smdb", set())]
)
def test_start_up_stays_lean(verb: str, allowed: set[str], tmp_path: Path) -> None:
    """px-repack runs once an image where a site has its own ``storescp -xcr``."""
    file = CORPUS / "p000/s000/r000/00000.dcm"
    args = {
        "repack": ["--xcrdirfile", str(file), "--logdir", str(tmp_path / "log")],
        "status": ["--db", str(tmp_path / "log"), "--StudyInstanceUID", "1.2", "--SeriesInstanceUID", "1.2.3"],
        "report": ["--printReport", "csv"],
        "smdb": ["--logdir", str(tmp_path / "log"), "--action", "PACS"],
    }[verb]
    slow = {"click", "rich", "requests", "swiftclient", "pydicom", "numpy", "asyncio", "http.client", "boto3"}
    assert loaded_by(verb, *args) & slow == allowed


@pytest.mark.parametrize("verb", VERBS)
def test_help_loads_hardly_more_than_the_options(verb: str) -> None:
    """Each of these takes a tenth of a start, and more; what a command needs of them it loads when it runs."""
    loaded = loaded_by(verb, "--help")
    assert "pypx.compat.legacy_parser" in loaded
    assert (
        loaded & {"click", "inspect", "dataclasses", "json", "hashlib", "pypx.cli.main", "pypx.model.packpath"} == set()
    )


def loaded_by(verb: str, *args: str) -> set[str]:
    """The modules that a run of a px-* command has loaded when it ends, run as it is installed."""
    code = (
        "import atexit, sys\natexit.register(lambda: print('loaded:', *sys.modules))\n"
        "from pypx.__main__ import run\nrun()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, "--legacy", verb, *args],
        input=FOUND, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return set(answer.stdout.rsplit("loaded:", 1)[1].split())
