"""How much memory and how many processes a command takes while it runs, sampled from /proc."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType

INTERVAL_S = 0.025
FIRST_INTERVAL_S, FIRST_S = 0.005, 0.25
"""At first more often, for what does not live long; always to look so often would take a good part of a core."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


class Watch:
    """Sample a process and its descendants until the block ends: every 25 ms, a `starting` one more often at first.

    Of one that has just been started and may end soon, samples are taken every 5 ms for a quarter second.  A server
    lives long enough to be seen, and each sample takes a tenth of a millisecond a process from what is measured.

    Resident memory is summed over the tree, so pages that processes share count once for each.  A process counts when
    two samples in a row have seen it: what has forked and not yet become another program is nobody's.
    """

    def __init__(self, pid: int, *, starting: bool = False) -> None:
        self.pid = pid
        self._often_s = FIRST_S if starting else 0.0
        self.peak_rss_bytes = 0
        self.processes = 0
        self.programs = 0
        self._before: dict[int, bool] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample_on, daemon=True)

    def __enter__(self) -> Watch:  # noqa: PYI034  Self came with Python 3.11
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _sample_on(self) -> None:
        self._sample()
        begun = time.monotonic()
        while not self._ended.wait(FIRST_INTERVAL_S if time.monotonic() - begun < self._often_s else INTERVAL_S):
            self._sample()

    def _sample(self) -> None:
        kinds = ((pid, runs_python(pid)) for pid in tree(self.pid))
        now = {pid: ours for pid, ours in kinds if ours is not None}
        lasting = {pid: ours for pid, ours in now.items() if self._before.get(pid) is ours}
        self.peak_rss_bytes = max(self.peak_rss_bytes, sum(rss_bytes(pid) for pid in lasting))
        self.processes = max(self.processes, list(lasting.values()).count(True))
        self.programs = max(self.programs, list(lasting.values()).count(False))
        self._before = now


def tree(pid: int) -> list[int]:
    """The process and all its descendants that live now."""
    found = [pid]
    for parent in found:  # grows while it is read
        try:
            tasks = os.listdir(f"/proc/{parent}/task")  # noqa: PTH208  names are enough, many times a second
        except OSError:
            continue
        for task in tasks:
            found += [int(child) for child in _read(f"/proc/{parent}/task/{task}/children").split()]
    return found


def rss_bytes(pid: int) -> int:
    """Resident memory of a process, 0 if it is gone."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * PAGE_BYTES if fields else 0


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process and its descendants have taken, those that have ended included."""
    stats = [_read(f"/proc/{one}/stat").rpartition(")")[2].split() for one in tree(pid)]
    return sum(int(ticks) for fields in stats for ticks in fields[11:15]) / TICKS


def runs_python(pid: int) -> bool | None:
    """Whether a process runs a Python interpreter, as all of px does; `None` if it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name.startswith("python")
    except OSError:
        return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
