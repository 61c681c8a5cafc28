"""The BASEMOUNT that the benchmarks make without images, against the one px makes of the same; and rows that use one."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydicom import uid
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.records import Instance, SeriesRef
from pypx.workflows.repack import repack
from pypx.workflows.search import search
from pypx.workflows.status import refs_of_study, series_status

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def made() -> Iterator[ModuleType]:
    """The generator, `benchmarks/basemount.py`."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import basemount  # noqa: PLC0415 - found only with the path above

        yield basemount
    finally:
        sys.path.remove(str(BENCHMARKS))


def write_file(path: Path, image: Instance) -> None:
    """The file whose header says what the generator takes as said."""
    dataset = Dataset()
    for keyword, text in image.tags.items():
        values: list[Any] = text.split("\\")
        if dictionary_VR(keyword) == "US":
            values = [int(value) for value in values]
        setattr(dataset, keyword, values if len(values) > 1 else values[0])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.UID(image.SOPClassUID)
    meta.MediaStorageSOPInstanceUID = uid.UID(image.SOPInstanceUID)
    meta.TransferSyntaxUID = uid.UID(image.TransferSyntaxUID)
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)


def content(root: Path) -> dict[str, tuple[int, object]]:
    """Mode and content of every file in log/ but locks; image records without what depends on the run."""
    found: dict[str, tuple[int, object]] = {}
    for path in sorted((root / "log").rglob("*")):
        name, mode = path.relative_to(root).as_posix(), path.stat().st_mode
        if ".locks" in path.parts:
            continue
        if path.is_dir():
            found[name] = (mode, None)
        elif name.endswith(".jsonl"):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = (mode, [_without_run(line) for line in lines])
        else:
            found[name] = (mode, path.read_bytes())
    return found


def _without_run(line: dict[str, Any]) -> list[tuple[str, object]]:
    """Keys in their order, with the values that do not depend on the run."""
    return [
        (key, len(str(value)) if key in {"received", "crc32"} else key == "size" or value)
        for key, value in line.items()
    ]


def test_same_as_px_makes(made: ModuleType, tmp_path: Path) -> None:
    several = [replace(series, images=3) for series in islice(made.plan(20_000, seed=7), 25)]
    several += [replace(series, images=2) for series in made.plan(2_000, seed=8)]
    patients = {series.first.tag("PatientID") for series in several}
    assert made.PROBE_PATIENT in patients
    assert len(patients) > 2
    folder = tmp_path / "files"
    folder.mkdir()
    for number, series in enumerate(several):
        for image in range(1, series.images + 1):
            write_file(folder / f"{number:03d}-{image}.dcm", series.image(image))
    list(repack([folder], Database.open_or_create(Layout.of_basemount(tmp_path / "theirs"))))
    count = made.make_basemount(tmp_path / "ours", several, files=True)
    assert count == sum(series.images for series in several)
    assert content(tmp_path / "ours") == content(tmp_path / "theirs")
    assert _names(tmp_path / "ours") == _names(tmp_path / "theirs")


def _names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in (root / "data").rglob("*"))


@pytest.mark.parametrize("instances", [1, 49, 1000, 10_000, 123_456])
def test_so_many_and_the_same_again(made: ModuleType, instances: int) -> None:
    plan = list(made.plan(instances, seed=3))
    assert sum(series.images for series in plan) == instances
    assert plan == list(made.plan(instances, seed=3))
    uids = [series.first.SeriesInstanceUID for series in plan]
    assert len(uids) == len(set(uids))
    assert plan != list(made.plan(instances, seed=4)) or instances < 49


def test_shape(made: ModuleType) -> None:
    plan = list(made.plan(200_000))
    assert all(made.LEAST <= series.images <= made.MOST for series in plan[:-1])
    studies = {series.first.StudyInstanceUID: series.first.tag("PatientID") for series in plan}
    assert set(Counter(studies.values()).values()) == {1, 2, 3, 4}
    assert len({series.first.tag("SeriesDescription") for series in plan}) > 20


def test_the_same_question_has_the_same_answer_in_any_size(made: ModuleType, tmp_path: Path) -> None:
    answers = []
    for instances in (4_000, 40_000):
        root = tmp_path / str(instances)
        assert made.make_basemount(root, made.plan(instances)) == instances
        database = Database.open(Layout.of_basemount(root))
        refs = refs_of_study(database, UID(made.PROBE_STUDY))
        statuses = list(series_status(refs, database))
        found = [
            list(search(database, {keyword: value}))
            for keyword, value in (
                ("PatientID", made.PROBE_PATIENT),
                ("StudyInstanceUID", made.PROBE_STUDY),
                ("SeriesDescription", "*needle*"),
            )
        ]
        assert [status.received for status in statuses] == [made.PROBE_IMAGES] * made.PROBE_SERIES
        assert [len(records) for records in found] == [made.PROBE_SERIES] * 3
        answers.append((statuses, found))
    assert answers[0] == answers[1]


def test_files_are_found_where_they_stand(made: ModuleType, tmp_path: Path) -> None:
    made.make_basemount(tmp_path, made.one_study(3, 5), files=True)
    database = Database.open(Layout.of_basemount(tmp_path))
    refs: list[SeriesRef] = list(refs_of_study(database, UID(f"{made.ROOT}.20")))
    assert [status.packed for status in series_status(refs, database)] == [5, 5, 5]


def test_rows_measure_what_they_say(tmp_path: Path) -> None:
    rows = ("repack-small", "push-folder", "status", "search-patient", "register", "growth-first-10000")
    results = tmp_path / "results.json"
    run = subprocess.run(
        [BENCHMARKS / "run.sh", "--quick", "--pairs", "1", "--json", results, *rows],
        env={"PATH": os.environ["PATH"], "PX_VENV": str(Path(sys.executable).parent.parent)},
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert run.returncode == 0, f"{run.stdout}{run.stderr}"
    document = json.loads(results.read_text())
    found = {row["name"]: row for row in document["rows"]}
    assert set(found) == set(rows)
    assert {name for name, row in found.items() if row["ratio"] is None} == {"status", "growth-first-10000"}
    assert {name for name, row in found.items() if row["met"] is None} == {
        "push-folder",
        "register",
        "growth-first-10000",
    }
    assert [found[name]["runs"][0]["px_work"] for name in rows] == [10, 10, 1, 1, 10, 1]
    text: str = runpy.run_path(str(BENCHMARKS / "table.py"))["tables"](document)
    assert all(row["title"] in text for row in found.values())
