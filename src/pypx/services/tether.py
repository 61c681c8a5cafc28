"""A program that ends when we do, however we end: ``kill -9`` leaves nobody to end it.

It holds the reading end of a pipe whose writing end only we have.  When we are gone the kernel closes that, and tells
the owner of the reading end, for which we have put down the program's process group, by a signal of our choice
(fcntl(2): ``F_SETOWN``, ``F_SETSIG``, ``O_ASYNC``; Linux).

PR_SET_PDEATHSIG of prctl(2), the usual way, asks for code between fork and exec, or for a program more in between; it
reaches no child of the program, and strikes when the *thread* ends that started it.
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress


def end_with(reader: int, owner: int) -> None:
    """End a process (SIGTERM) when nobody has the writing end of a pipe any more, or something comes out of it.

    Parameters
    ----------
    reader : descriptor of the reading end, which the process has as well
    owner : its process id; negative: that of its group
    """
    with suppress(OSError):  # a sandbox without such signals: then it is as ever
        fcntl.fcntl(reader, fcntl.F_SETOWN, owner)
        fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGTERM)
        fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)


class Tether:
    """To be made before the program is started, which inherits :attr:`inherited`, and tied after.

    We may be killed between the two: while a program is being started, it can outlive us, until a limit of its own.
    """

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends: list[int] = []
        with suppress(OSError):  # no descriptor is left: nor will the program get its own
            self._ends.extend(os.pipe())

    @property
    def inherited(self) -> tuple[int, ...]:
        """Descriptors the program has to keep; none if there is no pipe."""
        return tuple(self._ends[:1])

    def tie(self, group: int) -> None:
        """End the processes of this group (SIGTERM) when this process ends."""
        for reader in self.inherited:
            end_with(reader, -group)
            os.close(self._ends.pop(0))

    def close(self) -> None:
        """Give it back; what still runs of the group is ended."""
        while self._ends:
            os.close(self._ends.pop())
