"""The scripted PACS itself: what each part of a script does, seen through DCMTK's tools and a raw storescp."""

from __future__ import annotations

import ast
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

import scripted_pacs as package
from scripted_pacs import (
    ALWAYS,
    Archive,
    Case,
    Drop,
    Duplicate,
    Fault,
    Journal,
    Script,
    ScriptedPacs,
    Series,
    draw_case,
    make_archive,
)
from scripted_pacs.images import image
from scripted_pacs.plain import from_plain
from support.dicom import dataset_bytes, read
from support.ports import free_port, listens, wait_until
from support.servers import HOST, Destination, StorescpSink, run_tool

ARCHIVE = make_archive("own tests", patients=2, studies=2, series=2, instances=6)
STUDY = ARCHIVE.studies()[0]
SERIES, OTHER = STUDY.series
UIDS = SERIES.uids
CASES = 300 if os.environ.get("PX_TEST_LONG") else 12


@dataclass(frozen=True)
class Final:
    """A final response as the log of a tool at -d shows it."""

    message: int
    status: int
    completed: int | None
    failed: int | None
    warning: int | None


@dataclass(frozen=True)
class Run:
    """One run of findscu or movescu; `answers` are the data sets that findscu wrote, in order."""

    returncode: int
    finals: list[Final]
    pending: int
    answers: list[Dataset]
    log: str
    seconds: float

    @property
    def statuses(self) -> list[int]:
        return [final.status for final in self.finals]

    def values(self, keyword: str) -> list[str]:
        """Values of an attribute; "" if empty, "absent" if not there."""
        found = [answer[keyword].value if keyword in answer else "absent" for answer in self.answers]
        return ["" if value is None else str(value) for value in found]


def number(text: str) -> int | None:
    return None if text.strip() == "none" else int(text)


def finals_of(log: str) -> list[Final]:
    found = []
    for part in re.split(r"Received Final (?:Find|Move) Response", log)[1:]:
        block = dict(re.findall(r"(?m)^D: ([\w ]+?) +: (.*)$", part.split("END DIMSE MESSAGE")[0]))
        counts = [number(block.get(f"{name} Suboperations", "none")) for name in ("Completed", "Failed", "Warning")]
        status = int(block["DIMSE Status"].split(":")[0], 16)
        found.append(Final(int(block["Message ID Being Responded To"]), status, *counts))
    return found


class Bed:
    """A scripted PACS, a storescp that it may send to, and the tools to ask it with."""

    def __init__(self, pacs: ScriptedPacs, sink: StorescpSink) -> None:
        self.pacs = pacs
        self.sink = sink
        self.scratch = Path()

    def reset(self, scratch: Path) -> None:
        self.pacs.play(archive=ARCHIVE)
        self.scratch = scratch
        self.empty()

    def empty(self) -> None:
        for path in self.sink.files():
            path.unlink()

    def arrived(self) -> list[str]:
        """SOP Instance UIDs of the files that storescp wrote, each as often as it did."""
        return sorted(str(read(path).SOPInstanceUID) for path in self.sink.files())

    def find(self, *queries: dict[str, str], model: str = "-S", wait_s: int = 5) -> Run:
        return self._run("findscu", [model, "-X", "-od"], queries, wait_s)

    def move(
        self,
        *queries: dict[str, str],
        to: str = "SINK",
        model: str = "-S",
        wait_s: int = 5,
        options: tuple[str, ...] = (),
        port: int = 0,
    ) -> Run:
        return self._run("movescu", [model, "-aem", to, *options], queries, wait_s, port)

    def _run(
        self, tool: str, options: list[str], queries: tuple[dict[str, str], ...], wait_s: int, port: int = 0
    ) -> Run:
        folder = self.scratch / f"run-{len(list(self.scratch.iterdir()))}"
        folder.mkdir()
        files = [write_query(folder / f"query-{n}.dcm", query) for n, query in enumerate(queries)]
        if tool == "findscu":
            options = [*options, str(folder)]
        began = time.monotonic()
        run = run_tool(
            tool, "-d", "-to", "2", "-ta", "2", "-td", str(wait_s), *options,
            "-aec", self.pacs.aet, HOST, str(port or self.pacs.port), *map(str, files),
        )  # fmt: skip
        seconds = time.monotonic() - began
        answers = [read(path) for path in sorted(folder.glob("rsp*.dcm"))]
        pending = run.stderr.count(": 0xff00: ")
        return Run(run.returncode, finals_of(run.stderr), pending, answers, run.stderr, seconds)


A_ABORT = bytes((7, 0, 0, 0, 0, 4, 0, 0, 0, 0))
"""By the service user (PS3.8 9.3.8)."""


@contextmanager
def tap(port: int) -> Iterator[tuple[int, bytearray]]:
    """A port that leads one connection to another port, and what came back from there."""
    said = bytearray()

    def lead(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, socket.create_connection((HOST, port)) as server:
            while True:
                for end in select.select([client, server], [], [], 10)[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    (server if end is client else client).sendall(data)
                    if end is server:
                        said.extend(data)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=lead, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1], said
        thread.join(10)


def write_query(path: Path, keys: dict[str, str]) -> Path:
    dataset = Dataset()
    for keyword, value in keys.items():
        setattr(dataset, keyword, value.split("\\") if "\\" in value else value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, dataset, implicit_vr=False, little_endian=True)
    return path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    sink = StorescpSink(tmp_path_factory.mktemp("sink"), Destination("SINK", free_port()))
    known = {"SINK": (HOST, sink.port), "DEAD": (HOST, free_port())}
    try:
        with ScriptedPacs(free_port(), "SCRIPTED", known, ARCHIVE) as pacs:
            yield Bed(pacs, sink)
    finally:
        sink.stop()


@pytest.fixture
def bed(running: Bed, tmp_path: Path) -> Iterator[Bed]:
    running.reset(tmp_path)
    yield running
    running.pacs.play()
    running.pacs.wait_quiet()


def series_query(series: Series = SERIES, **more: str) -> dict[str, str]:
    study = ARCHIVE.study_of(series.SeriesInstanceUID).StudyInstanceUID
    return {
        "QueryRetrieveLevel": "SERIES",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series.SeriesInstanceUID,
        **more,
    }


def image_query(series: Series = SERIES, SOPInstanceUID: str = "") -> dict[str, str]:
    return {**series_query(series), "QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": SOPInstanceUID}


def study_query(**keys: str) -> dict[str, str]:
    return {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", **keys}


# An honest script


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {0, 1, 2, 3}),
        ({"PatientID": "SP-0002"}, {2, 3}),
        ({"PatientID": "SP-000?"}, {0, 1, 2, 3}),
        ({"PatientID": "*1"}, {0, 1}),
        ({"PatientID": "SP*3"}, set()),
        ({"PatientName": "*^test0001"}, {0, 1}),
        ({"AccessionNumber": "acc*"}, set()),
        ({"StudyInstanceUID": "\\".join(ARCHIVE.studies()[n].StudyInstanceUID for n in (0, 3))}, {0, 3}),
        ({"StudyDate": ARCHIVE.studies()[1].StudyDate}, {1}),
        ({"StudyDate": f"{ARCHIVE.studies()[1].StudyDate}-", "PatientID": "SP-0001"}, {1}),
        ({"StudyDate": f"-{ARCHIVE.studies()[0].StudyDate}", "PatientID": "SP-0001"}, {0}),
        (
            {"StudyDate": f"{ARCHIVE.studies()[0].StudyDate}-{ARCHIVE.studies()[1].StudyDate}", "PatientID": "*1"},
            {0, 1},
        ),
        ({"StudyDate": "19000101-19991231"}, set()),
        ({"ModalitiesInStudy": "CT", "PatientID": "SP-0002"}, {2, 3}),
        ({"ModalitiesInStudy": "MR"}, set()),
    ],
)
def test_matching(bed: Bed, keys: dict[str, str], expected: set[int]) -> None:
    run = bed.find({**study_query(), **keys})
    assert run.statuses == [0]
    assert run.values("StudyInstanceUID") == [ARCHIVE.studies()[n].StudyInstanceUID for n in sorted(expected)]


def test_find_at_each_level(bed: Bed) -> None:
    counts = dict.fromkeys(("NumberOfStudyRelatedInstances", "NumberOfStudyRelatedSeries"), "")
    studies = bed.find(study_query(**counts))
    assert studies.values("NumberOfStudyRelatedInstances") == ["12"] * 4
    assert studies.values("NumberOfStudyRelatedSeries") == ["2"] * 4
    series = bed.find(
        series_query(SeriesInstanceUID="", NumberOfSeriesRelatedInstances="", Modality="CT", PatientID="")
    )
    assert series.values("SeriesInstanceUID") == [SERIES.SeriesInstanceUID, OTHER.SeriesInstanceUID]
    assert series.values("NumberOfSeriesRelatedInstances") == ["6", "6"]
    assert series.values("PatientID") == ["SP-0001"] * 2
    assert bed.find(series_query(Modality="MR")).answers == []
    images = bed.find(image_query())
    assert images.values("SOPInstanceUID") == list(UIDS)
    assert bed.find(image_query(SOPInstanceUID="\\".join(UIDS[1:3]))).values("SOPInstanceUID") == list(UIDS[1:3])
    asked = bed.pacs.wait_quiet().asked("C-FIND")
    assert [(one.level, one.done, one.status) for one in asked] == [
        ("STUDY", 4, 0), ("SERIES", 2, 0), ("SERIES", 0, 0), ("IMAGE", 6, 0), ("IMAGE", 2, 0),
    ]  # fmt: skip
    assert asked[4].keys["SOPInstanceUID"] == "\\".join(UIDS[1:3])
    assert asked[4].keys["StudyInstanceUID"] == STUDY.StudyInstanceUID


def test_patient_root(bed: Bed) -> None:
    patients = bed.find({"QueryRetrieveLevel": "PATIENT", "PatientID": "", "PatientName": "*"}, model="-P")
    assert patients.values("PatientID") == ["SP-0001", "SP-0002"]
    assert bed.find(study_query(PatientID="SP-0001"), model="-P").values("StudyDate") == ["absent"] * 2
    assert bed.move({"QueryRetrieveLevel": "PATIENT", "PatientID": "SP-0002"}, model="-P").statuses == [0]
    assert len(bed.arrived()) == 24
    assert {one.model for one in bed.pacs.journal().asked()} == {"patient"}


@pytest.mark.parametrize(
    ("query", "model"),
    [
        ({"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": SERIES.SeriesInstanceUID}, "-S"),
        ({**image_query(), "SeriesInstanceUID": ""}, "-S"),
        ({"QueryRetrieveLevel": "PATIENT", "PatientID": "SP-0001"}, "-S"),
        ({"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": STUDY.StudyInstanceUID}, "-P"),
        ({"QueryRetrieveLevel": "FRAME", "StudyInstanceUID": STUDY.StudyInstanceUID}, "-S"),
    ],
)
def test_hierarchy_is_insisted_on(bed: Bed, query: dict[str, str], model: str) -> None:
    assert bed.find(query, model=model).statuses == [0xA900]
    assert bed.move(query, model=model).statuses == [0xA900]
    assert bed.arrived() == []


def test_move_at_each_level(bed: Bed) -> None:
    for query, expected in (
        (study_query(StudyInstanceUID=STUDY.StudyInstanceUID), [*UIDS, *OTHER.uids]),
        (series_query(OTHER), list(OTHER.uids)),
        (
            series_query(SeriesInstanceUID=f"{SERIES.SeriesInstanceUID}\\{OTHER.SeriesInstanceUID}"),
            [*UIDS, *OTHER.uids],
        ),
        (image_query(SOPInstanceUID=UIDS[4]), [UIDS[4]]),
        (image_query(SOPInstanceUID="\\".join(UIDS[2:5])), list(UIDS[2:5])),
        (series_query(SeriesInstanceUID="1.2.3"), []),
    ):
        bed.empty()
        bed.pacs.forget()
        run = bed.move(query)
        assert run.finals == [Final(1, 0, len(expected), 0, 0)]
        assert run.pending == len(expected)
        assert bed.arrived() == sorted(expected)
        assert bed.pacs.journal().stored() == expected


def test_images_are_real_and_always_the_same(bed: Bed) -> None:
    assert bed.move(series_query(), series_query()).statuses == [0, 0]
    files = sorted(bed.sink.files(), key=lambda path: int(read(path).InstanceNumber))
    entries = [entry for entry in ARCHIVE.entries("IMAGE") if entry.series == SERIES]
    assert len(files) == 12
    for position, entry in enumerate(entries):
        dataset = read(files[2 * position], pixels=True)
        assert dataset == image(entry)
        assert dataset.Rows * dataset.Columns * 2 == len(dataset.PixelData) == 512
        assert dataset_bytes(files[2 * position]) == dataset_bytes(files[2 * position + 1])
        assert dataset_bytes(files[2 * position])[0] == ExplicitVRLittleEndian
    assert run_tool("dcmftest", *map(str, files)).returncode == 0
    assert len({read(path, pixels=True).PixelData for path in files}) == 6


def test_destinations(bed: Bed) -> None:
    assert bed.move(series_query(), to="NOBODY").finals == [Final(1, 0xA801, None, None, None)]
    assert bed.move(series_query(), to="DEAD").finals == [Final(1, 0xA702, 0, 6, 0)]
    journal = bed.pacs.journal()
    assert [one.destination for one in journal.asked("C-MOVE")] == ["NOBODY", "DEAD"]
    assert [one.outcome for one in journal.sent()] == ["failed"] * 6
    known = bed.pacs.destinations
    bed.pacs.send_to({"NOBODY": known["SINK"]})
    assert bed.move(series_query(), to="NOBODY").statuses == [0]
    bed.pacs.send_to(known)
    assert bed.arrived() == sorted(UIDS)


def test_failed_store_is_told(bed: Bed, tmp_path: Path) -> None:
    sink = StorescpSink(tmp_path / "refusing", Destination("REFUSES", free_port()), ["--refuse"])
    try:
        known = bed.pacs.destinations
        bed.pacs.send_to({"REFUSES": (HOST, sink.port)})
        assert bed.move(series_query(), to="REFUSES").finals == [Final(1, 0xA702, 0, 6, 0)]
        bed.pacs.send_to(known)
    finally:
        sink.stop()


def test_journal_names_who_asked(bed: Bed) -> None:
    run = run_tool("echoscu", "-aet", "ASKER", "-aec", "WHOEVER", HOST, str(bed.pacs.port))
    assert run.returncode == 0
    journal = bed.pacs.wait_quiet()
    assert [(one.calling, one.called, one.ending) for one in journal.associations()] == [
        ("ASKER", "WHOEVER", "released")
    ]
    assert [one.command for one in journal.asked()] == ["C-ECHO"]
    bed.pacs.forget()
    assert bed.pacs.journal() == Journal(())


def test_connection_without_association_is_no_association(bed: Bed) -> None:
    bed.pacs.play(Script(reject_first=1))
    assert listens(bed.pacs.port)
    assert bed.find(study_query()).returncode == 2
    assert bed.find(study_query()).statuses == [0]
    assert [one.ending for one in bed.pacs.wait_quiet().associations()] == ["rejected", "released"]


def test_cancel_is_heeded(bed: Bed) -> None:
    bed.pacs.play(Script(store_delay_s=0.2))
    run = bed.move(series_query(), options=("--cancel", "1"))
    assert run.statuses == [0xFE00]
    assert [one.ending for one in bed.pacs.wait_quiet().asked()] == ["cancelled"]
    assert 1 <= len(bed.arrived()) < 6


def test_peer_that_goes_away_is_noticed(bed: Bed) -> None:
    bed.pacs.play(Script(store_delay_s=0.2))
    query = write_query(bed.scratch / "query.dcm", series_query())
    argv = ["movescu", "-S", "-aem", "SINK", HOST, str(bed.pacs.port), str(query)]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as client:
        wait_until(lambda: bed.pacs.journal().stored(), "the first image has arrived")
        client.kill()
    journal = bed.pacs.wait_quiet()
    assert [one.ending for one in journal.asked()] == ["lost"]
    assert [one.ending for one in journal.associations()] == ["lost"]
    assert 1 <= len(bed.arrived()) < 6


# C-FIND


def counts_of(run: Run) -> list[str]:
    return run.values("NumberOfSeriesRelatedInstances")


@pytest.mark.parametrize(
    ("script", "series", "study"),
    [
        (Script(count="absent"), ["absent", "absent"], "absent"),
        (Script(count="empty"), ["", ""], ""),
        (Script(count_error=3), ["9", "9"], "18"),
        (Script(count_error=-2), ["4", "4"], "8"),
        (Script(count_error=-9), ["0", "0"], "0"),
        (Script(count_error=1, counted=(OTHER.SeriesInstanceUID,)), ["6", "7"], "13"),
        (Script(count="absent", counted=(SERIES.SeriesInstanceUID,)), ["absent", "6"], "absent"),
    ],
)
def test_counts(bed: Bed, script: Script, series: list[str], study: str) -> None:
    bed.pacs.play(script)
    run = bed.find(series_query(SeriesInstanceUID="", NumberOfSeriesRelatedInstances=""))
    assert counts_of(run) == series
    keys = study_query(StudyInstanceUID=STUDY.StudyInstanceUID, NumberOfStudyRelatedInstances="")
    assert bed.find(keys).values("NumberOfStudyRelatedInstances") == [study]
    assert bed.move(series_query()).finals == [Final(1, 0, 6, 0, 0)]


def test_unlisted_is_sent_but_not_found(bed: Bed) -> None:
    bed.pacs.play(Script(unlisted=UIDS[:2]))
    assert bed.find(image_query()).values("SOPInstanceUID") == list(UIDS[2:])
    assert bed.move(series_query()).statuses == [0]
    assert bed.arrived() == sorted(UIDS)


@pytest.mark.parametrize(
    ("script", "answers", "status"),
    [
        (Script(find_cap=3), 3, 0),
        (Script(find_cap=3, find_cap_status=0xA700), 3, 0xA700),
        (Script(find_cap=3, find_cap_status=0xA700, find_cap_instead=True), 0, 0xA700),
        (Script(find_cap=3, find_cap_status=0xA700, find_cap_levels=("STUDY", "SERIES")), 6, 0),
        (Script(find_cap=6, find_cap_status=0xA700), 6, 0),
        (Script(find_cap=5, find_cap_status=0xC000), 5, 0xC000),
    ],
)
def test_capped_answers(bed: Bed, script: Script, answers: int, status: int) -> None:
    bed.pacs.play(script)
    run = bed.find(image_query())
    assert (len(run.answers), run.statuses) == (answers, [status])
    assert run.values("SOPInstanceUID") == list(UIDS[:answers])


def test_cap_of_one_level_only(bed: Bed) -> None:
    bed.pacs.play(Script(find_cap=2, find_cap_levels=("STUDY",)))
    assert [len(bed.find(query).answers) for query in (study_query(), image_query())] == [2, 6]


def test_slow_answers(bed: Bed) -> None:
    fast = bed.find(image_query())
    bed.pacs.play(Script(answer_delay_s=0.1))
    slow = bed.find(image_query())
    assert slow.values("SOPInstanceUID") == fast.values("SOPInstanceUID")
    assert slow.seconds >= 0.7
    assert slow.seconds > fast.seconds + 0.3


# C-MOVE


@pytest.mark.parametrize(
    ("told", "final"),
    [
        ("completed", Final(1, 0, 6, 0, 0)),
        ("failed", Final(1, 0xB000, 4, 2, 0)),
        ("uncounted", Final(1, 0, 4, 0, 0)),
    ],
)
def test_dropped(bed: Bed, told: Any, final: Final) -> None:
    bed.pacs.play(Script(drops=(Drop((UIDS[1], UIDS[4]), told),)))
    for _ in range(2):
        bed.empty()
        run = bed.move(series_query(), series_query(OTHER))
        assert run.finals == [final, Final(2, 0, 6, 0, 0)]
        assert bed.arrived() == sorted({*UIDS, *OTHER.uids} - {UIDS[1], UIDS[4]})
    assert run.returncode == (68 if told == "failed" else 0)
    assert [one.SOPInstanceUID for one in bed.pacs.journal().sent("dropped")] == [UIDS[1], UIDS[4]] * 2


def test_all_failed(bed: Bed) -> None:
    bed.pacs.play(Script(drops=(Drop(UIDS, "failed"),)))
    assert bed.move(series_query()).finals == [Final(1, 0xA702, 0, 6, 0)]


def test_dropped_so_many_times(bed: Bed) -> None:
    bed.pacs.play(Script(drops=(Drop((UIDS[0],), times=2), Drop((UIDS[1],), "failed", times=1))))
    assert bed.move(series_query()).finals == [Final(1, 0xB000, 5, 1, 0)]
    assert bed.arrived() == sorted(UIDS[2:])
    bed.empty()
    assert bed.move(image_query(SOPInstanceUID="\\".join(UIDS[:2]))).finals == [Final(1, 0, 2, 0, 0)]
    assert bed.arrived() == [UIDS[1]]
    assert bed.move(image_query(SOPInstanceUID=UIDS[0])).statuses == [0]
    assert bed.arrived() == sorted(UIDS[:2])
    bed.pacs.play(bed.pacs.script)
    bed.empty()
    assert bed.move(image_query(SOPInstanceUID=UIDS[0])).statuses == [0]
    assert bed.arrived() == [], "another play begins at the start"


def test_duplicates(bed: Bed) -> None:
    bed.pacs.play(Script(duplicates=(Duplicate(UIDS[0]), Duplicate(UIDS[3], other_content=True))))
    assert bed.move(series_query()).finals == [Final(1, 0, 8, 0, 0)]
    assert bed.arrived() == sorted([*UIDS, UIDS[0], UIDS[3]])
    contents: dict[str, set[bytes]] = {}
    for path in bed.sink.files():
        contents.setdefault(str(read(path).SOPInstanceUID), set()).add(dataset_bytes(path)[1])
    assert {uid for uid, found in contents.items() if len(found) == 2} == {UIDS[3]}
    assert [one.SOPInstanceUID for one in bed.pacs.journal().sent() if one.other_content] == [UIDS[3]]


def test_warned(bed: Bed) -> None:
    bed.pacs.play(Script(warned=UIDS[:2]))
    run = bed.move(series_query())
    assert (run.returncode, run.finals) == (68, [Final(1, 0xB000, 4, 0, 2)])
    assert bed.arrived() == sorted(UIDS)


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xA702, 0xC001])
def test_final_status(bed: Bed, status: int) -> None:
    bed.pacs.play(Script(final_status=status, drops=(Drop(UIDS[:1], "failed"),)))
    assert bed.move(series_query()).finals == [Final(1, status, 5, 1, 0)]
    assert bed.arrived() == sorted(UIDS[1:])


def test_early_success(bed: Bed) -> None:
    bed.pacs.play(Script(early_success=True, store_delay_s=0.25, drops=(Drop(UIDS[:1]),)))
    run = bed.move(series_query())
    assert run.finals == [Final(1, 0, 6, 0, 0)]
    assert len(bed.arrived()) < 5
    assert len(bed.pacs.wait_quiet().stored()) == 5
    assert bed.arrived() == sorted(UIDS[1:])


def test_early_success_ends_with_the_script(bed: Bed) -> None:
    bed.pacs.play(Script(early_success=True, store_delay_s=30))
    assert bed.move(series_query()).statuses == [0]
    bed.pacs.play()
    assert bed.pacs.wait_quiet(timeout=5).sent() == []


def test_counts_of_suboperations_are_kept_back(bed: Bed) -> None:
    bed.pacs.play(Script(omit_counts=True))
    run = bed.move(series_query())
    assert run.finals == [Final(1, 0, None, None, None)]
    assert run.pending == 6
    assert re.search(r"(Remaining|Completed|Failed|Warning) Suboperations +: \d", run.log) is None


def test_no_pending_responses(bed: Bed) -> None:
    bed.pacs.play(Script(pending=False))
    run = bed.move(series_query())
    assert (run.finals, run.pending) == ([Final(1, 0, 6, 0, 0)], 0)
    assert bed.arrived() == sorted(UIDS)


def test_slow_suboperations(bed: Bed) -> None:
    bed.pacs.play(Script(store_delay_s=0.15))
    run = bed.move(series_query())
    assert run.finals == [Final(1, 0, 6, 0, 0)]
    assert run.seconds >= 0.9


# Requests that go wrong


@pytest.mark.parametrize("status", [0xA900, 0x0122, 0xC000])
@pytest.mark.parametrize("command", ["C-FIND", "C-MOVE", ""])
def test_refused_level(bed: Bed, status: int, command: str) -> None:
    bed.pacs.play(Script(faults=(Fault("status", command, "IMAGE", status=status),)))
    assert bed.find(series_query()).statuses == [0]
    found = bed.find(image_query())
    assert (found.statuses, len(found.answers)) == (([0], 6) if command == "C-MOVE" else ([status], 0))
    moved = bed.move(image_query(SOPInstanceUID=UIDS[0]))
    assert moved.finals == [Final(1, 0, 1, 0, 0) if command == "C-FIND" else Final(1, status, None, None, None)]
    assert bed.move(series_query(OTHER)).statuses == [0]
    assert bed.arrived() == sorted([*OTHER.uids, *(UIDS[:1] if command == "C-FIND" else ())])


def test_one_request_fails(bed: Bed) -> None:
    bed.pacs.play(Script(faults=(Fault("status", "C-MOVE", request=2, status=0xC001),)))
    assert bed.move(series_query(), series_query(OTHER), series_query()).statuses == [0, 0xC001, 0]
    assert set(bed.arrived()) == set(UIDS)
    assert bed.find(series_query(), series_query()).statuses == [0, 0]


def test_resources_come_back(bed: Bed) -> None:
    bed.pacs.play(Script(faults=(Fault("status", "C-MOVE", status=0xA702, times=2),)))
    assert [bed.move(series_query()).statuses for _ in range(3)] == [[0xA702], [0xA702], [0]]
    assert bed.arrived() == sorted(UIDS)


def test_failure_after_some(bed: Bed) -> None:
    bed.pacs.play(Script(faults=(Fault("status", after=4, status=0xA701),)))
    assert bed.move(series_query()).finals == [Final(1, 0xA701, None, None, None)]
    assert bed.arrived() == sorted(UIDS[:4])
    run = bed.find(image_query())
    assert (run.statuses, run.values("SOPInstanceUID")) == ([0xA701], list(UIDS[:4]))
    assert bed.move(image_query(SOPInstanceUID=UIDS[5])).statuses == [0], "a request with fewer is spared"


def test_fault_of_one_series(bed: Bed) -> None:
    bed.pacs.play(Script(faults=(Fault("status", series=(OTHER.SeriesInstanceUID,), status=0xC000),)))
    assert bed.move(series_query(), series_query(OTHER)).statuses == [0, 0xC000]
    assert bed.find(image_query(), image_query(OTHER)).statuses == [0, 0xC000]
    assert bed.move(study_query(StudyInstanceUID=STUDY.StudyInstanceUID)).statuses == [0xC000]


@pytest.mark.parametrize("what", ["abort", "close"])
def test_association_ends_in_mid_series(bed: Bed, what: Any) -> None:
    bed.pacs.play(Script(faults=(Fault(what, "C-MOVE", after=3, times=1),)))
    with tap(bed.pacs.port) as (port, said):
        run = bed.move(series_query(), series_query(OTHER), port=port)
    assert (run.returncode, run.finals, run.pending) == (0, [], 3)
    assert said.endswith(A_ABORT) == (what == "abort")
    assert bed.arrived() == sorted(UIDS[:3])
    ending = {"abort": "aborted", "close": "closed"}[what]
    journal = bed.pacs.wait_quiet()
    assert [one.ending for one in journal.associations()] == [ending]
    assert [(one.ending, one.done, one.status) for one in journal.asked()] == [(ending, 3, None)]
    assert bed.move(series_query()).statuses == [0]


@pytest.mark.parametrize("what", ["abort", "close"])
def test_association_ends_between_answers(bed: Bed, what: Any) -> None:
    bed.pacs.play(Script(faults=(Fault(what, "C-FIND", "IMAGE", after=2),)))
    run = bed.find(series_query(), image_query())
    assert (run.statuses, len(run.answers)) == ([0], 3)


@pytest.mark.parametrize(("command", "after"), [("C-FIND", 0), ("C-MOVE", 0), ("C-MOVE", 6)])
def test_association_ends_at_a_request(bed: Bed, command: str, after: int) -> None:
    bed.pacs.play(Script(faults=(Fault("abort", command, request=3, after=after),)))
    ask = bed.find if command == "C-FIND" else bed.move
    assert ask(*[series_query()] * 4).statuses == [0, 0]
    assert [one.request for one in bed.pacs.wait_quiet().asked()] == [1, 2, 3]
    assert len(bed.arrived()) == (0 if command == "C-FIND" else 12 + after)


@pytest.mark.parametrize("status", [None, 0xC000, 0xA700])
def test_one_request_an_association(bed: Bed, status: int | None) -> None:
    bed.pacs.play(Script(most_requests=1, most_requests_status=status))
    expected = [0] if status is None else [0, status, status]
    assert bed.move(*[series_query()] * 3).statuses == expected
    assert bed.find(*[series_query()] * 3).statuses == expected
    assert [bed.find(series_query()).statuses for _ in range(2)] == [[0], [0]]


# Associations


def test_rejected_at_first(bed: Bed) -> None:
    bed.pacs.play(Script(reject_first=2))
    runs = [bed.move(series_query()) for _ in range(3)]
    assert [run.returncode for run in runs] == [61, 61, 0]
    assert all("Local Limit Exceeded" in run.log and "Rejected Transient" in run.log for run in runs[:2])
    assert bed.arrived() == sorted(UIDS)
    assert [one.ending for one in bed.pacs.wait_quiet().associations()] == ["rejected", "rejected", "released"]


def test_rejected_for_another_reason(bed: Bed) -> None:
    bed.pacs.play(Script(reject_first=ALWAYS, reject_with=(1, 1, 7)))
    for _ in range(3):
        run = bed.find(study_query())
        assert run.returncode == 2
        assert "Called AE Title Not Recognized" in run.log


def test_silent_at_the_association(bed: Bed) -> None:
    bed.pacs.play(Script(silent="association", silent_first=1))
    run = bed.find(study_query())
    assert run.returncode == 2
    assert run.seconds >= 2
    assert bed.find(study_query()).statuses == [0]
    assert [one.ending for one in bed.pacs.wait_quiet().associations()] == ["unanswered", "released"]


def test_silent_at_the_connection(bed: Bed) -> None:
    for _ in range(2):
        bed.pacs.play(Script(silent="connect"))
        run = bed.find(study_query())
        assert run.returncode == 2
        assert run.seconds >= 1.9
        bed.pacs.play()
        assert bed.find(study_query()).statuses == [0]
    assert "unanswered" not in {one.ending for one in bed.pacs.journal().associations()}


def test_silent_from_the_start(scripted_pacs: Callable[..., ScriptedPacs]) -> None:
    pacs = scripted_pacs(ARCHIVE, Script(silent="connect"))
    assert not listens(pacs.port)
    pacs.play()
    assert listens(pacs.port)


@pytest.mark.parametrize(("command", "after"), [("C-FIND", 0), ("C-FIND", 1), ("C-MOVE", 0), ("C-MOVE", 3)])
def test_silent_in_a_request(bed: Bed, command: str, after: int) -> None:
    bed.pacs.play(Script(faults=(Fault("silence", command, after=after, request=2),)))
    ask = bed.find if command == "C-FIND" else bed.move
    query = image_query() if command == "C-FIND" else series_query()
    run = ask(query, query, wait_s=1)
    assert (run.returncode, run.statuses) == (0, [0])
    assert run.seconds >= 1
    assert run.pending == 6 + after
    assert [one.ending for one in bed.pacs.wait_quiet().asked()] == ["answered", "silent"]
    assert len(bed.arrived()) == (0 if command == "C-FIND" else 6 + after)


def test_another_script_ends_the_silence(bed: Bed) -> None:
    bed.pacs.play(Script(faults=(Fault("silence", "C-FIND"),)))
    runs: list[Run] = []
    waiting = threading.Thread(target=lambda: runs.append(bed.find(study_query(), wait_s=30)))
    waiting.start()
    wait_until(lambda: [one for one in bed.pacs.journal().asked() if one.ending == "silent"], "the PACS was asked")
    bed.pacs.play()
    waiting.join(10)
    assert runs
    assert runs[0].finals == []
    assert runs[0].seconds < 10


# The process


def test_stops_and_starts_again_on_its_port(scripted_pacs: Callable[..., ScriptedPacs], tmp_path: Path) -> None:
    sink = StorescpSink(tmp_path, Destination("SINK", free_port()))
    try:
        pacs = scripted_pacs(ARCHIVE, Script(reject_first=1), [sink])
        bed = Bed(pacs, sink)
        bed.scratch = tmp_path / "scratch"
        bed.scratch.mkdir()
        for _ in range(2):
            assert bed.find(study_query()).returncode == 2
            assert bed.move(series_query()).statuses == [0]
            pacs.stop()
            assert not listens(pacs.port)
            pacs.start()
            assert pacs.journal() == Journal(())
        assert bed.arrived() == sorted([*UIDS, *UIDS])
    finally:
        sink.stop()


def test_stops_whatever_it_does(scripted_pacs: Callable[..., ScriptedPacs], tmp_path: Path) -> None:
    pacs = scripted_pacs(ARCHIVE, Script(answer_delay_s=60, faults=(Fault("silence", "C-MOVE"),)))
    query = write_query(tmp_path / "query.dcm", study_query())
    options = ["-td", "50", HOST, str(pacs.port), str(query)]
    with subprocess.Popen(["findscu", "-S", *options], stderr=subprocess.DEVNULL) as client:
        wait_until(lambda: pacs.journal().asked("C-FIND"), "the PACS was asked")
        began = time.monotonic()
        pacs.stop()
        client.wait(10)
    assert time.monotonic() - began < 5
    assert not listens(pacs.port)


def test_ends_with_the_process_that_started_it() -> None:
    code = (
        "import os, signal; from scripted_pacs import ScriptedPacs; from support.ports import free_port;"
        "pacs = ScriptedPacs(free_port()).start(); print(pacs.port, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    tests = str(Path(package.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": tests},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    wait_until(lambda: not listens(int(run.stdout)), "the orphan has ended")


def test_port_in_use_is_told() -> None:
    with ScriptedPacs(free_port()) as pacs, pytest.raises(AssertionError, match="Address already in use"):
        ScriptedPacs(pacs.port).start()


def test_many_at_once(bed: Bed) -> None:
    runs: list[Run] = []
    queries = [series_query(series) for series in ARCHIVE.series()[:4]]
    folders = [bed.scratch / str(n) for n in range(4)]

    def ask(folder: Path, query: dict[str, str]) -> None:
        folder.mkdir()
        own = Bed(bed.pacs, bed.sink)
        own.scratch = folder
        runs.append(own.move(query, wait_s=20))

    threads = [threading.Thread(target=ask, args=pair) for pair in zip(folders, queries, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run.finals for run in runs] == [[Final(1, 0, 6, 0, 0)]] * 4
    assert bed.arrived() == sorted(uid for series in ARCHIVE.series()[:4] for uid in series.uids)


def test_never_meets_the_package_under_test() -> None:
    places = [Path(__file__), *Path(package.__file__).parent.glob("*.py")]
    assert len(places) > 8
    for path in places:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "pypx"], path


# Records and cases


def test_records_survive_their_journey() -> None:
    for seed in range(50):
        case = draw_case(random.Random(seed))
        assert from_plain(Script, asdict(case.script)) == case.script
        assert from_plain(Archive, asdict(case.archive)) == case.archive


def test_contradictions_are_refused() -> None:
    for bad in (
        {"drops": (Drop(("1",)), Drop(("1",)))},
        {"drops": (Drop(("1",)),), "warned": ("1",)},
        {"drops": (Drop(("1",)),), "duplicates": (Duplicate("1"),)},
        {"find_cap": 1, "find_cap_instead": True},
    ):
        with pytest.raises(ValueError):
            Script(**bad)


def test_archive_is_made_by_seed() -> None:
    assert make_archive(7, instances=(1, 9)) == make_archive(7, instances=(1, 9))
    assert make_archive(7) != make_archive(8)
    big = make_archive(1, patients=3, studies=4, series=5, instances=6)
    assert (len(big.patients), len(big.studies()), len(big.series()), len(big.instances())) == (3, 12, 60, 360)
    uids = {*(s.StudyInstanceUID for s in big.studies()), *(s.SeriesInstanceUID for s in big.series())}
    uids |= {one.SOPInstanceUID for one in big.instances()}
    assert len(uids) == 432
    assert all(re.fullmatch(r"2\.25\.[1-9]\d{10,58}", uid) for uid in uids)
    with pytest.raises(KeyError):
        big.study_of("1.2.3")


def test_cases_are_drawn_by_seed_and_of_every_kind() -> None:
    drawn = [draw_case(random.Random(seed)) for seed in range(300)]
    assert drawn == [draw_case(random.Random(seed)) for seed in range(300)]
    honest = Script()
    for one in fields(Script):
        changed = [case for case in drawn if getattr(case.script, one.name) != getattr(honest, one.name)]
        never = one.name in {"counted", "unlisted", "answer_delay_s", "most_requests_status", "reject_with", "silent", "silent_first", "most_associations", "beyond"}  # fmt: skip
        assert bool(changed) != never, f"{one.name}: {len(changed)} of 300 cases"
    truths = [truth for case in drawn for truth in case.truths]
    assert sum(case.script == honest for case in drawn) >= 20
    assert sum(bool(truth.never) for truth in truths) >= 30
    assert sum(bool(truth.hindered) for truth in truths) >= 30
    assert sum(truth.arriving[0] < truth.ever for truth in truths) >= 30
    assert sum(truth.listed is None for truth in truths) >= 30
    assert sum(truth.listed is not None and len(truth.listed) < len(truth.instances) for truth in truths) >= 10
    assert sum(bool(truth.conflicting) for truth in truths) >= 10
    assert not any(draw_case(random.Random(seed), rejecting=False).script.reject_first for seed in range(300))


@pytest.mark.parametrize("seed", range(CASES))
def test_truth_of_a_case(bed: Bed, seed: int) -> None:
    """What `draw_case` calls true comes true when DCMTK asks: lists, counts, first arrivals and all that follow."""
    case = draw_case(random.Random(f"truth {seed}"))
    bed.pacs.play(case.script, case.archive)
    for truth in case.truths:
        unique = {"StudyInstanceUID": truth.StudyInstanceUID, "SeriesInstanceUID": truth.SeriesInstanceUID}
        counted = ask(bed.find, {"QueryRetrieveLevel": "SERIES", **unique, "NumberOfSeriesRelatedInstances": ""}, case)
        assert counts_of(counted) == ["absent" if truth.claimed is None else str(truth.claimed)], case
        listing = ask(bed.find, {"QueryRetrieveLevel": "IMAGE", **unique, "SOPInstanceUID": ""}, case)
        assert listing.statuses == [truth.list_status], case
        assert listing.values("SOPInstanceUID") == list(truth.listed or ()), case
        seen: set[str] = set()
        for attempt in range(1, 4 + truth.hindered):
            bed.empty()
            ask(bed.move, {"QueryRetrieveLevel": "SERIES", **unique}, case)
            bed.pacs.wait_quiet()
            now = bed.arrived()
            seen |= set(now)
            if attempt == 1:
                assert seen == truth.first, case
            if not truth.hindered:
                assert seen == truth.arriving[min(attempt, 3) - 1], case
        assert seen == truth.ever == set(truth.instances) - truth.never, case
        assert {uid for uid in now if now.count(uid) == 2} == truth.copied | truth.conflicting, case
        contents = {
            uid: {dataset_bytes(p)[1] for p in bed.sink.files() if read(p).SOPInstanceUID == uid} for uid in seen
        }
        assert {uid for uid, found in contents.items() if len(found) == 2} == truth.conflicting, case


def ask(tool: Callable[..., Run], query: dict[str, str], case: Case) -> Run:
    """Once more after each rejection that the script has in store."""
    for _ in range(case.script.reject_first):
        run = tool(query)
        if run.returncode not in (2, 61):
            return run
    return tool(query)
