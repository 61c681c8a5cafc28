"""How far an association gets, as the kernel counts it, so that a peer that only dribbles loses its place.

storescp waits for 60 s for the next byte of a message it has begun to read, and for the next such byte again: a peer
that sends one now and then, or message parts with nothing in them, would hold its place for days (DCMTK 3.6.7).
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import time
from contextlib import suppress

LEAST_RATE = 200
"""Bytes a second that have to come in while no message comes to its end."""

_COUNTS = struct.Struct("=QQ")
_COUNTS_AT = 120  # tcpi_bytes_acked and tcpi_bytes_received of struct tcp_info, since Linux 4.1


class Pace:
    """Watches a connection that another process serves.

    It is at a standstill when for `stall_s` seconds none of our answers has reached the peer, which each message that
    is whole gets, and less than `LEAST_RATE` bytes a second have come.  While bytes wait to be read it is we who are
    slow.

    Parameters
    ----------
    connection : is duplicated, so it ends for the peer only when this one is closed as well
    stall_s : the limit, seconds
    """

    __slots__ = ("_acked", "_before", "_began", "_connection", "_received", "_since", "_stall_s", "cut_at")

    def __init__(self, connection: socket.socket, stall_s: float) -> None:
        self._connection = connection.dup()
        self._stall_s = stall_s
        self._since = self._began = time.monotonic()
        self._acked, self._received = self._counts() or (0, 0)
        self._before = self._acked
        self.cut_at: float | None = None

    def stalled(self) -> bool:
        """Whether it is at a standstill; to be asked about once a second."""
        counts, now = self._counts(), time.monotonic()
        if counts is None:
            return False
        acked, received = counts
        moved = acked != self._acked or received - self._received >= LEAST_RATE * self._stall_s or self._unread()
        if moved:
            self._acked, self._received, self._since = acked, received, now
        return now - self._since >= self._stall_s

    def unanswered(self, seconds: float) -> bool:
        """Whether nothing of ours has reached the peer for so long since the beginning: not even the first answer."""
        if time.monotonic() - self._began < seconds:
            return False
        counts = self._counts()
        return counts is not None and counts[0] == self._before

    def cut(self) -> None:
        """End the connection for both sides; the program that serves it sees the peer gone."""
        self.cut_at = time.monotonic()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()

    def _counts(self) -> tuple[int, int] | None:
        """Bytes of ours that the peer has, and bytes that came; ``None`` where the kernel does not tell."""
        size = _COUNTS_AT + _COUNTS.size
        try:
            found = self._connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
        except (OSError, AttributeError):
            return None
        return _COUNTS.unpack_from(found, _COUNTS_AT) if len(found) == size else None

    def _unread(self) -> bool:
        try:
            found = fcntl.ioctl(self._connection, termios.FIONREAD, bytes(4))
        except OSError:
            return False
        return found != bytes(4)
