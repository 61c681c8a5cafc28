"""Find documents on their way in: px's own and those printed by pypx 3.6.2 to 3.12.6."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pypx.compat.find_args import NO_PEER, peer_of, query_of
from pypx.compat.find_json import unescaped
from pypx.errors import InputError, PeerFailedError
from pypx.model.found import Completeness, FindResult, SeriesFound, StudyFound
from pypx.model.identifiers import UID, parse_uid
from pypx.model.jsontext import JsonTextError, parse_json
from pypx.model.pacs import PacsNode
from pypx.model.query import EMPTY_QUERY
from pypx.model.records import Element, SeriesRef

_TAG = re.compile(r"[0-9a-f]{4},[0-9a-f]{4}", re.IGNORECASE | re.ASCII)
_SHOWN = 200


def parse_document(text: str, source: str = "standard input") -> dict[str, Any]:
    """The JSON object in `text`.

    Parameters
    ----------
    text : one JSON document
    source : where it came from, for the message

    Raises
    ------
    InputError : nothing there, no JSON, or no object
    """
    if not text.strip():
        raise InputError(f"{source} is empty; expected the JSON of `px find --json`")
    try:
        document = parse_json(text)
    except JsonTextError as error:
        expected = "expected the output of `px find --json`"
        raise InputError(
            f"{source} is not JSON ({error}); {expected}", detail=f"{source} is not JSON ({error.detail}); {expected}"
        ) from None
    if not isinstance(document, dict):
        raise InputError(f"{source} holds {_kind(document)}; expected the object that `px find --json` prints")
    return document


def from_document(document: Mapping[str, Any], *, peer: PacsNode | None = None, need_uids: bool = True) -> FindResult:
    """The find result that a document describes.

    Parameters
    ----------
    document : as :func:`parse_document` returns it
    peer : the PACS to take instead of the one named in ``args``
    need_uids : ``False`` takes studies and series without UID too, and leaves the PACS unread: enough for a report, not
        for anything else

    Raises
    ------
    PeerFailedError : the document says that its find failed
    InputError : it is no find document, or lacks what is needed
    """
    _refuse_failure(document)
    if "data" not in document:
        text, expected = "the document has no 'data'", "expected `px find --json`"
        raise InputError(f"{text}; {expected}", detail=f"{text} (its keys: {_keys(document)}); {expected}")
    data = document["data"]
    if not isinstance(data, list):
        problem = f"'data' of the document is {_kind(data)}, not a list of studies"
        raise InputError(problem, detail=f"{problem}: {_short(data)}")
    args = document.get("args")
    known: Mapping[str, Any] = args if isinstance(args, dict) else {}
    problems = document.get("problems")
    return FindResult(
        peer=peer or (peer_of(known) if need_uids else None) or NO_PEER,
        query=query_of(known) if known else EMPTY_QUERY,
        studies=tuple(_study(entry, number, need_uids) for number, entry in enumerate(data)),
        complete=Completeness.NO if document.get("complete") == "no" else Completeness.UNKNOWN,
        problems=tuple(str(problem) for problem in problems) if isinstance(problems, list) else (),
    )


def document_args(document: Mapping[str, Any]) -> dict[str, Any]:
    """The ``args`` of a document without the copy of it that pypx 3 kept there; ``{}`` if it has none."""
    args = document.get("args")
    return {name: value for name, value in args.items() if name != "reportData"} if isinstance(args, dict) else {}


def _refuse_failure(document: Mapping[str, Any]) -> None:
    if "status" not in document:
        return
    status = document["status"]
    if status and not (isinstance(status, str) and "error" in status.lower()):
        return
    said = next((document[key] for key in ("data", "error", "msg") if isinstance(document.get(key), str)), "")
    text = "the document reports a failed find"
    if not said:
        raise PeerFailedError(f"{text}: no reason given")
    raise PeerFailedError(f"{text}; that find told why", detail=f"{text}: {_short(said)}")


def _study(entry: object, number: int, need_uids: bool) -> StudyFound:
    where = f"data[{number}]"
    fields = _object(entry, where)
    uid = _uid(fields, "StudyInstanceUID", where, need_uids)
    series = fields.get("series", [])
    if not isinstance(series, list):
        raise InputError(f"{where}.series of the document is {_kind(series)}, not a list")
    error = fields.get("error")
    return StudyFound(
        StudyInstanceUID=uid,
        elements=tuple(_elements(fields, where)),
        series=tuple(_series(found, uid, f"{where}.series[{index}]", need_uids) for index, found in enumerate(series)),
        error=_text(error, where) or None if error is not None else None,
    )


def _series(entry: object, study: UID, where: str, need_uids: bool) -> SeriesFound:
    fields = _object(entry, where)
    elements = tuple(_elements(fields, where))
    texts = {element.keyword: element.value for element in elements}
    own_study = texts.get("StudyInstanceUID", "")
    if study and own_study and parse_uid(own_study, f"{where}.StudyInstanceUID") != study:
        raise InputError(f"{where} of the document belongs to study {own_study}, not to {study} that holds it")
    ref = SeriesRef(
        StudyInstanceUID=study,
        SeriesInstanceUID=_uid(fields, "SeriesInstanceUID", where, need_uids),
        NumberOfSeriesRelatedInstances=count_of(texts.get("NumberOfSeriesRelatedInstances", "")),
        SeriesDescription=texts.get("SeriesDescription", ""),
    )
    return SeriesFound(ref=ref, elements=elements)


def _elements(fields: Mapping[str, Any], where: str) -> Iterator[Element]:
    """The DICOM attributes among `fields`; bookkeeping such as ``uid`` and ``command`` has no tag."""
    for name, item in fields.items():
        if name in {"series", "error"} or not isinstance(item, dict) or "value" not in item:
            continue
        tag = item.get("tag", "")
        if tag == "" or (isinstance(tag, str) and _TAG.fullmatch(tag)):
            keyword = "" if _TAG.fullmatch(name) else name
            yield Element(tag.lower(), keyword, _text(item, where, name))


def _uid(fields: Mapping[str, Any], name: str, where: str, needed: bool) -> UID:
    value = _text(fields.get(name, ""), f"{where}.{name}")
    if value:
        return parse_uid(value, f"{where}.{name} of the document")
    if needed:
        raise InputError(f"{where} of the document has no {name}; ask for it, the verbs need it")
    return UID("")


def _text(item: object, where: str, name: str = "") -> str:
    value = item.get("value") if isinstance(item, dict) else item
    if value is None:
        return ""
    if isinstance(value, str):
        return _encodable(unescaped(value))
    if isinstance(value, bool | int | float):
        return str(value)
    problem = f"of the document has {_kind(value)} where a text is expected"
    raise InputError(f"{where} {problem}", detail=f"{where}.{name} {problem}" if name else "")


def count_of(text: object) -> int | None:
    """A count as a non-negative whole number, ``None`` for anything else."""
    digits = str(text).strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def _object(entry: object, where: str) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise InputError(f"{where} of the document is {_kind(entry)}, not an object")
    return entry


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _encodable(value: str) -> str:
    """`value` without lone surrogates, which JSON can carry but no file or terminal can take."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _keys(document: Mapping[str, Any]) -> str:
    return _short(", ".join(list(document)[:8])) or "none"


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
