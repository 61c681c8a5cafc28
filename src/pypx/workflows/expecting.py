"""What a PACS says it has of some series, asked before they are retrieved: one association, UIDs only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from threading import Event

from pypx.db.smdb import Database
from pypx.model.found import Completeness
from pypx.model.identifiers import UID, is_uid
from pypx.model.keywords import Level, QueryModel
from pypx.model.ledger import Expectation
from pypx.model.records import SeriesRef
from pypx.services.dcmtk import Conversation
from pypx.services.dcmtk_log import ServiceRefusedError
from pypx.services.scratch import scratch_folder
from pypx.workflows.answers import COUNT, count_in, value_of
from pypx.workflows.ledger import note_expectation
from pypx.workflows.querying import Asker, Reply
from pypx.workflows.splitting import may_be_capped

NO_IMAGE_FIND = "no_image_find"
NO_IMAGE_MOVE = "no_image_move"
"""Keys under which the refusal of a level is noted for a PACS: the time of it."""

REFUSALS = frozenset({0x0122, 0xA900, *range(0xC000, 0xD000)})
"""Final statuses by which a PACS says that it does not serve such a request (PS3.4 C.4.1.1.4, C.4.2.1.5)."""

_REMEMBERED = timedelta(days=30)


def expect(
    series: Sequence[SeriesRef],
    talk: Conversation,
    database: Database,
    *,
    counted: bool = False,
    stop: Event | None = None,
) -> None:
    """Ask a PACS what it has of each series, and note it in the ledgers.

    For each study its series are counted anew (SERIES level) unless they were just now, for each series its instances
    are listed (IMAGE level), all through one association.  A PACS that refuses IMAGE queries is remembered for 30 days
    and only asked to count.

    Parameters
    ----------
    series : each at most once
    talk : whom to ask
    database : where the expectations are noted
    counted : the PACS has counted the series a moment ago, so `series` say how many instances each has
    stop : set from another thread, it ends the questions, as if the PACS had broken off

    Raises
    ------
    PeerUnreachableError, PeerRejectedError : the PACS cannot be asked at all
    ToolMissingError, ToolFailedError, DatabaseError : as they say
    """
    peer = str(talk.node)
    listing = not refuses(database, peer, NO_IMAGE_FIND)
    studies = {} if counted else {ref.StudyInstanceUID: ref for ref in series}
    queries = [(Level.SERIES, _keys(ref, talk.model, "SeriesInstanceUID", COUNT)) for ref in studies.values()]
    if listing:
        queries += [(Level.IMAGE, _image_keys(ref, talk.model)) for ref in series]
    with scratch_folder("expect") as scratch:
        try:
            asker = Asker(talk, scratch, "ISO_IR 192", stop)
            replies = asker.ask_levels(queries, jobs=1, first_must_work=True)
        except ServiceRefusedError:  # it moves but does not find
            replies = [Reply() for _ in queries]
            listing = False
    counts = _counts(replies[: len(studies)])
    lists = replies[len(studies) :] if listing else [None] * len(series)
    most = max((len(reply.answers) for reply in lists if reply is not None), default=0)
    for ref, reply in zip(series, lists, strict=True):
        count = counts.get(ref.SeriesInstanceUID, ref.NumberOfSeriesRelatedInstances)
        note_expectation(database, ref.SeriesInstanceUID, _expectation(reply, count, most, peer))
    if listing and _refused([reply for reply in lists if reply is not None]):
        note_refusal(database, peer, NO_IMAGE_FIND)


def refuses(database: Database, peer: str, what: str) -> bool:
    """Whether a PACS refused a level within the last 30 days."""
    try:
        noted = datetime.fromisoformat(str(database.peer(peer)[what]))
    except (KeyError, ValueError):
        return False
    return noted.tzinfo is not None and datetime.now(timezone.utc) - noted < _REMEMBERED


def note_refusal(database: Database, peer: str, what: str) -> None:
    """Remember that a PACS refuses a level."""
    database.note_peer(peer, {what: datetime.now(timezone.utc).isoformat(timespec="seconds")})


def _keys(ref: SeriesRef, model: QueryModel, *returned: str) -> dict[str, str]:
    keys = {"StudyInstanceUID": str(ref.StudyInstanceUID), **dict.fromkeys(returned, "")}
    if model is QueryModel.PATIENT_ROOT and ref.PatientID:
        keys["PatientID"] = ref.PatientID
    return keys


def _image_keys(ref: SeriesRef, model: QueryModel) -> dict[str, str]:
    return _keys(ref, model, "SOPInstanceUID") | {"SeriesInstanceUID": ref.SeriesInstanceUID}


def _counts(replies: Sequence[Reply]) -> Mapping[UID, int | None]:
    """The count of each series the PACS answered, ``None`` where it gave none."""
    return {
        UID(value_of(answer, "SeriesInstanceUID").strip()): count_in(answer)
        for reply in replies
        for answer in reply.answers
    }


def _expectation(reply: Reply | None, count: int | None, most: int, peer: str) -> Expectation:
    """What a series is expected to be; a list that nothing vouches for, and none at all, leave the count."""
    if reply is None:
        return Expectation(count=count, peer=peer)
    uids = [value_of(answer, "SOPInstanceUID").strip() for answer in reply.answers]
    usable = [UID(uid) for uid in uids if is_uid(uid)]
    listed = frozenset(usable)
    if not listed:
        return Expectation(count=count, peer=peer)
    if reply.error is not None or len(usable) < len(uids):
        return Expectation(listed, count, Completeness.NO, peer)
    capped = may_be_capped(len(uids)) and len(uids) == most
    return Expectation(listed, count, Completeness.UNKNOWN if capped else Completeness.YES, peer)


def _refused(replies: Sequence[Reply]) -> bool:
    """Whether every IMAGE query was refused as such."""
    return bool(replies) and all(reply.status in REFUSALS and not reply.answers for reply in replies)
