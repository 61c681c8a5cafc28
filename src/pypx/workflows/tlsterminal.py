"""The TLS end of a listener: one process that secures connections, a thread each.

The supervisor hands it each connection it has accepted, together with one end of a plain one; once the peer has proved
what it has to, bytes are carried between the two.  It is the only process of a listener that parses TLS, and it knows
nothing of the BASEMOUNT.  It may be killed at any instant: its connections end, and the supervisor starts another one.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress

from pypx.errors import PxError
from pypx.services.tlscontext import server_context, subject, why_refused
from pypx.services.tlspump import Carried, StoppedError, carry, handshake
from pypx.workflows.tlsdoor import MESSAGE_BYTES, unpacked


class Terminal:
    """Secures connections as they come over a channel: a number, the connection, the plain end.

    Of each it says once over the same channel how it went: ``{"id", "certificate"}``, or ``{"id", "error"}``, with an
    ``error`` of ``null`` for a peer that just went away.
    """

    def __init__(self, channel: socket.socket, context: ssl.SSLContext, handshake_s: float) -> None:
        self._channel = channel
        self._context = context
        self._handshake_s = handshake_s
        self._threads: set[threading.Thread] = set()

    def run(self) -> None:
        """Work until the channel has ended and all connections have."""
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._channel, MESSAGE_BYTES, 2)
            except OSError:
                break
            if not message:
                break
            self._threads = {thread for thread in self._threads if thread.is_alive()}
            if len(descriptors) == 2:
                self._start(int(message), descriptors)
            else:  # no descriptors are left: the peer sees its connection end
                for descriptor in descriptors:
                    os.close(descriptor)
                self._tell(int(message), error="the listener has too many open files")
        for thread in self._threads:
            thread.join()

    def _start(self, number: int, descriptors: list[int]) -> None:
        outer, inner = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        thread = threading.Thread(target=self._serve, args=(number, outer, inner), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            outer.close()
            inner.close()
            self._tell(number, error="the listener can start no more threads")
            return
        self._threads.add(thread)

    def _serve(self, number: int, outer: socket.socket, inner: socket.socket) -> None:
        with outer, inner:
            try:
                for connection in (outer, inner):
                    connection.setblocking(False)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                secure = self._context.wrap_socket(outer, server_side=True, do_handshake_on_connect=False)
            except OSError:  # the peer is gone already
                self._tell(number, error=None)
                return
            with secure, suppress(OSError, StoppedError):
                if self._secured(number, secure, inner):
                    carry(inner, secure, Carried())

    def _secured(self, number: int, secure: ssl.SSLSocket, inner: socket.socket) -> bool:
        try:
            handshake(secure, stop=inner, deadline=time.monotonic() + self._handshake_s)
        except TimeoutError:
            self._tell(number, error=f"no TLS handshake within {self._handshake_s:g} s")
        except OSError as error:
            self._tell(number, error=why_refused(error))
        except StoppedError:  # the supervisor has dropped it
            self._tell(number, error=None)
        else:
            self._tell(number, certificate=subject(secure.getpeercert()))
            return True
        return False

    def _tell(self, number: int, **values: str | None) -> None:
        with suppress(OSError):
            self._channel.send(json.dumps({"id": number, **values}).encode())


def main() -> int:
    """Run a terminal over standard input, which is a socket to the supervisor; 0 when that has ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor says when: it closes the channel
    channel = socket.socket(fileno=sys.stdin.fileno())
    try:
        settings, handshake_s = unpacked(channel.recv(MESSAGE_BYTES))
        context = server_context(settings)
    except (PxError, ValueError) as error:
        with suppress(OSError):
            channel.send(json.dumps({"id": 0, "error": str(error)}).encode())
        return 1
    Terminal(channel, context, handshake_s).run()
    return 0
