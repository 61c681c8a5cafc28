"""``px find``: which studies and series a PACS has."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from pypx.cli import chain_options, options, tool_options
from pypx.cli.chain_options import Then
from pypx.cli.console import Console
from pypx.cli.peer_options import peer
from pypx.cli.query_options import QueryCommand, query
from pypx.errors import PartialError, PeerError

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.model.found import FindResult
    from pypx.model.pacs import PacsNode
    from pypx.model.query import Query
    from pypx.services.dcmtk import Limits, Programs

_EPILOG = options.epilog(
    """
    px find --PatientID 1234567
    px find --PatientName 'DOE^*' --StudyDate 20240101- --Modality MR --json
    px find --PatientBirthDate 19800101 --key BodyPartExamined=BRAIN
    px find --query-file - --jsonl < keys.txt
    px find --PatientID 1234567 --then retrieve,status --basemount /data/dicom
    px find --PatientID 1234567 --json | px report
    """,
    2, 10, 11, 12, 20, 21, 40,
    _0="done, also if nothing matches",
    _3="an answer is incomplete, or a step of --then failed for some series",
)  # fmt: skip


@click.command("find", cls=QueryCommand, epilog=_EPILOG)
@query
@peer()
@options.layout(required=False)
@chain_options.then
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Associations to ask through at once (two from 16 queries on, else one). px does without those that the PACS "
    "refuses.",
)
@click.option(
    "--split/--no-split", "split", default=True, show_default=True,
    help="Ask again in parts (by date, then by modality) where the PACS may have cut its answer short.",
)  # fmt: skip
@tool_options.limits
@tool_options.programs("findscu", "movescu")
@options.output()
def command(
    *,
    query: Query,
    node: PacsNode,
    layout: Layout | None,
    then: Then,
    jobs: int | None,
    split: bool,
    limits: Limits,
    programs: Programs,
    out: Console,
) -> int:
    """Ask a PACS which studies and series it has.

    Any other DICOM keyword is an option too, such as --PatientBirthDate 19800101. Values take the wildcards * and ?,
    dates a range, UIDs a list.
    """
    from pypx.workflows.find import find

    steps = then.steps
    database = chain_options.database_for(steps, layout) if steps else None
    given = _given(then, layout, out)
    out.detail(f"C-FIND to {node} as {node.calling_aet}, {query.model.value} root, matching {_names(query)}")
    with (
        out.failing(PeerError, partial(_error_document, query, node, given)),
        out.progress("studies") as advance,
    ):
        result = find(query, node, limits=limits, programs=programs, jobs=jobs, progress=advance, split=split)
    _tell_of_gaps(result, out)
    code = PartialError.exit_code if result.problems else 0
    if database is None:
        _show(result, given, out)
    else:
        chain = chain_options.run(
            result, steps, then,
            database=database, node=node, limits=limits, programs=programs, out=out, counted=True,
        )  # fmt: skip
        if out.json:
            from pypx.compat.find_json import to_document
            from pypx.compat.then_json import to_document as then_document

            out.document(to_document(result, given, then_document(chain, database)) | _completeness(result))
        else:
            chain_options.show(result, chain, out)
        code = code or chain_options.exit_code(chain, out)
    chain_options.linger(then)
    return code


def _show(result: FindResult, given: dict[str, Any], out: Console) -> None:
    """Show what was found; only now is it known how, so the other way is not loaded."""
    if out.json:
        from pypx.compat.find_json import to_document

        out.document(to_document(result, given) | _completeness(result))
    else:
        from pypx.cli.render import show_found

        show_found(result, out)


def _error_document(query: Query, node: PacsNode, given: dict[str, Any], error: PeerError) -> Mapping[str, Any]:
    from pypx.compat.find_json import error_document

    return error_document(error, query, node, given)


def _tell_of_gaps(result: FindResult, out: Console) -> None:
    from pypx.model.found import Completeness

    for problem in result.problems:
        out.note(f"incomplete: {problem}")
    if result.complete is Completeness.UNKNOWN:
        out.note("this may not be all: at such a number a PACS may have cut its answer short; ask for less at a time")


def _completeness(result: FindResult) -> dict[str, Any]:
    """What the document says beyond pypx's: whether it is the whole answer, and what is known to be missing."""
    return {"complete": result.complete.value, "problems": list(result.problems)}


def _names(query: Query) -> str:
    return ", ".join(key.keyword for key in query.match) or "everything"


def _given(then: Then, layout: Layout | None, out: Console) -> dict[str, Any]:
    """The options that stand in the document, under the names pypx gave them."""
    values: dict[str, Any] = {
        "PACS": options.given("pacs") or "",
        "then": then.verbs,
        "thenArgs": then.shown_args,
        "withFeedBack": then.feedback,
        "intraSeriesRetrieveDelay": then.delay or "0",
        "verbosity": out.verbosity,
        "json": out.json,
    }
    values |= {name: options.given(name) for name in ("findscu", "movescu") if options.given(name)}
    return values | {"dblogbasepath": str(layout.log)} if layout else values
