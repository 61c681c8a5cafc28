"""The tables of docs/performance.rst: what the snippet holds comes from the results, and every kind of row has its place."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = runpy.run_path(str(ROOT / "benchmarks" / "table.py"))


def row(name: str, **values: Any) -> dict[str, Any]:
    runs = [{"floor_s": 1.0, "floor_work": 10, "px_s": seconds, "px_work": 10} for seconds in (2.0, 4.0, 5.0)]
    spread = {"median": 0.25, "min": 0.2, "max": 0.5}
    return {
        "name": name, "title": f"title of {name}", "unit": "images", "budget": "at least 1 x the floor",
        "floor_is": "cp -r", "met": False, "runs": runs, "ratio_of": "speed", "ratio": spread, "px_s": spread,
        "added_s": spread, "times_pypx": None, "peak_rss_bytes": 3 << 20, "processes": 1, "programs": 0, **values,
    }  # fmt: skip


def made(*rows: dict[str, Any], **values: Any) -> str:
    results = {"machine": "Box", "versions": {"px": "4", "dcmtk": "3.6.7"}, "quick": False, "pairs": 3, "rows": rows}
    text: str = TABLE["tables"]({**results, **values})
    return text


def cells(text: str, title: str) -> list[list[str]]:
    """The lines of one table, without its heading."""
    body = text.split(f".. list-table:: {title}\n", 1)[1].split(".. list-table::", 1)[0]
    lines = [block.split("\n     -") for block in body.split("   * -")[1:]]
    return [[cell.strip() for cell in line] for line in lines][1:]


def test_a_row_with_a_floor() -> None:
    text = made(row("push-swift"))
    assert "Box; px 4, dcmtk 3.6.7. 3 pairs each" in text
    assert cells(text, "Work") == [
        ["title of push-swift", "cp -r: 10.0 images/s", "2.50 images/s", "0.25 [0.20 to 0.50] x its speed",
         "at least 1 x the floor", "no", "3", "1"],
    ]  # fmt: skip
    assert "Against pypx" not in text
    assert "Start-up" not in text


def test_a_row_without_a_floor_and_without_a_budget() -> None:
    runs = [{"px_s": 0.2, "px_work": 1}, {"px_s": 0.3, "px_work": 1}]
    bare = row("status", floor_is="none", ratio=None, added_s=None, budget="none", met=None, runs=runs, programs=2)
    assert cells(made(bare), "Work") == [["title of status", "", "250 ms", "", "", "", "3", "1 + 2"]]


def test_start_up_growth_and_pypx_have_tables_of_their_own() -> None:
    theirs = [{"px_s": 1.0, "px_work": 100, "pypx_s": 2.0, "pypx_work": 10}]
    times = {"median": 20.0, "min": 20.0, "max": 20.0}
    text = made(row("startup-help", met=True), row("growth-series-5"), row("repack", runs=theirs, times_pypx=times))
    assert cells(text, "Start-up") == [
        ["``title of startup-help``", "250 [200 to 500]", "250 [200 to 500]", "yes"],
    ]  # fmt: skip
    assert cells(text, "Growth") == [["title of growth-series-5", "250 [200 to 500]", "3"]]
    assert cells(text, "Against pypx 3.6.2") == [["title of repack", "5.00 images/s", "100 images/s", "20 [20 to 20]"]]


def test_a_quick_run_says_so() -> None:
    assert "quick" in made(row("push"), quick=True)
    assert "quick" not in made(row("push"))


def test_few_pairs_are_provisional() -> None:
    run = {"floor_s": 1.0, "floor_work": 10, "px_s": 2.0, "px_work": 10}
    few, enough, many = (row("push", runs=pairs * [run]) for pairs in (4, 5, 9))
    assert "4 or 9 pairs each" in made(many, few)
    assert "Provisional" in made(many, few)
    assert "Provisional" not in made(many, enough)


def test_written_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, snippet = tmp_path / "results.json", tmp_path / "performance.rst"
    results.write_text(json.dumps({"machine": "Box", "versions": {}, "pairs": 1, "rows": [row("push")]}))
    monkeypatch.setattr("sys.argv", ["table.py", str(results), "--to", str(snippet)])
    TABLE["main"]()
    assert "title of push" in snippet.read_text()
