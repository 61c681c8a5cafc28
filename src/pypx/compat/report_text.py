"""Reports as text: ``rawText`` and ``tabular`` of px-report, without any terminal library."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from pypx.errors import InputError
from pypx.model.plain import plain
from pypx.workflows.report import Row, StudyBlock

NAME_WIDTH = 30
VALUE_WIDTH = 50
RESET = "\x1b[0m"
_COLOURS = {"": ("", ""), "dark": ("\x1b[1;35m", "\x1b[1;32m"), "light": ("\x1b[0;35m", "\x1b[1;32m")}


def width(text: str) -> int:
    """Columns that `text` takes on a terminal: wide East Asian characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def pad(text: str, columns: int) -> str:
    """`text` filled with blanks to `columns`."""
    return text + " " * (columns - width(text))


def raw_text(blocks: Iterable[StudyBlock], *, colorize: str = "") -> str:
    """The ``rawText`` report: a line a tag, names aligned right.

    Parameters
    ----------
    blocks : the report
    colorize : ``dark`` or ``light`` for coloured names and values, ``""`` for plain text

    Raises
    ------
    InputError : unknown colour scheme
    """
    return "".join(
        raw_rows(block.header, colorize)
        + "\n"
        + "".join(raw_rows(series.body, colorize) for series in block.series)
        + "\n\n"
        for block in blocks
    )


def raw_rows(rows: Iterable[Row], colorize: str = "") -> str:
    """Tag rows of ``rawText``."""
    if colorize not in _COLOURS:
        raise InputError(f"--colorize: {colorize!r} is none of dark, light")
    name_colour, value_colour = _COLOURS[colorize]
    end = RESET if colorize else ""
    return "".join(
        f"{name_colour}{tag:>{NAME_WIDTH}}{value_colour}  {pad(plain(value), VALUE_WIDTH)}{end}\n"
        for tag, value in rows
    )


def tagged(blocks: Iterable[StudyBlock]) -> str:
    """The ``tabular`` report for a pipe: a line a tag, with a tab before the value; an empty line ends a study."""
    return "".join(
        "".join(
            f"{plain(tag)}\t{plain(value)}\n"
            for rows in (block.header, *(series.body for series in block.series))
            for tag, value in rows
        )
        + "\n"
        for block in blocks
    )


def tabular(blocks: Iterable[StudyBlock]) -> str:
    """The ``tabular`` report as plain text: two boxes a study, header and body."""
    return "".join(
        _box(block.header) + _box(tuple(row for series in block.series for row in series.body)) + "\n"
        for block in blocks
    )


def _box(rows: tuple[Row, ...]) -> str:
    if not rows:
        return ""
    cells = [(plain(tag), plain(value)) for tag, value in rows]
    names = max(NAME_WIDTH, *(width(tag) for tag, _ in cells))
    values = max(VALUE_WIDTH, *(width(value) for _, value in cells))
    lines = [f"│ {pad(tag, names)} │ {pad(value, values)} │\n" for tag, value in cells]
    top = f"┌{'─' * (names + 2)}┬{'─' * (values + 2)}┐\n"
    bottom = f"└{'─' * (names + 2)}┴{'─' * (values + 2)}┘\n"
    return top + "".join(lines) + bottom
