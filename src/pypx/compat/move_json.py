"""C-ECHO and C-MOVE outcomes as pypx 3 returned them."""

from __future__ import annotations

from typing import Any

from pypx.compat.commands import ECHOSCU, MOVESCU, echo_command, move_command
from pypx.errors import PeerError
from pypx.model.outcomes import EchoOutcome, MoveOutcome
from pypx.model.peers import PacsNode

_DONE = 0
_ECHO_FAILED = 1
_MOVE_FAILED = 69
_NO_ASSOCIATION = 61


def echo_document(outcome: EchoOutcome, *, program: str = ECHOSCU) -> dict[str, Any]:
    """The document of a verification that was answered; ``data`` holds the steps as echoscu names them."""
    return {
        "status": "success",
        "data": [
            "I: Requesting Association",
            "I: Association Accepted",
            "I: Sending Echo Request (MsgID 1)",
            "I: Received Echo Response (Success)",
            "I: Releasing Association",
        ],
        "command": echo_command(outcome.peer, program=program),
        "returncode": _DONE,
    }


def echo_error_document(error: PeerError, node: PacsNode, *, program: str = ECHOSCU) -> dict[str, Any]:
    """The document of a verification that failed, a rejected association included (pypx called that success)."""
    return {
        "status": "error",
        "data": f"{error}\n",
        "command": echo_command(node, program=program),
        "returncode": _ECHO_FAILED,
    }


def move_document(
    outcome: MoveOutcome, node: PacsNode, *, program: str = MOVESCU, series_first: bool = False
) -> dict[str, Any]:
    """The document of one C-MOVE request; ``success`` means that the PACS said so in its final response.

    Parameters
    ----------
    outcome : what came of the request
    node : the PACS
    program : path of movescu as ``command`` shows it
    series_first : the order of the keys in ``command`` that ``--then retrieve`` had
    """
    return {
        "status": "success" if outcome.ok else "error",
        "data": [] if outcome.ok else f"{outcome.error or outcome.state.value}\n",
        "command": move_command(outcome.series, node, program=program, series_first=series_first),
        "returncode": _returncode(outcome),
    }


def _returncode(outcome: MoveOutcome) -> int:
    if outcome.ok:
        return _DONE
    return _MOVE_FAILED if outcome.status is not None else _NO_ASSOCIATION


def move_error_document(error: PeerError, command: str) -> dict[str, Any]:
    """The document of a C-MOVE that found no PACS to ask; `command` as :func:`move_command` writes it."""
    return {"status": "error", "data": f"{error}\n", "command": command, "returncode": _NO_ASSOCIATION}
