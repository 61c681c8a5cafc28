"""The command ``px``: a group whose commands are imported when they are asked for, and the one place that ends it.

Nothing heavy may be imported here; `px --help` names the commands from :data:`COMMANDS` without loading them.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from pypx import __version__
from pypx.cli import console, running
from pypx.cli.options import common
from pypx.cli.verbs import COMMANDS, program_of, spread_verbosity
from pypx.errors import InputError, PxError

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

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the words that come before the command."""
        try:
            return super().make_context(*args, **extra)
        except KeyboardInterrupt:
            raise _interrupted() from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that went away (``px find | head``) ends it quietly, as SIGPIPE would."""
        try:
            result = super().invoke(ctx)
            console.flush()
        except BrokenPipeError:
            console.discard()
            ctx.exit(running.EXIT_PIPE)
        except KeyboardInterrupt:
            raise _interrupted() from None
        return result

    def main(  # type: ignore[override]  # the result is an exit of the process, as in click's standalone mode
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run the command named by `args` and end the process with its exit code."""
        argv = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        if argv[:1] == ["--legacy"]:
            from pypx.cli.legacy import main

            sys.exit(running.guarded(lambda: main(argv[1:]), argv))
        run_click = super().main
        sys.exit(running.guarded(lambda: _translated(lambda: run_click(argv, prog_name or "px", **extra), argv), argv))


def _interrupted() -> click.exceptions.Abort:
    """What ^C becomes: click would begin with an empty line, which only a terminal needs, as it shows ^C there."""
    console.end_line()
    return click.exceptions.Abort()


def _translated(work: Callable[[], Any], argv: Sequence[str]) -> Any:
    """Do `work`; what click raises of wrong usage and of ^C becomes what :func:`~pypx.cli.running.guarded` knows."""
    try:
        return work()
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        place = context.command_path if context else program_of(argv)
        kind = InputError if error.exit_code == InputError.exit_code else PxError
        whole, more = error.format_message().rstrip("."), f" (see: {place} --help)"
        text = re.sub(r"^(Got unexpected extra arguments?) \(.*\)$", r"\1", whole, flags=re.DOTALL)  # maybe a patient
        raise kind(f"{text}{more}", detail=f"{whole}{more}" if text != whole else "") from error


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
    """Run the command that the process was started with."""
    running.run(px.main)
