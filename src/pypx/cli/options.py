"""Every option that commands share, once.

A decorator per group takes its options out of the arguments of a command and hands it one ready record.  One
resolver, one order: option, ``PX_*`` variable, named service (``--PACS KEY``), default.  Every long-standing spelling
has a kebab-case alias.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from pypx.cli.console import Console, OutputFormat
from pypx.cli.verbs import spread_verbosity
from pypx.errors import InputError

if TYPE_CHECKING:
    from pypx.db.layout import Layout

Command = Callable[..., Any]
F = TypeVar("F", bound=Command)

EXITS = {
    0: "done",
    2: "wrong usage, unreadable input, unknown service key",
    3: "some failed, the others are done",
    10: "the PACS cannot be reached",
    11: "the PACS rejected the association",
    12: "the PACS failed the request",
    20: "DCMTK is not installed",
    21: "a program of DCMTK failed",
    40: "the BASEMOUNT cannot be read or written",
    41: "another process held a lock of the BASEMOUNT for too long",
    50: "no DICOM there",
}


class PxCommand(click.Command):
    """A command that takes ``-v`` with or without its number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse after the number of ``-v`` was joined to it."""
        return super().parse_args(ctx, spread_verbosity(args))


def epilog(examples: str, *codes: int, **more: str) -> str:
    """Text below the options of a command: examples to copy, then its exit codes.

    Parameters
    ----------
    examples : one a line
    codes : those of :data:`EXITS` the command can end with
    more : code to meaning where the command's own is more exact, written ``_3="some files were bad"``
    """
    meanings = {code: EXITS[code] for code in codes} | {int(code[1:]): text for code, text in more.items()}
    lines = [f"  {line.strip()}" for line in examples.strip().splitlines()]
    table = [f"  {code:>3}  {meanings[code]}" for code in sorted(meanings)]
    return "\n".join(["\b", "Examples:", *lines, "", "\b", "Exit codes:", *table])


def common(function: F) -> F:
    """Add ``-v`` and ``--debug``, which every command has."""
    for decorate in (
        click.option("--debug", is_flag=True, expose_value=False, help="Print a traceback if something fails."),
        click.option(
            "-v", "--verbosity", type=click.IntRange(0), metavar="[N]",
            help="0 is quiet, 1 the default, -v alone or 2 and up tell details on stderr.",
        ),
    ):  # fmt: skip
        function = decorate(function)
    return function


def record(
    name: str, make: Callable[[Mapping[str, Any]], object], *options: Callable[[Command], Command]
) -> Callable[[F], F]:
    """Build the decorator of a group of options that become one record.

    Parameters
    ----------
    name : the argument of the command that takes the record
    make : the record from the values of all options of the command
    options : click's decorators, in the order of the help
    """

    def decorate(function: F) -> F:
        own: set[str] = set()

        @functools.wraps(function)
        def wrapper(*args: Any, **values: Any) -> Any:
            given = click.get_current_context().params
            for taken in own:
                values.pop(taken, None)
            values[name] = make(given)
            return function(*args, **values)

        before = {param.name for param in getattr(wrapper, "__click_params__", [])}
        for option in reversed(options):
            option(wrapper)
        own.update(str(param.name) for param in wrapper.__click_params__ if param.name not in before)  # type: ignore[attr-defined]
        return wrapper  # type: ignore[return-value]

    return decorate


def given(name: str) -> Any:
    """Value of an option of this command, or of the group above it; ``None`` if it is empty or was not given."""
    ctx: click.Context | None = click.get_current_context()
    while ctx is not None:
        value = ctx.params.get(name)
        if value not in (None, "", ()):
            return value
        ctx = ctx.parent
    return None


def typed(name: str) -> bool:
    """Whether an option of this command, or of the group above it, stands on the command line."""
    ctx: click.Context | None = click.get_current_context()
    while ctx is not None:
        if ctx.params.get(name) not in (None, "", ()) and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            return True
        ctx = ctx.parent
    return False


# --- output


def output(*, jsonl: bool = True, json_help: str = "Print one JSON document, as pypx shapes it.") -> Callable[[F], F]:
    """Give the command ``out``: how to show its result (``--json``, ``--jsonl``, ``-v``)."""

    def make(values: Mapping[str, Any]) -> Console:
        if values.get("jsonl") and values.get("json"):
            raise click.UsageError("--json and --jsonl exclude each other", click.get_current_context())
        if values.get("jsonl"):
            form = OutputFormat.JSONL
        else:
            form = OutputFormat.JSON if values.get("json") else OutputFormat.TEXT
        verbosity = given("verbosity")
        return Console(form, 1 if verbosity is None else verbosity)

    lines = [click.option("--jsonl", is_flag=True, help="Print a JSON record a line.")] if jsonl else []
    return record(
        "out",
        make,
        click.option("--json", is_flag=True, help=json_help),
        *lines,
        common,
    )


# --- the BASEMOUNT


def named_layout() -> Layout | None:
    """Where the BASEMOUNT is that options or variables name, ``None`` if they name none.

    The command line goes before the environment.

    Raises
    ------
    InputError : two different ones are named
    """
    root, log, data = given("basemount"), given("db"), given("datadir")
    if not root and not log:
        return None
    from pypx.db.layout import Layout  # a find that is only to be shown needs none

    if root and log and typed("basemount") == typed("db"):
        if (Path(root) / "log").absolute() != Path(log).absolute():
            raise InputError(f"--basemount {root} and --db {log} name different databases; give one of them")
        log = None
    if root and (not log or typed("basemount")):
        layout = Layout.of_basemount(Path(root).absolute())
        return Layout.of_log(layout.log, Path(data).absolute()) if data else layout
    if log:
        return Layout.of_log(Path(log).absolute(), Path(data).absolute() if data else None)
    return None


def layout(*, required: bool, short: bool = False) -> Callable[[F], F]:
    """Give the command ``layout``: where its BASEMOUNT is, or ``None`` if none is named and none `required`.

    Parameters
    ----------
    short : whether ``-l`` and ``-d`` are taken for log and data directory, as px-repack and px-smdb do
    """

    def make(_values: Mapping[str, Any]) -> Layout | None:
        found = named_layout()
        if found is None and required:
            raise InputError("no BASEMOUNT: give --basemount DIR (or set PX_BASEMOUNT), or --db DIR/log (PX_DB)")
        return found

    log_names = ["-l"] if short else []
    data_names = ["-d"] if short else []
    return record(
        "layout",
        make,
        click.option(
            "--basemount", "--baseMount", "basemount", metavar="DIR", envvar="PX_BASEMOUNT",
            help="Directory of images and database (PX_BASEMOUNT).",
        ),
        click.option(
            *log_names, "--db", "--dblogbasepath", "--logdir", "db", metavar="DIR", envvar="PX_DB",
            help="Its log directory, if you name that instead (PX_DB).",
        ),
        click.option(
            *data_names, "--datadir", "datadir", metavar="DIR", envvar="PX_DATADIR",
            help="Root of the filed images, if not data/ beside log/ (PX_DATADIR).",
        ),
    )  # fmt: skip


def note_missing(layout: Layout, out: Console) -> None:
    """Tell that there is no BASEMOUNT where one is to be read, and which one nearby may be meant."""
    from pypx.db.formats import read_format
    from pypx.db.layout import Layout

    if read_format(layout) is not None or layout.incoming.is_dir() or layout.services.is_dir():
        return
    near = (layout.base, layout.log, layout.base.parent)  # given were its log/, its own directory as log, its data/
    meant = next((root for root in near if read_format(Layout.of_basemount(root)) is not None), None)
    hint = f"; did you mean --basemount {meant}?" if meant else "; nothing is recorded yet, or it is elsewhere"
    out.note(f"there is no BASEMOUNT at {layout.base}{hint}")
