"""`px repack` as a real process: a mixed corpus, and what is left when it is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.workflows.placing import Placement
from support.corpus import Corpus, CorpusFile, make_series
from support.dicom import dataset_bytes
from support.ports import wait_until
from support.pxrun import PxRunner, clean_environment, installed


def recorded(layout: Layout, files: Iterable[CorpusFile]) -> dict[str, Path]:
    database = Database.open(layout)
    series = {UID(file.SeriesInstanceUID) for file in files}
    images = (database.images(uid) for uid in series)
    return {uid: layout.resolve(record.file) for found in images for uid, record in found.items()}


def assert_filed(layout: Layout, contents: dict[str, tuple[str, bytes]], files: Iterable[CorpusFile]) -> None:
    """Each instance once in the tree and in the records, with the data set it had."""
    found = recorded(layout, files)
    assert {uid: dataset_bytes(path) for uid, path in found.items()} == contents
    assert sorted(found.values()) == sorted(path for path in layout.data.rglob("*") if path.is_file())


def contents_of(corpus: Corpus) -> dict[str, tuple[str, bytes]]:
    return {file.SOPInstanceUID: dataset_bytes(file.path) for file in corpus}


def test_the_mixed_corpus_byte_for_byte(px: PxRunner, basemount: Path, corpus: Corpus) -> None:
    px("repack", "--basemount", basemount, corpus.directory).ok()
    layout = Layout.of_basemount(basemount)
    assert_filed(layout, contents_of(corpus), corpus)
    for path in layout.data.rglob("*"):
        assert path.resolve().is_relative_to(layout.data)
        assert path.lstat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640)
    px("repack", "--basemount", basemount, corpus.directory).ok()
    assert_filed(layout, contents_of(corpus), corpus)


@pytest.mark.parametrize("placement", list(Placement))
def test_killed_at_random_instants_and_run_again(basemount: Path, tmp_path: Path, placement: Placement) -> None:
    corpus = make_series(tmp_path / "series", 400, 64, 64)
    contents = contents_of(corpus)
    option = {Placement.COPY: [], Placement.LINK: ["--link"], Placement.MOVE: ["--move"]}[placement]
    argv = [installed("px"), "repack", "--basemount", str(basemount), *option, str(corpus.directory)]
    environment = clean_environment(tmp_path / "home")
    layout = Layout.of_basemount(basemount)
    chance = random.Random(placement.value)
    cuts = 0
    for number in range(8):
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(argv, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)
        if number % 2:  # half of the times in the start, half where files are being placed
            time.sleep(chance.uniform(0.05, 0.3))
        else:
            wait_for_files(layout, chance.randint(1, 350), process)
        os.kill(process.pid, signal.SIGKILL)
        cuts += process.wait() == -signal.SIGKILL
        for uid, path in recorded(layout, corpus).items():
            assert dataset_bytes(path) == contents[uid], "what is recorded is whole"
    assert cuts > 0
    final = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    nothing_left = {50} if placement is Placement.MOVE else set()
    assert final.returncode in {0} | nothing_left, final.stderr
    assert_filed(layout, contents, corpus)
    for file in corpus:
        assert file.path.exists() == (placement is not Placement.MOVE)
        if file.path.exists():
            assert dataset_bytes(file.path) == contents[file.SOPInstanceUID]


def wait_for_files(layout: Layout, number: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many files are in the tree, or the process has ended."""

    def there() -> bool:
        return process.poll() is not None or sum(len(files) for _, _, files in os.walk(layout.data)) >= number

    wait_until(there, f"{number} files are placed", pause=0.002)


def test_two_at_once(px: PxRunner, basemount: Path, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 200, 16, 16)
    running = [px.start("repack", "--basemount", basemount, "--jsonl", corpus.directory) for _ in range(3)]
    assert [process.process.wait(60) for process in running] == [0] * 3
    states = [json.loads(line)["state"] for process in running for line in process.stdout().splitlines()]
    assert sorted(states) == ["duplicate"] * 400 + ["filed"] * 200
    assert_filed(Layout.of_basemount(basemount), contents_of(corpus), corpus)


def test_bad_files_are_named_and_skipped(px: PxRunner, basemount: Path, tmp_path: Path) -> None:
    corpus = make_series(tmp_path / "series", 3, 16, 16)
    (corpus.directory / "00002.dcm").write_bytes(corpus.files[1].path.read_bytes()[:-5])
    (corpus.directory / "readme.txt").write_text("hello")
    result = px("repack", "--basemount", basemount, "--move", corpus.directory)
    assert result.returncode == 3
    assert "00002.dcm" in result.stderr
    assert "readme.txt" in result.stderr
    assert sorted(path.name for path in corpus.directory.iterdir()) == ["00002.dcm", "readme.txt"]
    assert len(recorded(Layout.of_basemount(basemount), corpus)) == 2


def test_nothing_to_file(px: PxRunner, basemount: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "readme.txt").write_text("hello")
    assert px("repack", "--basemount", basemount, folder).returncode == 50
    assert px("repack", "--basemount", basemount, folder / "nowhere").returncode == 2
    assert not basemount.exists(), "bad input leaves nothing behind"
