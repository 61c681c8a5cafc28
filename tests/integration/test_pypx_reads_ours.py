"""pypx 3.6.2 and px on one BASEMOUNT: each reads what the other wrote, and goes on from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.pxrun import PxRunner
from support.pypx3 import Pypx3

STUDY = "2.25.653198307399165578185356073155066334"
SERIES = "2.25.604306568731276869699318073719750404"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="session")
def pypx3(tmp_path_factory: pytest.TempPathFactory) -> Pypx3:
    return Pypx3(tmp_path_factory.mktemp("pypx3"))


@pytest.fixture
def root(pypx3: Pypx3, tmp_path: Path, golden_corpus: Path) -> Path:
    """A BASEMOUNT that pypx made: two of the four images of one series."""
    root = tmp_path / "basemount"
    for name in ("00000.dcm", "00001.dcm"):
        done = pypx3("px-repack", *places(root), "--xcrdir", golden_corpus / "p000/s000/r000", "--xcrfile", name)
        assert done["status"] is True
    return root


def places(root: Path) -> tuple[str, str, str, str]:
    return ("--logdir", str(root / "log"), "--datadir", str(root / "data"))


def wanted(root: Path) -> tuple[str, ...]:
    return (
        "--dblogbasepath", str(root / "log"), "--StudyInstanceUID", STUDY, "--SeriesInstanceUID", SERIES, "--json",
    )  # fmt: skip


def counts(document: Any) -> dict[str, int]:
    return {name: document["images"][name]["count"] for name in ("received", "packed", "pushed", "registered")}


def test_px_reads_what_pypx_wrote(root: Path, pypx3: Pypx3, px: PxRunner) -> None:
    theirs = pypx3("px-status", *wanted(root))
    ours = px(*wanted(root), command="px-status").ok()
    assert counts(theirs) == {"received": 2, "packed": 2, "pushed": 0, "registered": 0}
    assert json.loads(ours.stdout) == theirs


def test_pypx_reads_what_px_added(root: Path, pypx3: Pypx3, px: PxRunner, golden_corpus: Path, tmp_path: Path) -> None:
    folder = golden_corpus / "p000/s000"
    px(*places(root), "--xcrdir", folder / "r000", "--parseAllFilesWithSubStr", "dcm", command="px-repack").ok()
    px(*places(root), "--xcrdir", folder / "r001", "--parseAllFilesWithSubStr", "dcm", command="px-repack").ok()
    assert not (root / "log" / "format.json").exists()
    status = pypx3("px-status", *wanted(root), "--verifySeriesInStudy")
    assert counts(status) == {"received": 4, "packed": 4, "pushed": 0, "registered": 0}
    assert status["state"]["study"] == "StudyContainsSeriesOK"
    assert len(status["study"]["seriesListInStudy"]["seriesList"]) == 2

    directory = pypx3(
        "px-smdb", "--logdir", root / "log", "--action", "imageDirsSeriesInstanceUID", "--actionArgs", SERIES
    )
    assert directory["status"] is True
    assert len(list(Path(directory[SERIES]).glob("*.dcm"))) == 4
    patient = pypx3("px-smdb", "--logdir", root / "log", "--action", "imageDirsPatientID", "--actionArgs", "PID00000")
    assert len(patient["d_imageDirs"][STUDY]) == 2

    pushed = px(
        "--db", root / "log", "--storeBaseLocation", tmp_path / "store", "--swiftServicesPACS", "orthanc",
        "--xcrdir", directory[SERIES], "--parseAllFilesWithSubStr", "dcm", "--json", command="px-push",
    ).ok()  # fmt: skip
    assert "CT_CHEST_0-ACC00000000-20100101-060Y-021901d" in pushed.stdout, "the names of px-push 3.6.2"
    assert counts(pypx3("px-status", *wanted(root)))["pushed"] == 4


def test_both_take_turns(root: Path, pypx3: Pypx3, px: PxRunner, golden_corpus: Path) -> None:
    folder = golden_corpus / "p000/s000/r000"
    px(*places(root), "--xcrdir", folder, "--xcrfile", "00002.dcm", command="px-repack").ok()
    pypx3("px-repack", *places(root), "--xcrdir", folder, "--xcrfile", "00003.dcm")
    px(*places(root), "--xcrdir", folder, "--parseAllFilesWithSubStr", "dcm", command="px-repack").ok()
    theirs = pypx3("px-status", *wanted(root))
    assert counts(theirs)["received"] == 4
    ours = px(
        "status", "--db", root / "log", "--StudyInstanceUID", STUDY, "--SeriesInstanceUID", SERIES, "--jsonl"
    ).ok()
    assert '"received": 4' in ours.stdout
    assert len(list((root / "data").rglob("*.dcm"))) == 4
    entry = pypx3(
        "px-smdb", "--logdir", root / "log", "--action", "PACS", "--actionArgs", '{"a": {"aet": "A", "aec": "B"}}'
    )
    assert entry["PACS"]["a"]["aec"] == "B"
    assert '"aec": "B"' in px("--logdir", root / "log", "--action", "PACS", command="px-smdb").ok().stdout
