"""px-echo and px-move."""

from __future__ import annotations

from pypx.compat.commands import ECHOSCU, MOVESCU, move_command
from pypx.compat.legacy_call import Answer, Call
from pypx.compat.move_json import echo_document, echo_error_document, move_document, move_error_document
from pypx.errors import PeerError, PeerFailedError, PxError
from pypx.model.identifiers import parse_uid
from pypx.model.records import SeriesRef
from pypx.workflows.echo import echo as ask
from pypx.workflows.move import retrieve


def echo(call: Call) -> Answer:
    """Ask for a C-ECHO, and make the document of px-echo."""
    program = call.text("echoscu", ECHOSCU)
    try:
        node, limits, programs = call.node(), call.limits(), call.programs()
    except PxError as error:
        return Answer(_refused(error), error)
    try:
        return Answer(echo_document(ask(node, limits=limits, programs=programs), program=program))
    except PeerError as error:
        return Answer(echo_error_document(error, node, program=program), error)
    except PxError as error:
        return Answer(_refused(error), error)


def move(call: Call) -> Answer:
    """Have a series sent, and make the document of px-move."""
    program = call.text("movescu", MOVESCU)
    try:
        node, limits, programs = call.node(), call.limits(), call.programs()
        series = SeriesRef(
            parse_uid(call.text("StudyInstanceUID"), "StudyInstanceUID"),
            parse_uid(call.text("SeriesInstanceUID"), "SeriesInstanceUID"),
        )
    except PxError as error:
        return Answer(_refused(error), error)
    try:
        (outcome,) = retrieve([series], node, limits=limits, programs=programs)
    except PeerError as error:
        return Answer(move_error_document(error, move_command(series, node, program=program)), error)
    except PxError as error:
        return Answer(_refused(error), error)
    trouble = None if outcome.ok else PeerFailedError(f"{node}: {outcome.error or outcome.state.value}")
    return Answer(move_document(outcome, node, program=program), trouble)


def _refused(error: PxError) -> dict[str, object]:
    """The document of a request that was not made."""
    return {"status": "error", "data": f"{error}\n", "command": "", "returncode": error.exit_code}
