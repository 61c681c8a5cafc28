"""How much room a listener has: when new associations wait, and when objects are refused at once."""

from __future__ import annotations

import os
from pathlib import Path

from pypx.db.layout import Layout
from pypx.model.dataclass import dataclass
from pypx.workflows import spool

_LEAST_FLOOR = 1 << 20
_FASTEST = 2 << 30
_SHORTEST_S, _LONGEST_S = 0.01, 0.25


@dataclass(frozen=True, slots=True)
class Room:
    """Free space and files that wait.

    Below `min_free_bytes` no new association is taken; below the floor, half of that, running ones may store nothing
    new: storescp says *success* without looking whether the end of a file reached the disk (up to 4 KiB, and the whole
    of a smaller file; DCMTK 3.6.7), so it must never meet a disk that is really full.

    Parameters
    ----------
    folder : of the listener, in its spool
    max_backlog : files that may wait to be filed
    """

    layout: Layout
    folder: Path
    min_free_bytes: int
    max_backlog: int

    @property
    def floor(self) -> int:
        """Bytes that have to be free for an object to be taken."""
        return max(self.min_free_bytes // 2, _LEAST_FLOOR)

    def free(self) -> int:
        """Bytes that are free where files are received, filed and recorded; 0 where that cannot be told."""
        try:
            found = [os.statvfs(path) for path in (self.layout.incoming, self.layout.data, self.layout.log)]
        except OSError:
            return 0
        return min(state.f_bavail * state.f_frsize for state in found)

    def why_pause(self) -> str | None:
        """Why no new association is taken, or ``None``."""
        if self.free() < self.min_free_bytes:
            return f"less than {self.min_free_bytes} bytes are free for the BASEMOUNT"
        if spool.waiting(self.folder, self.max_backlog) >= self.max_backlog:
            return f"{self.max_backlog} received files wait to be filed"
        return None

    def look_again_s(self, free: int) -> float:
        """In how many seconds the floor could be reached, at 2 GiB/s; 0.01 to 0.25."""
        return min(max((free - self.floor) / _FASTEST, _SHORTEST_S), _LONGEST_S)
