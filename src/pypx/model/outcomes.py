"""What came of it: one record per verb."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from pypx.model.identifiers import UID
from pypx.model.peers import PacsNode
from pypx.model.query import Query
from pypx.model.records import Element, Instance, SeriesRef


@dataclass(frozen=True, slots=True)
class EchoOutcome:
    """A C-ECHO that was answered with Success; `seconds` from the start of the program to its end."""

    peer: PacsNode
    seconds: float


class Completeness(str, Enum):
    """Whether an answer holds all matches the PACS has."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SeriesFound:
    """A series as the PACS described it."""

    ref: SeriesRef
    elements: tuple[Element, ...]

    def value(self, keyword: str) -> str:
        """Text of `keyword`, ``""`` if the PACS did not answer it."""
        return _value(self.elements, keyword)


@dataclass(frozen=True, slots=True)
class StudyFound:
    """A study and its series; `error` says why the series of this study could not be asked for, if so."""

    StudyInstanceUID: UID
    elements: tuple[Element, ...]
    series: tuple[SeriesFound, ...] = ()
    error: str | None = None

    def value(self, keyword: str) -> str:
        """Text of `keyword`, ``""`` if the PACS did not answer it."""
        return _value(self.elements, keyword)


@dataclass(frozen=True, slots=True)
class FindResult:
    """What a PACS answered to a query: studies, each with its series.

    `problems` are one-line texts about what is missing from the answer; `complete` says whether it can be trusted to
    be whole.
    """

    peer: PacsNode
    query: Query
    studies: tuple[StudyFound, ...] = ()
    complete: Completeness = Completeness.UNKNOWN
    problems: tuple[str, ...] = ()

    @property
    def series(self) -> tuple[SeriesFound, ...]:
        """All series of all studies, in order."""
        return tuple(series for study in self.studies for series in study.series)


def _value(elements: tuple[Element, ...], keyword: str) -> str:
    return next((element.value for element in elements if element.keyword == keyword), "")


class MoveState(str, Enum):
    """What became of one C-MOVE request."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILED = "failed"
    NO_ANSWER = "no-answer"


@dataclass(frozen=True, slots=True)
class SubOperations:
    """Sub-operation counts of a C-MOVE response; ``None`` where the PACS sent no value (PS3.7 9.1.4)."""

    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class MoveOutcome:
    """The PACS's own words on one C-MOVE request.

    `status` is the DIMSE status of the final response (``None``: there was none); `received` is how many instances
    of the series the BASEMOUNT held when the waiting ended (``None``: nobody looked).
    """

    series: SeriesRef
    state: MoveState
    status: int | None = None
    counts: SubOperations = field(default_factory=SubOperations)
    error: str | None = None
    received: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the PACS reported success."""
        return self.state is MoveState.SUCCESS


class FileState(str, Enum):
    """What became of one file."""

    FILED = "filed"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """One file on its way into the BASEMOUNT.

    `file` is where the instance now is; `reason` says why a file was rejected or set aside.
    """

    source: Path
    state: FileState
    instance: Instance | None = None
    file: Path | None = None
    reason: str | None = None


class SeriesState(str, Enum):
    """How much of a series has arrived, measured against what its PACS announced."""

    COMPLETE = "complete"
    MISSING = "missing"
    NOT_RECEIVED = "not-received"
    MORE_THAN_EXPECTED = "more-than-expected"
    UNKNOWN_EXPECTATION = "unknown-expectation"
    NOT_RECORDED = "not-recorded"


@dataclass(frozen=True, slots=True)
class SeriesStatus:
    """The life of a series so far, from the smdb alone.

    Counts are of distinct SOP Instance UIDs.  `expected` is what the PACS announced when the series was requested
    (``None``: never requested through px, or the PACS did not say).  `study_recorded`, `series_recorded` and
    `listed_in_study` say which tables know the series; `conflicts` counts instances that came again with other content.
    """

    series: SeriesRef
    state: SeriesState
    expected: int | None
    received: int
    packed: int
    pushed: int
    registered: int
    conflicts: int = 0
    study_recorded: bool = False
    series_recorded: bool = False
    listed_in_study: bool = False
    requested: bool = False
    push_failed: bool = False
