"""Our answers over the tables that pypx 3.6.2 left, against its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pypx.compat import smdb_json
from pypx.compat.feedback import Feedback
from pypx.compat.find_json import to_document
from pypx.compat.find_read import from_document
from pypx.compat.status_json import status_document
from pypx.compat.then_json import to_document as then_document
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.outcomes import FindResult
from pypx.workflows.chain import ChainResult, run_chain
from pypx.workflows.smdb import images_of_patient, images_of_series
from pypx.workflows.status import refs_of_result, refs_of_study, series_status
from pypx.workflows.then import parse_then
from support import golden

STUDY, SERIES = UID("2.25.653198307399165578185356073155066334"), UID("2.25.604306568731276869699318073719750404")
PATIENT = "PID00000"


@pytest.fixture
def filled(tmp_path: Path) -> Database:
    return Database.open(Layout.of_basemount(golden.make_basemount(tmp_path / "basemount")))


@pytest.fixture
def empty(tmp_path: Path) -> Database:
    return Database.open(Layout.of_basemount(tmp_path / "basemount"))


def found(name: str) -> FindResult:
    return from_document(golden.document(name, {"PACSPORT": 104}))


def chain(result: FindResult, then: str, database: Database) -> tuple[ChainResult, str]:
    """What the chain did, and its feedback in the colours of pypx."""
    texts: list[str] = []
    feedback = Feedback(result, database, colour=True)
    done = run_chain(
        result, parse_then(then), database=database, on_event=lambda event: texts.append(feedback.text(event))
    )
    return done, "".join(texts)


def sort_series(document: Any) -> Any:
    """Sort what pypx listed in the order of the directory."""
    if isinstance(document, dict):
        return {key: sorted(v) if key == "seriesList" else sort_series(v) for key, v in document.items()}
    return [sort_series(item) for item in document] if isinstance(document, list) else document


def places(database: Database) -> dict[str, object]:
    return {"BASEMOUNT": database.layout.base, "PACSPORT": 104}


def test_status_of_a_series(filled: Database) -> None:
    (ref,) = (ref for ref in refs_of_study(filled, STUDY) if ref.SeriesInstanceUID == SERIES)
    (status,) = series_status([ref], filled)
    recorded = golden.document("34-px-status.out", places(filled))
    ours = status_document(status, filled, verify=True)
    assert ours == sort_series(recorded)
    assert list(ours) == list(recorded)
    assert list(ours["series"]["seriesTable"]) == list(recorded["series"]["seriesTable"])


def test_find_then_status_after_the_retrieve(filled: Database) -> None:
    check_then_status("29-status-after.out", filled)


def test_find_then_status_before_the_retrieve(empty: Database) -> None:
    check_then_status("19-status-before.out", empty)


def check_then_status(name: str, database: Database) -> None:
    recorded = golden.document(name, places(database))
    result = from_document(recorded)
    done, _ = chain(result, "status", database)
    then = then_document(done, database)
    assert then == sort_series(recorded["then"])
    args = {key: value for key, value in recorded["args"].items() if key != "reportData"}
    ours = to_document(result, {**args, "SeriesInstanceUID": ""}, then)
    assert list(ours) == list(recorded)
    assert ours["args"] == args


@pytest.mark.parametrize("name", ["30-status-after-fb.out", "20-status-before-fb.out", "41-report-then.out"])
def test_feedback(filled: Database, empty: Database, name: str, tmp_path: Path) -> None:
    nothing = Database.open(Layout.of_basemount(tmp_path / "nothing"))
    verb = "report" if "report" in name else "status"
    _, text = chain(found("08-find-pid.out"), verb, nothing if "before" in name else filled)
    assert text == golden.text(name)


def test_feedback_without_colours_is_the_same_text(filled: Database) -> None:
    texts: list[str] = []
    result = found("08-find-pid.out")
    feedback = Feedback(result, filled)
    run_chain(result, parse_then("status"), database=filled, on_event=lambda event: texts.append(feedback.text(event)))
    assert "".join(texts) == golden.plain(golden.text("30-status-after-fb.out"))


def test_image_directory_of_a_series(filled: Database) -> None:
    ours = smdb_json.image_dirs_series_document(images_of_series(filled, SERIES), filled)
    assert ours == golden.document("36-smdb-dirs-series.out", places(filled))


def test_image_directory_of_an_unknown_series(filled: Database) -> None:
    uid = UID("9.9")
    ours = smdb_json.image_dirs_series_document(images_of_series(filled, uid), filled)
    assert ours["status"] is False
    assert ours[uid] == str(filled.layout.log / "seriesData" / "9.9-img")


STAT = {"atime", "blksize", "blocks", "ctime", "dev", "gid", "ino", "mode", "mtime", "nlink", "rdev", "uid", "size"}


def test_image_directories_of_a_patient(filled: Database) -> None:
    ours = smdb_json.image_dirs_patient_document(PATIENT, images_of_patient(filled, PATIENT), filled)
    recorded = golden.document("35-smdb-dirs-pid.out", places(filled))
    assert list(ours) == list(recorded)
    assert sorted_dirs(ours) == sorted_dirs(recorded)
    every = {uid: block for series in recorded["d_series"].values() for one in series for uid, block in one.items()}
    for study, series in ours["d_series"].items():
        assert {uid for one in series for uid in one} == {ref.SeriesInstanceUID for ref in refs_of_study(filled, study)}
        for one in series:
            ((uid, block),) = one.items()
            theirs = every[uid]
            assert list(block) == list(theirs)
            assert {key: value for key, value in block.items() if key not in {"outputFile", "imageObj"}} == {
                key: value for key, value in theirs.items() if key not in {"outputFile", "imageObj"}
            }
            folder = Path(theirs["imageObj"][theirs["outputFile"]]["FSlocation"]).parent
            assert block["imageObj"][block["outputFile"]]["FSlocation"] == str(folder / block["outputFile"])


def sorted_dirs(document: dict[str, Any]) -> dict[str, list[str]]:
    return {study: sorted(dirs) for study, dirs in document["d_imageDirs"].items()}


def test_unknown_patient(filled: Database) -> None:
    ours = smdb_json.image_dirs_patient_document("x", images_of_patient(filled, "x"), filled)
    assert ours == {"status": False, "PatientID": "x", "d_series": {}, "d_imageDirs": {}}


def test_table_files(filled: Database) -> None:
    recorded = golden.document("39-smdb-tables.out", places(filled))
    image = Path(recorded["seriesData_DBtablesGet"]["series-image"]["name"]).name.removesuffix(".json")
    ours = smdb_json.tables_document(
        "seriesMap_DBtablesGet", filled, series=SERIES, study=STUDY, PatientID=PATIENT, image=image
    )
    assert ours == recorded
    everything = smdb_json.tables_document(
        "series study patient", filled, series=SERIES, study=STUDY, PatientID=PATIENT, image=image
    )
    assert set(everything) == {"status", *(f"{name}Data_DBtablesGet" for name in ("series", "study", "patient"))}
    assert everything["patientData_DBtablesGet"]["patientDataFile"]["exists"] is True


def test_failed_action() -> None:
    assert smdb_json.failure("endOfStudy") == golden.document("40-smdb-eos.out")
    assert smdb_json.tables_document("x", unused(), series=SERIES, study=STUDY, PatientID="") == smdb_json.failure("x")


def unused() -> Database:
    return Database.open(Layout.of_log(Path("/nonexistent/log")))


def test_services() -> None:
    entries = {"orthanc": {"aet": "CHRISLOCAL"}}
    assert smdb_json.service_document("PACS", entries) == {"status": True, "PACS": entries}
    assert smdb_json.service_document("PACS", {}) == smdb_json.failure("PACS")


def test_statuses_of_a_result_are_complete(filled: Database) -> None:
    counted: Iterable[tuple[int, ...]] = (
        (status.received, status.packed, status.expected or 0)
        for status in series_status(refs_of_result(found("08-find-pid.out")), filled)
    )
    assert list(counted) == [(4, 4, 4)] * 3
