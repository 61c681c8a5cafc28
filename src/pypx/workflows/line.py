"""The line on which files are filed from one end to the other: reading and copying ahead, making durable behind.

Filing waits for three things: the interpreter (headers, paths, records), the kernel that copies, and the disk that is
synchronised.  Each has something to do at any time: while one file gets its name, the next ones are copied in threads
(:mod:`pypx.workflows.copying`), and while a batch is synchronised and recorded in another thread, the next one is
filled.  Two batches exist at most, so neither memory nor what a crash leaves to repeat grows with the number of files.

The disk is told to begin with each file when it has been copied, so there is little left to wait for in the end.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pypx.db.smdb import Database
from pypx.errors import DatabaseError
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.workflows.ahead import Ahead, may_fork
from pypx.workflows.batches import Begun, Entry, give_up
from pypx.workflows.copying import Copier
from pypx.workflows.digests import Digesting
from pypx.workflows.filing import Filer, FilingOptions
from pypx.workflows.recorder import Recorder

_AHEAD = 8


class Line:
    """Takes files one by one and gives their outcomes batch by batch, in the same order, once they are durable."""

    def __init__(self, database: Database, options: FilingOptions) -> None:
        self._database = database
        self._filer = Filer(database, options)
        self._digesting = Digesting(database)
        self._copier = Copier()
        self._processes: Ahead | None = None
        self._ahead: deque[Begun | FileOutcome | OSError | Path] = deque()
        self._recorder = Recorder(self._filer)

    def fork(self, processes: int) -> None:
        """Let so many processes read and copy from now on, if there can be any, instead of this one and its threads.

        To be called before anything is put.
        """
        if may_fork():
            with suppress(OSError):
                self._processes = Ahead(self._filer.begin, processes)
                self._recorder.announce_beside()

    def put(self, found: Path | FileOutcome) -> Iterator[list[FileOutcome]]:
        """Take a file, or an outcome that is to come out in its turn; yields the batches that are done.

        Raises
        ------
        DatabaseError : the BASEMOUNT cannot be written
        """
        self._ahead.append(self._begun(found) if isinstance(found, Path) else found)
        while len(self._ahead) > self._depth:
            self._finish(self._ahead.popleft())
        if self._recorder.done:
            yield self._recorded()
        if self._filer.due:
            if self._recorder.busy:
                yield self._recorded()
            self._recorder.begin()

    def rest(self) -> Iterator[list[FileOutcome]]:
        """Finish all that was put; yields the last batches.

        Raises
        ------
        DatabaseError : the BASEMOUNT cannot be written
        """
        while self._ahead:
            self._finish(self._ahead.popleft())
        self._end_processes()  # while the batch before the last is being made durable
        if self._recorder.busy:
            yield self._recorded()
        try:
            outcomes = self._recorder.last()
        except OSError as error:
            raise _cannot_file(error) from error
        self._digesting.take(outcomes)
        yield outcomes

    def stop(self) -> None:
        """Record what has its place already, and begin nothing more."""
        self._give_up()
        for _ in self.rest():
            pass

    def unrecorded(self) -> int:
        """How many files have their place but no record when an error has ended the filing; nothing goes on then."""
        self._recorder.give_up()
        count = 0
        with suppress(DatabaseError):
            for entry in [*self._recorder.batch.items, *self._filer.cut().items]:
                if isinstance(entry, Entry) and entry.placed:
                    record = self._database.images(entry.instance.SeriesInstanceUID).get(entry.instance.SOPInstanceUID)
                    count += record is None
        return count

    def close(self) -> None:
        """End the threads, and write the checksums of what was recorded."""
        self._give_up()
        self._end_processes()
        self._copier.close()
        self._recorder.close()
        self._digesting.close()

    def _end_processes(self) -> None:
        processes, self._processes = self._processes, None
        if processes is not None:
            processes.close()

    def _give_up(self) -> None:
        while self._ahead:
            begun = self._ahead.popleft()
            if not isinstance(begun, (FileOutcome, OSError, Path)):
                give_up(begun)

    @property
    def _depth(self) -> int:
        return _AHEAD if self._processes is None else self._processes.depth

    def _begun(self, path: Path) -> Begun | FileOutcome | OSError | Path:
        """Begin a file; an error is kept until its turn, and so is a file that a process has.

        The first of all is copied when its turn comes: for a single file no thread is started.
        """
        if self._processes is not None:
            self._processes.give(path)
            return path
        return self._begun_here(path, self._copier if self._ahead else None)

    def _begun_here(self, path: Path, copier: Copier | None = None) -> Begun | FileOutcome | OSError:
        try:
            return self._filer.begin(path, copier)
        except OSError as error:
            return self._refused(path, error)

    def _finish(self, begun: Begun | FileOutcome | OSError | Path) -> None:
        if isinstance(begun, Path):
            taken = None if self._processes is None else self._processes.take()
            begun = self._begun_here(begun) if taken is None else taken
        if isinstance(begun, FileOutcome):
            self._filer.take(begun)
            return
        if isinstance(begun, OSError):
            raise _cannot_file(begun) from begun
        try:
            self._filer.finish(begun)
        except OSError as error:
            refused = self._refused(begun.source, error)
            if isinstance(refused, OSError):
                raise _cannot_file(error) from error
            self._filer.take(refused)

    @staticmethod
    def _refused(path: Path, error: OSError) -> FileOutcome | OSError:
        """An outcome if it is the file that cannot be read; the error itself if it is anything else."""
        if os.access(path, os.R_OK):
            return error
        return FileOutcome(path, FileState.REJECTED, reason=f"cannot be read: {error.strerror}")

    def _recorded(self) -> list[FileOutcome]:
        """The outcomes of the batch that is being recorded, when it is."""
        try:
            outcomes = self._recorder.outcomes()
        except OSError as error:
            raise _cannot_file(error) from error
        self._digesting.take(outcomes)
        return outcomes


def _cannot_file(error: OSError) -> DatabaseError:
    return DatabaseError(f"cannot file into the BASEMOUNT: {error.strerror}; make room or give access, then repeat")
