"""The group px: what it loads, what it says, and which exit code each end gives."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from pypx import __version__, errors
from pypx.cli.main import px
from pypx.cli.verbs import COMMANDS, spread_verbosity

ADDRESS = ["--serverIP", "127.0.0.1"]
SUBCLASSES = sorted(
    (value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.PxError)),
    key=lambda kind: kind.__name__,
)


def run(*args: str, **extra: Any) -> Result:
    return CliRunner().invoke(px, list(args), **extra)


def echo_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def echo(*_args: object, **_values: object) -> None:
        raise error

    monkeypatch.setattr("pypx.workflows.echo.echo", echo)


def test_px_alone_teaches_the_next_step() -> None:
    result = run()
    assert result.exit_code == 0
    assert "PX_SERVER_IP" in result.stdout
    for verb in ("px echo", "px find", "px listen", "px status"):
        assert verb in result.stdout


def test_version() -> None:
    assert run("--version").stdout == f"px {__version__}\n"


def test_help_names_every_command_without_loading_one() -> None:
    code = (
        "import sys\nfrom pypx.cli.main import px\n"
        "try:\n    px.main(['--help'])\nfinally:\n    print([n for n in sys.modules if '.cmd_' in n])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    *text, loaded = answer.stdout.splitlines()
    assert loaded == "[]"
    for name, verb in COMMANDS.items():
        assert any(line.split() == [name, *verb.summary.split()] for line in text)


@pytest.mark.parametrize("name", [*COMMANDS, "find --help"])
def test_start_up_of_a_command_loads_nothing_heavy(name: str) -> None:
    code = (
        "import sys\nfrom pypx.cli.main import px\n"
        f"try:\n    px.main({[*name.split()[:1], '--help']!r})\nfinally:\n    print(*sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    loaded = set(answer.stdout.splitlines()[-1].split())
    heavy = {"pydicom", "numpy", "rich", "filelock", "requests", "json", "pypx.workflows.find", "pypx.db.smdb"}
    assert "pypx.cli.main" in loaded
    assert heavy & loaded == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_examples_and_exit_codes_in_its_help(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"px {name}" in result.stdout.split("Examples:")[1]
    assert "Exit codes:" in result.stdout
    command = px.get_command(click.Context(px), name)
    assert isinstance(command, click.Command)
    for sub in getattr(command, "commands", {}):
        text = run(name, sub, "--help").stdout
        assert f"px {name} {sub}" in text.split("Examples:")[1]
        assert "Exit codes:" in text


@pytest.mark.parametrize("kind", SUBCLASSES, ids=lambda kind: str(kind.__name__))
def test_each_error_is_one_line_and_its_exit_code(kind: type[errors.PxError], monkeypatch: pytest.MonkeyPatch) -> None:
    echo_raises(monkeypatch, kind("tried this\nwith that"))
    result = run("echo", *ADDRESS)
    assert result.exit_code == kind.exit_code
    assert result.stdout == ""
    assert result.stderr == "px echo: tried this with that\n"


def test_a_failure_under_json_is_one_document(monkeypatch: pytest.MonkeyPatch) -> None:
    echo_raises(monkeypatch, errors.PeerUnreachableError("no connection"))
    result = run("echo", *ADDRESS, "--json")
    assert result.exit_code == 10
    document = json.loads(result.stdout)
    assert document["status"] == "error"
    assert document["error"] == "no connection"
    assert {"data", "command", "returncode"} <= document.keys()


@pytest.mark.parametrize(
    ("args", "status"),
    [(["find", "--json"], "error"), (["status", "--json"], False), (["repack", "--json", "--nonsense"], False)],
)
def test_wrong_usage_under_json_is_one_document(args: list[str], status: object) -> None:
    result = run(*args)
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert document["status"] == status
    assert document["error"] in result.stderr


def test_a_bug_is_one_line_and_70(monkeypatch: pytest.MonkeyPatch) -> None:
    echo_raises(monkeypatch, ZeroDivisionError("oops"))
    result = run("echo", *ADDRESS)
    assert result.exit_code == 70
    assert result.stderr.startswith("px echo: a bug in px: ZeroDivisionError at ")
    assert "oops" not in result.stderr  # it may be a value, and so of a patient
    assert len(result.stderr.splitlines()) == 1
    assert " at " in (wordy := run("echo", *ADDRESS, "-v").stderr)
    assert wordy.partition("(")[0].endswith(": oops ")


@pytest.mark.parametrize("args", [["--debug", "echo", *ADDRESS], ["echo", *ADDRESS, "--debug"]])
def test_debug_prints_the_traceback(args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    echo_raises(monkeypatch, ZeroDivisionError("oops"))
    result = run(*args)
    assert result.exit_code == 70
    assert "Traceback (most recent call last)" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (BrokenPipeError(), 141), (OSError(errno.ENOSPC, "No space", "/x"), 1)],
)
def test_other_ends(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    echo_raises(monkeypatch, error)
    result = run("echo", *ADDRESS)
    assert result.exit_code == code
    assert "bug" not in result.stderr
    if isinstance(error, BrokenPipeError):
        assert result.stderr == ""


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["fnd"], "px: there is no command 'fnd'; did you mean 'find'? (see: px --help)\n"),
        (["echo", "--nonsense"], "px echo: No such option '--nonsense' (see: px echo --help)\n"),
        (["echo", "x"], "px echo: Got unexpected extra argument (see: px echo --help) (-v shows all)\n"),
        (["echo", "x", "y"], "px echo: Got unexpected extra arguments (see: px echo --help) (-v shows all)\n"),
        (["echo", "-v", "x\n)"], "px echo: Got unexpected extra argument (x )) (see: px echo --help)\n"),
    ],
)
def test_wrong_usage_is_one_line_and_2(args: list[str], line: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stderr.replace("option: --nonsense", "option '--nonsense'") == line


@pytest.mark.parametrize(
    ("args", "spread"),
    [
        (["-v"], ["--verbosity=2"]),
        (["-v", "3", "find"], ["--verbosity=3", "find"]),
        (["find", "-v", "--json"], ["find", "--verbosity=2", "--json"]),
        (["repack", "-v", "/data"], ["repack", "--verbosity=2", "/data"]),
        (["-v0"], ["--verbosity=0"]),
        (["--verbosity", "1"], ["--verbosity=1"]),
        (["--verbosity=1"], ["--verbosity=1"]),
        (["a", "--", "-v"], ["a", "--", "-v"]),
    ],
)
def test_the_number_of_v_may_be_left_out(args: list[str], spread: list[str]) -> None:
    assert spread_verbosity(args) == spread


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion(shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_PX_COMPLETE" in result.stdout


def test_commands_complete_without_being_loaded() -> None:
    items = px.shell_complete(click.Context(px), "re")
    assert [item.value for item in items] == ["report", "repack", "register"]


def test_the_failing_verb_is_named_after_options_of_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    echo_raises(monkeypatch, errors.InputError("no"))
    assert run("-v", "1", "echo", *ADDRESS).stderr == "px echo: no\n"


def test_every_module_of_a_command_exists() -> None:
    for name in COMMANDS:
        command = px.get_command(click.Context(px), name)
        assert command is not None
        assert command.name == name
    assert px.get_command(click.Context(px), "nonsense") is None
    assert COMMANDS.keys() == set(px.list_commands(click.Context(px)))


@pytest.mark.parametrize(
    ("verb", "option", "zero"),
    [
        ("echo", "--timeout", False), ("echo", "--acse-timeout", False), ("find", "--dimse-timeout", False),
        ("move", "--idle", True), ("move", "--retry-wait", True), ("find", "--retry-wait", True),
        ("listen", "--drain", True), ("listen", "--acse-timeout", False), ("listen", "--dimse-timeout", False),
    ],
)  # fmt: skip
def test_seconds_are_a_number_a_timer_can_hold(verb: str, option: str, *, zero: bool) -> None:
    for text in ["nan", "inf", "1e400", "-1", "86401", "soon", *([] if zero else ["0"])]:
        result = run(verb, option, text)
        assert result.exit_code == 2
        least = "0" if zero else "more than 0"
        assert f"{option}': {text!r} is no number of seconds, {least} to 86400 (" in result.stderr


def test_seconds_from_the_environment_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PX_TIMEOUT", "nan")
    assert "PX_TIMEOUT: 'nan' is no number of seconds" in run("echo").stderr


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--aet", "", "is not an AE title"), ("--aet", " ", "is not an AE title"),
        ("--allow-calling", "", "names no AE title"), ("--allow-calling", " , ", "names no AE title"),
    ],
)  # fmt: skip
def test_a_listener_is_not_opened_to_all_by_an_empty_title(
    option: str, value: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_args: object) -> None:
        raise AssertionError("it listens")

    monkeypatch.setattr("pypx.workflows.listen.listen", never)
    result = run("listen", "--basemount", "/nonexistent/b", "--port", "0", "--allow-calling", "A", option, value)
    assert result.exit_code == 2
    assert f"{option}: {value!r} {why}" in result.stderr


PROGRAM = "from pypx.cli.main import run; run()"


@pytest.mark.parametrize("args", [[], ["--help"], ["smdb", "init", "--json"]])
def test_a_closed_stdout_is_an_error_and_no_bug(args: list[str], tmp_path: Path) -> None:
    code = f"import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, '-c', {PROGRAM!r}, *{args!r}])"
    environment = {**os.environ, "PX_BASEMOUNT": str(tmp_path / "base")}
    answer = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False, timeout=30, env=environment
    )
    assert answer.returncode == 1
    assert "stdout is closed" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("ignored", [False, True])
def test_signals_that_end_it(number: signal.Signals, code: int, *, ignored: bool) -> None:
    ignore = f"signal.signal({int(number)}, signal.SIG_IGN)" if ignored else ""
    program = f"""
import os, signal
from pypx.cli import main
{ignore}
main.px.main = lambda: (os.kill(os.getpid(), {int(number)}), exit(7))
main.run()
"""
    answer = subprocess.run([sys.executable, "-c", program], check=False, timeout=30)
    assert answer.returncode == (7 if ignored and number is signal.SIGHUP else code), "nohup is respected"
