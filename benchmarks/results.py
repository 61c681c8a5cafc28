"""The table that is printed and the JSON that is written."""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import pypx3
from bench import BenchError, Measured, Row, Run, Spread, Summary, machine, program

import pypx

MIB = 2**20
COLUMNS = (("row", 20), ("floor", 27), ("px", 27), ("px : floor", 36), ("MiB", 4), ("processes", 9))
LAST = (("met", 4), ("budget", 0))
PYPX = (("pypx", 26), ("px : pypx", 20))


def heading(module: str, with_pypx: bool) -> str:
    """Name of the module and titles of the columns."""
    columns = [*COLUMNS, *(PYPX if with_pypx else ()), *LAST]
    return f"{module}\n" + _aligned([title for title, _ in columns], with_pypx)


def line(row: Row, summary: Summary, with_pypx: bool) -> str:
    """One row: rates and their ratio as median with least and most, memory and processes as the most seen."""
    floors = [run.floor for run in summary.runs if run.floor]
    processes = f"{summary.most('processes')} + {summary.most('programs')}"
    cells = [
        row.name,
        _rate(floors, row.unit),
        _rate([run.px for run in summary.runs], row.unit),
        _compared(row, summary),
        f"{summary.most('peak_rss_bytes') / MIB:.0f}",
        processes,
    ]
    if with_pypx:
        theirs = summary.times_pypx
        cells += [
            _rate([run.pypx for run in summary.runs if run.pypx], row.unit),
            _spread(theirs, 1) if theirs else "-",
        ]
    return _aligned([*cells, _met(row, summary), row.budget], with_pypx)


def _aligned(cells: list[str], with_pypx: bool) -> str:
    columns = [*COLUMNS, *(PYPX if with_pypx else ()), *LAST]
    return "  ".join(f"{cell:<{width}}" for cell, (_, width) in zip(cells, columns, strict=True)).rstrip()


def _compared(row: Row, summary: Summary) -> str:
    """px against its floor: the ratio, or what it adds where a run is a program's start."""
    ratio, added = row.ratio(summary), summary.added_s
    if ratio is None or added is None:
        return "-"
    if row.unit == "runs":
        return f"+ {_spread(Spread(1000 * added.median, 1000 * added.least, 1000 * added.most), 0)} ms"
    return f"{_spread(ratio, 2)} x its {row.ratio_of}"


def _met(row: Row, summary: Summary) -> str:
    return "-" if row.passes is None else "yes" if row.passes(summary) else "NO"


def _rate(measured: list[Measured], unit: str) -> str:
    """Work a second, or milliseconds where a run is one piece of work."""
    if not measured:
        return "-"
    if all(one.work == 1 for one in measured):
        return f"{_spread(Spread.of(1000 * one.seconds for one in measured), 0)} ms"
    return f"{_spread(Spread.of(one.rate for one in measured), 0)} {unit}/s"


def _spread(values: Spread, digits: int) -> str:
    return f"{values.median:.{digits}f} [{values.least:.{digits}f}-{values.most:.{digits}f}]"


def as_json(row: Row, summary: Summary) -> dict[str, Any]:
    """One row with the figures of every run; `met` is null without a budget, `ratio` without a floor."""
    return {
        "name": row.name,
        "title": row.title,
        "unit": row.unit,
        "budget": row.budget,
        "floor_is": row.floor_is,
        "met": row.passes(summary) if row.passes else None,
        "runs": [_run(run) for run in summary.runs],
        "ratio_of": row.ratio_of,
        "ratio": _as_dict(row.ratio(summary)),
        "px_s": _as_dict(summary.px_s),
        "added_s": _as_dict(summary.added_s),
        "times_pypx": _as_dict(summary.times_pypx),
        "peak_rss_bytes": summary.most("peak_rss_bytes"),
        "processes": summary.most("processes"),
        "programs": summary.most("programs"),
    }


def _run(run: Run) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, measured in (("floor", run.floor), ("px", run.px), ("pypx", run.pypx)):
        if measured:
            values |= {
                f"{name}_s": measured.seconds,
                f"{name}_work": measured.work,
                f"{name}_cpu_s": measured.cpu_s,
                f"{name}_startup_s": measured.startup_s,
                f"{name}_peak_rss_bytes": measured.peak_rss_bytes,
            }
    return values


def _as_dict(values: Spread | None) -> dict[str, float] | None:
    return {"median": values.median, "min": values.least, "max": values.most} if values else None


def write(path: Path, about: dict[str, str], rows: list[dict[str, Any]], given: argparse.Namespace) -> None:
    """Write all results so far; a row takes minutes, so what is measured is kept if a later one fails."""
    document = {"machine": machine(), "versions": about, "quick": given.quick, "pairs": given.pairs, "rows": rows}
    path.write_text(json.dumps(document, indent=2) + "\n")


def versions(with_pypx: bool) -> dict[str, str]:
    """What was measured and with what; "not installed" where a program is missing."""
    found = {
        "px": pypx.__version__,
        "python": platform.python_version(),
        "dcmtk": _said("storescp", "--version"),
        "orthanc": _said("Orthanc", "--version"),
        "swift": _swift(),
    }
    return found | ({"pypx": pypx3.VERSION} if with_pypx else {})


def _said(name: str, *args: str) -> str:
    """The first thing like a version in the output of a program."""
    try:
        run = subprocess.run([program(name), *args], capture_output=True, text=True, check=False)
    except BenchError:
        return "not installed"
    found = re.search(r"\d+\.\d+\.\d+", run.stdout + run.stderr)
    return found[0] if found else "unknown"


def _swift() -> str:
    """Swift knows its version only as a Python package, of the interpreter that its programs name."""
    try:
        first = Path(program("swift-proxy-server")).read_text().partition("\n")[0]
    except BenchError:
        return "not installed"
    return _said(first.removeprefix("#!").split()[0], "-c", "import swift; print(swift.__version__)")
