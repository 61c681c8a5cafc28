"""The contract server answers as CUBE is known to answer: its examples, its sentences, its traps."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cube_contract import Cube, CubeServer, FolderStore, StorageError, SwiftStore
from cube_contract.client import Client
from cube_contract.openapi import FORMATS
from cube_contract.wire import COLLECTION, FORM, JSON, MULTIPART
from support.ports import free_port, wait_until
from support.swift_client import SwiftAccount, ask
from support.swift_server import SwiftServer

FOLDER = "SERVICES/PACS/CLINIC/77-ROE_RICHARD-19800229/HEAD-A12-20240301/00003-T2-9f"
FILE = f"{FOLDER}/0001-1.2.840.5.dcm"
OLD_BODY: dict[str, Any] = {
    "path": FILE, "PatientID": "77", "PatientName": "ROE^RICHARD", "PatientBirthDate": "1980-02-29",
    "PatientAge": 16072, "PatientSex": "M", "StudyDate": "2024-03-01", "AccessionNumber": "A12", "Modality": "MR",
    "ProtocolName": "t2", "StudyInstanceUID": "1.2.840.1", "StudyDescription": "HEAD",
    "SeriesInstanceUID": "1.2.840.1.3", "SeriesDescription": "T2", "pacs_name": "CLINIC",
}  # fmt: skip
NEW_BODY: dict[str, Any] = {
    "path": FOLDER, "ndicom": 24, "PatientID": "77", "PatientName": "ROE^RICHARD", "PatientSex": "M",
    "StudyDate": "2024-03-01", "Modality": "MR", "StudyInstanceUID": "1.2.840.1", "SeriesInstanceUID": "1.2.840.1.3",
    "SeriesDescription": "T2", "pacs_name": "CLINIC",
}  # fmt: skip
REQUIRED = ["This field is required."]
CRASH = {"error": "Internal server error"}
DUPLICATE = "A DICOM series with SeriesInstanceUID=1.2.840.1.3 already registered for pacs CLINIC"
CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}-05:00")

ServerMaker = Callable[..., CubeServer]


@dataclass(slots=True)
class Shelf(FolderStore):
    """A folder of files that are made by name; it counts how often it is listed and can be out of order."""

    root: Path
    looks: int = 0
    broken_looks: int = 0
    late: dict[int, list[str]] = field(default_factory=dict)

    def put(self, *names: str) -> None:
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 20)

    def listing(self, path: str) -> list[str]:
        self.looks += 1
        self.put(*self.late.get(self.looks, []))
        if self.looks <= self.broken_looks:
            raise StorageError("out of order")
        return FolderStore.listing(self, path)


def series_files(count: int = 24, folder: str = FOLDER) -> list[str]:
    return [f"{folder}/{number:04}-1.2.840.{number}.dcm" for number in range(1, count + 1)]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "media")


@pytest.fixture
def old(cube_server: ServerMaker, shelf: Shelf) -> CubeServer:
    """A per-file CUBE; the file of the example is in storage."""
    shelf.put(FILE)
    return cube_server(shelf, "old")


@pytest.fixture
def new(cube_server: ServerMaker, shelf: Shelf) -> CubeServer:
    """A per-series CUBE that counts three times without long pauses; the series of the example is in storage."""
    shelf.put(*series_files())
    return cube_server(shelf, "new", looks=3, pause_s=0.01)


def chris(server: CubeServer, accept: str | None = JSON) -> Client:
    return Client(server.url, accept=accept)


def message(answer: Any) -> str:
    """The sentence of a Collection+JSON error."""
    assert answer["collection"]["version"] == "1.0"
    text: str = answer["collection"]["error"]["message"]
    return text


# Per-file API


def test_old_example(old: CubeServer) -> None:
    answer = chris(old).ask("POST", "pacsfiles/", json.dumps(OLD_BODY).encode(), JSON)
    item = json.loads(answer.body)
    assert answer.status == 201
    assert answer.headers["location"] == f"{old.url}pacsfiles/1/" == item["url"]
    assert CREATED.fullmatch(item.pop("creation_date"))
    sent = {name: value for name, value in OLD_BODY.items() if name not in {"path", "pacs_name"}}
    assert item == {
        "url": f"{old.url}pacsfiles/1/", "id": 1, "fname": FILE, "fsize": 20, **sent, "pacs_identifier": "CLINIC",
        "file_resource": f"{old.url}pacsfiles/1/0001-1.2.840.5.dcm",
    }  # fmt: skip
    assert old.violations == []


def test_old_absent_descriptors_are_empty(old: CubeServer) -> None:
    required = {"path", "PatientID", "StudyDate", "StudyInstanceUID", "SeriesInstanceUID", "pacs_name"}
    status, item = chris(old).post("pacsfiles/", {name: OLD_BODY[name] for name in required})
    assert status == 201
    assert [item[name] for name in ("PatientName", "PatientSex", "Modality")] == ["", "", ""]
    assert [item[name] for name in ("PatientBirthDate", "PatientAge")] == [None, None]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"path": "SERVICES/DICOM/x.dcm"}, {"path": ["File path must start with 'SERVICES/PACS/'."]}),
        ({"path": f"{FOLDER}/none.dcm"}, {"path": ["Could not find this path."]}),
        ({"path": FOLDER}, {"path": ["Could not find this path."]}),
        ({"path": FILE[:-2]}, {"path": ["Could not find this path."]}),
        ({"path": f"{FOLDER}/{'x' * 512}"[:540]}, {"path": ["Could not find this path."]}),
        ({"pacs_name": "OTHER"}, {"non_field_errors": ["File path must start with 'SERVICES/PACS/OTHER/'."]}),
        ({"pacs_name": "x" * 21}, {"pacs_name": ["Ensure this field has no more than 20 characters."]}),
        (
            {"path": "x", "PatientSex": "X"},
            {"path": ["File path must start with 'SERVICES/PACS/'."], "PatientSex": ['"X" is not a valid choice.']},
        ),
    ],
)
def test_old_refuses(old: CubeServer, change: dict[str, Any], complaint: dict[str, Any]) -> None:
    assert chris(old).post("pacsfiles/", {**OLD_BODY, **change}) == (400, complaint)
    assert chris(old).count("pacsfiles/") == 0
    status, answer = chris(old, COLLECTION).post("pacsfiles/", {**OLD_BODY, **change}, COLLECTION)
    assert (status, json.loads(message(answer))) == (400, complaint)


def test_old_empty_object(old: CubeServer) -> None:
    names = ["path", "PatientID", "StudyDate", "StudyInstanceUID", "SeriesInstanceUID", "pacs_name"]
    status, answer = chris(old).post("pacsfiles/", {})
    assert (status, answer) == (400, dict.fromkeys(names, REQUIRED))
    assert list(answer) == names


def test_old_takes_a_path_once_whatever_the_pacs(old: CubeServer) -> None:
    assert chris(old).post("pacsfiles/", {**OLD_BODY, "path": f" /{FILE}/ "})[0] == 201
    duplicate = {"path": ["File has already been registered."]}
    assert chris(old).post("pacsfiles/", OLD_BODY) == (400, duplicate)
    status, answer = chris(old, COLLECTION).post("pacsfiles/", OLD_BODY)
    assert (status, message(answer)) == (400, '{"path": ["File has already been registered."]}')


def test_old_crashes_on_long_keys_and_on_forms(old: CubeServer, shelf: Shelf) -> None:
    deep = "/".join(["SERVICES/PACS/CLINIC", "x" * 200, "y" * 200, "z" * 100 + ".dcm"])
    shelf.put(deep)
    assert len(deep) > 512
    assert chris(old).post("pacsfiles/", {**OLD_BODY, "path": deep}) == (500, CRASH)
    answer = chris(old).ask("POST", "pacsfiles/", b"path=x", FORM)
    assert (answer.status, json.loads(answer.body)) == (500, CRASH)
    exact = "/".join(["SERVICES/PACS/CLINIC", "x" * 200, "y" * 200, "z" * 85 + ".dcm"])
    shelf.put(exact)
    assert len(exact) == 512
    assert chris(old).post("pacsfiles/", {**OLD_BODY, "path": exact})[0] == 201


def test_old_search(old: CubeServer, shelf: Shelf) -> None:
    names = series_files(3)
    shelf.put(*names)
    for number, name in enumerate(names):
        body = {**OLD_BODY, "path": name, "PatientAge": 100 * number, "SeriesInstanceUID": f"1.{number // 2}"}
        assert chris(old).post("pacsfiles/", body)[0] == 201
    count = chris(old).count
    assert count("pacsfiles/search/", fname_exact=names[0], limit=1) == 1
    assert count("pacsfiles/search/", fname_exact=names[0][:-1], limit=1) == 0
    assert count("pacsfiles/search/", fname=f"{FOLDER}/000", limit=1) == 3
    assert count("pacsfiles/search/", fname_icontains="ROE_richard") == 3
    assert count("pacsfiles/search/", fname_nslashes=6) == 3
    assert count("pacsfiles/search/", pacs_identifier="CLINIC", SeriesInstanceUID="1.0", limit=1) == 2
    assert count("pacsfiles/search/", pacs_identifier="OTHER", SeriesInstanceUID="1.0", limit=1) == 0
    assert count("pacsfiles/search/", PatientName="roe", SeriesDescription="t") == 3
    assert count("pacsfiles/search/", PatientID="7") == 0
    assert count("pacsfiles/search/", min_PatientAge=100, max_PatientAge=199) == 1
    assert count("pacsfiles/search/", min_creation_date="2000-01-01T00:00:00Z") == 3
    assert count("pacsfiles/search/", max_creation_date="2000-01-01T00:00:00Z") == 0
    assert count("pacsfiles/search/", id=2) == 1
    assert old.violations == []
    assert count("pacsfiles/search/", Modality="CT") == 3
    assert old.violations == ["GET /api/v1/pacsfiles/search/: query parameter Modality is none"]


def test_old_rights(old: CubeServer) -> None:
    refused = {"detail": "You do not have permission to perform this action."}
    for user in ("member", "outsider", "boss"):
        assert Client(old.url, user).post("pacsfiles/", OLD_BODY) == (403, refused)
        assert Client(old.url, user).count("pacsfiles/") == 0
    assert chris(old).post("pacsfiles/", OLD_BODY)[0] == 201
    for method in ("DELETE", "PUT"):
        answer = chris(old).ask(method, "pacsfiles/1/")
        assert (answer.status, json.loads(answer.body)) == (405, {"detail": f'Method "{method}" not allowed.'})


# Per-series API


def test_new_example(new: CubeServer) -> None:
    answer = chris(new).ask("POST", "pacs/series/", json.dumps(NEW_BODY).encode(), JSON)
    item = json.loads(answer.body)
    assert answer.status == 201
    assert answer.headers["location"] == f"{new.url}pacs/series/1/" == item["url"]
    assert new.description.answer_violations("POST", "/api/v1/pacs/series/", 201, item) == []
    assert CREATED.fullmatch(item.pop("creation_date"))
    assert re.fullmatch(rf"{new.url}filebrowser/\d+/", item.pop("folder"))
    assert item == {
        "url": f"{new.url}pacs/series/1/", "id": 1, "folder_path": FOLDER, "PatientID": "77",
        "PatientName": "ROE^RICHARD", "PatientBirthDate": None, "PatientAge": None, "PatientSex": "M",
        "StudyDate": "2024-03-01", "AccessionNumber": "", "Modality": "MR", "ProtocolName": "",
        "StudyInstanceUID": "1.2.840.1", "StudyDescription": "", "SeriesInstanceUID": "1.2.840.1.3",
        "SeriesDescription": "T2", "pacs_identifier": "CLINIC", "deletion_status": "inactive",
        "deletion_requested_at": None, "deletion_error": "",
    }  # fmt: skip
    assert new.violations == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"path": "SERVICES/x"}, {"path": ["This field must start with 'SERVICES/PACS/'."]}),
        (
            {"path": "SERVICES/PACS/CLINIC/a,b"},
            {"path": ["Invalid path 'SERVICES/PACS/CLINIC/a,b'. Cannot contain commas."]},
        ),
        ({"path": f"{FOLDER}/{'x' * 1024}"}, {"path": ["Ensure this field has no more than 1024 characters."]}),
        ({"pacs_name": "OTHER"}, {"non_field_errors": ["The path field must start with 'SERVICES/PACS/OTHER/'."]}),
        (
            {"path": "SERVICES/PACS/CLINIC/"},
            {"non_field_errors": ["The path field must start with 'SERVICES/PACS/CLINIC/'."]},
        ),
        ({"pacs_name": "x" * 21}, {"pacs_name": ["Ensure this field has no more than 20 characters."]}),
        ({"pacs_name": "A/B"}, {"pacs_name": ["Invalid PACS name 'A/B'. Cannot contain commas or slashes."]}),
        ({"pacs_name": "A,B"}, {"pacs_name": ["Invalid PACS name 'A,B'. Cannot contain commas or slashes."]}),
        ({"ndicom": 0}, {"ndicom": ["This field must be a postive integer. Got 0."]}),
        ({"ndicom": "x"}, {"ndicom": ["A valid integer is required."]}),
        ({"ndicom": 0, "StudyDate": ""}, {
            "ndicom": ["This field must be a postive integer. Got 0."],
            "StudyDate": ["Date has wrong format. Use one of these formats instead: YYYY-MM-DD."],
        }),
    ],
)  # fmt: skip
def test_new_refuses(new: CubeServer, shelf: Shelf, change: dict[str, Any], complaint: dict[str, Any]) -> None:
    assert chris(new).post("pacs/series/", {**NEW_BODY, **change}) == (400, complaint)
    assert shelf.looks == 0
    assert chris(new).count("pacs/series/") == 0


def test_new_empty_object(new: CubeServer) -> None:
    names = {"path", "ndicom", "PatientID", "StudyDate", "StudyInstanceUID", "SeriesInstanceUID", "pacs_name"}
    assert chris(new).post("pacs/series/", {}) == (400, dict.fromkeys(names, REQUIRED))


@pytest.mark.parametrize(("ndicom", "looks"), [(23, 1), (25, 3)])
def test_new_counts_more_at_once_and_fewer_in_the_end(new: CubeServer, shelf: Shelf, ndicom: int, looks: int) -> None:
    sentence = f"The number of DICOM files found under {FOLDER}(24) was different from the ndicom({ndicom}) field"
    answer = chris(new).post("pacs/series/", {**NEW_BODY, "ndicom": ndicom})
    assert answer == (400, {"non_field_errors": [sentence]})
    assert shelf.looks == looks


def test_new_counts_up_to_thirty_times_a_second_apart(tmp_path: Path) -> None:
    cube = Cube(FolderStore(tmp_path))
    assert (cube.looks, cube.pause_s) == (30, 1.0)


def test_new_waits_for_late_files_and_for_the_storage(new: CubeServer, shelf: Shelf) -> None:
    shelf.broken_looks = 1
    shelf.late = {3: [f"{FOLDER}/deep/er/0025.dcm", f"{FOLDER}/0026.DCM", f"{FOLDER}/notes.txt"]}
    assert chris(new).post("pacs/series/", {**NEW_BODY, "ndicom": 25})[0] == 201
    assert shelf.looks == 3
    assert chris(new).count("pacs/files/search/", fname=f"{FOLDER}/", limit=1) == 27
    assert chris(new).count("pacs/files/search/", fname_exact=f"{FOLDER}/notes.txt") == 1


def test_new_takes_a_series_once_for_each_pacs(new: CubeServer, shelf: Shelf) -> None:
    assert chris(new).post("pacs/series/", NEW_BODY)[0] == 201
    assert chris(new).post("pacs/series/", NEW_BODY) == (400, [DUPLICATE])
    status, answer = chris(new, COLLECTION).post("pacs/series/", NEW_BODY, COLLECTION)
    assert (status, message(answer)) == (400, f'["{DUPLICATE}"]')
    status, answer = chris(new).post("pacs/series/", {**NEW_BODY, "ndicom": 1})
    assert answer["non_field_errors"][0].startswith("The number of DICOM files found")
    elsewhere = FOLDER.replace("CLINIC", "OTHER")
    shelf.put(*series_files(2, elsewhere))
    assert chris(new).post("pacs/series/", {**NEW_BODY, "path": elsewhere, "ndicom": 2, "pacs_name": "OTHER"})[0] == 201


def test_new_crashes_when_a_file_is_registered_already_and_leaves_some_behind(new: CubeServer, shelf: Shelf) -> None:
    assert chris(new).post("pacs/series/", NEW_BODY)[0] == 201
    other = {**NEW_BODY, "SeriesInstanceUID": "1.2.840.1.4"}
    assert chris(new).post("pacs/series/", other) == (500, CRASH)
    parent = FOLDER.rpartition("/")[0]
    shelf.put(f"{parent}/00001-LOC/0001.dcm")
    for _ in range(2):
        assert chris(new).post("pacs/series/", {**other, "path": parent, "ndicom": 25}) == (500, CRASH)
    assert chris(new).count("pacs/files/search/", fname=f"{parent}/00001-LOC/") == 1
    assert chris(new).count("pacs/series/") == 1
    double = FOLDER.replace("/00003", "//00003")
    assert chris(new).post("pacs/series/", {**other, "path": double}) == (500, CRASH)


def test_new_takes_a_file_for_a_folder(new: CubeServer) -> None:
    name = series_files()[0]
    status, item = chris(new).post("pacs/series/", {**NEW_BODY, "path": name, "ndicom": 1})
    assert (status, item["folder_path"]) == (201, name)


def test_new_removes_commas_in_storage_too(new: CubeServer, shelf: Shelf) -> None:
    folder = "SERVICES/PACS/CLINIC/p/s"
    shelf.put(f"{folder}/a,b.dcm", f"{folder}/c,d/e.dcm", f"{folder}/ ,", f"{folder}/,/f.dcm")
    assert chris(new).post("pacs/series/", {**NEW_BODY, "path": folder, "ndicom": 3})[0] == 201
    names = [f"{folder}/ab.dcm", f"{folder}/cd/e.dcm", f"{folder}/f.dcm"]
    assert FolderStore.listing(shelf, folder) == names
    assert sorted(item["fname"] for item in chris(new).get("pacs/files/")["results"]) == names


def test_new_search(new: CubeServer, shelf: Shelf) -> None:
    assert chris(new).post("pacs/series/", NEW_BODY)[0] == 201
    other = FOLDER.replace("00003-T2", "00004-T1")
    shelf.put(*series_files(1, other))
    body = {**NEW_BODY, "path": other, "ndicom": 1, "SeriesInstanceUID": "1.2.840.1.4", "PatientAge": 10}
    assert chris(new).post("pacs/series/", body)[0] == 201
    count = chris(new).count
    where = "pacs/series/search/"
    assert count(where, pacs_identifier="CLINIC", SeriesInstanceUID="1.2.840.1.3", limit=1) == 1
    assert count(where, pacs_identifier="CLINIC", SeriesInstanceUID="1.2.840.1", limit=1) == 0
    assert count(where, pacs_id=1, deletion_status="inactive") == 2
    assert count(where, PatientName="roe^", PatientSex="M", StudyDate="2024-03-01") == 2
    assert count(where, min_PatientAge=1) == count(where, PatientAge=10) == 1
    assert count(where, SeriesInstanceUID="") == 2
    assert count("pacs/1/series/") == 2
    assert count("pacs/search/", identifier="CLINIC") == 1
    assert new.violations == []
    assert count(where, SeriesUID="1.2.3") == 2
    assert new.violations == ["GET /api/v1/pacs/series/search/: query parameter SeriesUID is none"]


def test_new_rights(new: CubeServer) -> None:
    refused = {"detail": "You do not have permission to perform this action."}
    for user in ("member", "outsider", "boss"):
        assert Client(new.url, user).post("pacs/series/", NEW_BODY) == (403, refused)
    assert Client(new.url, "member").count("pacs/series/") == 0
    assert Client(new.url, "outsider").ask("GET", "pacs/series/").status == 403
    answer = chris(new).ask("POST", "pacs/files/", b"{}", JSON)
    assert (answer.status, json.loads(answer.body)) == (405, {"detail": 'Method "POST" not allowed.'})
    assert answer.headers["allow"] == "GET"
    assert chris(new).ask("PUT", "pacs/series/1/", b"{}", JSON).status == 405


@pytest.mark.parametrize("kind", [FORM, MULTIPART])
def test_new_takes_forms(new: CubeServer, kind: str) -> None:
    values = {**NEW_BODY, "PatientBirthDate": ""}
    body = "&".join(f"{name}={value}" for name, value in values.items())
    content_type = kind
    if kind == MULTIPART:
        parts = [
            f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in values.items()
        ]
        body, content_type = "".join(parts) + "--cut--\r\n", f"{MULTIPART}; boundary=cut"
    answer = chris(new).ask("POST", "pacs/series/", body.encode(), content_type)
    assert answer.status == 201, answer
    assert json.loads(answer.body)["PatientBirthDate"] is None


def test_new_deletes_on_folders_only_what_is_meant(new: CubeServer, shelf: Shelf) -> None:
    sibling = f"{FOLDER}0"
    shelf.put(*series_files(1, sibling))
    assert chris(new).post("pacs/series/", NEW_BODY)[0] == 201
    body = {**NEW_BODY, "path": sibling, "ndicom": 1, "SeriesInstanceUID": "1.2.840.1.4"}
    assert chris(new).post("pacs/series/", body)[0] == 201
    answer = chris(new).ask("DELETE", "pacs/series/1/")
    assert (answer.status, json.loads(answer.body)["deletion_status"]) == (202, "pending")
    assert chris(new).get("pacs/series/1/")["deletion_status"] == "pending"
    new.cube.work()
    answer = chris(new).ask("GET", "pacs/series/1/")
    assert (answer.status, json.loads(answer.body)) == (404, {"detail": "No PACSSeries matches the given query."})
    assert FolderStore.listing(shelf, "SERVICES") == series_files(1, sibling)
    assert chris(new).count("pacs/files/") == chris(new).count("pacs/series/") == 1
    assert chris(new).post("pacs/series/", NEW_BODY)[0] == 400


def test_swift_counts_and_deletes_by_prefix(cube_server: ServerMaker, swift: SwiftServer) -> None:
    server = cube_server(SwiftStore(swift.account), "new", looks=2, pause_s=0.01)
    top = "SERVICES/PACS/CLINIC/p"
    for name in (f"{top}/s1/1.dcm", f"{top}/s10/1.dcm", f"{top}/s10/2.dcm"):
        swift.account.put("users", name, b"x" * 7)
    body = {**NEW_BODY, "path": f"{top}/s1", "ndicom": 1}
    status, answer = chris(server).post("pacs/series/", body)
    sentence = f"The number of DICOM files found under {top}/s1(3) was different from the ndicom(1) field"
    assert (status, answer) == (400, {"non_field_errors": [sentence]})
    s10 = {**body, "path": f"{top}/s10", "ndicom": 2, "SeriesInstanceUID": "1.10"}
    assert chris(server).post("pacs/series/", s10)[0] == 201
    assert [item["fsize"] for item in chris(server).get("pacs/files/")["results"]] == [7, 7]
    assert chris(server).post("pacs/series/", {**body, "ndicom": 3}) == (500, CRASH)
    swift.account.put("users", f"{top}/s/1.dcm", b"x")
    server.cube.data.files.clear()
    swift.account.delete("users", f"{top}/s1/1.dcm")
    assert chris(server).ask("DELETE", "pacs/series/1/").status == 202
    server.cube.work()
    assert swift.names() == [f"{top}/s/1.dcm"]


def test_swift_that_is_down_counts_as_empty(cube_server: ServerMaker) -> None:
    nobody = SwiftStore(SwiftAccount(f"http://127.0.0.1:{free_port()}/auth/v1.0", "a:b", "c"))
    server = cube_server(nobody, "new", looks=2, pause_s=0.01)
    status, answer = chris(server).post("pacs/series/", NEW_BODY)
    assert (status, answer["non_field_errors"][0].count("(0)")) == (400, 1)
    server = cube_server(nobody, "old")
    assert chris(server).post("pacsfiles/", OLD_BODY) == (400, {"path": ["Could not find this path."]})


# Fields, both APIs


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PatientID", "x" * 101, "Ensure this field has no more than 100 characters."),
        ("PatientID", "", "This field may not be blank."),
        ("PatientName", "x" * 151, "Ensure this field has no more than 150 characters."),
        ("PatientName", None, "This field may not be null."),
        ("PatientName", "a\0b", "Null characters are not allowed."),
        ("PatientName", ["x"], "Not a valid string."),
        ("PatientBirthDate", "", "Date has wrong format. Use one of these formats instead: YYYY-MM-DD."),
        ("PatientBirthDate", "19800229", "Date has wrong format. Use one of these formats instead: YYYY-MM-DD."),
        ("StudyDate", "2023-02-29", "Date has wrong format. Use one of these formats instead: YYYY-MM-DD."),
        ("StudyDate", None, "This field may not be null."),
        ("PatientAge", "012Y", "A valid integer is required."),
        ("PatientAge", 2147483648, "Ensure this value is less than or equal to 2147483647."),
        ("PatientAge", "", "A valid integer is required."),
        ("PatientSex", "X", '"X" is not a valid choice.'),
        ("PatientSex", None, "This field may not be null."),
        ("AccessionNumber", "x" * 101, "Ensure this field has no more than 100 characters."),
        ("Modality", "x" * 16, "Ensure this field has no more than 15 characters."),
        ("ProtocolName", "x" * 65, "Ensure this field has no more than 64 characters."),
        ("StudyInstanceUID", "1" * 101, "Ensure this field has no more than 100 characters."),
        ("StudyDescription", "x" * 401, "Ensure this field has no more than 400 characters."),
        ("SeriesInstanceUID", "1" * 101, "Ensure this field has no more than 100 characters."),
        ("SeriesDescription", "x" * 401, "Ensure this field has no more than 400 characters."),
        ("pacs_name", "", "This field may not be blank."),
        ("path", None, "This field may not be null."),
    ],
)
def test_field_is_refused_by_both(old: CubeServer, new: CubeServer, name: str, value: object, sentence: str) -> None:
    assert chris(old).post("pacsfiles/", {**OLD_BODY, name: value}) == (400, {name: [sentence]})
    assert chris(new).post("pacs/series/", {**NEW_BODY, name: value}) == (400, {name: [sentence]})


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("PatientID", f" {'x' * 100} ", "x" * 100),
        ("PatientID", 77, "77"),
        ("PatientName", "é" * 150, "é" * 150),
        ("PatientBirthDate", None, None),
        ("PatientAge", None, None),
        ("PatientAge", "16072", 16072),
        ("PatientAge", -1, -1),
        ("PatientSex", "O", "O"),
        ("PatientSex", "", ""),
        ("SeriesDescription", "", ""),
        ("NoSuchField", "x", None),
    ],
)
def test_field_is_taken_by_both(old: CubeServer, new: CubeServer, name: str, value: object, kept: object) -> None:
    status, item = chris(old).post("pacsfiles/", {**OLD_BODY, name: value})
    assert (status, item.get(name)) == (201, kept)
    shelf = old.cube.store
    assert isinstance(shelf, Shelf)
    count = len(FolderStore.listing(shelf, FOLDER))
    status, item = chris(new).post("pacs/series/", {**NEW_BODY, "ndicom": count, name: value})
    assert (status, item.get(name)) == (201, kept)


# Root, media types, login


@pytest.mark.parametrize(
    ("dialect", "links"),
    [
        ("old", {"pacsfiles": "pacsfiles/"}),
        (
            "new",
            {"pacsfiles": "pacs/files/", "pacsseries": "pacs/series/", "pacs": "pacs/", "pacsqueries": "pacs/queries/"},
        ),
        ("gap", {"pacsfiles": "pacs/files/", "pacsseries": "pacs/series/"}),
        ("none", {}),
    ],
)
def test_root_tells_the_dialect(cube_server: ServerMaker, shelf: Shelf, dialect: str, links: dict[str, str]) -> None:
    server = cube_server(shelf, dialect)
    root = Client(server.url, None).get("")
    have = root["collection_links"]
    assert {name: have[name] for name in have if name.startswith("pacs")} == {
        name: f"{server.url}{at}" for name, at in links.items()
    }
    assert "user" not in have
    assert "user" in chris(server).get("")["collection_links"]
    answer = json.loads(Client(server.url, None, accept=None).ask("GET", "").body)
    assert {link["rel"]: link["href"] for link in answer["collection"]["links"]} == have
    assert server.violations == []
    if dialect != "old":
        assert server.description.answer_violations("GET", "/api/v1/", 200, root) == []


@pytest.mark.parametrize(
    ("dialect", "absent"),
    [("old", ["pacs/series/"]), ("new", ["pacsfiles/"]), ("none", ["pacs/series/", "pacsfiles/"])],
)
def test_the_other_url_is_a_page_of_html(
    cube_server: ServerMaker, shelf: Shelf, dialect: str, absent: list[str]
) -> None:
    server = cube_server(shelf, dialect)
    for path in absent:
        answer = chris(server).ask("POST", path, b"{}", JSON)
        assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert b"<h1>Not Found</h1>" in answer.body
    if dialect != "none":
        assert server.violations == [f"POST /api/v1/{path}: no such path or method" for path in absent]


def test_in_the_gap_series_can_only_be_read(cube_server: ServerMaker, shelf: Shelf) -> None:
    server = cube_server(shelf, "gap")
    listed = chris(server).ask("GET", "pacs/series/")
    assert (listed.headers["allow"], "template" in json.loads(listed.body)) == ("GET", False)
    answer = chris(server).ask("POST", "pacs/series/", json.dumps(NEW_BODY).encode(), JSON)
    assert (answer.status, json.loads(answer.body)) == (405, {"detail": 'Method "POST" not allowed.'})


def test_collection_that_takes_posts_says_so(new: CubeServer, old: CubeServer) -> None:
    for server, path in ((new, "pacs/series/"), (old, "pacsfiles/")):
        answer = chris(server).ask("GET", path)
        assert answer.headers["allow"] == "GET, POST"
        names = [item["name"] for item in json.loads(answer.body)["template"]["data"]]
        assert {"path", "pacs_name", "SeriesInstanceUID"} <= set(names)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, COLLECTION),
        ("*/*", COLLECTION),
        (COLLECTION, COLLECTION),
        (JSON, JSON),
        ("application/json, text/plain, */*", JSON),
        ("text/html", "text/html"),
        ("application/*", COLLECTION),
    ],
)
def test_answer_is_of_the_type_asked_for(new: CubeServer, accept: str | None, kind: str) -> None:
    assert chris(new, accept).ask("GET", "pacs/series/").headers["content-type"] == kind


def test_types_of_requests(new: CubeServer, old: CubeServer) -> None:
    for server, path, body in ((new, "pacs/series/", NEW_BODY), (old, "pacsfiles/", OLD_BODY)):
        answer = chris(server).ask("POST", path, b"x", "text/plain")
        unsupported = {"detail": 'Unsupported media type "text/plain" in request.'}
        assert (answer.status, json.loads(answer.body)) == (415, unsupported)
        answer = chris(server).ask("POST", path, b"{", JSON)
        assert answer.status == 400
        assert json.loads(answer.body)["detail"].startswith("JSON parse error - ")
        answer = chris(server).ask("POST", path, json.dumps(body).encode(), COLLECTION)
        assert (answer.status, list(json.loads(answer.body))) == (400, ["detail"])
        assert "template" in json.loads(answer.body)["detail"]
        assert len(server.violations) == 3
        right = {**body, "ndicom": 25} if server is new else body  # the file of the other example lies there too
        status, answer = chris(server, COLLECTION).post(path, right, COLLECTION)
        assert status == 201
        [item] = answer["collection"]["items"]
        data = {value["name"]: value["value"] for value in item["data"]}
        assert (data["SeriesInstanceUID"], item["href"]) == ("1.2.840.1.3", f"{server.url}{path}1/")
        assert {link["rel"] for link in item["links"]} <= {"folder", "file_resource"}
        assert len(server.violations) == 3


def test_logins(new: CubeServer) -> None:
    def status_of(credentials: str | None = None) -> tuple[int, Any, str | None]:
        headers = {"Accept": JSON} if credentials is None else {"Accept": JSON, "Authorization": credentials}
        answer = ask("GET", f"{new.url}pacs/series/", headers)
        return answer.status, json.loads(answer.body), answer.headers.get("www-authenticate")

    def basic(text: str) -> str:
        return f"Basic {base64.b64encode(text.encode()).decode()}"

    assert status_of() == (401, {"detail": "Authentication credentials were not provided."}, "Token")
    wrong = (401, {"detail": "Invalid username/password."}, "Token")
    assert status_of(basic("chris:wrong")) == wrong
    assert status_of(basic("nobody:chris1234")) == wrong
    assert status_of("Token 0123") == (401, {"detail": "Invalid token."}, "Token")
    assert status_of(basic("chris:chris1234"))[0] == 200


def test_tokens(new: CubeServer) -> None:
    anyone = Client(new.url, None)
    login = {"username": "chris", "password": "chris1234"}
    status, answer = anyone.post("auth-token/", login)
    assert (status, list(answer)) == (200, ["token"])
    assert re.fullmatch("[0-9a-f]{40}", answer["token"])
    assert anyone.post("auth-token/", login) == (200, answer)
    wrong = {"non_field_errors": ["Unable to log in with provided credentials."]}
    assert anyone.post("auth-token/", {**login, "password": "x"}) == (400, wrong)
    form = anyone.ask("POST", "auth-token/", b"username=chris&password=chris1234", FORM)
    assert form.status == 200
    assert anyone.ask("POST", "auth-token/", json.dumps(login).encode(), JSON, Accept=COLLECTION).status == 406
    assert anyone.ask("POST", "auth-token/", b"{}", COLLECTION).status == 415
    assert anyone.ask("GET", "auth-token/").status == 405
    credentials = f"Token {answer['token']}"
    posted = anyone.ask("POST", "pacs/series/", json.dumps(NEW_BODY).encode(), JSON, Authorization=credentials)
    assert posted.status == 201


def test_missing_slash_is_redirected(new: CubeServer) -> None:
    answer = chris(new).ask("POST", "pacs/series", b"{}", JSON)
    assert (answer.status, answer.headers["location"]) == (301, f"{new.url}pacs/series/")
    assert chris(new).ask("GET", "pacs/nothing").status == 404
    assert new.violations == [
        "POST /api/v1/pacs/series: no such path or method",
        "GET /api/v1/pacs/nothing: no such path or method",
    ]


def test_plain_sentence_of_collection_json(new: CubeServer) -> None:
    url = f"{new.url}pacs/series/99/?limit=1"
    answer = json.loads(chris(new, COLLECTION).ask("GET", "pacs/series/99/?limit=1").body)
    sentence = "No PACSSeries matches the given query."
    assert answer == {"collection": {"version": "1.0", "href": url, "error": {"message": sentence}}}


# Lists


def test_lists_are_paged(new: CubeServer) -> None:
    assert chris(new).post("pacs/series/", NEW_BODY)[0] == 201
    page = chris(new).get("pacs/files/")
    url = f"{new.url}pacs/files/"
    assert (page["count"], len(page["results"]), page["previous"]) == (24, 10, None)
    assert page["next"] == f"{url}?limit=10&offset=10"
    page = chris(new).get("pacs/files/", limit=5, offset=5)
    assert (page["next"], page["previous"]) == (f"{url}?limit=5&offset=10", f"{url}?limit=5")
    assert chris(new).get("pacs/files/", limit=12, offset=12)["next"] is None
    page = chris(new).get("pacs/files/", limit=1000)
    assert (len(page["results"]), page["next"]) == (24, None)
    assert new.description.answer_violations("GET", "/api/v1/pacs/files/", 200, page) == []
    assert chris(new).get("pacs/files/search/", fname=FOLDER, limit=20)["next"].startswith(f"{url}search/?fname=SERV")
    answer = json.loads(chris(new, COLLECTION).ask("GET", "pacs/files/?limit=5&offset=5").body)["collection"]
    assert (answer["total"], len(answer["items"])) == (24, 5)
    assert {link["rel"] for link in answer["links"]} == {"next", "previous"}
    assert new.violations == []


def test_bytes_of_a_file(new: CubeServer, old: CubeServer) -> None:
    assert chris(new).post("pacs/series/", {**NEW_BODY, "ndicom": 25})[0] == 201
    assert chris(old).post("pacsfiles/", OLD_BODY)[0] == 201
    for server, path in ((new, "pacs/files/1/"), (old, "pacsfiles/1/")):
        item = chris(server).get(path)
        name = item["fname"].rpartition("/")[2]
        assert item["file_resource"] == f"{server.url}{path}{name}"
        for url in (item["file_resource"], f"{server.url}{path}whatever.dcm"):
            answer = ask("GET", url, chris(server).headers())
            assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"x" * 20, "application/dicom")
            assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert server.violations == []
        sticky = chris(server).get(path, format="json")
        assert sticky["file_resource"] == f"{server.url}{path}?format=json{name}"


def test_list_with_a_lost_object_crashes(new: CubeServer, shelf: Shelf) -> None:
    assert chris(new).post("pacs/series/", NEW_BODY)[0] == 201
    shelf.delete(series_files()[5])
    assert chris(new).ask("GET", "pacs/files/").status == 500
    assert chris(new).ask("GET", "pacs/files/?limit=5").status == 200
    answer = chris(new, "application/json, */*").ask("GET", "pacs/files/6/")
    assert answer.headers["content-type"] == COLLECTION
    assert message(json.loads(answer.body)) == "Internal server error"


def test_list_of_pacs_needs_pfdcm(new: CubeServer) -> None:
    assert chris(new).ask("GET", "pacs/").status == 500


# Trouble


def test_500_at_the_wanted_post(old: CubeServer, shelf: Shelf) -> None:
    shelf.put(*series_files(3))
    old.faults.on_post(2, "crash")
    old.faults.on_post(3, "crash_after")
    bodies = [{**OLD_BODY, "path": name} for name in series_files(3)]
    assert [chris(old).post("pacsfiles/", body)[0] for body in bodies] == [201, 500, 500]
    assert chris(old).count("pacsfiles/") == 2
    assert [chris(old).post("pacsfiles/", body)[0] for body in bodies] == [400, 201, 400]
    assert old.statuses() == {201: 2, 500: 2, 400: 2}


def test_answer_cut_off_though_the_series_is_registered(new: CubeServer) -> None:
    new.faults.on_post(1, "cut")
    with pytest.raises(http.client.IncompleteRead):
        chris(new).post("pacs/series/", NEW_BODY)
    assert chris(new).count("pacs/series/") == 1


def test_hanging_post_goes_on_without_its_client(new: CubeServer) -> None:
    new.faults.on_post(1, "hang", 0.5)
    body = json.dumps(NEW_BODY).encode()
    with pytest.raises(TimeoutError):
        ask("POST", f"{new.url}pacs/series/", {**chris(new).headers(), "Content-Type": JSON}, body, timeout=0.1)
    assert chris(new).count("pacs/series/") == 0
    wait_until(lambda: chris(new).count("pacs/series/") == 1, "the server registered after all")


def test_stopping_does_not_wait_for_a_hanging_post(cube_server: ServerMaker, shelf: Shelf) -> None:
    server = cube_server(shelf, "new")
    server.faults.on_post(1, "hang", 3600)
    with pytest.raises(TimeoutError):
        ask("POST", f"{server.url}pacs/series/", chris(server).headers(), b"{}", timeout=0.1)


def test_token_that_expires(new: CubeServer) -> None:
    anyone = Client(new.url, None)
    login = {"username": "chris", "password": "chris1234"}

    def statuses(token: str, times: int) -> list[int]:
        return [anyone.ask("GET", "pacs/series/", Authorization=f"Token {token}").status for _ in range(times)]

    token = anyone.post("auth-token/", login)[1]["token"]
    new.expire_token_after(2)
    assert statuses(token, 4) == [200, 200, 401, 401]
    assert statuses(anyone.post("auth-token/", login)[1]["token"], 4) == [200] * 4


def test_connections_are_kept_and_told_apart(new: CubeServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", new.port, timeout=10)
    for _ in range(3):
        connection.request("GET", "/api/v1/pacs/series/", headers=chris(new).headers())
        assert connection.getresponse().read()
    connection.close()
    chris(new).get("pacs/series/")
    assert len({seen.connection for seen in new.seen}) == 2
    assert {seen.scheme for seen in new.seen} == {"Basic"}
    assert new.most_at_once == 1


def test_requests_at_once_are_counted(new: CubeServer) -> None:
    for number in (1, 2, 3):
        new.faults.on_post(number, "hang", 0.3)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: chris(new).post("pacs/series/", NEW_BODY), range(3)))
    assert sorted(status for status, _ in answers) == [201, 400, 400]
    assert new.most_at_once == 3


# The description


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        ({"PatientAge": "16072"}, ".PatientAge: '16072' against type integer"),
        ({"PatientBirthDate": "19800229"}, ".PatientBirthDate: '19800229' against format date"),
        ({"PatientName": None}, ".PatientName: None against type string"),
        ({"PatientSex": "X"}, ".PatientSex: 'X' against oneOf"),
        ({"pacs_name": "x" * 21}, f".pacs_name: '{'x' * 21}' against maxLength 20"),
        ({"PatientAge": 2147483648}, ".PatientAge: 2147483648 against maximum 2147483647"),
        ({"ndicom": True}, ".ndicom: True against type integer"),
        ({"StudyDescriptoin": "x"}, ".StudyDescriptoin: no such field"),
        ({"id": 3}, ".id: no such field"),
    ],
)
def test_bad_body_is_a_violation(new: CubeServer, change: dict[str, Any], violation: str) -> None:
    chris(new).post("pacs/series/", {**NEW_BODY, **change})
    assert new.violations == [f"POST /api/v1/pacs/series/: {violation}"]


def test_missing_field_and_wrong_query_are_violations(new: CubeServer) -> None:
    chris(new).post("pacs/series/", {name: value for name, value in NEW_BODY.items() if name != "ndicom"})
    chris(new).ask("GET", "pacs/series/?limit=x")
    chris(new).ask("GET", "pacs/series/", b"{}", JSON)
    chris(new).ask("OPTIONS", "pacs/series/")
    assert new.violations == [
        "POST /api/v1/pacs/series/: .ndicom: missing",
        "GET /api/v1/pacs/series/: query parameter limit is no number: 'x'",
        "GET /api/v1/pacs/series/: a body",
        "OPTIONS /api/v1/pacs/series/: no such path or method",
    ]


def test_per_file_api_is_described_too(old: CubeServer) -> None:
    chris(old).post("pacsfiles/", {**OLD_BODY, "ndicom": 1, "PatientAge": "1"})
    assert old.violations == [
        "POST /api/v1/pacsfiles/: .PatientAge: '1' against type integer",
        "POST /api/v1/pacsfiles/: .ndicom: no such field",
    ]
    item = chris(old).get("pacsfiles/1/")
    assert old.description.answer_violations("GET", "/api/v1/pacsfiles/1/", 200, item) == []


def test_every_keyword_of_the_description_is_known(new: CubeServer) -> None:
    for name, schema in new.description.schemas.items():
        list(new.description.violations(schema, {}, "answer", name))
        for item in schema.get("properties", {}).values():
            list(new.description.violations(item, "x", "answer", name))
            assert item.get("format", "date") in FORMATS


def test_nothing_of_pypx_is_imported() -> None:
    package = Path(__file__).parents[1] / "cube_contract"
    for path in package.glob("*.py"):
        assert not re.search(r"^\s*(import|from) pypx", path.read_text(), re.MULTILINE), path
