"""What goes wrong: one frozen record, whose defaults are those of a PACS that does everything right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scripted_pacs.archive import LEVELS, Series

ALWAYS = 1_000_000_000
"""As often as it comes up."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Instances that C-MOVE does not send.

    Parameters
    ----------
    instances : their SOP Instance UIDs
    told : how the sub-operation is counted: as completed, as failed (which makes the final status B000), or not at all
    times : so many attempts at each instance are dropped, then it is sent
    """

    instances: tuple[str, ...]
    told: Literal["completed", "failed", "uncounted"] = "completed"
    times: int = ALWAYS


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An instance that is sent twice in a row; each sending is a sub-operation and counted."""

    SOPInstanceUID: str
    other_content: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request instead of its next response.

    Parameters
    ----------
    what : a final response with `status` and no counts, an A-ABORT, a closed connection, or silence until the peer
        goes away or the script ends
    command : "C-FIND", "C-MOVE", or "" for both
    level : the Query/Retrieve Level, or "" for any
    series : only requests that touch one of these series; () for all
    request : only the n-th request of its association, from 1; 0 for any
    after : so many answers (C-FIND) or sub-operations (C-MOVE) are done first; a request with fewer is spared
    status : of the final response
    times : so many requests are hit, then no more
    """

    what: Literal["status", "abort", "close", "silence"]
    command: str = ""
    level: str = ""
    series: tuple[str, ...] = ()
    request: int = 0
    after: int = 0
    status: int = 0xC000
    times: int = ALWAYS


@dataclass(frozen=True, slots=True)
class Script:
    """What the PACS does wrong.

    Parameters
    ----------
    count : how NumberOfSeriesRelatedInstances (and the sum for a study) is answered: right, left out, or empty
    count_error : added to it; never below 0
    counted : series whose count is so; () for all
    unlisted : SOP Instance UIDs that no query finds, but that C-MOVE sends
    find_cap : most answers to a query; ``None``: no limit
    find_cap_status : final status of a capped query: 0 (silent) or a failure such as 0xA700
    find_cap_instead : the status comes in place of the answers
    find_cap_levels : levels at which the limit holds
    answer_delay_s : pause before each response to C-FIND, seconds
    drops : instances that are not sent
    duplicates : instances that are sent twice
    warned : SOP Instance UIDs that are sent but counted as warnings
    early_success : C-MOVE is answered with Success and full counts, and then the sub-operations begin; faults with
        `after` and `final_status` have no say then
    final_status : of each C-MOVE that got to its end; ``None``: what the counts ask for
    omit_counts : no numbers of sub-operations in the responses
    pending : send a pending response after each sub-operation
    store_delay_s : pause before each sub-operation, seconds
    faults : requests that go wrong; the first that fits counts
    most_requests : of an association; ``None``: no limit
    most_requests_status : how one beyond is answered; ``None``: A-ABORT
    reject_first : so many associations are rejected
    reject_with : result, source and reason (PS3.8 9.3.4); by default transient, local limit exceeded
    most_associations : at once; ``None``: no limit
    beyond : what happens to one more
    silent : "connect": connections are not accepted (the SYN is not answered); "association": no answer to the
        A-ASSOCIATE-RQ
    silent_first : so many associations get no answer, then the others do
    """

    count: Literal["right", "absent", "empty"] = "right"
    count_error: int = 0
    counted: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    find_cap: int | None = None
    find_cap_status: int = 0
    find_cap_instead: bool = False
    find_cap_levels: tuple[str, ...] = LEVELS
    answer_delay_s: float = 0.0
    drops: tuple[Drop, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    warned: tuple[str, ...] = ()
    early_success: bool = False
    final_status: int | None = None
    omit_counts: bool = False
    pending: bool = True
    store_delay_s: float = 0.0
    faults: tuple[Fault, ...] = ()
    most_requests: int | None = None
    most_requests_status: int | None = None
    reject_first: int = 0
    reject_with: tuple[int, int, int] = (2, 3, 2)
    most_associations: int | None = None
    beyond: Literal["rejected", "unanswered"] = "rejected"
    silent: Literal["", "connect", "association"] = ""
    silent_first: int = ALWAYS

    def __post_init__(self) -> None:
        dropped = [uid for drop in self.drops for uid in drop.instances]
        others = [*(copy.SOPInstanceUID for copy in self.duplicates), *self.warned]
        if len(set(dropped)) < len(dropped) or set(dropped) & set(others):
            raise ValueError("an instance is dropped twice, or dropped and sent otherwise")
        if self.find_cap_instead and not self.find_cap_status:
            raise ValueError("find_cap_instead needs a find_cap_status")

    def claimed(self, series: Series) -> int | str | None:
        """NumberOfSeriesRelatedInstances as it is answered: a number, "" (empty) or ``None`` (absent)."""
        true = len(series.instances)
        if self.counted and series.SeriesInstanceUID not in self.counted:
            return true
        if self.count == "absent":
            return None
        return "" if self.count == "empty" else max(0, true + self.count_error)

    def drop_of(self, SOPInstanceUID: str) -> Drop | None:
        """The drop that an instance belongs to."""
        return next((drop for drop in self.drops if SOPInstanceUID in drop.instances), None)
