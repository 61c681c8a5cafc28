"""The layers: imports go downwards only, and dangerous or slow modules have one door each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from support.layers import RANK, violations

SOURCE = Path(__file__).parents[2] / "src" / "pypx"
MODULES = sorted(PurePosixPath(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py"))
SLOW = ("pydicom", "numpy", "rich", "filelock", "requests", "swiftclient", "urllib3", "asyncio", "http.client")


def test_every_layer_is_looked_at() -> None:
    assert {path.parts[0] for path in MODULES if len(path.parts) > 1} == RANK.keys() - {"errors"}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_module_keeps_to_its_layer(path: PurePosixPath) -> None:
    assert violations((SOURCE / path).read_text(), path) == []


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("model/bad.py", "import pypx.db.tables", "model imports upwards: pypx.db.tables"),
        ("model/bad.py", "from pypx import db", "model imports upwards: pypx.db"),
        ("model/bad.py", "from .. import workflows", "model imports upwards: pypx.workflows"),
        ("model/bad.py", "from ..services.dcmtk import echo", "model imports upwards: pypx.services.dcmtk.echo"),
        ("services/bad.py", "from pypx.db.layout import Layout", "services imports sideways"),
        ("db/bad.py", "def f():\n    from pypx.services import dicomfile", "db imports sideways"),
        ("db/bad.py", "import importlib\nimportlib.import_module('pypx.services.dcmtk')", "db imports sideways"),
        ("workflows/bad.py", "from pypx.compat import find_json", "workflows imports upwards"),
        ("compat/bad.py", "from pypx.cli import console", "compat imports upwards"),
        ("errors.py", "from pypx.model.records import Series", "errors imports upwards"),
        ("workflows/bad.py", "from pypx import find", "public skin"),
        ("workflows/bad.py", "import pypx", "public skin"),
        ("find.py", "from pypx.cli.main import run", "find imports the command line"),
        ("workflows/bad.py", "import subprocess", "imports subprocess"),
        ("services/dcmtk.py", "from subprocess import run", "imports subprocess"),
        ("workflows/bad.py", "import os\nos.system('id')", "os.system starts a program"),
        ("workflows/bad.py", "import pydicom.uid", "imports pydicom"),
        ("db/bad.py", "from pydicom import dcmread", "imports pydicom"),
        ("compat/bad.py", "import click", "imports click"),
        ("workflows/bad.py", "from rich.progress import Progress", "imports rich"),
        ("services/bad.py", "import socket", "imports socket"),
        ("workflows/bad.py", "import filelock", "imports filelock"),
        ("cli/cmd_bad.py", "print('x')", "print() outside"),
        ("cli/cmd_bad.py", "import sys\nsys.stdout.write('x')", "sys.stdout outside"),
    ],
)
def test_checker_sees_what_is_wrong(path: str, source: str, complaint: str) -> None:
    found = violations(source, PurePosixPath(path))
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("cli/main.py", "from pypx import __version__\nimport click\nfrom pypx.workflows.find import find"),
        ("cli/console.py", "import sys\nprint('x', file=sys.stdout)"),
        ("compat/find_json.py", "from pypx.workflows.find import build_query\nfrom pypx.model import query"),
        ("workflows/find.py", "from pypx.db.smdb import Database\nfrom pypx.services import dcmtk\nfrom . import move"),
        ("services/process.py", "import subprocess\nfrom pypx.errors import ToolMissingError"),
        ("__init__.py", "from pypx.compat import find_json"),
        ("__main__.py", "from pypx.cli.main import run"),
    ],
)
def test_checker_lets_pass_what_is_right(path: str, source: str) -> None:
    assert violations(source, PurePosixPath(path)) == []


@pytest.mark.parametrize("code", ["import pypx.cli.main", "from pypx.cli.main import px\npx(['--help'])"])
def test_start_up_loads_nothing_slow(code: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", f"import atexit, sys\natexit.register(lambda: print('loaded:', *sys.modules))\n{code}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    loaded = run.stdout.rsplit("loaded: ", 1)[1].split()
    assert "pypx.cli.main" in loaded
    assert sorted(set(SLOW).intersection(loaded)) == []
