"""A CUBE on a free port of 127.0.0.1, with a record of what it was asked and switches for trouble."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from cube_contract import wire
from cube_contract.cube import BODIES, Cube
from cube_contract.items import BASE
from cube_contract.openapi import Description, load, with_per_file_api
from cube_contract.wire import RefusedError, Reply, Request

HOST = "127.0.0.1"
REGISTRATIONS = {f"{BASE}pacsfiles/", f"{BASE}pacs/series/"}

Trouble = Literal["crash", "crash_after", "hang", "cut"]
"""What happens to a POST: 500 and nothing done; 500 though it was done; a pause before anything is done; the
connection closed in the middle of the answer to what was done."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request and how it was answered; `connection` is the same for requests over one connection."""

    method: str
    path: str
    params: Mapping[str, str]
    status: int
    scheme: str
    content_type: str
    accept: str
    sent: Mapping[str, Any] | None
    connection: int


@dataclass(slots=True)
class Faults:
    """Trouble to come for registrations (POST pacsfiles/ or pacs/series/), which are counted from 1."""

    posts: int = 0
    planned: dict[int, tuple[Trouble, float]] = field(default_factory=dict)

    def on_post(self, number: int, trouble: Trouble, seconds: float = 0) -> None:
        """Let the `number`-th registration from now on fail; `seconds` is how long it hangs."""
        self.planned[self.posts + number] = trouble, seconds


class CubeServer:
    """A CUBE that listens; `violations` are the requests that CUBE's OpenAPI description does not allow.

    Parameters
    ----------
    cube : what answers
    password_cost_s : what each Basic login costs, 0.2 to 0.4 s in life
    """

    def __init__(self, cube: Cube, *, password_cost_s: float = 0) -> None:
        self.cube = cube
        self.password_cost_s = password_cost_s
        self.faults = Faults()
        self.seen: list[Seen] = []
        self.violations: list[str] = []
        self.bugs: list[str] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        description = load()
        self.description = Description(with_per_file_api(description) if cube.dialect == "old" else description)
        self._server = _Listener(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="cube", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The API root, as given to `--CUBEURL`."""
        return f"http://{HOST}:{self.port}{BASE}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the server, waits included; fails if the server itself went wrong."""
        self.cube.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)
        assert self.bugs == [], f"the contract server went wrong: {self.bugs}"

    def expire_token_after(self, requests: int) -> None:
        """Let all tokens die after so many more requests by token; a new one can be had."""
        self.cube.access.expire_after = requests

    def statuses(self, method: str = "POST") -> Counter[int]:
        """How often each status was the answer to a registration (or to any other method)."""
        return Counter(
            seen.status
            for seen in self.seen
            if seen.method == method and (method != "POST" or seen.path in REGISTRATIONS)
        )

    def answer(self, request: Request, connection: int) -> tuple[Reply, bool]:
        """The reply, and whether only half of it shall arrive."""
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            reply, cut = self._troubled(request)
            self._record(request, reply, connection)
            return reply, cut
        finally:
            with self._lock:
                self._now -= 1

    def _troubled(self, request: Request) -> tuple[Reply, bool]:
        trouble, seconds = self._trouble(request)
        if trouble == "crash":
            return wire.crash_reply(request), False
        if trouble == "hang":
            self.cube.stopping.wait(seconds)
        if self.password_cost_s and request.headers.get("authorization", "").startswith("Basic "):
            self.cube.stopping.wait(self.password_cost_s)
        reply = self.cube.handle(request)
        return (wire.crash_reply(request) if trouble == "crash_after" else reply), trouble == "cut"

    def _trouble(self, request: Request) -> tuple[Trouble | None, float]:
        if request.method != "POST" or request.path not in REGISTRATIONS:
            return None, 0
        with self._lock:
            self.faults.posts += 1
            return self.faults.planned.pop(self.faults.posts, (None, 0))

    def _record(self, request: Request, reply: Reply, connection: int) -> None:
        sent: Mapping[str, Any] | None
        try:
            sent = wire.read_body(request, BODIES)
        except RefusedError:
            sent = None
        seen = Seen(
            request.method, request.path, request.params, reply.status,
            request.headers.get("authorization", "").partition(" ")[0], request.media_type, request.accept,
            sent, connection,
        )  # fmt: skip
        with self._lock:
            self.violations += self.description.request_violations(request, sent)
            self.seen.append(seen)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, owner: CubeServer) -> None:
        self.owner = owner
        super().__init__((HOST, 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep what went wrong for stop(); a client that hung up is no bug of ours."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            self.owner.bugs.append(repr(error))


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # whatever the method is called: CUBE answers it
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        host = headers.get("host", f"{HOST}:{self.server.owner.port}")
        request = Request(self.command, host, path, query, headers, self.rfile.read(length))
        reply, cut = self.server.owner.answer(request, self.client_address[1])
        self.send_response(reply.status)
        for name, value in {"Content-Type": reply.media_type, **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        if cut:
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: len(reply.body) // 2] if cut else reply.body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  named as in http.server
        """Say nothing; `seen` has it all."""
