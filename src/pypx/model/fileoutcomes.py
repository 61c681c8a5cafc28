"""What came of a file to be filed; in a module of its own, for px-repack may run once an image and needs no other."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from pypx.model.dataclass import dataclass
from pypx.model.records import Instance


class FileState(str, Enum):
    """What became of one file."""

    FILED = "filed"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """One file on its way into the BASEMOUNT.

    `file` is where the instance now is; `reason` says why a file was rejected or set aside, `stays` why a source that
    was to be removed is still there.  `crc32` is the checksum of its bytes, where they were read on the way.
    """

    source: Path
    state: FileState
    instance: Instance | None = None
    file: Path | None = None
    reason: str | None = None
    stays: str | None = None
    crc32: str | None = None
