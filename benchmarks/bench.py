"""What the benchmarks share: free ports, waiting, and the arithmetic of paired runs."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pypx.services.process import find_program

PX = shutil.which("px", path=str(Path(sys.executable).parent)) or "px"
SENDER_ENV = {**os.environ, "TCP_NODELAY": "1"}
DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Seconds of the floor and of px, measured one after the other."""

    floor_s: float
    px_s: float

    @property
    def ratio(self) -> float:
        """How fast px is as a share of the floor; 1 is as fast, below 1 is slower."""
        return self.floor_s / self.px_s


def alternate(floor: Callable[[], float], px: Callable[[], float], pairs: int) -> list[Pair]:
    """Measure A B A B …, so that whatever else the machine does hits both alike."""
    return [Pair(floor(), px()) for _ in range(pairs)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and the least and the greatest value in brackets."""
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:.{digits}f} [{least:.{digits}f} to {most:.{digits}f}]"


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(done: Callable[[], bool], what: str, poll_s: float = 0.005) -> None:
    """Return as soon as `done` says so; raise after DEADLINE_S."""
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {DEADLINE_S:.0f} s")
        time.sleep(poll_s)


def accepts(port: int) -> bool:
    """Whether the DICOM server on `port` answers a C-ECHO."""
    argv = [find_program("echoscu"), "-to", "2", "-ta", "5", "-aec", "PXBENCH", "127.0.0.1", str(port)]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def machine() -> str:
    """One line on where the figures come from."""
    return f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}"
