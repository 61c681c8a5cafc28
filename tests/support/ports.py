"""Free TCP ports of 127.0.0.1 that stay free until their user binds them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_held: list[socket.socket] = []


def free_port() -> int:
    """Reserve a port for a server that sets SO_REUSEADDR (all servers here do).

    A socket of ours stays bound to it, not listening, so the kernel gives the port to nobody who asks for "any", and a
    connection to it is refused until the server listens.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.bind(("127.0.0.1", 0))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after bind: lets the server in, and nobody else
    _held.append(holder)
    port: int = holder.getsockname()[1]
    return port


def release_ports() -> None:
    """Give back every reserved port, at the end of the session."""
    while _held:
        _held.pop().close()


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(check: Callable[[], _T], what: str, *, timeout: float = 20, pause: float = 0.02) -> _T:
    """Ask until the answer is true and return it; AssertionError naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        if answer := check():
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout} s still not: {what}")
        time.sleep(pause)
