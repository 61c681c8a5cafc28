"""What is registered of a series, and what is recorded of it; nothing is asked of a CUBE here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypx.compat.register_json import to_document
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import CubeError, InputError, InvalidDicomError, PartialError
from pypx.model.identifiers import UID
from pypx.model.outcomes import RegisteredFile, RegisterOutcome
from pypx.model.peers import FolderTarget
from pypx.model.records import ImageRecord, Instance, SeriesRef
from pypx.services.folder import FolderStore
from pypx.services.storage import StoredObject
from pypx.workflows.register import check
from pypx.workflows.registerlog import record_registration
from pypx.workflows.registerplan import (
    Entry,
    RegisterPlan,
    Source,
    check_folder,
    fields_of,
    group_files,
    make_register_plan,
)
from pypx.workflows.status import series_status

STUDY, SERIES = UID("1.2.3"), UID("1.2.3.4")
FOLDER = "SERVICES/PACS/CLINIC/42-DOE_JANE/MR-20150304/00002-AX_T2"
URL = "http://cube.example/api/v1/"


class Prefixed:
    """A store of names that is none of a folder's kind; only what a look at a series asks of it."""

    def __init__(self, *names: str, unlisted: tuple[str, ...] = ()) -> None:
        self.names, self.unlisted = names, unlisted

    def __str__(self) -> str:
        return "swift users"

    def walk(self, folder: str) -> Iterator[StoredObject]:
        return (StoredObject(name, 1) for name in self.names if name.startswith(f"{folder}/"))

    def head(self, name: str) -> StoredObject | None:
        return StoredObject(name, 1) if name in (*self.names, *self.unlisted) else None


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open_or_create(Layout.of_basemount(tmp_path / "basemount"))


def names(count: int) -> list[str]:
    return [f"{FOLDER}/{number:04d}-1.2.{number}.dcm" for number in range(1, count + 1)]


def fill(database: Database, received: int, pushed: int, requested: int | None, **push: Any) -> None:
    """Record images and a push of some of them."""
    folder = database.layout.data / "patient" / "study" / "series"
    folder.mkdir(parents=True)
    images, files = [], []
    for number in range(1, received + 1):
        uid = UID(f"1.2.{number}")
        tags = {"PatientID": "42", "SeriesDescription": "AX T2", "StudyDate": "20150304", "PatientName": "DOE^JANE"}
        instance = Instance(STUDY, SERIES, uid, "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1", tags)
        path = folder / f"{number:04d}-{uid}.dcm"
        path.touch()
        files.append(str(path))
        images.append((instance, ImageRecord(uid, database.layout.relative(path), 0, "2026-11-22T10:00:00Z")))
        database.add_headers(instance, folder)
    database.add_images(images)
    if requested is not None:
        database.set_series_fields(SERIES, "retrieve", {"NumberOfSeriesRelatedInstances": str(requested)})
    record = {
        "status": True,
        "store": {"localFileList": files[:pushed], "objectFileList": names(pushed)},
        "target": {"kind": "folder", "where": "/store"},
        "objects": pushed,
        "folder": FOLDER,
        **push,
    }
    if pushed:
        database.set_series_fields(SERIES, "push", record)


def plan_of(database: Database, expected: int | None = None, pacs_name: str = "CLINIC", **source: Any) -> RegisterPlan:
    ref = SeriesRef(STUDY, SERIES, expected)
    return make_register_plan(Source(ref, **source), database, pacs_name, None, store_at_hand=False)


@pytest.mark.parametrize(
    ("received", "pushed", "requested", "found", "problem"),
    [
        (3, 3, 3, None, ""),
        (3, 3, None, 3, ""),
        (3, 3, 4, 3, ""),
        (3, 3, None, None, "never told"),
        (3, 3, 4, None, "3 of 4 images have been received"),
        (3, 3, 3, 4, "3 of 4 images have been received"),
        (3, 3, 2, None, "3 of 2 images have been received"),
    ],
)
def test_whole_or_not(
    database: Database, received: int, pushed: int, requested: int | None, found: int | None, problem: str
) -> None:
    fill(database, received, pushed, requested)
    plan = plan_of(database, found)
    assert [entry.name for entry in plan.entries] == names(pushed)
    assert plan.folder == FOLDER
    assert (problem in plan.problem) if problem else (plan.problem == "")
    assert plan.expected == (found if found is not None else requested)


@pytest.mark.parametrize(
    ("push", "problem"),
    [
        ({"status": False}, "no record of a successful push"),
        ({"objects": 2}, "2 of 3 images have been pushed"),
        ({}, ""),
    ],
)
def test_push_that_failed(database: Database, push: dict[str, Any], problem: str) -> None:
    fill(database, 3, 3, 3, **push)
    plan = plan_of(database)
    assert (problem in plan.problem) if problem else (plan.problem == "")


def test_name_of_the_pacs_comes_from_the_push(database: Database) -> None:
    fill(database, 1, 1, 1)
    assert plan_of(database, pacs_name="").pacs_name == "CLINIC"
    with pytest.raises(InputError, match="20"):
        plan_of(database, pacs_name="x" * 21)


def test_nothing_on_record(database: Database) -> None:
    with pytest.raises(CubeError, match="no image of it is on record"):
        plan_of(database)
    with pytest.raises(InputError, match="swiftServicesPACS"):
        plan_of(database, pacs_name="")


def test_files_that_are_gone_are_registered_by_their_record(database: Database) -> None:
    fill(database, 2, 2, 2)
    for record in database.images(SERIES).values():
        database.layout.resolve(record.file).unlink()
    plan = plan_of(database)
    assert plan.problem == ""
    assert [(entry.name, entry.file) for entry in plan.entries] == [(name, None) for name in names(2)]
    assert fields_of(None, plan, database) == {
        "PatientID": "42", "PatientName": "DOE^JANE", "SeriesDescription": "AX T2", "StudyDate": "2015-03-04",
        "StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES,
    }  # fmt: skip


def test_no_header_and_no_record(database: Database) -> None:
    plan = RegisterPlan(SeriesRef(STUDY, SERIES), "CLINIC", (Entry(names(1)[0], None),), 1)
    with pytest.raises(InvalidDicomError, match="nothing is recorded"):
        fields_of(None, plan, database)


def test_files_by_series(golden_corpus: Path, tmp_path: Path) -> None:
    files = sorted(golden_corpus.rglob("*.dcm"))
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    groups, bad = group_files([text, *files])
    assert [path for path, _ in bad] == [text]
    assert sorted(file for _, members in groups for file in members) == files
    assert len({ref.SeriesInstanceUID for ref, _ in groups}) == len(groups) > 1


# --- the folder in storage


def whole(count: int, *, folder: str = FOLDER) -> RegisterPlan:
    entries = tuple(Entry(name.replace(FOLDER, folder), None) for name in names(count))
    return RegisterPlan(SeriesRef(STUDY, SERIES, count), "CLINIC", entries, count)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], ""),
        ([f"{FOLDER}0/0001-1.dcm"], "00002-AX_T20/0001-1.dcm"),
        ([f"{FOLDER}.dcm"], "00002-AX_T2.dcm"),
        ([f"{FOLDER}/sub/0001.dcm"], "0001.dcm"),
        ([f"{FOLDER}/notes.txt"], "notes.txt"),
        ([FOLDER.replace("00002-AX_T2", "00003-AX_T2") + "/0001-1.dcm"], ""),
        ([FOLDER.replace("00002-AX_T2", "00002-AX") + "/0001-1.dcm"], ""),
    ],
)
def test_folder_of_its_own(more: list[str], said: str) -> None:
    store: Any = Prefixed(*names(3), *more)
    if not said:
        assert check_folder(whole(3), store, partial=False) == tuple(names(3))
        return
    with pytest.raises(CubeError, match=said) as refused:
        check_folder(whole(3), store, partial=True)
    assert "DOE" not in str(refused.value)


def test_objects_that_are_missing() -> None:
    store: Any = Prefixed(*names(3)[:2])
    with pytest.raises(CubeError, match=r"1 of its 3 objects are not in swift users, such as 0003-1\.2\.3\.dcm"):
        check_folder(whole(3), store, partial=False)
    assert check_folder(whole(3), store, partial=True) == tuple(names(2))
    nothing: Any = Prefixed()
    with pytest.raises(CubeError, match="3 of its 3"):
        check_folder(whole(3), nothing, partial=True)


def test_listing_that_lags_behind() -> None:
    store: Any = Prefixed(*names(3)[:2], unlisted=(names(3)[2],))
    assert check_folder(whole(3), store, partial=False) == tuple(names(3))


def test_siblings_do_not_matter_in_a_folder(tmp_path: Path) -> None:
    for name in [*names(3), f"{FOLDER}0/0001-1.dcm"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert check_folder(whole(3), FolderStore(FolderTarget(tmp_path)), partial=False) == tuple(names(3))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([f"{FOLDER}/1.DCM"], "ending in .dcm"),
        ([f"{FOLDER}/1,2.dcm"], "comma"),
        ([f"{FOLDER},2/1.dcm"], "comma"),
        ([f"{FOLDER}/1.dcm", f"{FOLDER}2/2.dcm"], "2 folders"),
        (["SERVICES/PACS/OTHER/a/1.dcm"], "does not lie in"),
    ],
)
def test_names_that_cube_would_not_take(entries: list[str], said: str) -> None:
    plan = RegisterPlan(SeriesRef(STUDY, SERIES), "CLINIC", tuple(Entry(name, None) for name in entries), None)
    with pytest.raises(CubeError, match=said):
        check_folder(plan, None, partial=False)


# --- what is kept and shown


def outcome(**fields: Any) -> RegisterOutcome:
    ref = SeriesRef(STUDY, SERIES)
    return RegisterOutcome(ref, "per-file", "CLINIC", FOLDER, **fields)


ITEM = {"id": 4, "creation_date": "now", "fname": "x", "fsize": 5, "PatientID": "42", "pacs_identifier": "CLINIC"}
GOOD = RegisteredFile(names(2)[0], Path("/data/a.dcm"), ITEM, new=True)
BAD = RegisteredFile(names(2)[1], Path("/data/b.dcm"), {}, error="path: Could not find this path.")


def test_record(database: Database) -> None:
    record_registration(database, outcome(expected=1, registered=1, files=(GOOD,)), URL, "chris")
    record = database.series_fields(SERIES, "register")
    assert record["info"] == {"pacs_identifier": "CLINIC"}
    assert record["objectCounter"] == {"current": 1, "total": 1}
    assert record["CUBE"] == {"url": URL, "username": "chris"}
    assert (record["dialect"], record["registered"], record["expected"], record["error"]) == ("per-file", 1, 1, "")
    assert record["time"].endswith("Z")
    assert next(series_status([SeriesRef(STUDY, SERIES)], database)).registered == 1


@pytest.mark.parametrize(("files", "registered"), [((GOOD, BAD), 1), ((BAD, BAD), 0)])
def test_record_of_a_failure(database: Database, files: tuple[RegisteredFile, ...], registered: int) -> None:
    done = outcome(expected=2, registered=registered, files=files, error="1 of 2 files are not registered")
    record_registration(database, done, URL, "chris")
    record = database.series_fields(SERIES, "register")
    assert record["objectCounter"] == {"current": registered, "total": 2}
    assert ("msg" in record["info"]) is (registered == 0)
    assert next(series_status([SeriesRef(STUDY, SERIES)], database)).registered == registered


def test_document() -> None:
    good = outcome(expected=1, registered=1, files=(GOOD,))
    document = to_document([good, outcome(expected=2, registered=1, files=(GOOD, BAD), error="1 of 2")])
    assert document["status"] is False
    assert [entry["status"] for entry in document["run"]] == [True, True, False]
    assert document["run"][0] == {
        "status": True,
        "d_DICOMfile_register": {
            "status": True,
            "d_DICOMfile_read": {
                "method": "DICOMfile_read", "status": True, "inputPath": "/data", "inputFileName": "a.dcm",
            },
            "d_CUBE_register_pacs_file": {"PatientID": "42", "pacs_identifier": "CLINIC"},
        },
    }  # fmt: skip
    answer = document["run"][2]["d_DICOMfile_register"]["d_CUBE_register_pacs_file"]
    assert answer == {"path": names(2)[1], "msg": "path: Could not find this path."}
    assert to_document([good])["status"] is True
    json.dumps(document)


def test_document_without_files() -> None:
    assert to_document([]) == {"status": False, "run": []}
    document = to_document([outcome(error="3 of 4 images have been received")])
    assert document["status"] is False
    (entry,) = document["run"]
    assert entry["d_DICOMfile_register"]["d_CUBE_register_pacs_file"]["msg"] == "3 of 4 images have been received"


def test_verdict() -> None:
    good = outcome(expected=1, registered=1, files=(GOOD,))
    check([good])
    check([])
    with pytest.raises(CubeError, match=r"1\.2\.3\.4: bad"):
        check([outcome(error="bad")])
    with pytest.raises(PartialError, match="bad"):
        check([good, outcome(error="bad")])
