"""What came of it: one record per verb, that of find from :mod:`pypx.model.found`.

The latter is a module of its own since making a record class takes a millisecond: px find has no use for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from pathlib import Path
from typing import Any

from pypx.model.dataclass import dataclass
from pypx.model.found import Completeness, FindResult, SeriesFound, StudyFound
from pypx.model.identifiers import UID
from pypx.model.keywords import Level
from pypx.model.pacs import PacsNode
from pypx.model.records import SeriesRef
from pypx.model.suboperations import SubOperations


@dataclass(frozen=True, slots=True)
class EchoOutcome:
    """A C-ECHO that was answered with Success; `seconds` from the start of the program to its end."""

    peer: PacsNode
    seconds: float


class MoveState(str, Enum):
    """What became of one C-MOVE request; `NOT_ASKED`: there was nothing left to ask for."""

    NOT_ASKED = "not-asked"
    SUCCESS = "success"
    WARNING = "warning"
    FAILED = "failed"
    NO_ANSWER = "no-answer"


@dataclass(frozen=True, slots=True)
class MoveOutcome:
    """The PACS's own words on one C-MOVE request, and what came of it.

    `status` is the DIMSE status of the final response (``None``: there was none); `instances` are those that were asked
    for at IMAGE level (empty: the whole series was); `held` is how many of the series were there before.  `received` is
    how many instances of it the BASEMOUNT had recorded when the waiting ended (``None``: nobody looked), `verdict` what
    that makes of the series, `attempts` how often it was asked for.
    """

    series: SeriesRef
    state: MoveState
    status: int | None = None
    counts: SubOperations = field(default_factory=SubOperations)
    error: str | None = None
    received: int | None = None
    instances: tuple[UID, ...] = ()
    held: int = 0
    verdict: SeriesStatus | None = None
    attempts: int = 1

    @property
    def ok(self) -> bool:
        """Whether the PACS reported success, or was not asked since all is there."""
        return self.state in (MoveState.SUCCESS, MoveState.NOT_ASKED)

    @property
    def complete(self) -> bool:
        """Whether the series is known to be whole; where nobody looked, whether the PACS reported success."""
        return self.ok if self.verdict is None else self.verdict.state is SeriesState.COMPLETE

    @property
    def level(self) -> Level | None:
        """What was asked for: IMAGE or SERIES, ``None`` for nothing."""
        if self.state is MoveState.NOT_ASKED:
            return None
        return Level.IMAGE if self.instances else Level.SERIES


class SeriesState(str, Enum):
    """How much of a series is there, measured against what its PACS said it has.

    `MORE_THAN_EXPECTED`: all of it and others.  `UNKNOWN_EXPECTATION`: the PACS did not say, or contradicted itself.
    Of the others not one instance is there: `REFUSED` by the PACS when it was asked for, `NOT_RECEIVED` although it was
    recorded or asked for, `NOT_RECORDED` at all.
    """

    COMPLETE = "complete"
    MISSING = "missing"
    REFUSED = "refused"
    NOT_RECEIVED = "not-received"
    MORE_THAN_EXPECTED = "more-than-expected"
    UNKNOWN_EXPECTATION = "unknown-expectation"
    NOT_RECORDED = "not-recorded"


@dataclass(frozen=True, slots=True)
class SeriesStatus:
    """The life of a series so far, from the smdb alone.

    Counts are of distinct SOP Instance UIDs.  `expected` is what the PACS said it has when the series was requested
    (``None``: never requested through px, or the PACS did not say, or contradicted itself); `missing` are those of it
    whose files are not there (``None``: nobody knows which); `doubtful`: it contradicted itself.  `study_recorded`,
    `series_recorded` and `listed_in_study` say which tables know the series; `conflicts` counts instances that came
    again with other content.
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
    missing: tuple[UID, ...] | None = None
    doubtful: bool = False

    @property
    def short(self) -> str:
        """Why the series is not to be handed on as a whole, whatever its count; ``""`` if nothing speaks against it."""
        if self.missing and self.received:
            return f"{len(self.missing)} of its images are missing; retrieve it again"
        return "its PACS contradicts itself on how many images it has; retrieve it again" if self.doubtful else ""


@dataclass(frozen=True, slots=True)
class PushedFile:
    """A file whose bytes are in the target.

    `name` is the object name (a PACS: the SOP Instance UID), `md5` that of the file; `sent` says whether this push
    sent it (``False``: it was there and equal), `replaced` whether the store held other bytes under its name, or had
    lost what was pushed before.
    """

    file: Path
    name: str
    size: int
    md5: str
    sent: bool
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that was not pushed, and why, in one line."""

    file: Path
    reason: str


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """What became of one series on its way to a target.

    `files` is how many files were to be pushed, `expected` how many the series has to have to be whole there.
    `folder` is where its objects are (``""`` in a PACS), `seconds` how long it took.  The outcome of files that belong
    to no series, since they are no DICOM, has empty UIDs.
    """

    series: SeriesRef
    target: str
    files: int
    expected: int
    done: tuple[PushedFile, ...] = ()
    failures: tuple[FailedFile, ...] = ()
    folder: str = ""
    seconds: float = 0.0
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether all files of the series that were to be pushed are in the target, verified."""
        return self.error is None

    @property
    def pushed(self) -> int:
        """How many files were sent and verified."""
        return sum(1 for file in self.done if file.sent)

    @property
    def skipped(self) -> int:
        """How many files were there already, and equal."""
        return sum(1 for file in self.done if not file.sent)

    @property
    def failed(self) -> int:
        """How many files are not in the target."""
        return self.files - len(self.done)

    @property
    def bytes(self) -> int:
        """How many bytes were sent."""
        return sum(file.size for file in self.done if file.sent)

    @property
    def replaced(self) -> tuple[str, ...]:
        """Names of objects that were broken: the store held other bytes, or had lost them."""
        return tuple(file.name for file in self.done if file.replaced)


@dataclass(frozen=True, slots=True)
class RegisteredFile:
    """An object that CUBE was asked to register.

    `name` is the object's, `file` the local one (``None``: it is gone).  `item` is what CUBE says of it, or what it was
    told; `new` whether this run registered it (``False``: it was registered before); `error` why it is not registered.
    """

    name: str
    file: Path | None
    item: Mapping[str, Any]
    new: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RegisterOutcome:
    """What became of one series on its way into CUBE.

    `registered` is how many of its files CUBE confirmed, earlier ones included, `expected` how many there should be
    (``None``: unknown); `dialect` is ``per-file`` or ``per-series``.  The outcome of files that belong to no series,
    since they are no DICOM, has empty UIDs.
    """

    series: SeriesRef
    dialect: str
    pacs_name: str = ""
    folder: str = ""
    expected: int | None = None
    registered: int = 0
    files: tuple[RegisteredFile, ...] = ()
    seconds: float = 0.0
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether CUBE has all that was to be registered."""
        return self.error is None

    @property
    def new(self) -> int:
        """How many files this run registered."""
        return sum(1 for file in self.files if file.new)

    @property
    def failed(self) -> tuple[RegisteredFile, ...]:
        """The files that are not registered."""
        return tuple(file for file in self.files if file.error is not None)


__all__ = [
    "Completeness",
    "EchoOutcome",
    "FailedFile",
    "FindResult",
    "MoveOutcome",
    "MoveState",
    "PushOutcome",
    "PushedFile",
    "RegisterOutcome",
    "RegisteredFile",
    "SeriesFound",
    "SeriesState",
    "SeriesStatus",
    "StudyFound",
    "SubOperations",
]
