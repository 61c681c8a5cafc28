"""Ask whether a PACS answers (C-ECHO)."""

from __future__ import annotations

from pypx.model.outcomes import EchoOutcome
from pypx.model.pacs import PacsNode
from pypx.services import dcmtk
from pypx.services.dcmtk import Limits, Programs


def echo(node: PacsNode, *, limits: Limits | None = None, programs: Programs | None = None) -> EchoOutcome:
    """Ask the PACS for a C-ECHO; only its own Success counts.

    Parameters
    ----------
    node : the PACS, and the AE titles to use
    limits, programs : time limits and programs; the usual ones by default

    Raises
    ------
    PeerUnreachableError : no connection, or no answer to the association request
    PeerRejectedError : the PACS rejected the association; the text has its reason
    PeerFailedError : no answer, or another status than Success
    ToolMissingError, ToolFailedError : echoscu cannot be run

    References
    ----------
    DICOM PS3.4 annex A; echoscu(1), DCMTK 3.6.7
    """
    return EchoOutcome(node, dcmtk.echo(node, limits or Limits(), programs or Programs()))
