"""What other users of the host can see of our processes: arguments, environment, names of temporary files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

POLL_S = 0.002


@dataclass(slots=True)
class Seen:
    """Everything that was seen of the descendants of this process while :func:`watching`.

    `lines` and `environments`: argument lists and environments of the programs px starts (not of px, whose own are the
    user's, nor of a copy of itself that runs no other program).  `names`: what lay below the directories watched.
    """

    lines: set[str] = field(default_factory=set)
    environments: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def programs(self) -> set[str]:
        """Base names of the programs that ran."""
        return {Path(line.split(" ", 1)[0]).name for line in self.lines if line}

    def holding(self, text: str) -> list[str]:
        """Whatever holds `text`."""
        return sorted(item for item in (*self.lines, *self.environments, *self.names) if text in item)


@contextmanager
def watching(*directories: Path) -> Iterator[Seen]:
    """Look every few milliseconds at processes that begin within the block, and at names below `directories`."""
    seen = Seen()
    before, stop = _processes(), threading.Event()
    ours: set[str] = set()  # with those that ran before: their children are looked at, too
    while found := {name for name in before - ours if _is_ours(name, ours)}:
        ours |= found

    def look() -> None:
        while not stop.wait(POLL_S):
            for name in _processes() - before:
                if name in ours or _is_ours(name, ours):
                    ours.add(name)
                    _take(seen, Path("/proc", name))
            for directory in directories:
                seen.names.update(_below(directory))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _processes() -> set[str]:
    return {path.name for path in Path("/proc").iterdir() if path.name.isdigit()}


def _is_ours(name: str, ours: set[str]) -> bool:
    try:
        parent = _parent(Path("/proc", name))
    except OSError:
        return False
    return parent == str(os.getpid()) or parent in ours


def _parent(process: Path) -> str:
    return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]


def _take(seen: Seen, process: Path) -> None:
    try:
        line, parent = _line(process), _parent(process)
        environment = (process / "environ").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return
    if parent != str(os.getpid()) and line != _line(Path("/proc", parent)):
        seen.lines.add(line)
        seen.environments.add(f"{line}: {environment}")


def _line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _below(directory: Path) -> Iterator[str]:
    for place, folders, files in os.walk(directory):
        yield from (f"{place}/{name}" for name in (*folders, *files))
