"""A BASEMOUNT of format 3 becomes one of format 4, and says what it said before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pypx.db.files import locked
from pypx.db.formats import Format, lift_format
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import InputError, PartialError
from pypx.model.identifiers import UID, is_uid
from pypx.model.packpath import PYPX_PUSH_TEMPLATES, PYPX_TEMPLATES
from pypx.workflows.migrate import Migration, MigrationSummary, SeriesLifted
from pypx.workflows.pushlog import Target, push_records
from pypx.workflows.pushplan import templates_for
from pypx.workflows.repack import repack
from pypx.workflows.status import ref_of_series, series_status
from support.dbwork import instance, record
from support.old_basemount import PACS, TREES, answers, golden_tree, nameless_tree, repacked_tree


@pytest.fixture(params=sorted(TREES))
def layout(request: pytest.FixtureRequest, basemount: Path, golden_corpus: Path) -> Layout:
    return TREES[request.param](basemount, golden_corpus)


def migrated(layout: Layout) -> MigrationSummary:
    summary = MigrationSummary()
    for one in Migration(layout).run():
        summary.take(one)
    return summary


def every(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(directory.rglob("*"))}


def lines(layout: Layout, series: UID) -> list[dict[str, Any]]:
    return [json.loads(line) for line in layout.image_log(series).read_text().splitlines()]


def the_series(layout: Layout) -> list[UID]:
    return list(Database.open(layout).series_uids())


def test_it_says_after_what_it_said_before(layout: Layout) -> None:
    before, data, series = answers(layout), every(layout.data), the_series(layout)
    summary = migrated(layout)
    summary.check()
    assert Database.open(layout).format == 4
    assert answers(layout) == before
    assert every(layout.data) == data
    assert (summary.series, summary.lost, summary.unknown) == (len(series), 0, 0)
    assert summary.images == summary.lifted == len(list(layout.data.rglob("*.dcm")))
    assert list(layout.series_dir.glob("*-img")) == []
    for uid in series:
        assert all(is_uid(line["SOPInstanceUID"]) for line in lines(layout, uid))
        assert all(line["file"].startswith("data/") for line in lines(layout, uid))
    for path in layout.study_dir.glob("*-series/*.json"):
        (entry,) = json.loads(path.read_text()).values()
        assert (layout.base / entry["SeriesBaseDir"]).is_dir()
        assert entry["SeriesBaseDir"].startswith("data/")
    assert not Migration(layout).needed


def test_a_dry_run_tells_the_same_and_changes_nothing(layout: Layout) -> None:
    before = every(layout.base)
    planned = list(Migration(layout).plan())
    assert every(layout.base) == before
    assert planned == list(Migration(layout).run())


def test_it_can_be_moved_afterwards(layout: Layout, tmp_path: Path) -> None:
    migrated(layout)
    before = answers(layout)
    moved = Layout.of_basemount(tmp_path / "elsewhere" / "new")
    moved.base.parent.mkdir()
    layout.base.rename(moved.base)
    assert answers(moved) == before


def test_a_migrated_basemount_keeps_paths_and_object_names(layout: Layout, golden_corpus: Path) -> None:
    templates = Database.open(layout).templates
    migrated(layout)
    database = Database.open(layout)
    assert (database.templates, templates_for(database)) == (templates, PYPX_PUSH_TEMPLATES)
    before = every(layout.data)
    assert {outcome.state.value for outcome in repack([golden_corpus / "p000"], database)} <= {"duplicate", "filed"}
    assert every(layout.data).items() >= before.items()
    again = Database.open_or_create(layout)
    assert (again.format, again.templates, again.push_templates) == (4, templates, PYPX_PUSH_TEMPLATES)


def test_what_pypx_pushed_stays_pushed(basemount: Path, golden_corpus: Path) -> None:
    layout = golden_tree(basemount, golden_corpus)
    series = the_series(layout)[0]
    folder = f"SERVICES/PACS/{PACS}/a/b/c"
    store = {"status": True, "localFileList": ["/x/1.dcm"], "objectFileList": [f"{folder}/1.dcm"]}
    layout.series_table(series, "push").write_text(json.dumps({"status": True, "store": store}))
    before = answers(layout)
    migrated(layout)
    assert answers(layout) == before
    assert all(name.startswith(f"{folder}/") for _, _, name in before[series][1])
    (kept,) = push_records(Database.open(layout), series)
    assert (kept.folder, kept.target) == (folder, None)
    assert Target("swift", "") != kept.target


def test_lost_files_and_unknown_uids_are_kept_and_told(basemount: Path, golden_corpus: Path) -> None:
    layout = nameless_tree(basemount, golden_corpus)
    first, second = the_series(layout)[:2]
    files = [layout.resolve(image.file) for image in Database.open(layout).images(first).values()]
    other = next(layout.resolve(image.file) for image in Database.open(layout).images(second).values())
    files[0].unlink()
    files[1].write_bytes(b"no DICOM")
    shutil.copy(other, files[2])
    named = tuple(layout.relative(file) for file in files[:3])
    planned = {one.SeriesInstanceUID: one for one in Migration(layout).plan()}
    assert planned[first] == SeriesLifted(first, 4, 4, lost=named[:1], unknown=named)
    assert (planned[second].lost, planned[second].unknown) == ((), ())
    summary = migrated(layout)
    assert (summary.lost, summary.unknown) == (1, 3)
    summary.check()
    images = Database.open(layout).images(first)
    assert {image.file for image in images.values()} == {layout.relative(file) for file in files}
    assert sorted(uid for uid in images if not is_uid(uid)) == sorted(file.name for file in files[:3])


def test_the_record_of_a_lost_file_keeps_its_uid(basemount: Path, golden_corpus: Path) -> None:
    layout = golden_tree(basemount, golden_corpus)
    series = the_series(layout)[0]
    before = Database.open(layout).images(series)
    gone = next(iter(before.values()))
    layout.resolve(gone.file).unlink()
    (one,) = (one for one in Migration(layout).run() if one.SeriesInstanceUID == series)
    assert (one.lost, one.unknown) == ((gone.file,), ())
    assert Database.open(layout).images(series) == before


def test_two_files_of_one_instance_become_one_record(basemount: Path, golden_corpus: Path) -> None:
    layout = nameless_tree(basemount, golden_corpus)
    series = the_series(layout)[0]
    path = sorted(layout.image_dir(series).iterdir())[0]
    table = json.loads(path.read_text())
    entry = table[series]
    name = entry["outputFile"]
    entry["outputFile"], entry["imageObj"] = "copy.dcm", {"copy.dcm": entry["imageObj"].pop(name)}
    details = entry["imageObj"]["copy.dcm"]
    copy = Path(details["FSlocation"]).with_name("copy.dcm")
    shutil.copy(details["FSlocation"], copy)
    details["FSlocation"], details["ctime"] = str(copy), "2100-01-01 00:00:00"
    (path.parent / "copy.dcm.json").write_text(json.dumps(table))
    assert len(Database.open(layout).images(series)) == 5
    assert migrated(layout).images == sum(1 for _ in golden_corpus.rglob("*.dcm"))
    assert layout.relative(copy) in {image.file for image in Database.open(layout).images(series).values()}


def test_a_half_lifted_series_counts_each_image_once(layout: Layout) -> None:
    """Lines and files of the same images, as between the append and the moves; then a torn line besides."""
    before = answers(layout)
    migrated(layout)
    shutil.copytree(layout.format3, layout.log, dirs_exist_ok=True)
    layout.format_file.unlink()
    if (layout.format3 / "format.json").exists():
        shutil.copy(layout.format3 / "format.json", layout.format_file)
    for series in the_series(layout):
        log = layout.image_log(series)
        log.write_bytes(log.read_bytes()[:-40])
    assert Database.open(layout).format == 3
    assert counts(answers(layout)) == counts(before)
    assert migrated(layout).lifted == len(the_series(layout)), "the torn line of each series, and no other"
    assert counts(answers(layout)) == counts(before)
    assert list(layout.series_dir.glob("*-img")) == []


def counts(said: dict[str, Any]) -> list[Any]:
    return [said["search"], {uid: value[0] for uid, value in said.items() if is_uid(uid)}]


def test_a_record_that_cannot_be_read_holds_up_its_series_only(basemount: Path, golden_corpus: Path) -> None:
    layout = golden_tree(basemount, golden_corpus)
    first, *others = the_series(layout)
    bad = sorted(layout.image_dir(first).iterdir())[0]
    whole = bad.read_bytes()
    bad.write_bytes(b"")
    planned = {one.SeriesInstanceUID: one.problem for one in Migration(layout).plan()}
    assert str(bad) in planned[first]
    assert {planned[one] for one in others} == {""}
    summary = migrated(layout)
    with pytest.raises(PartialError, match=r"1 of 3 series .* stays format 3 until"):
        summary.check()
    assert Database.open(layout).format == 3
    assert layout.image_dir(first).is_dir()
    assert not any(layout.image_dir(one).exists() for one in others)
    bad.write_bytes(whole)
    migrated(layout).check()
    assert Database.open(layout).format == 4
    assert len(Database.open(layout).images(first)) == 4


def test_whoever_had_it_open_goes_on_in_format_4(basemount: Path, golden_corpus: Path) -> None:
    layout = repacked_tree(basemount, golden_corpus / "p000")
    listener = Database.open_or_create(layout)
    assert listener.format == 3
    migrated(layout)
    series = UID("1.2.3")
    listener.add_images([(instance("1.2.3.1"), record("1.2.3.1"))])
    listener.add_headers(instance("1.2.3.1"), layout.data / "a/b/c")
    assert listener.format == 4
    assert [line["SOPInstanceUID"] for line in lines(layout, series)] == ["1.2.3.1"]
    table = json.loads(layout.study_series_table("1.2", series).read_text())
    assert table["1.2"]["SeriesBaseDir"] == "data/a/b/c"
    late = UID("1.2.9")  # one that had asked for the format before, and got the lock after
    listener._images.add([(instance("1.2.9.1", late), record("1.2.9.1"))], 3, layout.lock("series", late))
    assert [line["SOPInstanceUID"] for line in lines(layout, late)] == ["1.2.9.1"]


def test_a_series_that_is_lifted_gets_lines_while_others_wait(basemount: Path, golden_corpus: Path) -> None:
    layout = golden_tree(basemount, golden_corpus)
    steps = Migration(layout).run()
    series = next(steps).SeriesInstanceUID
    database = Database.open_or_create(layout)
    assert database.format == 3
    known = next(iter(database.images(series).values()))
    study = UID(database.series(series)["StudyInstanceUID"])  # type: ignore[index]
    new = record(known.SOPInstanceUID, "data/again")
    database.add_images([(instance(known.SOPInstanceUID, series, study), new)])
    assert Database.open(layout).images(series)[known.SOPInstanceUID].file == new.file
    del steps
    migrated(layout)
    assert Database.open(layout).images(series)[known.SOPInstanceUID].file == new.file


def test_what_pypx_adds_to_format_4_is_lifted_later(basemount: Path, golden_corpus: Path) -> None:
    layout = golden_tree(basemount, golden_corpus)
    series = the_series(layout)[0]
    late = sorted(layout.image_dir(series).iterdir())[-1]
    content = late.read_bytes()
    late.unlink()
    migrated(layout)
    assert len(Database.open(layout).images(series)) == 3
    late.parent.mkdir()
    late.write_bytes(content)
    assert len(Database.open(layout).images(series)) == 4
    migration = Migration(layout)
    assert (migration.format, migration.needed) == (4, True)
    (one,) = migration.run()
    assert (one.SeriesInstanceUID, one.images, one.lifted) == (series, 4, 1)
    assert not late.parent.exists()


def test_a_forgotten_instance_stays_forgotten(basemount: Path, golden_corpus: Path) -> None:
    layout = nameless_tree(basemount, golden_corpus)
    series = the_series(layout)[0]
    migrated(layout)
    shutil.copytree(layout.format3 / "seriesData", layout.series_dir, dirs_exist_ok=True)
    database = Database.open(layout)
    gone, *rest = database.images(series)
    database.forget_images(series, [gone])
    assert list(Database.open(layout).images(series)) == rest
    migrated(layout)
    assert list(Database.open(layout).images(series)) == rest


def test_patients_under_raw_names_are_kept(basemount: Path, golden_corpus: Path) -> None:
    layout = golden_tree(basemount, golden_corpus)
    raw = layout.patient_dir / "MÜLLER 7.json"
    raw.write_text(json.dumps({"MÜLLER 7": {"PatientID": "MÜLLER 7", "StudyList": []}}))
    content = raw.read_bytes()
    migrated(layout)
    assert raw.read_bytes() == content
    assert Database.open(layout).patient("MÜLLER 7") is not None


def test_foreign_files_beside_the_records_stay(basemount: Path, golden_corpus: Path) -> None:
    layout = golden_tree(basemount, golden_corpus)
    directory = layout.image_dir(the_series(layout)[0])
    (directory / "notes.txt").write_text("mine")
    migrated(layout).check()
    assert [path.name for path in directory.iterdir()] == ["notes.txt"]
    assert not Migration(layout).needed


def test_files_outside_the_basemount_keep_their_absolute_path(
    basemount: Path, golden_corpus: Path, tmp_path: Path
) -> None:
    layout = Layout.of_log(basemount / "log", tmp_path / "images")
    list(repack([golden_corpus / "p001"], Database.create(layout, format=3)))
    before = answers_of_images(layout)
    migrated(layout)
    assert answers_of_images(layout) == before
    assert all(file.startswith(f"{tmp_path}/images/") for file in before)


def answers_of_images(layout: Layout) -> list[str]:
    database = Database.open(layout)
    return [image.file for series in database.series_uids() for image in database.images(series).values()]


def test_nothing_to_migrate(basemount: Path) -> None:
    layout = Layout.of_basemount(basemount)
    with pytest.raises(InputError, match="there is no BASEMOUNT here"):
        Migration(layout)
    for directory in (layout.patient_dir, layout.study_dir, layout.series_dir):
        directory.mkdir(parents=True)
    with pytest.raises(InputError, match="there is no BASEMOUNT here"):
        Migration(layout)
    Database.create(layout, format=3)
    assert migrated(layout).series == 0
    assert Database.open(layout).format == 4
    assert Database.open(layout).templates == PYPX_TEMPLATES
    assert not Migration(layout).needed


def test_a_series_in_use_is_waited_for(basemount: Path, golden_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The locks are those of filing: whoever records an image of a series is alone with it."""
    layout = golden_tree(basemount, golden_corpus)
    taken: list[Path] = []

    def note(lock: Path, timeout_s: float = 30, **more: Any) -> Any:
        taken.append(lock)
        return locked(lock, timeout_s, **more)

    monkeypatch.setattr("pypx.db.lift.locked", note)
    series = next(Migration(layout).run()).SeriesInstanceUID
    assert taken == [layout.lock("filing", series), layout.lock("series", series)]
    (status,) = series_status([ref_of_series(Database.open(layout), series)], Database.open(layout))
    assert status.received == 4


def test_what_is_recorded_just_before_the_format_changes_is_lifted(
    basemount: Path, golden_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = golden_tree(basemount, golden_corpus)
    series = the_series(layout)[0]
    late = layout.image_dir(series) / sorted(layout.image_dir(series).iterdir())[0].name
    content = late.read_bytes()
    late.unlink()

    def with_a_late_one(of: Layout) -> Format:
        late.parent.mkdir()
        late.write_bytes(content)
        return lift_format(of)

    monkeypatch.setattr("pypx.workflows.migrate.lift_format", with_a_late_one)
    migrated(layout)
    assert len(lines(layout, series)) == 4
    assert not late.parent.exists()
