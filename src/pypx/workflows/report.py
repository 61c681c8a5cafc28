"""What to show of a find result: neutral rows that every output format is made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from pypx.errors import InputError
from pypx.model.dataclass import dataclass
from pypx.model.found import FindResult, SeriesFound, StudyFound
from pypx.model.identifiers import UID
from pypx.model.jsontext import JsonTextError, parse_json

SERIES_STATUS = "seriesStatus"
"""The one tag that is no DICOM keyword: the status line of a series."""

Row = tuple[str, str]
"""A tag and its text."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which tags stand where.

    `header_study` and `header_series` are shown once a study (the latter from its first series), `body_series` once a
    series; `csv_body` are the body columns of CSV; `series_special` joins the identifiers of a series in JSON.
    """

    header_study: tuple[str, ...] = (
        "PatientName", "PatientBirthDate", "StudyDate", "PatientAge", "PatientSex", "AccessionNumber", "PatientID",
        "PerformedStationAETitle", "StudyDescription", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
    )  # fmt: skip
    header_series: tuple[str, ...] = ("Modality",)
    body_series: tuple[str, ...] = ("SeriesDescription",)
    csv_body: tuple[str, ...] = ("SeriesDescription", "NumberOfSeriesRelatedInstances")
    series_special: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeriesRows:
    """One series: the rows shown, the CSV cells, and the rows that identify it."""

    body: tuple[Row, ...]
    csv: tuple[Row, ...]
    identity: tuple[Row, ...]
    instances: int | None = None


@dataclass(frozen=True, slots=True)
class StudyBlock:
    """One study: header rows and its series."""

    header: tuple[Row, ...]
    series: tuple[SeriesRows, ...]


def make_layout(
    *,
    layout_json: str = "",
    header_study: str = "",
    header_series: str = "",
    body_series: str = "",
    series_special: str = "",
) -> Layout:
    """The layout that options describe.

    Parameters
    ----------
    layout_json : ``{"header": {"study": […], "series": […]}, "body": {"series": […]}}``; replaces the whole layout
    header_study, header_series, body_series : comma lists, each replaces one part; not looked at with `layout_json`
    series_special : comma list of what joins the identifiers of a series, such as ``seriesStatus``

    Raises
    ------
    InputError : `layout_json` is no such JSON
    """
    special = _tags(series_special)
    if layout_json.strip():
        return replace(_layout_of_json(layout_json), series_special=special)
    layout = Layout(series_special=special)
    if header_study.strip():
        layout = replace(layout, header_study=_tags(header_study))
    if header_series.strip():
        layout = replace(layout, header_series=_tags(header_series))
    if body_series.strip():
        layout = replace(layout, body_series=_tags(body_series), csv_body=_tags(body_series))
    return layout


def _layout_of_json(text: str) -> Layout:
    try:
        described = parse_json(text)
    except JsonTextError as error:
        raise InputError(f"--reportLayout is not JSON ({error})") from None
    header, body = _part(described, "header"), _part(described, "body")
    body_series = _tag_list(body, "series")
    return Layout(
        header_study=_tag_list(header, "study"),
        header_series=_tag_list(header, "series"),
        body_series=body_series,
        csv_body=body_series,
    )


def _part(described: object, name: str) -> Mapping[str, Any]:
    part = described.get(name, {}) if isinstance(described, dict) else None
    if not isinstance(part, dict):
        raise InputError(
            '--reportLayout: expected {"header": {"study": ["…"], "series": ["…"]}, "body": {"series": ["…"]}}'
        )
    return part


def _tag_list(part: Mapping[str, Any], name: str) -> tuple[str, ...]:
    tags = part.get(name, [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise InputError(f"--reportLayout: {name!r} is no list of DICOM keywords")
    return tuple(tags)


def _tags(text: str) -> tuple[str, ...]:
    return tuple(tag.strip() for tag in text.split(",") if tag.strip())


def report(
    result: FindResult, layout: Layout | None = None, statuses: Mapping[UID, str] | None = None
) -> Iterator[StudyBlock]:
    """The blocks of a report, one a study, in order.

    Parameters
    ----------
    result : what a PACS answered
    layout : which tags to show; the default layout if ``None``
    statuses : SeriesInstanceUID to status line, for ``seriesStatus``
    """
    chosen = layout or Layout()
    for study in result.studies:
        yield StudyBlock(
            header=tuple((tag, _study_text(study, tag)) for tag in (*chosen.header_study, *chosen.header_series)),
            series=tuple(_series_rows(study, series, chosen, statuses or {}) for series in study.series),
        )


def _series_rows(study: StudyFound, series: SeriesFound, layout: Layout, statuses: Mapping[UID, str]) -> SeriesRows:
    def rows(tags: tuple[str, ...]) -> tuple[Row, ...]:
        return tuple((tag, _series_text(study, series, tag, statuses)) for tag in tags)

    identity = ("SeriesInstanceUID", "SeriesNumber", "NumberOfSeriesRelatedInstances", *layout.series_special)
    return SeriesRows(
        body=rows(layout.body_series),
        csv=rows(layout.csv_body),
        identity=rows(identity),
        instances=series.ref.NumberOfSeriesRelatedInstances,
    )


def _study_text(study: StudyFound, tag: str) -> str:
    """A header value: of the study, else of its first series, else (an age) worked out."""
    own = study.value(tag) or (study.series[0].value(tag) if study.series else "")
    if own or tag != "PatientAge":
        return own
    return age_at(_study_text(study, "PatientBirthDate"), _study_text(study, "StudyDate"))


def _series_text(study: StudyFound, series: SeriesFound, tag: str, statuses: Mapping[UID, str]) -> str:
    if tag == SERIES_STATUS:
        return statuses.get(series.ref.SeriesInstanceUID, "")
    own = series.value(tag)
    if own or tag != "PatientAge":
        return own
    return _study_text(study, tag)


def age_at(birth: str, day: str) -> str:
    """Age on a day as DICOM writes it, such as ``010Y`` (PS3.5 6.2, VR AS).

    Parameters
    ----------
    birth, day : dates as YYYYMMDD

    Returns
    -------
    Whole days below 7 (``D``), weeks below 30 days (``W``), months below 365 (``M``, of 30 days), else full years;
    ``""`` if a date is missing or no date, or the day lies before the birth.
    """
    try:
        born, then = _date(birth), _date(day)
    except ValueError:
        return ""
    days = (then - born).days
    if days < 0:
        return ""
    if days < 7:
        return f"{days:03d}D"
    if days < 30:
        return f"{days // 7:03d}W"
    if days < 365:
        return f"{days // 30:03d}M"
    years = then.year - born.year - ((then.month, then.day) < (born.month, born.day))
    return f"{max(years, 1):03d}Y"


def _date(text: str) -> date:
    digits = text.strip().replace("-", "").replace(".", "")
    if len(digits) != 8 or not digits.isascii() or not digits.isdigit():
        raise ValueError(text)
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
