"""A second association beside that of a retrieve: it asks what the PACS has of the series, then for a share of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import SimpleQueue
from threading import Event, Thread
from types import TracebackType

from pypx.db.smdb import Database
from pypx.errors import PeerError, PeerRejectedError, PeerUnreachableError, PxError
from pypx.model.outcomes import MoveOutcome
from pypx.model.records import SeriesRef
from pypx.services.dcmtk import Conversation
from pypx.services.process import find_program
from pypx.workflows.expecting import expect
from pypx.workflows.move import note_request
from pypx.workflows.querying import SETTLE_S


class Meanwhile:
    """Expectations of series, and then their requests, noted while the block runs; its end ends all that goes on.

    They are asked from `begin` on.  A PACS that does not take the second association just then is asked when the block
    has got its images and calls `finish`.

    Parameters
    ----------
    series, talk, database, counted : as :func:`~pypx.workflows.expecting.expect` has them
    then : what the PACS is asked for when it has said what it has, and has so taken a second association; gets an event
        that is to end it.  Of a PACS that takes none it is not called.

    Raises
    ------
    ToolMissingError : before the block; nobody could ask
    """

    def __init__(
        self,
        series: Sequence[SeriesRef],
        talk: Conversation,
        database: Database,
        *,
        counted: bool = False,
        then: Callable[[Event], Iterable[MoveOutcome]] = lambda _: (),
    ) -> None:
        self._series = series
        self._talk = talk
        self._database = database
        self._counted = counted
        self._then = then
        self._stop = Event()
        self._outcomes: SimpleQueue[MoveOutcome | None] = SimpleQueue()
        self._listed = False
        self._error: PxError | None = None
        self._thread: Thread | None = None

    def __enter__(self) -> Meanwhile:  # noqa: PYI034 - Self came with Python 3.11
        find_program(self._talk.programs.findscu)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def begin(self) -> None:
        """Begin to ask, unless that has been done."""
        if self._thread is None:
            self._thread = Thread(target=self._work, name="px-expect", daemon=True)
            self._thread.start()

    def come(self) -> Iterator[MoveOutcome]:
        """The outcomes of `then` that have come since the last call."""
        while not self._outcomes.empty():
            outcome = self._outcomes.get()
            if outcome is None:
                self._outcomes.put(None)
                return
            yield outcome

    def rest(self) -> Iterator[MoveOutcome]:
        """All its outcomes that are still to come; none if nothing has begun."""
        if self._thread is not None:
            yield from iter(self._outcomes.get, None)
            self._outcomes.put(None)

    def finish(self) -> None:
        """Wait until all is noted; what has not begun is asked now, but nothing is then asked for.

        Raises
        ------
        PxError : as `expect` says
        """
        if self._thread is None:
            self._ask()
            return
        self._thread.join()
        if isinstance(self._error, (PeerRejectedError, PeerUnreachableError)):
            self._error = None
            self._stop.wait(SETTLE_S)
            self._ask()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            self._ask()
            for outcome in self._then(self._stop):
                self._outcomes.put(outcome)
        except PxError as error:
            if not (self._listed and isinstance(error, PeerError)):  # what it was not asked for is asked for elsewhere
                self._error = error
        finally:
            self._outcomes.put(None)

    def _ask(self) -> None:
        try:
            expect(self._series, self._talk, self._database, counted=self._counted, stop=self._stop)
            self._listed = True
        finally:  # they are asked for, whatever the PACS says that it has
            for ref in self._series:
                note_request(self._database, ref)
