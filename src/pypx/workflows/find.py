"""Ask a PACS what it has: studies first, then the series of each (C-FIND).

Relational queries are never relied on.  All series queries go through one association, or a few with ``jobs``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pypx.errors import InputError
from pypx.model.identifiers import UID
from pypx.model.keywords import PATIENT_KEYS, Level, QueryModel
from pypx.model.outcomes import Completeness, FindResult, SeriesFound, StudyFound
from pypx.model.peers import PacsNode
from pypx.model.query import MatchingKey, Query
from pypx.services.dcmtk import Conversation, Limits, Programs
from pypx.services.dicomfile import keyword_info
from pypx.workflows.answers import COUNT, Answer, count_in, joined, series_of, study_of, value_of, with_count
from pypx.workflows.querying import Asker, Progress, Reply

_NOT_ASKED = frozenset(("QueryRetrieveLevel", "SpecificCharacterSet"))


def build_query(
    match: Mapping[str, str],
    *,
    return_keys: Sequence[str] | None = None,
    study_only: bool = False,
    model: QueryModel = QueryModel.STUDY_ROOT,
    charset: str = "ISO_IR 192",
) -> Query:
    """Make a query of keywords and values, looked up and checked.

    Parameters
    ----------
    match : keyword to value; an empty value asks for the attribute without matching on it
    return_keys : ask for these attributes only; keys to match on and the unique keys are always sent
    study_only, model, charset : as in :class:`~pypx.model.query.Query`

    Raises
    ------
    InputError : a keyword that does not exist (the text names the nearest), or a value that cannot be
    """
    keys = []
    for keyword, value in match.items():
        if keyword in _NOT_ASKED:
            continue
        info = keyword_info(keyword)
        if info.tag < "0004" or (info.VR == "SQ" and value):
            raise InputError(f"{keyword}: cannot be matched on")
        keys.append(MatchingKey(keyword, info.VR, value))
    for keyword in return_keys or ():
        keyword_info(keyword)
    returned = None if return_keys is None else tuple(key for key in return_keys if key not in _NOT_ASKED)
    return Query(tuple(keys), returned, study_only, model, charset)


def find(
    query: Query,
    node: PacsNode,
    *,
    limits: Limits | None = None,
    programs: Programs | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> FindResult:
    """Ask a PACS for studies and their series.

    A study without a matching series is left out unless ``query.study_only`` or its series could not be asked for.
    Keys to match on that belong to the IMAGE level are sent with the series queries, as pypx did: some PACS match on
    them, others ignore them.  Where a series comes without NumberOfSeriesRelatedInstances although it was asked for,
    its instances are counted by an IMAGE query.

    Parameters
    ----------
    query : what to ask for
    node : the PACS, and the AE titles to use
    limits, programs : time limits and programs
    jobs : associations at a time for the series queries, >= 1
    progress : called with series queries answered and series queries in all

    Raises
    ------
    PeerUnreachableError, PeerRejectedError, PeerFailedError : the PACS gave no answer to the study query
    ToolMissingError, ToolFailedError : findscu cannot be run
    InputError : a value that the character set of the query cannot hold

    References
    ----------
    DICOM PS3.4 C.4.1, C.6.1, C.6.2; findscu(1), DCMTK 3.6.7
    """
    talk = Conversation(node, query.model, limits or Limits(), programs or Programs())
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="px-find-") as scratch:
        asker = Asker(talk, Path(scratch), query.charset)
        found = _studies(query, asker, problems)
        studies = (
            found if query.study_only else _with_series(query, asker, found, problems, jobs=jobs, progress=progress)
        )
    return FindResult(node, query, tuple(studies), _complete(len(found), problems), tuple(problems))


def _complete(studies: int, problems: Sequence[str]) -> Completeness:
    if problems:
        return Completeness.NO
    capped = studies >= 100 and studies % 100 == 0  # PACS that cap answers in silence do it at a round number
    return Completeness.UNKNOWN if capped else Completeness.YES


def _studies(query: Query, asker: Asker, problems: list[str]) -> list[StudyFound]:
    """The studies that match, each once."""
    patients: Sequence[Answer] = ((),)
    keys = query.keys_at(Level.STUDY)
    if query.model is QueryModel.PATIENT_ROOT:
        patients = _patients(query, asker, problems)
        keys = {keyword: value for keyword, value in keys.items() if keyword not in PATIENT_KEYS}
    replies = asker.ask(
        Level.STUDY, [keys | _patient_key(query, patient) for patient in patients], first_must_work=True
    )
    found: dict[str, StudyFound] = {}
    for patient, reply in zip(patients, replies, strict=True):
        _judge(reply, "study query", problems, alone=len(replies) == 1)
        for answer in reply.answers:
            study = study_of(joined(patient, answer))
            if study is None:
                problems.append("a study was answered without a usable StudyInstanceUID")
            else:
                found.setdefault(study.StudyInstanceUID, study)
    return list(found.values())


def _patients(query: Query, asker: Asker, problems: list[str]) -> Sequence[Answer]:
    """Patients that match: in the patient root model every query below needs the ID of one (PS3.4 C.6.1)."""
    (reply,) = asker.ask(Level.PATIENT, [query.keys_at(Level.PATIENT)], first_must_work=True)
    _judge(reply, "patient query", problems, alone=True)
    patients = {value_of(answer, "PatientID"): answer for answer in reply.answers}
    if patients.pop("", None) is not None:
        problems.append("a patient without PatientID cannot be asked for in the patient root model")
    return list(patients.values())


def _patient_key(query: Query, answer: Answer) -> dict[str, str]:
    return {"PatientID": value_of(answer, "PatientID")} if query.model is QueryModel.PATIENT_ROOT else {}


def _judge(reply: Reply, what: str, problems: list[str], *, alone: bool) -> None:
    """A query that failed: an error if there is nothing else to tell, else a problem."""
    if reply.error is None:
        return
    if alone and not reply.answers:
        raise reply.error
    problems.append(f"{what}: {reply.error}")


def _with_series(
    query: Query,
    asker: Asker,
    studies: Sequence[StudyFound],
    problems: list[str],
    *,
    jobs: int,
    progress: Progress | None,
) -> list[StudyFound]:
    """The studies with their series; those without any are left out."""
    base = query.keys_at(Level.SERIES, {key.keyword: key.value for key in query.image_keys})
    queries = [
        base | _patient_key(query, study.elements) | {"StudyInstanceUID": study.StudyInstanceUID} for study in studies
    ]
    replies = asker.ask(Level.SERIES, queries, jobs=jobs, progress=progress)
    found = _by_study(studies, replies, problems)
    if COUNT in base:
        _count(query, asker, studies, found)
    kept = []
    for study, reply in zip(studies, replies, strict=True):
        error = None if reply.error is None else str(reply.error)
        if error is not None:
            problems.append(f"series of study {study.StudyInstanceUID}: {error}")
        own = tuple(found[study.StudyInstanceUID].values())
        if own or error:
            kept.append(StudyFound(study.StudyInstanceUID, study.elements, own, error))
    return kept


def _by_study(
    studies: Sequence[StudyFound], replies: Sequence[Reply], problems: list[str]
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
            problems.append(f"study {study.StudyInstanceUID}: {strange} answers without usable UIDs were left out")
    return found


def _count(
    query: Query, asker: Asker, studies: Sequence[StudyFound], found: Mapping[UID, dict[UID, SeriesFound]]
) -> None:
    """Count the instances of series that came without their number; where that fails, it stays unknown."""
    queries, wanted = [], []
    for study in studies:
        for series in found[study.StudyInstanceUID].values():
            if count_in(series.elements) is None:
                unique = {"StudyInstanceUID": study.StudyInstanceUID, "SeriesInstanceUID": series.ref.SeriesInstanceUID}
                queries.append({"SOPInstanceUID": "", **unique, **_patient_key(query, study.elements)})
                wanted.append(series)
    for series, reply in zip(wanted, asker.ask(Level.IMAGE, queries), strict=True):
        if reply.error is None:
            count = len({value_of(answer, "SOPInstanceUID") for answer in reply.answers})
            found[series.ref.StudyInstanceUID][series.ref.SeriesInstanceUID] = with_count(series, count)
