"""Peers that send one message without end, or announce one that nobody can hold; and how much memory that costs."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from support.hanging import accepted, pdu
from support.silent import accepting

Kind = Literal["announced", "items", "flat"]
"""A command with a value that is said to have 3 GB; one of empty items, each of which costs memory; one that says the
same again and again, which costs none."""

PART = 15_900
_CONTEXT = 1
_POLL_S = 0.002  # a program that gets no memory at once lives for some 15 ms


def _implicit(group: int, number: int, length: int) -> bytes:
    return struct.pack("<HHL", group, number, length)


def parts(kind: Kind) -> tuple[bytes, bytes]:
    """How the command begins, and what then comes without end (implicit little endian, PS3.7 6.3.1)."""
    if kind == "flat":
        return b"", (_implicit(0, 0x1000, 8) + b"1.2.3.4\0") * (PART // 16)
    if kind == "items":
        return _implicit(9, 0x1001, 0xFFFF_FFFF), _implicit(0xFFFE, 0xE000, 0) * (PART // 8)
    return _implicit(0, 0x1000, 3000 << 20), b"A" * PART


def part_of_command(context: int, value: bytes) -> bytes:
    """A P-DATA-TF with a part of a command, not its last (message control header 1, PS3.8 annex E.2)."""
    return struct.pack(">BBLLBB", 4, 0, len(value) + 6, len(value) + 2, context, 1) + value


def flood(connection: socket.socket, kind: Kind, context: int = _CONTEXT, *, most: int = 1 << 40) -> int:
    """Send until the peer hangs up, or `most` bytes; how many were sent."""
    first, rest = parts(kind)
    block, sent = part_of_command(context, rest), 0
    with suppress(OSError):
        connection.sendall(part_of_command(context, first))
        while sent < most:
            connection.sendall(block)
            sent += len(block)
    return sent


@contextmanager
def endless_peer(kind: Kind) -> Iterator[int]:
    """Port of a PACS that takes the association and answers each request in this way."""

    def drain(connection: socket.socket) -> None:
        with suppress(OSError):
            while connection.recv(1 << 16):
                pass

    def talk(connection: socket.socket) -> None:
        with suppress(OSError, EOFError):
            connection.sendall(accepted(pdu(connection)))
            context = pdu(connection)[10]
            threading.Thread(target=drain, args=(connection,), daemon=True).start()
            flood(connection, kind, context)

    with accepting(talk, []) as address:
        yield address[1]


@contextmanager
def most_memory(root: int) -> Iterator[dict[str, int]]:
    """The most resident memory, bytes, of each program among the descendants of a process while the block runs."""
    found: dict[str, int] = {}
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(_POLL_S):
            for process in _descendants(root):
                with suppress(OSError, IndexError, ValueError):
                    status = Path(f"/proc/{process}/status").read_text()
                    name = status.partition("Name:")[2].split()[0]
                    size = int(status.partition("VmHWM:")[2].split()[0]) << 10
                    found[name] = max(found.get(name, 0), size)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def _descendants(process: int) -> Iterator[int]:
    with suppress(OSError):
        for task in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208 - names are all that is needed
            for child in Path(f"/proc/{process}/task/{task}/children").read_text().split():
                yield int(child)
                yield from _descendants(int(child))
