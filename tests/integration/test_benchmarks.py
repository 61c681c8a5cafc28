"""The benchmarks run, say what they measured, and calculate as they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from support.dicom import read

if TYPE_CHECKING:
    from bench import Measured, Row, Summary

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
QUICK_ROWS = ("receive-1", "find-1", "startup-version", "startup-px-find")


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    """Let the tests import the modules of the benchmarks, and nobody else afterwards."""
    path, known = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(BENCHMARKS)):
            del sys.modules[name]


@pytest.fixture
def bench() -> ModuleType:
    import bench  # noqa: PLC0415  found only with the path above

    return bench


def run_sh(*args: str | Path) -> subprocess.CompletedProcess[str]:
    venv = Path(sys.executable).parent.parent
    return subprocess.run(
        [BENCHMARKS / "run.sh", *args],
        env={"PATH": os.environ["PATH"], "PX_VENV": str(venv)},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def test_quick_rows_run_and_leave_their_figures(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    run = run_sh("--quick", "--pairs", "1", "--json", results, *QUICK_ROWS)
    assert run.returncode == 0, f"{run.stdout}{run.stderr}"
    document = json.loads(results.read_text())
    assert document["quick"] is True
    assert document["versions"].keys() == {"px", "python", "dcmtk", "orthanc", "swift"}
    assert "cores" in document["machine"]
    rows: dict[str, dict[str, Any]] = {row["name"]: row for row in document["rows"]}
    assert set(rows) == set(QUICK_ROWS)
    for name, row in rows.items():
        (measured,) = row["runs"]
        assert measured["floor_s"] > 0
        assert measured["px_s"] > 0
        assert row["ratio"].keys() == {"median", "min", "max"}
        assert row["met"] in (True, False)
        assert row["peak_rss_bytes"] > 5 * 2**20, name
        assert any(line.startswith(f"{name} ") for line in run.stdout.splitlines())
    received = rows["receive-1"]
    assert received["processes"] in (1, 2, 3)
    assert received["programs"] == 1
    assert received["runs"][0]["px_work"] == 12
    assert 0 < rows["find-1"]["runs"][0]["px_startup_s"] < rows["find-1"]["runs"][0]["px_s"]


def test_help_names_every_row() -> None:
    import main  # noqa: PLC0415  found only with the path above

    listed = {
        line.split()[0] for line in run_sh("--help").stdout.splitlines() if line.startswith("  ") and line.split()
    }
    modules = main.modules()
    files = {path.stem for path in (BENCHMARKS / "rows").glob("*.py")} - {"__init__"}
    assert set(modules) == files
    names = [row.name for rows in modules.values() for row in rows]
    assert len(names) == len(set(names)), "two rows of one name"
    assert {*names, *files} <= listed


def test_a_row_that_does_not_exist_is_refused() -> None:
    run = run_sh("receive-1", "recieve")
    assert run.returncode == 2
    assert run.stderr.startswith("run.sh: no row named 'recieve'; there are: receive, ")
    assert run.stdout == ""


def test_a_name_selects_a_row_or_all_rows_of_a_module() -> None:
    import main  # noqa: PLC0415  found only with the path above

    known = main.modules()
    assert list(main.chosen([], known)) == list(known)
    assert [row.name for row in main.chosen(["find"], known)["find"]] == ["find-1", "find-10", "find-50", "find-200"]
    picked = main.chosen(["find-50", "receive-4"], known)
    assert {module: [row.name for row in rows] for module, rows in picked.items()} == {
        "receive": ["receive-4"],
        "find": ["find-50"],
    }


# Arithmetic


def measured(seconds: float, work: float = 100, **more: Any) -> Measured:
    from bench import Measured  # noqa: PLC0415  found only with the path above

    return Measured(seconds, work, **more)


def summary(*pairs: tuple[float, float]) -> Summary:
    """Of seconds of floor and px for the same work."""
    from bench import Run, Summary  # noqa: PLC0415  found only with the path above

    return Summary(tuple(Run(measured(floor), measured(px)) for floor, px in pairs))


def test_ratios_are_taken_pair_by_pair(bench: ModuleType) -> None:
    found = summary((1.0, 2.0), (3.0, 3.0), (8.0, 2.0))
    assert found.speed == bench.Spread(1.0, 0.5, 4.0)
    assert found.time == bench.Spread(1.0, 0.25, 2.0)
    assert found.added_s == bench.Spread(0.0, -6.0, 1.0)
    assert found.px_s == bench.Spread(2.0, 2.0, 3.0)


def test_the_median_of_two_lies_between_them(bench: ModuleType) -> None:
    assert bench.Spread.of([4.0, 1.0]) == bench.Spread(2.5, 1.0, 4.0)


def test_different_work_is_compared_by_rate(bench: ModuleType) -> None:
    found = bench.Summary((bench.Run(measured(1.0, 100), measured(1.0, 50), measured(10.0, 20)),))
    assert found.speed == bench.Spread(0.5, 0.5, 0.5)
    assert found.time == bench.Spread(2.0, 2.0, 2.0)
    assert found.times_pypx == bench.Spread(25.0, 25.0, 25.0)


def test_without_floor_or_pypx_there_is_no_ratio(bench: ModuleType) -> None:
    found = bench.Summary((bench.Run(None, measured(1.0)),))
    assert (found.speed, found.time, found.time_after_startup, found.added_s, found.times_pypx) == (None,) * 5


def test_start_up_is_taken_off_px_only(bench: ModuleType) -> None:
    found = bench.Summary((bench.Run(measured(1.0, 10), measured(1.5, 10, startup_s=0.25)),))
    assert found.time_after_startup == bench.Spread(1.25, 1.25, 1.25)
    assert found.time == bench.Spread(1.5, 1.5, 1.5)


def test_memory_and_processes_are_the_most_of_all_runs(bench: ModuleType) -> None:
    runs = [measured(1, peak_rss_bytes=5, processes=1), measured(1, peak_rss_bytes=3, processes=2)]
    found = bench.Summary(tuple(bench.Run(None, run) for run in runs))
    assert (found.most("peak_rss_bytes"), found.most("processes"), found.most("programs")) == (5, 2, 0)


def row_named(name: str) -> Row:
    import main  # noqa: PLC0415  found only with the path above

    found: Row = next(row for rows in main.modules().values() for row in rows if row.name == name)
    return found


@pytest.mark.parametrize(
    ("name", "floor_s", "px_s", "met"),
    [
        ("receive-4", 0.8, 1.0, True),
        ("receive-4", 0.79, 1.0, False),
        ("retrieve-orthanc", 0.9, 1.0, True),
        ("retrieve-orthanc", 0.89, 1.0, False),
        ("find-50", 1.0, 1.3, True),
        ("find-50", 1.0, 1.31, False),
        ("startup-version", 0.010, 0.090, True),
        ("startup-version", 0.010, 0.091, False),
    ],
)
def test_budgets(name: str, floor_s: float, px_s: float, met: bool) -> None:
    passes = row_named(name).passes
    assert passes
    assert passes(summary((floor_s, px_s))) is met


@pytest.mark.parametrize(("value", "most"), [("peak_rss_bytes", 200 * 2**20), ("processes", 3), ("programs", 4)])
def test_receive_is_held_to_memory_and_processes_too(bench: ModuleType, value: str, most: int) -> None:
    passes = row_named("receive-4").passes
    assert passes
    for number, met in ((most, True), (most + 1, False)):
        assert passes(bench.Summary((bench.Run(measured(1), measured(1, **{value: number})),))) is met


def test_floor_and_px_take_turns_after_one_run_each_that_is_not_counted(bench: ModuleType, tmp_path: Path) -> None:
    order: list[str] = []

    def step(name: str) -> Measured:
        order.append(name)
        return measured(len(order))

    case = bench.Case(lambda: step("px"), lambda: step("floor"), lambda: step("pypx"))
    found = bench.alternate(case, bench.Options(2, False, False, tmp_path))
    assert order == ["floor", "px"] * 3
    assert [(run.floor.seconds, run.px.seconds, run.pypx) for run in found.runs] == [(3, 4, None), (5, 6, None)]
    order.clear()
    found = bench.alternate(case, bench.Options(5, False, True, tmp_path))
    assert order.count("pypx") == 3, "pypx is slow and runs at most three times"
    assert order.count("px") == 6


# Measuring


def test_memory_and_processes_are_those_of_the_whole_tree(bench: ModuleType) -> None:
    script = "import subprocess, time; held = b'x' * (60 << 20); subprocess.run(['sleep', '0.3'])"
    found = bench.run([sys.executable, "-c", script])
    assert 60 << 20 < found.peak_rss_bytes < 120 << 20
    assert (found.processes, found.programs) == (1, 1)
    assert 0.3 <= found.seconds < 10
    assert found.cpu_s > 0


def test_a_command_that_fails_ends_the_benchmark_with_what_it_said(bench: ModuleType) -> None:
    with pytest.raises(bench.BenchError, match="exit status 3: no such thing"):
        bench.run(["sh", "-c", "echo no such thing >&2; exit 3"])
    assert bench.run(["sh", "-c", "exit 3"], codes=(3,)).seconds > 0


def test_pypx_is_never_let_near_its_built_in_address() -> None:
    import pypx3  # noqa: PLC0415  found only with the path above
    from bench import BenchError  # noqa: PLC0415  the same

    theirs = pypx3.Pypx3(Path("bin"))
    for words in ((), ("--serverIP", "192.0.2.1"), ("--PatientID", "1")):
        with pytest.raises(BenchError, match="needs --serverIP"):
            theirs.argv("px-find", *words)
    assert theirs.argv("px-find", "--serverIP", "127.0.0.1") == ["bin/px-find", "--serverIP", "127.0.0.1"]
    assert theirs.argv("px-repack", "--xcrdir", "x")[0] == "bin/px-repack"


@pytest.mark.parametrize("size", [512, 64])
def test_a_corpus_is_the_same_each_time_and_valid(tmp_path: Path, size: int) -> None:
    from corpus import make_corpus  # noqa: PLC0415  found only with the path above

    made = [make_corpus(tmp_path / name, 7, size=size, series=3, studies=2, seed=5) for name in ("a", "b")]
    assert made[0].images == len(made[0].files) == 7
    assert [path.read_bytes() for path in made[0].files] == [path.read_bytes() for path in made[1].files]
    found = [read(path, pixels=True) for path in made[0].files]
    assert len({dataset.SOPInstanceUID for dataset in found}) == 7
    assert len({dataset.SeriesInstanceUID for dataset in found}) == 3
    assert {dataset.StudyInstanceUID for dataset in found} == set(made[0].studies)
    assert all(len(dataset.PixelData) == 2 * size * size for dataset in found)
    assert all(len(dataset) > 190 for dataset in found) is (size == 64), "64x64 has a long header"
