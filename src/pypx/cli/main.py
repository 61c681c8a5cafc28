"""The command ``px``: a group whose commands are imported when they are asked for, and the one place that ends it.

Nothing heavy may be imported here; `px --help` names the commands from :data:`COMMANDS` without loading them.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import click

from pypx import __version__
from pypx.cli import console, interrupts
from pypx.cli.options import common, spread_verbosity
from pypx.errors import PxError


class Verb(NamedTuple):
    """A command as the group knows it before it is loaded.

    `program` tells whether its ``--json`` document is of the kind that wraps a DCMTK program: ``"status": "error"``
    with ``data``, ``command`` and ``returncode`` where the others say ``"status": false``.
    """

    module: str
    summary: str
    program: bool = False


COMMANDS = {
    "echo": Verb("cmd_echo", "Check that a PACS answers.", program=True),
    "find": Verb("cmd_find", "Ask a PACS which studies and series it has.", program=True),
    "report": Verb("cmd_report", "Show what px find found as table, text, CSV or JSON."),
    "move": Verb("cmd_move", "Have a PACS send series to a listener.", program=True),
    "listen": Verb("cmd_listen", "Receive what a PACS sends and file it."),
    "repack": Verb("cmd_repack", "File DICOM files that are on disk already."),
    "push": Verb("cmd_push", "Push images to Swift, S3, a directory or a PACS."),
    "register": Verb("cmd_register", "Tell CUBE of images in its storage."),
    "storage": Verb("cmd_storage", "List, put, get and remove objects of a store."),
    "status": Verb("cmd_status", "Say how much of which series has arrived."),
    "do": Verb("cmd_do", "Run further steps over what px find found."),
    "smdb": Verb("cmd_smdb", "Look into the database, and name PACS and stores."),
    "completion": Verb("cmd_completion", "Print the completion script for your shell."),
}

GUIDE = """\
px asks a PACS for images, receives them, files them and hands them on.

First steps, PACS at 10.0.0.5 port 4242 with AE title ORTHANC, ours CHRIS, results in /data/dicom:

  export PX_SERVER_IP=10.0.0.5 PX_SERVER_PORT=4242 PX_AEC=ORTHANC PX_AET=CHRIS PX_BASEMOUNT=/data/dicom

  px echo                                    does the PACS answer?
  px find --PatientID 1234567                what does it have of this patient?
  px listen --port 11113 &                   receive what the PACS sends
  px find --PatientID 1234567 --then retrieve,status
  px status --PatientID 1234567              what has arrived?

A PACS sends to addresses it knows only: its administrator enters our AE title, host and port.
px --help lists the commands, px find --help explains one of them.
"""

_EXIT_ABORT = 130
_EXIT_BUG = 70
_EXIT_PIPE = 141
_ENVIRONMENT = frozenset({
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE,
    errno.ENAMETOOLONG,
})  # fmt: skip


class PxGroup(click.Group):
    """The group ``px``: lazy commands, honest exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names of the commands, in the order of work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the module of one command."""
        verb = COMMANDS.get(cmd_name)
        if verb is None:
            return None
        command = importlib.import_module(f"pypx.cli.{verb.module}").command
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a wrong name is answered with the nearest right one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "; px --help lists the commands"
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.summary) for name, verb in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete a command's name without importing the commands."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=verb.summary) for name, verb in COMMANDS.items() if name.startswith(incomplete)
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let ``-v`` stand with or without its number."""
        return super().parse_args(ctx, spread_verbosity(args))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that went away (``px find | head``) ends it quietly, as SIGPIPE would."""
        try:
            result = super().invoke(ctx)
            console.flush()
        except BrokenPipeError:
            console.discard()
            ctx.exit(_EXIT_PIPE)
        except (
            KeyboardInterrupt
        ):  # click would begin with an empty line, which only a terminal needs: it shows ^C there
            console.end_line()
            raise click.exceptions.Abort from None
        return result

    def main(  # type: ignore[override]  # the result is an exit of the process, as in click's standalone mode
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run the command named by `args` and end the process with its exit code."""
        argv = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        console.begin()
        if argv[:1] == ["--legacy"]:
            sys.exit(guarded(lambda: _legacy(argv[1:]), argv))
        sys.exit(guarded(lambda: super(PxGroup, self).main(argv, prog_name or "px", **extra), argv))


def _legacy(argv: Sequence[str]) -> int:
    """Run a command of pypx 3, such as px-find: the programs of those names call ``px --legacy find``."""
    from pypx.cli.legacy import main

    try:
        return main(argv)
    except BrokenPipeError:
        console.discard()
        return _EXIT_PIPE


def guarded(work: Callable[[], Any], argv: Sequence[str]) -> int:
    """Do `work` and turn whatever it raises into one line on stderr and an exit code.

    Parameters
    ----------
    work : returns the exit code, or anything else for success
    argv : what the user typed, to know the verb, ``--json`` and ``--debug``
    """
    try:
        result = work()
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _fail(argv, _EXIT_ABORT, "interrupted")
    except click.ClickException as error:
        line = error.format_message().rstrip(".")
        context = getattr(error, "ctx", None)
        place = context.command_path if context else _program(argv)
        return _fail(argv, error.exit_code, f"{line} (see: {place} --help)")
    except PxError as error:
        return _fail(argv, error.exit_code, _told(error, argv))
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug is named as one, never as a traceback
        return _unexpected(argv, error)
    return result if isinstance(result, int) else 0


def _unexpected(argv: Sequence[str], error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in _ENVIRONMENT:
        return _fail(argv, PxError.exit_code, f"{os.strerror(error.errno)}{_place(error, argv)}")
    text = f"a bug in px: {type(error).__name__} at {_line_of(error)}"
    if _wordy(argv):  # it may hold the value that made the trouble, so a patient's
        text += f": {error}"
    return _fail(argv, _EXIT_BUG, f"{text[:400]} (run again with --debug and report what it prints)")


def _told(error: PxError, argv: Sequence[str]) -> str:
    """The line of an error: all of it for who asked for details, else without what tells of a patient."""
    if not error.detail:
        return str(error)
    return error.detail if _wordy(argv) else f"{error} (-v names it)"


def _place(error: OSError, argv: Sequence[str]) -> str:
    if not error.filename:
        return ""
    from pypx.db.files import shown

    whole = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    return f": {whole if _wordy(argv) else shown(whole)}"


def _line_of(error: Exception) -> str:
    trace, where = error.__traceback__, "an unknown place"
    while trace is not None:
        where = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"  # noqa: PTH119 - no path
        trace = trace.tb_next
    return where


def _wordy(argv: Sequence[str]) -> bool:
    """Whether details are wanted: ``--debug``, or ``-v``."""
    given = [word.partition("=")[2] for word in spread_verbosity(argv) if word.startswith("--verbosity=")]
    return "--debug" in argv or (bool(given) and given[-1].isdigit() and int(given[-1]) > 1)


def _fail(argv: Sequence[str], code: int, line: str) -> int:
    ended = interrupts.received()
    if ended is not None:  # whatever failed on the way out
        code, line = ended, "interrupted"
    interrupts.told()
    if "--debug" in argv:
        import traceback

        traceback.print_exc()
    verb = COMMANDS.get(_verb(argv))
    try:
        console.failure(
            _program(argv), line, code, document="--json" in argv, program_result=verb is not None and verb.program
        )
    except BrokenPipeError:
        console.discard()
    return code


def _verb(argv: Sequence[str]) -> str:
    return next((word for word in argv if word in COMMANDS), "")


def _program(argv: Sequence[str]) -> str:
    return f"px {_verb(argv)}".strip()


@click.group(
    cls=PxGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Every command explains itself, with examples and exit codes: px COMMAND --help.",
)
@click.option("--version", is_flag=True, help="Print the version; with -v also DCMTK's, and what is unsafe there.")
@common
@click.pass_context
def px(ctx: click.Context, *, version: bool, verbosity: int | None) -> None:
    """Query, retrieve, file and hand on DICOM images from a PACS."""
    if version:
        console.write(f"px {__version__}\n")
        if (verbosity or 0) > 1:
            _tell_of_dcmtk()
        ctx.exit()
    if ctx.invoked_subcommand is None:
        console.write(GUIDE)


def _tell_of_dcmtk() -> None:
    """The DCMTK build on stdout; what is unsafe about it, found by trying, on stderr."""
    from pypx.services.dcmtk import Programs
    from pypx.workflows.toolcheck import report

    version, warnings = report(Programs())
    console.write(f"{version}\n")
    for warning in warnings:
        console.say(f"px: warning: {warning}")


def run() -> None:
    """Entry point of the installed program ``px``."""
    console.prepare()
    interrupts.install(_program(sys.argv[1:]))
    try:
        px.main()
    finally:
        if interrupts.received() is not None:
            console.finish()  # here, where a pipe that nobody reads cannot hold it up for long
