"""A BASEMOUNT that may not be written, or not even entered: one line that says so, at once, and reading still works."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.corpus import Corpus, make_series
from support.mounts import ReadOnly
from support.pxrun import PxResult, PxRunner, installed
from support.servers import HOST, program

OTHER = 65534
"""A user who is not the one who runs the tests."""


@pytest.fixture
def filed(px: PxRunner, basemount: Path, tmp_path: Path) -> Corpus:
    """A series of two images in the BASEMOUNT, and one that is not."""
    corpus = make_series(tmp_path / "series", 2, 16, 16)
    px("repack", "--basemount", basemount, corpus.directory).ok()
    return corpus


def commands(basemount: Path, corpus: Corpus, directory: Path) -> dict[str, tuple[str | Path | int, ...]]:
    (series,) = corpus.series()
    new = make_series(directory / "new", 1, 16, 16, seed="new")
    store = directory / "store"
    store.mkdir()
    base: tuple[str | Path, str | Path] = ("--basemount", basemount)
    return {
        "listen": ("listen", *base, "--port", 0, "--bind", HOST),
        "repack": ("repack", *base, new.directory),
        "repack again": ("repack", *base, corpus.directory),
        "push": (
            "push", *base, "--SeriesInstanceUID", series, "--partial", "--storeBaseLocation", store,
            "--swiftServicesPACS", "CLINIC",
        ),
        "verify": ("smdb", "verify", *base),
        "rebuild": ("smdb", "rebuild", *base),
        "service": ("smdb", "service", "cube", "set", *base, "A", '{"url": "http://127.0.0.1/"}'),
        "status": ("status", *base, "--SeriesInstanceUID", series),
        "search": ("smdb", "search", *base, "PatientID=PID-5000"),
    }  # fmt: skip


READERS = ("status", "search", "verify")


def assert_refused(result: PxResult, reason: str) -> None:
    assert result.returncode == 40, (result.args, result.stderr)
    assert reason in result.stderr or "may not be written to" in result.stderr
    assert "run px as the owner" in result.stderr or "mount it for writing" in result.stderr, "what to do"
    assert len(result.stderr.splitlines()) == 1, "once, and at once"


def test_mounted_read_only(px: PxRunner, filed: Corpus, basemount: Path, read_only: ReadOnly, tmp_path: Path) -> None:
    for verb, arguments in commands(read_only(basemount), filed, tmp_path).items():
        result = px(*arguments, timeout=20)
        if verb in READERS:
            said = result.ok().stdout + result.stderr
            assert filed.files[0].SeriesInstanceUID in said or "2 images on record, all there" in said
        else:
            assert_refused(result, "Read-only file system")


def chown(basemount: Path, *, mode: int) -> None:
    """Let the tree belong to another user, its directory with `mode`; a user who is not root keeps it, without access."""
    if os.geteuid() == 0:
        for path in [basemount, *basemount.rglob("*")]:
            os.chown(path, OTHER, OTHER)
    for path in (path for path in basemount.rglob("*") if "services" not in path.parts):  # a loose one is warned about
        path.chmod(path.stat().st_mode & ~0o222 | (0o055 if path.is_dir() else 0o044))
    basemount.chmod(mode)


@pytest.fixture
def powerless(px: PxRunner) -> Callable[..., PxResult]:
    """Run px as a user whom permissions bind: root without its capabilities, or whoever runs the tests."""

    def run(*args: str | Path | int) -> PxResult:
        if os.geteuid() != 0:
            return px(*args, timeout=20)
        drop = ("--bounding-set", "-all", "--inh-caps", "-all", installed("px"))
        return px(*drop, *args, timeout=20, command=program("setpriv"))

    return run


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_of_another_user(
    powerless: Callable[..., PxResult], filed: Corpus, basemount: Path, tmp_path: Path, mode: int
) -> None:
    """Readable by all, or closed."""
    each = commands(basemount, filed, tmp_path)
    chown(basemount, mode=mode if os.geteuid() == 0 else 0o555 if mode == 0o755 else 0)
    try:
        results = {verb: powerless(*arguments) for verb, arguments in each.items()}
    finally:
        basemount.chmod(0o755)
        for path in basemount.rglob("*"):
            path.chmod(path.stat().st_mode | 0o200)
    for verb, result in results.items():
        if verb in READERS and mode == 0o755:
            result.ok()
        else:
            assert_refused(result, "Permission denied")
