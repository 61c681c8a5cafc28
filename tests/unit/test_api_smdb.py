"""``smdb.SMDB`` and ``repack.Process`` as programs use them."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from pypx import repack, smdb, utils
from support import golden

CORPUS = Path(__file__).parents[1] / "golden" / "corpus"
FILE = CORPUS / "p000/s000/r000/00000.dcm"
STUDY, SERIES = "2.25.653198307399165578185356073155066334", "2.25.604306568731276869699318073719750404"


@pytest.fixture
def recorded(tmp_path: Path) -> smdb.SMDB:
    """The BASEMOUNT that pypx left after its retrieve."""
    return smdb.SMDB(Namespace(str_logDir=str(golden.make_basemount(tmp_path) / "log")))


def test_making_one_leaves_the_disk_alone(tmp_path: Path) -> None:
    """Defect D13."""
    base = smdb.SMDB(Namespace(str_logDir=str(tmp_path / "log")))
    assert base.service_keyAccess("pacs") == {"status": False}
    assert base.series_receivedFilesCount(SERIES)["count"] <= 0
    assert list(tmp_path.iterdir()) == []
    assert (base.args.verbosity, base.args.b_debug, base.args.str_debugFile) == (0, False, "/dev/null")
    base.housingDirs_create()
    assert (tmp_path / "log").is_dir()


def test_services_as_pfdcm_sets_and_reads_them(tmp_path: Path) -> None:
    base = smdb.SMDB(Namespace(str_logDir=str(tmp_path / "log")))
    storage = {"local": {"storagetype": "swift", "ip": "127.0.0.1", "port": "8080", "login": "chris:chris1234"}}
    base.args.str_actionArgs = json.dumps(storage)
    assert base.service_keyAccess("storage") == {"status": True, "storage": storage}
    cube = {"local": {"url": "http://127.0.0.1:8000/api/v1/", "username": "chris", "password": "chris1234"}}
    base.args.str_actionArgs = json.dumps(cube)
    assert base.service_keyAccess("CUBE")["CUBE"] == cube
    again = smdb.SMDB(Namespace(str_logDir=str(tmp_path / "log")))
    assert again.service_keyAccess("CUBE")["CUBE"]["local"]["password"] == "chris1234"
    assert again.service_keyAccess("cube")["cube"] == cube
    assert (tmp_path / "services" / "cube.json").stat().st_mode & 0o777 == 0o600


def test_services_of_pfdcm_pacs(tmp_path: Path) -> None:
    info = {"aet": "A", "aet_listener": "A", "aec": "B", "serverIP": "127.0.0.1", "serverPort": "4242"}
    services = tmp_path / "services"
    services.mkdir()
    table = {"services": {"orthanc": {"info": info}}}
    (services / "pacs.json").write_text(json.dumps(table))
    found = smdb.SMDB(Namespace(str_logDir=str(tmp_path / "log"))).service_keyAccess("pacs")
    assert found["status"] is True
    assert found["pacs"]["services"]["orthanc"]["info"] == info


def test_swift_entries_are_storage_too(tmp_path: Path) -> None:
    """Defect I22."""
    base = smdb.SMDB(Namespace(str_logDir=str(tmp_path / "log")))
    base.args.str_actionArgs = '{"old": {"ip": "127.0.0.1", "port": "8080", "login": "a:b"}}'
    base.service_keyAccess("swift")
    base.args.str_actionArgs = ""
    assert base.service_keyAccess("storage")["storage"]["old"]["storagetype"] == "swift"


@pytest.mark.parametrize("text", ["{", "[]", '{"x": 3}'])
def test_bad_entries_change_nothing(tmp_path: Path, text: str) -> None:
    base = smdb.SMDB(Namespace(str_logDir=str(tmp_path / "log"), str_actionArgs=text))
    document = base.service_keyAccess("PACS")
    assert document["status"] is False
    assert document["error"]
    assert not (tmp_path / "services" / "pacs.json").exists()


def test_unknown_service(tmp_path: Path) -> None:
    base = smdb.SMDB(Namespace(str_logDir=str(tmp_path / "log")))
    assert base.service_keyAccess("nosuch")["status"] is False


def test_states(recorded: smdb.SMDB) -> None:
    theirs = golden.document("34-px-status.out", {"BASEMOUNT": recorded.layout.base})
    assert recorded.series_receivedAndRequested(SERIES) == theirs["images"]
    assert recorded.series_requestedFilesCount(SERIES) == {"status": True, "count": 4}
    assert recorded.series_receivedFilesCount(SERIES) == {"status": True, "count": 4}
    assert recorded.series_packedFilesCount(SERIES) == {"status": True, "count": 4}
    assert recorded.series_dbFilesCount(SERIES, "push") == {"status": False, "count": 0}
    assert recorded.series_dbFilesCount(SERIES, "register") == {"status": False, "count": 0}
    assert recorded.study_statusGet(STUDY) == {"status": True, "studyTable": theirs["study"]["studyTable"]}
    assert recorded.series_statusGet(SERIES)["seriesTable"] == theirs["series"]["seriesTable"]
    listed = recorded.study_seriesListGet(STUDY)
    assert sorted(listed["seriesList"]) == sorted(theirs["study"]["seriesListInStudy"]["seriesList"])
    assert recorded.study_seriesContainsVerify(STUDY, SERIES, True)["state"] == "StudyContainsSeriesOK"
    assert recorded.study_seriesContainsVerify("1.2", SERIES, True)["state"] == "StudyNotFound"


def test_series_data(recorded: smdb.SMDB) -> None:
    recorded.DICOMobj_set({"SeriesInstanceUID": SERIES, "StudyInstanceUID": STUDY, "PatientID": "PID00000"})
    assert recorded.seriesData("retrieve", "NumberOfSeriesRelatedInstances") == {
        "status": True, "error": "", "NumberOfSeriesRelatedInstances": "4",
    }  # fmt: skip
    assert recorded.seriesData("retrieve")["meta"]["NumberOfSeriesRelatedInstances"] == "4"
    assert recorded.seriesData("push", "timestamp")["status"] is False
    recorded.seriesData("push", "timestamp", "now")
    assert recorded.seriesData("push", "timestamp") == {"status": True, "error": "", "timestamp": "now"}
    assert recorded.seriesData("nosuch")["status"] is False
    assert recorded.seriesData_DBtablesGet()["series-meta"]["exists"] is True
    assert recorded.studyData_DBtablesGet()["studyMetaFile"]["exists"] is True
    assert recorded.patientData_DBtablesGet()["patientDataFile"]["exists"] is True


def test_directories(recorded: smdb.SMDB) -> None:
    places = {"BASEMOUNT": recorded.layout.base}
    assert recorded.imageDirs_getOnSeriesInstanceUID(SERIES) == golden.document("36-smdb-dirs-series.out", places)
    assert recorded.imageDirs_getOnPatientID("PID00000")["d_imageDirs"][STUDY]
    recorded.args.str_action, recorded.args.str_actionArgs = "imageDirsSeriesInstanceUID", SERIES
    assert recorded.run() == golden.document("36-smdb-dirs-series.out", places)


def test_recording_a_file(tmp_path: Path) -> None:
    image = tmp_path / "data" / "a" / "image.dcm"
    image.parent.mkdir(parents=True)
    shutil.copy(FILE, image)
    base = smdb.SMDB(Namespace(str_logDir=str(tmp_path / "log")))
    assert base.mapsUpdateForFile(str(image))["status"] is True
    assert base.series_receivedFilesCount(SERIES)["count"] == 1
    assert base.mapsUpdateForFile(str(tmp_path / "none.dcm"))["status"] is False
    base.args.str_xcrdirfile = str(image)
    assert base.mapsUpdateForFile_do()["status"] is True
    assert base.mapsUpdateForPatient_do("PID00000")["status"] is True


# --- repack


def test_process(tmp_path: Path) -> None:
    args = Namespace(
        str_xcrdir=str(FILE.parent), str_xcrfile=FILE.name, str_xcrdirfile="", str_filesubstr="",
        str_logDir=str(tmp_path / "log"), str_dataDir=str(tmp_path / "data"), verbosity=0, b_debug=False,
        b_cleanup=False,
    )  # fmt: skip
    document = repack.Process(repack.args_impedanceMatch(args)).run()
    assert document["status"] is True
    (image,) = (tmp_path / "data").rglob("*.dcm")
    assert document["run"][0]["d_DICOMfile_save"]["outputFile"] == image.name


def test_paths_of_a_process() -> None:
    process = repack.Process(repack.args_impedanceMatch(Namespace()))
    read = repack.Process.DICOMfile_read(file=str(FILE))
    assert read["status"] is True
    assert process.packPath_resolve(read) == {
        "status": True,
        "packDir": "PID00000-DOE000_JOHN-19500115/CT_CHEST_0-ACC00000000-20100101/00001-Axial_0_1.5mm",
        "imageFile": "0001-2.25.671924347947447439391482452340243845.dcm",
    }
    found = process.tagsInString_process(read["d_DICOM"], "%PatientID-%_md5|4_PatientID-x")
    assert found["b_tagsFound"] is True
    assert found["str_result"].startswith("PID00000-")
    assert process.tagsInString_process(read["d_DICOM"], "plain") == {
        "status": True, "b_tagsFound": False, "str_result": "plain",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["manifest.json", "nosuch"])
def test_reading_what_is_no_dicom(name: str) -> None:
    assert repack.Process.DICOMfile_read(file=str(CORPUS / name))["status"] is False


# --- paths of px-listen


def test_listen_paths() -> None:
    assert utils.sanitize(" A^B c ") == "A.B.c"
    assert utils.sanitize("  ") == "no value provided"
    assert utils.patientPath("/d", "42", "DOE^J") == "/d/42-DOE.J"
    assert utils.studyPath("/d", "MR", "20100101", "1.2") == "/d/MR-20100101-1.2"
    assert utils.seriesPath("/d", "AX", "20100101", "1.2.3") == "/d/AX-20100101-1.2.3"
    assert utils.dataPath("/d", 7, "1.2.3.4") == "/d/00007-1.2.3.4.dcm"
