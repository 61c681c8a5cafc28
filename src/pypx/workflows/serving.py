"""One association: the program that serves it, in a folder of its own; and the options of a listener."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pypx.errors import PxError
from pypx.model.identifiers import AETitle
from pypx.services.dcmtk import Limits, Programs, storescp_argv
from pypx.services.process import Child, start
from pypx.workflows import spool
from pypx.workflows.association import AccessRules, AssociationRequest


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """How a listener behaves.

    `port` may be 0: the kernel chooses.  `bind` is the address to listen on (empty: all).  `aet`, `calling_aets` and
    `networks` say who may send (``None``, empty: anybody).  Beyond `max_associations` at once, requests are rejected;
    while `max_backlog` files wait or less than `min_free_bytes` are free, they wait.  Limits in seconds: `request_s`
    from connection to request, `acse_s` and `dimse_s` as for storescp, `drain_s` for running associations to end once
    the listener is told to.
    """

    port: int
    bind: str = ""
    aet: AETitle | None = None
    calling_aets: frozenset[AETitle] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    max_associations: int = 32
    max_backlog: int = 10_000
    min_free_bytes: int = 1 << 30
    request_s: float = 10.0
    acse_s: float = 30.0
    dimse_s: float = 300.0
    drain_s: float = 60.0
    programs: Programs = field(default_factory=Programs)

    @property
    def rules(self) -> AccessRules:
        """Who may send."""
        return AccessRules(self.aet, self.calling_aets, self.networks)


@dataclass(slots=True)
class ServedAssociation:
    """An association and the program that serves it.

    `pidfd` becomes readable when that has ended (``None``: this kernel has none); `seconds` is how long it ran, `files`
    how many of its files have been recorded or set aside so far.
    """

    folder: Path
    child: Child
    request: AssociationRequest
    pidfd: int | None
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    exit_status: int | None = None
    files: int = 0


def serve(
    connection: int, request: AssociationRequest, listener: Path, number: int, options: ListenOptions
) -> ServedAssociation:
    """Start a storescp on a connection (a file descriptor); the lock of its folder is then held by it alone.

    Raises
    ------
    PxError : the folder cannot be made, or the program not started
    """
    folder, lock = spool.create_association(listener, number)
    try:
        child = start(
            storescp_argv(options.programs, folder, Limits(acse_s=options.acse_s, dimse_s=options.dimse_s)),
            stdin=connection,
            stdout=connection,
            cwd=folder,
            umask=0o027,
            pass_fds=(lock,),
        )
    except PxError:
        spool.remove_folder(folder)
        raise
    finally:
        os.close(lock)
    try:
        pidfd: int | None = child.pidfd()
    except OSError:
        pidfd = None
    return ServedAssociation(folder, child, request, pidfd)
