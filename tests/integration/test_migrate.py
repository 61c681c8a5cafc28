"""``px smdb migrate`` as a process: killed at every step, beside others, and back again."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.workflows.migrate import Migration
from support.dbwork import instance, record, together
from support.old_basemount import TREES, answers, golden_tree, migrate_all, migrate_until, nameless_tree, repacked_tree
from support.pxrun import PxRunner, clean_environment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migrating.rst"
WRITERS, IMAGES = 3, 40


def steps_of(root: Path, tmp_path: Path) -> list[Path]:
    """Copies of a BASEMOUNT whose migration was killed before one of its changes: every third, and the first 12."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.old_basemount"])
    kept = tmp_path / "original"
    shutil.copytree(root, kept, symlinks=True)
    killed: list[Path] = []
    for steps in itertools.chain(range(1, 12), itertools.count(12, 3)):
        shutil.rmtree(root)
        shutil.copytree(kept, root)
        process = context.Process(target=migrate_until, args=(root, steps))
        process.start()
        process.join(60)
        if process.exitcode == 0:
            return killed
        assert process.exitcode == -signal.SIGKILL
        killed.append(Path(shutil.copytree(root, tmp_path / f"killed-{steps}")))
    raise AssertionError("it never ends")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("tree", sorted(TREES))
def test_killed_at_any_instant(tree: str, basemount: Path, golden_corpus: Path, tmp_path: Path) -> None:
    layout = TREES[tree](basemount, golden_corpus / ("p001" if tree != "golden" else "."))
    before = answers(layout)
    images = {uid: len(Database.open(layout).images(uid)) for uid in Database.open(layout).series_uids()}
    killed = steps_of(basemount, tmp_path)
    assert answers(layout) == before
    formats = set()
    for copy in killed:
        shutil.rmtree(basemount)
        copy.rename(basemount)
        database = Database.open(layout)
        formats.add(database.format)
        assert {uid: len(database.images(uid)) for uid in images} == images
        half = answers(layout)
        assert [half["search"], half["patients"]] == [before["search"], before["patients"]]
        assert [half[uid][0] for uid in images] == [before[uid][0] for uid in images]
        assert [sorted(half[uid][1]) for uid in images] == [sorted(before[uid][1]) for uid in images]
        migrate_all(basemount)
        assert answers(layout) == before
        assert Database.open(layout).format == 4
        assert list(layout.series_dir.glob("*-img")) == []
    assert len(killed) > 15
    assert formats == {3, 4}, "also killed after format.json was there"


def record_meanwhile(root: Path, number: int, count: int) -> None:
    """The last processes migrate, again and again; the others record images of series old and new."""
    layout = Layout.of_basemount(root)
    if number >= WRITERS:
        for _ in range(3):
            migrate_all(root)
        return
    database = Database.open_or_create(layout)
    for index in range(count):
        for series in ("1.2.3", f"1.2.3.{index}"):
            image = f"{series}.9.{number}.{index}"
            folder = f"data/a/{series}"
            item = record(image, folder, index)
            file = layout.resolve(item.file)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x" * 10)
            database.add_headers(instance(image, series), file.parent)
            assert database.add_images([(instance(image, series), item)]) == 1


def test_recording_and_two_migrations_at_once(basemount: Path, golden_corpus: Path) -> None:
    layout = golden_tree(basemount, golden_corpus)
    before = {uid: Database.open(layout).images(uid).keys() for uid in Database.open(layout).series_uids()}
    together(record_meanwhile, basemount, IMAGES, WRITERS + 2)
    database = Database.open(layout)
    assert database.format == 4
    for uid, images in before.items():
        assert database.images(uid).keys() == images
    assert len(database.images(UID("1.2.3"))) == WRITERS * IMAGES
    for index in range(IMAGES):
        assert len(database.images(UID(f"1.2.3.{index}"))) == WRITERS
    assert not Migration(layout).needed
    assert list(layout.series_dir.glob("*-img")) == []


def test_the_command(basemount: Path, golden_corpus: Path, px: PxRunner) -> None:
    layout = golden_tree(basemount, golden_corpus)
    before = px("status", "--basemount", basemount, "--PatientID", "PID00000", "--jsonl").ok().stdout
    lost = next(layout.data.rglob("*.dcm"))
    lost.rename(basemount / "away")
    dry = px("smdb", "migrate", "--basemount", basemount, "--dry-run").ok()
    assert dry.stdout.splitlines()[0].split("\t")[:5] == ["SeriesInstanceUID", "images", "to lift", "lost", "unknown"]
    assert len(dry.stdout.splitlines()) == 5
    assert "3 series, 12 images, 12 to lift, 1 lost" in dry.stdout
    assert not layout.format_file.exists()
    assert list(layout.log.rglob("*.jsonl")) == []
    document = json.loads(px("smdb", "migrate", "--basemount", basemount, "--json").ok().stdout)
    assert (document["status"], document["format"], document["dryRun"]) == (True, 4, False)
    assert document["totals"] == {
        "series": 3, "images": 12, "lifted": 12, "lost": 1, "unknown": 0, "problems": 0,
    }  # fmt: skip
    assert [file for one in document["series"] for file in one["lost"]] == [layout.relative(lost)]
    (basemount / "away").rename(lost)
    assert px("status", "--basemount", basemount, "--PatientID", "PID00000", "--jsonl").ok().stdout == before
    again = px("smdb", "migrate", "--db", layout.log).ok()
    assert again.stdout == f"{basemount}: is format 4 already\n"
    nothing = px("smdb", "migrate", "--basemount", basemount / "nothing")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "there is no BASEMOUNT here" in nothing.stderr
    assert not (basemount / "nothing").exists()


def test_a_series_that_cannot_be_lifted_is_named(basemount: Path, golden_corpus: Path, px: PxRunner) -> None:
    layout = repacked_tree(basemount, golden_corpus)
    bad = sorted(layout.series_dir.glob("*-img/*.json"))[0]
    bad.write_text("{")
    for words in (("--dry-run",), ()):
        run = px("smdb", "migrate", "--basemount", basemount, *words)
        assert run.returncode == 3
        assert str(bad) in run.stderr
    assert json.loads(px("smdb", "migrate", "--basemount", basemount, "--json").stdout)["totals"]["problems"] == 1
    bad.unlink()
    px("smdb", "migrate", "--basemount", basemount).ok()
    assert Database.open(layout).format == 4


def test_pushing_after_a_migration_uploads_nothing_again(
    basemount: Path, golden_corpus: Path, px: PxRunner, tmp_path: Path
) -> None:
    layout = golden_tree(basemount, golden_corpus)
    studies = ",".join(path.name.removesuffix("-meta.json") for path in layout.study_dir.glob("*-meta.json"))
    words = ("--StudyInstanceUID", studies, "--storeBaseLocation", tmp_path / "store", "--swiftServicesPACS", "BCH")
    px("push", "--basemount", basemount, *words).ok()
    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.dcm")}
    assert len(stored) == 12
    px("smdb", "migrate", "--basemount", basemount).ok()
    forgotten, *known = sorted(layout.series_dir.glob("*-push.json"))
    assert len(known) == 2
    forgotten.unlink()  # nobody knows that this series was pushed: its names are made by the templates
    moved = basemount.with_name("moved")
    basemount.rename(moved)
    px("push", "--basemount", moved, *words).ok()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.dcm")} == stored


def recipe() -> str:
    """The shell lines of docs/migrating.rst that lead back to format 3."""
    text = PAGE.read_text().partition(":name: back-to-format-3\n")[2]
    block = re.match(r"\n((?:    .*\n|\n)+)", text.replace("\n   ", "\n    "))
    assert block is not None
    return block[1]


def test_the_way_back(basemount: Path, golden_corpus: Path, px: PxRunner, tmp_path: Path) -> None:
    layout = nameless_tree(basemount, golden_corpus / "p001")
    px("smdb", "migrate", "--basemount", basemount).ok()
    before = answers(layout)
    px("repack", "--basemount", basemount, golden_corpus / "p000").ok()
    script = recipe().replace("/data/dicom", str(basemount))
    run = subprocess.run(
        ["bash", "-euc", script], env=clean_environment(tmp_path / "home"), cwd=tmp_path, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    database = Database.open(layout)
    assert (database.format, database.templates.image) == (3, "%_pad|4,0_InstanceNumber.dcm")
    assert list(layout.series_dir.glob("*-img.jsonl")) == []
    after = answers(layout)
    assert [after[uid][0] for uid in before if uid[0].isdigit()] == [
        before[uid][0] for uid in before if uid[0].isdigit()
    ]
    files = [str(layout.relative(path)) for path in layout.data.rglob("*.dcm")]
    on_record = [image.file for uid in database.series_uids() for image in database.images(uid).values()]
    assert sorted(on_record) == sorted(files)
    migrate_all(basemount)
    assert Database.open(layout).format == 4
