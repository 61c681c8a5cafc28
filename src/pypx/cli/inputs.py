"""What commands read besides their options: JSON documents and query files, from a file, stdin or an option."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypx.errors import InputError

if TYPE_CHECKING:
    from pypx.cli.options import F
    from pypx.model.found import FindResult
    from pypx.model.pacs import PacsNode

_MAX_BYTES = 1 << 30


def stdin_is_terminal() -> bool:
    """Whether nobody pipes anything in."""
    stream: Any = sys.stdin
    return stream is None or stream.isatty()


def stdin_has_input() -> bool:
    """Whether stdin is a pipe or a file that may carry a document: not a terminal, not closed, not ``/dev/null``."""
    if stdin_is_terminal():
        return False
    try:
        import os
        import stat

        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return True
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def read_text(source: str, what: str) -> str:
    """Read a file, or stdin for ``-``.

    Parameters
    ----------
    source : path, or ``-``
    what : how an error names what was to be read, such as ``find document``

    Raises
    ------
    InputError : stdin is a terminal, the file cannot be read, or it is not UTF-8
    """
    if source == "-":
        if stdin_is_terminal():
            raise InputError(f"nothing to read: pipe a {what} in, or name its file")
        data = sys.stdin.buffer.read(_MAX_BYTES + 1)
    else:
        try:
            with Path(source).open("rb") as stream:
                data = stream.read(_MAX_BYTES + 1)
        except OSError as error:
            raise InputError(f"{source}: cannot read the {what}: {error.strerror}") from None
    name = _name(source)
    if len(data) > _MAX_BYTES:
        raise InputError(f"{name}: the {what} has more than {_MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: the {what} is not UTF-8 text (byte {error.start})") from None


def parse_object(text: str, name: str, what: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises
    ------
    InputError : empty, not JSON (:func:`pypx.model.jsontext.parse_json`), or no object
    """
    if not text.strip():
        raise InputError(f"{name}: empty where {_one(what)} (JSON) was expected; did the command before it fail?")
    from pypx.model.jsontext import JsonTextError, parse_json

    try:
        value = parse_json(text)
    except JsonTextError as error:
        text = f"{name}: not JSON where {_one(what)} was expected: "
        raise InputError(f"{text}{error}", detail=f"{text}{error.detail}") from None
    if not isinstance(value, dict):
        raise InputError(f"{name}: a JSON object was expected as {what}, not a {type(value).__name__}")
    return value


def _one(what: str) -> str:
    return f"{'an' if what[:1] in 'aeiou' else 'a'} {what}"


def _name(source: str) -> str:
    return "stdin" if source == "-" else source


class DocumentSource:
    """Where a command finds the document of a find: option text, file, or stdin."""

    __slots__ = ("file", "text")

    def __init__(self, text: str | None, file: str | None) -> None:
        self.text = text
        self.file = file

    @property
    def named(self) -> bool:
        """Whether the user said where it is."""
        return bool(self.text or self.file)

    @property
    def present(self) -> bool:
        """Whether there is one: named, or piped in."""
        return self.named or stdin_has_input()

    def read(self) -> dict[str, Any]:
        """Read the document.

        Raises
        ------
        InputError : there is none, or it is no JSON object
        """
        from pypx.compat.find_read import parse_document

        if self.text:
            return parse_document(self.text, "--reportData")
        source = self.file or "-"
        return parse_document(read_text(source, "find document"), _name(source))


def document(function: F) -> F:
    """Give the command ``document``: where the find's JSON is (``--reportData``, ``--reportDataFile``, stdin)."""
    import click  # px-do and px-report read documents too, and do not use click

    from pypx.cli.options import given, record

    def make(_values: object) -> DocumentSource:
        return DocumentSource(given("report_data"), given("report_data_file"))

    decorate: Callable[[F], F] = record(
        "document",
        make,
        click.option(
            "--reportData", "--report-data", "report_data", metavar="JSON", help="The find document itself.",
        ),
        click.option(
            "--reportDataFile", "--report-data-file", "report_data_file", metavar="FILE",
            help="File with the find document; otherwise it is read from stdin.",
        ),
    )  # fmt: skip
    return decorate(function)


def known_peer(result: FindResult) -> PacsNode | None:
    """The PACS that a find document names, ``None`` if it names none."""
    return result.peer if result.peer.host else None
