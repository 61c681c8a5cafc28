"""Find documents in pypx's shape, out and in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pypx.compat.commands import find_command
from pypx.compat.find_args import NO_PEER, find_args, merge_args, peer_of
from pypx.compat.find_json import error_document, escaped, to_document, unescaped
from pypx.compat.find_read import document_args, from_document, parse_document
from pypx.compat.status_json import status_lines
from pypx.errors import InputError, PeerFailedError, PeerUnreachableError, PxError
from pypx.model.identifiers import UID, AETitle
from pypx.model.outcomes import Completeness, FindResult, SeriesFound, StudyFound
from pypx.model.peers import PacsNode
from pypx.model.query import MatchingKey, Query
from pypx.model.records import Element, SeriesRef
from support import golden

NODE = PacsNode("127.0.0.1", 104, AETitle("ORTHANC"), AETitle("CHRISLOCAL"), AETitle("CHRISLOCAL"))
STUDY, SERIES = UID("1.2.3"), UID("1.2.3.4")
FIND_DOCUMENTS = ("08-find-pid.out", "09-find-date.out", "10-find-wild.out", "12-find-series.out", "18-find-dcmqr.out")


def result(*, query: Query | None = None, series: bool = True, **more: Any) -> FindResult:
    study = (
        Element("0020,000d", "StudyInstanceUID", STUDY),
        Element("0010,0010", "PatientName", "MÜLLER^J]Ö[RG"),
        Element("0020,1206", "NumberOfStudyRelatedSeries", "1"),
        Element("0009,1001", "", "private"),
    )
    found = SeriesFound(
        SeriesRef(STUDY, SERIES, 24, "T1 SAG [fast]"),
        (
            Element("0008,0060", "Modality", "MR"),
            Element("0008,103e", "SeriesDescription", "T1 SAG [fast]"),
            Element("0020,000e", "SeriesInstanceUID", SERIES),
            Element("0020,1209", "NumberOfSeriesRelatedInstances", "24"),
        ),
    )
    return FindResult(NODE, query or Query(), (StudyFound(STUDY, study, (found,) if series else ()),), **more)


def tags(entry: dict[str, Any]) -> list[str]:
    return [item["tag"] for item in entry.values() if isinstance(item, dict) and isinstance(item["tag"], str)]


def test_document_has_the_keys_of_pypx_in_order() -> None:
    document = to_document(result())
    assert list(document) == ["status", "command", "data", "args"]
    assert document["status"] == "success"
    (study,) = document["data"]
    assert next(iter(study)) == "uid"
    assert list(study)[-1] == "series"
    assert study["uid"] == {"tag": 0, "value": 0, "label": "uid"}
    assert list(study["series"][0])[-3:] == ["label", "command", "status"]
    assert study["series"][0]["label"] == {"tag": 0, "value": "SERIES", "label": "RetrieveLevel"}
    assert tags(study) == sorted(tags(study))
    assert tags(study["series"][0]) == sorted(tags(study["series"][0]))


def test_entries_lend_each_other_what_pypx_had_at_both_levels() -> None:
    (study,) = to_document(result())["data"]
    assert study["Modality"] == {"tag": "0008,0060", "value": "MR", "label": "Modality"}
    assert study["SeriesInstanceUID"]["value"] == SERIES
    assert study["NumberOfSeriesRelatedInstances"]["value"] == ""
    (series,) = study["series"]
    assert series["PatientName"]["value"] == "MÜLLER^J]Ö[RG"
    assert series["NumberOfStudyRelatedSeries"]["value"] == ""
    assert series["QueryRetrieveLevel"]["value"] == "SERIES"
    assert study["QueryRetrieveLevel"]["value"] == "STUDY"


def test_empty_values_are_empty() -> None:
    assert "no value provided" not in json.dumps(to_document(result()))


def test_unknown_attribute_is_named_by_its_tag() -> None:
    (study,) = to_document(result())["data"]
    assert study["0009,1001"] == {"tag": "0009,1001", "value": "private", "label": "0009,1001"}


def test_study_without_matching_series_is_left_out_unless_the_asking_failed() -> None:
    nothing = result(series=False)
    assert to_document(nothing)["data"] == []
    failed = FindResult(NODE, Query(), (StudyFound(STUDY, (), error="aborted"),), problems=("study 1.2.3: aborted",))
    document = to_document(failed)
    assert document["data"][0]["error"]["value"] == "aborted"
    assert document["problems"] == ["study 1.2.3: aborted"]


def test_incomplete_answer_says_so() -> None:
    assert "complete" not in to_document(result())
    document = to_document(result(complete=Completeness.NO, problems=("cut at 100",)))
    assert document["complete"] == "no"
    assert from_document(document).complete is Completeness.NO


def test_study_only_document() -> None:
    document = to_document(result(query=Query(study_only=True), series=False))
    assert list(document) == ["status", "data", "command", "returncode"]
    assert "series" not in document["data"][0]


def test_return_keys_limit_the_entry() -> None:
    query = Query(return_keys=("PatientName", "StudyInstanceUID"))
    (study,) = to_document(result(query=query))["data"]
    assert set(study) == {
        "uid", "PatientName", "StudyInstanceUID", "QueryRetrieveLevel", "NumberOfStudyRelatedSeries", "0009,1001",
        "series",
    }  # fmt: skip


def test_then_adds_what_the_verbs_left_and_no_copy_of_the_document() -> None:
    document = to_document(result(), then={"do": True, "00-retrieve": {"study": []}, "01-status": {"study": []}})
    assert list(document)[-1] == "then"
    args = document["args"]
    assert args["SeriesInstanceUID"] == args["series_uid"] == SERIES
    assert args["study_uid"] == STUDY
    assert args["verifySeriesInStudy"] is True
    assert "reportData" not in args


def test_caller_keeps_his_arguments() -> None:
    mine = {"PatientID": "42", "reportData": {"x": 1}}
    args = find_args(result(), mine)
    assert args["PatientID"] == "42"
    assert "reportData" not in args
    assert mine == {"PatientID": "42", "reportData": {"x": 1}}


@pytest.mark.parametrize("name", [*FIND_DOCUMENTS, "11-find-none.out"])
def test_command_is_the_one_of_pypx(name: str) -> None:
    recorded = golden.document(name, {"PACSPORT": 104, "QRPORT": 104})
    aec = "DCMQR" if "dcmqr" in name else "ORTHANC"
    node = PacsNode("127.0.0.1", 104, AETitle(aec), AETitle("CHRISLOCAL"), AETitle("CHRISLOCAL"))
    filters = {
        name: value
        for name, value in recorded["args"].items()
        if name[0].isupper() and value and name not in {"QueryRetrieveLevel", "StudyInstanceUID"}
    }
    query = Query(tuple(MatchingKey(keyword, "", value) for keyword, value in filters.items()))
    assert find_command(query, node) == recorded["command"]
    for study in recorded["data"]:
        uid = UID(study["StudyInstanceUID"]["value"])
        for series in study["series"]:
            assert find_command(query, node, study=uid) == series["command"]["value"]


@pytest.mark.parametrize("name", FIND_DOCUMENTS)
def test_golden_document_is_read_and_written_again(name: str) -> None:
    recorded = golden.without_sentences(golden.document(name, {"PACSPORT": 104, "QRPORT": 104}))
    found = from_document(recorded)
    written = to_document(found, recorded["args"])
    assert list(written) == list(recorded)
    assert len(written["data"]) == len(recorded["data"])
    for ours, theirs in zip(written["data"], recorded["data"], strict=True):
        assert [entry["SeriesInstanceUID"] for entry in ours["series"]] == [
            entry["SeriesInstanceUID"] for entry in theirs["series"]
        ]
        for keyword, item in theirs.items():
            if keyword not in {"uid", "series"}:
                assert ours[keyword] == item
    assert from_document(written).studies == from_document(to_document(from_document(written))).studies


def test_golden_document_from_args_with_then_is_read() -> None:
    recorded = golden.document("28-retrieve.out", {"PACSPORT": 104})
    found = from_document(recorded)
    assert [len(study.series) for study in found.studies] == [1, 2]
    assert found.series[0].ref.NumberOfSeriesRelatedInstances == 4
    assert str(found.peer) == "ORTHANC@127.0.0.1:104"
    assert found.query.value("PatientID") == "PID00000"
    assert found.query.value("SeriesInstanceUID") == ""
    assert "reportData" not in document_args(recorded)


def test_no_value_sentence_is_read_as_empty() -> None:
    found = from_document({"data": [entry(AcquisitionProtocolName="no value provided for 0018,9423")]})
    assert found.studies[0].value("AcquisitionProtocolName") == ""
    sentence = "no value provided for 0008,103e"
    assert unescaped(sentence) == ""
    assert unescaped(escaped(sentence)) == sentence
    assert escaped(sentence) == f"{sentence} "
    described = from_document({"data": [entry(StudyDescription="see no value provided for 0018,9423")]})
    assert described.studies[0].value("StudyDescription") == "see no value provided for 0018,9423"


def entry(**values: object) -> dict[str, Any]:
    fields = {"StudyInstanceUID": STUDY, **values}
    return {name: {"value": value, "label": name} for name, value in fields.items()}


def test_failed_find_says_what_the_document_says() -> None:
    with pytest.raises(PeerFailedError, match="the document reports a failed find; that find told why") as caught:
        from_document(golden.document("17-find-down.out"))
    assert "TCP Initialization Error: Connection refused" in caught.value.detail
    with pytest.raises(PeerFailedError, match="no reason given"):
        from_document({"status": False})


def test_error_document_is_that_of_pypx() -> None:
    recorded = golden.document("17-find-down.out", {"PACSPORT": 1})
    node = PacsNode("127.0.0.1", 1, AETitle("ORTHANC"), AETitle("CHRISLOCAL"), AETitle("CHRISLOCAL"))
    query = Query((MatchingKey("PatientID", "LO", "X"),))
    ours = error_document(PeerUnreachableError("nobody there"), query, node)
    assert list(ours) == list(recorded)
    assert {**ours, "data": recorded["data"]} == recorded
    assert ours["data"] == "nobody there\n"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "no 'data'"),
        ({"status": "success", "data": "E: nothing"}, "is a text, not a list of studies$"),
        ({"data": {}}, "is an object, not a list"),
        ({"data": [1]}, r"data\[0\] of the document is a number"),
        ({"data": [{}]}, r"data\[0\] of the document has no StudyInstanceUID"),
        ({"data": [{"StudyInstanceUID": {"value": "../x"}}]}, "is not a UID"),
        ({"data": [{**entry(), "series": "x"}]}, r"data\[0\].series of the document is a text"),
        ({"data": [{**entry(), "series": [{}]}]}, r"data\[0\].series\[0\] of the document has no SeriesInstanceUID"),
        ({"data": [{**entry(), "series": [entry(StudyInstanceUID="9.9")]}]}, "belongs to study 9.9"),
        ({"data": [entry(PatientID=["x"])]}, "a list where a text is expected"),
        ({"data": [], "args": {"serverIP": "a b", "serverPort": "1", "aet": "A", "aec": "B"}}, "args.serverIP"),
    ],
)
def test_what_is_no_find_document_is_refused_in_one_line(document: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        from_document(document)
    assert "\n" not in str(caught.value)


def test_report_takes_documents_without_uids() -> None:
    document = {"data": [{"PatientName": {"value": "A"}, "series": [{"Modality": {"value": "CT"}}]}]}
    found = from_document(document, need_uids=False)
    assert found.studies[0].series[0].value("Modality") == "CT"
    assert found.peer == NO_PEER


def test_study_only_document_of_later_releases_is_read() -> None:
    found = from_document({"status": "success", "data": [entry(PatientID="42")], "command": "x", "returncode": 0})
    assert found.studies[0].value("PatientID") == "42"
    assert found.series == ()
    assert found.peer == NO_PEER


def test_status_of_later_releases_is_shown() -> None:
    counts = {name: {"count": -1} for name in ("received", "requested", "packed", "pushed", "registered")}
    states = {"study": "NoStudyFound", "series": "NoSeriesFound", "images": "NoImagesFound"}
    series = {"SeriesInstanceUID": {"value": SERIES}, "SeriesDescription": {"value": "AX"}}
    then = {"do": True, "00-status": {"study": [{STUDY: [{"status": False, "state": states, "images": counts}]}]}}
    lines = status_lines({"data": [{**entry(), "series": [series]}], "then": then})
    assert lines[SERIES].startswith("   NoStudyFound :   NoSeriesFound :   NoImagesFound │ AX  ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("{", "is not JSON"),
        ("[]", "holds a list"),
        ("null", "holds null"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_junk_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        parse_document(text)
    assert "\n" not in str(caught.value)


def test_text_of_a_document_reaches_a_terminal_in_one_harmless_line() -> None:
    with pytest.raises(PeerFailedError, match=r"^[ -~]*$"):
        from_document({"status": "error", "data": "E: \x1b[2J\n\ud800 wiped"})
    found = from_document({"data": [entry(PatientName="A\ud800B")]})
    assert found.studies[0].value("PatientName") == "A?B"


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([STUDY, "x.y"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "series", "value", "tag", "StudyInstanceUID", "SeriesInstanceUID", "then", "args"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
STUDIES = st.lists(st.fixed_dictionaries({"StudyInstanceUID": st.just({"value": STUDY}), "series": JUNK, "x": JUNK}))


@given(
    st.fixed_dictionaries({"data": JUNK | STUDIES}, optional={"args": JUNK, "then": JUNK, "status": JUNK}),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_no_document_breaks_the_reader(document: dict[str, Any], need_uids: bool) -> None:
    said = ""
    try:
        found = from_document(document, need_uids=need_uids)
        status_lines(document)
        json.dumps(to_document(found), allow_nan=False).encode()
    except PxError as error:
        said = str(error)
    assert "\n" not in said


def test_counts_that_are_none_are_unknown() -> None:
    series = {"SeriesInstanceUID": {"value": SERIES}, "NumberOfSeriesRelatedInstances": {"value": "-3"}}
    (found,) = from_document({"data": [{**entry(), "series": [series]}]}).series
    assert found.ref.NumberOfSeriesRelatedInstances is None


def test_explicit_option_wins_over_the_document_over_the_default() -> None:
    document = {"then": "status", "aet": "UP", "thenArgs": "", "json": False, "withFeedBack": True, "verbosity": 3}
    defaults = {"then": "", "aet": "DEFAULT", "thenArgs": "d", "json": True, "withFeedBack": False, "verbosity": 1}
    merged = merge_args({"then": "retrieve"}, document, defaults)
    assert merged == {
        "then": "retrieve", "aet": "UP", "thenArgs": "d", "json": True, "withFeedBack": False, "verbosity": 3,
    }  # fmt: skip


def test_peer_needs_address_and_titles() -> None:
    args = {"serverIP": "h", "serverPort": "104", "aec": "A", "aet": "B"}
    peer = peer_of(args)
    assert peer is not None
    assert peer.move_destination == "B"
    assert peer_of({**args, "aec": ""}) is None
