"""Outcomes as rows of a table and as flat records; where they go is the console's business."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pypx.cli import console
from pypx.cli.console import Console
from pypx.model.found import FindResult, StudyFound
from pypx.model.records import Element

_PATIENT_COLUMNS = ("PatientID", "PatientName", "StudyDate")
_STUDY_COLUMNS = (
    "ModalitiesInStudy", "StudyDescription", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
)  # fmt: skip
_SERIES_COLUMNS = ("Modality", "SeriesNumber", "SeriesDescription", "NumberOfSeriesRelatedInstances")
_SHORT = {
    "NumberOfStudyRelatedSeries": "Series",
    "NumberOfStudyRelatedInstances": "Images",
    "NumberOfSeriesRelatedInstances": "Images",
}


def found_records(result: FindResult) -> Iterator[dict[str, str]]:
    """One flat record a series, or a study where no series were asked for: keyword to value."""
    for study in result.studies:
        base = _fields(study.elements) | {"StudyInstanceUID": study.StudyInstanceUID}
        if result.query.study_only:
            yield base
            continue
        for series in study.series:
            own = {name: value for name, value in _fields(series.elements).items() if value or name not in base}
            yield base | own | {"SeriesInstanceUID": series.ref.SeriesInstanceUID}


def _fields(elements: Iterable[Element]) -> dict[str, str]:
    return {element.keyword or element.tag: element.value for element in elements}


def show_found(result: FindResult, out: Console) -> None:
    """Show what a PACS has: a table a study on a terminal, a row a series in a pipe, or a record a line."""
    if out.jsonl:
        for record in found_records(result):
            out.record(record)
    elif result.query.return_keys is None and not result.query.study_only and console.is_terminal():
        for study in result.studies:
            _show_study(study, out, _asked(result))
    else:
        columns = _columns(result)
        rows = ([record.get(name, "") for name in columns] for record in found_records(result))
        out.table([_SHORT.get(name, name) for name in columns], rows)
    out.note(_summary(result))


def _summary(result: FindResult) -> str:
    if not result.studies:
        return f"no match at {result.peer}"
    studies = _count(len(result.studies), "study", "studies")
    series = "" if result.query.study_only else f"{_count(len(result.series), 'series', 'series')} in "
    return f"{series}{studies} at {result.peer}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _asked(result: FindResult) -> list[str]:
    known = {*_PATIENT_COLUMNS, *_STUDY_COLUMNS, *_SERIES_COLUMNS, "StudyInstanceUID", "SeriesInstanceUID"}
    return [key.keyword for key in result.query.match if key.keyword not in known]


def _columns(result: FindResult) -> list[str]:
    uids = ["StudyInstanceUID"] if result.query.study_only else ["StudyInstanceUID", "SeriesInstanceUID"]
    if result.query.return_keys is not None:
        return [name for name in result.query.return_keys if name not in uids] + uids
    level = _STUDY_COLUMNS if result.query.study_only else _SERIES_COLUMNS
    return [*_PATIENT_COLUMNS, *level, *_asked(result), *uids]


def _show_study(study: StudyFound, out: Console, more: Sequence[str]) -> None:
    heading = ("PatientID", "PatientName", "StudyDate", "StudyDescription")
    title = "  ".join(value for value in (study.value(name) for name in heading) if value)
    columns = [*_SERIES_COLUMNS, *more, "SeriesInstanceUID"]
    rows = [
        [series.value(name) or study.value(name) for name in columns[:-1]] + [series.ref.SeriesInstanceUID]
        for series in study.series
    ]
    out.table([_SHORT.get(name, name) for name in columns], rows, f"{title}\n{study.StudyInstanceUID}")


MOVE_COLUMNS = (
    "state", "expected", "received", "missing", "conflicts", "asked", "status", "completed", "failed", "warning",
    "StudyInstanceUID", "SeriesInstanceUID", "error",
)  # fmt: skip
STATUS_COLUMNS = (
    "state", "expected", "received", "packed", "missing", "pushed", "registered", "conflicts", "StudyInstanceUID",
    "SeriesInstanceUID",
)  # fmt: skip


_SELDOM = ("failed", "warning", "pushed", "registered", "conflicts")


def show_records(columns: Sequence[str], records: Iterable[Mapping[str, Any]], out: Console) -> None:
    """Show some fields of flat records as a table; what is unknown is a dash, of a list its length is shown.

    On a terminal, which is narrow, descriptions stand for studies, counts that are all 0 are left out, and errors
    stand below the table.
    """
    kept = list(records)
    if console.is_terminal():
        hidden = {"error"} | {name for name in _SELDOM if not any(record.get(name) for record in kept)}
        columns = [{"StudyInstanceUID": "SeriesDescription"}.get(name, name) for name in columns if name not in hidden]
    out.table(columns, ([_cell(record.get(name)) for name in columns] for record in kept))
    for record in kept:
        if record.get("error") and "error" not in columns:
            out.note(f"{record['SeriesInstanceUID']}: {record['error']}")


def _cell(value: object) -> str:
    if isinstance(value, list):
        return str(len(value))
    return "-" if value is None else str(value)
