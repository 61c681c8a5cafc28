"""Command lines of pypx 3, literally: on the metal, in the container (a `docker` that calls the entry point), PACS_QR.sh."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cube_contract import CubeServer, SwiftStore
from support.container import StandIn, make_stand_in
from support.corpus import make_series
from support.pxrun import PxRunner
from support.servers import Dcmqrscp
from support.swift_server import SwiftServer

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "tests" / "support" / "old_command_lines.txt"
MRN = "7654321"
IMAGES = 4


@dataclass(frozen=True, slots=True)
class Line:
    title: str
    command: str
    expected: tuple[str, ...]


def read_lines(text: str) -> list[Line]:
    lines = []
    for block in text.split("\n== ")[1:]:
        title, *rest = block.rstrip().splitlines()
        command = "\n".join(line for line in rest if not line.startswith("> "))
        lines.append(Line(title, command, tuple(line[2:] for line in rest if line.startswith("> "))))
    return lines


LINES = read_lines(LIST.read_text())


@dataclass(frozen=True, slots=True)
class Site:
    """A hospital on the loopback: PACS, listener, Swift, CUBE, and a user whose notes are the list."""

    environment: dict[str, str]
    directory: Path
    docker: StandIn
    swift: SwiftServer
    cube: CubeServer

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], env=self.environment, cwd=self.directory, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
        )  # fmt: skip


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Dcmqrscp]:
    server = Dcmqrscp(tmp_path / "pacs")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def site(
    tmp_path: Path, pacs: Dcmqrscp, swift: SwiftServer, cube_server: Callable[..., CubeServer], px: PxRunner
) -> Site:
    asked = make_series(tmp_path / "asked", IMAGES, PatientID=MRN, seed=1)
    local = make_series(tmp_path / "local", 3, PatientID="1234567", seed=2)
    assert len(pacs.upload(file.path for file in asked)) == IMAGES
    destination, base = pacs.destinations[0], tmp_path / "dicom"
    base.mkdir()
    px.start("listen", "--basemount", base, "--port", destination.port, "--aet", destination.aet, "--bind", "127.0.0.1") \
        .wait_for("px listen: ready")  # fmt: skip
    cube = cube_server(SwiftStore(swift.account), "old")
    host, port = swift.auth_url.split("/")[2].split(":")
    bin_directory = tmp_path / "bin"
    docker = make_stand_in(bin_directory)
    (bin_directory / "PACS_QR.sh").symlink_to(ROOT / "PACS_QR.sh")
    presets = tmp_path / "home" / ".config" / "pypx" / "institutions.ini"
    presets.parent.mkdir(parents=True)
    presets.write_text(
        f"[BCH-chris]\nPACSIP = {pacs.host}\nPACSPORT = {pacs.port}\nAEC = {pacs.aet}\nAET = {destination.aet}\n"
        "SWIFTKEY = pannotia\nCUBEKEY = megalodon\nSWIFTSERVICEPACS = orthanc\n"
    )
    presets.chmod(0o600)
    environment = {
        "PATH": f"{bin_directory}:{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path / "home"),
        "LANG": "C.UTF-8", "PX_BASEMOUNT": str(base), "PYPX": "local/pypx", "BASEMOUNT": str(base), "DB": f"{base}/log",
        "DATADIR": f"{base}/data", "LOCALDICOMDIR": str(local.files[0].path.parent), "LOCALMRN": "1234567",
        "AEC": pacs.aet, "AET": destination.aet, "PACSIP": pacs.host, "PACSPORT": str(pacs.port), "MRN": MRN,
        "STUDYUID": asked.files[0].StudyInstanceUID, "SERIESUID": asked.files[0].SeriesInstanceUID,
        "SWIFTKEY": "pannotia", "SWIFTHOST": host, "SWIFTPORT": port, "SWIFTLOGIN": swift.user,
        "SWIFTSERVICEPACS": "orthanc", "CUBEKEY": "megalodon", "CUBEURL": cube.url, "CUBEusername": "chris",
        "CUBEuserpasswd": "chris1234",
    }  # fmt: skip
    work = tmp_path / "work"
    work.mkdir()
    for name in ("Dockerfile", "docker"):
        (work / name).symlink_to(ROOT / name)
    return Site(environment, work, docker, swift, cube)


@pytest.mark.timeout(300)
def test_command_lines_of_pypx_3(site: Site) -> None:
    wrong = []
    for line in LINES:
        ended = site.run(line.command)
        missing = [text for text in line.expected if text not in ended.stdout]
        if ended.returncode or missing:
            wrong.append(
                f"== {line.title}: exit status {ended.returncode}, not printed: {missing}\n{line.command}\n"
                f"stdout: {ended.stdout[-1500:]}\nstderr: {ended.stderr[-1500:]}"
            )
    assert not wrong, "\n\n".join(wrong)
    pushed = site.swift.names(f"SERVICES/PACS/orthanc/{MRN}-")
    assert len(pushed) == IMAGES
    registered = {row["fname"] for row in site.cube.cube.data.files.values()}
    assert set(pushed) <= registered
    assert {call["image"] for call in site.docker.calls()} == {"local/pypx"}


def test_list_has_every_flag_of_the_entry_point_and_every_step() -> None:
    text = LIST.read_text()
    commands = "\n".join(line.command for line in LINES)
    assert len(LINES) == text.count("\n== ")
    for step in ("retrieve", "push", "register", "status"):
        assert f'PACS_QR.sh --do {step} -- "--PatientID {MRN}"' in commands
    for flag in ("--px-echo", "--px-find", "--px-report", "--px-repack", "--px-smdb", "--px-status", "--pfstorage"):
        assert f" {flag} " in commands


def test_a_line_that_fails_is_noticed(tmp_path: Path) -> None:
    (line,) = read_lines("# note\n\n== one\nprintf a\\\nb\n> ab\n> c\n")
    assert line == Line("one", "printf a\\\nb", ("ab", "c"))
    assert os.access(ROOT / "PACS_QR.sh", os.X_OK)
