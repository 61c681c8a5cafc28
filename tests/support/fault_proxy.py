"""An HTTP proxy on 127.0.0.1 before a real server, that does to each request what a script says."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

HOST = "127.0.0.1"
HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "content-length"})

Kind = Literal[
    "reset-before", "reset-in-request", "reset-after", "reset-in-response", "status", "short", "chunked", "silence",
    "silence-after", "etag", "drip",
]  # fmt: skip
"""What is done to a request.

Connection reset: before anything is read of the body, in the middle of the body, after the server has answered, in the
middle of its answer.  `status`: an answer of the proxy's own.  `short`: half the body under its full Content-Length;
`chunked`: a chunk and no end.  `silence`: nothing is handed on and nothing comes back; `silence-after`: the server has
done it.  `etag`: another ETag.  `drip`: the answer comes byte by byte.
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault for the requests of a method (regular expression) whose path has `path` in it.

    `at` is which of those requests it hits, counted from 1 (``None``: each one), `times` how many in a row.
    """

    kind: Kind
    method: str = ".*"
    path: str = ""
    at: int | None = 1
    times: int = 1
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.05


@dataclass(frozen=True, slots=True)
class Passed:
    """One request, and what was done to it (``""``: nothing)."""

    method: str
    path: str
    fault: str


class FaultProxy:
    """Stands before the server at `port`; with `tls`, its clients have to speak TLS."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.upstream = port
        self.seen: list[Passed] = []
        self.refused = 0
        self.stopping = threading.Event()
        self._faults: list[Fault] = []
        self._counts: list[int] = []
        self._lock = threading.Lock()
        self._server = _Listener(self, tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    def script(self, *faults: Fault) -> None:
        """Do these from now on, and none of those before; requests are counted anew."""
        with self._lock:
            self._faults = list(faults)
            self._counts = [0] * len(faults)
            self.seen.clear()

    def hits(self) -> int:
        """How many requests a fault has met."""
        return sum(1 for one in self.seen if one.fault)

    def fault_for(self, method: str, path: str) -> Fault | None:
        """The fault for this request; it is counted."""
        with self._lock:
            found = None
            for number, fault in enumerate(self._faults):
                if re.fullmatch(fault.method, method) and fault.path in path:
                    self._counts[number] += 1
                    first = fault.at
                    if found is None and (first is None or first <= self._counts[number] < first + fault.times):
                        found = fault
            self.seen.append(Passed(method, path, found.kind if found else ""))
            return found


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, owner: FaultProxy, tls: ssl.SSLContext | None) -> None:
        self.owner = owner
        self.tls = tls
        super().__init__((HOST, 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up; that is what this is for."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        try:
            secured = self.tls.wrap_socket(request, server_side=True)
        except OSError:
            self.owner.refused += 1
            return
        with secured:
            super().finish_request(secured, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._pass
        raise AttributeError(name)

    def handle_expect_100(self) -> bool:
        """Told after the fault is known."""
        return True

    def _pass(self) -> None:
        owner = self.server.owner
        fault = owner.fault_for(self.command, self.path) or Fault("drip", seconds=0)
        if fault.kind == "reset-before":
            self._reset()
            return
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(self.headers.get("Content-Length") or 0)
        if fault.kind == "reset-in-request":
            half = self.rfile.read(length // 2)
            self._forward_half(half)
            self._reset()
            return
        body = self.rfile.read(length)
        if fault.kind == "silence":
            owner.stopping.wait(fault.seconds)
            self._reset()
        elif fault.kind == "status":
            self._answer(fault.status, {**fault.headers, "Content-Type": "application/json"}, b"{}")
        else:
            self._handed_on(fault, body)

    def _handed_on(self, fault: Fault, body: bytes) -> None:
        status, headers, answer = self._forward(body)
        if fault.kind == "silence-after":
            self.server.owner.stopping.wait(fault.seconds)
        if fault.kind in ("reset-after", "silence-after"):
            self._reset()
        elif fault.kind == "reset-in-response":
            self._head(status, headers)
            self.wfile.write(answer[: len(answer) // 2])
            self.wfile.flush()
            self._reset()
        elif fault.kind == "short":
            self._head(status, {**headers, "Content-Length": str(max(1, len(answer)))})
            self.wfile.write(answer[: len(answer) // 2])
            self.close_connection = True
        elif fault.kind == "chunked":
            plain = {name: value for name, value in headers.items() if name.lower() != "content-length"}
            self._head(status, {**plain, "Transfer-Encoding": "chunked"})
            half = answer[: len(answer) // 2]
            self.wfile.write(b"%x\r\n%s" % (len(answer) + 1, half))
            self.close_connection = True
        elif fault.kind == "etag":
            changed = {name: "0" * 32 if name.lower() == "etag" else value for name, value in headers.items()}
            self._answer(status, changed, answer)
        else:
            self._answer(status, headers, answer, pause_s=fault.seconds)

    # To the server

    def _open(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(HOST, self.server.owner.upstream, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP or name.lower() == "content-length":
                connection.putheader(name, value)
        return connection

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = self._open()
        try:
            connection.endheaders(body or None)
            answer = connection.getresponse()
            data = answer.read()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in HOP}
            if self.server.tls is not None:  # as a Swift that knows of its TLS says it
                headers = {
                    name: value.replace("http:", "https:", 1) if name.lower() == "x-storage-url" else value
                    for name, value in headers.items()
                }
            length = answer.headers.get("Content-Length") if self.command == "HEAD" else str(len(data))
            return answer.status, headers | ({"Content-Length": length} if length is not None else {}), data
        finally:
            connection.close()

    def _forward_half(self, half: bytes) -> None:
        connection = self._open()
        with suppress(OSError):
            connection.endheaders(half or None)
        connection.close()

    # To the client

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes, *, pause_s: float = 0) -> None:
        if self.command != "HEAD":
            headers = {**headers, "Content-Length": str(len(body))}
        self._head(status, headers)
        for byte in body if pause_s else ():
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            self.server.owner.stopping.wait(pause_s)
        if not pause_s and self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _reset(self) -> None:
        """End the connection by RST."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  named as in http.server
        """Say nothing; `seen` has it all."""


@contextmanager
def fault_proxy(port: int, *, tls: ssl.SSLContext | None = None) -> Iterator[FaultProxy]:
    """A proxy before the server at `port` of 127.0.0.1, for the time of a block."""
    proxy = FaultProxy(port, tls=tls)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
