"""Searching the smdb, and entering files anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pypx.compat import smdb_json
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import InputError
from pypx.model.identifiers import UID
from pypx.model.keywords import Level
from pypx.model.records import ImageRecord, Instance
from pypx.workflows.search import parse_matches, search
from pypx.workflows.smdb import images_of_patient, images_of_series, record_file, record_patient, series_tables

CT = "1.2.840.10008.5.1.4.1.1.2"
SERIES = {
    ("1.1", "1.1.1"): {"PatientID": "A1", "PatientName": "DOE^JANE", "StudyDate": "20150304", "Modality": "CT"},
    ("1.1", "1.1.2"): {"PatientID": "A1", "PatientName": "DOE^JANE", "StudyDate": "20150304", "Modality": "MR"},
    ("1.2", "1.2.1"): {"PatientID": "A1", "PatientName": "DOE^JANE", "StudyDate": "20160101", "Modality": "CT"},
    ("2.1", "2.1.1"): {"PatientID": "B2", "PatientName": "ROE^R]CH[RD", "Modality": "CT", "Manufacturer": "ACME [x]"},
}


@pytest.fixture(params=[3, 4])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    database = Database.create(Layout.of_basemount(tmp_path / "basemount"), format=request.param)
    for (study, series), tags in SERIES.items():
        folder = database.layout.data / f"folder-{series}"
        folder.mkdir(parents=True)
        uid = UID(f"{series}.1")
        path = folder / f"0001-{uid}.dcm"
        path.touch()
        instance = Instance(UID(study), UID(series), uid, CT, "1.2.840.10008.1.2.1", tags)
        database.add_headers(instance, folder)
        record = ImageRecord(uid, database.layout.relative(path), 1, "2026-11-22T10:00:00.123456Z")
        database.add_images([(instance, record)])
    return database


def found(database: Database, matches: dict[str, str], level: Level = Level.SERIES) -> list[str]:
    key = {Level.SERIES: "SeriesInstanceUID", Level.STUDY: "StudyInstanceUID", Level.PATIENT: "PatientID"}[level]
    return sorted(str(record[key]) for record in search(database, matches, level))


@pytest.mark.parametrize(
    ("matches", "series"),
    [
        ({}, ["1.1.1", "1.1.2", "1.2.1", "2.1.1"]),
        ({"Modality": "MR"}, ["1.1.2"]),
        ({"Modality": "mr"}, ["1.1.2"]),
        ({"Modality": ""}, ["1.1.1", "1.1.2", "1.2.1", "2.1.1"]),
        ({"PatientName": "doe*"}, ["1.1.1", "1.1.2", "1.2.1"]),
        ({"PatientName": "?OE*", "Modality": "C?"}, ["1.1.1", "1.2.1", "2.1.1"]),
        ({"PatientName": "ROE^R]CH[RD"}, ["2.1.1"]),
        ({"PatientName": ".*"}, []),
        ({"Manufacturer": "*[x]"}, ["2.1.1"]),
        ({"StudyDate": "20150101-20151231"}, ["1.1.1", "1.1.2"]),
        ({"StudyDate": "2015-03-04"}, ["1.1.1", "1.1.2"]),
        ({"StudyDate": "20150305-"}, ["1.2.1"]),
        ({"StudyDate": "-20150304"}, ["1.1.1", "1.1.2"]),
        ({"StudyDate": "2016*"}, ["1.2.1"]),
        ({"SeriesInstanceUID": "1.1.1\\2.1.1"}, ["1.1.1", "2.1.1"]),
        ({"SeriesInstanceUID": "1.1.1,2.1.1"}, ["1.1.1", "2.1.1"]),
        ({"SeriesInstanceUID": "1.1"}, []),
        ({"StudyInstanceUID": "1.*"}, ["1.1.1", "1.1.2", "1.2.1"]),
        ({"BodyPartExamined": "HEAD"}, []),
    ],
)
def test_search(database: Database, matches: dict[str, str], series: list[str]) -> None:
    assert found(database, matches) == series


def test_search_of_patients_and_studies_names_each_once(database: Database) -> None:
    assert found(database, {}, Level.PATIENT) == ["A1", "B2"]
    assert found(database, {"PatientID": "A1"}, Level.STUDY) == ["1.1", "1.2"]
    assert found(database, {"Modality": "MR"}, Level.PATIENT) == ["A1"]


def test_records_are_flat_and_carry_what_was_searched_for(database: Database) -> None:
    (record,) = search(database, {"Manufacturer": "ACME*", "PatientBirthDate": ""})
    assert record["Manufacturer"] == "ACME [x]"
    assert record["PatientBirthDate"] == ""
    assert record["instances"] == 1
    assert all(isinstance(value, str | int) for value in record.values())


def test_image_level_cannot_be_listed(database: Database) -> None:
    with pytest.raises(InputError, match="IMAGE cannot be listed"):
        list(search(database, {}, Level.IMAGE))


def test_impossible_date_is_refused(database: Database) -> None:
    with pytest.raises(InputError, match="StudyDate"):
        list(search(database, {"StudyDate": "20150230"}))


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["PatientID"], "not of the form"),
        (["=x"], "not of the form"),
        (["PatientID=1", "PatientID=2"], "given twice"),
        (["PatientIDD=1"], "PatientID"),
    ],
)
def test_terms_that_make_no_sense_are_refused(pairs: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_matches(pairs)


def test_terms() -> None:
    assert parse_matches(["PatientName=A=B", " Modality =CT", "ImageType=x"]) == {
        "PatientName": "A=B",
        "Modality": "CT",
        "ImageType": "x",
    }


# --- directories, tables, recording


def test_each_series_of_a_patient_has_its_own_directories(database: Database) -> None:
    images = images_of_patient(database, "A1")
    assert list(images) == ["1.1", "1.2"]
    assert [one.directories for one in images[UID("1.1")]] == [
        (database.layout.data / "folder-1.1.1",),
        (database.layout.data / "folder-1.1.2",),
    ]
    document = smdb_json.image_dirs_patient_document("A1", images, database)
    assert [list(one) for one in document["d_series"]["1.1"]] == [["1.1.1"], ["1.1.2"]]


def test_series_without_images(database: Database) -> None:
    images = images_of_series(database, UID("9.9"))
    assert (images.directories, images.first, images.StudyInstanceUID) == ((), None, "")


def test_series_tables_exist_or_not(database: Database) -> None:
    tables = {table.table: table.exists for table in series_tables(database, UID("1.1.1"), "0001-1.1.1.1.dcm")}
    assert tables == {
        "images": True, "image": True, "meta": True, "retrieve": False, "push": False, "pack": True, "register": False,
    }  # fmt: skip


def _instance(database: Database) -> Instance:
    (study, series), tags = next(iter(SERIES.items()))
    return Instance(UID(study), UID(series), UID(f"{series}.7"), CT, "1.2.840.10008.1.2.1", tags)


def test_file_is_recorded_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = _instance(database)
    monkeypatch.setattr("pypx.workflows.smdb.read_instance", lambda _path, _keywords: instance)
    path = database.layout.data / "folder-1.1.1" / "0007-1.1.1.7.dcm"
    path.write_bytes(b"12345")
    first, second = (record_file(database, path) for _ in range(2))
    assert (first.new, second.new) == (True, False)
    assert first.record is not None
    assert (first.record.size, first.record.file) == (5, "data/folder-1.1.1/0007-1.1.1.7.dcm")
    assert len(database.images(UID("1.1.1"))) == 2
    document = smdb_json.maps_update_document(first, database)
    maps = document["mapsUpdateForFile"]
    assert document["status"] is maps["status"] is True
    assert maps["d_patientData_process"]["PatientName"] == "DOE^JANE"
    assert maps["d_seriesData_process"]["update"]["updatesMade"] is True
    ((series, block),) = maps["d_seriesData_process"]["update"]["image"].items()
    assert (series, block["outputFile"]) == ("1.1.1", "0007-1.1.1.7.dcm")


def test_missing_file_is_refused(database: Database) -> None:
    with pytest.raises(InputError, match="no such file"):
        record_file(database, database.layout.data / "nothing.dcm")


def test_damaged_files_of_a_patient_do_not_stop_the_others(database: Database) -> None:
    (database.layout.data / "folder-1.2.1" / "0001-1.2.1.1.dcm").unlink()
    done = list(record_patient(database, "A1"))
    assert len(done) == 3
    assert all(one.error for one in done)
    document = smdb_json.maps_update_patient_document("A1", images_of_patient(database, "A1"), done, database)
    assert document["status"] is False
    assert document["d_imageInfo"]["PatientID"] == "A1"
    assert [document[str(one.path)]["status"] for one in done] == [False] * 3


def test_reading_writes_nothing(tmp_path: Path) -> None:
    database = Database.open(Layout.of_basemount(tmp_path / "nowhere"))
    nothing: Iterable[Any] = search(database, {})
    assert list(nothing) == []
    assert not (tmp_path / "nowhere").exists()
