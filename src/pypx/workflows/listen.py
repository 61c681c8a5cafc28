"""Listening: receive what is sent to us, until told to stop."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.db.tables import make_dirs
from pypx.workflows import spool
from pypx.workflows.door import listen_on
from pypx.workflows.events import EventKind, ListenEvent
from pypx.workflows.serving import ListenOptions
from pypx.workflows.supervisor import Supervisor
from pypx.workflows.toolcheck import require_storescp

__all__ = ["EventKind", "ListenEvent", "ListenOptions", "listen"]


def listen(layout: Layout, options: ListenOptions, on_event: Callable[[ListenEvent], None]) -> None:
    """Receive until SIGTERM, SIGINT or SIGHUP, then let running associations end, file what came, and return.

    SIGHUP stays ignored where it is, as under nohup.

    In another thread than the main one there are no signals, and no end.

    Parameters
    ----------
    layout : the BASEMOUNT; made where there is none
    on_event : called in this thread; must not block for long

    Raises
    ------
    ToolMissingError : there is no storescp of DCMTK
    PartialError : all that came is filed, but not all that an earlier listener had received
    InputError : TLS is asked for, and certificate or key cannot be used
    DatabaseError : the BASEMOUNT cannot be written
    PxError : the port cannot be had; or a second signal ended the listener at once; or files are left in the spool
        because they could not be filed
    """
    require_storescp(options.programs)
    if options.tls is not None:
        from pypx.services.tlscontext import server_context  # noqa: PLC0415 - ssl is loaded for those who need it

        server_context(options.tls)
    with listen_on(options.bind, options.port) as listening:  # first: a busy port leaves nothing behind
        _listen(layout, options, listening, on_event)


def _listen(
    layout: Layout, options: ListenOptions, listening: socket.socket, on_event: Callable[[ListenEvent], None]
) -> None:
    layout = Database.open_or_create(layout).layout
    make_dirs(layout.data, layout.modes.directory)
    folder, lock = spool.create_listener(layout.incoming, layout.modes)
    try:
        with selectors.DefaultSelector() as selector:
            supervisor = Supervisor(
                selector, layout, options, folder=folder, lock=lock, listening=listening, on_event=on_event
            )
            with _signals(supervisor.stop, selector):
                supervisor.run()
    finally:
        spool.remove_folder(folder)
        os.close(lock)


@contextmanager
def _signals(stop: Callable[[], None], selector: selectors.BaseSelector) -> Iterator[None]:
    """Let SIGTERM, SIGINT and SIGHUP call `stop`, and end a wait of the selector."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop()

    def wake() -> None:
        with suppress(BlockingIOError):
            reader.recv(4096)

    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        selector.register(reader, selectors.EVENT_READ, wake)
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous)
            selector.unregister(reader)
