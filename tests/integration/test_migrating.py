"""docs/migrating.rst does what it says: its recipe for pfdcm, its table, its way to Docker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "migrating.rst").read_text()

PFDCM = """
import asyncio, json, shutil, sys
from argparse import Namespace
import pfmisc, pflogf, pfstate, psutil, pudb, webob, pynetdicom, motor, dns
from pfmisc._colors import Colors
from pypx import smdb
import pypx

database = smdb.SMDB(Namespace(str_logDir=sys.argv[1] + "/log"))
assert not database.service_keyAccess("pacs")["status"]
database.args.str_actionArgs = json.dumps({"store": {"storagetype": "fs", "storepath": "/mnt"}})
assert database.service_keyAccess("storage")["storage"]["store"]["storepath"] == "/mnt"

asked = {"aet": "A", "aec": "B", "serverIP": "127.0.0.1", "serverPort": sys.argv[2], "PatientID": "1",
         "SeriesInstanceUID": "", "then": "", "thenArgs": "", "withFeedBack": False, "json": True,
         "dblogbasepath": sys.argv[1] + "/log"}
found = asyncio.run(pypx.find(asked))
assert found["status"] == "error", found
for program in ("px-find", "px-repack", "px-report", "storescp.sh"):
    assert shutil.which(program, path=sys.prefix + "/bin"), program
"""


def block(name: str) -> str:
    """The literal block with this name."""
    text = PAGE.partition(f":name: {name}\n")[2]
    lines = []
    for line in text.lstrip("\n").splitlines():
        if line and not line.startswith("   "):
            break
        lines.append(line.strip())
    return "\n".join(lines).strip()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="pfmisc imports the module cgi, which is gone from Python 3.13 on"
)
def test_pfdcm_recipe(tmp_path: Path) -> None:
    """The requirements as the page has them, but with this checkout for pypx, in an environment of their own."""
    requirements = block("pfdcm-requirements").splitlines()
    assert "pypx>=4" in requirements
    assert "pfmisc" in requirements
    listed = tmp_path / "requirements.txt"
    listed.write_text("\n".join(str(ROOT) if line == "pypx>=4" else line for line in requirements) + "\n")
    venv = tmp_path / "venv"
    for argv in (
        [sys.executable, "-m", "venv", venv],
        [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement", listed],
        [venv / "bin" / "python", "-m", "pip", "check"],
        [venv / "bin" / "python", "-c", PFDCM, tmp_path / "dicom", "1"],
    ):
        run = subprocess.run([str(word) for word in argv], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{argv}\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}"


def test_every_program_of_pypx_3_is_in_the_table() -> None:
    table = PAGE.partition("Old and new\n")[2].partition("What a script may notice")[0]
    for path in (ROOT / "bin").iterdir():
        assert path.name == "px" or f"``{path.name}" in table, path.name


def test_page_is_linked_where_people_look() -> None:
    assert re.search(r"(?m)^   migrating$", (ROOT / "docs" / "index.rst").read_text())
    assert "docs/migrating.rst" in (ROOT / "README.rst").read_text()


def test_build_line_works_from_the_root() -> None:
    assert "docker build --build-arg UID=$UID -t local/pypx ." in PAGE
    dockerfile = (ROOT / "Dockerfile").read_text()
    for words in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", dockerfile):
        for name in words.split():
            assert (ROOT / name).exists(), f"the Dockerfile copies {name}"
