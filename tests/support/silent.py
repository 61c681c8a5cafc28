"""A peer that accepts connections and says nothing, or not what a DICOM peer says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def accepting(
    talk: Callable[[socket.socket], None] | None, held: list[socket.socket], backlog: int = 5
) -> Iterator[tuple[str, int]]:
    """Address of a server that talks to each who connects, in a thread of its own; ``None``: nobody is let in.

    What is `held`, each connection among it, is closed in the end.
    """

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while talk is not None:
                connection, _ = listener.accept()
                held.append(connection)
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in held:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()


@contextmanager
def mute_peer(answer: bytes | None = None) -> Iterator[int]:
    """Port of a peer that answers whatever it gets with `answer` and closes; ``None``: it stays silent."""

    def talk(connection: socket.socket) -> None:
        if answer is not None:
            with suppress(OSError):
                connection.recv(4096)
                connection.sendall(answer)
                connection.close()

    with accepting(talk, []) as address:
        yield address[1]
