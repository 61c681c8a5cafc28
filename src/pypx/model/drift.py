"""What a BASEMOUNT holds, compared with what its records say."""

from __future__ import annotations

from enum import Enum

from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID


class DriftKind(str, Enum):
    """How a file and its record differ.

    `LOST`: there is no such file.  `MOVED`: it is elsewhere below ``data/``.  `DAMAGED`: it is no whole DICOM file.
    `OTHER_INSTANCE`: it holds another image.  `SIZE`, `DIGEST`: other bytes than were filed.  `UNRECORDED`: a file
    without a record.  `CONFLICT`: the instance came again with other content, which was set aside.  `UNREADABLE`: the
    records cannot be read.  `UNREADABLE_FILE`, `UNREADABLE_DIRECTORY`: the system does not let it be read, so that
    nobody knows how it differs.
    """

    LOST = "lost"
    MOVED = "moved"
    DAMAGED = "damaged"
    OTHER_INSTANCE = "other-instance"
    SIZE = "size"
    DIGEST = "digest"
    UNRECORDED = "unrecorded"
    CONFLICT = "conflict"
    UNREADABLE = "unreadable"
    UNREADABLE_FILE = "unreadable-file"
    UNREADABLE_DIRECTORY = "unreadable-directory"


BROKEN = frozenset({DriftKind.DAMAGED, DriftKind.SIZE, DriftKind.DIGEST})
"""Kinds whose file is of no use as it is."""

UNREAD = frozenset({DriftKind.UNREADABLE_FILE, DriftKind.UNREADABLE_DIRECTORY})
"""Kinds of which nobody knows what is there: nothing is done about them."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One file; `file` is as records name it, `SOPInstanceUID` ``None`` where nobody knows it."""

    kind: DriftKind
    file: str
    SOPInstanceUID: UID | None
    reason: str


@dataclass(frozen=True, slots=True)
class SeriesDrift:
    """A series that was verified.

    `recorded` is how many instances are on record, `digests` how many of them got their first checksum only now.  Files
    that belong to no series are under an empty SeriesInstanceUID.
    """

    SeriesInstanceUID: UID
    recorded: int
    drifts: tuple[Drift, ...] = ()
    digests: int = 0

    @property
    def ok(self) -> bool:
        """Whether all is as recorded."""
        return not self.drifts

    def count(self, *kinds: DriftKind) -> int:
        """How many files differ in one of these ways."""
        return sum(1 for drift in self.drifts if drift.kind in kinds)
