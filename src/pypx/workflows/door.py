"""The door of a listener: its socket, and the connections that have not said yet what they want.

Single-threaded, driven by a selector.  The kernel wakes us for a connection only when the fixed fields of its
A-ASSOCIATE-RQ are there (SO_RCVLOWAT), so a peer that dribbles costs nothing but one of the half-open places, and that
only for a bounded time.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from pypx.errors import PxError
from pypx.workflows.association import HEAD_BYTES, AssociationRequest, Rejection, parse_request

BACKLOG = 128
_MAX_HALF_OPEN = 64
_CLOSING_S = 5.0
_RETRY_S = 1.0
_DRAINED = 1 << 16

Admit = Callable[[socket.socket, AssociationRequest], "Rejection | None"]
"""Takes a connection over (and returns ``None``), or says why not; the door closes its own copy in both cases."""

Refused = Callable[[AssociationRequest, Rejection], None]


@dataclass(slots=True)
class _HalfOpen:
    """A connection that is still ours: to be heard, or, once answered (`closing`), to be closed by its peer."""

    connection: socket.socket
    address: str
    deadline: float
    closing: bool = False


class Door:
    """Accepts connections, hears their request, and hands them on or rejects them.

    Raises
    ------
    PxError : the address cannot be listened on
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        address: tuple[str, int],
        *,
        request_s: float,
        admit: Admit,
        refused: Refused,
    ) -> None:
        self._selector = selector
        self._request_s = request_s
        self._admit = admit
        self._refused = refused
        self._half_open: dict[int, _HalfOpen] = {}
        self._accepting = False
        self._not_before = 0.0
        self._open = False
        self._socket = _listen(address)
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
        elif isinstance(key.data, _HalfOpen):
            self._listen_to(key.data)
        self._adjust()

    def tick(self) -> None:
        """Drop those whose time is up."""
        now = time.monotonic()
        for place in [place for place in self._half_open.values() if place.deadline <= now]:
            self._drop(place)
        self._adjust()

    def _adjust(self) -> None:
        accepting = self._open and len(self._half_open) < _MAX_HALF_OPEN and time.monotonic() >= self._not_before
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
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, HEAD_BYTES)
        place = _HalfOpen(connection, peer[0], time.monotonic() + self._request_s)
        self._half_open[connection.fileno()] = place
        self._selector.register(connection, selectors.EVENT_READ, place)

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
            head = place.connection.recv(HEAD_BYTES, socket.MSG_PEEK)
        except OSError:
            head = b""
        request = parse_request(head, place.address)
        if request is None:
            self._drop(place)
            return
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


def _listen(address: tuple[str, int]) -> socket.socket:
    host, port = address
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
