"""``px do``: further steps over what a find found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pypx.cli import chain_options, inputs, options, tool_options
from pypx.cli.chain_options import Then
from pypx.cli.console import Console
from pypx.cli.peer_options import PeerOptions, peer_overrides
from pypx.errors import InputError, PeerError

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.services.dcmtk import Limits, Programs

_EPILOG = options.epilog(
    """
    px find --PatientID 1234567 --json > found.json
    px do --reportDataFile found.json --then retrieve,status --basemount /data/dicom
    px find --PatientID 1234567 --json | px do --then retrieve --withFeedBack --json
    """,
    0, 2, 10, 11, 20, 21, 40,
    _3="a step failed for some series",
    _12="the PACS sent nothing, or the document says that its find failed",
)  # fmt: skip


@click.command("do", cls=options.PxCommand, epilog=_EPILOG)
@inputs.document
@chain_options.then
@peer_overrides
@options.layout(required=False)
@tool_options.limits
@tool_options.programs("movescu")
@options.output()
def command(
    *,
    document: inputs.DocumentSource,
    then: Then,
    peer: PeerOptions,
    layout: Layout | None,
    limits: Limits,
    programs: Programs,
    out: Console,
) -> int:
    """Run the steps of --then over the JSON of px find, from stdin or a file.

    The PACS, and the database, are those of the document unless options say otherwise.
    """
    from pypx.compat.find_read import document_args, from_document
    from pypx.compat.then_json import to_document

    found = document.read()
    result = from_document(found)
    args = document_args(found)
    chosen = then.over(args)
    steps = chosen.steps
    if not steps:
        raise InputError("nothing to do: give --then VERB,... (retrieve, status, push, register, report)")
    database = chain_options.database_for(steps, layout or _layout_of(args))
    base = inputs.known_peer(result)
    node = peer.node(base) if any(step.verb == "retrieve" for step in steps) else base or result.peer
    with out.failing(PeerError, lambda error: {"do": False, "status": "error", "data": str(error)}):
        chain = chain_options.run(
            result, steps, chosen, database=database, node=node, limits=limits, programs=programs, out=out
        )
    if out.json:
        out.document(to_document(chain, database))
    else:
        chain_options.show(result, chain, out)
    chain_options.linger(then)
    return chain_options.exit_code(chain, out)


def _layout_of(args: Mapping[str, Any]) -> Layout | None:
    """The database that the document's find used, if it named one."""
    from pathlib import Path

    from pypx.compat.find_args import FIND_ARGS
    from pypx.db.layout import Layout

    log = str(args.get("dblogbasepath") or "")
    return Layout.of_log(Path(log)) if log and log != FIND_ARGS["dblogbasepath"] else None
