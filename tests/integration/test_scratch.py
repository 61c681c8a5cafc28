"""Where queries and answers lie."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pypx.services import scratch


@pytest.mark.parametrize(
    ("room", "named", "in_memory"), [(2**30, False, True), (2**26, False, False), (2**30, True, False)]
)
def test_folders_lie_in_memory_that_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, named: bool, in_memory: bool
) -> None:
    def statvfs(_: object) -> Any:
        return SimpleNamespace(f_bavail=room // 4096, f_frsize=4096)

    memory, disk = tmp_path / "memory", tmp_path / "disk"
    for folder in (memory, disk):
        folder.mkdir()
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    if named:
        monkeypatch.setenv("TMPDIR", str(disk))
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    monkeypatch.setattr(scratch, "_MEMORY", memory)
    monkeypatch.setattr("os.statvfs", statvfs)
    with scratch.scratch_folder("find") as folder:
        assert folder.parent == (memory if in_memory else disk)
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.parent.iterdir()) == []
