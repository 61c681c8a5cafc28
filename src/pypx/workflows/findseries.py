"""The series of studies that a PACS has answered, and what may be short of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Protocol

from pypx.model.dataclass import dataclass
from pypx.model.found import Completeness, SeriesFound, StudyFound
from pypx.model.identifiers import UID
from pypx.model.keywords import Level, QueryModel
from pypx.model.query import Query
from pypx.workflows.answers import COUNT, Answer, count_in, number_in, series_of, value_of, with_count
from pypx.workflows.querying import Asker, Progress, Reply
from pypx.workflows.splitting import SeriesParts, may_be_capped, modalities_of


@dataclass(slots=True)
class Notes:
    """What is missing from an answer, and whether more may be."""

    problems: list[str] = field(default_factory=list)
    _unsure: bool = False

    def add(self, complete: Completeness, problem: str | None = None) -> None:
        """Note whether a part of the answer is whole."""
        self._unsure = self._unsure or complete is not Completeness.YES
        if problem is not None:
            self.problems.append(problem)

    @property
    def complete(self) -> Completeness:
        """Whether the answer is whole."""
        if self.problems:
            return Completeness.NO
        return Completeness.UNKNOWN if self._unsure else Completeness.YES


class Search(Protocol):
    """A search for studies that may not be at its end; `early` has replies to series queries, by study."""

    early: Mapping[UID, Reply]

    @property
    def studies(self) -> list[StudyFound]:
        """Those found so far."""

    @property
    def pending(self) -> list[Mapping[str, str]]:
        """Study queries still to be asked."""

    def take(self, replies: Sequence[Reply]) -> None:
        """Take the replies to `pending`."""

    def finish(self) -> None:
        """Ask until the end."""


def patient_key(query: Query, answer: Answer) -> dict[str, str]:
    """The PatientID that a request of the patient root model needs."""
    return {"PatientID": value_of(answer, "PatientID")} if query.model is QueryModel.PATIENT_ROOT else {}


def with_series(
    query: Query,
    asker: Asker,
    search: Search,
    notes: Notes,
    *,
    jobs: int | None,
    progress: Progress | None,
    split: bool,
) -> list[StudyFound]:
    """The studies with their series; those without any are left out.

    What the search for studies has still to ask goes with the queries for series; what went with it is not asked again.
    """
    first = search.studies
    parts = _parts(query, first, search.early)
    left = [one for one in parts if one.keys["StudyInstanceUID"] not in search.early]
    queries = [(Level.SERIES, one.keys) for one in left] + [(Level.STUDY, keys) for keys in search.pending]
    replies = asker.ask_levels(queries, jobs=jobs, progress=progress)
    search.take(replies[len(left) :])
    search.finish()
    known = {study.StudyInstanceUID for study in first}
    studies = first + [study for study in search.studies if study.StudyInstanceUID not in known]
    later = _parts(query, studies[len(first) :], {})
    replies = replies[: len(left)] + asker.ask(Level.SERIES, [one.keys for one in later], jobs=jobs, progress=progress)
    for one, reply in zip(left + later, replies, strict=True):
        one.reply = reply
    parts += later
    _complete(parts, asker, jobs=jobs, split=split)
    return _joined(query, asker, studies, parts, notes, jobs=jobs)


def series_keys(query: Query) -> dict[str, str]:
    """The keys of a query for the series of a study, but for those that say which study."""
    return query.keys_at(Level.SERIES, {key.keyword: key.value for key in query.image_keys})


def _parts(query: Query, studies: Sequence[StudyFound], early: Mapping[UID, Reply]) -> list[SeriesParts]:
    base = series_keys(query)
    narrowed = any(key.level in (Level.SERIES, Level.IMAGE) and key.value for key in query.match)
    return [
        SeriesParts(
            keys=base | patient_key(query, study.elements) | {"StudyInstanceUID": study.StudyInstanceUID},
            reply=early.get(study.StudyInstanceUID, Reply()),
            number=None if narrowed else number_in(study.elements, "NumberOfStudyRelatedSeries"),
            modalities=modalities_of(study.value("ModalitiesInStudy")),
        )
        for study in studies
    ]


def _complete(parts: Sequence[SeriesParts], asker: Asker, *, jobs: int | None, split: bool) -> None:
    """Ask by modality for the series of those studies whose answer may be short."""
    most = max((len(one.reply.answers) for one in parts), default=0)
    for one in parts:
        one.suspect(most, split=split)
    short = [one for one in parts if one.pending]
    replies = iter(asker.ask(Level.SERIES, [keys for one in short for keys in one.pending], jobs=jobs))
    for one in short:
        one.take([next(replies) for _ in one.pending])


def _joined(
    query: Query,
    asker: Asker,
    studies: Sequence[StudyFound],
    parts: Sequence[SeriesParts],
    notes: Notes,
    *,
    jobs: int | None,
) -> list[StudyFound]:
    found = _by_study(studies, [one.reply for one in parts], notes)
    if COUNT in query.keys_at(Level.SERIES):
        _count(query, asker, studies, found, jobs=jobs)
    kept = []
    for study, one in zip(studies, parts, strict=True):
        error = None if one.reply.error is None else str(one.reply.error)
        problem = error or one.problem
        text = None if problem is None else f"series of study {study.StudyInstanceUID}: {problem}"
        notes.add(one.complete, text)
        own = tuple(found[study.StudyInstanceUID].values())
        if own or error:
            kept.append(StudyFound(study.StudyInstanceUID, study.elements, own, error))
    return kept


def _by_study(
    studies: Sequence[StudyFound], replies: Sequence[Reply], notes: Notes
) -> dict[UID, dict[UID, SeriesFound]]:
    """Series by the study that their answer names, each once."""
    found: dict[UID, dict[UID, SeriesFound]] = {study.StudyInstanceUID: {} for study in studies}
    for study, reply in zip(studies, replies, strict=True):
        strange = 0
        for answer in reply.answers:
            series = series_of(answer, study)
            if series is None or series.ref.StudyInstanceUID not in found:
                strange += 1
            else:
                found[series.ref.StudyInstanceUID].setdefault(series.ref.SeriesInstanceUID, series)
        if strange:
            notes.problems.append(
                f"study {study.StudyInstanceUID}: {strange} answers without usable UIDs were left out"
            )
    return found


def _count(
    query: Query,
    asker: Asker,
    studies: Sequence[StudyFound],
    found: Mapping[UID, dict[UID, SeriesFound]],
    *,
    jobs: int | None,
) -> None:
    """Count the instances of series that came without their number; where that fails, it stays unknown."""
    queries, wanted = [], []
    for study in studies:
        for series in found[study.StudyInstanceUID].values():
            if count_in(series.elements) is None:
                unique = {"StudyInstanceUID": study.StudyInstanceUID, "SeriesInstanceUID": series.ref.SeriesInstanceUID}
                queries.append({"SOPInstanceUID": "", **unique, **patient_key(query, study.elements)})
                wanted.append(series)
    replies = asker.ask(Level.IMAGE, queries, jobs=jobs)
    most = max((len(reply.answers) for reply in replies), default=0)
    for series, reply in zip(wanted, replies, strict=True):
        count = len({value_of(answer, "SOPInstanceUID") for answer in reply.answers})
        if reply.error is None and not (may_be_capped(count) and count == most):
            found[series.ref.StudyInstanceUID][series.ref.SeriesInstanceUID] = with_count(series, count)
