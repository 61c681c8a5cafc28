"""Measure px against its floors: run rows in order, print a table, write JSON."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from bench import BenchError, Options, Row, Summary, alternate, machine, remove
from results import as_json, heading, line, versions, write
from rows import names

DEFAULT_JSON = Path(__file__).resolve().parent / "results.json"
FEWEST_PAIRS = 5


def modules() -> dict[str, tuple[Row, ...]]:
    """The rows of each module, in the order of the table."""
    return {name: import_module(f"rows.{name}").ROWS for name in names()}


def chosen(names: Sequence[str], known: dict[str, tuple[Row, ...]]) -> dict[str, list[Row]]:
    """The rows that the names select: all of a module, or one by its own name; all without a name.

    Raises
    ------
    BenchError : a name that is neither
    """
    rows = {row.name for found in known.values() for row in found}
    for name in names:
        if name not in known and name not in rows:
            raise BenchError(f"no row named '{name}'; there are: {', '.join(known)}, and the rows that --help lists")
    picked = {
        module: [row for row in found if not names or module in names or row.name in names]
        for module, found in known.items()
    }
    return {module: found for module, found in picked.items() if found}


def measure(row: Row, given: argparse.Namespace) -> Summary:
    """Open a row in a scratch folder of its own, and measure its pairs."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{row.name}-"))
    options = Options(given.pairs, given.quick, given.with_pypx, scratch)
    try:
        with row.open(options) as case:
            return alternate(case, options)
    finally:
        remove(scratch)


def parser(known: dict[str, tuple[Row, ...]]) -> argparse.ArgumentParser:
    """Arguments; the help names every row."""
    listed = [
        f"  {module}\n" + "\n".join(f"    {row.name:<22} {row.title}" for row in known[module]) for module in known
    ]
    made = argparse.ArgumentParser(
        prog="run.sh",
        description=__doc__,
        epilog="rows, by module:\n" + "\n".join(listed),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("names", nargs="*", metavar="name", help="module or row; all without one")
    made.add_argument("--pairs", type=int, default=FEWEST_PAIRS, help="floor and px so often in turn (%(default)s)")
    made.add_argument("--quick", action="store_true", help="tiny numbers: shows that all rows work, not how fast px is")
    made.add_argument("--with-pypx", action="store_true", help="install pypx 3.6.2 beside px, and measure it too")
    made.add_argument("--json", type=Path, default=DEFAULT_JSON, metavar="FILE", help="results go there (%(default)s)")
    return made


def main() -> int:
    """Return the exit status: 0 if all rows were measured, whether or not the budgets are met; 1 or 2 otherwise."""
    known = modules()
    given = parser(known).parse_args()
    try:
        rows = chosen(given.names, known)
    except BenchError as error:
        print(f"run.sh: {error}", file=sys.stderr)
        return 2
    given.pairs = max(1, given.pairs)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that servers end and folders go
    with tempfile.TemporaryDirectory(prefix="px-bench-") as scratch:
        os.environ["TMPDIR"] = tempfile.tempdir = scratch
        try:
            return _measure_all(rows, given)
        except (BenchError, AssertionError) as error:
            print(f"run.sh: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("run.sh: interrupted", file=sys.stderr)
            return 130


def _measure_all(rows: dict[str, list[Row]], given: argparse.Namespace) -> int:
    print(machine())
    about = versions(given.with_pypx)
    print(", ".join(f"{name} {version}" for name, version in about.items()), flush=True)
    results = []
    for module, found in rows.items():
        print(f"\n{heading(module, given.with_pypx)}", flush=True)
        for row in found:
            summary = measure(row, given)
            results.append(as_json(row, summary))
            print(line(row, summary, given.with_pypx), flush=True)
            write(given.json, about, results, given)
    print(f"\n{given.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
