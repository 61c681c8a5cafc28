"""What a PACS answered to a query."""

from __future__ import annotations

from enum import Enum

from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID
from pypx.model.pacs import PacsNode
from pypx.model.query import Query
from pypx.model.records import Element, SeriesRef


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
