"""px-find and px-do: a query, and the verbs that run over what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pypx.compat.feedback import Feedback
from pypx.compat.find_args import FIND_ARGS, NO_PEER, merge_args, peer_of
from pypx.compat.find_json import error_document, to_document
from pypx.compat.find_read import document_args, from_document
from pypx.compat.legacy_call import Answer, Call, Document
from pypx.compat.legacy_options import LATER
from pypx.compat.then_json import to_document as then_document
from pypx.db.smdb import Database
from pypx.errors import CubeError, InputError, PartialError, PeerError, PeerFailedError, PxError, StorageError
from pypx.model.keywords import LEGACY_KEYS
from pypx.model.outcomes import FindResult, MoveOutcome, PushOutcome, RegisterOutcome
from pypx.model.pacs import PacsNode
from pypx.model.query import Query
from pypx.services.dicomfile import keyword_info
from pypx.workflows.chain import VERBS, ChainOptions, ChainResult, Event, run_chain
from pypx.workflows.find import build_query
from pypx.workflows.find import find as ask
from pypx.workflows.move import parse_delay
from pypx.workflows.then import Step, parse_then, public_args

_NO_KEYWORDS = frozenset((*LATER, "QueryRetrieveLevel", "JSONargString"))
_PEER_NAMES = {"aet": "calling_aet", "aec": "called_aet", "serverIP": "host", "serverPort": "port"}


def find(call: Call) -> Answer:
    """Ask the PACS, run the verbs of ``then``, and make the document of px-find.

    It never raises: what went wrong stands in the document and in the answer.
    """
    try:
        node = call.node()
        query = _query(call)
        steps = () if query.study_only else _steps(call)
        database = _database(call, steps)
        limits, programs = call.limits(), call.programs()
    except PxError as error:
        return Answer(_refused(error), error)
    given = _given(call, node)
    try:
        result = ask(query, node, limits=limits, programs=programs)
    except PeerError as error:
        return Answer(error_document(error, query, node, given), error)
    except PxError as error:
        return Answer(_refused(error), error)
    trouble: PxError | None = PartialError(f"incomplete: {result.problems[0]}") if result.problems else None
    if database is None:
        return Answer(to_document(result, given), trouble)
    then, failed = _run(call, result, steps, database, node)
    return Answer(to_document(result, given, then), trouble or failed)


def do(call: Call, document: Mapping[str, Any]) -> Answer:
    """Run the verbs of ``then`` over a find document, and make the document of px-do.

    Options that were given go before those of the document, these before defaults.
    """
    try:
        result = from_document(document)
        defaults = {name: value for name, value in call.options.items() if name not in call.given}
        own = {name: call.options[name] for name in call.given}
        args = merge_args(own, document_args(document), {**defaults, **_peerless(document)})
        merged = Call(args, set(args), call.environ, call.show, call.say, call.colour, call.aet, call.aec)
        steps = _steps(merged)
        if not steps:
            raise InputError(f"nothing to do: give --then VERB,... ({', '.join(VERBS)})")
        asks = any(VERBS[step.verb].needs_pacs for step in steps)
        password = call.environ.get("PX_TLS_KEY_PASSWORD")
        node = (peer_of(args, password) or merged.node()) if asks else NO_PEER
        database = _database(_without_default(merged, document, call), steps)
    except PxError as error:
        return Answer({"do": False, "status": False, "error": str(error)}, error)
    then, failed = _run(merged, result, steps, database or Database.open(merged.layout()), node)
    return Answer(then, failed)


def _peerless(document: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing of a PACS comes from defaults; a document that names none leaves it open."""
    return dict.fromkeys(_PEER_NAMES, "") if "args" not in document else {}


def _without_default(merged: Call, document: Mapping[str, Any], call: Call) -> Call:
    """The call without a database that is only the default of the find that wrote the document."""
    named = document_args(document).get("dblogbasepath")
    if "dblogbasepath" in call.given or named not in (None, "", FIND_ARGS["dblogbasepath"]):
        return merged
    given = set(merged.given) - {"dblogbasepath"}
    return Call(merged.options, given, call.environ, call.show, call.say, call.colour, call.aet, call.aec)


def _query(call: Call) -> Query:
    match = {
        name: str(value)
        for name, value in call.options.items()
        if name in call.given and value not in (None, "") and is_matching_key(name)
    }
    return build_query(
        match, return_keys=call.words("QueryReturnTags") or None, study_only=call.flag("StudyOnly")
    )  # fmt: skip


def is_matching_key(name: str) -> bool:
    """Whether an option names a DICOM attribute to match on."""
    if name in LEGACY_KEYS or name in _NO_KEYWORDS:
        return name not in _NO_KEYWORDS
    if len(name) < 4 or not (name[0].isupper() and name[1].islower()):
        return False
    try:
        keyword_info(name)
    except InputError:
        return False
    return True


def _steps(call: Call) -> tuple[Step, ...]:
    steps = parse_then(call.text("then"), call.text("thenArgs"))
    parse_delay(call.text("intraSeriesRetrieveDelay", "0"))
    for step in steps:
        if step.verb not in VERBS:
            raise InputError(f"--then: {step.verb!r} is no verb; px knows {', '.join(VERBS)}")
    return steps


def _database(call: Call, steps: tuple[Step, ...]) -> Database | None:
    return Database.open(call.layout()) if steps else None


def _given(call: Call, node: PacsNode) -> dict[str, Any]:
    """The options as they stand in ``args``."""
    values = {name: value for name, value in call.options.items() if name not in LATER or call.flag(name)}
    values |= {name: str(getattr(node, field)) for name, field in _PEER_NAMES.items()}
    if call.text("thenArgs") and not call.flag("StudyOnly"):
        values["thenArgs"] = public_args(call.text("then"), call.text("thenArgs"))
    if call.flag("withFeedBack"):
        values["json"] = False
    return values


def _run(
    call: Call, result: FindResult, steps: tuple[Step, ...], database: Database, node: PacsNode
) -> tuple[Document, PxError | None]:
    """Run the verbs; their document, and what failed of them."""
    options = ChainOptions(
        delay=parse_delay(call.text("intraSeriesRetrieveDelay", "0")),
        limits=call.limits(),
        programs=call.programs(),
        counted=True,
        environ=call.environ,
        notice=call.say,
    )
    try:
        chain = run_chain(
            result, steps, database=database, node=node, options=options, on_event=_teller(call, result, database)
        )
    except PxError as error:
        return {"do": False, "status": "error", "error": str(error)}, error
    return then_document(chain, database), _trouble(chain)


def _trouble(chain: ChainResult) -> PxError | None:
    """What failed of a chain; of a verb that failed for every series, the error that says so."""
    failed = chain.failed
    if not failed:
        return None
    text = f"{failed[0]} (and {len(failed) - 1} more)" if len(failed) > 1 else failed[0]
    for done in chain.verbs:
        for kind, (error, came) in _ALL_FAILED.items():
            outcomes = [one for _, of_study in done.studies for one in of_study if isinstance(one, kind)]
            if outcomes and not any(came(one) for one in outcomes):
                return error(text)
    return PartialError(text)


_ALL_FAILED: Mapping[type, tuple[type[PxError], Callable[[Any], object]]] = {
    MoveOutcome: (PeerFailedError, lambda one: one.ok or one.counts.completed or one.counts.warning),
    PushOutcome: (StorageError, lambda one: one.ok or one.done),
    RegisterOutcome: (CubeError, lambda one: one.ok or one.registered),
}
"""Per outcome: the error of a verb by which nothing came about, and whether something has."""


def _teller(call: Call, result: FindResult, database: Database) -> Callable[[Event], None] | None:
    if not call.flag("withFeedBack"):
        return None
    feedback = Feedback(result, database, colour=call.colour)
    return lambda event: call.show(feedback.text(event))


def _refused(error: PxError) -> Document:
    """The document of a find that did not come to ask."""
    return {"status": "error", "data": f"{error}\n", "command": "", "returncode": error.exit_code}
