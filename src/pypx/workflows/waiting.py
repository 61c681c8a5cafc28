"""Waiting for the listener: until it has recorded what the PACS said it sent, or nothing more comes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from pypx.db.smdb import Database
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID
from pypx.model.outcomes import MoveOutcome, MoveState
from pypx.workflows.ledger import read_ledger

_POLL_S = 0.1
_FIRST_POLL_S = 0.01
_SOON_S = 0.1
_QUIET_S = 2.0
_NOTHING_SENT = frozenset({0x0122, 0x0124, 0xA801, 0xA900})
"""Final statuses after which no image can be on its way."""

_ASIDE = frozenset({"conflicts", "rejected"})


@dataclass(slots=True)
class _Awaited:
    """A series that images are awaited of: those listed or asked for, and how many the PACS says it sent."""

    series: UID
    wanted: frozenset[UID]
    said: int | None
    before: int
    failed: bool = False
    recorded: frozenset[UID] = frozenset()

    @property
    def due(self) -> int:
        """How many images there should be, as far as anybody said."""
        return max(len(self.wanted), self.said or 0)

    @property
    def whole(self) -> bool:
        """Whether all that was listed or asked for is recorded."""
        return bool(self.wanted) and self.wanted <= self.recorded

    @property
    def arrived(self) -> bool:
        """Whether as many are recorded as the PACS says it sent."""
        return self.said is not None and len(self.recorded) >= self.said

    def patience(self, idle_s: float) -> float:
        """How long to wait for more while nothing happens, seconds.

        All that is wanted, and all that was sent: not at all.  One of them: a moment, for the other witness may be
        wrong, and images from before may stand for those on their way.  A moment, too, after a failure.
        """
        if self.arrived and (self.whole or not self.before):
            return 0.0
        return min(idle_s, _QUIET_S) if self.whole or self.arrived or self.failed else idle_s


def wait_for_images(
    database: Database,
    outcomes: Iterable[MoveOutcome],
    idle_s: float,
    progress: Callable[[int, int], None] | None = None,
) -> list[MoveOutcome]:
    """Wait until the BASEMOUNT holds what the PACS said it has and sent.

    Parameters
    ----------
    database : of the listener
    outcomes : what the PACS said; their `received` is filled in
    idle_s : give up when nothing new was recorded, and nothing is coming into the spool, for so long, seconds; an idle
        limit, never a total one
    progress : called with images recorded and images expected

    Returns
    -------
    the outcomes in their order, `received` being the number of instances recorded
    """
    asked = list(outcomes)
    awaited = [_awaited(outcome, database) for outcome in asked]
    pulse = _Pulse(database.layout.incoming)
    began = last = time.monotonic()
    pause = _FIRST_POLL_S
    while True:
        if progress is not None:
            progress(sum(len(one.recorded) for one in awaited), sum(one.due for one in awaited))
        left = max((one.patience(idle_s) for one in awaited), default=0.0) - (time.monotonic() - last)
        if left <= 0:
            break
        time.sleep(min(pause, left))
        if time.monotonic() - began > _SOON_S:  # most often the listener is done a moment after the PACS
            pause = min(2 * pause, _POLL_S)
        moved = pulse.beats()
        for one in awaited:
            now = frozenset(database.images(one.series))
            moved = moved or now != one.recorded
            one.recorded = now
        last = time.monotonic() if moved else last
    return [replace(outcome, received=len(one.recorded)) for outcome, one in zip(asked, awaited, strict=True)]


def _awaited(outcome: MoveOutcome, database: Database) -> _Awaited:
    series = outcome.series.SeriesInstanceUID
    recorded = frozenset(database.images(series))
    listed = read_ledger(database, series).expectation.instances or frozenset()
    if outcome.state is MoveState.NOT_ASKED:
        return _Awaited(series, frozenset(), 0, 0, recorded=recorded)
    said = _said(outcome)
    failed = outcome.state is MoveState.FAILED
    if outcome.instances:  # as many more as the PACS says, of those that were not there
        wanted = frozenset(outcome.instances)
        return _Awaited(series, wanted, None if said is None else outcome.held + said, 0, failed, recorded)
    return _Awaited(series, listed, said, outcome.held, failed, recorded)


def _said(outcome: MoveOutcome) -> int | None:
    """How many images are to come: what the PACS says it sent, else what it announced; ``None``: it did not say."""
    counts = outcome.counts
    if counts.completed is not None:
        return counts.completed + (counts.warning or 0)
    if outcome.status in _NOTHING_SENT:
        return 0
    return None if outcome.instances else outcome.series.NumberOfSeriesRelatedInstances


class _Pulse:
    """Whether anything goes on in the spool of the listeners: a large object may take longer than the idle limit."""

    def __init__(self, incoming: Path) -> None:
        self._incoming = incoming
        self._seen = self._look()

    def beats(self) -> bool:
        """Whether files came, went or grew since the last look."""
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> tuple[int, int]:
        count = size = 0
        for folder, folders, names in os.walk(self._incoming):
            folders[:] = [name for name in folders if name not in _ASIDE]
            for name in names:
                try:
                    size += os.stat(os.path.join(folder, name)).st_size  # noqa: PTH116, PTH118 - many times a second
                except OSError:
                    continue
                count += 1
        return count, size
