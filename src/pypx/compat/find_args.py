"""The ``args`` of pypx 3's find document: option names and values, both directions.

The names are the argument names of px-find 3.6.2, in its order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pypx.errors import InputError
from pypx.model.found import FindResult
from pypx.model.identifiers import AETitle, parse_ae_title, parse_host, parse_port
from pypx.model.keywords import Level
from pypx.model.pacs import PacsNode
from pypx.model.query import MatchingKey, Query
from pypx.model.tls import TLS_FIELDS, tls_fields, tls_of

FIND_ARGS: Mapping[str, Any] = {
    "JSONargString": "",
    "dblogbasepath": "/tmp/log",  # noqa: S108 - a default that pypx printed, never opened
    "PACS": "",
    "CUBE": "",
    "swift": "",
    "aet": "",
    "aec": "",
    "serverIP": "",
    "serverPort": "",
    "findscu": "/usr/bin/findscu",
    "movescu": "/usr/bin/movescu",
    "AccessionNumber": "",
    "PatientID": "",
    "PatientName": "",
    "PatientSex": "",
    "StudyDate": "",
    "ModalitiesInStudy": "",
    "Modality": "",
    "PerformedStationAETitle": "",
    "StudyDescription": "",
    "SeriesDescription": "",
    "SeriesInstanceUID": "",
    "StudyInstanceUID": "",
    "ProtocolName": "",
    "AcquisitionProtocolName": "",
    "AcquisitionProtocolDescription": "",
    "withFeedBack": False,
    "then": "",
    "thenArgs": "",
    "intraSeriesRetrieveDelay": "0",
    "move": False,
    "json": True,
    "verbosity": 1,
    "desc": False,
    "synopsis": False,
    "b_version": False,
    "b_waitForUserTerminate": False,
}
"""Names and defaults of px-find 3.6.2; the address and the titles have no default here."""

NO_PEER = PacsNode(host="", port=0, called_aet=AETitle(""), calling_aet=AETitle(""), move_destination=AETitle(""))
"""Stands for the PACS of a document that does not name one; nothing can be asked of it."""

_NOT_MERGED = frozenset({"json", "withFeedBack", "reportData", "reportDataFile"})
_RUN_VALUES = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "QueryRetrieveLevel"})


def find_args(result: FindResult, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The ``args`` block of a result: defaults, then what the query and the PACS were, then `given`.

    As pypx did, ``QueryRetrieveLevel`` and ``StudyInstanceUID`` hold what they held at the end of the run: the level of
    the last request and the last study.
    """
    args = dict(FIND_ARGS)
    node = result.peer
    args.update(aet=str(node.calling_aet), aec=str(node.called_aet), serverIP=node.host, serverPort=str(node.port))
    args.update(tls_fields(node.tls))
    args.update({key.keyword: key.value for key in result.query.match})
    if result.query.return_keys is not None:
        args["QueryReturnTags"] = ",".join(result.query.return_keys)
    args.update({name: value for name, value in (given or {}).items() if name != "reportData"})
    args["QueryRetrieveLevel"] = (Level.SERIES if result.studies else Level.STUDY).value
    if result.studies:
        args["StudyInstanceUID"] = result.studies[-1].StudyInstanceUID
    return args


def then_args(result: FindResult, verbs: tuple[str, ...]) -> dict[str, Any]:
    """What the verbs of ``--then`` left in ``args``: the last series, and the flags they forced.

    The copy of the whole document that pypx put into ``args.reportData`` is left out (it more than doubled the output).
    """
    if not result.series:
        return {}
    last = result.series[-1].ref
    left: dict[str, Any] = {"SeriesInstanceUID": last.SeriesInstanceUID}
    if "retrieve" in verbs:
        left.update(series_uid=last.SeriesInstanceUID, study_uid=last.StudyInstanceUID)
    if "status" in verbs:
        left["verifySeriesInStudy"] = True
    return left


def peer_of(args: Mapping[str, Any], tls_password: str | None = None) -> PacsNode | None:
    """The PACS that `args` name, ``None`` if address or titles are missing.

    No document has the passphrase of our key: `tls_password`.

    Raises
    ------
    InputError : one of them is there but unusable
    """
    names = ("serverIP", "serverPort", "aec", "aet")
    host, port, called, calling = (_text(args.get(name)) for name in names)
    if not (host and port and called and calling):
        return None
    own = parse_ae_title(calling, "args.aet")
    return PacsNode(
        host=parse_host(host, "args.serverIP"),
        port=parse_port(port, "args.serverPort"),
        called_aet=parse_ae_title(called, "args.aec"),
        calling_aet=own,
        move_destination=own,
        tls=tls_of({field: _text(args.get(field)) for field in TLS_FIELDS}, {}, tls_password, what="args.tls"),
    )


def query_of(args: Mapping[str, Any]) -> Query:
    """The query that `args` describe.

    The UIDs are left out, since pypx overwrote them in the run; so is what is no valid matching value: it has been
    answered already and is only repeated.
    """
    match = []
    for name, value in args.items():
        keyword = len(name) > 2 and name[0].isupper() and name[1].islower()
        if keyword and isinstance(value, str) and value and name not in _RUN_VALUES and name != "QueryReturnTags":
            try:
                match.append(MatchingKey(name, "", value))
            except InputError:
                continue
    tags = _text(args.get("QueryReturnTags"))
    return_keys = tuple(tag.strip() for tag in tags.split(",") if tag.strip()) or None
    return Query(match=tuple(match), return_keys=return_keys, study_only=args.get("StudyOnly") is True)


def merge_args(given: Mapping[str, Any], document: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Join the options of a px do with those of the document it reads.

    An option given explicitly wins over the document's, which wins over the default.  Values of the document that are
    empty do not count, and how its find printed its result (``json``, ``withFeedBack``) never does.

    Parameters
    ----------
    given : options that stand on the command line or in the environment
    document : the ``args`` of the find document
    defaults : the rest
    """
    merged = dict(defaults)
    merged.update({name: value for name, value in document.items() if name not in _NOT_MERGED and _text(value)})
    merged.update(given)
    return merged


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
