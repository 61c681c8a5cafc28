"""A sender that stops wherever a test wants it to: C-STORE by hand, PDU after PDU (PS3.7 9.3.1, PS3.8 9.3)."""

from __future__ import annotations

import socket
import struct

from support.servers import HOST

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
VERIFICATION = "1.2.840.10008.1.1"
_CONTEXT = 1
_COMMAND, _LAST = 1, 2


def _item(kind: int, data: bytes) -> bytes:
    return bytes([kind, 0]) + struct.pack(">H", len(data)) + data


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, element, len(value)) + value


def _uid(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def short(group: int, element: int, vr: str, value: str) -> bytes:
    """A data element in explicit little endian, its value of less than 64 KiB (PS3.5 7.1.2)."""
    padded = value.encode() + (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, element, vr.encode(), len(padded)) + padded


class RawSender:
    """One association for Basic Text SR."""

    def __init__(self, port: int, called: str = "ANY") -> None:
        self.socket = socket.create_connection((HOST, port), timeout=20)
        syntaxes = _item(0x30, BASIC_TEXT_SR.encode()) + _item(0x40, EXPLICIT_LITTLE_ENDIAN.encode())
        user = _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3") + _item(0x55, b"T")
        body = b"\0\1\0\0" + called.encode().ljust(16) + b"RAWSENDER".ljust(16) + bytes(32)
        body += _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, bytes([_CONTEXT, 0, 0, 0]) + syntaxes)
        self._send(1, body + _item(0x50, user))
        assert self._answer()[0] == 2, "A-ASSOCIATE-AC"

    def close(self) -> None:
        """Drop the connection."""
        self.socket.close()

    def ask(self, SOPInstanceUID: str) -> None:
        """Send a C-STORE-RQ; its data set is to follow."""
        command = (
            _element(0x0002, _uid(BASIC_TEXT_SR)) + _element(0x0100, struct.pack("<H", 1))
            + _element(0x0110, struct.pack("<H", 1)) + _element(0x0700, struct.pack("<H", 0))
            + _element(0x0800, struct.pack("<H", 0)) + _element(0x1000, _uid(SOPInstanceUID))
        )  # fmt: skip
        self._data(_element(0x0000, struct.pack("<L", len(command))) + command, _COMMAND | _LAST)

    def data(self, part: bytes, *, last: bool) -> None:
        """Send a part of the data set in a PDU."""
        self._data(part, _LAST if last else 0)

    def status(self) -> int:
        """The status of the C-STORE-RSP."""
        kind, body = self._answer()
        assert kind == 4, f"P-DATA-TF, not {kind}"
        position, end = 6, len(body)
        while position < end:
            group, element, length = struct.unpack_from("<HHL", body, position)
            if (group, element) == (0, 0x0900):
                return int(struct.unpack_from("<H", body, position + 8)[0])
            position += 8 + length
        raise AssertionError("no status")

    def _data(self, part: bytes, control: int) -> None:
        self._send(4, struct.pack(">LBB", len(part) + 2, _CONTEXT, control) + part)

    def _send(self, kind: int, body: bytes) -> None:
        self.socket.sendall(bytes([kind, 0]) + struct.pack(">L", len(body)) + body)

    def _answer(self) -> tuple[int, bytes]:
        head = self._read(6)
        return head[0], self._read(struct.unpack(">L", head[2:])[0])

    def _read(self, number: int) -> bytes:
        data = b""
        while len(data) < number:
            block = self.socket.recv(number - len(data))
            assert block, "closed"
            data += block
        return data
