"""What `px --version -v` says of the installed DCMTK, and that the check sees what it looks for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pypx.errors import ToolFailedError
from pypx.services.dcmtk import Programs
from pypx.services.process import find_program
from pypx.workflows.toolcheck import report, unsafe_storescp
from support.pxrun import PxRunner

pytestmark = pytest.mark.integration


def stand_in(folder: Path, deed: str) -> Programs:
    """A storescp that serves as the real one does, without a hook, and then does `deed` where it puts its files."""
    program = folder / "storescp"
    program.write_text(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do\n  case $1 in -xcr) hook=$2; shift ;; -od) to=$2 ;; esac\n  shift\ndone\n"
        f'{find_program("storescp")} -id +uf -od "$to"\ncd "$to" || exit 1\n{deed}\n'
    )
    program.chmod(0o755)
    return Programs(storescp=str(program))


def test_a_storescp_that_only_stores_is_not_warned_about(tmp_path: Path) -> None:
    assert unsafe_storescp(stand_in(tmp_path, "true")) == ()


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ('case $hook in *"#a"*) touch A ;; esac', "AE titles"),
        ('case $hook in *"#f"*) touch A ;; esac', "-xcr with #f"),
        ('[ -n "$hook" ] || touch ../../A', "outside its folder"),
    ],
)
def test_an_unsafe_storescp_is_found_by_what_it_does(tmp_path: Path, deed: str, words: str) -> None:
    found = unsafe_storescp(stand_in(tmp_path, deed))
    assert len(found) == 1
    assert words in found[0]


def test_a_storescp_that_stores_nothing_is_not_called_safe(tmp_path: Path) -> None:
    programs = Programs(storescp="/bin/false")
    with pytest.raises(ToolFailedError):
        unsafe_storescp(programs)
    _, warnings = report(programs)
    assert "could not be checked" in warnings[0]


def hook_runs_a_shell(folder: Path, free_port: Callable[[], int]) -> bool:
    """Whether the AE title of a sender is run by the installed storescp, tried without px."""
    port, image = free_port(), folder / "image.dcm"
    dump = "(0008,0016) UI 1.2.840.10008.5.1.4.1.1.7\n(0008,0018) UI 1.2.3\n(0020,000d) UI 1.2\n(0020,000e) UI 1.4\n"
    (folder / "image.txt").write_text(dump)
    subprocess.run(["dump2dcm", str(folder / "image.txt"), str(image)], check=True, capture_output=True)
    received = folder / "received"
    received.mkdir()
    argv = [find_program("storescp"), "-xcr", "true #a", "-xs", "-od", str(received), str(port)]
    with subprocess.Popen(argv, cwd=received, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            send = [find_program("storescu"), "-aet", "$(touch A)", "127.0.0.1", str(port), str(image)]
            for _ in range(100):
                if subprocess.run(send, capture_output=True, check=False).returncode == 0:
                    break
        finally:
            server.terminate()
    return (received / "A").exists()


def test_the_version_names_dcmtk_and_warns_of_what_it_does(
    px: PxRunner, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    answer = px("--version", "-v")
    assert answer.returncode == 0
    first, second = answer.stdout.splitlines()
    assert first.startswith("px ")
    assert "dcmtk" in second.lower()
    assert ("AE titles" in answer.stderr) == hook_runs_a_shell(tmp_path, free_port)
    assert "A" not in {path.name for path in Path.cwd().iterdir()}
