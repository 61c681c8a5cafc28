"""Draws cases for property tests: an archive, a script, and what is true of each series then."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from scripted_pacs.archive import Archive, Series, make_archive
from scripted_pacs.script import ALWAYS, Drop, Duplicate, Fault, Script

_MOST_ATTEMPTS = 3
"""Whatever is sent at all is sent by the third time it is asked for."""


@dataclass(frozen=True, slots=True)
class SeriesTruth:
    """What is true of one series, whatever the PACS says.

    Parameters
    ----------
    StudyInstanceUID, SeriesInstanceUID : its UIDs
    instances : all SOP Instance UIDs that the archive holds, in the order of sub-operations
    claimed : NumberOfSeriesRelatedInstances as it is answered: a number, "" (empty) or ``None`` (absent)
    listed : what an IMAGE query finds; ``None``: it is refused or answered with a failing status instead of answers
    list_status : final status of that query
    arriving : in place k - 1 what has arrived once each instance was asked for k times in requests that go through;
        the last place holds all that can ever arrive
    hindered : up to so many C-MOVE requests that touch the series fail or break off, then the others go through
    first : what the first C-MOVE of the whole series brings, be it hindered or not
    copied : sent twice by each sending, with the same content
    conflicting : sent twice by each sending, the second time with other content
    """

    StudyInstanceUID: str
    SeriesInstanceUID: str
    instances: tuple[str, ...]
    claimed: int | str | None
    listed: tuple[str, ...] | None
    list_status: int
    arriving: tuple[frozenset[str], ...]
    hindered: int
    first: frozenset[str]
    copied: frozenset[str]
    conflicting: frozenset[str]

    @property
    def ever(self) -> frozenset[str]:
        """What can arrive, if it is asked for often enough."""
        return self.arriving[-1]

    @property
    def never(self) -> frozenset[str]:
        """What the archive holds but never sends."""
        return frozenset(self.instances) - self.ever


@dataclass(frozen=True, slots=True)
class Case:
    """One case; `truths` are in the order of the archive's series."""

    archive: Archive
    script: Script
    truths: tuple[SeriesTruth, ...]

    @property
    def image_moves(self) -> bool:
        """Whether a C-MOVE at IMAGE level is taken."""
        return not any(fault.level == "IMAGE" and fault.command == "C-MOVE" for fault in self.script.faults)

    def __str__(self) -> str:
        """The part of the script that is not honest, and the sizes of the series."""
        honest = Script()
        told = [
            f"{one.name}={getattr(self.script, one.name)!r}"
            for one in fields(Script)
            if getattr(self.script, one.name) != getattr(honest, one.name)
        ]
        return f"{[len(truth.instances) for truth in self.truths]} instances; {', '.join(told) or 'honest'}"


def draw_case(rng: random.Random, *, rejecting: bool = True) -> Case:
    """A case from one seeded generator: one to three series, and up to four things that go wrong.

    Nothing in it waits in silence.  Requests that fail do so a limited number of times, but for refused levels, so
    that a client which asks again gets everything in `SeriesTruth.ever`.

    Parameters
    ----------
    rng : the same state draws the same case
    rejecting : associations may be rejected at first
    """
    archive = make_archive(
        rng.getrandbits(64), studies=rng.choice((1, 1, 2)), series=rng.choice((1, 1, 2)), instances=(1, 12)
    )
    draft = _Draft(rng, archive)
    tricks: list[Callable[[_Draft], None]] = [
        *_TRICKS,
        *([_rejects] if rejecting else []),
    ]
    for trick in rng.sample(tricks, rng.choice((0, 1, 1, 2, 2, 3, 4))):
        trick(draft)
    script = Script(**draft.fields, faults=tuple(draft.faults), drops=tuple(draft.drops))
    return Case(archive, script, tuple(truth_of(archive, script, series) for series in archive.series()))


@dataclass(slots=True)
class _Draft:
    rng: random.Random
    archive: Archive
    fields: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    marked: set[str] = field(default_factory=set)

    def some(self) -> list[str]:
        """Some instances of a series that nothing was said about yet; may be none."""
        series = self.rng.choice(self.archive.series())
        free = [uid for uid in series.uids if uid not in self.marked]
        taken = self.rng.sample(free, self.rng.randint(1, len(free))) if free else []
        self.marked.update(taken)
        return taken


def _drops(draft: _Draft, told: Literal["completed", "failed", "uncounted"]) -> None:
    if taken := draft.some():
        draft.drops.append(Drop(tuple(taken), told, draft.rng.choice((1, 2, ALWAYS, ALWAYS))))


def _drops_in_silence(draft: _Draft) -> None:
    _drops(draft, "completed")


def _drops_as_failed(draft: _Draft) -> None:
    _drops(draft, "failed")


def _drops_uncounted(draft: _Draft) -> None:
    _drops(draft, "uncounted")


def _miscounts(draft: _Draft) -> None:
    draft.fields["count_error"] = draft.rng.choice((-3, -1, 1, 4))


def _withholds_counts(draft: _Draft) -> None:
    draft.fields["count"] = draft.rng.choice(("absent", "empty"))


def _sends_copies(draft: _Draft) -> None:
    other = draft.rng.random() < 0.5
    draft.fields["duplicates"] = tuple(Duplicate(uid, other) for uid in draft.some())


def _warns(draft: _Draft) -> None:
    draft.fields["warned"] = tuple(draft.some())


def _answers_early(draft: _Draft) -> None:
    draft.fields |= {"early_success": True, "store_delay_s": draft.rng.choice((0.0, 0.01))}


def _lies_about_status(draft: _Draft) -> None:
    draft.fields["final_status"] = draft.rng.choice((0x0000, 0xB000, 0xA702, 0xC000))


def _keeps_counts_back(draft: _Draft) -> None:
    draft.fields["omit_counts"] = True


def _sends_no_pending(draft: _Draft) -> None:
    draft.fields["pending"] = False


def _refuses_image_find(draft: _Draft) -> None:
    draft.faults.append(Fault("status", "C-FIND", "IMAGE", status=draft.rng.choice((0xA900, 0x0122, 0xC000))))


def _refuses_image_move(draft: _Draft) -> None:
    draft.faults.append(Fault("status", "C-MOVE", "IMAGE", status=draft.rng.choice((0xA900, 0x0122, 0xC000))))


def _caps_image_find(draft: _Draft) -> None:
    status = draft.rng.choice((0, 0xA700))
    draft.fields |= {
        "find_cap": draft.rng.choice((3, 5, 10)),
        "find_cap_status": status,
        "find_cap_instead": bool(status) and draft.rng.random() < 0.3,
        "find_cap_levels": ("IMAGE",),
    }


def _breaks_off(draft: _Draft) -> None:
    series = draft.rng.choice(draft.archive.series())
    if not any(series.SeriesInstanceUID in fault.series for fault in draft.faults):
        ways: tuple[Literal["abort", "close", "status"], ...] = ("abort", "abort", "close", "status")
        what = draft.rng.choice(ways)
        status = draft.rng.choice((0xA702, 0xA701, 0xC001))
        after = draft.rng.randrange(len(series.instances))
        draft.faults.append(
            Fault(
                what,
                "C-MOVE",
                series=(series.SeriesInstanceUID,),
                after=after,
                status=status,
                times=draft.rng.choice((1, 1, 2)),
            )
        )


def _lacks_resources(draft: _Draft) -> None:
    series = draft.rng.choice(draft.archive.series())
    if not any(series.SeriesInstanceUID in fault.series for fault in draft.faults):
        uid = series.SeriesInstanceUID
        draft.faults.append(Fault("status", "C-MOVE", series=(uid,), status=0xA702, times=draft.rng.choice((1, 2))))


def _takes_one_request(draft: _Draft) -> None:
    draft.fields["most_requests"] = 1


def _rejects(draft: _Draft) -> None:
    draft.fields["reject_first"] = draft.rng.choice((1, 2))


_TRICKS = (
    _drops_in_silence,
    _drops_in_silence,
    _drops_as_failed,
    _drops_uncounted,
    _miscounts,
    _withholds_counts,
    _sends_copies,
    _warns,
    _answers_early,
    _lies_about_status,
    _keeps_counts_back,
    _sends_no_pending,
    _refuses_image_find,
    _refuses_image_move,
    _caps_image_find,
    _breaks_off,
    _breaks_off,
    _lacks_resources,
    _takes_one_request,
)


def truth_of(archive: Archive, script: Script, series: Series) -> SeriesTruth:
    """What is true of a series under a script; faults on C-MOVE count if they name the series and end by themselves."""
    uids = series.uids
    listed, status = _listing(script, series)
    held = {uid: drop.times for uid in uids if (drop := script.drop_of(uid))}
    arriving = tuple(
        frozenset(uid for uid in uids if held.get(uid, 0) < attempt) for attempt in range(1, _MOST_ATTEMPTS + 1)
    )
    hits = [
        fault
        for fault in script.faults
        if fault.command == "C-MOVE" and series.SeriesInstanceUID in fault.series and fault.times < ALWAYS
    ]
    copies = {one.SOPInstanceUID: one.other_content for one in script.duplicates if one.SOPInstanceUID in uids}
    return SeriesTruth(
        StudyInstanceUID=archive.study_of(series.SeriesInstanceUID).StudyInstanceUID,
        SeriesInstanceUID=series.SeriesInstanceUID,
        instances=uids,
        claimed=script.claimed(series),
        listed=listed,
        list_status=status,
        arriving=arriving,
        hindered=0 if script.early_success and any(hit.after for hit in hits) else sum(hit.times for hit in hits),
        first=_first(script, uids, copies, hits) & arriving[0],
        copied=frozenset(uid for uid, other in copies.items() if not other),
        conflicting=frozenset(uid for uid, other in copies.items() if other),
    )


def _listing(script: Script, series: Series) -> tuple[tuple[str, ...] | None, int]:
    for fault in script.faults:
        if fault.command == "C-FIND" and fault.level == "IMAGE" and fault.what == "status":
            return None, fault.status
    listed = tuple(uid for uid in series.uids if uid not in script.unlisted)
    cap = script.find_cap
    if cap is None or "IMAGE" not in script.find_cap_levels or len(listed) <= cap:
        return listed, 0
    return (None if script.find_cap_instead else listed[:cap]), script.find_cap_status


def _first(script: Script, uids: tuple[str, ...], copies: dict[str, bool], hits: list[Fault]) -> frozenset[str]:
    """Instances whose turn comes in the first request of the whole series."""
    turns = [uid for uid in uids for _ in range(2 if uid in copies else 1)]
    for hit in hits:
        if not (script.early_success and hit.after):
            return frozenset(turns[: hit.after])
    return frozenset(turns)
