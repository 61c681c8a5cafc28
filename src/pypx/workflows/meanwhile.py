"""Asking a PACS what it has of some series while it sends them: a second association, in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event, Thread
from types import TracebackType

from pypx.db.smdb import Database
from pypx.errors import PxError
from pypx.model.records import SeriesRef
from pypx.services.dcmtk import Conversation
from pypx.workflows.expecting import expect
from pypx.workflows.move import note_request


class Meanwhile:
    """Expectations of series, and then their requests, noted while the block runs; its end ends the questions.

    The block begins when the PACS has taken the association, so one that rejects us is asked once.

    Parameters
    ----------
    series, talk, database, counted : as :func:`~pypx.workflows.expecting.expect` has them

    Raises
    ------
    PxError : before the block, as `expect` says
    """

    def __init__(
        self, series: Sequence[SeriesRef], talk: Conversation, database: Database, *, counted: bool = False
    ) -> None:
        self._series = series
        self._talk = talk
        self._database = database
        self._counted = counted
        self._begun = Event()
        self._stop = Event()
        self._error: PxError | None = None
        self._thread = Thread(target=self._work, name="px-expect", daemon=True)

    def __enter__(self) -> Meanwhile:  # noqa: PYI034 - Self came with Python 3.11
        self._thread.start()
        try:
            self._begun.wait()
        except BaseException:
            self._end()
            raise
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def finish(self) -> None:
        """Wait until all is noted.

        Raises
        ------
        PxError : as `expect` says
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            events = {"begun": self._begun, "stop": self._stop}
            expect(self._series, self._talk, self._database, counted=self._counted, **events)
            for ref in self._series:
                note_request(self._database, ref)
        except PxError as error:
            self._error = error
        finally:
            self._begun.set()
