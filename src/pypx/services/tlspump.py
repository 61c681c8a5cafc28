"""Carrying bytes between a plain socket and a TLS one, both ways, in one thread; and waiting that can be ended.

An OpenSSL connection may not be read and written by two threads at once, so both ways share a loop.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import field

from pypx.model.dataclass import dataclass

_CHUNK = 1 << 18
_LINGER_S = 10.0
_IN, _OUT, _GONE = select.POLLIN, select.POLLOUT, select.POLLRDHUP


class StoppedError(Exception):
    """The waiting was ended from outside."""


def wait(
    wanted: Mapping[int, int], *, stop: socket.socket | None = None, deadline: float | None = None
) -> dict[int, int]:
    """Wait for sockets.

    Parameters
    ----------
    wanted : descriptor to events of poll(2)
    stop : ends the waiting when it becomes readable or its peer is gone
    deadline : on the monotonic clock

    Raises
    ------
    TimeoutError : nothing happened until `deadline`
    StoppedError : `stop` says so
    """
    poller = select.poll()
    for descriptor, events in wanted.items():
        poller.register(descriptor, events)
    if stop is not None:
        poller.register(stop, _IN | _GONE)
    left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
    happened = dict(poller.poll(left))
    if stop is not None and stop.fileno() in happened:
        raise StoppedError
    if not happened:
        raise TimeoutError
    return happened


def handshake(connection: ssl.SSLSocket, *, stop: socket.socket, deadline: float) -> None:
    """Do the handshake on a socket that does not block.

    Raises
    ------
    OSError : ssl.SSLError if it fails, ConnectionError if the peer is gone, TimeoutError if it takes too long
    StoppedError : `stop` says so
    """
    while events := _step(connection):
        wait({connection.fileno(): events}, stop=stop, deadline=deadline)


def _step(connection: ssl.SSLSocket) -> int:
    """Go on with the handshake; what it waits for, 0 when it is done."""
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        return _IN
    except ssl.SSLWantWriteError:
        return _OUT
    return 0


@dataclass(slots=True)
class _Way:
    """Bytes in one direction: what has been read and not written yet, and whether more will come."""

    read: Callable[[memoryview], int]
    write: Callable[[memoryview], int]
    source: int
    target: int
    finish: Callable[[], None]
    view: memoryview = field(default_factory=lambda: memoryview(bytearray(_CHUNK)))
    start: int = 0
    end: int = 0
    ended: bool = False
    closed: bool = False
    carried: int = 0

    def turn(self, wanted: dict[int, int]) -> bool:
        """Do what can be done now, note in `wanted` what it waits for; whether anything moved."""
        before = self.carried
        moved = self._fill(wanted) if self.start == self.end and not self.ended else False
        if self.start < self.end:
            self._flush(wanted)
        if self.ended and self.start == self.end and not self.closed:
            self.closed = moved = True
            self.finish()
        return moved or self.carried > before

    def _fill(self, wanted: dict[int, int]) -> bool:
        self.start = self.end = 0
        while self.end < _CHUNK and not self.ended:
            try:
                count = self.read(self.view[self.end :])
            except (BlockingIOError, ssl.SSLWantReadError):
                if not self.end:
                    _note(wanted, self.source, _IN)
                break
            except ssl.SSLWantWriteError:
                _note(wanted, self.source, _OUT)
                break
            self.end += count
            self.ended = not count
        return self.end > 0 or self.ended

    def _flush(self, wanted: dict[int, int]) -> None:
        while self.start < self.end:
            try:
                count = self.write(self.view[self.start : self.end])
            except (BlockingIOError, ssl.SSLWantWriteError):
                _note(wanted, self.target, _OUT)
                return
            except ssl.SSLWantReadError:
                _note(wanted, self.target, _IN)
                return
            self.start += count
            self.carried += count


def _note(wanted: dict[int, int], descriptor: int, events: int) -> None:
    wanted[descriptor] = wanted.get(descriptor, 0) | events


@dataclass(slots=True)
class Carried:
    """How many bytes went each way: `sent` into the TLS connection, `received` out of it."""

    sent: int = 0
    received: int = 0


def carry(plain: socket.socket, secure: ssl.SSLSocket, count: Carried, *, stop: socket.socket | None = None) -> None:
    """Carry bytes both ways until both ends are closed, or one is and the other does not follow in ten seconds.

    Both sockets must not block.  When one end stops sending, the other is told so after the last byte.

    Raises
    ------
    ssl.SSLError : the TLS connection broke, or the peer ended it with an alert
    StoppedError : `stop` says so
    """
    inner, outer = plain.fileno(), secure.fileno()

    def finish_tls() -> None:
        out.ended = _finish_tls(secure) or out.ended

    into = _Way(plain.recv_into, secure.send, inner, outer, finish_tls)
    out = _Way(secure.recv_into, plain.send, outer, inner, lambda: _finish(plain))
    deadline: float | None = None
    watched = {inner, outer}
    try:
        while not (into.closed and out.closed):
            wanted: dict[int, int] = {}
            moved = into.turn(wanted)
            moved = out.turn(wanted) or moved
            if moved:
                continue
            for descriptor in watched:
                _note(wanted, descriptor, _GONE)
            happened = wait(wanted, stop=stop, deadline=deadline)
            gone = {one for one, events in happened.items() if events & (_GONE | select.POLLHUP | select.POLLERR)}
            if gone & watched:
                watched -= gone
                deadline = deadline or time.monotonic() + _LINGER_S
    except OSError as error:  # an end is gone, or did not follow; what it said last may stand in an alert
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            raise
        _hear_alert(secure)
    finally:
        count.sent, count.received = into.carried, out.carried


def _hear_alert(secure: ssl.SSLSocket) -> None:
    """Raise the alert that the peer sent before it closed, if it is there to be read."""
    with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLEOFError, ConnectionError, TimeoutError):
        while secure.recv(_CHUNK):
            pass


def _finish(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def _finish_tls(secure: ssl.SSLSocket) -> bool:
    """Say that no more comes: close_notify, then the end of the stream.

    Returns
    -------
    Whether the peer has said so, too: then the socket is a plain one again, and must not be read any more
    """
    unwrapped = False
    with suppress(OSError, ValueError):
        secure.unwrap()
        unwrapped = True
    with suppress(OSError):
        socket.socket.shutdown(secure, socket.SHUT_WR)
    return unwrapped
