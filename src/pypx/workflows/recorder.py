"""Recording batches beside the filing: while one is made durable and recorded, the next one is filled.

Synchronising a file system takes as long as the disk needs for what lies in memory, and filing can go on meanwhile.
One thread does all of it, in the order in which it is asked to; so two batches exist at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pypx.db.smdb import Database
from pypx.model.fileoutcomes import FileOutcome
from pypx.model.identifiers import UID
from pypx.workflows.batches import Batch, Entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor

    from pypx.workflows.filing import Filer

_MAX_ANNOUNCED = 4096


class Announcer:
    """Writes the tables of a series when its first file comes, not when all wait for its last to be durable.

    `beside` runs what need not be waited for; what fails there fails again when the batch is recorded.
    """

    def __init__(self, database: Database) -> None:
        self.beside: Callable[[Callable[[], None]], object] | None = None
        self._database = database
        self._done: set[tuple[UID, UID]] = set()

    def take(self, entry: Entry) -> None:
        """Announce the series of a file that has got its name."""
        instance = entry.instance
        key = (instance.StudyInstanceUID, instance.SeriesInstanceUID)
        if key in self._done:
            return
        if len(self._done) >= _MAX_ANNOUNCED:
            self._done.clear()
        self._done.add(key)
        if instance.SOPInstanceUID in self._database.images(key[1]):
            return
        folder = entry.file.parent
        if self.beside is None:
            self._database.add_headers(instance, folder)
        else:
            self.beside(lambda: self._database.add_headers(instance, folder))

    def forget(self) -> None:
        """Announce all of them anew."""
        self._done = set()


class Recorder:
    """Records the batches of a filer in a thread, which starts with the first of them."""

    def __init__(self, filer: Filer) -> None:
        self._filer = filer
        self._pool: ThreadPoolExecutor | None = None
        self._recording: Future[list[FileOutcome]] | None = None
        self.batch = Batch()
        """That which is being recorded, or was last."""
        self.on_done: Callable[[], None] | None = None
        """Called in the thread when a batch has been recorded, or could not be."""

    @property
    def busy(self) -> bool:
        """Whether a batch was given whose outcomes have not been taken."""
        return self._recording is not None

    @property
    def done(self) -> bool:
        """Whether there are outcomes to be taken."""
        return self._recording is not None and self._recording.done()

    def begin(self) -> None:
        """Cut off the batch of the filer and let it be recorded; not while `busy`."""
        self.batch = self._filer.cut()
        self._recording = self._threads().submit(self._filer.record, self.batch)
        if (told := self.on_done) is not None:
            self._recording.add_done_callback(lambda _: told())

    def outcomes(self) -> list[FileOutcome]:
        """Wait for the batch that is being recorded; none if there is none.

        Raises
        ------
        DatabaseError, OSError : as :meth:`pypx.workflows.filing.Filer.commit` has them
        """
        recording, self._recording = self._recording, None
        return [] if recording is None else recording.result()

    def last(self) -> list[FileOutcome]:
        """Record the batch of the filer and wait for it; in this thread, if there is no other yet.

        Raises
        ------
        DatabaseError, OSError : as for `outcomes`
        """
        if self._pool is None:
            return self._filer.commit()
        self.begin()
        return self.outcomes()

    def give_up(self) -> None:
        """Wait until nothing is being recorded, whatever becomes of it."""
        if self._recording is not None:
            self._recording.exception()
            self._recording = None

    def announce_beside(self) -> None:
        """Have the filer write the tables of new series in the thread, too."""
        self._filer.announcer.beside = self._threads().submit

    def close(self) -> None:
        """End the thread, when it has done what it was given."""
        if self._pool is not None:
            self._pool.shutdown()

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - kept out of start-up

            self._pool = ThreadPoolExecutor(1, thread_name_prefix="px-record")
        return self._pool
