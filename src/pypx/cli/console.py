"""What px shows: data on stdout, words for people on stderr.  The only module that writes to stdout.

A terminal gets tables and progress bars, a pipe gets tab-separated text or JSON; ``NO_COLOR`` is respected.
Nothing heavy is imported before something is to be drawn.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pypx.errors import PxError
from pypx.model.plain import plain, plain_lines, shortened

T = TypeVar("T")
Advance = Callable[[int, int | None], None]

_NORMAL = 1
_DETAIL = 2
_NARROW = 6
_STREAMS = 3
_state = {"document": False}


class OutputFormat(str, Enum):
    """What goes to stdout."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


class Console:
    """How one run of a command shows its result.

    `verbosity` is 0 (quiet), 1 (as if nothing was said) or more (details on stderr).
    """

    __slots__ = ("format", "verbosity")

    def __init__(self, form: OutputFormat = OutputFormat.TEXT, verbosity: int = _NORMAL) -> None:
        self.format = form
        self.verbosity = verbosity

    @property
    def json(self) -> bool:
        """Whether one JSON document is wanted."""
        return self.format is OutputFormat.JSON

    @property
    def jsonl(self) -> bool:
        """Whether a JSON record a line is wanted."""
        return self.format is OutputFormat.JSONL

    def document(self, value: object) -> None:
        """Write the one JSON document of this run, indented by four as pypx does."""
        import json

        _state["document"] = True
        write(json.dumps(value, indent=4) + "\n")

    def record(self, value: Mapping[str, object]) -> None:
        """Write one record as a line of JSON, at once."""
        import json

        write(json.dumps(value) + "\n")
        flush()

    def line(self, text: str) -> None:
        """Write one line of text."""
        write(clean(text) + "\n")

    @contextlib.contextmanager
    def failing(self, kinds: type[Exception], make: Callable[[Any], Mapping[str, object]]) -> Iterator[None]:
        """Under ``--json``, write the document that `make` makes of an error of `kinds`, then let the error go on."""
        try:
            yield
        except kinds as error:
            if self.json:
                self.document({**make(error), "error": clean(error)})
            raise

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
        """Draw a table on a terminal; in a pipe write a heading and a line a row, separated by tabs."""
        cells = [[clean(cell) for cell in row] for row in rows]
        if sys.stdout.isatty():
            _draw(columns, cells, clean(title))
            return
        lines = ["\t".join(line) for line in (columns, *cells)]
        write("\n".join(lines) + "\n")

    def note(self, text: str) -> None:
        """Tell people something, unless they asked for quiet."""
        if self.verbosity >= _NORMAL:
            say(text)

    def detail(self, text: str) -> None:
        """Tell people a detail they asked for with ``-v``."""
        if text and self.verbosity >= _DETAIL:
            say(text)

    def place(self, path: Path | str) -> str:
        """A file as people are told of it: with ``-v`` its name, else without what tells of a patient."""
        from pypx.db.files import shown

        return str(path) if self.verbosity >= _DETAIL else shown(path)

    @contextlib.contextmanager
    def progress(self, what: str, total: int | None = None, *, late: bool = False) -> Iterator[Advance]:
        """Show a bar on stderr if that is a terminal; the value is called with what is done and the total.

        The total may be ``None`` where it is not known yet.  The thread that draws the bar starts at once, or, if it is
        to be `late`, with the first call.
        """
        if self.verbosity < _NORMAL or not sys.stderr.isatty():
            yield _silent
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = Progress(*columns, console=RichConsole(stderr=True), transient=True)
        task = bar.add_task(what, total=total)

        def advance(done: int, known: int | None = None) -> None:
            bar.start()
            bar.update(task, completed=done, total=known or total)

        try:
            if not late:
                bar.start()
            yield advance
        finally:
            bar.stop()

    def each(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """Hand the items on and count them in a progress bar."""
        with self.progress(what, total) as advance:
            for count, item in enumerate(items, start=1):
                yield item
                advance(count, total)


def _silent(_done: int, _total: int | None = None) -> None:
    """Show no progress."""


def write(text: str) -> None:
    """Write data to stdout."""
    sys.stdout.write(text)


def write_lines(text: str) -> None:
    """Write lines of data: as they are into a pipe or file, without control characters on a terminal."""
    write(plain_lines(text) if is_terminal() else text)


def write_bytes(data: bytes) -> None:
    """Write data to stdout as it is."""
    write("")  # a closed one says so here
    flush()
    sys.stdout.buffer.write(data)


def say(text: str) -> None:
    """Write one line for people to stderr; if it went away, as with a terminal, the work goes on."""
    with contextlib.suppress(OSError):
        sys.stderr.write(shortened(clean(text)) + "\n")
        sys.stderr.flush()


def end_line() -> None:
    """Begin a new line on stderr if that is a terminal, which may show ^C in this one."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr.isatty():
            tell("\n")


def tell(text: str) -> None:
    """Write text for people to stderr as it is, colours and line ends included."""
    sys.stderr.write(text)
    sys.stderr.flush()


def failure(program: str, line: str, code: int, *, document: bool, program_result: bool) -> None:
    """Say why a command failed: one line on stderr, and under ``--json`` one document on stdout.

    Parameters
    ----------
    program : such as ``px find``
    line : the reason
    code : exit code of the process
    document : whether a JSON document is due; none is written if the command had written its own
    program_result : whether the document is of the kind that wraps a DCMTK program
    """
    text = clean(line)
    say(f"{program}: {text}")
    if not document or _state["document"] or isinstance(sys.stdout, _Closed):
        return
    import json

    body: dict[str, Any] = {"status": False, "error": text}
    if program_result:
        body = {"status": "error", "data": text, "command": "", "returncode": code, "error": text}
    write(json.dumps(body, indent=4) + "\n")
    flush()


def clean(value: object) -> str:
    """Text of `value` without control characters, which could move a terminal's cursor or break a line in two."""
    return plain("" if value is None else str(value))


class _Closed(io.StringIO):
    """Stands in for a stdout that was closed before we began (``px find >&-``)."""

    def write(self, _data: object) -> NoReturn:
        raise PxError("stdout is closed: the result cannot be shown; send it to a file or to /dev/null")


def begin() -> None:
    """Begin a run: no document has been written yet."""
    _state["document"] = False


def prepare() -> None:
    """Make stdout and stderr able to show any text, whatever the locale, and stand in for those that are closed."""
    while (number := os.open(os.devnull, os.O_RDWR)) < _STREAMS:
        pass  # takes the number of a closed one, so that no file of ours gets it
    os.close(number)
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Write out what is buffered; a reader that went away shows here."""
    sys.stdout.flush()


def finish() -> None:
    """Write out what is buffered if it can be written."""
    try:
        flush()
    except (OSError, ValueError):
        discard()


def discard() -> None:
    """Send what is still buffered nowhere, after the reader went away."""
    with contextlib.suppress(OSError, io.UnsupportedOperation, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def colours(*, error: bool = False) -> bool:
    """Whether colours are wanted on stdout (or stderr): it is a terminal and ``NO_COLOR`` is not set."""
    return (sys.stderr if error else sys.stdout).isatty() and not os.environ.get("NO_COLOR")


def pairs(blocks: Iterable[Iterable[tuple[str, str]]], styles: tuple[str, str]) -> None:
    """Draw boxes of names and values on a terminal; `styles` are rich's for names and for values."""
    from rich import box
    from rich.console import Console as RichConsole
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SQUARE, show_header=False)
    table.add_column(style=styles[0], overflow="fold")
    table.add_column(style=styles[1], overflow="fold", min_width=30)
    for rows in blocks:
        table.add_section()
        for name, value in rows:
            table.add_row(Text(clean(name)), Text(clean(value)))
    RichConsole(highlight=False).print(table)


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich import box
    from rich.console import Console as RichConsole
    from rich.table import Table
    from rich.text import Text

    screen = RichConsole(highlight=False)
    if _needed(columns, rows) > screen.width:
        _draw_records(columns, rows, title)
        return
    table = Table(box=box.SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left", pad_edge=False)
    for column in columns:
        numeric = all(row[columns.index(column)].lstrip("-").isdigit() for row in rows) and bool(rows)
        whole = column.endswith("UID")  # to be copied in one piece
        table.add_column(column, overflow="fold", no_wrap=whole, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    screen.print(table)


def _needed(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Columns of a terminal that a table needs, at least: its UIDs whole, of the others a few characters."""
    longest = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    kept = (
        length if name.endswith("UID") else min(length, _NARROW) for name, length in zip(columns, longest, strict=True)
    )
    return sum(kept) + 2 * len(columns)


def _draw_records(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    """Write a block a row, a line a value; a line that is too long is the terminal's to break, and is copied whole."""
    width = max(map(len, columns))
    blocks = [
        "".join(f"{name:>{width}}  {cell}\n" for name, cell in zip(columns, row, strict=True) if cell) for row in rows
    ]
    write("\n".join([f"{title}\n" if title else "", *blocks]) + "\n")
