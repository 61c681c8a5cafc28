"""Ask a PACS what it has: studies first, then the series of each (C-FIND).

Relational queries are never relied on.  All series queries go through one association, or a few if they are many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pypx.errors import InputError
from pypx.model.found import Completeness, FindResult, StudyFound
from pypx.model.identifiers import UID, is_uid
from pypx.model.keywords import PATIENT_KEYS, Level, QueryModel
from pypx.model.pacs import PacsNode
from pypx.model.query import MatchingKey, Query
from pypx.services.charsets import check_charset
from pypx.services.dcmtk import Conversation, Limits, Programs
from pypx.services.dicomfile import keyword_info
from pypx.services.scratch import scratch_folder
from pypx.workflows.answers import Answer, joined, study_of, value_of
from pypx.workflows.findseries import Notes, patient_key, series_keys, with_series
from pypx.workflows.querying import Asker, Progress, Reply
from pypx.workflows.splitting import StudyParts, may_be_capped

_FEW_STUDIES = 8
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
    InputError : a keyword or character set that does not exist (the text names the nearest), or a value that cannot be
    """
    check_charset(charset)
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
    jobs: int | None = None,
    progress: Progress | None = None,
    split: bool = True,
) -> FindResult:
    """Ask a PACS for studies and their series.

    A study without a matching series is left out unless ``query.study_only`` or its series could not be asked for.
    Keys to match on that belong to the IMAGE level are sent with the series queries, as pypx did: some PACS match on
    them, others ignore them.  Where a series comes without NumberOfSeriesRelatedInstances although it was asked for,
    its instances are counted by an IMAGE query.  Answers that the PACS may have cut short are asked for again in parts
    (:mod:`pypx.workflows.splitting`).

    Parameters
    ----------
    query : what to ask for
    node : the PACS, and the AE titles to use
    limits, programs : time limits and programs
    jobs : associations at a time, >= 1; ``None``: two where there are many queries, else one.  What one asks that the
        PACS refuses beside others is asked through a single one afterwards
    progress : called with series queries answered and series queries in all
    split : whether to ask in parts for what may be short; if not, ``complete`` says ``unknown``

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
    notes = Notes()
    with scratch_folder("find") as scratch:
        asker = Asker(talk, scratch, query.charset)
        search = _StudySearch(query, asker, notes, jobs=jobs, split=split)
        if query.study_only:
            search.finish()
            studies = search.studies
        else:
            studies = with_series(query, asker, search, notes, jobs=jobs, progress=progress, split=split)
    return FindResult(node, query, tuple(studies), notes.complete, tuple(notes.problems))


class _StudySearch:
    """The studies that match, each once: of one query, or of one per patient.

    `early` are the replies to the series queries of studies that the query names: they go with it.
    """

    def __init__(self, query: Query, asker: Asker, notes: Notes, *, jobs: int | None, split: bool) -> None:
        self._asker = asker
        self._notes = notes
        self._jobs = jobs
        self._patients: Sequence[Answer] = ((),)
        keys = query.keys_at(Level.STUDY)
        if query.model is QueryModel.PATIENT_ROOT:
            self._patients = _patients(query, asker, notes)
            keys = {keyword: value for keyword, value in keys.items() if keyword not in PATIENT_KEYS}
        queries = [keys | patient_key(query, patient) for patient in self._patients]
        early = {uid: (Level.SERIES, series_keys(query) | {"StudyInstanceUID": uid}) for uid in _named_studies(query)}
        asked = [*((Level.STUDY, one) for one in queries), *early.values()]
        replies = asker.ask_levels(asked, jobs=jobs, first_must_work=True)
        self.early: Mapping[UID, Reply] = dict(zip(early, replies[len(queries) :], strict=True))
        replies = replies[: len(queries)]
        self._parts = [StudyParts(one, reply, split=split) for one, reply in zip(queries, replies, strict=True)]
        self._error = replies[0].error if len(replies) == 1 else None
        self._check()

    @property
    def pending(self) -> list[Mapping[str, str]]:
        """Parts of queries that are still to be asked."""
        return [keys for parts in self._parts for keys in parts.pending]

    def take(self, replies: Sequence[Reply]) -> None:
        """Take the replies to `pending`, in its order."""
        rest = iter(replies)
        for parts in self._parts:
            parts.take([next(rest) for _ in parts.pending])

    def finish(self) -> None:
        """Ask until no part is left."""
        while pending := self.pending:
            self.take(self._asker.ask(Level.STUDY, pending, jobs=self._jobs))
        self._check()
        for parts in self._parts:
            self._notes.add(parts.complete, f"study query: {parts.problem}" if parts.problem else None)
        unusable = sum(study_of(answer) is None for parts in self._parts for answer in parts.answers)
        self._notes.problems += ["a study was answered without a usable StudyInstanceUID"] * unusable

    def _check(self) -> None:
        """Raise what went wrong if there is nothing else to tell."""
        if self._error is not None and not self.pending and self._parts[0].problem and not self._parts[0].answers:
            raise self._error

    @property
    def studies(self) -> list[StudyFound]:
        """Those found so far, in the order in which they came."""
        found: dict[str, StudyFound] = {}
        for patient, parts in zip(self._patients, self._parts, strict=True):
            for answer in parts.answers:
                study = study_of(joined(patient, answer))
                if study is not None:
                    found.setdefault(study.StudyInstanceUID, study)
        return list(found.values())


def _named_studies(query: Query) -> list[UID]:
    """The studies whose series are asked for at once, as the query names them and they are few.

    One start of findscu and one association less.
    """
    named = next((key.value for key in query.match if key.keyword == "StudyInstanceUID"), "").split("\\")
    if query.study_only or query.model is not QueryModel.STUDY_ROOT or not all(map(is_uid, named)):
        return []
    return [UID(uid) for uid in dict.fromkeys(named)] if len(named) <= _FEW_STUDIES else []


def _patients(query: Query, asker: Asker, notes: Notes) -> Sequence[Answer]:
    """Patients that match: in the patient root model every query below needs the ID of one (PS3.4 C.6.1)."""
    (reply,) = asker.ask(Level.PATIENT, [query.keys_at(Level.PATIENT)], first_must_work=True)
    if reply.error is not None:
        if not reply.answers:
            raise reply.error
        notes.problems.append(f"patient query: {reply.error}")
    elif may_be_capped(len(reply.answers)):
        notes.add(Completeness.UNKNOWN)
    patients = {value_of(answer, "PatientID"): answer for answer in reply.answers}
    if patients.pop("", None) is not None:
        notes.problems.append("a patient without PatientID cannot be asked for in the patient root model")
    return list(patients.values())
