"""How far a series has come, from the tables alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypx.compat.status_json import status_document, status_line
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.outcomes import SeriesState, SeriesStatus
from pypx.model.records import ImageRecord, Instance, SeriesRef
from pypx.workflows.status import (
    count_of,
    pushed_count,
    ref_of_series,
    refs_of_patient,
    refs_of_study,
    series_status,
)

STUDY, SERIES = UID("1.2.3"), UID("1.2.3.4")
REF = SeriesRef(STUDY, SERIES, None, "AX T2")

Fill = Callable[..., SeriesStatus]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open_or_create(Layout.of_basemount(tmp_path / "basemount"))


@pytest.fixture
def fill(database: Database) -> Fill:
    """`fill(received=3, retrieve={…})` records and returns the status."""

    def _fill(received: int = 0, present: int | None = None, **tables: dict[str, Any]) -> SeriesStatus:
        folder = database.layout.data / "patient" / "study" / "series"
        folder.mkdir(parents=True, exist_ok=True)
        images = []
        for number in range(received):
            uid = UID(f"{SERIES}.{number}")
            tags = {"PatientID": "42", "SeriesDescription": "AX T2"}
            instance = Instance(STUDY, SERIES, uid, "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1", tags)
            path = folder / f"{number:04d}-{uid}.dcm"
            if present is None or number < present:
                path.touch()
            record = ImageRecord(uid, database.layout.relative(path), 1, "2026-11-22T10:00:00.123456Z")
            images.append((instance, record))
            database.add_headers(instance, folder)
        if images:
            database.add_images(images)
        for table, values in tables.items():
            database.set_series_fields(SERIES, table, values)
        (status,) = series_status([REF], database)
        return status

    return _fill


def test_nothing_known(database: Database) -> None:
    (status,) = series_status([REF], database)
    assert status == SeriesStatus(REF, SeriesState.NOT_RECORDED, None, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("received", "announced", "state"),
    [
        (0, "3", SeriesState.NOT_RECEIVED),
        (0, "0", SeriesState.NOT_RECEIVED),
        (2, "3", SeriesState.MISSING),
        (3, "3", SeriesState.COMPLETE),
        (3, 3, SeriesState.COMPLETE),
        (3, "2", SeriesState.MORE_THAN_EXPECTED),
        (3, "-1", SeriesState.UNKNOWN_EXPECTATION),
        (3, "", SeriesState.UNKNOWN_EXPECTATION),
        (3, None, SeriesState.UNKNOWN_EXPECTATION),
        (3, "no value provided for 0020,1209", SeriesState.UNKNOWN_EXPECTATION),
        (3, "٣", SeriesState.UNKNOWN_EXPECTATION),
        (3, "9" * 5000, SeriesState.UNKNOWN_EXPECTATION),
        (3, ["3"], SeriesState.UNKNOWN_EXPECTATION),
    ],
)
def test_state_is_what_was_announced_against_what_is_there(
    fill: Fill, received: int, announced: object, state: SeriesState
) -> None:
    status = fill(received, retrieve={"NumberOfSeriesRelatedInstances": announced})
    assert status.state is state
    assert status.received == status.packed == received
    assert status.requested


def test_received_without_any_request_is_of_unknown_expectation(fill: Fill) -> None:
    status = fill(3)
    assert status.state is SeriesState.UNKNOWN_EXPECTATION
    assert status.expected is None
    assert (status.study_recorded, status.series_recorded, status.listed_in_study) == (True, True, True)
    assert not status.requested


def test_packed_counts_files_that_are_there(fill: Fill) -> None:
    status = fill(5, present=3)
    assert (status.received, status.packed) == (5, 3)


def test_same_instance_twice_counts_once(fill: Fill) -> None:
    fill(3)
    assert fill(3).received == 3


@pytest.mark.parametrize(
    ("push", "count", "failed"),
    [
        ({}, 0, False),
        ({"status": True, "store": {"objectFileList": ["last"]}}, 3, False),
        ({"status": False}, 0, True),
        ({"status": True, "objects": ["a", "b"]}, 2, False),
        ({"status": False, "objects": {"a": {}}}, 1, True),
        ({"status": True, "objects": "junk"}, 3, False),
    ],
)
def test_pushed(fill: Fill, push: dict[str, Any], count: int, failed: bool) -> None:
    status = fill(3, push=push) if push else fill(3)
    assert (status.pushed, status.push_failed) == (count, failed)
    assert pushed_count(push, 3) == count


@pytest.mark.parametrize(
    ("register", "count"),
    [
        ({"objectCounter": {"current": 2, "total": 3}, "info": {"id": 1}}, 2),
        ({"objectCounter": {"current": 3, "total": 3}, "info": {"path": "x", "msg": "{}"}}, 0),
        ({"objectCounter": {"current": "junk"}}, 0),
        ({"objectCounter": 3}, 0),
    ],
)
def test_registered(fill: Fill, register: dict[str, Any], count: int) -> None:
    assert fill(3, register=register).registered == count


def test_conflicts_are_counted(fill: Fill, database: Database) -> None:
    fill(2)
    database.add_conflict(SERIES, UID(f"{SERIES}.0"), "incoming/conflicts/x")
    assert fill(2).conflicts == 1


def test_series_of_study_and_patient(fill: Fill, database: Database) -> None:
    fill(1)
    assert refs_of_study(database, STUDY) == refs_of_patient(database, "42") == (REF,)
    assert ref_of_series(database, SERIES) == REF
    assert refs_of_study(database, UID("9.9")) == refs_of_patient(database, "no such") == ()
    assert ref_of_series(database, UID("9.9")) == SeriesRef(UID(""), UID("9.9"))


def test_reading_creates_nothing(tmp_path: Path) -> None:
    database = Database.open(Layout.of_basemount(tmp_path / "nowhere"))
    (status,) = series_status([REF], database)
    status_document(status, database)
    assert not (tmp_path / "nowhere").exists()


def test_count_of() -> None:
    assert [count_of(value) for value in ("24", 24, " 7 ", "0", 0)] == [24, 24, 7, 0, 0]
    unusable: tuple[object, ...] = (None, "", -1, "-1", "1.5", True, {}, "²")
    assert {count_of(value) for value in unusable} == {None}


# --- the words of pypx

IMAGES = ("received", "requested", "packed", "pushed", "registered")


def status_of(**values: Any) -> SeriesStatus:
    known: dict[str, Any] = {"study_recorded": True, "series_recorded": True, "listed_in_study": True}
    counts: dict[str, Any] = {"expected": 4, "received": 4, "packed": 4, "pushed": 0, "registered": 0}
    return SeriesStatus(**{"series": REF, "state": SeriesState.COMPLETE, **known, **counts, **values})


@pytest.mark.parametrize(
    ("values", "word", "ok"),
    [
        ({}, "ImagesAllReceivedOK", True),
        ({"received": 0, "packed": 0}, "NoImagesReceived", False),
        ({"received": 2, "packed": 2}, "ImagesInFlight", False),
        ({"expected": None}, "ImagesReceiveCountOK", True),
        ({"pushed": 4}, "ImagesPushedOK", True),
        ({"pushed": 4, "registered": 4}, "ImagesRegisteredOK", True),
        ({"pushed": 3}, "ImagesAllReceivedOK", True),
        ({"received": 3, "pushed": 3}, "ImagesInFlight", False),
        ({"pushed": 4, "registered": 1}, "ImagesPushedOK", True),
        ({"received": 5}, "ImagesAllReceivedOK", True),
    ],
)
def test_word_for_the_images(database: Database, values: dict[str, Any], word: str, ok: bool) -> None:
    document = status_document(status_of(**values), database)
    assert document["state"]["images"] == document["images"]["state"] == word
    assert document["images"]["status"] is ok
    assert (document["status"], document["error"]) == (True, "")


NOWHERE = {"study_recorded": False, "series_recorded": False, "listed_in_study": False, "received": 0, "expected": None}


@pytest.mark.parametrize(
    ("values", "verify", "states", "status", "error"),
    [
        ({}, False, ("StudyContainsSeriesOK", "SeriesMapMetaOK", "ImagesAllReceivedOK"), True, ""),
        (
            {"listed_in_study": False},
            False,
            ("StudyDoesNotContainSeries", "SeriesMapMetaOK", "ImagesAllReceivedOK"),
            True,
            "",
        ),
        (
            {**NOWHERE, "study_recorded": True},
            False,
            ("StudyDoesNotContainSeries", "NoSeriesFound", "NoImagesFound"),
            False,
            "Series not found",
        ),
        (
            {"study_recorded": False, "listed_in_study": False},
            False,
            ("StudyDoesNotContainSeries", "SeriesMapMetaOK", "ImagesAllReceivedOK"),
            True,
            "",
        ),
        (NOWHERE, False, ("StudyDoesNotContainSeries", "NoSeriesFound", "NoImagesFound"), False, "Series not found"),
        (NOWHERE, True, ("StudyNotFound", "NoSeriesFound", "NoImagesFound"), False, "Study not found"),
        (
            {"study_recorded": False, "listed_in_study": False},
            True,
            ("StudyNotFound", "NoSeriesFound", "NoImagesFound"),
            False,
            "Study not found",
        ),
        (
            {"listed_in_study": False},
            True,
            ("StudyDoesNotContainSeries", "SeriesNotInStudy", "NoImagesFound"),
            True,
            "",
        ),
    ],
)
def test_words_of_pypx(
    database: Database, values: dict[str, Any], verify: bool, states: tuple[str, ...], status: bool, error: str
) -> None:
    document = status_document(status_of(**values), database, verify=verify)
    assert tuple(document["state"].values()) == states
    assert (document["status"], document["error"]) == (status, error)
    assert list(document) == ["state", "study", "series", "images", "status", "error"]
    if states[2] == "NoImagesFound":
        assert document["images"] == {name: {"count": -1} for name in IMAGES}


def test_failed_push_and_unknown_request_in_document_and_line(database: Database) -> None:
    document = status_document(status_of(expected=None, push_failed=True), database)
    assert document["images"]["pushed"] == {"status": False, "count": -10}
    assert document["images"]["requested"] == {"status": False, "count": -1}
    assert status_line(document, "AX").startswith(" [ PACS:---/JSON:004/DCM:004/PUSH:ERR/REG:000 ] │  AX  ")


def test_line_survives_junk() -> None:
    assert status_line({}, "AX").split() == [":", ":", "│", "AX"]
    assert status_line({"status": True, "images": {"received": 1, "packed": {"count": "x"}}}, "AX").startswith(
        " [ PACS:---/JSON:---/DCM:---/PUSH:---/REG:--- ]"
    )
