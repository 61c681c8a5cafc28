"""px's queries against Orthanc, dcmqrscp and scripted peers."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from pypx.errors import PeerFailedError, PeerRejectedError, PeerUnreachableError, PxError
from pypx.model.identifiers import AETitle
from pypx.model.keywords import QueryModel
from pypx.model.outcomes import Completeness, FindResult, StudyFound
from pypx.model.peers import PacsNode
from pypx.services import process
from pypx.services.dcmtk import Limits
from pypx.workflows.find import build_query, find
from support.corpus import NAMES, Corpus
from support.scripted import ScriptedPacs, answer, scripted_pacs
from support.servers import Dcmqrscp, Orthanc, Pacs
from support.silent import mute_peer

LIMITS = Limits(connect_s=3, acse_s=3, dimse_s=10)


@pytest.fixture(params=["orthanc", "dcmqrscp"])
def pacs(request: pytest.FixtureRequest) -> Pacs:
    server: Orthanc | Dcmqrscp = request.getfixturevalue(request.param)
    return server


@pytest.fixture(autouse=True)
def _leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Query and answer files are gone after each find."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield
    assert list(scratch.iterdir()) == []


def node(peer: Pacs | ScriptedPacs) -> PacsNode:
    return PacsNode(peer.host, peer.port, AETitle(peer.aet), AETitle("PX"), AETitle("PX"))


def ask(peer: Pacs | ScriptedPacs, match: dict[str, str], **options: Any) -> FindResult:
    jobs, limits = options.pop("jobs", 1), options.pop("limits", LIMITS)
    return find(build_query(match, **options), node(peer), limits=limits, jobs=jobs)


def uids(result: FindResult) -> set[str]:
    return {series.ref.SeriesInstanceUID for series in result.series}


def held(pacs: Pacs, corpus: Corpus) -> dict[str, dict[str, int]]:
    """Study to series to number of instances, as the archive holds them."""
    assert isinstance(pacs, (Orthanc, Dcmqrscp))
    present = pacs.instances()
    counts: dict[str, dict[str, int]] = {}
    for file in corpus:
        if file.SOPInstanceUID in present:
            series = counts.setdefault(file.StudyInstanceUID, {})
            series[file.SeriesInstanceUID] = series.get(file.SeriesInstanceUID, 0) + 1
    return counts


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("model", list(QueryModel))
def test_everything_there_is(pacs: Pacs, corpus: Corpus, model: QueryModel, jobs: int) -> None:
    expected = held(pacs, corpus)
    if model is QueryModel.PATIENT_ROOT:
        nobody = {file.StudyInstanceUID for file in corpus if not file.PatientID}
        expected = {study: series for study, series in expected.items() if study not in nobody}
    result = ask(pacs, {"PatientID": "*"} if model is QueryModel.PATIENT_ROOT else {}, model=model, jobs=jobs)
    found = {
        study.StudyInstanceUID: {
            one.ref.SeriesInstanceUID: one.ref.NumberOfSeriesRelatedInstances for one in study.series
        }
        for study in result.studies
        if study.StudyInstanceUID in expected
    }
    assert found == expected
    if model is QueryModel.STUDY_ROOT:
        assert {study.StudyInstanceUID for study in result.studies} == expected.keys()
        assert result.complete is Completeness.YES
        assert result.problems == ()


def test_values_are_what_the_archive_holds(pacs: Pacs, corpus: Corpus) -> None:
    (study,) = ask(pacs, {"PatientID": "PID-1001", "StudyDate": "20210317"}).studies
    assert study.value("PatientName") == "Doe^Jane"
    assert study.value("StudyDescription") == "Brain MR"
    (series,) = study.series
    assert (series.value("Modality"), series.value("SeriesNumber")) == ("MR", "3")
    if isinstance(pacs, Orthanc):
        assert series.ref.SeriesDescription == series.value("SeriesDescription") == "T1 SAG [fast]"
    assert series.value("NumberOfSeriesRelatedInstances") == "4"


@pytest.mark.parametrize("charset", NAMES)
def test_every_character_set(pacs: Pacs, corpus: Corpus, charset: str) -> None:
    (file,) = (one for one in corpus.of_kind("charset") if one.charset == charset)
    (study,) = ask(pacs, {"PatientID": file.PatientID}).studies
    name, description = NAMES[charset]
    if isinstance(pacs, Orthanc) and charset == "ISO 2022 IR 13\\ISO 2022 IR 87":
        name = "ﾔﾏﾀﾞ^ﾀﾛｳ=;3ED^B@O:=$d$^$@^$?$m$&"  # so says Orthanc 1.10.1: it decodes by the first set only
    assert (study.value("PatientName"), study.value("StudyDescription")) == (name, description)
    if isinstance(pacs, Orthanc):  # dcmqrscp keeps no SeriesDescription
        assert [series.value("SeriesDescription") for series in study.series] == [description]


def test_every_character(pacs: Pacs, corpus: Corpus) -> None:
    for file in corpus.of_kind("hostile"):
        (study,) = ask(pacs, {"StudyInstanceUID": file.StudyInstanceUID}).studies
        assert study.value("StudyDescription") == file.tags["StudyDescription"]
        if isinstance(pacs, Orthanc):
            assert [series.value("SeriesDescription") for series in study.series] == [file.tags["SeriesDescription"]]


def test_wildcards_ranges_and_lists(pacs: Pacs, corpus: Corpus) -> None:
    def studies(match: dict[str, str]) -> set[str]:
        return {study.StudyInstanceUID for study in ask(pacs, match).studies}

    here = held(pacs, corpus)
    by_id = {file.StudyInstanceUID for file in corpus if file.PatientID.startswith("PID-100")} & here.keys()
    assert studies({"PatientID": "PID-100?"}) == studies({"PatientID": "PID-100*"}) == by_id
    march = {file.StudyInstanceUID for file in corpus if file.tags.get("StudyDate") in ("20210317", "20210318")}
    assert studies({"StudyDate": "20210317-20210318"}) == march & here.keys()
    assert (
        studies({"StudyDate": "20200101-20200301"}) == {corpus.of_kind("multiframe")[0].StudyInstanceUID} & here.keys()
    )
    two = [corpus.of_kind("sr")[0].StudyInstanceUID, corpus.of_kind("twin")[0].StudyInstanceUID]
    assert studies({"StudyInstanceUID": "\\".join(two)}) == set(two)


def test_a_query_beyond_ascii(pacs: Pacs, corpus: Corpus) -> None:
    (file,) = (one for one in corpus.of_kind("charset") if one.charset == "ISO_IR 192")
    if isinstance(pacs, Dcmqrscp):
        pytest.skip("dcmqrscp compares bytes")
    found = {study.StudyInstanceUID for study in ask(pacs, {"PatientName": "王*"}).studies}
    assert file.StudyInstanceUID in found


def test_series_keys_leave_out_studies_without_a_match(pacs: Pacs, corpus: Corpus) -> None:
    result = ask(pacs, {"PatientID": "PID-1001", "Modality": "MR"})
    assert [study.value("StudyDescription") for study in result.studies] == ["Brain MR"]
    result = ask(pacs, {"PatientID": "PID-1001", "Modality": "MR"}, study_only=True)
    assert len(result.studies) == 3
    assert uids(result) == set()


def test_one_series(pacs: Pacs, corpus: Corpus) -> None:
    series = corpus.of_kind("twin")[0].SeriesInstanceUID
    assert uids(ask(pacs, {"SeriesInstanceUID": series, "PatientID": "PID-1002"})) == {series}


def test_return_keys_do_not_widen_the_query(pacs: Pacs, corpus: Corpus) -> None:
    result = ask(pacs, {"PatientID": "PID-1002"}, return_keys=("StudyDate", "SeriesNumber", "QueryRetrieveLevel"))
    (study,) = result.studies
    assert study.value("PatientID") == "PID-1002"
    assert study.value("StudyDescription") == ""
    assert [series.value("SeriesNumber") for series in study.series] == ["5", "5"]
    assert {series.value("Modality") for series in study.series} == {""}


def test_no_match_is_no_error(pacs: Pacs) -> None:
    result = ask(pacs, {"PatientID": "NOBODY"})
    assert (result.studies, result.complete, result.problems) == ((), Completeness.YES, ())


def test_progress_counts_the_studies(orthanc: Orthanc, corpus: Corpus) -> None:
    seen: list[tuple[int, int]] = []
    query = build_query({"PatientID": "PID-100*"})
    result = find(query, node(orthanc), limits=LIMITS, progress=lambda done, total: seen.append((done, total)))
    total = len(result.studies)
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_rejection_and_unreachability(pacs: Pacs, free_port: Callable[[], int]) -> None:
    wrong = PacsNode(pacs.host, pacs.port, AETitle("WRONG"), AETitle("PX"), AETitle("PX"))
    with pytest.raises(PeerRejectedError, match="Called AE Title Not Recognized"):
        find(build_query({"PatientID": "1"}), wrong, limits=LIMITS)
    nobody = PacsNode(pacs.host, free_port(), AETitle("X"), AETitle("PX"), AETitle("PX"))
    with pytest.raises(PeerUnreachableError, match="Connection refused"):
        find(build_query({"PatientID": "1"}), nobody, limits=LIMITS)
    with mute_peer() as port:
        silent = PacsNode(pacs.host, port, AETitle("X"), AETitle("PX"), AETitle("PX"))
        with pytest.raises(PeerUnreachableError, match="does not answer"):
            find(build_query({"PatientID": "1"}), silent, limits=Limits(2, 1, 2))


# scripted peers

STUDIES = 6


def study_answer(number: int) -> Dataset:
    return answer(QueryRetrieveLevel="STUDY", StudyInstanceUID=f"1.2.{number}", PatientID=f"P{number}")


def series_answer(study: str, number: int = 1, count: int | None = 3) -> Dataset:
    found = answer(QueryRetrieveLevel="SERIES", StudyInstanceUID=study, SeriesInstanceUID=f"{study}.{number}")
    found.NumberOfSeriesRelatedInstances = count
    return found


Fault = Callable[[Dataset, Any, "Story"], Iterator[Any]]


class Story:
    """A PACS with six studies of one series each, and a fault in its series queries."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.times: dict[str, int] = {}
        self.in_association: dict[int, int] = {}
        self.gate = threading.Event()

    def __call__(self, identifier: Dataset, event: Any) -> Iterator[Any]:
        if identifier.QueryRetrieveLevel == "STUDY":
            for number in range(1, STUDIES + 1):
                yield 0xFF00, study_answer(number)
            return
        study = str(identifier.StudyInstanceUID)
        self.times[study] = self.times.get(study, 0) + 1
        key = id(event.assoc)
        self.in_association[key] = self.in_association.get(key, 0) + 1
        yield from self.fault(identifier, event, self)


def find_with(fault: Fault, *, jobs: int = 1, limits: Limits = LIMITS) -> tuple[FindResult, ScriptedPacs, Story]:
    story = Story(fault)
    with scripted_pacs(find=story) as peer:
        try:
            return ask(peer, {}, jobs=jobs, limits=limits), peer, story
        finally:
            story.gate.set()


def whole(study: StudyFound) -> bool:
    return study.error is None and [one.ref.SeriesInstanceUID for one in study.series] == [
        f"{study.StudyInstanceUID}.1"
    ]


def good(identifier: Dataset, _event: Any, _story: Story) -> Iterator[Any]:
    yield 0xFF00, series_answer(str(identifier.StudyInstanceUID))


def test_all_series_queries_share_one_association() -> None:
    result, peer, _ = find_with(good)
    assert all(whole(study) for study in result.studies)
    assert (len(result.studies), peer.associations, result.complete) == (STUDIES, 2, Completeness.YES)
    result, peer, _ = find_with(good, jobs=3)
    assert all(whole(study) for study in result.studies)
    assert (len(result.studies), peer.associations) == (STUDIES, 4)


def test_an_aborted_query_and_those_behind_it_are_asked_again() -> None:
    def fault(identifier: Dataset, event: Any, story: Story) -> Iterator[Any]:
        study = str(identifier.StudyInstanceUID)
        yield 0xFF00, series_answer(study)
        if study == "1.2.3" and story.times[study] == 1:
            event.assoc.abort()

    result, _, story = find_with(fault)
    assert all(whole(study) for study in result.studies)
    assert len(result.studies) == STUDIES
    assert result.complete is Completeness.YES
    assert story.times["1.2.3"] == 2


def test_a_query_that_is_always_aborted_is_reported_and_the_others_are_kept() -> None:
    def fault(identifier: Dataset, event: Any, _story: Story) -> Iterator[Any]:
        if identifier.StudyInstanceUID == "1.2.3":
            event.assoc.abort()
            return
        yield 0xFF00, series_answer(str(identifier.StudyInstanceUID))

    result, _, story = find_with(fault)
    assert [study.StudyInstanceUID for study in result.studies if whole(study)] == [
        f"1.2.{number}" for number in (1, 2, 4, 5, 6)
    ]
    (bad,) = (study for study in result.studies if study.error)
    assert bad.StudyInstanceUID == "1.2.3"
    assert "aborted the association" in str(bad.error)
    assert result.complete is Completeness.NO
    assert len(result.problems) == 1
    assert "1.2.3" in result.problems[0]
    assert story.times["1.2.3"] == 2


def test_a_pacs_that_takes_one_query_an_association() -> None:
    def fault(identifier: Dataset, event: Any, story: Story) -> Iterator[Any]:
        if story.in_association[id(event.assoc)] > 1:
            event.assoc.abort()
            return
        yield 0xFF00, series_answer(str(identifier.StudyInstanceUID))

    result, _, _ = find_with(fault)
    assert len(result.studies) == STUDIES
    assert all(whole(study) for study in result.studies)
    assert result.complete is Completeness.YES


def test_a_query_that_times_out_is_reported_once() -> None:
    def fault(identifier: Dataset, _event: Any, story: Story) -> Iterator[Any]:
        if identifier.StudyInstanceUID == "1.2.2":
            story.gate.wait(20)
        yield 0xFF00, series_answer(str(identifier.StudyInstanceUID))

    result, _, story = find_with(fault, limits=Limits(2, 2, 1))
    (bad,) = (study for study in result.studies if study.error)
    assert (bad.StudyInstanceUID, story.times["1.2.2"]) == ("1.2.2", 1)
    assert "sent nothing within the time limit" in str(bad.error)
    assert sum(whole(study) for study in result.studies) == STUDIES - 1


def test_a_failing_status_of_a_series_query() -> None:
    def fault(identifier: Dataset, _event: Any, _story: Story) -> Iterator[Any]:
        yield 0xFF00, series_answer(str(identifier.StudyInstanceUID))
        if identifier.StudyInstanceUID == "1.2.2":
            yield 0xA700, None

    result, peer, _ = find_with(fault)
    (bad,) = (study for study in result.studies if study.error)
    assert bad.StudyInstanceUID == "1.2.2"
    assert "status A700: out of resources" in str(bad.error)
    assert len(bad.series) == 1
    assert len(result.studies) == STUDIES
    assert (result.complete, peer.associations) == (Completeness.NO, 3)  # the third asks by modality


def test_a_pacs_that_dies_after_the_study_query() -> None:
    def fault(_identifier: Dataset, event: Any, _story: Story) -> Iterator[Any]:
        event.assoc.abort()
        yield from ()

    result, peer, _ = find_with(fault)
    assert [bool(study.error) for study in result.studies] == [True] * STUDIES
    assert result.complete is Completeness.NO
    assert peer.associations <= 5


@pytest.mark.parametrize("count", [None, ""])
def test_instances_are_counted_where_the_pacs_does_not_say(count: str | None) -> None:
    def fault(identifier: Dataset, _event: Any, _story: Story) -> Iterator[Any]:
        study = str(identifier.StudyInstanceUID)
        if identifier.QueryRetrieveLevel == "IMAGE":
            for number in (1, 2, 2, 3, 4):
                yield 0xFF00, answer(QueryRetrieveLevel="IMAGE", SOPInstanceUID=f"{study}.1.{number}")
            return
        found = series_answer(study)
        if count is None:
            del found.NumberOfSeriesRelatedInstances
        else:
            found.NumberOfSeriesRelatedInstances = None
        yield 0xFF00, found

    result, peer, _ = find_with(fault)
    assert [series.ref.NumberOfSeriesRelatedInstances for series in result.series] == [4] * STUDIES
    assert [series.value("NumberOfSeriesRelatedInstances") for series in result.series] == ["4"] * STUDIES
    assert peer.associations == 3


def test_answers_are_attributed_by_study() -> None:
    """A PACS that ignores the study of a series query: each series goes to its own study, once."""

    def fault(_identifier: Dataset, _event: Any, _story: Story) -> Iterator[Any]:
        for number in range(1, STUDIES + 1):
            yield 0xFF00, series_answer(f"1.2.{number}")

    result, _, _ = find_with(fault)
    assert len(result.studies) == STUDIES
    assert all(whole(study) for study in result.studies)


def test_answers_without_their_study_are_attributed_by_order() -> None:
    def fault(identifier: Dataset, _event: Any, _story: Story) -> Iterator[Any]:
        number = int(str(identifier.StudyInstanceUID).rsplit(".", 1)[1])
        for series in range(number):
            found = series_answer(str(identifier.StudyInstanceUID), series)
            del found.StudyInstanceUID
            yield 0xFF00, found

    result, _, _ = find_with(fault)
    assert [len(study.series) for study in result.studies] == [1, 2, 3, 4, 5, 6]
    for study in result.studies:
        for series in study.series:
            assert series.ref.SeriesInstanceUID.startswith(f"{study.StudyInstanceUID}.")


def test_hostile_uids_are_left_out() -> None:
    def fault(identifier: Dataset, _event: Any, _story: Story) -> Iterator[Any]:
        found = series_answer(str(identifier.StudyInstanceUID))
        if identifier.StudyInstanceUID == "1.2.2":
            found["SeriesInstanceUID"].value = "../../x"
        yield 0xFF00, found

    result, _, _ = find_with(fault)
    assert len(result.series) == STUDIES - 1
    assert result.complete is Completeness.NO
    assert "1.2.2" in result.problems[0]


def only_study(fault: Callable[[Any], Iterator[Any]], most: int = 0, **options: Any) -> FindResult:
    def handle(identifier: Dataset, event: Any) -> Iterator[Any]:
        if identifier.QueryRetrieveLevel == "STUDY":
            for number in range(1, most + 1):
                yield 0xFF00, study_answer(number)
            yield from fault(event)
        else:
            yield 0xFF00, series_answer(str(identifier.StudyInstanceUID))

    with scripted_pacs(find=handle) as peer:
        return ask(peer, {}, **options)


def a700(_event: Any) -> Iterator[Any]:
    yield 0xA700, None


def abort(event: Any) -> Iterator[Any]:
    event.assoc.abort()
    yield from ()


def nothing(_event: Any) -> Iterator[Any]:
    yield from ()


@pytest.mark.parametrize(("fault", "text"), [(a700, "status A700"), (abort, "aborted the association")])
def test_a_study_query_without_any_answer_is_an_error(fault: Callable[[Any], Iterator[Any]], text: str) -> None:
    with pytest.raises(PeerFailedError, match=text):
        only_study(fault)


@pytest.mark.parametrize("fault", [a700, abort])
def test_a_study_query_that_fails_after_some_answers(fault: Callable[[Any], Iterator[Any]]) -> None:
    result = only_study(fault, most=3)
    assert len(result.series) == 3
    assert result.complete is Completeness.NO
    assert len(result.problems) == 1


def test_a_round_number_of_studies_is_not_trusted() -> None:
    assert only_study(nothing, most=100, study_only=True).complete is Completeness.UNKNOWN
    assert only_study(nothing, most=101, study_only=True).complete is Completeness.YES


def test_keys_of_the_requests() -> None:
    with scripted_pacs(find=Story(good)) as peer:
        result = ask(peer, {"PatientID": "P*", "Modality": "CT", "InstanceNumber": "5", "PatientBirthDate": ""})
    first, second = peer.asked[0], peer.asked[1]
    assert (first.QueryRetrieveLevel, first.PatientID, first.StudyInstanceUID) == ("STUDY", "P*", "")
    assert "PatientBirthDate" in first
    assert "Modality" not in first
    assert "InstanceNumber" not in first
    assert (second.QueryRetrieveLevel, second.StudyInstanceUID) == ("SERIES", "1.2.1")
    assert (second.Modality, second.InstanceNumber) == ("CT", 5)
    assert "PatientID" not in second
    assert "StudyDate" not in second
    assert len(result.series) == STUDIES


def test_patient_root_sends_the_patient_with_every_request() -> None:
    def handle(identifier: Dataset, _event: Any) -> Iterator[Any]:
        if identifier.QueryRetrieveLevel == "PATIENT":
            for name in ("A", "B"):
                yield 0xFF00, answer(QueryRetrieveLevel="PATIENT", PatientID=name, PatientName=f"Name^{name}")
        elif identifier.QueryRetrieveLevel == "STUDY":
            number = ord(str(identifier.PatientID))
            yield (
                0xFF00,
                answer(QueryRetrieveLevel="STUDY", PatientID=identifier.PatientID, StudyInstanceUID=f"1.2.{number}"),
            )
        else:
            yield 0xFF00, series_answer(str(identifier.StudyInstanceUID))

    with scripted_pacs(find=handle) as peer:
        result = ask(peer, {"PatientName": "Name*"}, model=QueryModel.PATIENT_ROOT)
    asked = [(str(one.QueryRetrieveLevel), str(one.PatientID)) for one in peer.asked]
    assert asked == [("PATIENT", ""), ("STUDY", "A"), ("STUDY", "B"), ("SERIES", "A"), ("SERIES", "B")]
    assert "PatientName" not in peer.asked[1]
    assert [study.value("PatientName") for study in result.studies] == ["Name^A", "Name^B"]
    assert [study.value("PatientID") for study in result.studies] == ["A", "B"]


def test_no_identifier_stands_in_an_argument_list(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = process.stream

    def spy(argv: Any, **options: Any) -> Any:
        seen.extend(argv)
        return real(argv, **options)

    monkeypatch.setattr(process, "stream", spy)
    with scripted_pacs(find=Story(good)) as peer:
        ask(peer, {"PatientID": "SECRET*", "PatientName": "SECRET"})
    assert seen
    assert not [argument for argument in seen if "SECRET" in argument or "1.2." in argument]


def test_errors_of_one_line_without_identifiers() -> None:
    with pytest.raises(PxError) as caught:
        only_study(a700)
    assert "\n" not in str(caught.value)
    assert "ask for less at a time" in str(caught.value)
