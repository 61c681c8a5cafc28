"""Small disks and read-only views of a directory, for tests that run as root."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.servers import program

SmallDisk = Callable[[int], Path]
ReadOnly = Callable[[Path], Path]


def need_root() -> None:
    """Skip without root, but fail in CI: mounting needs it."""
    if os.geteuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("run the tests as root in CI: some mount small disks")
        pytest.skip("only root may mount")


def _mount(*argv: str | Path) -> None:
    run = subprocess.run([program("mount"), *map(str, argv)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"mount {argv}: {run.stderr}"


def _unmount(paths: list[Path]) -> None:
    for path in reversed(paths):
        subprocess.run([program("umount"), "--lazy", str(path)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """`small_disk(mib)` mounts a tmpfs of so many MiB; unmounted in the end."""
    need_root()
    mounted: list[Path] = []

    def make(mib: int) -> Path:
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        _mount("-t", "tmpfs", "-o", f"size={mib}M", "tmpfs", place)
        mounted.append(place)
        return place

    yield make
    _unmount(mounted)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[ReadOnly]:
    """`read_only(directory)` gives another path to it, by which nothing can be written; unmounted in the end."""
    need_root()
    mounted: list[Path] = []

    def make(directory: Path) -> Path:
        place = tmp_path / f"read-only-{len(mounted)}"
        place.mkdir()
        _mount("--bind", directory, place)
        mounted.append(place)
        _mount("-o", "remount,bind,ro", place)
        return place

    yield make
    _unmount(mounted)


def fill(directory: Path, *, leave: int = 0) -> Path:
    """Fill a small disk up to `leave` bytes with one file; returns it."""
    ballast = directory / "ballast"
    with ballast.open("wb") as stream:
        while True:
            state = os.statvfs(directory)
            try:
                os.posix_fallocate(stream.fileno(), 0, max(state.f_bavail * state.f_frsize - leave, 1))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                stream.truncate(0)  # somebody else took some of it just then
            else:
                return ballast
