"""Limits around one case of many: CPU time, memory; and what a tree of files looks like from outside."""

from __future__ import annotations

import os
import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

LONG = bool(os.environ.get("PX_TEST_LONG"))


class TooSlowError(BaseException):
    """A case took more CPU time than it may; not an Exception, so that no code under test can catch it."""


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Break off what takes more CPU time; for the main thread.  Does not disturb the alarm of pytest-timeout."""

    def over(_number: int, _frame: FrameType | None) -> None:
        raise TooSlowError(f"more than {seconds} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def memory_limit(size: int) -> Iterator[None]:
    """Fail if Python objects take more bytes at once than `size`, beyond what there was."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= size, f"{peak} bytes at once, {size} are allowed"


def tree(root: Path, *, without: Path | None = None) -> dict[str, tuple[int, int]]:
    """What lies below `root`, links not followed: mode and size by path; nothing of what is below `without`."""
    found = {}
    for directory, folders, names in os.walk(root):
        here = Path(directory)
        if without is not None and here == without.parent:
            folders[:] = [name for name in folders if here / name != without]
        for name in (*folders, *names):
            status = (here / name).lstat()
            size = status.st_size if name in names else 0
            found[str((here / name).relative_to(root))] = (status.st_mode, size)
    return found
