"""The Python interface of pypx 3 against real servers: all three ways to call find, and the pattern of pfdcm."""

from __future__ import annotations

import asyncio
import json
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pypx
from cube_contract import CubeServer
from cube_contract import FolderStore as CubeStore
from pypx import smdb
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from support import golden
from support.ports import free_port
from support.pxrun import PxRunner
from support.replay import differences, in_order
from support.servers import HOST, Orthanc
from support.silent import mute_peer

AET = "CHRISLOCAL"
PATIENTS = ("PID00000", "PID00001")
SERIES_OF = {"PID00000": 3, "PID00001": 2}

DIRECTIVE = {
    "AccessionNumber": "", "PatientID": "", "PatientName": "", "PatientBirthDate": "", "PatientAge": "",
    "PatientSex": "", "StudyDate": "", "StudyDescription": "", "StudyInstanceUID": "", "Modality": "",
    "ModalitiesInStudy": "", "PerformedStationAETitle": "", "NumberOfSeriesRelatedInstances": "", "InstanceNumber": "",
    "SeriesDate": "", "SeriesDescription": "", "SeriesInstanceUID": "", "ProtocolName": "",
    "AcquisitionProtocolDescription": "", "AcquisitionProtocolName": "", "QueryReturnTags": "", "StudyOnly": False,
    "withFeedBack": False, "then": "", "thenArgs": "", "json_response": True, "json": True,
}  # fmt: skip
"""What pfdcm hands over, every key always there; the PACS and the database come besides."""


@dataclass(frozen=True, slots=True)
class Site:
    """A PACS, a listener that files, and how pfdcm knows both."""

    pacs: Orthanc
    log: Path

    @property
    def info(self) -> dict[str, str]:
        return {
            "aet": AET, "aet_listener": AET, "aec": self.pacs.aet, "serverIP": HOST, "serverPort": str(self.pacs.port),
        }  # fmt: skip

    def options(self, **directive: Any) -> dict[str, Any]:
        return {**self.info, **DIRECTIVE, "dblogbasepath": str(self.log), **directive}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, golden_corpus: Path) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("api")
    pacs = Orthanc(tmp_path_factory.mktemp("api-orthanc"))
    runner = PxRunner(directory)
    try:
        pacs.upload(sorted(golden_corpus.rglob("*.dcm")))
        root, port = directory / "basemount", free_port()
        pacs.knows(AET, port)
        runner.start("listen", "--basemount", root, "--port", port, "--aet", AET).wait_for("ready")
        yield Site(pacs, root / "log")
    finally:
        runner.stop_all()
        pacs.stop()


# --- the three ways


def test_at_once_as_in_3_6_2(site: Site) -> None:
    found = pypx.find(site.options(PatientID="PID00000"))
    assert found["status"] == "success"
    assert isinstance(found, dict)
    assert sum(len(study["series"]) for study in found["data"]) == 3
    assert json.loads(json.dumps(found))["args"]["PatientID"] == "PID00000"


def test_asyncio_run_as_in_3_11_22(site: Site) -> None:
    found = asyncio.run(pypx.find(site.options(PatientID="PID00000")))
    assert found["status"] == "success"


def test_await_in_a_running_loop(site: Site) -> None:
    async def main() -> dict[str, Any]:
        return await pypx.find(site.options(PatientID="PID00000"))

    found = asyncio.run(main())
    assert type(found) is dict
    assert found == dict(pypx.find(site.options(PatientID="PID00000")))


def test_await_never_blocks_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The PACS takes the connection and says nothing: the loop goes on all the while."""
    monkeypatch.setenv("PX_ACSE_TIMEOUT", "1")

    async def main(port: int) -> tuple[dict[str, Any], int]:
        ticks = 0
        task = asyncio.ensure_future(pypx.find({"serverIP": HOST, "serverPort": str(port), "PatientID": "1"}))
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.02)
        return await task, ticks

    with mute_peer() as port:
        found, ticks = asyncio.run(main(port))
    assert found["status"] == "error"
    assert ticks >= 20


def test_document_is_that_of_pypx(site: Site) -> None:
    theirs = golden.without_sentences(
        golden.document("08-find-pid.out", {"PACSPORT": site.pacs.port, "BASEMOUNT": site.log.parent})
    )
    ours = pypx.find({**theirs["args"], "findscu": "", "movescu": "", "StudyInstanceUID": ""})
    found = set(differences(in_order(json.loads(json.dumps(ours))["data"]), in_order(theirs["data"])))
    assert all(
        path.rpartition("].")[2].partition(".")[0]
        in {"InstanceNumber", "SpecificCharacterSet", "StudyID", "StudyTime", "SeriesNumber"}
        for path in found
    )


# --- pfdcm


def test_pfdcm_finds_its_pacs_in_the_database(site: Site) -> None:
    base = smdb.SMDB(Namespace(str_logDir=str(site.log)))
    base.args.str_actionArgs = json.dumps({"services": {"orthanc": {"info": site.info}}})
    assert base.service_keyAccess("pacs")["status"] is True
    known = smdb.SMDB(Namespace(str_logDir=str(site.log))).service_keyAccess("pacs")
    assert known["pacs"]["services"]["orthanc"]["info"] == site.info
    assert pypx.echo({"PACS": "orthanc", "dblogbasepath": str(site.log)})["status"] == "success"


def test_pfdcm_from_a_thread_pool(site: Site) -> None:
    """Retrieve for two patients at once, each in a loop of its own, as the workers of a server do."""
    started = threading.Barrier(2, timeout=30)

    def job(patient: str) -> dict[str, Any]:
        started.wait()
        return asyncio.run(pypx.find({**site.options(PatientID=patient, then="retrieve")}))

    with ThreadPoolExecutor(2) as pool:
        documents = list(pool.map(job, PATIENTS))
    for patient, document in zip(PATIENTS, documents, strict=True):
        assert document["status"] == "success"
        results = [
            one for study in document["then"]["00-retrieve"]["study"] for series in study.values() for one in series
        ]
        assert [one["status"] for one in results] == ["success"] * SERIES_OF[patient]
        json.dumps(document)


def test_pfdcm_status_under_its_own_loop(site: Site) -> None:
    """`await pypx.find({**info, **directive})` in a route, several requests at once."""
    for patient in PATIENTS:
        pypx.find(site.options(PatientID=patient, then="retrieve"))

    async def route(patient: str) -> dict[str, Any]:
        return await pypx.find({**site.info, **site.options(PatientID=patient, then="status")})

    async def server() -> list[dict[str, Any]]:
        return await asyncio.gather(*(route(patient) for patient in PATIENTS))

    for patient, document in zip(PATIENTS, asyncio.run(server()), strict=True):
        statuses = [
            one for study in document["then"]["00-status"]["study"] for series in study.values() for one in series
        ]
        assert len(statuses) == SERIES_OF[patient]
        for one in statuses:
            assert one["images"]["requested"]["count"] == one["images"]["packed"]["count"] == 4
            assert one["images"]["registered"] == {"status": False, "count": 0}
            assert one["study"]["seriesListInStudy"]["seriesList"]


def test_pfdcm_study_only_with_tags(site: Site) -> None:
    document = pypx.find(
        site.options(PatientID="PID00000", StudyOnly=True, QueryReturnTags="PatientID,StudyInstanceUID")
    )
    assert document["status"] == "success"
    assert "args" not in document
    assert all("series" not in study for study in document["data"])


def test_pfdcm_starts_px_find_by_a_shell(site: Site, px: PxRunner) -> None:
    """What its background jobs write into a script."""
    words = [word for name, value in site.info.items() if name != "aet_listener" for word in (f"--{name}", value)]
    more = ("--PatientID", "PID00000", "--json", "--db", site.log, "--then", "status", "--withFeedBack")
    answer = px(*words, *more, command="px-find").ok()
    assert answer.stdout.count("PACS:") + answer.stdout.count("NotFound") == 3


def test_pfdcm_push_and_register(site: Site, tmp_path: Path, cube_server: Callable[..., CubeServer]) -> None:
    """As its controllers do it: keys are set through SMDB, then the verbs run one call after the other."""
    server = cube_server(CubeStore(tmp_path / "store"), "old")
    base = smdb.SMDB(Namespace(str_logDir=str(site.log)))
    for name, entry in (
        ("storage", {"local": {"storagetype": "fs", "storepath": str(tmp_path / "store")}}),
        ("CUBE", {"local": {"url": server.url, "username": "chris", "password": "chris1234"}}),
    ):
        base.args.str_actionArgs = json.dumps(entry)
        assert base.service_keyAccess(name)["status"] is True
    asked = {"PatientID": "PID00001"}
    push = {"db": str(site.log), "swift": "local", "swiftServicesPACS": "BCH", "swiftPackEachDICOM": True}
    register = {"db": str(site.log), "CUBE": "local", "swiftServicesPACS": "BCH", "parseAllFilesWithSubStr": "dcm"}
    for verb, args in (("retrieve", ""), ("push", json.dumps(push)), ("register", json.dumps(register))):
        document = asyncio.run(pypx.find(site.options(**asked, then=verb, thenArgs=args)))
        (results,) = (value for key, value in document["then"].items() if key == f"00-{verb}")
        series = [one for study in results["study"] for of_study in study.values() for one in of_study]
        assert len(series) == 2
        assert [one["status"] in (True, "success") for one in series] == [True, True], series
    assert len(list((tmp_path / "store" / "SERVICES" / "PACS" / "BCH").rglob("*.dcm"))) == 8
    status = pypx.find(site.options(**asked, then="status"))
    counted = [
        (one["images"]["pushed"]["count"], one["images"]["registered"]["count"], one["state"]["images"])
        for study in status["then"]["00-status"]["study"]
        for of_study in study.values()
        for one in of_study
    ]
    assert counted == [(4, 4, "ImagesRegisteredOK")] * 2


def test_push_register_and_storage_by_options(
    site: Site, tmp_path: Path, cube_server: Callable[..., CubeServer]
) -> None:
    pypx.find(site.options(PatientID="PID00001", then="retrieve"))
    where = smdb.SMDB(Namespace(str_logDir=str(site.log))).imageDirs_getOnPatientID("PID00001")
    directory = next(iter(where["d_imageDirs"].values()))[0]
    store = str(tmp_path / "store")
    pushed = pypx.push({
        "str_logDir": str(site.log), "swift": "", "str_xcrdir": directory, "str_filesubstr": "dcm",
        "b_swiftPackEachDICOM": True, "str_swiftServicesPACS": "BCH", "str_swiftIP": "", "str_swiftPort": "",
        "str_swiftLogin": "", "str_storeBaseLocation": store,
    })  # fmt: skip
    assert pushed["status"] is True
    assert len(pushed["objectFileList"]) == 4
    server = cube_server(CubeStore(tmp_path / "store"), "old")
    registered = pypx.register(Namespace(
        str_logDir=str(site.log), localFileList=pushed["localFileList"], objectFileList=pushed["objectFileList"],
        str_CUBEURL=server.url, str_CUBEusername="chris", str_CUBEuserpasswd="chris1234", str_swiftServicesPACS="BCH",
        str_filesubstr="", str_xcrdir="", str_xcrdirfile="",
    ))  # fmt: skip
    assert registered["status"] is True
    assert len(registered["run"]) == 4
    listed = pypx.swiftStore({"str_storeBaseLocation": store, "do": '{"action": "ls", "args": {"path": "SERVICES"}}'})
    assert sorted(one["name"] for one in listed["ls"]) == sorted(pushed["objectFileList"])


# --- the other functions


def test_echo_move_status_do(site: Site) -> None:
    assert pypx.Echo(site.info).run()["returncode"] == 0
    found = pypx.find(site.options(PatientID="PID00001"))
    series = found["data"][0]["series"][0]
    uids = {name: series[name]["value"] for name in ("StudyInstanceUID", "SeriesInstanceUID")}
    moved = pypx.move({**site.info, **uids})
    assert (moved["status"], moved["data"], moved["returncode"]) == ("success", [], 0)
    done = pypx.do({"reportData": found, "then": "retrieve,status", "thenArgs": "", "dblogbasepath": str(site.log)})
    assert list(done) == ["do", "00-retrieve", "01-status"]
    status = pypx.status({"dblogbasepath": str(site.log), "verifySeriesInStudy": True, **uids})
    assert status["images"]["received"] == {"status": True, "count": 4}
    assert asyncio.run(pypx.status({"dblogbasepath": str(site.log), **uids})) == dict(status)


def test_failures_stand_in_the_document(site: Site) -> None:
    nobody = {**site.info, "serverPort": "1"}
    for document in (
        pypx.find(nobody),
        pypx.echo(nobody),
        pypx.move({**nobody, "StudyInstanceUID": "1", "SeriesInstanceUID": "2"}),
    ):
        assert document["status"] == "error"
        assert "Connection refused" in document["data"]
    refused = pypx.do({"reportData": dict(pypx.find(nobody)), "then": "status", "dblogbasepath": str(site.log)})
    assert refused["status"] is False


def test_a_format_4_basemount_was_made_for_a_fresh_place(site: Site) -> None:
    assert Database.open(Layout.of_log(site.log)).format == 4
