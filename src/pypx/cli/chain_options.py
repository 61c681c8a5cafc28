"""The options of ``--then``, and a chain from them to what is shown: for px find and px do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

import click

from pypx.cli import console, options, tool_options
from pypx.cli.console import Console
from pypx.cli.fetch_options import OPTIONS, Completing, completing_of
from pypx.errors import CubeError, InputError, PartialError, StorageError
from pypx.model.dataclass import dataclass

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.db.smdb import Database
    from pypx.model.outcomes import FindResult, MoveOutcome, PushOutcome, RegisterOutcome, SeriesStatus
    from pypx.model.peers import PacsNode
    from pypx.services.dcmtk import Limits, Programs
    from pypx.workflows.chain import ChainResult, Event, Outcome
    from pypx.workflows.then import Step


@dataclass(frozen=True, slots=True)
class Then:
    """What is to be done with a find result: verbs with their arguments, and how."""

    verbs: str
    args: str
    feedback: bool
    delay: str
    linger: bool
    completing: Completing = field(default_factory=Completing)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The verbs, checked.

        Raises
        ------
        InputError : an unknown verb, arguments that do not fit the verbs, or a delay that is none
        """
        if not self.verbs.strip() and not self.args.strip():
            return ()
        from pypx.workflows.chain import VERBS
        from pypx.workflows.move import parse_delay
        from pypx.workflows.then import parse_then

        steps = parse_then(self.verbs, self.args)
        parse_delay(self.delay or "0")
        for step in steps:
            if step.verb not in VERBS:
                raise InputError(f"--then: {step.verb!r} is no verb; px knows {', '.join(VERBS)}")
        return steps

    @property
    def shown_args(self) -> str:
        """``--thenArgs`` as it may stand in a document: without logins."""
        if not self.args:
            return ""
        from pypx.workflows.then import public_args

        return public_args(self.verbs, self.args)

    def over(self, args: Mapping[str, Any]) -> Then:
        """Take from the ``args`` of a find document what the command line left open."""
        return replace(
            self,
            verbs=self.verbs or str(args.get("then") or ""),
            args=self.args or ("" if self.verbs else str(args.get("thenArgs") or "")),
            delay=self.delay or str(args.get("intraSeriesRetrieveDelay") or ""),
        )


def _then(values: Mapping[str, Any]) -> Then:
    return Then(
        values["then"] or "",
        values["then_args"] or "",
        values["feedback"],
        values["delay"],
        values["linger"],
        completing_of(values),
    )


then = options.record(
    "then",
    _then,
    click.option(
        "--then", "then", metavar="VERB,...",
        help="Then do retrieve, status, push, register, report, in the order given.",
    ),
    click.option(
        "--thenArgs", "--then-args", "then_args", metavar="JSON;...",
        help="Options for each verb: a JSON object a verb, separated by semicolons.",
    ),
    click.option(
        "--withFeedBack", "--with-feedback", "feedback", is_flag=True, help="Say on stderr what is being done.",
    ),
    tool_options.delay,
    click.option("--move", "move", is_flag=True, help="Accepted; every retrieve is a C-MOVE."),
    click.option(
        "--waitForUserTerminate", "--wait-for-user-terminate", "linger", is_flag=True,
        help="Wait for ENTER at the end, if a terminal is there.",
    ),
    *OPTIONS,
)  # fmt: skip


def database_for(steps: tuple[Step, ...], layout: Layout | None) -> Database:
    """Open the database; one that is not there yet is made with the first request that is noted in it.

    Raises
    ------
    InputError : they need a BASEMOUNT and none is named
    """
    from pathlib import Path

    from pypx.db.layout import Layout as Places
    from pypx.db.smdb import Database

    verbs = [step.verb for step in steps]
    if layout is None:
        if set(verbs) - {"report"}:
            raise InputError(
                f"--then {','.join(verbs)}: no BASEMOUNT; give --basemount DIR (PX_BASEMOUNT) or --db DIR/log (PX_DB)"
            )
        return Database.open(Places.of_basemount(Path("/nonexistent")))
    return Database.open(layout)


def run(
    result: FindResult,
    steps: tuple[Step, ...],
    then: Then,
    *,
    database: Database,
    node: PacsNode,
    limits: Limits,
    programs: Programs,
    out: Console,
    counted: bool = False,
) -> ChainResult:
    """Run the chain and tell people about it; `counted`: the result was found a moment ago."""
    from pypx.workflows.chain import ChainOptions, run_chain
    from pypx.workflows.move import parse_delay

    quiet = contextlib.nullcontext(None)  # the lines of --withFeedBack and a bar would overwrite each other
    with quiet if then.feedback else out.progress("images") as advance:
        chain_options = ChainOptions(
            delay=parse_delay(then.delay or "0"),
            model=result.query.model,
            limits=limits,
            programs=programs,
            progress=advance,
            expect=then.completing.expect,
            counted=counted,
            force=then.completing.force,
            beside=then.completing.beside,
            retries=then.completing.retries,
            pause_s=then.completing.pause_s,
            notice=out.note,
        )
        return run_chain(
            result,
            steps,
            database=database,
            node=node,
            options=chain_options,
            on_event=_teller(result, database, then, out),
        )


def _teller(result: FindResult, database: Database, then: Then, out: Console) -> Callable[[Event], None]:
    """What to do with the events of a chain: ``--withFeedBack`` tells them as pypx did, on stderr."""
    if not then.feedback or out.verbosity < 1:
        return lambda event: out.detail(_detail(event))
    from pypx.compat.feedback import Feedback

    feedback = Feedback(result, database, colour=console.colours(error=True))
    return lambda event: console.tell(feedback.text(event))


def _detail(event: Event) -> str:
    from pypx.workflows.chain import SeriesDone

    if not isinstance(event, SeriesDone) or event.outcome is None:
        return ""
    return f"{event.verb} {event.series.SeriesInstanceUID}: {_record(event.outcome)['state']}"


def show(result: FindResult, chain: ChainResult, out: Console) -> None:
    """Show what each verb did: a table a verb, or a record a series and verb."""
    from pypx.cli import render

    for number, done in enumerate(chain.verbs):
        outcomes = [outcome for _, of_study in done.studies for outcome in of_study]
        records = [{"verb": done.verb} | _record(outcome) for outcome in outcomes if outcome is not None]
        if out.jsonl:
            for record in records:
                out.record(record)
            continue
        if number:
            console.write("\n")
        if done.verb == "report":
            _report(result, out)
        elif records:
            render.show_records(_columns(done.verb), records, out)


def _columns(verb: str) -> Sequence[str]:
    from pypx.cli import render, store_records

    columns = {
        "retrieve": render.MOVE_COLUMNS,
        "push": store_records.PUSH_COLUMNS,
        "register": store_records.REGISTER_COLUMNS,
    }
    return columns.get(verb, render.STATUS_COLUMNS)


def _record(outcome: MoveOutcome | SeriesStatus | PushOutcome | RegisterOutcome) -> dict[str, Any]:
    from pypx.cli.records import move_record, status_record
    from pypx.cli.store_records import push_record, register_record
    from pypx.model.outcomes import MoveOutcome, PushOutcome, SeriesStatus

    if isinstance(outcome, MoveOutcome):
        return move_record(outcome)
    if isinstance(outcome, SeriesStatus):
        return status_record(outcome)
    return push_record(outcome) if isinstance(outcome, PushOutcome) else register_record(outcome)


def _report(result: FindResult, out: Console) -> None:
    from pypx.cli.cmd_report import show as show_report
    from pypx.compat.report_csv import CsvOptions
    from pypx.workflows.report import report

    show_report(list(report(result)), "tabular", CsvOptions(), "", out)


def exit_code(chain: ChainResult, out: Console) -> int:
    """Exit code of a chain: 0, or 3 if a verb failed for some series.

    If a verb failed for all of them, it is that of the first such verb: 12 nothing sent, 30 nothing pushed, 31 nothing
    registered.
    """
    for line in chain.failed:
        out.note(line)
    codes = [_code([outcome for _, of_study in done.studies for outcome in of_study]) for done in chain.verbs]
    return next((code for code in codes if code > PartialError.exit_code), max(codes, default=0))


def _code(outcomes: Sequence[Outcome]) -> int:
    """Exit code of one verb."""
    from pypx.cli import moves
    from pypx.model.outcomes import MoveOutcome, PushOutcome, RegisterOutcome

    moved = [outcome for outcome in outcomes if isinstance(outcome, MoveOutcome)]
    handed = [outcome for outcome in outcomes if isinstance(outcome, PushOutcome | RegisterOutcome)]
    if moved:
        return moves.exit_code(moved)
    if all(outcome.ok for outcome in handed):
        return 0
    if any(outcome.done if isinstance(outcome, PushOutcome) else outcome.registered for outcome in handed):
        return PartialError.exit_code
    return StorageError.exit_code if isinstance(handed[0], PushOutcome) else CubeError.exit_code


def linger(then: Then) -> None:
    """Wait for ENTER if ``--waitForUserTerminate`` asks for it and somebody is there."""
    from pypx.cli.inputs import stdin_is_terminal

    if then.linger and stdin_is_terminal():
        console.say("Images may still be on their way. Hit ENTER to exit.")
        input()
