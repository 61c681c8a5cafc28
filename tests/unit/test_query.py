from __future__ import annotations

import pytest

from pypx.errors import InputError
from pypx.model.keywords import IMAGE_KEYS, PATIENT_KEYS, STUDY_KEYS, Level, level_of
from pypx.model.query import MatchingKey, Query


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("20240131", "20240131"),
        ("2024-01-31", "20240131"),
        ("2024/01/31", "20240131"),
        ("20240101-20240131", "20240101-20240131"),
        ("2024-01-01 - 2024-01-31", "20240101-20240131"),
        ("2024-01-01-2024-01-31", "20240101-20240131"),
        ("20240101-", "20240101-"),
        ("-20240131", "-20240131"),
        ("20240229", "20240229"),
        ("", ""),
    ],
)
def test_dates_and_ranges(given: str, sent: str) -> None:
    assert MatchingKey("StudyDate", "DA", given).value == sent


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("20240230", "not a day"),
        ("20240131-20240101", "ends before it begins"),
        ("yesterday", "no date"),
        ("-", "no date"),
        ("2024", "no date"),
        ("2024010120240131", "no date|range"),
        ("20240101--20240131", "no date"),
        ("20241301", "not a day"),
    ],
)
def test_impossible_dates_name_the_key(given: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"StudyDate.*({reason})"):
        MatchingKey("StudyDate", "DA", given)


@pytest.mark.parametrize(
    ("given", "sent"), [("1.2.3", "1.2.3"), ("1.2,1.3", "1.2\\1.3"), ("1.2\\1.3", "1.2\\1.3"), ("*", "*")]
)
def test_uid_lists(given: str, sent: str) -> None:
    assert MatchingKey("SeriesInstanceUID", "UI", given).value == sent


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("UI", "1.2,,1.3"),
        ("UI", "abc"),
        ("TM", "noon"),
        ("TM", "-"),
        ("LO", "a\nb"),
        ("PN", "a\0"),
        ("LO", "x" * 20000),
    ],
)
def test_impossible_values(vr: str, value: str) -> None:
    with pytest.raises(InputError, match="Keyword"):
        MatchingKey("Keyword", vr, value)


@pytest.mark.parametrize("value", ["0830", "083000.000000-", "-12", "0800-0900"])
def test_times(value: str) -> None:
    assert MatchingKey("StudyTime", "TM", value).value == value


def test_a_keyword_twice_is_refused() -> None:
    key = MatchingKey("PatientID", "LO", "1")
    with pytest.raises(InputError, match="PatientID: given twice"):
        Query(match=(key, key))


QUERY = Query(
    match=(
        MatchingKey("PatientID", "LO", "42"),
        MatchingKey("StudyDate", "DA", "20240101-"),
        MatchingKey("Modality", "CS", "MR"),
        MatchingKey("InstanceNumber", "IS", "5"),
    )
)


def test_each_level_gets_its_own_keys() -> None:
    study, series = QUERY.keys_at(Level.STUDY), QUERY.keys_at(Level.SERIES, {"StudyInstanceUID": "1.2"})
    assert study["PatientID"] == "42"
    assert study["StudyDate"] == "20240101-"
    assert "Modality" not in study
    assert series["Modality"] == "MR"
    assert series["StudyInstanceUID"] == "1.2"
    assert "PatientID" not in series
    assert "StudyDate" not in series
    assert [key.keyword for key in QUERY.image_keys] == ["InstanceNumber"]
    assert all(level_of(keyword) in (Level.PATIENT, Level.STUDY) for keyword in study)


def test_return_keys_never_drop_a_filter_nor_the_unique_key() -> None:
    query = Query(match=QUERY.match, return_keys=("StudyDescription", "SeriesDescription"))
    assert query.keys_at(Level.STUDY) == {
        "StudyDescription": "",
        "PatientID": "42",
        "StudyDate": "20240101-",
        "StudyInstanceUID": "",
    }
    assert query.keys_at(Level.SERIES) == {"SeriesDescription": "", "Modality": "MR", "SeriesInstanceUID": ""}


def test_values() -> None:
    assert QUERY.value("Modality") == "MR"
    assert QUERY.value("PatientName") == ""


def test_levels_do_not_overlap() -> None:
    assert not PATIENT_KEYS & STUDY_KEYS
    assert not PATIENT_KEYS & IMAGE_KEYS
    assert not STUDY_KEYS & IMAGE_KEYS
