"""Filing into a BASEMOUNT: each instance once, nothing lost, whenever it is cut off."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import DatabaseError, InputError, InvalidDicomError, PartialError
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.model.identifiers import UID
from pypx.model.packpath import DEFAULT_TEMPLATES, Templates
from pypx.workflows import filing
from pypx.workflows.batches import Begun
from pypx.workflows.filing import Filer, FilingOptions, SeriesFiled
from pypx.workflows.placing import Placement
from pypx.workflows.repack import RepackOptions, RepackSummary, repack
from support.corpus import Corpus, CorpusFile, make_series
from support.dicom import dataset_bytes

ONE_NAME = Templates("%PatientID", "study", "series", "same.dcm")


class Cut(BaseException):
    """The process is killed here."""


class Spot:
    """A BASEMOUNT and a directory of files that wait to be filed."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout.of_basemount(directory / "base")
        self.waiting = self.layout.incoming / "waiting"
        self.sent = directory / "sent"
        self.made = make_series(self.sent, 3, 8, 8)
        self.series = UID(self.made.files[0].SeriesInstanceUID)

    def wait(self, corpus: Corpus | None = None) -> list[Path]:
        """Let files wait, as copies."""
        self.waiting.mkdir(parents=True, exist_ok=True)
        paths = []
        for file in corpus or self.made:
            paths.append(self.waiting / f"CT.X.{len(list(self.waiting.iterdir()))}")
            paths[-1].write_bytes(file.path.read_bytes())
        return paths

    def filer(self, kind: type[Filer] = Filer, **options: Any) -> Filer:
        options.setdefault("rejected", self.layout.incoming / "rejected")
        return kind(Database.open_or_create(self.layout), FilingOptions(**options))

    def file(self, *paths: Path, **options: Any) -> list[FileOutcome]:
        filer = self.filer(**options)
        for path in paths or sorted(self.waiting.iterdir()):
            filer.add(path)
        return filer.commit()

    def records(self, series: str | None = None) -> dict[UID, str]:
        database = Database.open(self.layout)
        return {uid: record.file for uid, record in database.images(UID(series) if series else self.series).items()}

    def data(self) -> list[Path]:
        return sorted(path for path in self.layout.data.rglob("*") if path.is_file())

    def assert_holds(self, *corpora: Corpus) -> None:
        """Each instance once in the tree, once in the records, with the data set that was sent; nothing waits."""
        files = [file for corpus in corpora for file in corpus]
        assert len(self.data()) == len(files)
        for file in files:
            path = self.layout.resolve(self.records(file.SeriesInstanceUID)[UID(file.SOPInstanceUID)])
            assert dataset_bytes(path) == dataset_bytes(file.path)
        for series in {file.SeriesInstanceUID for file in files}:
            lines = self.layout.image_log(series).read_text().splitlines()
            assert len(lines) == len(self.records(series)) == sum(file.SeriesInstanceUID == series for file in files)
        assert not self.waiting.exists() or list(self.waiting.iterdir()) == []


@pytest.fixture
def spot(tmp_path: Path) -> Spot:
    return Spot(tmp_path)


def states(outcomes: list[FileOutcome]) -> list[FileState]:
    return [outcome.state for outcome in outcomes]


def with_source_title(data: bytes) -> bytes:
    """The same data set under a longer File Meta Information: with a Source Application Entity Title (PS3.10 7.1)."""
    title = b"\x02\x00\x16\x00AE\x04\x00SCU1"
    (length,) = struct.unpack_from("<I", data, 140)
    return data[:140] + struct.pack("<I", length + len(title)) + data[144 : 144 + length] + title + data[144 + length :]


def other_content(file: CorpusFile, path: Path) -> Path:
    """The same instance with other pixels."""
    data = bytearray(file.path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(data)
    return path


def test_files_get_their_place_and_their_record(spot: Spot) -> None:
    told: list[SeriesFiled] = []
    filer = spot.filer()
    filer.on_series = told.append
    paths = spot.wait()
    for path in paths:
        filer.add(path)
    outcomes = filer.commit()
    assert states(outcomes) == [FileState.FILED] * 3
    assert [outcome.source for outcome in outcomes] == paths
    assert [outcome.file for outcome in outcomes] == [spot.layout.resolve(file) for file in spot.records().values()]
    assert told == [SeriesFiled(UID(spot.made.files[0].StudyInstanceUID), spot.series, 3, 3)]
    spot.assert_holds(spot.made)
    for path in spot.data():
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert Database.open(spot.layout).patient("PID-5000") is not None


CUTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}


def _after(monkeypatch: pytest.MonkeyPatch, where: object, name: str, *, calls: int = 1, before: bool = False) -> None:
    original = getattr(where, name)
    count = 0

    def cutting(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if before and count == calls:
            raise Cut(name)
        result = original(*args, **kwargs)
        if count == calls:
            raise Cut(name)
        return result

    monkeypatch.setattr(where, name, cutting)


for _name, _where, _method, _calls, _before in (
    ("before the first file is placed", filing, "place", 1, True),
    ("after the second file is placed", filing, "place", 2, False),
    ("before the sync", filing, "sync_filesystem", 1, True),
    ("after the sync", filing, "sync_filesystem", 1, False),
    ("between headers and records", Database, "add_headers", 1, False),
    ("before the records", Database, "add_images", 1, True),
    ("after the records", Database, "add_images", 1, False),
    ("before the first source is removed", Filer, "_remove_source", 1, True),
    ("after the second source is removed", Filer, "_remove_source", 2, False),
):
    CUTS[_name] = lambda patch, w=_where, m=_method, c=_calls, b=_before: _after(  # type: ignore[misc]
        patch, w, m, calls=c, before=b
    )


@pytest.mark.parametrize("links", [True, False], ids=["by link", "by copy"])
@pytest.mark.parametrize("name", CUTS)
def test_cut_off_anywhere_and_run_again_each_instance_is_there_once(
    spot: Spot, monkeypatch: pytest.MonkeyPatch, name: str, *, links: bool
) -> None:
    if not links:
        _forbid_links(monkeypatch)
    spot.wait()
    with monkeypatch.context() as patch:
        CUTS[name](patch)
        with pytest.raises(Cut):
            spot.file()
    spot.file()
    spot.assert_holds(spot.made)


def test_cut_off_at_two_steps_in_a_row(spot: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    spot.wait()
    for apply in CUTS.values():
        with monkeypatch.context() as patch:
            apply(patch)
            with pytest.raises(Cut):
                spot.file()
        spot.wait()  # more of the same arrives meanwhile
    spot.file()
    spot.assert_holds(spot.made)


def test_a_batch_that_could_not_be_recorded_is_filed_by_the_same_filer(
    spot: Spot, monkeypatch: pytest.MonkeyPatch
) -> None:
    filer = spot.filer()
    paths = spot.wait()
    for path in paths:
        filer.add(path)
    with monkeypatch.context() as patch:
        patch.setattr(Database, "add_images", _no_room)
        with pytest.raises(DatabaseError):
            filer.commit()
    filer.discard()
    assert all(path.exists() for path in paths)
    for path in paths:
        filer.add(path)
    assert states(filer.commit()) == [FileState.FILED] * 3
    spot.assert_holds(spot.made)


def _no_room(*_args: object) -> None:
    raise DatabaseError("no room")


def _forbid_links(monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def refuse(source: Any, target: Any, **options: Any) -> None:
        if not options:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        link(source, target, **options)

    monkeypatch.setattr(os, "link", refuse)


def test_without_links_files_are_copied(spot: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    _forbid_links(monkeypatch)
    spot.wait()
    assert states(spot.file()) == [FileState.FILED] * 3
    spot.assert_holds(spot.made)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o640 for path in spot.data())


def test_without_links_and_unnamed_files_temporary_names_are_used(spot: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_args: object, **_options: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    opened = os.open

    def no_unnamed(path: Any, flags: int, *rest: int, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "link", never)
    monkeypatch.setattr(os, "open", no_unnamed)
    spot.wait()
    spot.wait()
    assert sorted(states(spot.file())) == [FileState.DUPLICATE] * 3 + [FileState.FILED] * 3
    spot.assert_holds(spot.made)


@pytest.mark.parametrize("again", ["in one batch", "in the next"])
def test_the_same_again_is_counted_and_ignored(spot: Spot, again: str) -> None:
    spot.wait()
    if again == "in the next":
        spot.file()
        spot.wait()
        assert states(spot.file()) == [FileState.DUPLICATE] * 3
    else:
        spot.wait()
        assert sorted(states(spot.file())) == [FileState.DUPLICATE] * 3 + [FileState.FILED] * 3
    spot.assert_holds(spot.made)
    assert Database.open(spot.layout).conflicts(spot.series) == 0


@pytest.mark.parametrize("templates", [None, ONE_NAME], ids=["to the same path", "to another path"])
def test_other_content_is_kept_aside_and_flagged(spot: Spot, templates: Templates | None) -> None:
    spot.wait()
    spot.file()
    first = spot.made.files[0]
    for _ in range(2):
        changed = other_content(first, spot.waiting / "CT.changed")
        (outcome,) = spot.file(changed, templates=templates)
        kept = spot.layout.incoming / "conflicts" / spot.series / f"{first.SOPInstanceUID}.1.dcm"
        assert (outcome.state, outcome.file) == (FileState.CONFLICT, kept)
        assert outcome.reason is not None
        assert "PID" not in outcome.reason
        spot.assert_holds(spot.made)
    assert dataset_bytes(kept)[1][:-1] == dataset_bytes(first.path)[1][:-1]
    why = kept.with_name(f"{kept.name}.reason.txt")
    assert sorted(kept.parent.iterdir()) == [kept, why], "the same conflict again is kept once"
    assert f" instance {first.SOPInstanceUID} " in why.read_text()
    assert why.read_text().endswith(f": {spot.records()[UID(first.SOPInstanceUID)]}\n")
    assert Database.open(spot.layout).conflicts(spot.series) == 1


def test_one_path_for_two_instances_gives_the_second_its_uid(spot: Spot) -> None:
    spot.wait()
    spot.wait()
    assert sorted(states(spot.file(templates=ONE_NAME))) == [FileState.DUPLICATE] * 3 + [FileState.FILED] * 3
    spot.assert_holds(spot.made)
    names = {path.name for path in spot.data()}
    assert "same.dcm" in names
    assert len(names & {f"same-{file.SOPInstanceUID}.dcm" for file in spot.made}) == 2


def test_an_instance_recorded_under_another_path_stays_there(spot: Spot) -> None:
    spot.wait()
    spot.file(templates=ONE_NAME)
    before = spot.data()
    spot.wait()
    outcomes = spot.file(templates=DEFAULT_TEMPLATES)
    assert states(outcomes) == [FileState.DUPLICATE] * 3
    assert sorted(outcome.file for outcome in outcomes if outcome.file) == before
    spot.assert_holds(spot.made)


def test_a_recorded_file_that_has_gone_is_replaced(spot: Spot) -> None:
    spot.wait()
    spot.file(templates=ONE_NAME)
    for path in spot.data():
        path.unlink()
    spot.wait()
    assert states(spot.file()) == [FileState.FILED] * 3
    assert sorted(spot.layout.resolve(file) for file in spot.records().values()) == spot.data()


def test_half_a_file_under_a_final_name_gives_way(spot: Spot) -> None:
    """What a power failure leaves: the name is there, the bytes are not, nothing is recorded."""
    (path, *_) = spot.wait()
    (outcome,) = spot.file(path, placement=Placement.COPY)
    assert outcome.file is not None
    outcome.file.write_bytes(outcome.file.read_bytes()[:-7])
    spot.layout.image_log(spot.series).unlink()
    spot.file()
    spot.assert_holds(spot.made)
    kept = spot.layout.incoming / "rejected" / outcome.file.name
    assert kept.exists()
    assert "found at" in kept.with_name(f"{kept.name}.reason.txt").read_text()


def test_files_cut_short_are_set_aside_with_the_reason(spot: Spot) -> None:
    paths = spot.wait()
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    paths[2].write_bytes(b"")
    outcomes = spot.file()
    assert states(outcomes) == [FileState.FILED, FileState.REJECTED, FileState.REJECTED]
    for outcome in outcomes[1:]:
        assert outcome.file == spot.layout.incoming / "rejected" / outcome.source.name
        assert outcome.file.with_name(f"{outcome.file.name}.reason.txt").read_text() == f"{outcome.reason}\n"
    assert list(spot.waiting.iterdir()) == []
    assert len(spot.records()) == 1


def test_rejected_files_of_one_name_are_all_kept(spot: Spot) -> None:
    spot.waiting.mkdir(parents=True)
    path = spot.waiting / "CT.X"
    for text in (b"one", b"two"):
        path.write_bytes(text)
        spot.file(path)
    kept = {path.name: path.read_bytes() for path in (spot.layout.incoming / "rejected").iterdir()}
    assert {name: text for name, text in kept.items() if not name.endswith(".txt")} == {
        "CT.X": b"one",
        "CT.X.1": b"two",
    }
    assert len(kept) == 4


def test_two_filers_that_take_the_same_at_once_record_it_once(spot: Spot) -> None:
    first, second = spot.filer(), spot.filer(templates=ONE_NAME)
    for path in spot.wait():
        first.add(path)
    for path in spot.wait():
        second.add(path)
    assert states(second.commit()) == [FileState.FILED] * 3
    assert states(first.commit()) == [FileState.DUPLICATE] * 3
    spot.assert_holds(spot.made)


def test_what_is_recorded_is_the_file_that_has_the_name(spot: Spot) -> None:
    """Two bring one instance in files of different size; the one that was later to the name records first."""
    first, second = spot.filer(), spot.filer()
    for path in spot.wait():
        first.add(path)
    for path in spot.wait():
        path.write_bytes(with_source_title(path.read_bytes()))
        second.add(path)
    assert states(second.commit()) == [FileState.FILED] * 3
    records = Database.open(spot.layout).images(spot.series).values()
    assert [record.size for record in records] == [
        spot.layout.resolve(record.file).stat().st_size for record in records
    ]
    assert states(first.commit()) == [FileState.DUPLICATE] * 3
    spot.assert_holds(spot.made)


def test_a_series_that_claims_two_studies_is_listed_in_both(spot: Spot) -> None:
    (path, *_) = spot.wait()
    dataset = pydicom.dcmread(path)
    dataset.StudyInstanceUID = dataset.StudyInstanceUID + ".1"
    dataset.SOPInstanceUID = dataset.SOPInstanceUID + ".1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(spot.waiting / "CT.other")
    assert states(spot.file()) == [FileState.FILED] * 4
    database = Database.open(spot.layout)
    for study in (spot.made.files[0].StudyInstanceUID, dataset.StudyInstanceUID):
        assert database.series_of_study(UID(study)) == (spot.series,)


def test_batches_end_by_number_and_by_time(spot: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    filer = spot.filer()
    due = [filer.due]
    filer.add(spot.wait()[0])
    due.append(filer.due)
    with monkeypatch.context() as patch:
        patch.setattr(filing, "BATCH_S", 0.0)
        due.append(filer.due)
    monkeypatch.setattr(filing, "BATCH_FILES", 1)
    due.append(filer.due)
    filer.commit()
    due.append(filer.due)
    assert due == [False, False, True, True, False]


@pytest.mark.parametrize("placement", list(Placement))
def test_repack_leaves_or_removes_its_sources(spot: Spot, placement: Placement) -> None:
    paths = sorted(file.path for file in spot.made)
    content = [path.read_bytes() for path in paths]
    done: list[tuple[int, int]] = []
    outcomes = list(
        repack(
            [spot.sent],
            Database.open_or_create(spot.layout),
            RepackOptions(placement),
            lambda now, total: done.append((now, total)),
        )
    )
    assert [outcome.source for outcome in outcomes] == paths
    assert done[-1] == (3, 3)
    assert [path.exists() for path in paths] == [placement is not Placement.MOVE] * 3
    assert sorted(path.read_bytes() for path in spot.data()) == sorted(content)
    if placement is not Placement.MOVE:
        shared = [path.samefile(outcome.file) for path, outcome in zip(paths, outcomes, strict=True) if outcome.file]
        assert shared == [placement is Placement.LINK] * 3
    assert len(spot.records()) == 3


def test_repack_names_bad_files_and_goes_on(spot: Spot) -> None:
    (spot.sent / "00000.txt").write_text("no image")
    (spot.sent / "00002.dcm").write_bytes((spot.sent / "00002.dcm").read_bytes()[:500])
    (spot.sent / "DICOMDIR").write_text("an index")
    summary = RepackSummary()
    bad = {}
    for outcome in repack([spot.sent], Database.open_or_create(spot.layout), RepackOptions(Placement.MOVE)):
        summary.take(outcome)
        if outcome.state is FileState.REJECTED:
            bad[outcome.source.name] = outcome.reason
    assert sorted(bad) == ["00000.txt", "00002.dcm"]
    assert all(bad.values())
    assert sorted(path.name for path in spot.sent.iterdir()) == ["00000.txt", "00002.dcm", "DICOMDIR"], (
        "a bad file stays where it is"
    )
    with pytest.raises(PartialError, match="2 of 4 files"):
        summary.check()


def test_a_source_that_cannot_be_removed_is_filed_and_named(spot: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink
    locked = spot.made.files[1].path
    locked.chmod(0o444)

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != locked.parent)
    summary = RepackSummary()
    outcomes = list(repack([spot.sent], Database.open_or_create(spot.layout), RepackOptions(Placement.MOVE)))
    for outcome in outcomes:
        summary.take(outcome)
    assert states(outcomes) == [FileState.FILED] * 3
    assert [outcome.stays for outcome in outcomes] == [None, "Permission denied", None]
    assert stat.S_IMODE(locked.stat().st_mode) == 0o444
    assert locked.stat().st_nlink == 1, "what stays shares nothing"
    with pytest.raises(PartialError, match="1 of 3 sources could not be removed"):
        summary.check()
    assert len(spot.records()) == 3


def test_what_cannot_be_looked_into_is_named_and_what_is_no_file_is_told(
    spot: Spot, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut = spot.sent / "a shut one"
    shut.mkdir()
    (spot.sent / "dangling").symlink_to(spot.sent / "nothing")
    (spot.sent / "folder").symlink_to(shut)
    os.mkfifo(spot.sent / "pipe")
    scandir = os.scandir

    def refuse(path: Any = ".") -> Any:
        if Path(path) == shut:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    told: dict[str, str] = {}
    outcomes = list(
        repack(
            [spot.sent],
            Database.open_or_create(spot.layout),
            skipped=lambda path, kind: told.update({path.name: kind}),
        )
    )
    (refused,) = (outcome for outcome in outcomes if outcome.state is not FileState.FILED)
    assert (refused.source, refused.state) == (shut, FileState.REJECTED)
    assert refused.reason == "the directory cannot be read: Permission denied"
    assert told == {"dangling": "dangling link", "folder": "link to a directory", "pipe": "no regular file"}
    assert len(spot.records()) == 3


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_interrupted_repack_records_what_it_has_placed(
    spot: Spot, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    finish = Filer.finish

    def interrupted(filer: Filer, begun: Begun) -> None:
        if begun.source == spot.made.files[2].path:
            raise end
        finish(filer, begun)

    monkeypatch.setattr(Filer, "finish", interrupted)
    with pytest.raises(end):
        list(repack([spot.sent], Database.open_or_create(spot.layout)))
    assert len(spot.data()) == len(spot.records()) == 2


def test_a_directory_without_dicom_is_an_error(spot: Spot, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(2):
        summary = RepackSummary()
        for outcome in repack([folder], Database.open_or_create(spot.layout)):
            summary.take(outcome)
        with pytest.raises(InvalidDicomError, match=f"among {number} files"):
            summary.check()
        (folder / "text").write_text("text")


def test_which_files_of_a_directory_are_repacked(spot: Spot) -> None:
    deep = spot.sent / "deep"
    deep.mkdir()
    (spot.sent / "00003.dcm").rename(deep / "00003.dcm")
    (spot.sent / "link.dcm").symlink_to(deep / "00003.dcm")
    database = Database.open_or_create(spot.layout)

    def names(*sources: Path, **options: Any) -> list[str]:
        return [outcome.source.name for outcome in repack(sources, database, RepackOptions(**options))]

    assert names(spot.sent) == ["00001.dcm", "00002.dcm", "link.dcm", "00003.dcm"]
    assert names(spot.sent, recursive=False) == ["00001.dcm", "00002.dcm", "link.dcm"]
    assert names(spot.sent, substrings=("2.d", "00002"), recursive=False) == ["00002.dcm"]
    assert names(deep / "00003.dcm", substrings=("x",)) == ["00003.dcm"]
    assert len(spot.records()) == 3
    assert not any(path.is_symlink() for path in spot.data())


@pytest.mark.parametrize("placement", list(Placement))
def test_the_packed_tree_is_not_packed_into_itself(spot: Spot, placement: Placement) -> None:
    spot.wait()
    spot.file(templates=ONE_NAME)
    database = Database.open_or_create(spot.layout)
    for source in (spot.layout.data, spot.data()[0], spot.layout.base):
        with pytest.raises(InputError, match="the packed tree"):
            list(repack([source], database, RepackOptions(placement)))
    spot.assert_holds(spot.made)


@pytest.mark.parametrize("gone", [False, True], ids=["kept", "gone"])
def test_a_name_that_another_process_withdraws_is_not_recorded_empty(spot: Spot, *, gone: bool) -> None:
    """Two processes file under one path what is recorded under another: the first gives the name up again."""
    spot.wait()
    spot.file(templates=ONE_NAME)
    first, second = spot.filer(), spot.filer()
    for path in spot.wait():
        first.add(path)
    for path in spot.wait():
        second.add(path)
    assert states(first.commit()) == [FileState.DUPLICATE] * 3
    if gone:
        for path in spot.data():
            path.unlink()
    assert states(second.commit()) == [FileState.FILED if gone else FileState.DUPLICATE] * 3
    assert sorted(spot.layout.resolve(file) for file in spot.records().values()) == spot.data()
    assert len(spot.data()) == 3


def test_a_source_that_is_not_there_is_named(spot: Spot, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such file"):
        list(repack([tmp_path / "nowhere"], Database.open_or_create(spot.layout)))
