"""The entry point of the image: which program runs for which words, and with which arguments."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.container import ENTRYPOINT

ECHO = '#!/bin/sh\nprintf "%s\\n" "${0##*/}" "$@"\nexit 7\n'


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


entrypoint = load(ENTRYPOINT)
healthcheck = load(ENTRYPOINT.with_name("healthcheck.py"))

PUSH = '{"db":"/home/dicom/log","swift":"local","swiftPackEachDICOM":true}'
PUSH_SPACED = '{"db": "/home/dicom/log", "swift": "a b", "swiftPackEachDICOM": true}'


@pytest.mark.parametrize(
    ("words", "argv"),
    [
        ([], ["px", "listen"]),
        (["listen"], ["px", "listen"]),
        (["px", "listen", "--port", "104"], ["px", "listen", "--port", "104"]),
        (["px"], ["px"]),
        (["px", "find", "--PatientID", "1"], ["px", "find", "--PatientID", "1"]),
        (["find", "--PatientID", "1"], ["px", "find", "--PatientID", "1"]),
        (["px-find", "--PatientID", "1"], ["px-find", "--PatientID", "1"]),
        (["/usr/local/bin/px-find", "--json"], ["px-find", "--json"]),
        (["/dock/storescp.sh", "-p", "11113"], ["storescp.sh", "-p", "11113"]),
        (["pfstorage", "--do", PUSH_SPACED], ["pfstorage", "--do", PUSH_SPACED]),
        (["bash", "-c", "echo"], ["bash", "-c", "echo"]),
        (["fnid"], ["px", "fnid"]),
        # pypx 3's flags: one of eleven, anywhere; none means px-find, and of several the last of a fixed order runs
        (["--px-find", "--PatientID", "1"], ["px-find", "--PatientID", "1"]),
        (["--PatientID", "1", "--px-find"], ["px-find", "--PatientID", "1"]),
        (["--PatientID", "1"], ["px-find", "--PatientID", "1"]),
        (["--version"], ["px-find", "--version"]),
        (["--px-do", "--then", "status"], ["px-do", "--then", "status"]),
        (["--px-echo"], ["px-echo"]),
        (["--px-move"], ["px-move"]),
        (["--px-push"], ["px-push"]),
        (["--px-register"], ["px-register"]),
        (["--px-repack", "-p", "/in"], ["px-repack", "-p", "/in"]),
        (["--px-report", "--help"], ["px-report", "--help"]),
        (["--px-status"], ["px-status"]),
        (["--pfstorage", "--json"], ["pfstorage", "--json"]),
        (["--px-smdb", "--action", "swift"], ["px-smdb", "--action", "swift"]),
        (["--px-smdb", "--px-do"], ["px-smdb"]),
        (["--px-report", "--px-find", "--json"], ["px-report", "--json"]),
        (["--px-f", "--json"], ["px-find", "--json"]),
        (["--pf", "--json"], ["pfstorage", "--json"]),
        (["--px-repack", "--parseAllFilesWithSubStr", "dcm"], ["px-repack", "--parseAllFilesWithSubStr", "dcm"]),
        (["--help"], []),
    ],
)
def test_program_and_arguments(words: list[str], argv: list[str]) -> None:
    assert entrypoint.command(words) == argv


@pytest.mark.parametrize(
    ("word", "taken"),
    [
        # as users of pypx 3 had to write it, and as one would write it
        (PUSH.replace('"', '\\"'), PUSH),
        (PUSH, PUSH),
        (PUSH_SPACED, PUSH_SPACED),
        (f"'{PUSH_SPACED}'", PUSH_SPACED),
        ('{\\"a\\":1}\\;{\\"b\\":2}', '{"a":1};{"b":2}'),
        ('{"a": "x\\"y"};{"b": "$HOME"}', '{"a": "x\\"y"};{"b": "$HOME"}'),
        ('{"a":"back\\\\slash"}', '{"a":"back\\\\slash"}'),
        ('[\\"name\\"]', '["name"]'),
        ("'DOE JANE'", "DOE JANE"),
        ('"DOE JANE"', "DOE JANE"),
        ("DOE\\ JANE", "DOE JANE"),
        ("DOE\\*", "DOE*"),
        ("DOE JANE", "DOE JANE"),
        ("DOE*", "DOE*"),
        ("O'NEIL^JANE", "O'NEIL^JANE"),
        ("CT\\MR", "CT\\MR"),
        ("$(id)", "$(id)"),
        ("--PatientName=DOE JANE", "--PatientName=DOE JANE"),
        ("a;b", "a;b"),
        ("", ""),
        ("'", "'"),
    ],
)
def test_quoting_of_pypx_3_is_taken_back_where_it_is_unmistakable(word: str, taken: str) -> None:
    assert entrypoint.command(["--px-find", "--thenArgs", word])[2:] == [taken]
    assert entrypoint.command(["px", "find", word])[2:] == [word], "only the older form has older quoting"


def test_options_in_one_word_are_split_in_the_older_form() -> None:
    argv = entrypoint.command(["--px-find", "--PatientID 7654321 --PatientName 'DOE JANE'"])
    assert argv == ["px-find", "--PatientID", "7654321", "--PatientName", "DOE JANE"]


def run(*words: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", ENTRYPOINT, *words],
        env={"PATH": f"{path}:/usr/bin:/bin", "HOME": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name in ("px", "px-find", "pfstorage"):
        path = tmp_path / name
        path.write_text(ECHO)
        path.chmod(0o755)
    return tmp_path


def test_exit_status_is_that_of_the_program(programs: Path) -> None:
    ended = run("--px-find", "--PatientName", "$(touch PWNED); a  b", path=programs)
    assert (ended.returncode, ended.stdout) == (7, "px-find\n--PatientName\n$(touch PWNED); a  b\n")
    assert run(path=programs).stdout == "px\nlisten\n"


def test_only_the_listener_listens(programs: Path) -> None:
    (programs / "storescp.sh").write_text("#!/bin/sh\ntouch listening\n")
    assert run("--pfstorage", "--json", path=programs).stdout == "pfstorage\n--json\n"
    assert not list(programs.rglob("listening"))


def test_help_names_every_form(programs: Path) -> None:
    shown = run("--help", path=programs)
    assert shown.returncode == 0
    for program in entrypoint.PROGRAMS:
        assert f"--{program}" in shown.stdout


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--px-re"], 2, "--px-re may be any of --px-register, --px-repack, --px-report (--help"),
        (["--px-find", "--PatientID 'x"], 2, "No closing quotation"),
        (["px-status"], 127, "px-status: No such file or directory"),
    ],
)
def test_what_cannot_run_is_said_in_one_line(words: list[str], status: int, said: str, programs: Path) -> None:
    ended = run(*words, path=programs)
    assert ended.returncode == status
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("commands", "found"),
    [
        ([["tini", "--", "python3", "entrypoint.py"], ["/opt/px/bin/python", "/opt/px/bin/px", "listen"]], []),
        ([["python", "/opt/px/bin/px", "listen", "--port", "104"]], ["--port", "104"]),
        ([["python", "/opt/px/bin/px", "--legacy", "storescp", "-p", "11113"]], ["storescp", "-p", "11113"]),
        ([["python", "/opt/px/bin/px", "--legacy", "find", "--json"]], None),
        ([["python", "/opt/px/bin/px", "find"], ["storescp", "-id"]], None),
    ],
)
def test_healthcheck_knows_the_listener(commands: list[list[str]], found: list[str] | None) -> None:
    assert healthcheck.listener(iter(commands)) == found


def test_healthcheck_reads_port_and_title() -> None:
    words = ["--aet=CHRIS", "--port", "104"]
    assert healthcheck.value(words, ("--port", "-p"), "11113") == "104"
    assert healthcheck.value(words, ("--aet",), "X") == "CHRIS"
    assert healthcheck.value([], ("--port", "-p"), "11113") == "11113"


def test_healthcheck_ends_with_what_the_listener_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(healthcheck, "processes", lambda: iter([["/opt/px/bin/px", "listen", "--port", "104"]]))
    asked = tmp_path / "asked"
    for answer, health in ((0, 0), (11, 0), (10, 1), (12, 1), (20, 1)):
        program = tmp_path / "px"
        program.write_text(f'#!/bin/sh\necho "$@" >{asked}\nexit {answer}\n')
        program.chmod(0o755)
        with pytest.raises(SystemExit) as ended:
            healthcheck.main()
        assert ended.value.code == health
    assert "--serverIP 127.0.0.1 --serverPort 104" in asked.read_text()
    monkeypatch.setattr(healthcheck, "processes", lambda: iter([["/opt/px/bin/px", "find"]]))
    program.unlink()
    with pytest.raises(SystemExit) as ended:
        healthcheck.main()
    assert ended.value.code == 0


def test_image_pins_all_that_px_requires() -> None:
    """Each requirement, and what it requires, has one version in docker/constraints.txt, and one that fits."""
    lines = (ENTRYPOINT.parent / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    seen: set[str] = set()
    waiting = ["pypx"]
    while waiting:
        name = waiting.pop()
        for text in requires(name) or []:
            requirement = Requirement(text)
            needed = requirement.marker is None or requirement.marker.evaluate({"extra": "", "python_version": "3.11"})
            if needed and requirement.name not in seen:
                assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text
                seen.add(requirement.name)
                waiting.append(requirement.name)
    assert "pydicom" in seen
