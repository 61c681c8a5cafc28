"""pypx 3.6.2 itself, in an environment of its own, to see what it makes of what we wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.pxrun import clean_environment

REQUIREMENTS = ("pypx==3.6.2", "pydicom<3", "setuptools<80")


class Pypx3:
    """The commands of pypx 3.6.2; an environment that has them already may be named by PX_TEST_PYPX3."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        named = os.environ.get("PX_TEST_PYPX3")
        self.bin = Path(named) / "bin" if named else directory / "venv" / "bin"
        if not named:
            _install(directory / "venv")

    def __call__(self, command: str, *args: str | Path) -> Any:
        """Run a command to its end; its JSON, or `None` if it printed none."""
        run = subprocess.run(
            [self.bin / command, *map(str, args)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**clean_environment(self.home), "PATH": f"{self.bin}:/usr/bin:/bin"},
            cwd=self.home,
            timeout=120,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout) if run.stdout.strip() else None


def _install(target: Path) -> None:
    """Make the environment; without a package index the test is skipped, in CI it fails."""
    if sys.version_info >= (3, 13):
        pytest.skip("pypx 3 needs a module that Python 3.13 no longer has (defect I23)")
    for words in (
        [sys.executable, "-m", "venv", str(target)],
        [str(target / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS],
    ):
        run = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
        if run.returncode:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
                f"pypx 3 cannot be installed: {run.stderr[-500:]}"
            )
