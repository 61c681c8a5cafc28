"""What a chain did, as pypx 3 printed it: ``then`` of px-find, the whole output of px-do."""

from __future__ import annotations

from typing import Any

from pypx.compat import push_json, register_json
from pypx.compat.move_json import move_document
from pypx.compat.status_json import status_document
from pypx.db.smdb import Database
from pypx.model.outcomes import MoveOutcome, PushOutcome, RegisterOutcome, SeriesStatus
from pypx.model.peers import PacsNode
from pypx.workflows.chain import ChainResult, Outcome, VerbResult


def to_document(chain: ChainResult, database: Database) -> dict[str, Any]:
    """The ``then`` document.

    Returns
    -------
    ``do`` (whether a study was looked at) and per verb, keyed ``00-retrieve``, ``01-status``: ``study``, a list with
    one object per study, whose only key is its StudyInstanceUID and whose value lists a result per series, in order
    """
    document: dict[str, Any] = {"do": any(done.studies for done in chain.verbs)}
    for position, done in enumerate(chain.verbs):
        document[f"{position:02d}-{done.verb}"] = {"study": _studies(done, chain.node, database)}
    return document


def _studies(done: VerbResult, node: PacsNode, database: Database) -> list[dict[str, Any]]:
    return [
        {study.StudyInstanceUID: [outcome_document(outcome, node, database) for outcome in outcomes]}
        for study, outcomes in done.studies
    ]


def outcome_document(outcome: Outcome, node: PacsNode, database: Database) -> dict[str, Any]:
    """The result of one verb for one series."""
    if isinstance(outcome, MoveOutcome):
        return move_document(outcome, node, series_first=True)
    if isinstance(outcome, SeriesStatus):
        return status_document(outcome, database, verify=True)
    if isinstance(outcome, PushOutcome):
        return push_json.to_document([outcome])
    return register_json.to_document([outcome]) if isinstance(outcome, RegisterOutcome) else {}
