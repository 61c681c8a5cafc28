"""What a terminal gets and what a pipe gets."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import struct
import subprocess
import sys
import termios

import pytest

from pypx.cli import console, render
from pypx.cli.console import Console, OutputFormat


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stdout and stderr one terminal, 100 columns wide; a fixture would be undone by pytest's own capture."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("山田^太郎　様", "山田^太郎　様"),
        ("a\nb\tc\r", "a b c "),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m\u2028\x00", "\\x9b31m\\u2028\\x00"),
        ("\ud800", "\\ud800"),
        (None, ""),
        (7, "7"),
    ],
)
def test_no_value_can_move_the_cursor(text: object, shown: str) -> None:
    assert console.clean(text) == shown


def test_a_pipe_gets_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table(["A", "B"], [["x\ty", 1], ["[red]z", None]], "not shown")
    assert capsys.readouterr().out == "A\tB\nx y\t1\n[red]z\t\n"


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    Console().table(["Name", "Images"], [["[red]DOE[/red]", 12], ["x\x1b[2J", 3]], "A title")
    text = screen.getvalue()
    assert "A title" in text
    assert "[red]DOE[/red]" in text
    assert "\\x1b[2J" in text
    assert "\x1b[2J" not in text
    assert "\x1b[1m" in text


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    assert console.colours()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not console.colours()
    console.pairs([[("PatientName", "DOE")]], ("bright_magenta", "green"))
    assert "DOE" in screen.getvalue()
    assert "\x1b[95m" not in screen.getvalue()
    assert "\x1b[32m" not in screen.getvalue()


def test_a_progress_bar_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    assert list(Console().each([1, 2], "files", 2)) == [1, 2]
    assert "files" in screen.getvalue()
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    assert list(Console().each([1, 2], "files", 2)) == [1, 2]
    with Console().progress("files") as advance:
        advance(1, 2)
    assert pipe.getvalue() == ""


def test_quiet_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    assert list(Console(verbosity=0).each([1], "files", 1)) == [1]
    assert screen.getvalue() == ""


@pytest.mark.parametrize(("verbosity", "said"), [(0, ""), (1, "note\n"), (2, "note\ndetail\n")])
def test_how_much_is_said(verbosity: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = Console(verbosity=verbosity)
    out.note("note")
    out.detail("detail")
    assert capsys.readouterr() == ("", said)


def test_documents_are_indented_by_four_and_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    Console(OutputFormat.JSON).document({"a": ["ü"]})
    assert capsys.readouterr().out == '{\n    "a": [\n        "\\u00fc"\n    ]\n}\n'


def test_one_document_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    console.begin()
    Console(OutputFormat.JSON).document({"status": "success"})
    console.failure("px find", "too late", 3, document=True, program_result=True)
    captured = capsys.readouterr()
    assert captured.out.count("{") == 1
    assert captured.err == "px find: too late\n"


def test_a_uid_is_shown_in_one_piece_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    uid = "2.25.338885361197717000272396684731328682495"
    Console().table(["SeriesDescription", "SeriesInstanceUID"], [["long words " * 12, uid]])
    assert uid in screen.getvalue()


def test_a_uid_is_never_broken_on_a_terminal_of_80_columns() -> None:
    uids = [f"2.25.{number}38885361197717000272396684731328682495" + "0" * 20 for number in range(2)]
    script = (
        "from pypx.cli.console import Console\n"
        "Console().table(['Modality', 'SeriesDescription', 'Images', 'SeriesInstanceUID'],"
        f" [['MR', 'long words ' * 12, '7', uid] for uid in {uids}], 'A title')\n"
        "Console().table(['Modality', 'SeriesInstanceUID'], [['CT', '1.2.3']])\n"
    )
    main, end = os.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=end, stdout=end, stderr=end, env=environ | {"TERM": "xterm"}
    ) as child:
        os.close(end)
        shown = _all_of(main)
    assert child.returncode == 0
    assert all(uid in shown for uid in uids)
    assert "SeriesInstanceUID  2.25." in shown
    assert "\u2500" in shown, "what fits is a table"


def _all_of(main: int) -> str:
    parts = []
    with contextlib.suppress(OSError):  # Linux ends a pseudo terminal with EIO
        while part := os.read(main, 65536):
            parts.append(part)
    os.close(main)
    return b"".join(parts).decode()


def test_values_cannot_move_the_cursor_in_csv_either(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stdout", pipe)
    console.write_lines("a\tb\x1b[2J\n")
    assert pipe.getvalue() == "a\tb\x1b[2J\n"
    screen = terminal(monkeypatch)
    console.write_lines("a\tb\x1b[2J\n")
    assert screen.getvalue() == "a\tb\\x1b[2J\n"


def test_counts_that_are_all_0_are_left_out_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"state": "failed", "pushed": 0, "received": 0, "SeriesInstanceUID": "1.2.3", "error": "the reason"}
    columns = ["state", "pushed", "received", "SeriesInstanceUID", "error"]
    render.show_records(columns, [row], Console())
    assert capsys.readouterr().out == "\t".join(columns) + "\nfailed\t0\t0\t1.2.3\tthe reason\n"
    screen = terminal(monkeypatch)
    render.show_records(columns, [row], Console())
    assert "pushed" not in screen.getvalue()
    assert "received" in screen.getvalue()
    assert "1.2.3: the reason" in screen.getvalue()
