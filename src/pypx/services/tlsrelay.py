"""A TLS relay for programs that speak none, or verify no host name: between DCMTK and one PACS, for one run.

movescu, getscu and dcmsend of DCMTK 3.6.7 have no TLS; echoscu, findscu and storescu have, but do not check whose
certificate they get.  So all of them talk plainly to a port of ours on the loopback interface, and threads of px carry
that to the PACS by TLS.

Every user of the host can connect to such a port.  A connection counts only if the kernel says that its other end
belongs to our own user (``/proc/net/tcp``); others are closed unheard.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pypx.errors import PeerFailedError, PeerUnreachableError, PxError
from pypx.model.pacs import PacsNode, TlsSettings
from pypx.services.line import Line
from pypx.services.tlscontext import client_context, why_no_tls
from pypx.services.tlspump import Carried, StoppedError, carry, handshake, wait

_LOOPBACK = "127.0.0.1"
_MAX_CONNECTIONS = 8
_ESTABLISHED = "01"
_LOOKS = 3
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


class PeerTlsError(PeerUnreachableError):
    """There is no TLS connection to the peer, or not to the right one."""


@contextmanager
def relayed(node: PacsNode, settings: TlsSettings, *, connect_s: float, acse_s: float) -> Iterator[Line]:
    """Run a relay to a PACS; see :func:`pypx.services.line.line_to`."""
    relay = _Relay(node, settings, client_context(settings), connect_s, acse_s)
    try:
        yield relay.line
    finally:
        relay.close()


class _Relay:
    """The port and the threads of one run."""

    def __init__(
        self, node: PacsNode, settings: TlsSettings, context: ssl.SSLContext, connect_s: float, acse_s: float
    ) -> None:
        self._node = node
        self._settings = settings
        self._context = context
        self._connect_s = connect_s
        self._acse_s = acse_s
        self._places = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._port, self._stop, self._told = _open_port()
        port = self._port.getsockname()[1]
        self.line = Line(replace(node, host=_LOOPBACK, port=port, tls=None))
        self._threads = [threading.Thread(target=self._accept, name="px-tls", daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """End all connections and close the port; a thread that looks up a host name is left to end by itself."""
        self._told.close()
        for thread in self._threads:
            thread.join(1.0)
        self._port.close()
        self._stop.close()

    def _accept(self) -> None:
        while True:
            try:
                wait({self._port.fileno(): 1}, stop=self._stop)
                connection, address = self._port.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except (StoppedError, OSError, ValueError):
                return
            if not self._places.acquire(blocking=False):
                connection.close()
                continue
            thread = threading.Thread(target=self._serve, args=(connection, address[1]), name="px-tls", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, port: int) -> None:
        try:
            with connection:
                if is_own_connection(port, self.line.node.port):
                    connection.setblocking(False)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._relay(connection)
        finally:
            self._places.release()

    def _relay(self, connection: socket.socket) -> None:
        """Carry a connection of a program; what fails is noted before the program sees its end."""
        count: Carried | None = None
        try:
            with self._connect() as outer, self._secured(outer) as secure:
                count = Carried()
                carry(connection, secure, count, stop=self._stop)
            self._judge(count)
        except PxError as error:
            self.line.failure = error
        except StoppedError:
            if count is None:
                self.line.failure = PeerTlsError(
                    f"{self._node}: no TLS connection in the time for an association; does it speak TLS on this port?"
                )
        except OSError as error:
            self.line.failure = self._broken(error, count or Carried())

    def _connect(self) -> socket.socket:
        """A TCP connection to the PACS, at the first of its addresses that answers."""
        try:
            found = socket.getaddrinfo(self._node.host, self._node.port, type=socket.SOCK_STREAM)
        except OSError:
            raise PeerUnreachableError(f"no connection to {self._node}: the host name is unknown") from None
        deadline = time.monotonic() + self._connect_s
        code = errno.ETIMEDOUT
        for family, kind, protocol, _, address in found:
            connection = socket.socket(family, kind, protocol)
            try:
                code = self._try(connection, address, deadline)
            except BaseException:
                connection.close()
                raise
            if not code:
                return connection
            connection.close()
        raise PeerUnreachableError(
            f"no connection to {self._node}: {os.strerror(code)}; check host and port, and that the PACS runs"
        )

    def _try(self, connection: socket.socket, address: Any, deadline: float) -> int:
        """Connect; 0, or the error number."""
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = connection.connect_ex(address)
        if code == errno.EINPROGRESS:
            try:
                wait({connection.fileno(): 4}, stop=self._stop, deadline=deadline)
            except TimeoutError:
                return errno.ETIMEDOUT
            code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return code

    def _secured(self, connection: socket.socket) -> ssl.SSLSocket:
        """The connection after the TLS handshake: the right peer, by the right CA."""
        name = self._settings.name or self._node.host
        secure: ssl.SSLSocket | None = None
        try:
            secure = self._context.wrap_socket(connection, server_hostname=name, do_handshake_on_connect=False)
            handshake(secure, stop=self._stop, deadline=time.monotonic() + self._acse_s)
        except TimeoutError:
            self._drop(secure)
            raise PeerTlsError(
                f"{self._node}: no TLS handshake within {self._acse_s:g} s; does it speak TLS on this port?"
            ) from None
        except (OSError, ValueError) as error:
            self._drop(secure)
            why = why_no_tls(error, self._settings, name) if isinstance(error, OSError) else str(error)
            raise PeerTlsError(f"no TLS connection to {self._node}: {why}") from None
        except BaseException:
            self._drop(secure)
            raise
        return secure

    @staticmethod
    def _drop(secure: ssl.SSLSocket | None) -> None:
        if secure is not None:
            secure.close()

    def _judge(self, count: Carried) -> None:
        """Note a PACS that went away after the handshake without a word: in TLS 1.3 it may miss our certificate."""
        if not count.received and count.sent and self._settings.cert is None:
            self.line.failure = PeerTlsError(
                f"{self._node} ended the connection right after the TLS handshake; does it ask for a client"
                " certificate (--tls-cert, --tls-key)?"
            )

    def _broken(self, error: OSError, count: Carried) -> PxError:
        why = why_no_tls(error, self._settings, self._settings.name or self._node.host)
        if count.received:
            return PeerFailedError(f"the TLS connection to {self._node} broke: {why}")
        return PeerTlsError(f"no TLS connection to {self._node}: {why}")


def _open_port() -> tuple[socket.socket, socket.socket, socket.socket]:
    """A listening socket on the loopback interface, and two ends that are connected: to wait at, and to close."""
    port = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        port.bind((_LOOPBACK, 0))
        port.listen(_MAX_CONNECTIONS)
        port.setblocking(False)
    except OSError as error:
        port.close()
        raise PxError(f"no port on {_LOOPBACK} for the TLS relay: {error.strerror or error}") from None
    stop, told = socket.socketpair()
    return port, stop, told


def is_own_connection(port: int, own_port: int) -> bool:
    """Whether the program at `port` of the loopback interface, connected to our `own_port`, runs as our own user.

    A connection that its owner has closed belongs to nobody and does not count.

    References
    ----------
    proc(5): local address, remote address, state, uid and inode of a TCP socket
    """
    for table in _TABLES * _LOOKS:  # the kernel makes the table piece by piece, and a line may slip through
        with suppress(OSError), table.open() as lines:
            for line in lines:
                fields = line.split()
                if len(fields) > 9 and _is(fields[1], port) and _is(fields[2], own_port):
                    return fields[3] == _ESTABLISHED and fields[9] != "0" and int(fields[7]) == os.geteuid()
    return False


def _is(text: str, port: int) -> bool:
    """Whether an address of the table is this port of 127.0.0.1, also as an IPv6 one that stands for it."""
    address, _, number = text.rpartition(":")
    return number == f"{port:04X}" and address in {_HEX, f"0000000000000000FFFF0000{_HEX}"}


_HEX = f"{int.from_bytes(socket.inet_aton(_LOOPBACK), 'little' if socket.ntohl(1) != 1 else 'big'):08X}"
