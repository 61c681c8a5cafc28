"""The supervisor's end of the process that secures the connections of a listener (:mod:`pypx.workflows.tlsterminal`).

To the door nothing changes: for the connection it accepted it gets a plain one back, whose other end the TLS process
has.  Nothing comes out of that before the peer has done its handshake, within the time for a request.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypx.model.pacs import TlsSettings
from pypx.services.children import Child, start
from pypx.workflows.events import EventKind, ListenEvent

if TYPE_CHECKING:
    from pypx.workflows.serving import ListenOptions

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from pypx.workflows.tlsterminal import main; sys.exit(main())"
)
_LOOPBACK = "127.0.0.1"
_PAIR_S = 0.5
_STRANGERS = 8
_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 30.0
_LAST_S = 2.0
_REMEMBERED = 1024

MESSAGE_BYTES = 1 << 14
_PLAIN = frozenset({"password", "handshake_s"})

OnRefused = Callable[[str, str], None]
"""Gets the address of a peer, and why it got no TLS connection."""


def packed(settings: TlsSettings, handshake_s: float) -> bytes:
    """The first message to this process; it holds the passphrase of the key, which no argument list may show."""
    paths = {name: getattr(settings, name) for name in ("ca", "cert", "key", "password_file")}
    values = {name: None if path is None else str(path) for name, path in paths.items()}
    return json.dumps({**values, "password": settings.password, "handshake_s": handshake_s}).encode()


def unpacked(message: bytes) -> tuple[TlsSettings, float]:
    """The inverse of :func:`packed`."""
    values: dict[str, Any] = json.loads(message)
    paths: dict[str, Any] = {name: values[name] and Path(values[name]) for name in values.keys() - _PLAIN}
    return TlsSettings(**paths, password=values["password"]), values["handshake_s"]


class TlsDoor:
    """One TLS process at a time, started again when it ends before it was told to.

    Parameters
    ----------
    settings : our certificate and key, and whose certificates are demanded
    handshake_s : limit of a handshake, seconds
    on_refused : told of peers without a TLS connection, but not of those that just went away
    on_restart : gets the exit status of a process that died; its connections are cut
    debug : let the process print tracebacks on our standard error
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        settings: TlsSettings,
        *,
        handshake_s: float,
        on_refused: OnRefused,
        on_restart: Callable[[int | None], None],
        debug: bool = False,
    ) -> None:
        self._selector = selector
        self._debug = debug
        self._first_message = packed(settings, handshake_s)
        self._on_refused = on_refused
        self._on_restart = on_restart
        self._child: Child | None = None
        self._channel: socket.socket | None = None
        self._number = 0
        self._waiting: dict[int, str] = {}
        self._certificates: dict[int, str | None] = {}
        self._pause_s = _FIRST_PAUSE_S
        self._not_before = 0.0
        self._start()

    @property
    def pid(self) -> int | None:
        """Process id of the TLS process."""
        return None if self._child is None else self._child.pid

    @property
    def ready(self) -> bool:
        """Whether there is a process to take connections."""
        return self._channel is not None

    def wrap(self, connection: socket.socket, address: str) -> tuple[socket.socket, int]:
        """Hand a connection over and get a plain one for it, and its number.

        `connection` is closed here in any case.

        Raises
        ------
        OSError : there is no TLS process, or it does not keep up, or no pair of sockets is to be had
        """
        with connection:
            if self._channel is None:
                raise ConnectionError
            ours, theirs = _pair()
            self._number += 1
            try:
                with theirs:
                    socket.send_fds(self._channel, [b"%d" % self._number], [connection.fileno(), theirs.fileno()])
            except OSError:
                ours.close()
                raise
        self._waiting[self._number] = address
        return ours, self._number

    def certificate(self, number: int) -> str | None:
        """The subject of the certificate that the peer of a connection gave; ``None`` if it gave none."""
        self.handle()  # it was told before the first byte came
        return self._certificates.pop(number, None)

    def handle(self) -> None:
        """Hear what the process says."""
        while self._channel is not None:
            try:
                message = self._channel.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._ended()
                return
            self._hear(json.loads(message))

    def _hear(self, said: dict[str, object]) -> None:
        number = said["id"]
        assert isinstance(number, int)  # noqa: S101  narrows the type
        address = self._waiting.pop(number, "")
        if said.get("error"):
            self._on_refused(address, str(said["error"]))
        elif "certificate" in said:
            self._pause_s = _FIRST_PAUSE_S
            self._certificates[number] = None if said["certificate"] is None else str(said["certificate"])
            if len(self._certificates) > _REMEMBERED:  # of connections that were dropped before they asked
                del self._certificates[next(iter(self._certificates))]

    def tick(self) -> None:
        """Start another process if there is none and its time has come."""
        if self._channel is None and time.monotonic() >= self._not_before:
            self._start()

    def close(self, *, at_once: bool = False) -> None:
        """End the process: what is under way comes to its end first, for a moment, unless it is to end `at_once`."""
        if self._channel is not None:
            self._selector.unregister(self._channel)
            self._channel.close()
            self._channel = None
        if self._child is not None and (at_once or self._child.wait(_LAST_S) is None):
            self._child.kill()
            self._child.wait()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._child = start(
                [sys.executable, "-c", _PROGRAM, str(Path(__file__).parents[2])],
                stdin=theirs.fileno(),
                stderr=_standard_error(self._debug),
            )
        ours.setblocking(False)
        with suppress(OSError):  # it died already: its end is seen like any other
            ours.send(self._first_message)
        self._channel = ours
        self._selector.register(ours, selectors.EVENT_READ, self.handle)

    def _ended(self) -> None:
        assert self._channel is not None and self._child is not None  # noqa: S101, PT018  narrows the types
        self._selector.unregister(self._channel)
        self._channel.close()
        self._channel = None
        self._waiting.clear()
        self._child.kill()
        self._not_before = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
        self._on_restart(self._child.wait())


def tls_door(
    selector: selectors.BaseSelector, options: ListenOptions, on_event: Callable[[ListenEvent], None]
) -> TlsDoor | None:
    """The TLS of a listener, its news told as events; ``None`` if it has none."""
    if options.tls is None:
        return None
    return TlsDoor(
        selector,
        options.tls,
        handshake_s=0.8 * options.request_s,  # so that it is told before the door gives up
        on_refused=lambda address, why: on_event(ListenEvent(EventKind.TLS_REFUSED, address=address, reason=why)),
        on_restart=lambda status: on_event(ListenEvent(EventKind.TLS_RESTARTED, exit_status=status)),
        debug=options.debug,
    )


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets: storescp serves no others, and only TCP can wait for so many bytes (SO_RCVLOWAT).

    Nobody else gets in: whoever connects meanwhile is not the one we know, and is closed.

    Raises
    ------
    OSError : none is to be had
    """
    with socket.socket() as listening:
        listening.bind((_LOOPBACK, 0))
        listening.listen(1)
        listening.settimeout(_PAIR_S)
        ours = socket.create_connection(listening.getsockname(), _PAIR_S)
        for _ in range(_STRANGERS):
            theirs, address = listening.accept()
            if address == ours.getsockname():
                return ours, theirs
            theirs.close()
    ours.close()
    raise ConnectionError


def _standard_error(debug: bool) -> int:
    """Where tracebacks of the process go: to ours, if they are wanted and we have one."""
    if not debug:
        return -3  # subprocess.DEVNULL
    try:
        os.fstat(2)
    except OSError:
        return -3
    return 2
