"""Pushing to real servers: what arrives is what was sent, what is there is not sent again, what is broken is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import (
    InputError,
    InvalidDicomError,
    PartialError,
    PeerRejectedError,
    PeerUnreachableError,
    StorageError,
)
from pypx.model.identifiers import UID, AETitle
from pypx.model.outcomes import PushOutcome
from pypx.model.packpath import PYPX_PUSH_TEMPLATES, Templates, pack_path
from pypx.model.peers import FolderTarget, PacsNode, S3Target, SwiftTarget
from pypx.model.records import SeriesRef
from pypx.services.storage import StorageUnreachableError
from pypx.workflows.carriers import CarryOptions
from pypx.workflows.push import PushOptions, PushSummary, push_files, push_series
from pypx.workflows.pushlog import push_records
from pypx.workflows.repack import repack
from pypx.workflows.status import series_status
from pypx.workflows.targets import carrier_to
from support.corpus import Corpus, CorpusFile, make_series
from support.dicom import read, values
from support.ports import free_port, wait_until
from support.servers import HOST, Orthanc, StorescpSink
from support.silent import mute_peer
from support.swift_server import SwiftServer

OPTIONS = PushOptions("CLINIC")
Target = SwiftTarget | FolderTarget | S3Target | PacsNode


@dataclass(frozen=True, slots=True)
class Mixed:
    """200 mixed images in a BASEMOUNT; `refs` say how many instances each series has."""

    database: Database
    files: tuple[CorpusFile, ...]
    refs: tuple[SeriesRef, ...]

    def record_file(self, file: CorpusFile) -> Path:
        records = self.database.images(UID(file.SeriesInstanceUID))
        return self.database.layout.resolve(records[UID(file.SOPInstanceUID)].file)

    def ref(self, file: CorpusFile) -> SeriesRef:
        return next(ref for ref in self.refs if ref.SeriesInstanceUID == file.SeriesInstanceUID)


def refs_of(files: tuple[CorpusFile, ...]) -> tuple[SeriesRef, ...]:
    counts: dict[tuple[str, str], set[str]] = {}
    for file in files:
        counts.setdefault((file.StudyInstanceUID, file.SeriesInstanceUID), set()).add(file.SOPInstanceUID)
    return tuple(SeriesRef(UID(study), UID(series), len(uids)) for (study, series), uids in counts.items())


@pytest.fixture
def mixed(basemount: Path, tmp_path: Path, corpus: Corpus) -> Mixed:
    more = make_series(tmp_path / "more", 200 - len(corpus), rows=32, cols=32)
    database = Database.open_or_create(Layout.of_basemount(basemount))
    list(repack([corpus.directory, more.directory], database))
    files = (*corpus.files, *more.files)
    assert len(files) == 200
    return Mixed(database, files, refs_of(files))


@pytest.fixture
def small(basemount: Path, tmp_path: Path) -> Mixed:
    """One series of eight images."""
    series = make_series(tmp_path / "small", 8, rows=16, cols=16)
    database = Database.open_or_create(Layout.of_basemount(basemount))
    list(repack([series.directory], database))
    return Mixed(database, series.files, refs_of(series.files))


class Place:
    """A store as the test sees it: not through the code under test."""

    def __init__(self, kind: str, swift: SwiftServer, root: Path) -> None:
        self.kind, self.swift, self.root = kind, swift, root
        targets: dict[str, SwiftTarget | FolderTarget | S3Target] = {
            "swift": SwiftTarget(swift.auth_url, swift.user, swift.key),
            "s3": S3Target("users", swift.s3_url, access_key=swift.user, secret_key=swift.key),
            "folder": FolderTarget(root),
        }
        self.target = targets[kind]

    def content(self) -> dict[str, bytes]:
        if self.kind == "folder":
            paths = (path for path in self.root.rglob("*") if path.is_file())
            return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in paths}
        return {name: self.swift.account.get("users", name) for name in self.swift.names()}

    def sent(self) -> int:
        """How often bytes were sent to the store so far; a folder tells by its inodes, so by `inodes`."""
        paths = (request for request in self.swift.requests() if request.method == "PUT")
        return sum(1 for request in paths if "SERVICES/PACS" in request.path)

    def inodes(self) -> set[int]:
        return {path.stat().st_ino for path in self.root.rglob("*.dcm")}

    def damage(self, name: str) -> None:
        """Bytes change; size, listing and checksum of the store stay."""
        if self.kind != "folder":
            self.swift.corrupt(name)
            return
        data = bytearray((self.root / name).read_bytes())
        data[len(data) // 2] ^= 0xFF
        (self.root / name).write_bytes(data)


@pytest.fixture(params=["swift", "folder", "s3"])
def place(request: pytest.FixtureRequest, swift: SwiftServer, tmp_path: Path) -> Place:
    return Place(request.param, swift, tmp_path / "store")


def push(mixed: Mixed, target: Target, options: PushOptions = OPTIONS, **carry: bool) -> list[PushOutcome]:
    return list(push_series(mixed.refs, carrier_to(target, CarryOptions(**carry)), mixed.database, options))


def totals(outcomes: list[PushOutcome]) -> tuple[int, int, int]:
    return (
        sum(outcome.pushed for outcome in outcomes),
        sum(outcome.skipped for outcome in outcomes),
        sum(outcome.failed for outcome in outcomes),
    )


def wanted(mixed: Mixed) -> dict[str, bytes]:
    """Names and bytes that CUBE's storage is to hold."""
    layout = mixed.database.layout
    found = {}
    for ref in mixed.refs:
        for record in mixed.database.images(ref.SeriesInstanceUID).values():
            path = layout.resolve(record.file)
            found[f"SERVICES/PACS/CLINIC/{path.relative_to(layout.data).as_posix()}"] = path.read_bytes()
    return found


# Stores


def test_every_byte_arrives_once(mixed: Mixed, place: Place) -> None:
    before = place.sent()
    outcomes = push(mixed, place.target)
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    assert totals(outcomes) == (200, 0, 0)
    expected = wanted(mixed)
    assert len(expected) == 200
    assert place.content() == expected
    assert not any("," in name for name in expected)
    after, inodes = place.sent(), place.inodes()
    if place.kind != "folder":
        assert after - before == 200
    again = push(mixed, place.target)
    assert totals(again) == (0, 200, 0)
    assert (place.sent(), place.inodes()) == (after, inodes), "the second push sent something"
    assert all(status.pushed == status.received > 0 for status in series_status(mixed.refs, mixed.database))


def test_progress_ends_with_everything(mixed: Mixed, place: Place) -> None:
    told: list[tuple[int, int, int]] = []
    size = sum(len(data) for data in wanted(mixed).values())
    carrier = carrier_to(place.target)
    list(push_series(mixed.refs, carrier, mixed.database, OPTIONS, lambda *numbers: told.append(numbers)))
    assert told[-1] == (200, 200, size)
    assert told == sorted(told)


def test_object_with_other_bytes_is_named_and_replaced(small: Mixed, place: Place) -> None:
    push(small, place.target)
    expected = wanted(small)
    name = sorted(expected)[3]
    place.damage(name)
    if place.kind == "folder":
        assert place.content() != expected
    (outcome,) = push(small, place.target, read_back=True)
    assert outcome.ok
    assert outcome.replaced == (name,)
    assert (outcome.pushed, outcome.skipped) == (1, 7)
    assert place.content() == expected


def test_object_that_the_store_knows_to_differ_is_replaced(small: Mixed, swift: SwiftServer) -> None:
    place = Place("swift", swift, Path("/nonexistent"))
    push(small, place.target)
    expected = wanted(small)
    first, second = sorted(expected)[:2]
    swift.account.put("users", first, b"something else")
    swift.account.delete("users", second)
    (outcome,) = push(small, place.target)
    assert set(outcome.replaced) == {first, second}
    assert (outcome.pushed, outcome.skipped) == (2, 6)
    assert place.content() == expected


def test_object_that_is_lost_behind_the_listing_is_found_by_reading_back(small: Mixed, swift: SwiftServer) -> None:
    place = Place("swift", swift, Path("/nonexistent"))
    push(small, place.target)
    expected = wanted(small)
    swift.lose(sorted(expected)[0])
    (outcome,) = push(small, place.target, read_back=True)
    assert outcome.replaced == (sorted(expected)[0],)
    assert (outcome.pushed, outcome.skipped) == (1, 7)
    assert place.content() == expected


@pytest.mark.parametrize("damage", ["cut", "grown", "flipped-header", "swapped", "gone"])
def test_corrupt_local_file_is_named_and_not_pushed(small: Mixed, place: Place, damage: str) -> None:
    bad = small.record_file(small.files[4])
    data = bad.read_bytes()
    if damage == "cut":
        bad.write_bytes(data[:-10])
    elif damage == "grown":
        bad.write_bytes(data + b"\0" * 10)
    elif damage == "flipped-header":
        bad.write_bytes(data[:132] + b"\xff" * 300 + data[432:])
    elif damage == "swapped":
        bad.write_bytes(small.record_file(small.files[5]).read_bytes())
    else:
        bad.unlink()
    (outcome,) = push(small, place.target)
    assert [failure.file for failure in outcome.failures] == [bad]
    assert (outcome.pushed, outcome.failed) == (7, 1)
    assert outcome.error is not None
    assert "1 of 8 files" in outcome.error
    assert f": {small.database.layout.data}/…: " in outcome.error, "the name of the file tells of the patient"
    summary = PushSummary()
    summary.take(outcome)
    assert str(bad) in summary.detail
    assert not any(name.endswith(bad.name) for name in place.content())
    record = small.database.series_fields(small.refs[0].SeriesInstanceUID, "push")
    assert (record["status"], record["objects"], record["expected"]) == (False, 7, 8)


def test_local_file_changed_since_its_push_does_not_replace_the_good_object(small: Mixed, place: Place) -> None:
    push(small, place.target)
    before = place.content()
    bad = small.record_file(small.files[2])
    data = bytearray(bad.read_bytes())
    data[-1] ^= 0xFF  # a pixel: neither size nor structure tells
    bad.write_bytes(data)
    (outcome,) = push(small, place.target)
    assert [failure.file for failure in outcome.failures] == [bad]
    assert place.content() == before
    record = small.database.series_fields(small.refs[0].SeriesInstanceUID, "push")
    assert (record["status"], record["objects"]) == (False, 8), "the object is as good as before, the file is not"
    (outcome,) = push(small, place.target)
    assert [failure.file for failure in outcome.failures] == [bad], "a second look forgot the checksum"
    (outcome,) = push(small, place.target, replace=True)
    assert outcome.ok
    assert place.content() == wanted(small) != before


def test_what_was_pushed_outlives_the_loss_of_the_record(small: Mixed, place: Place) -> None:
    push(small, place.target)
    small.database.layout.series_table(small.refs[0].SeriesInstanceUID, "push").unlink()
    assert totals(push(small, place.target)) == (0, 8, 0)


def test_record_has_pypx_shape_and_no_login(small: Mixed, place: Place) -> None:
    (outcome,) = push(small, place.target)
    path = small.database.layout.series_table(small.refs[0].SeriesInstanceUID, "push")
    text = path.read_text()
    record = json.loads(text)
    assert {"status", "store", "timestamp", "target", "objects", "expected", "folder", "time"} <= record.keys()
    assert record["status"] is True
    assert record["target"]["kind"] == place.kind
    assert (record["objects"], record["expected"]) == (8, 8)
    assert record["folder"] == outcome.folder
    assert {f"{record['folder']}/{Path(name).name}" for name in record["store"]["objectFileList"]} == set(wanted(small))
    for secret in ("testing", "chris1234", "login", "key"):
        assert secret not in text
    assert path.stat().st_mode & 0o777 == 0o640


KILLED = """
import sys
from pathlib import Path
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.peers import *
from pypx.model.records import SeriesRef
from pypx.workflows.push import PushOptions, push_series
from pypx.workflows.targets import carrier_to
database = Database.open(Layout.of_basemount(Path(sys.argv[1])))
refs = [SeriesRef(UID(study), UID(series), int(n)) for study, series, n in (a.split("/") for a in sys.argv[3:])]
print("ready", flush=True)
for outcome in push_series(refs, carrier_to(eval(sys.argv[2])), database, PushOptions("CLINIC", jobs=4)):
    print(outcome.pushed, outcome.error, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_push_goes_on_where_it_stopped(
    mixed: Mixed, swift: SwiftServer, tmp_path: Path, number: signal.Signals
) -> None:
    place = Place("swift", swift, tmp_path)
    target = f"SwiftTarget({swift.auth_url!r}, {swift.user!r}, {swift.key!r})"
    refs = [f"{r.StudyInstanceUID}/{r.SeriesInstanceUID}/{r.NumberOfSeriesRelatedInstances}" for r in mixed.refs[::-1]]
    argv = [sys.executable, "-c", KILLED, str(mixed.database.layout.base), target, *refs]
    before = place.sent()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as child:
        wait_until(lambda: len(swift.names()) >= 20, "the push is under way")
        child.send_signal(number)
        child.communicate(timeout=30)
    stored = len(swift.names())
    assert 20 <= stored < 200, "the push was over before it could be killed"
    records = [push_records(mixed.database, ref.SeriesInstanceUID) for ref in mixed.refs]
    recorded = sum(record[0].objects or 0 for record in records if record)
    assert recorded <= stored
    if number == signal.SIGINT:
        assert recorded == stored, "an interrupted push records what it has done"
    outcomes = push(mixed, place.target)
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    assert place.content() == wanted(mixed)
    assert place.sent() - before == 200, "an object was sent twice"
    assert all(status.pushed == status.received for status in series_status(mixed.refs, mixed.database))


def test_killed_push_to_a_folder_leaves_no_partial_file(mixed: Mixed, tmp_path: Path) -> None:
    root = tmp_path / "store"
    target = f"FolderTarget(Path({str(root)!r}))"
    refs = [f"{r.StudyInstanceUID}/{r.SeriesInstanceUID}/{r.NumberOfSeriesRelatedInstances}" for r in mixed.refs[::-1]]
    argv = [sys.executable, "-c", KILLED, str(mixed.database.layout.base), target, *refs]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        wait_until(lambda: len(list(root.rglob("*.dcm"))) >= 5, "the push is under way")
        child.kill()
    expected = wanted(mixed)
    for path in root.rglob("*.dcm"):
        assert path.read_bytes() == expected[path.relative_to(root).as_posix()]
    push(mixed, FolderTarget(root))
    assert {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.dcm")} == expected


# What is pushed


def test_only_complete_series_unless_partial(small: Mixed, tmp_path: Path) -> None:
    ref = small.refs[0]
    target = FolderTarget(tmp_path / "store")
    for announced, words in [(9, "only 8 of 9 images"), (7, "spoke of 7"), (None, "nobody has asked")]:
        asked = [SeriesRef(ref.StudyInstanceUID, ref.SeriesInstanceUID, announced)]
        (outcome,) = push_series(asked, carrier_to(target), small.database, OPTIONS)
        assert outcome.error is not None
        assert words in outcome.error
        assert "--partial" in outcome.error
    assert list(target.root.rglob("*.dcm")) == []
    asked = [SeriesRef(ref.StudyInstanceUID, ref.SeriesInstanceUID, 9)] * 2
    (outcome,) = push_series(asked, carrier_to(target), small.database, PushOptions("CLINIC", partial=True))
    assert outcome.ok
    record = small.database.series_fields(ref.SeriesInstanceUID, "push")
    assert (record["objects"], record["expected"]) == (8, 9)


def test_retrieve_record_makes_a_series_complete(small: Mixed, tmp_path: Path) -> None:
    ref = small.refs[0]
    fields = {"NumberOfSeriesRelatedInstances": "8"}
    small.database.set_series_fields(ref.SeriesInstanceUID, "retrieve", fields)
    asked = [SeriesRef(ref.StudyInstanceUID, ref.SeriesInstanceUID)]
    (outcome,) = push_series(asked, carrier_to(FolderTarget(tmp_path / "store")), small.database, OPTIONS)
    assert outcome.ok


def test_unknown_series_is_named(small: Mixed, tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "store")
    partial = PushOptions("CLINIC", partial=True)
    (outcome,) = push_series([SeriesRef(UID("1.2"), UID("1.2.3"))], carrier_to(target), small.database, partial)
    assert outcome.error == "series 1.2.3 is not pushed: it is not recorded; retrieve it first"
    assert small.database.series_fields(UID("1.2.3"), "push") == {}


def test_directory_pushes_exactly_the_files_named(small: Mixed, tmp_path: Path) -> None:
    root = tmp_path / "store"
    source = small.files[0].path.parent
    (source / "sub").mkdir()
    (source / "sub" / "notes.txt").write_text("not DICOM")
    small.files[7].path.rename(source / "sub" / "00008.dcm")
    options = PushOptions("CLINIC")
    only = list(push_files([source], carrier_to(FolderTarget(root)), small.database, options, substring="small/0000"))
    assert [(outcome.pushed, outcome.error) for outcome in only] == [(7, None)]
    record = small.database.series_fields(small.refs[0].SeriesInstanceUID, "push")
    assert (record["objects"], record["expected"]) == (7, 8)
    everything = list(push_files([source], carrier_to(FolderTarget(root)), small.database, options))
    assert [(outcome.pushed, outcome.skipped, outcome.failed) for outcome in everything] == [(1, 7, 0), (0, 0, 1)]
    assert "notes.txt" in str(everything[1].error)
    assert {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.dcm")} == wanted(small)
    summary = PushSummary()
    for outcome in everything:
        summary.take(outcome)
    with pytest.raises(PartialError):
        summary.check()
    with pytest.raises(InputError, match="no files with 'elsewhere'"):
        list(push_files([source], carrier_to(FolderTarget(root)), small.database, options, substring="elsewhere"))
    with pytest.raises(InvalidDicomError, match="no DICOM file among 1"):
        list(push_files([source], carrier_to(FolderTarget(root)), small.database, options, substring="notes"))


def test_two_pushes_of_parts_count_together(small: Mixed, tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "store")
    series = small.refs[0].SeriesInstanceUID
    for files, objects in [(small.files[:3], 3), (small.files[2:5], 5), (small.files[5:], 8)]:
        list(push_files([file.path for file in files], carrier_to(target), small.database, OPTIONS))
        assert small.database.series_fields(series, "push")["objects"] == objects


def test_format_3_keeps_the_names_of_px_push(basemount: Path, tmp_path: Path) -> None:
    series = make_series(tmp_path / "small", 3, rows=16, cols=16)
    database = Database.create(Layout.of_basemount(basemount), format=3)
    list(repack([series.directory], database))
    refs = refs_of(series.files)
    (outcome,) = push_series(refs, carrier_to(FolderTarget(tmp_path / "a")), database, OPTIONS)
    path = pack_path(PYPX_PUSH_TEMPLATES, series.files[0].tags)
    assert outcome.folder == f"SERVICES/PACS/CLINIC/{path.directory}"
    templates = Templates(root="%PatientID", study="%StudyDate", series="%SeriesNumber", image="%InstanceNumber.dcm")
    moved = PushOptions("CLINIC", templates=templates)
    (outcome,) = push_series(refs, carrier_to(FolderTarget(tmp_path / "b")), database, moved)
    tags = series.files[0].tags
    assert outcome.folder == f"SERVICES/PACS/CLINIC/{tags['PatientID']}/{tags['StudyDate']}/{tags['SeriesNumber']}"


def test_record_of_pypx_says_where_a_series_is(basemount: Path, tmp_path: Path) -> None:
    series = make_series(tmp_path / "small", 3, rows=16, cols=16)
    database = Database.create(Layout.of_basemount(basemount), format=3)
    list(repack([series.directory], database))
    (ref,) = refs_of(series.files)
    old = {
        "status": True,
        "store": {
            "status": True,
            "localFileList": ["/x/0001-1.dcm"],
            "objectFileList": ["SERVICES/PACS/CLINIC/a/b/c/1.dcm"],
        },
        "timestamp": "2026-01-02, 03:04:05",
        "swift": {"ip": "10.0.0.2", "port": "8080", "login": "chris:chris1234"},
    }
    database.set_series_fields(ref.SeriesInstanceUID, "push", old)
    (outcome,) = push_series([ref], carrier_to(FolderTarget(tmp_path / "a")), database, OPTIONS)
    assert outcome.folder == "SERVICES/PACS/CLINIC/a/b/c"
    (outcome,) = push_series([ref], carrier_to(FolderTarget(tmp_path / "a")), database, PushOptions("OTHER"))
    assert outcome.folder.startswith("SERVICES/PACS/OTHER/PID")
    assert "chris1234" not in database.layout.series_table(ref.SeriesInstanceUID, "push").read_text()


def test_instances_that_share_a_name_are_kept_apart(small: Mixed, tmp_path: Path) -> None:
    templates = Templates(root="%PatientID", study="%StudyDate", series="%SeriesNumber", image="image.dcm")
    target = FolderTarget(tmp_path / "store")
    options = PushOptions("CLINIC", templates=templates)
    (outcome,) = push(small, target, options)
    assert outcome.pushed == 8
    found = [path.read_bytes() for path in target.root.rglob("*.dcm")]
    assert sorted(found) == sorted(wanted(small).values())
    assert totals(push(small, target, options)) == (0, 8, 0)


# Servers that fail


def test_store_that_is_not_there_stops_the_push_at_once(small: Mixed) -> None:
    target = SwiftTarget(f"http://{HOST}:{free_port()}/auth/v1.0", "a:b", "c")
    with pytest.raises(StorageUnreachableError, match="no connection"):
        push(small, target)
    assert push_records(small.database, small.refs[0].SeriesInstanceUID) == ()


def test_wrong_key_is_said_so(small: Mixed, swift: SwiftServer) -> None:
    with pytest.raises(StorageError, match="login refused"):
        push(small, SwiftTarget(swift.auth_url, swift.user, "wrong-key"))


def test_server_error_in_the_middle_is_named_and_can_be_made_good(small: Mixed, swift: SwiftServer) -> None:
    from pypx.services.swift import SwiftStore  # noqa: PLC0415 - the store with shorter pauses

    target = SwiftTarget(swift.auth_url, swift.user, swift.key)
    store = SwiftStore(target, retries=1, backoff_s=0.05)
    carrier = carrier_to(target, store=store)
    with swift.down("object"):
        outcomes = list(push_series(small.refs, carrier, small.database, OPTIONS))
    (outcome,) = outcomes
    assert outcome.failed == 8
    assert "503" in str(outcome.error)
    summary = PushSummary()
    summary.take(outcome)
    with pytest.raises(StorageError, match="nothing was pushed"):
        summary.check()
    assert totals(push(small, target)) == (8, 0, 0)


# PACS


@pytest.fixture
def emptied_orthanc(orthanc: Orthanc, corpus: Corpus) -> Iterator[Orthanc]:
    """The Orthanc of the session without any image; it gets its images back."""
    for patient in orthanc.rest("GET", "/patients"):
        orthanc.rest("DELETE", f"/patients/{patient}")
    try:
        yield orthanc
    finally:
        for patient in orthanc.rest("GET", "/patients"):
            orthanc.rest("DELETE", f"/patients/{patient}")
        orthanc.upload(file.path for file in corpus)


def node(aet: str, port: int) -> PacsNode:
    return PacsNode(HOST, port, AETitle(aet), AETitle("PX"), AETitle("PX"))


def pixels(dataset: Dataset) -> bytes:
    """Pixel data as little endian."""
    data = bytes(dataset.PixelData)
    if dataset.file_meta.TransferSyntaxUID != "1.2.840.10008.1.2.2" or dataset.BitsAllocated == 8:
        return data
    return b"".join(data[at : at + 2][::-1] for at in range(0, len(data), 2))


def test_pacs_gets_every_instance_once(mixed: Mixed, emptied_orthanc: Orthanc, tmp_path: Path) -> None:
    pacs = emptied_orthanc
    target = node(pacs.aet, pacs.port)
    outcomes = push(mixed, target)
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    assert totals(outcomes) == (200, 0, 0)
    assert pacs.instances() == {file.SOPInstanceUID for file in mixed.files}
    got = tmp_path / "got.dcm"
    for file in mixed.files:
        got.write_bytes(pacs.file_bytes(file.SOPInstanceUID))
        there, here = read(got, pixels=True), read(file.path, pixels=True)
        sent, received = values(here), values(there)
        assert received.keys() == sent.keys()
        assert [tag for tag in sent if tag != "(7FE0,0010)" and received[tag] != sent[tag]] == []
        if "PixelData" in here:
            assert pixels(there) == pixels(here)
    said = pacs.log().count("Incoming Store")
    assert totals(push(mixed, target)) == (0, 200, 0)
    assert pacs.log().count("Incoming Store") == said, "the second push sent something"


def test_killed_push_to_a_pacs_ends_equal(mixed: Mixed, emptied_orthanc: Orthanc) -> None:
    pacs = emptied_orthanc
    target = f"PacsNode({HOST!r}, {pacs.port}, {pacs.aet!r}, 'PX', 'PX')"
    refs = [f"{r.StudyInstanceUID}/{r.SeriesInstanceUID}/{r.NumberOfSeriesRelatedInstances}" for r in mixed.refs]
    argv = [sys.executable, "-c", KILLED, str(mixed.database.layout.base), target, *refs]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        wait_until(lambda: len(pacs.instances()) >= 5, "the push is under way")
        child.kill()
    recorded = sum(bool(push_records(mixed.database, ref.SeriesInstanceUID)) for ref in mixed.refs)
    assert recorded < len(mixed.refs), "the push was over before it could be killed"
    pushed, skipped, failed = totals(push(mixed, node(pacs.aet, pacs.port)))
    assert (pushed + skipped, failed) == (200, 0)
    assert pacs.instances() == {file.SOPInstanceUID for file in mixed.files}
    assert all(status.pushed == status.received for status in series_status(mixed.refs, mixed.database))


def test_pacs_that_refuses_some_is_told_from_one_that_takes_all(
    mixed: Mixed, storescp_sink: Callable[..., StorescpSink]
) -> None:
    sink = storescp_sink(None, "+xi")  # implicit little endian only: no compressed image
    target = node(sink.aet, sink.port)
    outcomes = push(mixed, target)
    pushed, _, failed = totals(outcomes)
    assert pushed == len(sink.instances())
    assert pushed + failed == 200
    named = {failure.file for outcome in outcomes for failure in outcome.failures}
    assert named == {mixed.record_file(file) for file in mixed.files if file.SOPInstanceUID not in sink.instances()}


@pytest.mark.parametrize("fault", ["--abort-during", "--abort-after"])
def test_pacs_that_aborts_is_named_for_each_image(
    small: Mixed, storescp_sink: Callable[..., StorescpSink], fault: str
) -> None:
    sink = storescp_sink(None, fault)
    (outcome,) = push(small, node(sink.aet, sink.port))
    assert outcome.failed == 8 - outcome.pushed > 0
    assert "broke off: Peer aborted Association" in str(outcome.error)


def test_pacs_that_rejects_us_stops_the_push(small: Mixed, storescp_sink: Callable[..., StorescpSink]) -> None:
    sink = storescp_sink(None, "--refuse")
    with pytest.raises(PeerRejectedError, match="rejected"):
        push(small, node(sink.aet, sink.port))


def test_pacs_that_is_not_there_stops_the_push(small: Mixed) -> None:
    with pytest.raises(PeerUnreachableError):
        push(small, node("NOBODY", free_port()))


def test_a_web_server_is_no_pacs_to_push_to(small: Mixed) -> None:
    with mute_peer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port, pytest.raises(PeerUnreachableError) as failure:
        push(small, node("NOBODY", port))
    assert "answers, but not in DICOM; check the port" in str(failure.value)


def test_push_to_a_pacs_leaves_the_record_of_the_store(
    small: Mixed, tmp_path: Path, storescp_sink: Callable[..., StorescpSink]
) -> None:
    store = FolderTarget(tmp_path / "store")
    push(small, store)
    sink = storescp_sink()
    push(small, node(sink.aet, sink.port))
    series = small.refs[0].SeriesInstanceUID
    pacs, folder = push_records(small.database, series)
    assert pacs.target is not None
    assert folder.target is not None
    assert (pacs.target.kind, pacs.objects) == ("pacs", 8)
    assert (folder.target.kind, folder.objects) == ("folder", 8)
    assert totals(push(small, store)) == (0, 8, 0)
    assert [record.target.kind for record in push_records(small.database, series) if record.target] == [
        "folder",
        "pacs",
    ]
