"""The door of a listener: its socket, and the connections that have not said yet what they want.

Single-threaded, driven by a selector.  The kernel wakes us for a connection only when the fixed fields of its
A-ASSOCIATE-RQ are there, then when the whole of it is (SO_RCVLOWAT), so a peer that dribbles costs nothing but one of
the half-open places, and that only for a bounded time: no program is started for it.  When all places are taken, the
oldest connection of the address that has most of them is dropped, so that nobody keeps others out by saying nothing.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pypx.errors import PxError
from pypx.model.dataclass import dataclass
from pypx.workflows.association import HEAD_BYTES, AssociationRequest, Rejection, parse_request, request_size
from pypx.workflows.tlsdoor import TlsDoor

BACKLOG = 128
_MAX_HALF_OPEN = 64
_CLOSING_S = 5.0
_RETRY_S = 1.0
_DRAINED = 1 << 16

Admit = Callable[[socket.socket, AssociationRequest], "Rejection | None"]
"""Takes a connection over (and returns ``None``), or says why not; the door closes its own copy in both cases."""

LetsIn = Callable[[str], bool]
"""Says whether a peer at this address is heard at all."""

Refused = Callable[[AssociationRequest, Rejection], None]


@dataclass(slots=True)
class _HalfOpen:
    """A connection that is still ours: to be heard, or, once answered (`closing`), to be closed by its peer.

    `wanted`: bytes of its request that have to be there.  `secured`: its number with the TLS process, if there is one.
    """

    connection: socket.socket
    address: str
    deadline: float
    wanted: int = HEAD_BYTES
    closing: bool = False
    secured: int | None = None


class Door:
    """Accepts connections of a listening socket, hears their request, and hands them on or rejects them."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        listening: socket.socket,
        *,
        request_s: float,
        lets_in: LetsIn,
        admit: Admit,
        refused: Refused,
        tls: TlsDoor | None = None,
    ) -> None:
        self._selector = selector
        self._tls = tls
        self._request_s = request_s
        self._lets_in = lets_in
        self._admit = admit
        self._refused = refused
        self._half_open: dict[int, _HalfOpen] = {}
        self._accepting = False
        self._not_before = 0.0
        self._open = False
        self._socket = listening
        self.address: tuple[str, int] = self._socket.getsockname()[:2]

    def set_open(self, wanted: bool) -> None:
        """Accept connections, or leave them waiting with the kernel."""
        self._open = wanted
        self._adjust()

    def close(self) -> None:
        """Stop listening, tell those who have asked that we stop, and drop the others."""
        self.set_open(False)
        self._socket.close()
        for place in list(self._half_open.values()):
            if not place.closing:
                self._hear(place, stopping=True)
            if place.connection.fileno() in self._half_open:
                self._drop(place)

    def handle(self, key: selectors.SelectorKey) -> None:
        """Do what a ready file object of ours asks for."""
        if key.fileobj is self._socket:
            self._accept()
        elif isinstance(key.data, _HalfOpen) and key.data.connection.fileno() >= 0:  # it may just have been dropped
            self._listen_to(key.data)
        self._adjust()

    def tick(self) -> None:
        """Drop those whose time is up."""
        now = time.monotonic()
        for place in [place for place in self._half_open.values() if place.deadline <= now]:
            self._drop(place)
        self._adjust()

    def _adjust(self) -> None:
        accepting = self._open and time.monotonic() >= self._not_before
        accepting = accepting and (self._tls is None or self._tls.ready)
        if accepting and not self._accepting:
            self._selector.register(self._socket, selectors.EVENT_READ, self)
        elif self._accepting and not accepting:
            self._selector.unregister(self._socket)
        self._accepting = accepting

    def _accept(self) -> None:
        try:
            connection, peer = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return
        except OSError:  # no descriptors or no memory left: the connection waits with the kernel
            self._not_before = time.monotonic() + _RETRY_S
            return
        if not self._lets_in(peer[0]):  # nothing is read or answered, and no TLS begun
            connection.close()
            return
        if len(self._half_open) >= _MAX_HALF_OPEN:
            self._drop(self._most_costly())
        secured = None
        if self._tls is not None:
            try:
                connection, secured = self._tls.wrap(connection, peer[0])
            except OSError:  # it is closed; its peer may try again
                return
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, HEAD_BYTES)
        place = _HalfOpen(connection, peer[0], time.monotonic() + self._request_s, secured=secured)
        self._half_open[connection.fileno()] = place
        self._selector.register(connection, selectors.EVENT_READ, place)

    def _most_costly(self) -> _HalfOpen:
        """The oldest connection of the address that has most of them."""
        ((address, _),) = Counter(place.address for place in self._half_open.values()).most_common(1)
        return next(place for place in self._half_open.values() if place.address == address)

    def _listen_to(self, place: _HalfOpen) -> None:
        if not place.closing:
            self._hear(place)
            return
        try:
            ended = not place.connection.recv(_DRAINED)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._drop(place)

    def _hear(self, place: _HalfOpen, *, stopping: bool = False) -> None:
        try:
            head = place.connection.recv(max(place.wanted, _DRAINED), socket.MSG_PEEK)
        except OSError:
            head = b""
        request, size = parse_request(head, place.address), request_size(head) or 0
        cut_short = len(head) < size and not stopping
        if request is not None and cut_short and place.wanted < size:  # wake us when all of it is there
            place.wanted = size
            place.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            return
        if request is None or cut_short:
            self._drop(place)
            return
        if self._tls is not None and place.secured is not None:
            request = replace(request, certificate=self._tls.certificate(place.secured))
        rejection = Rejection.STOPPING if stopping else self._hand_on(place, request)
        if rejection is None:
            self._drop(place)
            return
        self._reject(place, rejection)
        self._refused(request, rejection)

    def _hand_on(self, place: _HalfOpen, request: AssociationRequest) -> Rejection | None:
        connection = place.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        connection.setblocking(True)  # the file description is shared with the program that gets it
        return self._admit(connection, request)

    def _reject(self, place: _HalfOpen, rejection: Rejection) -> None:
        """Answer, and read what the peer sends: closing over unread bytes would reset the connection and lose it."""
        connection = place.connection
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        with suppress(OSError):
            connection.send(rejection.pdu())
            connection.shutdown(socket.SHUT_WR)
            connection.recv(_DRAINED)
        place.closing = True
        place.deadline = time.monotonic() + _CLOSING_S

    def _drop(self, place: _HalfOpen) -> None:
        del self._half_open[place.connection.fileno()]
        self._selector.unregister(place.connection)
        place.connection.close()


def listen_on(host: str, port: int) -> socket.socket:
    """Open a listening socket (TCP, IPv4) that does not block.

    Raises
    ------
    PxError : the address cannot be listened on
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        hint = {
            errno.EADDRINUSE: "another program listens there; choose another port or end it",
            errno.EACCES: "ports below 1024 need privileges; choose another port",
            errno.EADDRNOTAVAIL: "this host has no such address",
        }.get(error.errno or 0, "check address and port")
        raise PxError(f"cannot listen on {host or '*'}:{port}: {error.strerror or error}; {hint}") from error
    return listening
