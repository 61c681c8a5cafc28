"""The ledger of a series: what its PACS said it has, what it answered when asked to send it, what that makes of it.

Nobody can prove that a retrieve is whole; what can be done is to let the PACS bear witness more than once.  It lists
the instances (IMAGE query), it counts them (NumberOfSeriesRelatedInstances), and it tries to send so many
(sub-operations of a C-MOVE of the series).  A witness that stands alone is believed until another one contradicts it;
a contradiction leaves the expectation unknown, and unknown is not success.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID, is_uid
from pypx.model.keywords import Level
from pypx.model.outcomes import Completeness, SeriesState

SUCCESS = 0x0000
WARNING = 0xB000


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a PACS said it has of a series.

    `instances` are the SOP Instance UIDs it listed (``None``: it did not), `listing` whether that list can be taken for
    whole; ``unknown`` where its length may be a limit of the PACS.  `count` is its NumberOfSeriesRelatedInstances.
    """

    instances: frozenset[UID] | None = None
    count: int | None = None
    listing: Completeness = Completeness.NO
    peer: str = ""


NOTHING_SAID = Expectation()


@dataclass(frozen=True, slots=True)
class Answer:
    """The final response to a C-MOVE; `level` is what was asked for, `status` ``None`` if there was no response.

    `done` is the number of sub-operations it spoke of: completed, failed and with warnings (``None``: it gave none);
    `brought` how many instances had come of it when the waiting ended (``None``: nobody waited).
    """

    level: Level
    status: int | None
    done: int | None = None
    brought: int | None = None

    @property
    def refused(self) -> bool:
        """Whether the PACS answered with a failing status."""
        return self.status is not None and self.status not in (SUCCESS, WARNING)


class Basis(str, Enum):
    """What an expectation rests on."""

    LISTED = "listed"
    COUNTED = "counted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a series is, measured against its expectation; `missing` is ``None`` where nobody knows which."""

    state: SeriesState
    expected: int | None
    missing: tuple[UID, ...] | None


def basis_of(expectation: Expectation, of_series: Answer | None) -> Basis:
    """Which witness to believe.

    Parameters
    ----------
    expectation : what the PACS listed and counted
    of_series : its answer to the latest C-MOVE of the whole series, if there was one
    """
    listed = None if expectation.instances is None else len(expectation.instances)
    count = expectation.count
    done = of_series.done if of_series else None
    tried = done if of_series and not of_series.refused else None
    if listed is not None and expectation.listing is not Completeness.NO:
        if listed in (count, tried):
            return Basis.LISTED
        contradicted = max(count or 0, done or 0) > listed
        if expectation.listing is Completeness.YES and not contradicted:
            return Basis.LISTED
        return Basis.COUNTED if count is not None and tried == count > listed else Basis.UNKNOWN
    if count is None or count < max(listed or 0, done or 0):
        return Basis.UNKNOWN
    return Basis.COUNTED


def judge(
    expectation: Expectation, of_series: Answer | None, last: Answer | None, held: Collection[UID], *, known: bool
) -> Judgement:
    """Measure what is held against what is expected.

    Parameters
    ----------
    expectation : what the PACS said it has
    of_series : its answer to the latest C-MOVE of the whole series
    last : its answer to the latest C-MOVE of any level
    held : SOP Instance UIDs whose files are there
    known : whether any table knows the series
    """
    basis = basis_of(expectation, of_series)
    listed = expectation.instances or frozenset()
    strange = frozenset(held) - listed  # such as records of pypx whose UIDs nobody wrote down
    if basis is Basis.LISTED and not all(map(is_uid, strange)):
        expectation, basis = Expectation(count=len(listed)), Basis.COUNTED
    if basis is Basis.UNKNOWN:
        short = bool(listed - frozenset(held))
        unsure = SeriesState.MISSING if short else SeriesState.UNKNOWN_EXPECTATION
        return Judgement(unsure if held else _absent(last, known=known), None, None)
    if basis is Basis.LISTED:
        missing = tuple(sorted(listed - frozenset(held)))
        expected, lacking = len(listed), len(missing)
        named: tuple[UID, ...] | None = missing
    else:
        expected = expectation.count or 0
        lacking = max(0, expected - len(held))
        named = None if lacking else ()
    if not held:
        return Judgement(_absent(last, known=known), expected, named)
    if lacking:
        return Judgement(SeriesState.MISSING, expected, named)
    more = len(held) > expected
    return Judgement(SeriesState.MORE_THAN_EXPECTED if more else SeriesState.COMPLETE, expected, named)


def _absent(last: Answer | None, *, known: bool) -> SeriesState:
    if last is not None and last.refused:
        return SeriesState.REFUSED
    return SeriesState.NOT_RECEIVED if known or last is not None else SeriesState.NOT_RECORDED
