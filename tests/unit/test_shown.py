"""Which files an error line names whole: not those whose names are made of a patient's values."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypx.db import files
from pypx.db.layout import Layout
from pypx.db.smdb import Database


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_logs", {})


def test_what_lies_in_a_basemount(tmp_path: Path) -> None:
    layout = Layout.of_basemount(tmp_path)
    layout.log.mkdir()
    assert files.shown(layout.data / "DOE^JOHN" / "1.dcm") == f"{layout.data}/…"
    assert files.shown(layout.patient_table("DOE")) == f"{layout.patient_dir}/…"
    assert files.shown(layout.log / "seriesData" / "1.2.jsonl") == str(layout.log / "seriesData" / "1.2.jsonl")
    assert files.shown(tmp_path / "elsewhere" / "1.dcm") == str(tmp_path / "elsewhere" / "1.dcm")


def test_packed_files_away_from_their_tables(tmp_path: Path) -> None:
    layout = Layout.of_log(tmp_path / "log", tmp_path / "archive" / "packed")
    file = layout.data / "DOE^JOHN" / "1.dcm"
    assert files.shown(file) == str(file), "nobody has said yet what this is"
    Database.open(layout)
    assert files.shown(file) == f"{layout.data}/…"
    assert files.shown(layout.data) == str(layout.data)
    assert files.shown(layout.data.parent / "1.dcm") == str(layout.data.parent / "1.dcm")
    error = files.about(file, ": cannot be read")
    assert (str(error), error.detail) == (f"{layout.data}/…: cannot be read", f"{file}: cannot be read")


def test_tables_below_the_packed_files(tmp_path: Path) -> None:
    """Who packs into the BASEMOUNT itself is still told which of its tables is damaged."""
    layout = Layout.of_log(tmp_path / "log", tmp_path)
    Database.open(layout)
    assert files.shown(tmp_path / "DOE^JOHN" / "1.dcm") == f"{tmp_path}/…"
    assert files.shown(layout.series_log("1.2.3", "img")) == str(layout.series_log("1.2.3", "img"))
    assert files.shown(layout.patient_table("DOE")) == f"{layout.patient_dir}/…"
