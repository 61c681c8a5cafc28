"""A made-up patient and made-up passwords go through every command, and are looked for where they must not be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import pypx
from cube_contract import CubeServer, SwiftStore
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import PxError
from support.canary import (
    AET,
    BIRTH,
    IDENTITY,
    NAME,
    NAMED,
    SERIES,
    SERVICE,
    STUDY,
    WRONG,
    Site,
    check_people,
    check_records,
    check_seen,
    entry_of,
    harm,
    instance,
)
from support.ports import wait_until
from support.pxrun import RunningPx
from support.swift_server import SwiftServer
from support.watch import watching


def test_success_tells_of_the_patient_in_data_and_database_only(
    canary: Site,
    canary_listener: RunningPx,
    swift: SwiftServer,
    cube_server: Callable[..., CubeServer],
    tmp_path: Path,
    canary_images: list[Path],
) -> None:
    cube = cube_server(SwiftStore(swift.account), "new", looks=3, pause_s=0.05)
    canary.swift_key, canary.cube_password = swift.key, "chris1234"
    query = tmp_path / "query.json"
    query.write_text(json.dumps({"PatientID": IDENTITY, "PatientName": NAME, "PatientBirthDate": BIRTH}))
    with watching(canary.px.home / "tmp", canary.basemount / "incoming") as seen:
        canary.service("storage", "store", **entry_of(swift, swift.key))
        canary.service("CUBE", "cube", url=cube.url, username="chris", password="chris1234")
        canary.service("PACS", "pacs", aet=AET, aec=canary.orthanc.aet, ip="127.0.0.1", port=str(canary.orthanc.port))
        for kind, name in (("storage", "store"), ("CUBE", "cube"), ("PACS", "pacs")):
            canary.run("smdb", "service", kind, "check", name, data_out=False)
            canary.run("smdb", "service", kind, "list", data_out=False)
        canary.run("echo", data_out=False)
        found = canary.run("find", "--query-file", query, "--json").stdout
        assert IDENTITY in found, "the canary was not found: nothing is tested here"
        canary.run("report", input=found)
        chain = {"push": {"swift": "store", **SERVICE}, "register": {"swift": "store", "CUBE": "cube", **SERVICE}}
        canary.run(
            "find", "--query-file", query, "--then", "retrieve,status,push,register", "--thenArgs", json.dumps(chain)
        )
        canary.run("move", input=found)
        wait_until(
            lambda: len(list((canary.basemount / "data").rglob("*.dcm"))) == len(canary_images), "the images are filed"
        )
        canary.run("status", "--StudyInstanceUID", STUDY)
        canary.run("do", "--then", "status", input=found)
        canary.run("push", "--storage", "store", *NAMED, "--StudyInstanceUID", STUDY)
        canary.run("push", "--storeBaseLocation", tmp_path / "store", *NAMED, "--StudyInstanceUID", STUDY)
        canary.run("push", "--PACS", "pacs", "--StudyInstanceUID", STUDY)
        canary.run("register", "--storage", "store", "--cube", "cube", *NAMED, "--StudyInstanceUID", STUDY)
        canary.run("storage", "ls", "--storage", "store")
        canary.run("storage", "get", "SERVICES", tmp_path / "got", "--storage", "store")
        canary.run("repack", canary_images[0].parent)
        canary.run("smdb", "search", f"StudyInstanceUID={STUDY}")
        canary.run("smdb", "verify")
        canary.run("smdb", "rebuild")
        canary.run("-v", "status", "--StudyInstanceUID", STUDY)
        assert canary_listener.stop() == 0
    assert IDENTITY in "".join(path.name for path in (canary.basemount / "data").rglob("*")), "filed under another name"
    check_people([*canary.said, canary_listener.stderr(), canary_listener.stdout()])
    check_seen(seen, "findscu", "movescu", "storescp", "dcmsend", "echoscu")
    check_records(canary.basemount)


def test_the_commands_and_functions_of_pypx_tell_of_the_patient_as_little(
    canary: Site,
    swift: SwiftServer,
    cube_server: Callable[..., CubeServer],
    tmp_path: Path,
    canary_images: list[Path],
) -> None:
    canary.swift_key = swift.key
    cube = cube_server(SwiftStore(swift.account), "old", looks=3, pause_s=0.05)
    logs, address = ("--logdir", canary.basemount / "log"), canary.orthanc
    peer = ("--serverIP", "127.0.0.1", "--serverPort", address.port, "--aec", address.aet, "--aet", AET)
    run_px("smdb", "init", "--format", "3", canary=canary)
    with watching(canary.px.home / "tmp", canary.basemount / "incoming") as seen:
        canary.service("storage", "store", **entry_of(swift, swift.key))
        canary.service("CUBE", "cube", url=cube.url, username="chris", password="chris1234")
        canary.service("CUBE", "wrong", url=cube.url, username="chris", password=WRONG)
        pack = (*logs, "--datadir", canary.basemount / "data", "--xcrdir", canary_images[0].parent)
        canary.run(*pack, "--parseAllFilesWithSubStr", "dcm", command="px-repack")
        found = canary.run(*peer, "--PatientID", IDENTITY, "--json", command="px-find").stdout
        assert IDENTITY in found, "the canary was not found: nothing is tested here"
        canary.run(command="px-report", input=found)
        packed = next((canary.basemount / "data").rglob("*.dcm")).parent
        store = ("--db", canary.basemount / "log", "--swift", "store", *NAMED)
        files = ("--xcrdir", packed, "--parseAllFilesWithSubStr", "dcm", "--json")
        pushed = canary.run(*store, *files, command="px-push").stdout
        for name, ends in (("cube", 0), ("wrong", None)):
            canary.run(
                "--db", canary.basemount / "log", "--CUBE", name, *NAMED, *files, ends=ends, command="px-register",
                input=pushed,
            )  # fmt: skip
        canary.run(*logs, "--action", "imageDirsPatientID", "--actionArgs", IDENTITY, command="px-smdb")
        canary.run(
            "--db",
            canary.basemount / "log",
            "--StudyInstanceUID",
            STUDY,
            "--SeriesInstanceUID",
            SERIES,
            command="px-status",
        )
        canary.run(command="px-report", input=found[: len(found) // 2], ends=None, data_out=False)
        harm(canary_images)
        canary.run(*pack, "--parseAllFilesWithSubStr", "dcm", command="px-repack", ends=None)
        run_px("smdb", "migrate", canary=canary)
        table = canary.basemount / "log" / "patientData" / f"{IDENTITY}.json"
        table.write_bytes(table.read_bytes()[:-5])
        canary.run(*logs, "--action", "imageDirsPatientID", "--actionArgs", IDENTITY, command="px-smdb", ends=None)
    check_people(canary.said)
    check_seen(seen, "findscu")
    check_records(canary.basemount)


def run_px(*args: str, canary: Site) -> None:
    canary.run(*args, data_out=False)


def test_pypx_as_a_library_logs_no_patient(
    canary: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    table = canary.basemount / "log" / "patientData" / f"{IDENTITY}.json"
    layout = Layout.of_basemount(canary.basemount)
    Database.create(layout)
    table.write_text("{")
    node = {"serverIP": "127.0.0.1", "serverPort": str(canary.orthanc.port), "aec": canary.orthanc.aet, "aet": AET}
    found = pypx.find({**node, "PatientID": IDENTITY})
    assert IDENTITY in json.dumps(found)
    pypx.find({**node, "serverPort": "1", "PatientID": IDENTITY})
    with pytest.raises(PxError) as caught:
        Database.open(layout).patient(IDENTITY)
    assert IDENTITY in caught.value.detail
    check_people([caplog.text, capfd.readouterr().err, str(caught.value)])


def test_failures_tell_nothing_of_the_patient_either(
    canary: Site,
    canary_listener: RunningPx,
    swift: SwiftServer,
    cube_server: Callable[..., CubeServer],
    tmp_path: Path,
    free_port: Callable[[], int],
    canary_images: list[Path],
) -> None:
    cube = cube_server(SwiftStore(swift.account), "old", looks=3, pause_s=0.05)
    query = tmp_path / "query.json"
    query.write_text(json.dumps({"PatientID": IDENTITY, "PatientName": NAME, "PatientBirthDate": BIRTH}))
    canary.service("storage", "good", **entry_of(swift, swift.key))
    canary.service("storage", "wrong", **entry_of(swift, WRONG))
    canary.service("CUBE", "wrong", url=cube.url, username="chris", password=WRONG)
    canary.service("CUBE", "gone", url=f"http://127.0.0.1:{free_port()}/api/v1/", username="chris", password=WRONG)
    with watching(canary.px.home / "tmp", canary.basemount / "incoming") as seen:
        found = canary.run("find", "--query-file", query, "--json").stdout
        for broken in (("--serverPort", free_port()), ("--aec", "NOBODY")):
            canary.run("find", "--query-file", query, *broken, ends=None)
            canary.run("move", *broken, ends=None, input=found)
        canary.run("find", "--query-file", query, "--then", "retrieve", ends=None, env={"PX_AET": "UNKNOWN"})
        canary.run("report", ends=2, input=found[: len(found) // 2], data_out=False)
        query.write_text(json.dumps({"PatientID": IDENTITY, "PatientBirthDate": f"{BIRTH}x"})[:-1])
        canary.run("find", "--query-file", query, ends=2, data_out=False)
        canary.run("move", input=found)
        wait_until(
            lambda: len(list((canary.basemount / "data").rglob("*.dcm"))) == len(canary_images), "the images are filed"
        )
        harm(canary_images)
        canary.run("repack", canary_images[0].parent, ends=3, data_out=False)
        for store in ("wrong", "good"):
            canary.run(
                "smdb", "service", "storage", "check", store, ends=None if store == "wrong" else 0, data_out=False
            )
        canary.run("push", "--storage", "wrong", *NAMED, "--StudyInstanceUID", STUDY, ends=None, data_out=False)
        canary.run("push", "--storage", "good", *NAMED, "--StudyInstanceUID", STUDY)
        for name in ("wrong", "gone"):
            canary.run("smdb", "service", "CUBE", "check", name, ends=None, data_out=False)
            canary.run(
                "register", "--storage", "good", "--cube", name, *NAMED, "--StudyInstanceUID", STUDY, ends=None,
                data_out=False,
            )  # fmt: skip
        break_the_database(canary, canary_images)
        send_to_the_listener(canary, canary_images)
        assert canary_listener.stop() == 0
    check_people([*canary.said, canary_listener.stderr(), canary_listener.stdout()])
    check_seen(seen, "findscu", "movescu", "storescp")
    check_records(canary.basemount)


def send_to_the_listener(canary: Site, canary_images: list[Path]) -> None:
    """An instance that is there with other content, and one whose receiving program was killed half way."""
    incoming = canary.basemount / "incoming"
    dead = incoming / "listener-dead" / "00000001"
    dead.mkdir(parents=True)
    (dead / "MR.cut").write_bytes(canary_images[3].read_bytes()[:-3])
    wait_until(lambda: any((incoming / "rejected").rglob("*.reason.txt")), "the file cut short is set aside")


def break_the_database(canary: Site, canary_images: list[Path]) -> None:
    """Damage what px reads, a piece at a time; each command that meets it fails and names no patient."""
    table = canary.basemount / "log" / "patientData" / f"{IDENTITY}.json"
    assert table.is_file(), "the patient's table has another name: nothing is tested here"
    whole = table.read_bytes()
    table.write_bytes(whole[:-5])
    canary.run("smdb", "search", f"PatientID={IDENTITY}", ends=40, data_out=False)
    canary.run("smdb", "search", "Modality=MR", ends=40, data_out=False)
    canary.run("smdb", "verify", ends=None, data_out=False)
    instance(9).save_as(canary_images[3], enforce_file_format=True)
    table.write_bytes(whole)
    for file in (canary.basemount / "data").rglob("*.dcm"):
        file.unlink()
    canary.run("smdb", "verify", ends=None, data_out=False)
    canary.run("push", "--storage", "good", "--replace", *NAMED, "--StudyInstanceUID", STUDY, ends=None, data_out=False)
