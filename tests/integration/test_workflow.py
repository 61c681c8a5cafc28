"""workflow.sh from a copy of the checkout, as a user runs it: twice, and against a PACS that is not its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from cube_contract import CubeServer, FolderStore
from support.ports import wait_until
from support.pxrun import clean_environment
from support.servers import Dcmqrscp

ROOT = Path(__file__).parents[2]
COPIED = ("workflow.sh", "docs", "pyproject.toml")
VERBS = ("echo", "find", "report", "listen", "move", "status", "push", "storage", "do", "repack", "smdb")

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@dataclass(frozen=True)
class Tour:
    """A copy of what workflow.sh needs, and how to run it."""

    folder: Path
    home: Path

    def run(self, *args: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["./workflow.sh", *args], cwd=self.folder, env=self.environment(settings), text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=160,
        )  # fmt: skip

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        own = {"PX_VENV": sys.prefix, "TOUR_MARK": str(self.folder)}
        return clean_environment(self.home, {**own, **settings})

    def processes(self) -> list[str]:
        """Command lines of processes that this tour left: by a variable, by their folder, by their arguments."""
        mark = str(self.folder).encode()
        return [words for words, traces in _processes() if mark in traces]


def _processes() -> Iterator[tuple[str, bytes]]:
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            words = (process / "cmdline").read_bytes()
            traces = words + (process / "environ").read_bytes() + os.fsencode((process / "cwd").readlink())
        except OSError:
            continue
        yield words.replace(b"\0", b" ").decode(errors="replace"), traces


@pytest.fixture
def tour(tmp_path: Path) -> Tour:
    folder = tmp_path / "check out"
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("_build", "__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    return Tour(folder, tmp_path / "home")


def images(basemount: Path) -> list[Path]:
    return sorted(path for path in (basemount / "data").rglob("*") if path.is_file())


def test_the_tour_runs_twice_and_leaves_images_and_no_process(tour: Tour) -> None:
    basemount = tour.folder / ".px-tour" / "basemount"
    found: list[list[Path]] = []
    for _ in range(2):
        run = tour.run()
        assert run.returncode == 0, run.stdout
        shown = [line[2:].split()[:2] for line in run.stdout.splitlines() if line.startswith("$ px ")]
        assert {words[1] for words in shown} == set(VERBS), run.stdout
        assert "Traceback" not in run.stdout
        for path in images(basemount):
            assert str(path.relative_to(tour.folder)) in run.stdout
        found.append(images(basemount))
        wait_until(lambda: not tour.processes(), f"end of {tour.processes()}", timeout=10)
    assert found[0] == found[1]
    patients = {path.relative_to(basemount / "data").parts[0] for path in found[0]}
    assert patients == {"PX-1001-Tour_Ada-19800101", "PX-2001-Folder_Alan-19620623"}
    assert len(found[0]) == 8 + 6


def test_the_tour_of_another_pacs_keeps_to_its_patient_and_basemount(
    tour: Tour, dcmqrscp: Dcmqrscp, tmp_path: Path
) -> None:
    destination = dcmqrscp.destinations[0]
    settings = {
        "PACSIP": "127.0.0.1",
        "PACSPORT": str(dcmqrscp.port),
        "AEC": dcmqrscp.aet,
        "AET": destination.aet,
        "LISTENPORT": str(destination.port),
        "BASEMOUNT": str(tmp_path / "kept"),
    }
    run = tour.run(**settings, PATIENTID="no such patient")
    assert run.returncode == 1
    assert "nothing to retrieve of patient no such patient" in run.stdout
    run = tour.run(**settings)
    assert run.returncode == 0, run.stdout
    assert images(tmp_path / "kept")
    assert not (tour.folder / ".px-tour" / "pacs").exists()
    wait_until(lambda: not tour.processes(), f"end of {tour.processes()}", timeout=10)


def test_the_tour_registers_in_a_cube_that_reads_its_store(
    tour: Tour, cube_server: Callable[..., CubeServer], tmp_path: Path
) -> None:
    cube = cube_server(FolderStore(tmp_path / "store"), looks=3, pause_s=0.05)
    settings = {"PX_CUBE_URL": cube.url, "PX_CUBE_PASSWORD": "chris1234", "STOREDIR": str(tmp_path / "store")}
    run = tour.run(**settings, PACSNAME="CLINIC")
    assert run.returncode == 0, run.stdout
    assert "$ px register " in run.stdout
    assert "chris1234" not in run.stdout
    stored = {path.relative_to(tmp_path / "store").as_posix() for path in (tmp_path / "store").rglob("*.dcm")}
    registered = {str(row["fname"]) for row in cube.cube.data.files.values()}
    clinic, legacy = (
        {name for name in stored if name.startswith(f"SERVICES/PACS/{name_of_pacs}/")}
        for name_of_pacs in ("CLINIC", "LEGACY")
    )
    assert clinic
    assert len(registered & legacy) == 3  # px-register was told of one series
    assert registered - legacy == clinic
    assert {name for name in stored - clinic - legacy if not name.startswith("uploads/one/")} == set()
    assert cube.violations == []


def test_a_wrong_call_explains_itself(tour: Tour) -> None:
    assert tour.run("--nonsense").returncode == 2
    shown = tour.run("--help")
    assert shown.returncode == 0
    for name in (
        "BASEMOUNT", "PACSIP", "PACSPORT", "AEC", "AET", "LISTENPORT", "PATIENTID", "STOREDIR", "PX_SWIFT_IP",
        "PX_CUBE_URL", "PACSNAME",
    ):  # fmt: skip
        assert f"  {name} " in shown.stdout


def test_a_pacs_that_is_not_there_ends_the_tour_with_its_exit_code(tour: Tour) -> None:
    run = tour.run(PACSIP="127.0.0.1", PACSPORT="1")
    assert run.returncode == 10, run.stdout
    wait_until(lambda: not tour.processes(), f"end of {tour.processes()}", timeout=10)
