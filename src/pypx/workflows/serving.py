"""One association: the program that serves it, in a folder of its own; and the options of a listener."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pypx.db.layout import Modes
from pypx.errors import PxError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import AETitle
from pypx.model.pacs import TlsSettings
from pypx.services.children import Child, start
from pypx.services.dcmtk import SMALL_DICTIONARY, Limits, Programs, storescp_argv
from pypx.workflows import spool
from pypx.workflows.association import AccessRules, AssociationRequest, Caller
from pypx.workflows.events import EventKind
from pypx.workflows.pace import Pace
from pypx.workflows.words import Words

MEMORY_BYTES = 128 << 20
"""How much memory the storescp of an association may fill.

It holds commands, which a sender can make as long as it likes, and writes data sets to their file as they come; 3 MiB
are enough for it (DCMTK 3.6.7).
"""

_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """How a listener behaves.

    `port` may be 0: the kernel chooses.  `bind` is the address to listen on (empty: all).  `aet`, `calling_aets` and
    `networks` say who may send (``None``, empty: anybody), `known` names titles with their addresses.  Beyond
    `max_associations` at once, requests are rejected; while `max_backlog` files wait or less than `min_free_bytes` are
    free, they wait.  A file of more than `max_object_bytes` is refused.  Limits in seconds: `request_s` from connection
    to request, `acse_s` and `dimse_s` as for storescp, `stall_s` for a peer to get on
    (:class:`pypx.workflows.pace.Pace`), `drain_s` for running associations to end once the listener is told to.
    `debug` shows tracebacks of the worker.  With `tls` connections are taken by TLS only.
    """

    port: int
    bind: str = ""
    aet: AETitle | None = None
    calling_aets: frozenset[AETitle] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    known: frozenset[Caller] | None = None
    max_associations: int = 32
    max_backlog: int = 10_000
    min_free_bytes: int = 1 << 30
    max_object_bytes: int = 4 << 30
    request_s: float = 10.0
    acse_s: float = 30.0
    dimse_s: float = 300.0
    stall_s: float = 300.0
    drain_s: float = 60.0
    programs: Programs = field(default_factory=Programs)
    debug: bool = False
    tls: TlsSettings | None = None

    @property
    def rules(self) -> AccessRules:
        """Who may send."""
        return AccessRules(self.aet, self.calling_aets, self.networks, self.known)


STARTING_S = 0.03
"""A storescp takes half as long to start, on a machine that has nothing else to do."""


@dataclass(slots=True)
class ServedAssociation:
    """An association and the program that serves it.

    `pidfd` becomes readable when that has ended (``None``: this kernel has none); `pace` tells how the peer gets on;
    `seconds` is how long it ran, `files` how many of its files have been recorded or set aside so far, `refused` how
    many objects were not taken, and `told` what has been told about that.  `yields` once receiving comes after filing.
    """

    folder: Path
    child: Child
    request: AssociationRequest
    pidfd: int | None
    pace: Pace
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    exit_status: int | None = None
    files: int = 0
    refused: int = 0
    told: set[EventKind] = field(default_factory=set)
    yields: bool = False

    def yield_to_worker(self) -> bool:
        """Let filing come before receiving, where there is too little of the processor for both; whether it does now.

        Else what has been received waits for the worker, which has one processor left to it when nothing more comes.
        And storescp, when it gets one, has more to read at once.  It does not yield while it starts: the peer waits.
        """
        if not self.yields and time.monotonic() - self.began >= STARTING_S:
            self.yields = self.child.yield_to_others()
        return self.yields


def serve(
    connection: socket.socket,
    request: AssociationRequest,
    number: int,
    words: Words,
    options: ListenOptions,
    *,
    modes: Modes,
) -> ServedAssociation:
    """Start a storescp on a connection; the lock of its folder is then held by it alone.

    Its folder lies beside the configuration of `words`; folder and files get the permissions that `modes` say.

    Raises
    ------
    PxError : the folder cannot be made, the program not started, or no descriptors are left
    """
    folder, lock = spool.create_association(words.config.parent, number, modes)
    pace = None
    limits = Limits(acse_s=options.acse_s, dimse_s=options.dimse_s)
    try:
        pace = Pace(connection, options.stall_s)
        child = start(
            storescp_argv(options.programs, folder, limits, words.config),
            stdin=connection.fileno(),
            stdout=connection.fileno(),
            cwd=folder,
            umask=0o777 & ~modes.directory,
            pass_fds=(lock, words.writer),
            keep_ignored=True,
            defaults=SMALL_DICTIONARY,
        )
        child.limit_memory(MEMORY_BYTES)
        child.limit_file_size(-(-options.max_object_bytes // _BLOCK) * _BLOCK)
    except (PxError, OSError) as error:
        if pace is not None:
            pace.close()
        spool.remove_folder(folder)
        raise error if isinstance(error, PxError) else PxError(f"no descriptor is left: {error.strerror}") from error
    finally:
        os.close(lock)
    try:
        pidfd: int | None = child.pidfd()
    except OSError:
        pidfd = None
    return ServedAssociation(folder, child, request, pidfd, pace)
