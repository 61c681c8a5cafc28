"""Wheel and sdist as a user gets them: built in isolation, installed into an environment with nothing else in it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

import pypx
from support.pxrun import clean_environment

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def call(*argv: str | Path, cwd: Path) -> str:
    """Run a tool that may need the package index, so with the caller's environment but for what names our source."""
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONHOME"}}
    run = subprocess.run(
        [str(word) for word in argv], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"{argv}:\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    return run.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel, built from the sdist, and the sdist."""
    out = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--outdir", out, ROOT, cwd=out)
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def environment(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and what it requires."""
    venv = tmp_path_factory.mktemp("clean") / "venv"
    call(sys.executable, "-m", "venv", venv, cwd=venv.parent)
    pip = (venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet")
    call(*pip, "install", built[0], cwd=venv.parent)
    call(*pip, "check", cwd=venv.parent)
    return venv


def test_wheel_holds_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        names = [PurePosixPath(name) for name in wheel.namelist()]
    tops = {name.parts[0].split("-")[0] for name in names}
    assert tops == {"pypx"}
    foreign = {"tests", "test", ".ci", "benchmarks", "docker", "docs", "__pycache__"}
    assert [name for name in names if foreign.intersection(name.parts) or name.name.startswith(("test_", "."))] == []
    assert PurePosixPath("pypx/py.typed") in names
    assert any(name.name == "LICENSE" for name in names)
    shipped = {name.relative_to("pypx") for name in names if name.parts[0] == "pypx"}
    sources = {PurePosixPath(path.relative_to(ROOT / "src/pypx")) for path in (ROOT / "src/pypx").rglob("*.py")}
    assert {name for name in shipped if name.suffix == ".py"} == sources


def test_sdist_holds_what_building_needs_and_no_ci(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as sdist:
        names = {PurePosixPath(*PurePosixPath(name).parts[1:]) for name in sdist.getnames()}
    assert {PurePosixPath(name) for name in ("pyproject.toml", "README.rst", "LICENSE", "src/pypx/errors.py")} <= names
    assert [name for name in names if name.parts and name.parts[0] in {".ci", ".git", ".venv", ".px-tour"}] == []


def test_every_installed_command_runs(environment: Path, tmp_path: Path) -> None:
    program = "from importlib.metadata import files\nfor file in files('pypx'): print(file.locate().resolve())"
    recorded = [Path(line) for line in call(environment / "bin/python", "-c", program, cwd=tmp_path).splitlines()]
    commands = [path for path in recorded if path.parent == (environment / "bin").resolve()]
    assert "px" in {path.name for path in commands}
    for command in commands:
        for option in ("--help", "--version")[: 1 if command.name == "storescp.sh" else 2]:
            run = subprocess.run(
                [str(command), option],
                cwd=tmp_path,
                env=clean_environment(tmp_path / "home"),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert run.returncode == 0, f"{command.name} {option}: {run.stderr}"
            assert run.stderr == ""
            if option == "--version":  # the commands of pypx 3 tell the version of their interface, as they always did
                assert run.stdout.split()[-1] == pypx.__version__ or (
                    command.name != "px" and "Version: " in run.stdout
                )
            assert run.stdout.strip()


def test_installed_modules_all_import(built: tuple[Path, Path], environment: Path, tmp_path: Path) -> None:
    """Nothing imports a package that is not among the requirements."""
    with zipfile.ZipFile(built[0]) as wheel:
        files = [PurePosixPath(name) for name in wheel.namelist() if name.endswith(".py")]
    modules = [
        ".".join(file.with_suffix("").parts) for file in files if file.name not in {"__init__.py", "__main__.py"}
    ]
    assert "pypx.cli.main" in modules
    modules.remove("pypx.services.s3")  # the one that needs an extra, and says so
    call(environment / "bin/python", "-W", "error", "-c", f"import {', '.join(sorted(modules))}", cwd=tmp_path)
    program = "from pypx.errors import PxError\ntry:\n    import pypx.services.s3\nexcept PxError as e:\n    print(e)"
    assert "pip install 'pypx[s3]'" in call(environment / "bin/python", "-c", program, cwd=tmp_path)
