"""A script being played: what was used up of it so far, and the journal."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from scripted_pacs.archive import Archive, Entry
from scripted_pacs.journal import Asked, Association, Record, Sent
from scripted_pacs.script import Fault, Script

_TICK_S = 0.01


class Book:
    """The journal while it is written; numbers associations from 1."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[Record] = []
        self._associations = 0
        self._busy = 0
        self.bugs: list[str] = []

    def open_association(self, calling: str, called: str) -> Association:
        with self._lock:
            self._associations += 1
            association = Association(self._associations, calling, called)
            self._records.append(association)
            return association

    def add(self, record: Asked | Sent) -> None:
        with self._lock:
            self._records.append(record)

    def forget(self) -> None:
        with self._lock:
            self._records.clear()

    def plain(self) -> list[tuple[str, Any]]:
        with self._lock:
            return [(type(record).__name__, asdict(record)) for record in self._records]

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Something goes on that belongs to no association of a peer."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def open_associations(self) -> int:
        with self._lock:
            return sum(isinstance(one, Association) and one.ending == "open" for one in self._records)

    def quiet(self) -> bool:
        """Whether every association and every request has ended."""
        with self._lock:
            return not self._busy and not any(
                isinstance(one, (Association, Asked)) and one.ending == "open" for one in self._records
            )


@dataclass(frozen=True, slots=True)
class SubOperation:
    """One C-STORE to do; `copy` is a second sending of the same instance."""

    entry: Entry
    copy: bool = False
    other_content: bool = False

    @property
    def SOPInstanceUID(self) -> str:
        assert self.entry.instance is not None
        return self.entry.instance.SOPInstanceUID

    @property
    def SeriesInstanceUID(self) -> str:
        assert self.entry.series is not None
        return self.entry.series.SeriesInstanceUID


class Play:
    """An archive and a script, and how often each part of the script has come up; `ended` when another begins."""

    def __init__(self, archive: Archive, script: Script) -> None:
        self.archive = archive
        self.script = script
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._used: Counter[Fault] = Counter()
        self._attempts: Counter[str] = Counter()
        self._unanswered = 0
        self._rejected = 0

    def admit(self, crowded: bool) -> str:
        """What is done with the next A-ASSOCIATE-RQ: accepted, rejected or unanswered."""
        if crowded:
            return self.script.beyond
        with self._lock:
            if self.script.silent == "association" and self._unanswered < self.script.silent_first:
                self._unanswered += 1
                return "unanswered"
            if self._rejected < self.script.reject_first:
                self._rejected += 1
                return "rejected"
            return "accepted"

    def fault(self, asked: Asked, series: Sequence[str], position: int) -> Fault | None:
        """The fault that hits a request after `position` answers or sub-operations; it is used up once more."""
        with self._lock:
            for fault in self.script.faults:
                if _fits(fault, asked, series, position) and self._used[fault] < fault.times:
                    self._used[fault] += 1
                    return fault
            return None

    def told(self, operation: SubOperation) -> str:
        """How a sub-operation that is not done is counted; "" if it is done.  This is one attempt at it."""
        drop = None if operation.copy else self.script.drop_of(operation.SOPInstanceUID)
        if drop is None:
            return ""
        with self._lock:
            self._attempts[operation.SOPInstanceUID] += 1
            return drop.told if self._attempts[operation.SOPInstanceUID] <= drop.times else ""

    def operations(self, entries: Sequence[Entry]) -> list[SubOperation]:
        """The sub-operations of a request, in their order."""
        copies = {one.SOPInstanceUID: one for one in self.script.duplicates}
        planned = []
        for entry in entries:
            first = SubOperation(entry)
            planned.append(first)
            if copy := copies.get(first.SOPInstanceUID):
                planned.append(SubOperation(entry, copy=True, other_content=copy.other_content))
        return planned

    def pause(self, seconds: float, until: Callable[[], bool]) -> None:
        """Wait so long, but not beyond the end of the script or `until` it is true."""
        deadline = time.monotonic() + seconds
        while not until() and (left := deadline - time.monotonic()) > 0:
            if self.ended.wait(min(left, _TICK_S)):
                return


def _fits(fault: Fault, asked: Asked, series: Sequence[str], position: int) -> bool:
    return (
        fault.after == position
        and fault.command in ("", asked.command)
        and fault.level in ("", asked.level)
        and fault.request in (0, asked.request)
        and (not fault.series or not set(fault.series).isdisjoint(series))
    )
