"""PACS_QR.sh: which command it runs for which flags, with programs that only write down how they were called."""

from __future__ import annotations

import getpass
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.container import make_stand_in

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "PACS_QR.sh"
PACS = ("--PACSIP", "10.0.0.5")
FILTER = ("--", "--PatientID 7654321")

NOTE = """\
import json, os, sys
with open({log!r}, "a") as log:
    stdin = "" if sys.stdin.isatty() else sys.stdin.read()
    log.write(json.dumps({{"argv": [os.path.basename(sys.argv[0]), *sys.argv[1:]], "stdin": stdin}}) + "\\n")
print("{{}}")
sys.exit(int(os.environ.get("STATUS_OF_" + os.path.basename(sys.argv[0]).replace("-", "_"), "0")))
"""


@dataclass(slots=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str
    calls: list[dict[str, Any]] = field(default_factory=list)

    def argv(self, program: str) -> list[str]:
        """The arguments of the only call of this program."""
        (words,) = [call["argv"] for call in self.calls if call["argv"][0] == program]
        return list(words[1:])

    def option(self, name: str, program: str = "px-find") -> str | None:
        words = self.argv(program)
        return words[words.index(name) + 1] if name in words else None


@dataclass(slots=True)
class Desk:
    """A home, a BASEMOUNT, and programs on PATH that note how they are called."""

    directory: Path
    environment: dict[str, str]

    @property
    def base(self) -> Path:
        return self.directory / "base"

    @property
    def log(self) -> Path:
        return self.directory / "calls.jsonl"

    def presets(self, text: str, name: str = "home/.config/pypx/institutions.ini") -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return path

    def __call__(self, *words: str, script: str | Path = SCRIPT, **environment: str) -> Ended:
        self.log.unlink(missing_ok=True)
        run = subprocess.run(
            ["bash", str(script), *words], env={**self.environment, **environment}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, cwd=self.directory, timeout=60, check=False,
        )  # fmt: skip
        calls = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return Ended(run.returncode, run.stdout, run.stderr, calls)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """px is installed here, docker is not."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    (tmp_path / "base").mkdir()
    (tmp_path / "home").mkdir()
    desk = Desk(
        tmp_path,
        {"PATH": f"{bin_directory}:/usr/bin:/bin", "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8",
         "PX_BASEMOUNT": str(tmp_path / "base")},
    )  # fmt: skip
    note = tmp_path / "note.py"
    note.write_text(NOTE.format(log=str(desk.log)))
    for name in ("px", "px-find", "px-report"):
        path = bin_directory / name
        path.write_text(f"#!{sys.executable}\n{note.read_text()}")
        path.chmod(0o755)
    return desk


@pytest.fixture
def with_docker(desk: Desk) -> Callable[..., None]:
    """Put a `docker` on PATH that only notes its words; `image inspect` succeeds for `images`."""

    def put(name: str = "docker", images: str = "local/pypx") -> None:
        path = desk.directory / "bin" / name
        inspected = f'[ "$1 $2" = "image inspect" ] && case ",{images}," in *",$3,"*) exit 0 ;; *) exit 1 ;; esac\n'
        note = desk.directory / f"{name}.py"
        note.write_text(NOTE.format(log=str(desk.log)))
        path.write_text(f'#!/bin/sh\n{inspected}exec {sys.executable} {note} {name} "$@"\n')
        path.chmod(0o755)

    return put


# --- what it runs -----------------------------------------------------------------------------------------------


def test_query_is_a_table(desk: Desk) -> None:
    ended = desk(*PACS, *FILTER)
    assert ended.returncode == 0, ended.stderr
    base = str(desk.base)
    assert ended.argv("px-find") == [
        "--serverIP", "10.0.0.5", "--db", f"{base}/log", "--PatientID", "7654321", "--json",
    ]  # fmt: skip
    assert ended.argv("px-report") == ["--printReport", "tabular"]
    assert ended.stderr == ""


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ("tabular", ["--printReport", "tabular"]),
        ("rawText", ["--printReport", "rawText"]),
        ("json", ["--printReport", "json"]),
        (
            "csv",
            ["--printReport", "csv", "--csvPrettify", "--csvPrintHeaders",
             "--reportHeaderStudyTags", "PatientName,PatientID,StudyDate",
             "--reportBodySeriesTags", "SeriesDescription,SeriesInstanceUID"],
        ),
        ("--printReport csv --csvSeparator ' '", ["--printReport", "csv", "--csvSeparator", " "]),
    ],
)  # fmt: skip
def test_reports(desk: Desk, report: str, words: list[str]) -> None:
    assert desk(*PACS, "--report", report, *FILTER).argv("px-report") == words


@pytest.mark.parametrize(
    ("verb", "keys", "then_args"),
    [
        ("retrieve", [], None),
        ("status", [], None),
        (
            "push",
            ["--SWIFTKEY", "store", "--SWIFTPACS", "BCH"],
            {"db": "BASE/log", "swift": "store", "swiftServicesPACS": "BCH", "swiftPackEachDICOM": True},
        ),
        (
            "register",
            ["--CUBEKEY", "cube", "--SWIFTPACS", "BCH"],
            {"db": "BASE/log", "CUBE": "cube", "swiftServicesPACS": "BCH", "parseAllFilesWithSubStr": "dcm"},
        ),
    ],
)
def test_steps(desk: Desk, verb: str, keys: list[str], then_args: dict[str, object] | None) -> None:
    ended = desk(*PACS, "--do", verb, *keys, *FILTER)
    assert ended.returncode == 0, ended.stderr
    assert [call["argv"][0] for call in ended.calls] == ["px-find"]
    assert ended.option("--then") == verb
    assert "--withFeedBack" in ended.argv("px-find")
    text = ended.option("--thenArgs")
    found = json.loads(text.replace(str(desk.base), "BASE")) if text else None
    assert found == then_args


def test_titles_address_and_basemount_are_what_was_given(desk: Desk) -> None:
    ended = desk(
        *PACS, "--PACSport", "104", "--AEC", "HOSPITAL", "--AET=MINE", "--baseMount", f"{desk.directory}/other", *FILTER
    )
    assert ended.option("--serverPort") == "104"
    assert ended.option("--aec") == "HOSPITAL"
    assert ended.option("--aet") == "MINE"
    assert ended.option("--db") == f"{desk.directory}/other/log", "the database follows the BASEMOUNT"


def test_variables_of_px_are_used(desk: Desk) -> None:
    names = {"PX_SERVER_IP": "10.0.0.9", "PX_SERVER_PORT": "105", "PX_AEC": "C", "PX_AET": "T"}
    ended = desk(*FILTER, **names)
    assert [ended.option(name) for name in ("--serverIP", "--serverPort", "--aec", "--aet")] == [*names.values()]
    assert desk("--AET", "GIVEN", *FILTER, **names).option("--aet") == "GIVEN"


# --- words ------------------------------------------------------------------------------------------------------

STRINGS = [
    "--PatientID 7654321",
    "  --PatientID\t7654321  --StudyDate 19990909 ",
    "--PatientName 'DOE JANE'",
    '--PatientName "DOE JANE"',
    "--PatientName DOE\\ JANE",
    "--PatientName DOE* --StudyDescription '*'",
    '--PatientName "O\'NEIL"',
    "--PatientName 'say \"hi\"'",
    '--PatientName "say \\"hi\\" \\\\ \\x"',
    "--PatientName ''",
    "--PatientName ab'c d'\"e f\"g",
    "--PatientName=DOE^JANE",
    "--StudyDescription 'T1 \\ SAG'",
    "--PatientName 'Müller^Jörg' 山田^太郎",
    "a\\\nb",
]
LITERAL = {
    "--PatientID $(touch X)": ["--PatientID", "$(touch", "X)"],
    "--PatientID `touch X`": ["--PatientID", "`touch", "X`"],
    '--PatientID "$(touch X)" $HOME ~': ["--PatientID", "$(touch X)", "$HOME", "~"],
    "a;touch X & | > X\n{a,b} # no": ["a;touch", "X", "&", "|", ">", "X", "{a,b}", "#", "no"],
}


@pytest.mark.parametrize("text", STRINGS)
def test_one_string_is_split_as_a_shell_splits_it(desk: Desk, text: str) -> None:
    oracle = subprocess.run(["bash", "-fc", f"printf '%s\\0' {text}"], capture_output=True, check=True)
    words = oracle.stdout.decode().split("\0")[:-1]
    found = desk(*PACS, "--", text).argv("px-find")
    assert found[found.index("--db") + 2 : -1] == words


@pytest.mark.parametrize(("text", "words"), LITERAL.items())
def test_nothing_in_it_is_run_or_expanded(desk: Desk, text: str, words: list[str]) -> None:
    ended = desk(*PACS, "--", text)
    assert ended.returncode == 0, ended.stderr
    found = ended.argv("px-find")
    assert found[found.index("--db") + 2 : -1] == words
    assert not (desk.directory / "X").exists()


def test_several_words_are_taken_as_they_are(desk: Desk) -> None:
    words = ["--PatientName", "DOE  'JANE' $(touch X)", "--StudyDescription=a \\ b", ""]
    found = desk(*PACS, "--", *words).argv("px-find")
    assert found[found.index("--db") + 2 : -1] == words


@pytest.mark.parametrize("value", ["a b", "$(touch X)", "`touch X`", "a;touch X", "a'b", 'a"b\\', "-x", "*", "a&b"])
def test_no_value_is_split_or_run(desk: Desk, value: str) -> None:
    base = str(desk.directory / f"base {value}")
    flags = ("--PACSIP", "--AEC", "--AET", "--SWIFTKEY", "--SWIFTPACS")
    words = [word for flag in flags for word in (flag, value)]
    ended = desk("--do", "push", "--baseMount", base, *words, *FILTER)
    assert ended.returncode == 0, ended.stderr
    assert [ended.option(name) for name in ("--serverIP", "--aec", "--aet")] == [value] * 3
    then_args = json.loads(ended.option("--thenArgs") or "")
    assert then_args == {
        "db": f"{base}/log", "swift": value, "swiftServicesPACS": value, "swiftPackEachDICOM": True,
    }  # fmt: skip
    assert not (desk.directory / "X").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*PACS,), "nothing to ask for"),
        ((*PACS, "--"), "nothing to ask for"),
        ((*PACS, "--", "   "), "nothing to ask for"),
        ((*PACS, "--", "--PatientName 'DOE"), "a quote is not closed"),
        ((*PACS, "--", "--PatientName DOE\\"), "last backslash"),
        (FILTER, "which PACS?"),
        ((*PACS, "--do", "eat", *FILTER), "--do takes"),
        ((*PACS, "--report", "pdf", *FILTER), "--report takes"),
        ((*PACS, "--frobnicate", *FILTER), "unknown option --frobnicate"),
        (("--PACSIP",), "--PACSIP needs a value"),
        ((*PACS, "--do", "push", "--SWIFTPACS", "P", *FILTER), "--do push needs --SWIFTKEY"),
        ((*PACS, "--do", "register", "--SWIFTPACS", "P", *FILTER), "--do register needs --CUBEKEY"),
        ((*PACS, "--do", "push", "--SWIFTKEY", "K", *FILTER), "--do push needs --SWIFTPACS"),
        (("--CUBEKEY", "k", "--CUBEURL", "http://x"), "give --CUBEURL and --CUBEuser"),
        (("--SWIFTHOST", "h"), "--SWIFTKEY names it"),
        ((*PACS, "--baseMount", "/a:b", *FILTER), "colon"),
        ((*PACS, "--container", "x", *FILTER), "needs docker or podman"),
    ],
)
def test_wrong_usage_runs_nothing(desk: Desk, words: tuple[str, ...], said: str) -> None:
    ended = desk(*words)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert ended.calls == []


@pytest.mark.parametrize("flag", ["-x", "-h", "-?", "--help"])
def test_help_names_every_flag(desk: Desk, flag: str) -> None:
    ended = desk(flag)
    assert ended.returncode == 0
    for name in (
        "--do", "--env", "--report", "--CUBEKEY", "--CUBEURL", "--CUBEuser", "--CUBEpassword", "--SWIFTKEY", "--SWIFTHOST",
        "--SWIFTPORT", "--SWIFTLOGIN", "--SWIFTPACS", "--PACSIP", "--PACSport", "--AET", "--AEC", "--container",
        "--baseMount", "--local", "-F", "--non-interactive", "--debug", "-v",
    ):  # fmt: skip
        assert f"  {name} " in ended.stdout or f" {name} " in ended.stdout, name


def test_exit_status_is_that_of_the_query_or_of_the_report(desk: Desk) -> None:
    assert desk(*PACS, *FILTER, STATUS_OF_px_find="10").returncode == 10
    assert desk(*PACS, *FILTER, STATUS_OF_px_report="2").returncode == 2
    assert desk(*PACS, "--do", "status", *FILTER, STATUS_OF_px_find="3").returncode == 3


def test_verbose_shows_what_is_run(desk: Desk) -> None:
    shown = desk("-v", *PACS, "--", "--PatientName 'DOE JANE'").stderr
    assert "px-find --serverIP 10.0.0.5" in shown
    assert "DOE\\ JANE" in shown


# --- presets ----------------------------------------------------------------------------------------------------

INI = """\
# our sites
default = BCH-chris

[BCH-chris]
PACSIP = 10.1.1.1
PACSPORT=104
AEC = "BIG PACS"
AET = CHRISV3
SWIFTKEY = local
CUBEKEY = cube
SWIFTSERVICEPACS = BCH

[MGH]
PACSIP = 10.2.2.2
AEC = $(touch X)
"""


def test_a_preset_of_the_users_file(desk: Desk) -> None:
    desk.presets(INI)
    ended = desk("--env", "BCH-chris", "--do", "push", *FILTER, PX_SERVER_IP="10.9.9.9")
    assert ended.returncode == 0, ended.stderr
    names = ("--serverIP", "--serverPort", "--aec", "--aet")
    assert [ended.option(name) for name in names] == ["10.1.1.1", "104", "BIG PACS", "CHRISV3"]
    assert json.loads(ended.option("--thenArgs") or "")["swift"] == "local"
    assert json.loads(ended.option("--thenArgs") or "")["swiftServicesPACS"] == "BCH"


def test_a_preset_is_read_not_run(desk: Desk) -> None:
    desk.presets(INI)
    assert desk("--env", "MGH", *FILTER).option("--aec") == "$(touch X)"
    assert not (desk.directory / "X").exists()


def test_options_win_over_the_preset(desk: Desk) -> None:
    desk.presets(INI)
    given = ["--SWIFTKEY", "mine", "--SWIFTPACS", "MINE", "--PACSIP", "10.3.3.3", "--AET", "T", "--AEC", "C"]
    for preset in ([], ["--env", "BCH-chris"]):
        ended = desk(*given, *preset, "--do", "push", *FILTER)
        then_args = json.loads(ended.option("--thenArgs") or "")
        assert (then_args["swift"], then_args["swiftServicesPACS"]) == ("mine", "MINE")
        assert [ended.option(name) for name in ("--serverIP", "--aet", "--aec")] == ["10.3.3.3", "T", "C"]


def test_the_default_preset_fills_what_is_not_said(desk: Desk) -> None:
    desk.presets(INI)
    ended = desk(*FILTER, PX_AET="FROM-VARIABLE")
    assert [ended.option(name) for name in ("--serverIP", "--aet")] == ["10.1.1.1", "FROM-VARIABLE"]
    desk.presets(INI.replace("default = BCH-chris", "default = MGH"))
    assert desk(*FILTER).option("--serverIP") == "10.2.2.2"
    desk.presets(INI.replace("default = BCH-chris\n", ""))
    assert desk(*FILTER).option("--serverIP") == "10.1.1.1", "BCH-chris was the default of pypx 3"
    desk.presets(INI.replace("default = BCH-chris", "default = NOWHERE"))
    assert "there is no preset NOWHERE" in desk(*FILTER).stderr


def test_orthanc_is_the_one_on_this_machine(desk: Desk) -> None:
    ended = desk("--env", "orthanc", *FILTER)
    assert [ended.option(name) for name in ("--serverIP", "--serverPort", "--aec")] == ["127.0.0.1", "4242", "ORTHANC"]
    desk.presets("[orthanc]\nPACSPORT = 104\n")
    assert desk("--env", "orthanc", *FILTER).option("--serverPort") == "104"


@pytest.mark.parametrize("name", ["BCH-chris", "BCH-chrisdev", "BCH-christest", "MGH", "MGH2", "TeleRIS", "Elsewhere"])
def test_an_undefined_preset_says_how_to_define_it(desk: Desk, name: str) -> None:
    ended = desk("--env", name, *FILTER)
    assert ended.returncode == 2
    assert ended.calls == []
    assert f"[{name}]" in ended.stderr
    assert "PACSIP =" in ended.stderr
    assert str(desk.directory / "home/.config/pypx/institutions.ini") in ended.stderr
    assert ("a name of pypx 3" in ended.stderr) == (name != "Elsewhere")


def test_no_site_is_in_the_script() -> None:
    """Addresses in it are examples and the loopback."""
    text = SCRIPT.read_text()
    dotted = {word.strip("=,") for word in text.replace(" ", "\n").split() if word.strip("=,.").count(".") == 3}
    addresses = {word for word in dotted if word.split("=")[-1].rstrip(".").replace(".", "").isdigit()}
    assert {word.split("=")[-1] for word in addresses} == {"10.0.0.5", "127.0.0.1"}


def test_where_presets_come_from(desk: Desk) -> None:
    named = desk.presets("[A]\nPACSIP = 10.0.0.1\n", "named.ini")
    desk.presets("[A]\nPACSIP = 10.0.0.2\n")
    script = desk.directory / "copy" / "PACS_QR.sh"
    desk.presets("[A]\nPACSIP = 10.0.0.3\n", "copy/institutions.ini")
    script.write_text(SCRIPT.read_text())
    assert desk("--env", "A", *FILTER, PACS_QR_ENV=str(named)).option("--serverIP") == "10.0.0.1"
    assert desk("--env", "A", *FILTER, script=script).option("--serverIP") == "10.0.0.2"
    (desk.directory / "home/.config/pypx/institutions.ini").unlink()
    assert desk("--env", "A", *FILTER, script=script).option("--serverIP") == "10.0.0.3"
    missing = desk("--env", "A", *FILTER, PACS_QR_ENV="/nowhere.ini")
    assert missing.returncode == 2
    assert "/nowhere.ini, which is not there" in missing.stderr


def test_a_file_that_others_can_write_is_refused(desk: Desk) -> None:
    path = desk.presets(INI)
    for mode in (0o620, 0o602):
        path.chmod(mode)
        ended = desk("--env", "MGH", *FILTER)
        assert ended.returncode == 2
        assert "is not used: it has to be yours" in ended.stderr
    path.chmod(0o644)
    assert desk("--env", "MGH", *FILTER).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(desk: Desk) -> None:
    os.chown(desk.presets(INI), 4321, 4321)
    assert "is not used" in desk("--env", "MGH", *FILTER).stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[A]\nPASSWORD = x\n", "line 2: there is no setting PASSWORD"),
        ("[A]\nPACSIP 10.0.0.1\n", "line 2 is neither"),
        ("PACSIP = 10.0.0.1\n[A]\n", "line 1: PACSIP stands before the first"),
        ("[A\nPACSIP = 1\n", "line 1 is neither"),
        ("[A]\nPACSIP=`id`; touch X\nrm -rf /\n", "line 3 is neither"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(desk: Desk, text: str, said: str) -> None:
    desk.presets(text)
    ended = desk("--env", "A", *FILTER)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_user_and_host_of_a_preset(desk: Desk) -> None:
    desk.presets(INI + "[locked]\nPACSIP = 10.0.0.1\nUSER = chris-local\n[here]\nPACSIP = 10.0.0.1\nHOST = titan\n"
                 f"USER = {getpass.getuser()}\n[mine]\nPACSIP = 10.0.0.1\nHOST = {os.uname().nodename}\n")  # fmt: skip
    assert desk("--env", "locked", *FILTER).returncode == 12
    assert desk("--env", "locked", "-F", *FILTER).returncode == 0
    assert desk("--env", "here", *FILTER).returncode == 0, "a query may come from any host"
    assert desk("--env", "here", "--do", "retrieve", *FILTER).returncode == 10
    assert desk("--env", "here", "--do", "retrieve", "-F", *FILTER).returncode == 0
    assert desk("--env", "mine", "--do", "retrieve", *FILTER).returncode == 0


# --- keys -------------------------------------------------------------------------------------------------------

CUBE = ("--CUBEKEY", "cube", "--CUBEURL", "http://localhost:8000/api/v1/", "--CUBEuser", "chris")


def test_a_cube_is_stored_without_its_password_in_an_argument(desk: Desk) -> None:
    ended = desk("-v", *CUBE, PACS_QR_CUBEPASSWORD='se"c\\ret')
    assert ended.returncode == 0, ended.stderr
    (call,) = ended.calls
    assert call["argv"] == ["px", "smdb", "service", "CUBE", "set", "cube", "-", "--logdir", f"{desk.base}/log"]
    assert json.loads(call["stdin"]) == {
        "url": "http://localhost:8000/api/v1/", "username": "chris", "password": 'se"c\\ret',
    }  # fmt: skip
    assert "c\\ret" not in ended.stderr


def test_the_older_password_option_works_with_a_warning(desk: Desk) -> None:
    ended = desk(*CUBE, "--CUBEpassword", "chris1234")
    assert json.loads(ended.calls[0]["stdin"])["password"] == "chris1234"
    assert "chris1234" not in " ".join(ended.calls[0]["argv"])
    assert "warning: --CUBEpassword shows the password" in ended.stderr
    nothing = desk(*CUBE)
    assert nothing.returncode == 2
    assert "PACS_QR_CUBEPASSWORD" in nothing.stderr


def test_the_password_is_asked_for_on_a_terminal(desk: Desk) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"typed in\n")
        run = subprocess.run(["bash", str(SCRIPT), *CUBE], env=desk.environment, stdin=theirs, capture_output=True,
                             text=True, timeout=30, check=False)  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)
    assert run.returncode == 0, run.stderr
    assert "Password of chris" in run.stderr
    assert "typed in" not in run.stdout + run.stderr
    assert json.loads(json.loads(desk.log.read_text())["stdin"])["password"] == "typed in"


def test_swift_is_stored_where_the_basemount_is(desk: Desk) -> None:
    ended = desk("--SWIFTKEY", "s", "--SWIFTHOST", "h", "--SWIFTPORT", "8080", "--SWIFTLOGIN", "chris:chris1234")
    (call,) = ended.calls
    assert call["argv"] == ["px", "smdb", "service", "swift", "set", "s", "-", "--logdir", f"{desk.base}/log"]
    assert json.loads(call["stdin"]) == {"ip": "h", "port": "8080", "login": "chris:chris1234"}


# --- where it runs ----------------------------------------------------------------------------------------------


def test_docker_runs_the_image_if_it_has_it(desk: Desk, with_docker: Callable[..., None]) -> None:
    with_docker()
    ended = desk(*PACS, *FILTER, PX_TIMEOUT="5")
    asking, showing = [call["argv"][2:] for call in ended.calls]
    base = str(desk.base)
    assert asking == [
        "run", "--rm", "--interactive", "--network=host", "--volume", f"{base}:{base}", "--env=PX_TIMEOUT", "local/pypx",
        "px-find", "--serverIP", "10.0.0.5", "--db", f"{base}/log", "--PatientID", "7654321", "--json",
    ]  # fmt: skip
    assert showing[-3:] == ["px-report", "--printReport", "tabular"]
    assert "--tty" not in asking, "a terminal would mix stderr into the pipe"


def test_which_of_docker_podman_and_local(desk: Desk, with_docker: Callable[..., None]) -> None:
    def runs(*words: str, **environment: str) -> str:
        return str(desk(*PACS, *words, *FILTER, **environment).calls[0]["argv"][1:2][0])

    with_docker("podman")
    assert runs() == "podman"
    with_docker("docker", images="other")
    assert runs() == "podman", "the one that has the image"
    assert runs("--container", "other") == "docker"
    assert runs(PACS_QR_CONTAINER="other") == "docker"
    assert runs("--local") == "--serverIP"
    with_docker("podman", images="none")
    assert runs() == "--serverIP", "nobody has the image, px is here"
    (desk.directory / "bin" / "px").unlink()
    if not (ROOT / ".venv" / "bin" / "px").exists():
        assert runs() == "docker"


def test_terminal_and_code_of_the_checkout(desk: Desk, with_docker: Callable[..., None]) -> None:
    with_docker()
    ours, theirs = pty.openpty()

    def words(*more: str) -> list[str]:
        desk.log.unlink(missing_ok=True)
        argv = ["bash", str(SCRIPT), *PACS, "--do", "status", *more, *FILTER]
        subprocess.run(argv, env=desk.environment, stdin=theirs, stdout=theirs, check=True, timeout=30)
        return list(json.loads(desk.log.read_text())["argv"])

    try:
        assert "--tty" in words()
        assert "--tty" not in words("--non-interactive")
    finally:
        os.close(ours)
        os.close(theirs)
    mounted = desk(*PACS, "--debug", *FILTER).calls[0]["argv"]
    assert f"{ROOT}/src:/usr/src/px:ro" in mounted
    assert f"{ROOT}/bin/px-find:/opt/px/bin/px-find:ro" in mounted


def test_container_needs_a_basemount_for_a_step(desk: Desk, with_docker: Callable[..., None]) -> None:
    with_docker()
    ended = desk(*PACS, "--baseMount", "/nowhere", "--do", "retrieve", *FILTER)
    assert ended.returncode == 2
    assert "there is no directory /nowhere" in ended.stderr
    assert ended.calls == []


def test_values_reach_the_program_through_the_entry_point(desk: Desk, tmp_path: Path) -> None:
    """The whole way: PACS_QR.sh, docker, entry point, px; the query is refused by a PACS that is not there."""
    stand_in = make_stand_in(tmp_path / "bin")
    ended = desk("--PACSIP", "127.0.0.1", "--PACSport", "1", "--report", "json", "--", "--PatientName \"DOE 'JANE'\"")
    assert ended.returncode == 10, ended.stderr
    asking = next(call for call in stand_in.calls() if call["words"][0] == "px-find")
    assert asking["words"][asking["words"].index("--PatientName") + 1] == "DOE 'JANE'"
