"""A made-up patient and made-up passwords go through every command, and are looked for where they must not be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import pypx
from cube_contract import CubeServer, SwiftStore
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import PxError
from support.corpus import MR
from support.ports import wait_until
from support.pxrun import PxResult, PxRunner, RunningPx
from support.servers import Orthanc
from support.swift_server import SwiftServer
from support.watch import Seen, watching

NAME, IDENTITY, BIRTH = "Kanarienvogel^Zitrone", "CANARY7431", "19530317"
PATIENT = (NAME.partition("^")[0], NAME.partition("^")[2], IDENTITY, BIRTH)
WRONG = "canary-wrong-password"
SECRETS = (WRONG, "chris1234", "testing")
ROOT = "1.2.826.0.1.3680043.8.498.7431"
STUDY, SERIES = f"{ROOT}.1", f"{ROOT}.2"
AET = "PXCANARY"
NAMED = ("--swiftServicesPACS", "CLINIC")
SERVICE = {"swiftServicesPACS": "CLINIC"}


def instance(number: int, *, description: str = "Canary") -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MR, f"{SERIES}.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = NAME, IDENTITY, BIRTH
    dataset.StudyDate, dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "20240101", "MR", 1, number
    dataset.SeriesDescription, dataset.StudyDescription = description, "Canary study"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


@dataclass(slots=True)
class Site:
    """px beside Orthanc, Swift and CUBE; remembers all that was said to people."""

    px: PxRunner
    orthanc: Orthanc
    basemount: Path
    swift_key: str = ""
    cube_password: str = ""
    said: list[str] = field(default_factory=list)

    def run(
        self,
        *args: str | Path | int,
        ends: int | None = 0,
        data_out: bool = True,
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> PxResult:
        """Run px; it is to end with `ends` (``None``: with a failure), and its stdout is data unless said otherwise."""
        known = {
            "PX_CUBE_PASSWORD": self.cube_password,  # as many sites have them; no child needs them
            "PX_SWIFT_KEY": self.swift_key,
            "PX_SERVER_IP": "127.0.0.1",
            "PX_SERVER_PORT": str(self.orthanc.port),
            "PX_AEC": self.orthanc.aet,
            "PX_AET": AET,
            "PX_BASEMOUNT": str(self.basemount),
        }
        environment = {name: value for name, value in {**known, **(env or {})}.items() if value}
        result = self.px(*args, env=environment, **more)
        expected = result.returncode != 0 if ends is None else result.returncode == ends
        assert expected, f"{args} ended with {result.returncode}:\n{result.stderr}\n{result.stdout[-1000:]}"
        what = more.get("command") or args[0]  # not all of them: our own argument list is the user's
        self.said.append(f"{what}: {result.stderr}" + ("" if data_out else result.stdout))
        return result

    def service(self, kind: str, name: str, **entry: str) -> None:
        self.run("smdb", "service", kind, "set", name, "-", input=json.dumps(entry), data_out=False)


def entry_of(swift: SwiftServer, key: str) -> dict[str, str]:
    return {"ip": "127.0.0.1", "port": str(swift.port), "login": swift.user, "key": key, "storagetype": "swift"}


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "images"
    folder.mkdir()
    files = [folder / f"{number}.dcm" for number in range(1, 5)]
    for number, file in enumerate(files, start=1):
        instance(number).save_as(file, enforce_file_format=True)
    return files


@pytest.fixture
def site(px: PxRunner, orthanc: Orthanc, basemount: Path, images: list[Path]) -> Iterator[Site]:
    orthanc.upload(images)
    try:
        yield Site(px, orthanc, basemount)
    finally:
        orthanc.delete(STUDY)


@pytest.fixture
def listener(site: Site, free_port: Callable[[], int]) -> Iterator[RunningPx]:
    port = free_port()
    site.orthanc.knows(AET, port)
    running = site.px.start(
        "listen", "--basemount", site.basemount, "--port", port, "--bind", "127.0.0.1", "--aet", AET, "--jsonl",
        env={"PX_CUBE_PASSWORD": "chris1234", "PX_SWIFT_KEY": WRONG},
    )  # fmt: skip
    running.wait_for("ready")
    try:
        yield running
    finally:
        site.orthanc.forgets(AET)


def check_people(texts: list[str]) -> None:
    for text in texts:
        for word in (*PATIENT, *SECRETS):
            assert word not in text, f"{word} was told to people: {text}"


def check_seen(seen: Seen, *programs: str) -> None:
    assert set(programs) <= seen.programs(), f"only {seen.programs()} were seen"
    for word in (*PATIENT, *SECRETS):
        assert not seen.holding(word), f"{word} could be seen by others: {seen.holding(word)[0][:500]}"


def check_records(basemount: Path) -> None:
    """No password anywhere in the database; of the patient, push and register know file and object names only."""
    for path in (basemount / "log").rglob("*"):
        text = path.read_text() if path.is_file() else ""
        assert not any(secret in text for secret in SECRETS), f"a password is in {path}"
    for path in (basemount / "log" / "seriesData").glob("*-[pr]*.json"):
        if path.name.endswith(("-push.json", "-register.json")):
            told = [text for text in texts_of(json.loads(path.read_text())) if "/" not in text]
            assert not any(word in text for text in told for word in PATIENT), f"a patient is in {path}"


def texts_of(value: object) -> Iterator[str]:
    """Every key and text of a JSON document."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)
    else:
        yield str(value)


def test_success_tells_of_the_patient_in_data_and_database_only(
    site: Site,
    listener: RunningPx,
    swift: SwiftServer,
    cube_server: Callable[..., CubeServer],
    tmp_path: Path,
    images: list[Path],
) -> None:
    cube = cube_server(SwiftStore(swift.account), "new", looks=3, pause_s=0.05)
    site.swift_key, site.cube_password = swift.key, "chris1234"
    query = tmp_path / "query.json"
    query.write_text(json.dumps({"PatientID": IDENTITY, "PatientName": NAME, "PatientBirthDate": BIRTH}))
    with watching(site.px.home / "tmp", site.basemount / "incoming") as seen:
        site.service("storage", "store", **entry_of(swift, swift.key))
        site.service("CUBE", "cube", url=cube.url, username="chris", password="chris1234")
        site.service("PACS", "pacs", aet=AET, aec=site.orthanc.aet, ip="127.0.0.1", port=str(site.orthanc.port))
        for kind, name in (("storage", "store"), ("CUBE", "cube"), ("PACS", "pacs")):
            site.run("smdb", "service", kind, "check", name, data_out=False)
            site.run("smdb", "service", kind, "list", data_out=False)
        site.run("echo", data_out=False)
        found = site.run("find", "--query-file", query, "--json").stdout
        assert IDENTITY in found, "the canary was not found: nothing is tested here"
        site.run("report", input=found)
        chain = {"push": {"swift": "store", **SERVICE}, "register": {"swift": "store", "CUBE": "cube", **SERVICE}}
        site.run(
            "find", "--query-file", query, "--then", "retrieve,status,push,register", "--thenArgs", json.dumps(chain)
        )
        site.run("move", input=found)
        wait_until(lambda: len(list((site.basemount / "data").rglob("*.dcm"))) == len(images), "the images are filed")
        site.run("status", "--StudyInstanceUID", STUDY)
        site.run("do", "--then", "status", input=found)
        site.run("push", "--storage", "store", *NAMED, "--StudyInstanceUID", STUDY)
        site.run("push", "--storeBaseLocation", tmp_path / "store", *NAMED, "--StudyInstanceUID", STUDY)
        site.run("push", "--PACS", "pacs", "--StudyInstanceUID", STUDY)
        site.run("register", "--storage", "store", "--cube", "cube", *NAMED, "--StudyInstanceUID", STUDY)
        site.run("storage", "ls", "--storage", "store")
        site.run("storage", "get", "SERVICES", tmp_path / "got", "--storage", "store")
        site.run("repack", images[0].parent)
        site.run("smdb", "search", f"StudyInstanceUID={STUDY}")
        site.run("smdb", "verify")
        site.run("smdb", "rebuild")
        site.run("-v", "status", "--StudyInstanceUID", STUDY)
        assert listener.stop() == 0
    assert IDENTITY in "".join(path.name for path in (site.basemount / "data").rglob("*")), "filed under another name"
    check_people([*site.said, listener.stderr(), listener.stdout()])
    check_seen(seen, "findscu", "movescu", "storescp", "dcmsend", "echoscu")
    check_records(site.basemount)


def test_the_commands_and_functions_of_pypx_tell_of_the_patient_as_little(
    site: Site,
    swift: SwiftServer,
    cube_server: Callable[..., CubeServer],
    tmp_path: Path,
    images: list[Path],
) -> None:
    site.swift_key = swift.key
    cube = cube_server(SwiftStore(swift.account), "old", looks=3, pause_s=0.05)
    logs, address = ("--logdir", site.basemount / "log"), site.orthanc
    peer = ("--serverIP", "127.0.0.1", "--serverPort", address.port, "--aec", address.aet, "--aet", AET)
    run_px("smdb", "init", "--format", "3", site=site)
    with watching(site.px.home / "tmp", site.basemount / "incoming") as seen:
        site.service("storage", "store", **entry_of(swift, swift.key))
        site.service("CUBE", "cube", url=cube.url, username="chris", password="chris1234")
        site.service("CUBE", "wrong", url=cube.url, username="chris", password=WRONG)
        pack = (*logs, "--datadir", site.basemount / "data", "--xcrdir", images[0].parent)
        site.run(*pack, "--parseAllFilesWithSubStr", "dcm", command="px-repack")
        found = site.run(*peer, "--PatientID", IDENTITY, "--json", command="px-find").stdout
        assert IDENTITY in found, "the canary was not found: nothing is tested here"
        site.run(command="px-report", input=found)
        packed = next((site.basemount / "data").rglob("*.dcm")).parent
        store = ("--db", site.basemount / "log", "--swift", "store", *NAMED)
        files = ("--xcrdir", packed, "--parseAllFilesWithSubStr", "dcm", "--json")
        pushed = site.run(*store, *files, command="px-push").stdout
        for name, ends in (("cube", 0), ("wrong", None)):
            site.run(
                "--db", site.basemount / "log", "--CUBE", name, *NAMED, *files, ends=ends, command="px-register",
                input=pushed,
            )  # fmt: skip
        site.run(*logs, "--action", "imageDirsPatientID", "--actionArgs", IDENTITY, command="px-smdb")
        site.run(
            "--db",
            site.basemount / "log",
            "--StudyInstanceUID",
            STUDY,
            "--SeriesInstanceUID",
            SERIES,
            command="px-status",
        )
        site.run(command="px-report", input=found[: len(found) // 2], ends=None, data_out=False)
        harm(images)
        site.run(*pack, "--parseAllFilesWithSubStr", "dcm", command="px-repack", ends=None)
        run_px("smdb", "migrate", site=site)
        table = site.basemount / "log" / "patientData" / f"{IDENTITY}.json"
        table.write_bytes(table.read_bytes()[:-5])
        site.run(*logs, "--action", "imageDirsPatientID", "--actionArgs", IDENTITY, command="px-smdb", ends=None)
    check_people(site.said)
    check_seen(seen, "findscu")
    check_records(site.basemount)


def run_px(*args: str, site: Site) -> None:
    site.run(*args, data_out=False)


def test_pypx_as_a_library_logs_no_patient(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    table = site.basemount / "log" / "patientData" / f"{IDENTITY}.json"
    layout = Layout.of_basemount(site.basemount)
    Database.create(layout)
    table.write_text("{")
    node = {"serverIP": "127.0.0.1", "serverPort": str(site.orthanc.port), "aec": site.orthanc.aet, "aet": AET}
    found = pypx.find({**node, "PatientID": IDENTITY})
    assert IDENTITY in json.dumps(found)
    pypx.find({**node, "serverPort": "1", "PatientID": IDENTITY})
    with pytest.raises(PxError) as caught:
        Database.open(layout).patient(IDENTITY)
    assert IDENTITY in caught.value.detail
    check_people([caplog.text, capfd.readouterr().err, str(caught.value)])


def test_failures_tell_nothing_of_the_patient_either(
    site: Site,
    listener: RunningPx,
    swift: SwiftServer,
    cube_server: Callable[..., CubeServer],
    tmp_path: Path,
    free_port: Callable[[], int],
    images: list[Path],
) -> None:
    cube = cube_server(SwiftStore(swift.account), "old", looks=3, pause_s=0.05)
    query = tmp_path / "query.json"
    query.write_text(json.dumps({"PatientID": IDENTITY, "PatientName": NAME, "PatientBirthDate": BIRTH}))
    site.service("storage", "good", **entry_of(swift, swift.key))
    site.service("storage", "wrong", **entry_of(swift, WRONG))
    site.service("CUBE", "wrong", url=cube.url, username="chris", password=WRONG)
    site.service("CUBE", "gone", url=f"http://127.0.0.1:{free_port()}/api/v1/", username="chris", password=WRONG)
    with watching(site.px.home / "tmp", site.basemount / "incoming") as seen:
        found = site.run("find", "--query-file", query, "--json").stdout
        for broken in (("--serverPort", free_port()), ("--aec", "NOBODY")):
            site.run("find", "--query-file", query, *broken, ends=None)
            site.run("move", *broken, ends=None, input=found)
        site.run("find", "--query-file", query, "--then", "retrieve", ends=None, env={"PX_AET": "UNKNOWN"})
        site.run("report", ends=2, input=found[: len(found) // 2], data_out=False)
        query.write_text(json.dumps({"PatientID": IDENTITY, "PatientBirthDate": f"{BIRTH}x"})[:-1])
        site.run("find", "--query-file", query, ends=2, data_out=False)
        site.run("move", input=found)
        wait_until(lambda: len(list((site.basemount / "data").rglob("*.dcm"))) == len(images), "the images are filed")
        harm(images)
        site.run("repack", images[0].parent, ends=3, data_out=False)
        for store in ("wrong", "good"):
            site.run("smdb", "service", "storage", "check", store, ends=None if store == "wrong" else 0, data_out=False)
        site.run("push", "--storage", "wrong", *NAMED, "--StudyInstanceUID", STUDY, ends=None, data_out=False)
        site.run("push", "--storage", "good", *NAMED, "--StudyInstanceUID", STUDY)
        for name in ("wrong", "gone"):
            site.run("smdb", "service", "CUBE", "check", name, ends=None, data_out=False)
            site.run(
                "register", "--storage", "good", "--cube", name, *NAMED, "--StudyInstanceUID", STUDY, ends=None,
                data_out=False,
            )  # fmt: skip
        break_the_database(site, images)
        send_to_the_listener(site, images)
        assert listener.stop() == 0
    check_people([*site.said, listener.stderr(), listener.stdout()])
    check_seen(seen, "findscu", "movescu", "storescp")
    check_records(site.basemount)


def harm(images: list[Path]) -> None:
    """One file cut short, one of other content under the same UID, one that is no DICOM; one stays."""
    images[0].write_bytes(images[0].read_bytes()[:-3])
    instance(2, description="Other").save_as(images[1], enforce_file_format=True)
    images[2].write_text(f"{NAME} {IDENTITY} {BIRTH}")


def send_to_the_listener(site: Site, images: list[Path]) -> None:
    """An instance that is there with other content, and one whose receiving program was killed half way."""
    incoming = site.basemount / "incoming"
    dead = incoming / "listener-dead" / "00000001"
    dead.mkdir(parents=True)
    (dead / "MR.cut").write_bytes(images[3].read_bytes()[:-3])
    wait_until(lambda: any((incoming / "rejected").rglob("*.reason.txt")), "the file cut short is set aside")


def break_the_database(site: Site, images: list[Path]) -> None:
    """Damage what px reads, a piece at a time; each command that meets it fails and names no patient."""
    table = site.basemount / "log" / "patientData" / f"{IDENTITY}.json"
    assert table.is_file(), "the patient's table has another name: nothing is tested here"
    whole = table.read_bytes()
    table.write_bytes(whole[:-5])
    site.run("smdb", "search", f"PatientID={IDENTITY}", ends=40, data_out=False)
    site.run("smdb", "search", "Modality=MR", ends=40, data_out=False)
    site.run("smdb", "verify", ends=None, data_out=False)
    instance(9).save_as(images[3], enforce_file_format=True)
    table.write_bytes(whole)
    for file in (site.basemount / "data").rglob("*.dcm"):
        file.unlink()
    site.run("smdb", "verify", ends=None, data_out=False)
    site.run("push", "--storage", "good", "--replace", *NAMED, "--StudyInstanceUID", STUDY, ends=None, data_out=False)
