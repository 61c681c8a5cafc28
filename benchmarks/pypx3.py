"""pypx 3.6.2 from PyPI in an environment of its own, to be compared with; it never reaches beyond 127.0.0.1."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from bench import ROOT, BenchError

VERSION = "3.6.2"
REQUIREMENTS = (f"pypx=={VERSION}", "pydicom<3", "python-chrisclient<2.11", "setuptools<80")
TALKS_TO_A_PACS = frozenset({"px-echo", "px-find", "px-move"})


@dataclass(frozen=True, slots=True)
class Pypx3:
    """Its commands, in the `bin` folder of a virtual environment."""

    bin: Path

    def argv(self, command: str, *args: str | Path | int) -> list[str]:
        """The words of a call.

        Raises
        ------
        BenchError : for a command that would talk to the address it has built in, which is not one of ours
        """
        words = [str(arg) for arg in args]
        asks = command in TALKS_TO_A_PACS and not {"--version", "--help"} & set(words)
        if asks and ("--serverIP", "127.0.0.1") not in pairwise(words):
            raise BenchError(f"{command} of pypx {VERSION} needs --serverIP 127.0.0.1 in the benchmarks")
        return [str(self.bin / command), *words]

    def environment(self, home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Its environment: its own commands first, DCMTK after them."""
        home.mkdir(parents=True, exist_ok=True)
        path = f"{self.bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        return {"PATH": path, "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8", **(extra or {})}


@cache
def install() -> Pypx3:
    """Make the environment, or take the one that an earlier run has left in $PX_BENCH_CACHE or benchmarks/.pypx3.

    Raises
    ------
    BenchError : Python 3.13 or later, or no package index
    """
    folder = Path(os.environ.get("PX_BENCH_CACHE") or ROOT / "benchmarks" / ".pypx3")
    done = folder / f"installed-{VERSION}-python{sys.version_info.major}.{sys.version_info.minor}"
    if not done.exists():
        if sys.version_info >= (3, 13):
            raise BenchError("pypx 3 needs a module that Python 3.13 no longer has; make the environment with 3.12")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *REQUIREMENTS])
        done.touch()
    return Pypx3(folder / "bin")


def _run(argv: list[str]) -> None:
    run = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if run.returncode:
        raise BenchError(f"pypx {VERSION} cannot be installed: {run.stderr.strip()[-500:]}")
