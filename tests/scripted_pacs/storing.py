"""C-STORE to a move destination, PDU by PDU (PS3.8 9.3, PS3.7 9.3.1).

pynetdicom's requestor loses a response now and then: its reactor may take it off the queue before the caller looks.
"""

from __future__ import annotations

import contextlib
import socket
import struct

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_APPLICATION = "1.2.840.10008.3.1.1.1"
_IMPLEMENTATION = "2.25.240917"
_CONTEXT = 1
_OUR_PDU = 16384
_WAIT_S = 30.0


class LostError(Exception):
    """The destination does not accept, or is gone."""


class StoreAssociation:
    """An association for CT images; LostError if it does not come about."""

    def __init__(self, calling: str, called: str, address: tuple[str, int]) -> None:
        self._messages = 0
        try:
            self._socket = socket.create_connection(address, timeout=_WAIT_S)
        except OSError as error:
            raise LostError(str(error)) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._write(_request(calling, called))
            self._fragment = _accepted(*self._read_pdu())
        except LostError:
            self._socket.close()
            raise

    def store(self, SOPInstanceUID: str, data: bytes, originator: str, message: int) -> int:
        """Status of the response; LostError if there is none."""
        self._messages += 1
        command = _command(self._messages % 65536, SOPInstanceUID, originator, message)
        self._write(self._pdvs(command, command=True) + self._pdvs(data, command=False))
        answer, last = b"", False
        while not last:
            kind, body = self._read_pdu()
            if kind != 4:
                raise LostError(f"answered by PDU {kind}")
            while body:
                (size,) = struct.unpack(">L", body[:4])
                last = bool(body[5] & 2)
                answer += body[6 : 4 + size]
                body = body[4 + size :]
        return _status(answer)

    def close(self) -> None:
        """Release the association, and close the connection whether or not that is answered."""
        with contextlib.suppress(LostError):
            self._write(struct.pack(">BxLxxxx", 5, 4))
            self._read_pdu()
        self._socket.close()

    def _pdvs(self, data: bytes, *, command: bool) -> bytes:
        parts = [data[start : start + self._fragment] for start in range(0, len(data), self._fragment)]
        pdus = b""
        for number, part in enumerate(parts, 1):
            header = int(command) | (2 if number == len(parts) else 0)
            pdus += struct.pack(">BxLLBB", 4, len(part) + 6, len(part) + 2, _CONTEXT, header) + part
        return pdus

    def _write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise LostError(str(error)) from error

    def _read_pdu(self) -> tuple[int, bytes]:
        kind, size = struct.unpack(">BxL", self._read(6))
        return kind, self._read(size)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                part = self._socket.recv(size - len(data))
            except OSError as error:
                raise LostError(str(error)) from error
            if not part:
                raise LostError("the connection was closed")
            data += part
        return data


def _item(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(data)) + data


def _request(calling: str, called: str) -> bytes:
    """An A-ASSOCIATE-RQ with one presentation context (PS3.8 9.3.2)."""
    context = _item(0x30, CT.encode()) + _item(0x40, EXPLICIT_LITTLE_ENDIAN.encode())
    user = _item(0x51, struct.pack(">L", _OUR_PDU)) + _item(0x52, _IMPLEMENTATION.encode())
    body = struct.pack(">Hxx16s16s32x", 1, called.encode().ljust(16), calling.encode().ljust(16))
    body += _item(0x10, _APPLICATION.encode()) + _item(0x20, struct.pack(">Bxxx", _CONTEXT) + context)
    body += _item(0x50, user)
    return struct.pack(">BxL", 1, len(body)) + body


def _accepted(kind: int, body: bytes) -> int:
    """Bytes that fit into one fragment by an A-ASSOCIATE-AC; LostError if it is none or refuses CT (PS3.8 9.3.3)."""
    if kind != 2:
        raise LostError(f"answered by PDU {kind}")
    items = _items(body[68:])
    if any(data[2] != 0 for kind, data in items if kind == 0x21):
        raise LostError("CT images are refused")
    limits = [part for kind, data in items if kind == 0x50 for code, part in _items(data) if code == 0x51]
    largest = struct.unpack(">L", limits[0])[0] if limits else 0
    return min(largest or _OUR_PDU, _OUR_PDU) - 6


def _items(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while len(data) >= 4:
        kind, size = struct.unpack(">BxH", data[:4])
        found.append((kind, data[4 : 4 + size]))
        data = data[4 + size :]
    return found


def _command(number: int, SOPInstanceUID: str, originator: str, message: int) -> bytes:
    """The command set of a C-STORE request, implicit VR little endian (PS3.7 9.3.1.1, 6.3.1)."""
    elements = b"".join(
        struct.pack("<HHL", 0, element, len(value)) + value
        for element, value in (
            (0x0002, _even(CT, b"\0")),
            (0x0100, struct.pack("<H", 0x0001)),
            (0x0110, struct.pack("<H", number)),
            (0x0700, struct.pack("<H", 0)),
            (0x0800, struct.pack("<H", 0x0001)),
            (0x1000, _even(SOPInstanceUID, b"\0")),
            (0x1030, _even(originator, b" ")),
            (0x1031, struct.pack("<H", message)),
        )
    )
    return struct.pack("<HHLL", 0, 0, 4, len(elements)) + elements


def _even(text: str, filler: bytes) -> bytes:
    value = text.encode()
    return value + filler * (len(value) % 2)


def _status(command: bytes) -> int:
    while len(command) >= 8:
        element, size = struct.unpack("<xxHL", command[:8])
        if element == 0x0900:
            status: int = struct.unpack("<H", command[8:10])[0]
            return status
        command = command[8 + size :]
    raise LostError("a response without a status")
