"""Asking a PACS what it has of some series while it sends them: a second association, in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event, Thread
from types import TracebackType

from pypx.db.smdb import Database
from pypx.errors import PeerRejectedError, PeerUnreachableError, PxError
from pypx.model.records import SeriesRef
from pypx.services.dcmtk import Conversation
from pypx.services.process import find_program
from pypx.workflows.expecting import expect
from pypx.workflows.move import note_request
from pypx.workflows.querying import SETTLE_S


class Meanwhile:
    """Expectations of series, and then their requests, noted while the block runs; its end ends the questions.

    They are asked from `begin` on.  A PACS that does not take the second association just then is asked when the block
    has got its images and calls `finish`.

    Parameters
    ----------
    series, talk, database, counted : as :func:`~pypx.workflows.expecting.expect` has them

    Raises
    ------
    ToolMissingError : before the block; nobody could ask
    """

    def __init__(
        self, series: Sequence[SeriesRef], talk: Conversation, database: Database, *, counted: bool = False
    ) -> None:
        self._series = series
        self._talk = talk
        self._database = database
        self._counted = counted
        self._stop = Event()
        self._error: PxError | None = None
        self._thread: Thread | None = None

    def __enter__(self) -> Meanwhile:  # noqa: PYI034 - Self came with Python 3.11
        find_program(self._talk.programs.findscu)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._join()

    def begin(self) -> None:
        """Begin to ask, unless that has been done."""
        if self._thread is None:
            self._thread = Thread(target=self._work, name="px-expect", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Wait until all is noted.

        Raises
        ------
        PxError : as `expect` says
        """
        self.begin()
        self._join()
        if isinstance(self._error, (PeerRejectedError, PeerUnreachableError)):
            self._error = None
            self._stop.wait(SETTLE_S)
            self._work()
        if self._error is not None:
            raise self._error

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        try:
            try:
                expect(self._series, self._talk, self._database, counted=self._counted, stop=self._stop)
            finally:  # they are asked for, whatever the PACS says that it has
                for ref in self._series:
                    note_request(self._database, ref)
        except PxError as error:
            self._error = error
