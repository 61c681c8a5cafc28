"""A PACS that goes along up to a stage, and then hangs: it keeps the connection and says nothing more."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from support.silent import accepting
from support.tls import Identity

HOST = "127.0.0.1"
Stage = Literal["full", "connected", "secured", "associated", "unreleased"]
"""How far it goes: its backlog is full, so that no SYN is answered; it takes the connection; it does the TLS handshake;
it takes the association; it answers a C-ECHO and then not the release."""

_HEAD = 6
_FIXED = 68
_ANSWERED = {"associated": 1, "unreleased": 2}


@contextmanager
def hanging_peer(stage: Stage, identity: Identity | None = None) -> Iterator[int]:
    """Port of a peer that hangs at a stage; by TLS with an identity."""
    context: ssl.SSLContext | None = None
    if identity is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.cert, identity.key)
    held: list[socket.socket] = []

    def talk(connection: socket.socket) -> None:
        with suppress(OSError, EOFError):
            if context is not None and stage != "connected":
                connection = context.wrap_socket(connection, server_side=True)
            held.append(connection)
            for answer in (accepted, _echoed)[: _ANSWERED.get(stage, 0)]:
                connection.sendall(answer(pdu(connection)))
            while connection.recv(4096):
                pass  # whatever is sent, it is taken

    full = stage == "full"
    with accepting(None if full else talk, held, backlog=0 if full else 5) as address:
        if full:
            held.extend(_fill(address))
        yield address[1]


def _fill(address: tuple[str, int]) -> Iterator[socket.socket]:
    """Connections that fill a backlog; the last are not answered any more."""
    for _ in range(4):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(address)
        yield waiting


def pdu(connection: socket.socket) -> bytes:
    head = _read(connection, _HEAD)
    return head + _read(connection, struct.unpack(">L", head[2:])[0])


def _read(connection: socket.socket, number: int) -> bytes:
    data = b""
    while len(data) < number:
        block = connection.recv(number - len(data))
        if not block:
            raise EOFError
        data += block
    return data


def _item(kind: int, data: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(data)) + data


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        kind, _, length = struct.unpack_from(">BBH", data)
        yield kind, data[4 : 4 + length]
        data = data[4 + length :]


def accepted(request: bytes) -> bytes:
    """The A-ASSOCIATE-AC to a request: every context, in its first transfer syntax (PS3.8 9.3.3)."""
    body = request[_HEAD : _HEAD + _FIXED] + _item(0x10, b"1.2.840.10008.3.1.1.1")
    for kind, data in _items(request[_HEAD + _FIXED :]):
        if kind == 0x20:
            syntax = next(value for sub, value in _items(data[4:]) if sub == 0x40)
            body += _item(0x21, bytes([data[0], 0, 0, 0]) + _item(0x40, syntax))
    body += _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3"))
    return struct.pack(">BBL", 2, 0, len(body)) + body


def _echoed(request: bytes) -> bytes:
    """The C-ECHO-RSP to a C-ECHO-RQ in one P-DATA-TF (PS3.7 9.3.5)."""
    context = request[_HEAD + 4]
    found = request.index(b"\0\0\x10\1\2\0\0\0")  # Message ID
    number = request[found + 8 : found + 10]
    parts = {
        0x0002: b"1.2.840.10008.1.1\0", 0x0100: b"\x30\x80", 0x0120: number, 0x0800: b"\1\1", 0x0900: b"\0\0",
    }  # fmt: skip
    command = b"".join(struct.pack("<HHL", 0, tag, len(value)) + value for tag, value in parts.items())
    command = struct.pack("<HHLL", 0, 0, 4, len(command)) + command
    value = struct.pack(">LBB", len(command) + 2, context, 3) + command
    return struct.pack(">BBL", 4, 0, len(value)) + value
