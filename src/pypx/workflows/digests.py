"""Checksums of the files of a BASEMOUNT: ``<SeriesInstanceUID>-digests.jsonl``.

They find what changed on the disk unasked; they prove nothing against somebody who wants to deceive, so CRC-32 will do,
which costs a third of a millisecond for a CT image.  They are made beside the filing, or when a listener has nothing
else to do, and belong to one record: a file that arrives anew gets a new one.  What has none gets one from the first
deep look.
"""

from __future__ import annotations

import math
import time
import zlib
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypx.db.smdb import Database
from pypx.model.dataclass import dataclass
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.model.identifiers import UID
from pypx.model.records import ImageRecord

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

LOG = "digests"
_BLOCK = 1 << 20
_MOST = 2048
_MOST_LATER = 100_000


@dataclass(frozen=True, slots=True)
class Digest:
    """A checksum, and the record it belongs to."""

    SOPInstanceUID: UID
    file: str
    size: int
    received: str
    crc32: str

    def belongs_to(self, record: ImageRecord) -> bool:
        """Whether it is of the file of this record."""
        return (self.file, self.size, self.received) == (record.file, record.size, record.received)


def checksum(path: Path) -> str:
    """CRC-32 of a file, eight hexadecimal digits.

    Raises
    ------
    OSError : it cannot be read
    """
    value = 0
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(_BLOCK):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def digests_of(database: Database, series: UID) -> dict[UID, Digest]:
    """The newest checksum of each instance of a series.

    Raises
    ------
    DatabaseError : a complete line is no JSON object
    """
    found = (_digest(line) for line in database.log_lines(series, LOG))
    return {digest.SOPInstanceUID: digest for digest in found if digest is not None}


def add_digests(database: Database, series: UID, digests: Iterable[Digest]) -> None:
    """Append checksums to the log of a series."""
    lines = [
        {"SOPInstanceUID": one.SOPInstanceUID, "file": one.file, "size": one.size, "received": one.received,
         "crc32": one.crc32}
        for one in digests
    ]  # fmt: skip
    if lines:
        database.append_log(series, LOG, lines)


def _digest(line: dict[str, Any]) -> Digest | None:
    try:
        return Digest(
            UID(str(line["SOPInstanceUID"])),
            str(line["file"]),
            int(line["size"]),
            str(line["received"]),
            str(line["crc32"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


class Digesting:
    """Makes checksums of filed files: in a thread beside the filing, or, without `beside`, when `work` is called.

    Files whose checksum was made on the way, as they were copied, are not read again.
    """

    def __init__(self, database: Database, *, beside: bool = True) -> None:
        self._database = database
        self._beside = beside
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[_Pending] = deque(maxlen=_MOST_LATER)
        self._taken = -math.inf

    def take(self, outcomes: Iterable[FileOutcome]) -> None:
        """Take what was filed."""
        self._taken = time.monotonic()
        for outcome in outcomes:
            if outcome.state is FileState.FILED and outcome.instance is not None and outcome.file is not None:
                instance = outcome.instance
                crc32 = self._begin(outcome.file) if outcome.crc32 is None and self._beside else outcome.crc32
                self._pending.append(_Pending(instance.SeriesInstanceUID, instance.SOPInstanceUID, outcome.file, crc32))
        if self._beside and len(self._pending) >= _MOST:
            self._write(math.inf)

    def _begin(self, file: Path) -> Future[str]:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - kept out of start-up

            self._pool = ThreadPoolExecutor(1, thread_name_prefix="px-digest")
        return self._pool.submit(checksum, file)

    def work(self, seconds: float, *, quiet_s: float = 0.0) -> bool:
        """Make checksums for about so long; whether there is more to do now.

        None is made within `quiet_s` seconds after something was taken: a PACS that sends series by series leaves a
        moment between them, and what comes then should not wait.
        """
        now = time.monotonic()
        if now - self._taken < quiet_s:
            return False
        self._write(now + seconds)
        return bool(self._pending)

    def close(self) -> None:
        """Write what is left, and end the thread."""
        try:
            self._write(math.inf)
        finally:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)

    def _write(self, deadline: float) -> None:
        by_series: dict[UID, list[tuple[UID, str]]] = {}
        while self._pending and time.monotonic() < deadline:
            one = self._pending.popleft()
            with suppress(OSError):  # gone already; whoever verifies will say so
                crc32 = one.checksum()
                by_series.setdefault(one.series, []).append((one.SOPInstanceUID, crc32))
        for series, sums in by_series.items():
            records = self._database.images(series)
            known = [(records[uid], crc32) for uid, crc32 in sums if uid in records]
            add_digests(self._database, series, (digest_of(record, crc32) for record, crc32 in known))


@dataclass(frozen=True, slots=True)
class _Pending:
    series: UID
    SOPInstanceUID: UID
    file: Path
    crc32: str | Future[str] | None

    def checksum(self) -> str:
        if self.crc32 is None:
            return checksum(self.file)
        return self.crc32 if isinstance(self.crc32, str) else self.crc32.result()


def digest_of(record: ImageRecord, crc32: str) -> Digest:
    """The checksum of the file of a record."""
    return Digest(record.SOPInstanceUID, record.file, record.size, record.received, crc32)
