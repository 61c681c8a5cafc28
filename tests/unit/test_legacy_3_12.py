"""A BASEMOUNT that pypx 3.12.6 left after its push: the other layout that a site can have."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pypx import smdb
from pypx.cli.main import px
from pypx.db.smdb import Database
from pypx.workflows.status import refs_of_patient, series_status

RECORDED = Path(__file__).parents[1] / "golden" / "pypx-3.12.6"
TREE = [line.removeprefix("./") for line in (RECORDED / "tree-push-then.txt").read_text().splitlines()]
PUSHED = sorted(path.name.removesuffix("-push.json") for path in RECORDED.rglob("*-push.json"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Its tables as recorded, its images empty."""
    for path in (RECORDED / "json-push-then").rglob("*.json"):
        target = tmp_path / path.relative_to(RECORDED / "json-push-then")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text().replace("<BASEMOUNT>", str(tmp_path)))
    for line in TREE:
        if line.endswith(".dcm"):
            (tmp_path / line).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / line).touch()
    return tmp_path


def test_every_series_is_read(root: Path) -> None:
    base = smdb.SMDB(Namespace(str_logDir=str(root / "log")))
    database = Database.open(base.layout)
    assert database.format == 3
    found = {
        status.series.SeriesInstanceUID: status
        for patient in ("PID00000", "PID00001")
        for status in series_status(refs_of_patient(database, patient), database)
    }
    assert len(found) == 5
    assert all((one.received, one.packed, one.expected) == (4, 4, 4) for one in found.values())
    assert sorted(uid for uid, one in found.items() if one.pushed == 4) == PUSHED


def test_directories_are_where_its_templates_put_them(root: Path) -> None:
    for series in PUSHED:
        answer = CliRunner().invoke(
            px,
            [
                "--legacy",
                "smdb",
                "-l",
                str(root / "log"),
                "--action",
                "imageDirsSeriesInstanceUID",
                "--actionArgs",
                series,
            ],
        )
        directory = Path(json.loads(answer.stdout)[series])
        assert directory.relative_to(root).as_posix() in TREE
        assert len(list(directory.iterdir())) == 4


def test_its_services_are_read(root: Path) -> None:
    base = smdb.SMDB(Namespace(str_logDir=str(root / "log")))
    for name in ("storage", "CUBE", "pacs"):
        document = base.service_keyAccess(name)
        assert document["status"] is True
        assert document[name] == json.loads((root / "services" / f"{name.lower()}.json").read_text())
