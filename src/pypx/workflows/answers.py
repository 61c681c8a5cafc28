"""Answers of a PACS, as studies and series."""

from __future__ import annotations

from dataclasses import replace

from pypx.model.found import SeriesFound, StudyFound
from pypx.model.identifiers import UID, is_uid
from pypx.model.records import Element, SeriesRef

Answer = tuple[Element, ...]

COUNT = "NumberOfSeriesRelatedInstances"
_COUNT_TAG = "0020,1209"
_MOST = 10**9


def value_of(answer: Answer, keyword: str) -> str:
    """Text of an attribute, ``""`` if the answer has none."""
    return next((element.value for element in answer if element.keyword == keyword), "")


def joined(upper: Answer, answer: Answer) -> Answer:
    """An answer with what only the answer of the level above says."""
    known = {element.tag for element in answer}
    added = [element for element in upper if element.tag not in known]
    return tuple(sorted([*answer, *added], key=lambda element: element.tag)) if added else answer


def study_of(answer: Answer) -> StudyFound | None:
    """The study an answer describes; ``None`` if it has no usable UID."""
    uid = value_of(answer, "StudyInstanceUID").strip()
    return StudyFound(UID(uid), answer) if is_uid(uid) else None


def series_of(answer: Answer, asked_for: StudyFound) -> SeriesFound | None:
    """The series an answer describes; ``None`` if it has no usable UID.

    Its study is the one the answer names, else the one that was asked for.
    """
    uid = value_of(answer, "SeriesInstanceUID").strip()
    study = value_of(answer, "StudyInstanceUID").strip() or asked_for.StudyInstanceUID
    if not is_uid(uid) or not is_uid(study):
        return None
    patient = asked_for.value("PatientID") if study == asked_for.StudyInstanceUID else ""
    ref = SeriesRef(UID(study), UID(uid), count_in(answer), value_of(answer, "SeriesDescription"), patient)
    return SeriesFound(ref, answer)


def count_in(answer: Answer) -> int | None:
    """NumberOfSeriesRelatedInstances of an answer; ``None`` if it is absent, empty or no count."""
    return number_in(answer, COUNT)


def number_in(answer: Answer, keyword: str) -> int | None:
    """The number that an attribute holds; ``None`` if it is absent, empty or no count."""
    text = value_of(answer, keyword).strip()
    if not text.isascii() or not text.isdigit():
        return None
    count = int(text[:20])
    return count if count <= _MOST else None


def with_count(series: SeriesFound, count: int) -> SeriesFound:
    """The series with a number of instances that we counted ourselves."""
    others = [element for element in series.elements if element.tag != _COUNT_TAG]
    elements = sorted([*others, Element(_COUNT_TAG, COUNT, str(count))], key=lambda element: element.tag)
    return SeriesFound(replace(series.ref, NumberOfSeriesRelatedInstances=count), tuple(elements))
