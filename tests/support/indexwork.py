"""Series for searches, and what several processes do with one index at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypx.db import index, indexfile
from pypx.db.layout import Layout
from pypx.db.seriestags import scan
from pypx.db.smdb import Database
from pypx.workflows.search import search
from support.dbwork import instance


def add_series(database: Database, number: int, **tags: str) -> None:
    """Record the tables of a series: ten to a study ``1.<n>``, three studies to a patient ``p<n>``."""
    study, within = divmod(number, 10)
    values = {
        "PatientID": f"p{study // 3}",
        "PatientName": f"DOE{study // 3}^JANE",
        "StudyDate": f"2020010{study % 9 + 1}",
        "AccessionNumber": f"A{study}",
        "SeriesDescription": f"series {number}",
        "Modality": "MR" if number % 2 else "CT",
        **tags,
    }
    series = f"1.{study}.{within}"
    database.add_headers(instance(f"{series}.1", series, f"1.{study}", **values), database.layout.data / series)


def search_and_add(place: Path, number: int, count: int) -> None:
    """Add series (one process), or search over and over, writing the index when it can (the others)."""
    layout = Layout.of_basemount(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_FEW", 0)
        patch.setattr(indexfile, "_SETTLED_NS", 20_000_000)  # more than the clock of a local file system ticks
        for turn in range(count):
            if number == 0:
                add_series(Database.open(layout), 100 + turn)
                continue
            before = {tags["SeriesInstanceUID"] for tags in scan(Database.open(layout))}
            found = {str(record["SeriesInstanceUID"]) for record in search(Database.open(layout), {})}
            after = {tags["SeriesInstanceUID"] for tags in scan(Database.open(layout))}
            assert before <= found <= after
