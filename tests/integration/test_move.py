"""px's retrieve against Orthanc, dcmqrscp and scripted peers; what arrived is counted at the destination."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import PeerFailedError, PeerRejectedError, PeerUnreachableError
from pypx.model.identifiers import UID, AETitle
from pypx.model.keywords import QueryModel
from pypx.model.outcomes import MoveOutcome, MoveState, SubOperations
from pypx.model.peers import PacsNode
from pypx.model.records import ImageRecord, Instance, SeriesRef
from pypx.services.dcmtk import Limits
from pypx.workflows.move import parse_delay, retrieve
from pypx.workflows.waiting import wait_for_images
from support.corpus import Corpus
from support.dicom import dataset_bytes
from support.ports import wait_until
from support.scripted import VERIFICATION, ScriptedPacs, ct_image, destination, scripted_pacs
from support.servers import Dcmqrscp, Destination, Orthanc, Pacs, StorescpSink
from support.silent import mute_peer

LIMITS = Limits(connect_s=3, acse_s=3, dimse_s=20)
Start = Callable[..., StorescpSink]


@pytest.fixture(autouse=True)
def _leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Request files are gone after each retrieve."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield
    assert list(scratch.iterdir()) == []


@pytest.fixture(params=["orthanc", "dcmqrscp"])
def pacs(request: pytest.FixtureRequest) -> Orthanc | Dcmqrscp:
    server: Orthanc | Dcmqrscp = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def sink(pacs: Orthanc | Dcmqrscp, storescp_sink: Start, free_port: Callable[[], int]) -> Iterator[StorescpSink]:
    """A storescp that the archive knows as move destination."""
    if isinstance(pacs, Dcmqrscp):
        yield storescp_sink(pacs.destinations[0])
        return
    place = Destination("MOVESINK", free_port())
    pacs.knows(place.aet, place.port)
    try:
        yield storescp_sink(place)
    finally:
        pacs.forgets(place.aet)


def node(peer: Pacs | ScriptedPacs, to: str = "PX") -> PacsNode:
    return PacsNode(peer.host, peer.port, AETitle(peer.aet), AETitle("PX"), AETitle(to))


def refs(corpus: Corpus, *kinds: str) -> list[SeriesRef]:
    files = corpus.of_kind(*kinds)
    counts: dict[tuple[str, str, str], int] = {}
    for file in files:
        key = (file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID)
        counts[key] = counts.get(key, 0) + 1
    return [
        SeriesRef(UID(study), UID(series), count, PatientID=patient)
        for (study, series, patient), count in counts.items()
    ]


@pytest.mark.parametrize("model", list(QueryModel))
def test_series_arrive_and_are_counted(
    pacs: Orthanc | Dcmqrscp, sink: StorescpSink, corpus: Corpus, model: QueryModel
) -> None:
    wanted = refs(corpus, "ct", "mr", "twin")
    outcomes = list(retrieve(wanted, node(pacs, sink.aet), model=model, limits=LIMITS))
    assert [outcome.series for outcome in outcomes] == wanted
    for outcome in outcomes:
        assert (outcome.state, outcome.status, outcome.error) == (MoveState.SUCCESS, 0, None)
        assert outcome.counts.completed == outcome.series.NumberOfSeriesRelatedInstances
        assert not outcome.counts.failed
    sent = {file.SOPInstanceUID: file.path for file in corpus.of_kind("ct", "mr", "twin")}
    wait_until(lambda: len(sink.files()) == len(sent), "everything arrived")
    arrived = sink.instances()
    assert arrived.keys() == sent.keys()
    if isinstance(pacs, Orthanc):
        assert all(dataset_bytes(arrived[uid])[1] == dataset_bytes(path)[1] for uid, path in sent.items())


def test_all_requests_share_one_association(orthanc: Orthanc, storescp_sink: Start, corpus: Corpus) -> None:
    place = storescp_sink()
    orthanc.knows(place.aet, place.port)
    try:
        before = orthanc.log().count("Association Received from AET PX")
        outcomes = list(retrieve(refs(corpus, "ct", "twin"), node(orthanc, place.aet), limits=LIMITS))
        assert len(outcomes) == 4
        assert all(outcome.ok for outcome in outcomes)
        wait_until(lambda: orthanc.log().count("Association Received from AET PX") > before, "Orthanc's log is written")
        assert orthanc.log().count("Association Received from AET PX") == before + 1
    finally:
        orthanc.forgets(place.aet)


def test_unknown_destination(pacs: Orthanc | Dcmqrscp, corpus: Corpus) -> None:
    outcomes = list(retrieve(refs(corpus, "twin"), node(pacs, "NOWHERE"), limits=LIMITS))
    assert [outcome.state for outcome in outcomes] == [MoveState.FAILED] * 2
    text = str(outcomes[0].error)
    if isinstance(pacs, Orthanc):
        assert outcomes[0].status == 0xC000
        assert all(cause in text for cause in ("as destination", "reach our listener", "have the series"))
    else:
        assert outcomes[0].status == 0xA801
        assert "does not know our AE title as destination: ask its administrator" in text


def test_a_series_the_archive_does_not_have(pacs: Orthanc | Dcmqrscp, sink: StorescpSink, corpus: Corpus) -> None:
    good = refs(corpus, "sr")[0]
    absent = SeriesRef(UID("1.2.3"), UID("1.2.3.4"))
    first, second, third = retrieve([good, absent, good], node(pacs, sink.aet), limits=LIMITS)
    assert first.ok
    assert third.ok
    assert not second.ok
    assert second.error
    assert not second.counts.completed


def test_a_dead_destination(orthanc: Orthanc, corpus: Corpus, free_port: Callable[[], int]) -> None:
    orthanc.knows("DEAD", free_port())
    try:
        (outcome,) = retrieve(refs(corpus, "sr"), node(orthanc, "DEAD"), limits=LIMITS)
    finally:
        orthanc.forgets("DEAD")
    assert outcome.state is MoveState.FAILED


def test_nothing_to_ask_for(orthanc: Orthanc) -> None:
    assert list(retrieve([], node(orthanc), limits=LIMITS)) == []


def test_no_association_is_an_error_before_the_first_outcome(
    pacs: Orthanc | Dcmqrscp, corpus: Corpus, free_port: Callable[[], int]
) -> None:
    wrong = PacsNode(pacs.host, pacs.port, AETitle("WRONG"), AETitle("PX"), AETitle("PX"))
    with pytest.raises(PeerRejectedError, match="Called AE Title Not Recognized"):
        list(retrieve(refs(corpus, "sr"), wrong, limits=LIMITS))
    nobody = PacsNode(pacs.host, free_port(), AETitle("X"), AETitle("PX"), AETitle("PX"))
    with pytest.raises(PeerUnreachableError, match="Connection refused"):
        list(retrieve(refs(corpus, "sr"), nobody, limits=LIMITS))
    with mute_peer() as port:
        silent = PacsNode(pacs.host, port, AETitle("X"), AETitle("PX"), AETitle("PX"))
        with pytest.raises(PeerUnreachableError, match="does not answer"):
            list(retrieve(refs(corpus, "sr"), silent, limits=Limits(2, 1, 2)))
    with scripted_pacs(abstract_syntaxes=(VERIFICATION,)) as peer, pytest.raises(PeerFailedError, match="not offer"):
        list(retrieve(refs(corpus, "sr"), node(peer), limits=LIMITS))


def test_the_request_and_the_answer_are_recorded(
    pacs: Orthanc | Dcmqrscp, sink: StorescpSink, corpus: Corpus, basemount: Path
) -> None:
    database = Database.open_or_create(Layout.of_basemount(basemount))
    known = refs(corpus, "sr")[0]
    unknown = SeriesRef(UID("1.2.3"), UID("1.2.3.4"))
    list(retrieve([known, unknown], node(pacs, sink.aet), database=database, limits=LIMITS))
    fields = database.series_fields(known.SeriesInstanceUID, "retrieve")
    assert fields["NumberOfSeriesRelatedInstances"] == "2"
    assert fields["command"]["status"] == "success"
    assert fields["command"]["returncode"] == 0
    assert fields["command"]["data"] == []
    assert fields["command"]["command"].startswith(f"movescu -S -aem {sink.aet} -aet PX ")
    assert fields["retrieve"] | {"time": ""} == {
        "status": "0x0000", "completed": 2, "failed": 0, "warning": 0, "time": "",
    }  # fmt: skip
    assert fields["retrieve"]["time"].endswith("+00:00")
    fields = database.series_fields(unknown.SeriesInstanceUID, "retrieve")
    assert fields["NumberOfSeriesRelatedInstances"] == ""
    assert fields["retrieve"]["completed"] in (0, None)
    text = json.dumps(fields)
    assert "PID-1001" not in text
    assert "Doe" not in text


def test_a_delay_takes_an_association_for_each_request(corpus: Corpus) -> None:
    times: list[float] = []

    def move(_identifier: Dataset, _event: Any) -> Iterator[Any]:
        times.append(time.monotonic())
        yield None, None

    with scripted_pacs(move=move) as peer:
        delayed = list(retrieve(refs(corpus, "twin", "sr"), node(peer), delay=parse_delay("0.4"), limits=LIMITS))
        assert peer.associations == 3
    assert [outcome.status for outcome in delayed] == [0xA801] * 3
    assert all(later - earlier >= 0.4 for earlier, later in pairwise(times))


# scripted peers

SERIES = [SeriesRef(UID("1.2.3"), UID(f"1.2.3.{number}"), 2) for number in range(1, 5)]
Fault = Callable[[str, Any, int], Iterator[Any]]


class Mover:
    """A PACS that sends two images a series to a sink, with a fault in some requests."""

    def __init__(self, sink: StorescpSink, fault: Fault) -> None:
        self.sink = sink
        self.fault = fault
        self.times: dict[str, int] = {}
        self.gate = threading.Event()

    def __call__(self, identifier: Dataset, event: Any) -> Iterator[Any]:
        assert identifier.QueryRetrieveLevel == "SERIES"
        series = str(identifier.SeriesInstanceUID)
        self.times[series] = self.times.get(series, 0) + 1
        yield destination(self.sink.host, self.sink.port)
        yield 2
        yield 0xFF00, ct_image("1.2.3", series, f"{series}.1")
        yield from self.fault(series, event, self.times[series])
        yield 0xFF00, ct_image("1.2.3", series, f"{series}.2")


def run(sink: StorescpSink, fault: Fault, limits: Limits = LIMITS) -> tuple[list[MoveOutcome], ScriptedPacs, Mover]:
    mover = Mover(sink, fault)
    with scripted_pacs(move=mover) as peer:
        try:
            return list(retrieve(SERIES, node(peer), limits=limits)), peer, mover
        finally:
            mover.gate.set()


def by_series(outcomes: list[MoveOutcome]) -> list[MoveOutcome]:
    return sorted(outcomes, key=lambda outcome: outcome.series.SeriesInstanceUID)


def no_fault(_series: str, _event: Any, _times: int) -> Iterator[Any]:
    yield from ()


def test_one_association_and_nothing_twice(storescp_sink: Start) -> None:
    sink = storescp_sink()
    outcomes, peer, mover = run(sink, no_fault)
    assert [outcome.state for outcome in outcomes] == [MoveState.SUCCESS] * 4
    assert [outcome.counts for outcome in outcomes] == [SubOperations(2, 0, 0, 0)] * 4
    assert peer.associations == 1
    assert set(mover.times.values()) == {1}
    assert [(one.StudyInstanceUID, one.SeriesInstanceUID) for one in peer.asked] == [
        (ref.StudyInstanceUID, ref.SeriesInstanceUID) for ref in SERIES
    ]
    wait_until(lambda: len(sink.files()) == 8, "everything arrived")


def test_what_was_not_answered_is_asked_once_more(storescp_sink: Start) -> None:
    def fault(series: str, event: Any, times: int) -> Iterator[Any]:
        if series == "1.2.3.2" and times == 1:
            event.assoc.abort()
        yield from ()

    outcomes, peer, mover = run(storescp_sink(), fault)
    assert [outcome.series for outcome in outcomes] == SERIES
    assert all(outcome.ok for outcome in outcomes)
    assert mover.times == {"1.2.3.1": 1, "1.2.3.2": 2, "1.2.3.3": 1, "1.2.3.4": 1}
    assert peer.associations >= 2


def test_what_is_aborted_twice_has_no_answer(storescp_sink: Start) -> None:
    def fault(series: str, event: Any, _times: int) -> Iterator[Any]:
        if series == "1.2.3.2":
            event.assoc.abort()
        yield from ()

    outcomes, _, mover = run(storescp_sink(), fault)
    bad = by_series(outcomes)[1]
    assert (bad.state, bad.status) == (MoveState.NO_ANSWER, None)
    assert "aborted the association" in str(bad.error)
    assert mover.times["1.2.3.2"] == 2
    assert sum(outcome.ok for outcome in outcomes) == 3


def test_a_time_out_is_not_asked_again(storescp_sink: Start) -> None:
    sink = storescp_sink()
    gate = threading.Event()

    def fault(series: str, _event: Any, _times: int) -> Iterator[Any]:
        if series == "1.2.3.2":
            gate.wait(20)
        yield from ()

    outcomes, _, mover = run(sink, fault, Limits(2, 2, 1))
    gate.set()
    bad = by_series(outcomes)[1]
    assert bad.state is MoveState.NO_ANSWER
    assert "sent nothing within the time limit" in str(bad.error)
    assert mover.times["1.2.3.2"] == 1
    assert sum(outcome.ok for outcome in outcomes) == 3


def test_failed_sub_operations_are_a_warning(tmp_path: Path, storescp_sink: Start) -> None:
    """B000 with counts; and the same in the clothes of a success is none either."""

    def fault(series: str, _event: Any, _times: int) -> Iterator[Any]:
        if series == "1.2.3.2":
            broken = ct_image("1.2.3", series, f"{series}.9")
            broken.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"  # the destination was not asked for that class
            yield 0xFF00, broken

    outcomes, _, _ = run(storescp_sink(), fault)
    bad = by_series(outcomes)[1]
    assert (bad.state, bad.status) == (MoveState.WARNING, 0xB000)
    assert bad.counts.failed == 1
    assert "1 of" in str(bad.error)
    assert "images failed" in str(bad.error)
    assert sum(outcome.ok for outcome in outcomes) == 3


def test_out_of_resources(storescp_sink: Start) -> None:
    def fault(series: str, _event: Any, _times: int) -> Iterator[Any]:
        if series == "1.2.3.2":
            yield 0xA702, None

    outcomes, peer, _ = run(storescp_sink(), fault)
    bad = by_series(outcomes)[1]
    assert (bad.state, bad.status) == (MoveState.FAILED, 0xA702)
    assert "try again later" in str(bad.error)
    assert sum(outcome.ok for outcome in outcomes) == 3
    assert peer.associations == 1


def test_outcomes_come_one_by_one(storescp_sink: Start) -> None:
    mover = Mover(storescp_sink(), no_fault)
    gate = threading.Event()

    def fault(series: str, _event: Any, _times: int) -> Iterator[Any]:
        if series == "1.2.3.2":
            assert gate.wait(20)
        yield from ()

    mover.fault = fault
    with scripted_pacs(move=mover) as peer:
        outcomes = retrieve(SERIES, node(peer), limits=LIMITS)
        assert next(outcomes).ok
        gate.set()
        assert sum(outcome.ok for outcome in outcomes) == 3


def test_stopping_early_ends_the_program(storescp_sink: Start) -> None:
    gate = threading.Event()

    def fault(series: str, _event: Any, _times: int) -> Iterator[Any]:
        if series == "1.2.3.2":
            gate.wait(20)
        yield from ()

    mover = Mover(storescp_sink(), fault)
    with scripted_pacs(move=mover) as peer:
        outcomes = retrieve(SERIES, node(peer), limits=LIMITS)
        assert next(outcomes).ok
        outcomes.close()  # type: ignore[attr-defined]  # a generator, as its users may know
        gate.set()
    assert "1.2.3.4" not in mover.times


# waiting for the listener


def record(database: Database, ref: SeriesRef, number: int) -> None:
    uid = UID(f"{ref.SeriesInstanceUID}.{number}")
    instance = Instance(ref.StudyInstanceUID, ref.SeriesInstanceUID, uid, "1.2", "1.2.840.10008.1.2.1", {})
    database.add_images([(instance, ImageRecord(uid, f"data/{uid}.dcm", 1, "2026-01-01T00:00:00Z"))])


def test_waiting_ends_when_everything_is_recorded(basemount: Path) -> None:
    database = Database.open_or_create(Layout.of_basemount(basemount))
    outcomes = [
        MoveOutcome(SERIES[0], MoveState.SUCCESS, 0, SubOperations(2, 0, 0, 0)),
        MoveOutcome(SERIES[1], MoveState.WARNING, 0xB000, SubOperations(1, 1, 0, 0)),
        MoveOutcome(SERIES[2], MoveState.FAILED, 0xA801),
        MoveOutcome(SERIES[3], MoveState.SUCCESS, 0),
    ]
    record(database, SERIES[0], 1)
    seen: list[tuple[int, int]] = []

    def progress(received: int, expected: int) -> None:
        seen.append((received, expected))
        if len(seen) == 2:
            record(database, SERIES[0], 2)
            record(database, SERIES[1], 1)
        elif len(seen) == 3:
            record(database, SERIES[3], 1)
            record(database, SERIES[3], 2)

    began = time.monotonic()
    waited = wait_for_images(database, outcomes, 30, progress)
    assert time.monotonic() - began < 15
    assert [outcome.received for outcome in waited] == [2, 1, 0, 2]
    assert seen[0] == (1, 5)
    assert seen[-1] == (5, 5)


def test_waiting_is_bounded_by_silence(basemount: Path) -> None:
    database = Database.open_or_create(Layout.of_basemount(basemount))
    record(database, SERIES[0], 1)
    lost = MoveOutcome(SERIES[0], MoveState.SUCCESS, 0, SubOperations(2, 0, 0, 0))
    began = time.monotonic()
    (waited,) = wait_for_images(database, [lost], 0.5)
    assert 0.5 <= time.monotonic() - began < 5
    assert waited.received == 1
