"""Names of objects, what is recorded of a push, and its document; nothing is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypx.compat.push_json import to_document
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import InputError
from pypx.model.identifiers import UID
from pypx.model.outcomes import FailedFile, PushedFile, PushOutcome
from pypx.model.packpath import DEFAULT_TEMPLATES, PYPX_PUSH_TEMPLATES, pack_path
from pypx.model.records import SeriesRef
from pypx.services.cstore import _NO_ASSOCIATION, _Run, _statuses, memory_for
from pypx.services.process import MEMORY_BYTES
from pypx.workflows.carriers import Brake
from pypx.workflows.pushlog import Target, push_records, record_push
from pypx.workflows.pushplan import Wanted, check_pacs_name, make_plan, recorded_folder, templates_for
from pypx.workflows.status import pushed_count
from support.corpus import Corpus

REF = SeriesRef(UID("1.2"), UID("1.2.3"))
SWIFT = Target("swift", "users at http://h:8080/auth/v1.0")
PACS = Target("pacs", "PACS@h:104")


def outcome(*names: str, failures: tuple[FailedFile, ...] = (), error: str | None = None) -> PushOutcome:
    done = tuple(PushedFile(Path("/data") / name, f"f/{name}", 3, "00" * 16, sent=True) for name in names)
    return PushOutcome(REF, SWIFT.where, len(names) + len(failures), 4, done, failures, "f", 0.1, error)


@pytest.fixture
def database(basemount: Path) -> Database:
    return Database.open_or_create(Layout.of_basemount(basemount))


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "a,b", "a\nb", "x" * 101])
def test_pacs_names_that_cube_could_not_find_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        check_pacs_name(name)
    assert check_pacs_name(" BCH ") == "BCH"


def test_templates_are_those_of_the_basemount(database: Database, tmp_path: Path) -> None:
    assert templates_for(database) == templates_for(None) == DEFAULT_TEMPLATES
    older = Database.create(Layout.of_basemount(tmp_path / "older"), format=3)
    assert templates_for(older) == PYPX_PUSH_TEMPLATES


def test_plan_names_each_object_in_one_folder(corpus: Corpus) -> None:
    files = corpus.of_kind("ct")[:1] + tuple(file for file in corpus.of_kind("ct")[1:6])
    files = tuple(file for file in files if file.SeriesInstanceUID == files[0].SeriesInstanceUID)
    ref = SeriesRef(UID(files[0].StudyInstanceUID), UID(files[0].SeriesInstanceUID))
    wanted = [Wanted(file.path, UID(file.SOPInstanceUID), file.path.stat().st_size) for file in files]
    plan = make_plan(ref, wanted, folder="", templates=DEFAULT_TEMPLATES, pacs_name="BCH", known={})
    expected = [f"SERVICES/PACS/BCH/{pack_path(DEFAULT_TEMPLATES, file.tags).file}" for file in files]
    assert [item.name for item in plan.items] == expected
    assert plan.folder == expected[0].rpartition("/")[0]
    known = {str(files[0].path): "SERVICES/PACS/BCH/x/kept.dcm"}
    plan = make_plan(
        ref, wanted, folder="SERVICES/PACS/BCH/x", templates=DEFAULT_TEMPLATES, pacs_name="BCH", known=known
    )
    assert plan.items[0].name == "SERVICES/PACS/BCH/x/kept.dcm"
    assert {item.name.rpartition("/")[0] for item in plan.items} == {"SERVICES/PACS/BCH/x"}


def test_plan_tells_twins_from_impostors(corpus: Corpus, tmp_path: Path) -> None:
    file = corpus.of_kind("ct")[0]
    ref = SeriesRef(UID(file.StudyInstanceUID), UID(file.SeriesInstanceUID))
    twin, impostor = tmp_path / "twin.dcm", tmp_path / "impostor.dcm"
    data = bytearray(file.path.read_bytes())
    twin.write_bytes(data)
    data[-1] ^= 0xFF
    impostor.write_bytes(data)
    wanted = [Wanted(path) for path in (file.path, twin, impostor)]
    plan = make_plan(ref, wanted, folder="", templates=DEFAULT_TEMPLATES, pacs_name="BCH", known={})
    assert [item.file for item in plan.items] == [file.path]
    assert [item.file for item in plan.twins] == [twin]
    assert [failure.file for failure in plan.failures] == [impostor]
    assert "same SOP Instance UID and other content" in plan.failures[0].reason


def test_record_counts_what_earlier_pushes_brought(database: Database) -> None:
    record_push(database, outcome("a", "b"), SWIFT, {})
    record_push(database, outcome("c"), SWIFT, {"f/a": "00" * 16, "f/b": ""})
    (record,) = push_records(database, REF.SeriesInstanceUID)
    assert (record.objects, record.expected, record.status, record.folder) == (3, 4, True, "f")
    record_push(database, outcome("d"), SWIFT, {"f/a": "", "f/b": "11" * 16})
    assert push_records(database, REF.SeriesInstanceUID)[0].objects == 2, (
        "what is gone or has other bytes counts no more"
    )
    failed = outcome("d", failures=(FailedFile(Path("/data/a"), "cut"),), error="1 of 2")
    record_push(database, failed, SWIFT, {"f/a": "", "f/d": ""})
    (record,) = push_records(database, REF.SeriesInstanceUID)
    assert (record.objects, record.status) == (2, False), "the object is there, whatever became of the file"


def test_targets_do_not_overwrite_each_other(database: Database) -> None:
    for target, name in [(SWIFT, "a"), (PACS, "b"), (SWIFT, "a"), (PACS, "c")]:
        record_push(database, outcome(name), target, {"f/b": ""})
    records = push_records(database, REF.SeriesInstanceUID)
    assert [(record.target, record.objects) for record in records] == [(PACS, 2), (SWIFT, 1)]


def test_login_that_pypx_recorded_goes_with_the_next_push(database: Database) -> None:
    old = {
        "status": True,
        "store": {"status": True, "localFileList": ["/a"], "objectFileList": ["/mnt/SERVICES/PACS/BCH/r/s/t/a"]},
        "timestamp": "2026-01-02, 03:04:05",
        "swift": {"ip": "h", "port": "8080", "login": "chris:chris1234"},
    }
    database.set_series_fields(REF.SeriesInstanceUID, "push", old)
    (record,) = push_records(database, REF.SeriesInstanceUID)
    assert (record.target, record.objects, record.folder) == (None, None, "SERVICES/PACS/BCH/r/s/t")
    assert recorded_folder([record], "BCH") == "SERVICES/PACS/BCH/r/s/t"
    assert recorded_folder([record], "BC") == ""
    record_push(database, outcome("a"), SWIFT, {})
    table = database.series_fields(REF.SeriesInstanceUID, "push")
    assert table["swift"] == {"ip": "h", "port": "8080"}
    assert len(push_records(database, REF.SeriesInstanceUID)) == 1


@pytest.mark.parametrize(
    ("record", "packed", "count"),
    [
        ({"status": True, "objects": 7}, 9, 7),
        ({"status": False, "objects": 3}, 9, 3),
        ({"status": True}, 9, 9),
        ({}, 9, 0),
    ],
)
def test_status_counts_what_the_record_says(record: dict[str, object], packed: int, count: int) -> None:
    assert pushed_count(record, packed) == count


def test_document_is_that_of_px_push() -> None:
    document = to_document([outcome("a")])
    assert document == {
        "status": True,
        "localFileList": ["/data/a"],
        "objectFileList": ["f/a"],
        "/data/a": {"status": True, "localFileList": ["/data/a"], "objectFileList": ["f/a"], "localpath": "/data"},
    }
    failed = to_document([outcome("a", failures=(FailedFile(Path("/data/b"), "cut short"),), error="1 of 2 files")])
    assert failed["status"] is False
    assert failed["localFileList"] == ["/data/a"]
    assert failed["/data/b"]["error"] == "cut short"
    assert failed["msg"] == "1 of 2 files"
    assert to_document([])["msg"] == "No valid file list generated"
    refused = PushOutcome(REF, "x", 3, 3, error="series 1.2.3 is not pushed: incomplete")
    assert to_document([refused])["msg"] == "series 1.2.3 is not pushed: incomplete"


def test_brake_stops_after_many_failures_in_a_row() -> None:
    from pypx.errors import StorageError  # noqa: PLC0415 - for this test only

    brake, file = Brake(limit=3), Path("/a")

    def fail() -> list[PushedFile | FailedFile]:
        raise StorageError("503")

    for _ in range(2):
        assert brake.guarded([file], fail) == [FailedFile(file, "503")]
    brake.guarded([file], list)
    for _ in range(3):
        brake.guarded([file], fail)
    assert str(brake.fatal) == "503"
    assert brake.guarded([file], list) == [FailedFile(file, "not tried, since 503")]


REPORT = """
Number        : 1
Filename      : /tmp/px/000001.dcm
SOP Instance  : 1.2.3
DIMSE Status  : 0x0000 (Success)

Number        : 2
Filename      : /tmp/px/000002.dcm
SOP Instance  : 1.2.4
DIMSE Status  : 0xa700 (Refused: OutOfResources)

Number        : 3
Filename      : /tmp/px/000003.dcm
SOP Instance  : 1.2.5
DIMSE Status  : <not sent>


Status Summary
--------------
"""


def test_dcmsend_gets_memory_for_the_files_it_sends(tmp_path: Path) -> None:
    """64 bytes of memory for each of the largest; 4 GiB for what a deflated one may become."""
    small, large, deflated = (tmp_path / name for name in ("small", "large", "deflated"))
    small.write_bytes(bytes(10))
    large.write_bytes(bytes(5000))
    deflated.write_bytes(bytes(200) + b"1.2.840.10008.1.2.1.99" + bytes(10))
    assert memory_for([]) == MEMORY_BYTES
    assert memory_for([small, large]) == MEMORY_BYTES + 64 * 5000
    assert memory_for([small, deflated]) == MEMORY_BYTES + 64 * 232 + (4 << 30)
    assert memory_for([tmp_path / "none"]) > 64 * (4 << 30)


def test_a_pacs_that_sends_too_much_is_not_told_by_its_condition() -> None:
    run = _Run(names={Path("/data/1"): "000001.dcm"})
    run.feed("E: Failed receiving DIMSE response: 0006:020d DIMSE: receiveCommand: cmdSet->read() Failed")
    before = run.flooded
    run.feed("E: 0000:0002 Virtual Memory exhausted")
    assert (before, run.flooded) == (False, True)
    assert run.answer(Path("/data/1")).status.endswith("no memory for what the PACS sent or announced")


def test_report_of_dcmsend_is_read_instance_by_instance() -> None:
    files = [Path(f"/data/{number}") for number in range(1, 5)]
    names = [f"00000{number}.dcm" for number in range(1, 5)]
    statuses = _statuses(REPORT)
    run = _Run(
        statuses={file: statuses.get(name, "") for file, name in zip(files, names, strict=True)},
        names=dict(zip(files, names, strict=True)),
    )
    run.feed("W: bad DICOM file: /tmp/px/000004.dcm: Invalid stream, ignoring file")
    answers = [run.answer(file) for file in files]
    assert [answer.ok for answer in answers] == [True, False, False, False]
    assert answers[1].status == "the PACS answered 0xa700 (Refused: OutOfResources)"
    assert answers[2].status.startswith("not sent")
    assert answers[3].status == "dcmsend cannot read it: Invalid stream"
    run.feed("E: Failed receiving DIMSE response: 0006:0317 Peer aborted Association (or never connected)")
    assert "broke off: Peer aborted" in run.answer(files[2]).status
    assert _NO_ASSOCIATION.fullmatch("F: cannot negotiate network association: DUL Association Rejected")
