"""Write the tables of docs/performance.rst from the results of a run.

python benchmarks/table.py [RESULTS.json] [--to docs/snippets/performance.txt]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MIB = 2**20
FEWEST_PAIRS = 5
STARTUP, GROWTH = "startup-", "growth-"

Row = Mapping[str, Any]


def tables(results: Mapping[str, Any]) -> str:
    """All of the snippet: where the figures come from, and a table for rows, start-up, growth and pypx 3.6.2 each."""
    rows: list[Row] = results["rows"]
    plain = [row for row in rows if not row["name"].startswith((STARTUP, GROWTH))]
    compared = [row for row in plain if row["times_pypx"]]
    parts = [
        f".. Made by benchmarks/table.py; do not edit.\n\n{_origin(results)}\n",
        _table("Work", plain, ("what", _title), ("floor", _floor), ("px", _px), ("px : floor", _ratio),
               ("budget", _budget), ("met", _met), ("MiB", _memory), ("processes", _processes)),
        _table("Start-up", [row for row in rows if row["name"].startswith(STARTUP)], ("what", _title),
               ("px, ms", _milliseconds), ("added, ms", _added), ("met", _met)),
        _table("Against pypx 3.6.2", compared, ("what", _title), ("pypx", _pypx), ("px", _px),
               ("px : pypx", _times_pypx)),
        _table("Growth", [row for row in rows if row["name"].startswith(GROWTH)], ("what", _title),
               ("px, ms", _milliseconds), ("MiB", _memory)),
    ]  # fmt: skip
    return "\n".join(part for part in parts if part)


def _origin(results: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    counts = sorted({len(row["runs"]) for row in results["rows"]})
    often = " or ".join(map(str, counts))
    pairs = f"{often} pairs each; median, and least to greatest in brackets."
    if results.get("quick"):
        note = " A quick run: it shows that the rows work, not how fast px is."
    else:
        note = " Provisional, for want of pairs." if counts[0] < FEWEST_PAIRS else ""
    return f"{results['machine']}; {versions}. {pairs}{note}"


def _table(title: str, rows: Iterable[Row], *columns: tuple[str, Callable[[Row], str]]) -> str:
    lines = [[read(row) for _, read in columns] for row in rows]
    if not lines:
        return ""
    text = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for line in ([heading for heading, _ in columns], *lines):
        text += [f"   {'* -' if number == 0 else '  -'} {cell}".rstrip() for number, cell in enumerate(line)]
    return "\n".join(text) + "\n"


def _title(row: Row) -> str:
    return f"``{row['title']}``" if row["name"].startswith(STARTUP) else str(row["title"])


def _floor(row: Row) -> str:
    return f"{row['floor_is']}: {_rate(row, 'floor')}" if row["floor_is"] != "none" else ""


def _px(row: Row) -> str:
    return _rate(row, "px")


def _pypx(row: Row) -> str:
    return _rate(row, "pypx")


def _rate(row: Row, who: str) -> str:
    """Work a second, or seconds where a run is one piece of work; the median of the runs."""
    runs = [run for run in row["runs"] if f"{who}_s" in run]
    if not runs:
        return ""
    if all(run[f"{who}_work"] == 1 for run in runs):
        return f"{1000 * _median(run[f'{who}_s'] for run in runs):.0f} ms"
    return f"{_figure(_median(run[f'{who}_work'] / run[f'{who}_s'] for run in runs))} {row['unit']}/s"


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _ratio(row: Row) -> str:
    return f"{_spread(row['ratio'])} x its {row['ratio_of']}" if row["ratio"] else ""


def _times_pypx(row: Row) -> str:
    return _spread(row["times_pypx"])


def _milliseconds(row: Row) -> str:
    return _spread({key: 1000 * value for key, value in row["px_s"].items()})


def _added(row: Row) -> str:
    return _spread({key: 1000 * value for key, value in row["added_s"].items()}) if row["added_s"] else ""


def _budget(row: Row) -> str:
    return "" if row["budget"] == "none" else str(row["budget"])


def _met(row: Row) -> str:
    return {True: "yes", False: "no", None: ""}[row["met"]]


def _memory(row: Row) -> str:
    return f"{row['peak_rss_bytes'] / MIB:.0f}"


def _processes(row: Row) -> str:
    return f"{row['processes']} + {row['programs']}" if row["programs"] else str(row["processes"])


def _spread(values: Mapping[str, float]) -> str:
    return f"{_figure(values['median'])} [{_figure(values['min'])} to {_figure(values['max'])}]"


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=HERE / "results.json")
    parser.add_argument("--to", type=Path, default=HERE.parent / "docs" / "snippets" / "performance.txt")
    given = parser.parse_args()
    given.to.write_text(tables(json.loads(given.results.read_text())))


if __name__ == "__main__":
    main()
