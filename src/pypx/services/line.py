"""The way to a PACS for one run of a DCMTK program: straight, or by TLS through a relay of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pypx.errors import PxError
from pypx.model.dataclass import dataclass
from pypx.model.pacs import PacsNode


@dataclass(slots=True)
class Line:
    """What a program has to be told (`node`), and why TLS failed if it did (`failure`: goes before its own words)."""

    node: PacsNode
    failure: PxError | None = None


@contextmanager
def line_to(node: PacsNode, *, connect_s: float, acse_s: float) -> Iterator[Line]:
    """Open the way to a PACS; it is to be used inside the block.

    Parameters
    ----------
    node : the PACS; its `tls` says whether by TLS, and how it is verified
    connect_s, acse_s : limits of the TCP connection and of the TLS handshake, seconds

    Raises
    ------
    InputError : certificates or key cannot be used
    PxError : there is no loopback port for the relay
    """
    if node.tls is None:
        yield Line(node)
        return
    from pypx.services.tlsrelay import relayed  # noqa: PLC0415 - ssl is loaded for those who need it

    with relayed(node, node.tls, connect_s=connect_s, acse_s=acse_s) as line:
        yield line
