"""``px echo``: whether a PACS answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pypx.cli import options, tool_options
from pypx.cli.console import Console
from pypx.cli.peer_options import peer

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.model.pacs import PacsNode
    from pypx.services.dcmtk import Limits, Programs

_EPILOG = options.epilog(
    """
    px echo --serverIP 10.0.0.5 --serverPort 4242 --aec ORTHANC --aet CHRIS
    px echo --PACS orthanc --basemount /data/dicom
    px echo --serverIP pacs.example.org --serverPort 2762 --aec PACS --tls --tls-ca hospital-ca.pem
    """,
    0, 2, 10, 11, 12, 20, 21,
)  # fmt: skip


@click.command("echo", cls=options.PxCommand, epilog=_EPILOG)
@peer(move=False)
@options.layout(required=False)
@tool_options.limits
@tool_options.programs("echoscu")
@options.output()
def command(node: PacsNode, layout: Layout | None, limits: Limits, programs: Programs, out: Console) -> None:  # noqa: ARG001 - the layout serves --PACS
    """Check that a PACS answers: connection, association and C-ECHO, each told apart when it fails."""
    from pypx.compat.commands import ECHOSCU
    from pypx.compat.move_json import echo_document, echo_error_document
    from pypx.errors import PeerError
    from pypx.workflows.echo import echo

    program = str(options.given("echoscu") or ECHOSCU)
    with out.failing(PeerError, lambda error: echo_error_document(error, node, program=program)):
        out.detail(f"C-ECHO to {node} as {node.calling_aet}")
        outcome = echo(node, limits=limits, programs=programs)
    milliseconds = round(outcome.seconds * 1000)
    if out.json:
        out.document(echo_document(outcome, program=program) | {"milliseconds": milliseconds})
    elif out.jsonl:
        out.record({"status": "success", "peer": str(node), "milliseconds": milliseconds})
    else:
        out.line(f"{node} answered in {milliseconds} ms")
