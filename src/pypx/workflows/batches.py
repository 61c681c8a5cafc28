"""What is on its way into the BASEMOUNT: single files, and the batches they are made durable in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pypx.db.layout import Modes
from pypx.db.tables import make_dirs
from pypx.model.dataclass import dataclass
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.model.identifiers import UID
from pypx.model.records import Instance
from pypx.workflows.copying import Copy, copy_unnamed, drop

if TYPE_CHECKING:
    from concurrent.futures import Future


@dataclass(slots=True)
class Entry:
    """An instance on its way; `placed`: the name `file` is there because of us.  `copying`: its bytes, on their way."""

    source: Path
    instance: Instance
    size: int
    file: Path
    state: FileState = FileState.FILED
    reason: str | None = None
    placed: bool = False
    copying: Future[Copy | None] | Copy | None = None
    crc32: str | None = None

    def outcome(self) -> FileOutcome:
        """What has come of it."""
        return FileOutcome(self.source, self.state, self.instance, self.file, self.reason, crc32=self.crc32)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that is not to be filed, and why."""

    source: Path
    reason: str


Begun: TypeAlias = Entry | Refusal
"""What `Filer.begin` gives, and `Filer.finish` takes."""


@dataclass(slots=True)
class Batch:
    """What was added and is not recorded yet; `began` when its first file came, on the monotonic clock."""

    items: list[Entry | FileOutcome] = field(default_factory=list)
    began: float = 0.0
    size: int = 0

    def add(self, item: Entry | FileOutcome) -> None:
        """Take one more."""
        if not self.items:
            self.began = time.monotonic()
        self.items.append(item)
        if isinstance(item, Entry):
            self.size += item.size


def copy_of(entry: Entry, modes: Modes) -> Copy | None:
    """The copy that has been begun, or else one that is made now; ``None``: none was made, for the name is taken."""
    copying, entry.copying = entry.copying, None
    if isinstance(copying, Copy):
        return copying
    if copying is not None:
        try:
            return copying.result()
        except BaseException:
            drop(copying)
            raise
    if os.path.lexists(entry.file):
        return None
    make_dirs(entry.file.parent, modes.directory)
    return copy_unnamed(entry.source, entry.file.parent, mode=modes.file)


def give_up(begun: Begun) -> None:
    """Do not finish a file that was begun: its copy is not needed."""
    if isinstance(begun, Entry) and begun.copying is not None:
        drop(begun.copying)


def by_series(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The entries of each series, in their order."""
    groups: dict[UID, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.instance.SeriesInstanceUID, []).append(entry)
    yield from groups.values()
