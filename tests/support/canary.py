"""A made-up patient and made-up passwords, and where to look for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from support.corpus import MR
from support.pxrun import PxResult, PxRunner, RunningPx
from support.servers import Orthanc
from support.swift_server import SwiftServer
from support.watch import Seen

NAME, IDENTITY, BIRTH = "Kanarienvogel^Zitrone", "CANARY7431", "19530317"
PATIENT = (NAME.partition("^")[0], NAME.partition("^")[2], IDENTITY, BIRTH)
WRONG = "canary-wrong-password"
KEY_PASSWORD = "canary-key-password"
SECRETS = (WRONG, KEY_PASSWORD, "chris1234", "testing")
ANY = -1000
"""As what a command may end with."""

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
        """Run px, which is to end with `ends` (``None``: with a failure); its stdout is data unless said otherwise."""
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
        expected = result.returncode != 0 if ends is None else ends in (result.returncode, ANY)
        assert expected, f"{args} ended with {result.returncode}:\n{result.stderr}\n{result.stdout[-1000:]}"
        what = more.get("command") or args[0]  # not all of them: our own argument list is the user's
        self.said.append(f"{what}: {result.stderr}" + ("" if data_out else result.stdout))
        return result

    def service(self, kind: str, name: str, **entry: str) -> None:
        self.run("smdb", "service", kind, "set", name, "-", input=json.dumps(entry), data_out=False)


def entry_of(swift: SwiftServer, key: str) -> dict[str, str]:
    return {"ip": "127.0.0.1", "port": str(swift.port), "login": swift.user, "key": key, "storagetype": "swift"}


@pytest.fixture
def canary_images(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "images"
    folder.mkdir()
    files = [folder / f"{number}.dcm" for number in range(1, 5)]
    for number, file in enumerate(files, start=1):
        instance(number).save_as(file, enforce_file_format=True)
    return files


@pytest.fixture
def canary(px: PxRunner, orthanc: Orthanc, basemount: Path, canary_images: list[Path]) -> Iterator[Site]:
    orthanc.upload(canary_images)
    try:
        yield Site(px, orthanc, basemount)
    finally:
        orthanc.delete(STUDY)


@pytest.fixture
def canary_listener(canary: Site, free_port: Callable[[], int]) -> Iterator[RunningPx]:
    port = free_port()
    canary.orthanc.knows(AET, port)
    running = canary.px.start(
        "listen", "--basemount", canary.basemount, "--port", port, "--bind", "127.0.0.1", "--aet", AET, "--jsonl",
        env={"PX_CUBE_PASSWORD": "chris1234", "PX_SWIFT_KEY": WRONG},
    )  # fmt: skip
    running.wait_for("ready")
    try:
        yield running
    finally:
        canary.orthanc.forgets(AET)


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


def harm(images: list[Path]) -> None:
    """One file cut short, one of other content under the same UID, one that is no DICOM; one stays."""
    images[0].write_bytes(images[0].read_bytes()[:-3])
    instance(2, description="Other").save_as(images[1], enforce_file_format=True)
    images[2].write_text(f"{NAME} {IDENTITY} {BIRTH}")
