"""Retrieve series until they are complete, or it is known what is missing.

Before: what the PACS says it has is noted.  Then only what is not there is asked for: nothing, the missing instances,
or the series.  Where nothing is there, or all is asked for anyway, both are done in the same time.  After: the listener
is waited for, each series is judged, and what a PACS could not do just then is asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field, replace
from threading import Event

from pypx.db.smdb import Database
from pypx.errors import PeerError, PeerUnreachableError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID
from pypx.model.keywords import Level, QueryModel
from pypx.model.ledger import Basis, basis_of
from pypx.model.outcomes import MoveOutcome, MoveState, SeriesState, SeriesStatus
from pypx.model.pacs import PacsNode
from pypx.model.records import SeriesRef
from pypx.services.dcmtk import Conversation, Limits, Programs
from pypx.services.dcmtk_log import PeerBusyError
from pypx.workflows.expecting import NO_IMAGE_MOVE, REFUSALS, expect, note_refusal, refuses
from pypx.workflows.ledger import note_brought, read_ledger
from pypx.workflows.meanwhile import Meanwhile
from pypx.workflows.move import NO_DELAY, Delay, retrieve
from pypx.workflows.querying import SETTLE_S
from pypx.workflows.status import series_status
from pypx.workflows.waiting import wait_for_images

MOST_INSTANCES = 200
"""More missing instances than these are asked for as a series."""

_FEW = 0.25
_MAX_PAUSE_S = 60.0
_HOPELESS = frozenset({0x0122, 0x0124, 0xA801, 0xA900})
"""Final statuses that asking again does not change: not offered, not allowed, destination unknown, mismatch."""


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How series are retrieved.

    `expect`: ask the PACS what it has before (one more association).  `counted`: it has said a moment ago how many
    instances each series has, and needs not be asked for that.  `force`: ask for all, whatever is there.  `beside`: ask
    for more than one thing at a time, through two associations.  `retries`: how often to ask again for what the PACS
    could not send, or lost, with a pause of `pause_s` seconds that doubles each time.  `wait`: wait for the listener,
    at most `idle_s` seconds without anything new; `progress` is called with images recorded and images expected
    meanwhile.
    """

    delay: Delay = NO_DELAY
    model: QueryModel = QueryModel.STUDY_ROOT
    limits: Limits = field(default_factory=Limits)
    programs: Programs = field(default_factory=Programs)
    expect: bool = True
    counted: bool = False
    force: bool = False
    beside: bool = True
    retries: int = 0
    pause_s: float = 2.0
    idle_s: float = 15.0
    progress: Callable[[int, int], None] | None = None


class Fetch:
    """One retrieve of some series from one PACS: first `ask`, then `settle`.

    Parameters
    ----------
    series : which ones, order kept; a series given twice is asked for once
    node : the PACS, and the AE titles to use
    database : that of the listener the PACS sends to; requests, answers and expectations are noted there
    options : see `FetchOptions`
    """

    def __init__(
        self, series: Iterable[SeriesRef], node: PacsNode, database: Database, options: FetchOptions | None = None
    ) -> None:
        self._series = list(series)
        self._database = database
        self._options = options or FetchOptions()
        self._talk = Conversation(node, self._options.model, self._options.limits, self._options.programs)
        self._retries = self._options.retries
        self._pause_s = self._options.pause_s
        self._counted = self._options.counted

    def ask(self) -> Iterator[MoveOutcome]:
        """Ask for what is not there.

        Yields
        ------
        One outcome a series given, as the PACS answers; not waited for, and without a verdict

        Raises
        ------
        PeerUnreachableError, PeerRejectedError, PeerFailedError : the PACS cannot be asked at all
        ToolMissingError, ToolFailedError, DatabaseError : as they say
        """
        copies: dict[UID, list[SeriesRef]] = {}
        for ref in self._series:
            copies.setdefault(ref.SeriesInstanceUID, []).append(ref)
        for outcome in self._patiently([refs[0] for refs in copies.values()]):
            for ref in copies[outcome.series.SeriesInstanceUID]:
                yield replace(outcome, series=ref)

    def settle(self, outcomes: Iterable[MoveOutcome]) -> list[MoveOutcome]:
        """Wait for the listener, judge each series, and ask again where that may help.

        Parameters
        ----------
        outcomes : of `ask`

        Returns
        -------
        the last outcome of each series, with `received` and `verdict`, in the order of the series
        """
        done = {one.series: one for one in self._judged(list(outcomes))}
        while self._retries > 0:
            again = {one.series.SeriesInstanceUID: one.series for one in done.values() if may_help(one)}
            if not again:
                break
            self._rest()
            try:
                fresh = list(self._ask(list(again.values()), force=False))
            except PeerError:
                continue  # nobody there just now; what was known stays
            by_uid = {one.series.SeriesInstanceUID: one for one in self._judged(fresh)}
            for ref, one in done.items():
                new = by_uid.get(ref.SeriesInstanceUID)
                if new is not None:
                    words = one if new.state is MoveState.NOT_ASKED else new
                    done[ref] = replace(
                        words, series=ref, received=new.received, verdict=new.verdict, attempts=one.attempts + 1
                    )
        return [done[ref] for ref in self._series if ref in done]

    def _patiently(self, series: Sequence[SeriesRef]) -> Iterator[MoveOutcome]:
        """The first requests; a PACS that is busy or away is tried again, at the price of retries."""
        left = {ref.SeriesInstanceUID: ref for ref in series}
        while left:
            try:
                for outcome in self._ask(list(left.values()), force=self._options.force):
                    del left[outcome.series.SeriesInstanceUID]
                    yield outcome
            except PeerError as error:
                if left and self._retries > 0 and isinstance(error, (PeerBusyError, PeerUnreachableError)):
                    self._rest()
                    continue
                if len(left) == len(series):
                    raise
                yield from (MoveOutcome(ref, MoveState.NO_ANSWER, error=str(error)) for ref in left.values())
            return

    def _rest(self) -> None:
        """Pause before another try, longer each time."""
        self._retries -= 1
        self._counted = False
        time.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)

    def _ask(self, series: Sequence[SeriesRef], *, force: bool) -> Iterator[MoveOutcome]:
        if self._options.expect:
            beside = self._options.beside
            if beside and (force or not any(self._database.images(ref.SeriesInstanceUID) for ref in series)):
                yield from self._ask_for_all(series)
                return
            expect(series, self._talk, self._database, counted=self._counted)
        yield from self._ask_for_missing(series, force=force)

    def _ask_for_all(self, series: Sequence[SeriesRef]) -> Iterator[MoveOutcome]:
        """Ask for all, and what the PACS has in the same time: no answer could change the request.

        When the second association has told what the PACS has, a share of the series goes through it, unless there are
        to be pauses.  What a PACS cannot send in that way it is asked for once more, when it sends nothing else.
        """
        own, others = (series, ()) if self._options.delay else shared(series)
        left = {ref.SeriesInstanceUID: ref for ref in others}

        def share(stop: Event) -> Iterator[MoveOutcome]:
            return self._retrieve(others, {}, beside=_nothing, stop=stop)

        def taken(outcomes: Iterable[MoveOutcome]) -> Iterator[MoveOutcome]:
            for outcome in outcomes:
                if outcome.ok or outcome.state is MoveState.WARNING or outcome.status in _HOPELESS:
                    self._database.images(outcome.series.SeriesInstanceUID)  # so there is less to read in the end
                    del left[outcome.series.SeriesInstanceUID]
                    yield outcome

        with Meanwhile(series, self._talk, self._database, counted=self._counted, then=share) as meanwhile:
            for outcome in self._retrieve(own, {}, beside=meanwhile.begin):
                self._database.images(outcome.series.SeriesInstanceUID)
                yield outcome
                yield from taken(meanwhile.come())
            yield from taken(meanwhile.rest())
            if left:
                time.sleep(SETTLE_S)
                yield from self._retrieve(list(left.values()), {}, beside=_nothing)
            meanwhile.finish()

    def _ask_for_missing(self, series: Sequence[SeriesRef], *, force: bool) -> Iterator[MoveOutcome]:
        whole, parts = [], []
        instances: dict[UID, tuple[UID, ...]] = {}
        peer = str(self._talk.node)
        by_instance = not refuses(self._database, peer, NO_IMAGE_MOVE)
        for status in series_status(series, self._database):
            if force:
                whole.append(status.series)
            elif self._is_settled(status):
                yield MoveOutcome(status.series, MoveState.NOT_ASKED, received=status.received)
            elif by_instance and (few := self._few(status)):
                parts.append(status.series)
                instances[status.series.SeriesInstanceUID] = few
            else:
                whole.append(status.series)
        refused = []
        for outcome in self._retrieve(parts, instances):
            if outcome.state is MoveState.FAILED and outcome.status not in _HOPELESS - REFUSALS:
                refused.append(outcome)
            else:
                yield outcome
        for outcome in self._retrieve([*(one.series for one in refused), *whole], {}):
            before = next((one for one in refused if one.series == outcome.series), None)
            if before is not None and before.status in REFUSALS and outcome.ok:
                note_refusal(self._database, peer, NO_IMAGE_MOVE)
            yield outcome

    def _retrieve(
        self,
        series: Sequence[SeriesRef],
        instances: dict[UID, tuple[UID, ...]],
        *,
        beside: Callable[[], object] | None = None,
        stop: Event | None = None,
    ) -> Iterator[MoveOutcome]:
        options = self._options
        if not series:
            return iter(())
        return retrieve(
            series,
            self._talk.node,
            database=self._database,
            delay=options.delay,
            model=options.model,
            limits=options.limits,
            programs=options.programs,
            instances=instances,
            beside=beside,
            stop=stop,
        )

    def _is_settled(self, status: SeriesStatus) -> bool:
        """Whether nothing is left to ask for: all is there, or all that the PACS listed and more."""
        if status.state is not SeriesState.MORE_THAN_EXPECTED:
            return status.state is SeriesState.COMPLETE
        ledger = read_ledger(self._database, status.series.SeriesInstanceUID)
        return basis_of(ledger.expectation, ledger.of_series) is Basis.LISTED

    def _few(self, status: SeriesStatus) -> tuple[UID, ...]:
        """The missing instances if they are few, and asking for them did not fail to bring any the last time."""
        missing = status.missing or ()
        if not 0 < len(missing) <= min(MOST_INSTANCES, _FEW * (status.expected or 0)):
            return ()
        last = read_ledger(self._database, status.series.SeriesInstanceUID).last
        barren = last is not None and last.level is Level.IMAGE and last.brought == 0
        return () if barren else missing

    def _judged(self, outcomes: Sequence[MoveOutcome]) -> list[MoveOutcome]:
        waited = wait_for_images(self._database, outcomes, self._options.idle_s, self._options.progress)
        for one in waited:
            if one.instances:
                note_brought(self._database, one)
        verdicts = series_status([one.series for one in waited], self._database)
        return [replace(one, verdict=verdict) for one, verdict in zip(waited, verdicts, strict=True)]


def _nothing() -> None:
    """What begins beside a retrieve that has nothing beside it."""


def shared(series: Sequence[SeriesRef]) -> tuple[list[SeriesRef], list[SeriesRef]]:
    """Two shares of series that take about the same time, each in their order; the first is never the smaller one."""
    shares: tuple[list[SeriesRef], list[SeriesRef]] = ([], [])
    images = [0, 0]
    for ref in series:
        at = int(images[1] < images[0])
        shares[at].append(ref)
        images[at] += ref.NumberOfSeriesRelatedInstances or 1
    return shares if images[0] >= images[1] else shares[::-1]


def may_help(outcome: MoveOutcome) -> bool:
    """Whether asking again may bring what is missing: the PACS was short of something, broke off, or lost images."""
    if outcome.complete or outcome.status in _HOPELESS:
        return False
    if outcome.verdict is not None and outcome.verdict.state in (
        SeriesState.UNKNOWN_EXPECTATION, SeriesState.MORE_THAN_EXPECTED,
    ):  # fmt: skip
        return not outcome.ok
    return True
