"""Attribute matching of C-FIND (PS3.4 C.2.2.2) and the hierarchy of unique keys (C.4.1.2.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from scripted_pacs.archive import LEVELS, Archive, Entry, Study
from scripted_pacs.script import Script
from scripted_pacs.storing import CT

UNIQUE = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_RANGES = {"StudyDate", "StudyTime", "PatientBirthDate"}
_EXACT = {"InstanceNumber", "SeriesNumber", *UNIQUE.values()} - {"PatientID"}
_NOT_MATCHED = {"QueryRetrieveLevel", "SpecificCharacterSet", "RetrieveAETitle", "InstanceAvailability"}


class IdentifierError(ValueError):
    """An identifier that does not fit the SOP class: status A900."""


def attributes(entry: Entry, script: Script) -> dict[str, str]:
    """What the archive tells of an entry, by keyword; an attribute it says nothing about is absent."""
    patient, study, series, instance = entry.patient, entry.study, entry.series, entry.instance
    found: dict[str, str] = {
        "PatientID": patient.PatientID,
        "PatientName": patient.PatientName,
        "PatientBirthDate": patient.PatientBirthDate,
        "PatientSex": patient.PatientSex,
        "NumberOfPatientRelatedStudies": str(len(patient.studies)),
    }
    if study is not None:
        found |= {
            "StudyInstanceUID": study.StudyInstanceUID,
            "StudyDate": study.StudyDate,
            "StudyTime": study.StudyTime,
            "AccessionNumber": study.AccessionNumber,
            "StudyDescription": study.StudyDescription,
            "StudyID": "1",
            "ReferringPhysicianName": "",
            "ModalitiesInStudy": "\\".join(sorted({one.Modality for one in study.series})),
            "NumberOfStudyRelatedSeries": str(len(study.series)),
            **_number("NumberOfStudyRelatedInstances", _study_count(study, script)),
        }
    if series is not None:
        found |= {
            "SeriesInstanceUID": series.SeriesInstanceUID,
            "SeriesNumber": str(series.SeriesNumber),
            "SeriesDescription": series.SeriesDescription,
            "Modality": series.Modality,
            **_number("NumberOfSeriesRelatedInstances", script.claimed(series)),
        }
    if instance is not None:
        found |= {
            "SOPInstanceUID": instance.SOPInstanceUID,
            "SOPClassUID": CT,
            "InstanceNumber": str(instance.InstanceNumber),
        }
    return found


def _number(keyword: str, count: int | str | None) -> dict[str, str]:
    return {} if count is None else {keyword: str(count)}


def _study_count(study: Study, script: Script) -> int | str | None:
    total = 0
    for series in study.series:
        claimed = script.claimed(series)
        if not isinstance(claimed, int):
            return claimed
        total += claimed
    return total


def found(archive: Archive, script: Script, level: str, model: str, keys: Mapping[str, str]) -> Iterator[Entry]:
    """Entries that a query matches; IdentifierError if a unique key above its level is not one value."""
    _check_hierarchy(level, model, keys)
    for entry in archive.entries(level):
        if entry.instance is not None and entry.instance.SOPInstanceUID in script.unlisted:
            continue
        values = attributes(entry, script)
        if all(keyword not in values or _matches(keyword, values[keyword], want) for keyword, want in keys.items()):
            yield entry


def targets(archive: Archive, level: str, model: str, keys: Mapping[str, str]) -> list[Entry]:
    """Instances that a C-MOVE asks for: the unique keys down to its level, the lowest a list (PS3.4 C.4.2.2.1)."""
    _check_hierarchy(level, model, keys)
    used = [UNIQUE[name] for name in LEVELS[: LEVELS.index(level) + 1] if keys.get(UNIQUE[name])]
    if UNIQUE[level] not in used:
        raise IdentifierError(f"a C-MOVE at {level} level without {UNIQUE[level]}")
    honest = Script()
    return [
        entry
        for entry in archive.entries("IMAGE")
        if all(attributes(entry, honest)[key] in keys[key].split("\\") for key in used)
    ]


def _check_hierarchy(level: str, model: str, keys: Mapping[str, str]) -> None:
    if level not in LEVELS or (level == "PATIENT" and model != "patient"):
        raise IdentifierError(f"there is no level {level!r} in the {model} root model")
    first = 0 if model == "patient" else 1
    for name in LEVELS[first : LEVELS.index(level)]:
        value = keys.get(UNIQUE[name], "")
        if not value or "\\" in value or "*" in value or "?" in value:
            raise IdentifierError(f"a query at {level} level needs one {UNIQUE[name]}")


def _matches(keyword: str, value: str, want: str) -> bool:
    if not want or keyword in _NOT_MATCHED or keyword.startswith("NumberOf"):
        return True  # universal matching; counts are return keys only
    if keyword in _RANGES and "-" in want:
        low, _, high = want.partition("-")
        return bool(value) and (not low or value >= low) and (not high or value[: len(high)] <= high)
    if keyword in _EXACT or keyword in _RANGES:
        return value in want.split("\\")
    pattern = "|".join(_wildcards(one) for one in want.split("\\"))
    flags = re.IGNORECASE if keyword.endswith("Name") else 0
    return any(re.fullmatch(pattern, one, flags | re.DOTALL) for one in value.split("\\"))


def _wildcards(text: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in text)
