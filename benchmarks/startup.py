"""Start-up of px against the bare interpreter: how much `px --version` and `px --help` add to `python -c pass`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from functools import partial

from bench import PX, alternate, machine, spread


def seconds(*argv: str) -> float:
    """Wall time of one run of a program."""
    start = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    given = parser.parse_args()
    print(f"start-up in milliseconds; {machine()}")
    print(f"{'command':<14}  {'python -c pass':>22}  {'command':>22}  {'added':>22}")
    for option in ("--version", "--help"):
        seconds(PX, option)
        pairs = alternate(partial(seconds, sys.executable, "-c", "pass"), partial(seconds, PX, option), given.pairs)
        bare = spread([1000 * pair.floor_s for pair in pairs], 0)
        command = spread([1000 * pair.px_s for pair in pairs], 0)
        added = spread([1000 * (pair.px_s - pair.floor_s) for pair in pairs], 0)
        print(f"{'px ' + option:<14}  {bare:>22}  {command:>22}  {added:>22}")


if __name__ == "__main__":
    main()
