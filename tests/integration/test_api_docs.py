"""The examples of docs/api.rst, run as they stand, one after the other."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from support.ports import free_port
from support.pxrun import PxRunner, clean_environment
from support.servers import HOST, Orthanc

PAGE = Path(__file__).parents[2] / "docs" / "api.rst"


def examples() -> Iterator[str]:
    for block in re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", PAGE.read_text()):
        yield textwrap.dedent(block)


def test_examples(tmp_path: Path, golden_corpus: Path, px: PxRunner) -> None:
    (tmp_path / "orthanc").mkdir()
    pacs = Orthanc(tmp_path / "orthanc")
    try:
        pacs.upload(sorted(golden_corpus.rglob("*.dcm")))
        root, port = tmp_path / "basemount", free_port()
        Database.create(Layout.of_basemount(root))
        pacs.knows("CHRIS", port)
        px.start("listen", "--basemount", root, "--port", port, "--aet", "CHRIS").wait_for("ready")
        names = {
            "HOST": HOST, "PORT": pacs.port, "BASEMOUNT": str(root), "STORE": str(tmp_path / "store"),
            "SOURCE": str(golden_corpus / "p001"),
        }  # fmt: skip
        blocks = list(examples())
        assert len(blocks) == 5
        script = tmp_path / "examples.py"
        given = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        script.write_text(given + "\n".join(blocks))
        run = subprocess.run(
            [sys.executable, "-W", "error", script],
            capture_output=True, text=True, env=clean_environment(tmp_path / "home"), timeout=60, check=False,
        )  # fmt: skip
    finally:
        pacs.stop()
    assert run.returncode == 0, run.stderr
    for part in ("20100101 CT 4", "4 of 4", "4 sent, 0 there already", "answered in", "2 studies"):
        assert part in run.stdout
