"""The listening socket: accepts, rejects, or lets wait; what is accepted goes to pynetdicom."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from typing import Any

from pynetdicom import AE, association, evt
from pynetdicom.transport import AssociationServer

from scripted_pacs.journal import Asked, Association
from scripted_pacs.play import Play
from scripted_pacs.sending import Session, Stage
from scripted_pacs.serving import FIND, MOVE, chosen

HOST = "127.0.0.1"
VERIFICATION = "1.2.840.10008.1.1"
_BACKLOG = 128
_RELEASE_RP = 6  # PDU type (PS3.8 9.3.7)
_RELEASED_S = 0.2
_HEAD = 74  # PDU header, protocol version, both AE titles and what follows them (PS3.8 9.3.2)


class Listener:
    """A PACS on `port` that plays `stage.play`."""

    def __init__(self, port: int, stage: Stage) -> None:
        self.stage = stage
        association.uid_to_service_class = chosen(stage, association.uid_to_service_class)
        entity = AE(ae_title=stage.aet)
        entity.maximum_associations = 1000
        entity.network_timeout = None
        for uid in (VERIFICATION, *FIND, *MOVE):
            entity.add_supported_context(uid)
        self._server = AssociationServer(
            entity,
            (HOST, port),
            stage.aet,
            entity.supported_contexts,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, self._on_open),
                (evt.EVT_PDU_SENT, self._on_written),
                (evt.EVT_CONN_CLOSE, self._on_close),
                (evt.EVT_C_ECHO, self._on_echo),
            ],
        )
        self._socket: socket.socket = self._server.socket
        self._socket.listen(_BACKLOG)
        self._opening: dict[tuple[str, int], Association] = {}
        self._blocked, self._parked = threading.Event(), threading.Event()
        self._fillers: list[socket.socket] = []
        self._play(stage.play)
        threading.Thread(target=self._accept, daemon=True).start()

    def play(self, play: Play) -> None:
        """Begin another script; whoever waits by the old one is let go."""
        old, self.stage.play = self.stage.play, play
        old.ended.set()
        self._play(play)

    def _play(self, play: Play) -> None:
        if (play.script.silent == "connect") != self._blocked.is_set():
            self._unblock() if self._blocked.is_set() else self._block()

    # Silence before the connection

    def _block(self) -> None:
        """Let no further connection come about: the queue of the socket is filled up and nobody empties it."""
        self._parked.clear()
        self._blocked.set()
        self._socket.listen(0)
        for _ in range(16):
            filler = socket.socket()
            filler.setblocking(False)
            self._fillers.append(filler)
            filler.connect_ex(self._socket.getsockname())
            if not select.select([], [filler], [], 0.1)[1]:
                return
        raise RuntimeError("the queue of the listening socket does not fill")

    def _unblock(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        self._socket.listen(_BACKLOG)
        self._blocked.clear()

    # Connections

    def _accept(self) -> None:
        while True:
            if self._blocked.is_set():
                self._parked.set()
                self._parked.wait(0.02)
                continue
            if not select.select([self._socket], [], [], 0.02)[0] or self._blocked.is_set():
                continue
            connection, address = self._socket.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._admit, args=(connection, address), daemon=True).start()

    def _admit(self, connection: socket.socket, address: tuple[str, int]) -> None:
        """Look at the A-ASSOCIATE-RQ, without taking it, and do what the script says."""
        head = b""
        with contextlib.suppress(OSError):
            head = connection.recv(_HEAD, socket.MSG_PEEK | socket.MSG_WAITALL)
        if len(head) < _HEAD:
            connection.close()
            return
        called, calling = (head[start : start + 16].decode("ascii", "replace").strip() for start in (10, 26))
        record = self.stage.book.open_association(calling, called)
        play = self.stage.play
        decision = play.admit(self._crowded(play))
        if decision == "accepted":
            self._opening[address] = record
            self._server.finish_request(connection, address)
            return
        record.ending = decision
        with contextlib.suppress(OSError), connection:
            _read_exactly(connection, 6 + struct.unpack(">L", head[2:6])[0])
            if decision == "rejected":
                connection.sendall(bytes((3, 0, 0, 0, 0, 4, 0, *play.script.reject_with)))
                connection.settimeout(10)
                connection.recv(1)
            else:
                _wait(connection, play)

    def _crowded(self, play: Play) -> bool:
        """Whether this one is one too many; one that is just being released is given the time for it."""
        most = play.script.most_associations
        deadline = time.monotonic() + _RELEASED_S
        while most is not None and self.stage.book.open_associations() > most:
            if time.monotonic() > deadline:
                return True
            time.sleep(0.01)
        return False

    # Events of pynetdicom

    def _on_open(self, event: Any) -> None:
        session = Session(self._opening.pop(event.address))
        self.stage.sessions[event.assoc] = session
        plain_send = event.assoc.dul.send_pdu

        def counted(primitive: Any) -> None:
            session.queued += 1
            plain_send(primitive)

        event.assoc.dul.send_pdu = counted

    def _on_written(self, event: Any) -> None:
        session = self.stage.sessions[event.assoc]
        session.written += 1
        if event.pdu.pdu_type == _RELEASE_RP and session.record.ending == "open":
            session.record.ending = "released"

    def _on_close(self, event: Any) -> None:
        session = self.stage.sessions[event.assoc]
        if session.record.ending == "open":
            session.record.ending = "lost"

    def _on_echo(self, event: Any) -> int:
        session = self.stage.sessions[event.assoc]
        session.requests += 1
        number = session.record.number
        self.stage.book.add(Asked("C-ECHO", number, session.requests, status=0, ending="answered"))
        return 0


def _read_exactly(connection: socket.socket, size: int) -> None:
    while size > 0:
        size -= len(connection.recv(min(size, 65536))) or size


def _wait(connection: socket.socket, play: Play) -> None:
    """Say nothing until the peer closes or the script ends."""
    while not play.ended.is_set():
        if select.select([connection], [], [], 0.02)[0] and not connection.recv(4096):
            return
