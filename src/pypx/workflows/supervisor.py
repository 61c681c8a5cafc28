"""The supervisor of a listener: the door, a storescp an association, the worker, back-pressure and the end.

A single thread around a selector.  It never reads an image and never waits for anything but events, so that it can be
killed, like each of its children, at any instant: what has been received lies in the spool
(:mod:`pypx.workflows.spool`), and the next listener goes on with it.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pypx.db.layout import Layout
from pypx.errors import PartialError, PxError
from pypx.workflows import spool
from pypx.workflows.association import AssociationRequest, Rejection
from pypx.workflows.door import Door
from pypx.workflows.events import EventKind, ListenEvent
from pypx.workflows.room import Room
from pypx.workflows.serving import MEMORY_BYTES, STARTING_S, ListenOptions, ServedAssociation, serve
from pypx.workflows.strangers import Strangers
from pypx.workflows.tlsdoor import tls_door
from pypx.workflows.words import Refused, Words
from pypx.workflows.worker import WorkerLink

_TICK_S = 0.25
_CHECK_S = 1.0
_GRACE_S = 5.0
_STANDARD_FILES = 3
_COUNTED = 1_000_000


class Supervisor:
    """Owns the port, the programs that serve associations, and the worker.

    Parameters
    ----------
    layout, folder, lock : the BASEMOUNT; the folder of this listener in its spool; the descriptor of its lock
    listening : the socket of the port; closed in the end
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        layout: Layout,
        options: ListenOptions,
        *,
        folder: Path,
        lock: int,
        listening: socket.socket,
        on_event: Callable[[ListenEvent], None],
    ) -> None:
        self._selector = selector
        self._layout = layout
        self._options = options
        self._rules = options.rules
        self._folder = folder
        self._emit = on_event
        self._number = 0
        self._running: dict[str, ServedAssociation] = {}
        self._ended: dict[str, ServedAssociation] = {}
        self._room = Room(layout, folder, options.min_free_bytes, options.max_backlog)
        self._free = 0
        self._crowded = False
        self._paused: str | None = None
        self._next_check = 0.0
        self._stops = 0
        self._drain_until: float | None = None
        self._tls = tls_door(selector, options, on_event)
        self._door = Door(
            selector,
            listening,
            request_s=options.request_s,
            lets_in=Strangers(options.rules, on_event).lets_in,
            admit=self._admit,
            refused=self._refused,
            tls=self._tls,
        )
        self._words = Words(folder)
        selector.register(self._words, selectors.EVENT_READ, self._hear_words)
        self._worker = WorkerLink(
            selector,
            layout,
            folder,
            lock,
            on_message=self._hear_worker,
            on_restart=self._worker_died,
            debug=options.debug,
        )

    def stop(self) -> None:
        """Begin to drain; the second time, end at once."""
        self._stops += 1

    def run(self) -> None:
        """Serve until told to stop and all is done."""
        self._announce()
        try:
            while not self._worker.drained:
                self._tick()
                self._wait()
        except _EndNow:
            raise PxError(self._ended_at_once()) from None
        finally:
            if self._drain_until is None:
                self._door.close()
            self._worker.close()
            if self._tls is not None:
                self._tls.close(at_once=self._stops > 1)
            self._selector.unregister(self._words)
            self._words.close()
        left = spool.waiting(self._folder, _COUNTED)
        earlier = spool.left_behind(self._layout.incoming, _COUNTED)  # the lock of our own folder is held
        self._settle_ended(final=True)
        self._emit(ListenEvent(EventKind.STOPPED, files=left or None, earlier=earlier or None))
        if left or self._worker.exit_status:
            raise PxError(
                f"{left} received files could not be filed; they wait in {self._folder}, the next px listen files them"
            )
        if earlier:
            raise PartialError(f"{earlier} files received earlier wait in incoming; the next px listen files them")

    def _announce(self) -> None:
        incoming, data = self._layout.incoming, self._layout.data
        if incoming.stat().st_dev != data.stat().st_dev:
            reason = "data and incoming are on different filesystems: each file is copied instead of linked"
            self._emit(ListenEvent(EventKind.NOTICE, reason=reason))
        self._check_room()
        address, port = self._door.address
        self._emit(
            ListenEvent(
                EventKind.READY,
                address=address,
                port=port,
                aet=self._options.aet,
                basemount=str(self._layout.base),
                pid=os.getpid(),
            )
        )

    def _wait(self) -> None:
        timeout_s = self._room.look_again_s(self._free) if self._running else _TICK_S
        if not all(association.yields for association in self._running.values()):
            timeout_s = min(timeout_s, STARTING_S)
        for key, _ in self._selector.select(timeout_s):
            if isinstance(key.data, ServedAssociation):
                self._check_child(key.data)
            elif key.data is self._worker:
                self._worker.handle()
            elif callable(key.data):
                key.data()
            else:
                self._door.handle(key)

    def _tick(self) -> None:
        if self._stops and self._drain_until is None:
            self._begin_drain()
        if self._stops > 1:
            raise _EndNow
        for association in [a for a in self._running.values() if a.pidfd is None]:
            self._check_child(association)
        self._favour_worker()
        self._check_free()
        self._settle_ended()
        self._worker.tick()
        if self._tls is not None:
            self._tls.tick()
        if self._drain_until is not None:
            self._drain(self._drain_until)
        else:
            self._door.tick()
            if time.monotonic() >= self._next_check:
                self._check_room()

    # Associations.

    def _admit(self, connection: socket.socket, request: AssociationRequest) -> Rejection | None:
        rejection = self._rules.judge(request)
        if rejection is None and self._paused is not None:
            rejection = Rejection.NO_ROOM
        if rejection is None and len(self._running) >= self._options.max_associations:
            rejection = Rejection.LOCAL_LIMIT
        if rejection is not None:
            return rejection
        self._number += 1
        try:
            association = serve(connection, request, self._number, self._words, self._options, modes=self._layout.modes)
        except PxError as error:
            self._emit(ListenEvent(EventKind.FILING_FAILED, reason=f"an association could not be served: {error}"))
            return Rejection.NO_SERVICE
        name = association.folder.name
        self._running[name] = association
        if association.pidfd is not None:
            self._selector.register(association.pidfd, selectors.EVENT_READ, association)
        self._emit(_about(EventKind.ASSOCIATION_OPENED, request, certificate=request.certificate, association=name))
        self._worker.wake()
        return None

    def _refused(self, request: AssociationRequest, rejection: Rejection) -> None:
        self._emit(_about(EventKind.ASSOCIATION_REJECTED, request, reason=rejection.text))

    def _check_child(self, association: ServedAssociation) -> None:
        status = association.child.poll()
        if status is None:
            return
        self._hear_words()
        if status == -signal.SIGABRT:  # the C++ library got no more memory
            self._beyond_memory(association, "its storescp broke down, most likely at the limit of")
        if association.pidfd is not None:
            self._selector.unregister(association.pidfd)
            os.close(association.pidfd)
        association.pace.close()
        spool.mark_ended(association.folder, well=status == 0)
        association.exit_status = status
        association.seconds = time.monotonic() - association.began
        name = association.folder.name
        self._ended[name] = self._running.pop(name)
        self._worker.wake()

    def _favour_worker(self) -> None:
        """Let filing come before receiving, the associations that began first being first."""
        for association in self._running.values():
            if not association.yield_to_worker():
                break

    def _cut_stalled(self) -> None:
        """End the connections of peers that only dribble; their program then ends by itself, or is ended."""
        for association in self._running.values():
            cut_at = association.pace.cut_at
            if cut_at is not None:
                if time.monotonic() - cut_at > _GRACE_S:
                    association.child.kill()
            elif association.pace.stalled():
                association.pace.cut()
                self._notice(association, f"no message ended in {self._options.stall_s:g} s, and next to nothing came")
            elif association.pace.unanswered(self._options.request_s):
                association.pace.cut()
                self._notice(association, f"its request was not answered in {self._options.request_s:g} s")

    def _notice(self, association: ServedAssociation, reason: str) -> None:
        about, name = association.request, association.folder.name
        self._emit(_about(EventKind.NOTICE, about, association=name, reason=f"cut off: {reason}"))

    def _settle_ended(self, *, final: bool = False) -> None:
        """Report associations whose files are recorded: the worker has removed their folder."""
        gone = [name for name, association in self._ended.items() if final or not association.folder.exists()]
        if gone:
            self._worker.handle()  # what the worker said before it removed a folder comes first
        for name in gone:
            association = self._ended.pop(name)
            self._emit(
                _about(
                    EventKind.ASSOCIATION_ENDED,
                    association.request,
                    association=name,
                    files=association.files,
                    refused=association.refused or None,
                    exit_status=association.exit_status,
                    seconds=round(association.seconds, 3),
                )
            )

    def _hear_words(self) -> None:
        for pid, refused in self._words.heard():
            for association in self._running.values():
                if association.child.pid == pid and refused is Refused.MEMORY:
                    self._beyond_memory(association, "what came, or was announced, did not fit into the")
                elif association.child.pid == pid:
                    self._refused_object(association, refused)

    def _beyond_memory(self, association: ServedAssociation, what: str) -> None:
        if EventKind.NOTICE not in association.told:
            association.told.add(EventKind.NOTICE)
            self._notice(association, f"{what} {MEMORY_BYTES >> 20} MiB of memory of its storescp")

    def _refused_object(self, association: ServedAssociation, refused: Refused) -> None:
        """Tell the first of its kind; a write failed by size if the disk has room for a file of the size allowed."""
        association.refused += 1
        limit = self._options.max_object_bytes
        kind, reason = EventKind.OUT_OF_RESOURCES, "an object was refused: no room on the disk of the BASEMOUNT"
        if refused is Refused.WRITE and self._room.free() >= limit:
            kind, reason = EventKind.OBJECT_TOO_LARGE, f"an object of more than {limit} bytes was refused"
        if kind not in association.told:
            association.told.add(kind)
            self._emit(_about(kind, association.request, association=association.folder.name, reason=reason))

    # The worker.

    def _hear_worker(self, message: dict[str, Any]) -> None:
        kind = message.pop("kind")
        if kind == "filed":
            name = message["association"]
            association = self._running.get(name) or self._ended.get(name)
            if association is not None:
                association.files += message["files"]
        else:
            self._emit(ListenEvent(EventKind(kind), **message))

    def _worker_died(self, status: int | None) -> None:
        self._emit(ListenEvent(EventKind.WORKER_RESTARTED, exit_status=status))

    # Back-pressure.

    def _check_room(self) -> None:
        self._next_check = time.monotonic() + _CHECK_S
        reason = self._room.why_pause()
        if (reason is None) != (self._paused is None):
            self._emit(
                ListenEvent(EventKind.RESUMED) if reason is None else ListenEvent(EventKind.PAUSED, reason=reason)
            )
        self._paused = reason
        self._door.set_open(reason is None)
        self._cut_stalled()

    def _check_free(self) -> None:
        """Keep running associations from starting another file while there is next to no room."""
        self._free = self._room.free() if self._running else 0
        crowded = bool(self._running) and self._free < self._room.floor
        if crowded != self._crowded:
            self._crowded = crowded
            self._next_check = 0.0  # nobody new comes in before that is known
            for association in self._running.values():
                association.child.limit_open_files(_STANDARD_FILES if crowded else None)

    # The end.

    def _begin_drain(self) -> None:
        self._drain_until = time.monotonic() + self._options.drain_s
        self._emit(ListenEvent(EventKind.DRAINING, reason=f"{len(self._running)} associations are running"))
        self._door.close()

    def _drain(self, deadline: float) -> None:
        if not self._running:
            self._worker.drain()
        elif time.monotonic() >= deadline + _GRACE_S:
            for association in self._running.values():
                association.child.kill()
        elif time.monotonic() >= deadline:
            for association in self._running.values():
                association.child.terminate()

    def _ended_at_once(self) -> str:
        for association in self._running.values():
            association.child.kill()
        self._worker.kill()
        return (
            f"ended at once: {len(self._running)} associations were cut,"
            f" {spool.waiting(self._folder, _COUNTED)} received files wait in {self._folder} for the next px listen"
        )


class _EndNow(Exception):  # noqa: N818  not an error
    """A second signal came."""


def _about(kind: EventKind, request: AssociationRequest, **values: Any) -> ListenEvent:
    return ListenEvent(
        kind, calling_aet=request.calling_aet, called_aet=request.called_aet, address=request.address, **values
    )
