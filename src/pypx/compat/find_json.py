"""A find result as pypx 3 printed it: ``px-find --json``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pypx.compat.commands import FINDSCU, find_command
from pypx.compat.find_args import find_args, then_args
from pypx.errors import PeerError, PeerRejectedError, PeerUnreachableError
from pypx.model.found import Completeness, FindResult, SeriesFound, StudyFound
from pypx.model.keywords import LEGACY_KEYS, Level
from pypx.model.pacs import PacsNode
from pypx.model.query import Query
from pypx.model.records import Element

TAGS: Mapping[str, str] = {
    "StudyDate": "0008,0020",
    "SeriesDate": "0008,0021",
    "AccessionNumber": "0008,0050",
    "QueryRetrieveLevel": "0008,0052",
    "Modality": "0008,0060",
    "ModalitiesInStudy": "0008,0061",
    "StudyDescription": "0008,1030",
    "SeriesDescription": "0008,103e",
    "PatientName": "0010,0010",
    "PatientID": "0010,0020",
    "PatientBirthDate": "0010,0030",
    "PatientSex": "0010,0040",
    "PatientAge": "0010,1010",
    "ProtocolName": "0018,1030",
    "AcquisitionProtocolName": "0018,9423",
    "AcquisitionProtocolDescription": "0018,9424",
    "StudyInstanceUID": "0020,000d",
    "SeriesInstanceUID": "0020,000e",
    "InstanceNumber": "0020,0013",
    "NumberOfPatientRelatedStudies": "0020,1200",
    "NumberOfPatientRelatedSeries": "0020,1202",
    "NumberOfPatientRelatedInstances": "0020,1204",
    "NumberOfStudyRelatedSeries": "0020,1206",
    "NumberOfStudyRelatedInstances": "0020,1208",
    "NumberOfSeriesRelatedInstances": "0020,1209",
    "PerformedStationAETitle": "0040,0241",
}
"""Tags of the keys that every entry has (PS3.6), so that no dictionary need be loaded to print a document."""

_NO_VALUE = re.compile(r"no value provided for [0-9a-f]{4},[0-9a-f]{4}", re.IGNORECASE | re.ASCII)

_COUNTED = frozenset(name for name in LEGACY_KEYS if name.startswith("NumberOf")) | {"ModalitiesInStudy"}


def to_document(
    result: FindResult,
    args: Mapping[str, Any] | None = None,
    then: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The find document of `result`.

    Parameters
    ----------
    result : what the PACS answered; studies without a matching series are left out, as pypx did
    args : options as given, by pypx's argument names; the rest is filled in
    then : the document of the ``--then`` verbs that ran (:mod:`pypx.compat.then_json`)

    Returns
    -------
    ``status``, ``command``, ``data``, ``args`` and with `then` also ``then``; with ``--StudyOnly`` ``status``,
    ``data``, ``command`` and ``returncode``.  What is missing from the answer stands in ``problems``, a key that only
    documents with gaps have.
    """
    program = str((args or {}).get("findscu") or FINDSCU)
    command = find_command(result.query, result.peer, program=program)
    studies = [
        _study_entry(result, study, number, program)
        for number, study in enumerate(result.studies)
        if study.series or study.error or result.query.study_only
    ]
    if result.query.study_only:
        document: dict[str, Any] = {"status": "success", "data": studies, "command": command, "returncode": 0}
    else:
        document = {"status": "success", "command": command, "data": studies, "args": find_args(result, args)}
        if then is not None:
            verbs = tuple(key.partition("-")[2] for key in then if key != "do")
            document["args"].update(then_args(result, verbs))
            document["then"] = dict(then)
    if result.problems:
        document["problems"] = list(result.problems)
    if result.complete is Completeness.NO:
        document["complete"] = result.complete.value
    return document


def error_document(
    error: PeerError, query: Query, node: PacsNode, args: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The document of a find whose PACS could not be asked: ``data`` is a text."""
    program = str((args or {}).get("findscu") or FINDSCU)
    return {
        "status": "error",
        "data": f"{error}\n",
        "command": find_command(query, node, program=program),
        "returncode": 2 if isinstance(error, PeerUnreachableError | PeerRejectedError) else 1,
    }


def escaped(value: str) -> str:
    """A value as documents hold it: the very sentence that pypx wrote for an absent value gets a blank behind it."""
    return f"{value} " if _NO_VALUE.fullmatch(value) else value


def unescaped(value: str) -> str:
    """The inverse of `escaped`; the sentence itself, which only pypx wrote, is the empty value."""
    if _NO_VALUE.fullmatch(value):
        return ""
    return value[:-1] if _NO_VALUE.fullmatch(value[:-1]) and value.endswith(" ") else value


def _study_entry(result: FindResult, study: StudyFound, number: int, program: str) -> dict[str, Any]:
    first = study.series[0] if study.series else None
    borrowed = (element for element in first.elements if element.keyword not in _COUNTED) if first else ()
    entry = _entry(result.query, number, Level.STUDY, study.elements, borrowed)
    if study.error:
        entry["error"] = _item(0, study.error, "error")
    if not result.query.study_only:
        entry["series"] = [
            _series_entry(result, study, series, index, program) for index, series in enumerate(study.series)
        ]
    return entry


def _series_entry(
    result: FindResult, study: StudyFound, series: SeriesFound, number: int, program: str
) -> dict[str, Any]:
    borrowed = (element for element in study.elements if element.keyword not in _COUNTED)
    entry = _entry(result.query, number, Level.SERIES, series.elements, borrowed)
    command = find_command(result.query, result.peer, study=study.StudyInstanceUID, program=program)
    entry["label"] = _item(0, Level.SERIES.value, "RetrieveLevel")
    entry["command"] = _item(0, command, "command")
    entry["status"] = _item(0, "success", "status")
    return entry


def _entry(
    query: Query, number: int, level: Level, own: tuple[Element, ...], borrowed: Iterable[Element]
) -> dict[str, Any]:
    """One entry in tag order: the level's own answers, `borrowed` ones of pypx's keys, and ``""`` for the rest."""
    shown = frozenset(LEGACY_KEYS if query.return_keys is None else query.return_keys) | {"QueryRetrieveLevel"}
    found = {element.keyword or element.tag: element for element in own}
    for element in borrowed:
        if element.keyword in shown and not (element.keyword in found and found[element.keyword].value):
            found[element.keyword] = element
    for keyword in shown & TAGS.keys():
        found.setdefault(keyword, Element(TAGS[keyword], keyword, ""))
    found["QueryRetrieveLevel"] = Element(TAGS["QueryRetrieveLevel"], "QueryRetrieveLevel", level.value)
    entry: dict[str, Any] = {"uid": _item(0, number, "uid")}
    entry.update(
        (name, _item(element.tag, escaped(element.value), name))
        for name, element in sorted(found.items(), key=lambda item: item[1].tag)
    )
    return entry


def _item(tag: str | int, value: str | int, label: str) -> dict[str, Any]:
    return {"tag": tag, "value": value, "label": label}
