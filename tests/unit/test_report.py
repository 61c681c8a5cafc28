"""Reports: the rows, and each format made of them."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from pypx.compat.find_read import from_document
from pypx.compat.report_csv import CsvOptions, csv_text
from pypx.compat.report_json import to_document
from pypx.compat.report_text import raw_text, tabular, tagged
from pypx.compat.status_json import status_lines
from pypx.errors import InputError
from pypx.model.identifiers import UID
from pypx.workflows.report import Layout, StudyBlock, age_at, make_layout, report
from support import golden


def blocks(layout: Layout | None = None, name: str = "08-find-pid.out") -> list[StudyBlock]:
    recorded = golden.document(name, {"PACSPORT": 104})
    return list(report(from_document(recorded), layout, status_lines(recorded)))


def made(*series: dict[str, str], **study: str) -> list[StudyBlock]:
    def fields(values: dict[str, str], uid: str) -> dict[str, Any]:
        return {name: {"value": value} for name, value in {uid: "1.2", **values}.items()}

    entry = {**fields(study, "StudyInstanceUID"), "series": [fields(one, "SeriesInstanceUID") for one in series]}
    return list(report(from_document({"data": [entry]})))


def header(block: StudyBlock) -> dict[str, str]:
    return dict(block.header)


def test_raw_text_is_that_of_pypx() -> None:
    assert raw_text(blocks()) == golden.plain(golden.text("22-report-rawText.out"))


def test_raw_text_has_the_colours_of_pypx() -> None:
    assert raw_text(blocks(), colorize="dark") == golden.text("25-report-colour.out")


def test_tabular_is_that_of_pypx() -> None:
    assert tabular(blocks()) == golden.plain(golden.text("21-report-tabular.out"))


def test_tabular_with_chosen_tags_is_that_of_pypx_but_for_the_instance_number() -> None:
    layout = make_layout(
        header_study="PatientName,StudyDate", header_series="PatientAge", body_series="SeriesDescription,InstanceNumber"
    )
    assert tabular(blocks(layout)) == golden.plain(golden.text("27-report-bodytags.out"))


def test_status_lines_are_those_of_pypx() -> None:
    layout = make_layout(body_series="seriesStatus", series_special="seriesStatus")
    recorded = golden.plain(golden.text("31-status-report.out"))
    ours = tabular(blocks(layout, "29-status-after.out"))
    assert [line.split() for line in ours.splitlines() if "│" in line] == [
        line.split() for line in recorded.splitlines() if "│" in line
    ]


def test_json_is_that_of_pypx() -> None:
    assert to_document(blocks()) == golden.document("24-report-json.out")


def test_csv_has_the_cells_of_pypx_each_row_in_a_line_of_its_own() -> None:
    ours = csv_text(blocks())
    assert ours.replace("\n", "") == golden.text("23-report-csv.out").replace("\n", "")
    assert [len(line.split("|")) for line in ours.splitlines()] == [14, 14, 14]


def test_csv_headers_stand_once() -> None:
    layout = make_layout(header_study="PatientName,StudyDate", body_series="SeriesDescription,SeriesInstanceUID")
    rows = csv_text(blocks(layout), CsvOptions(headers=True)).splitlines()
    assert rows[0] == "PatientName|StudyDate|Modality|SeriesDescription|SeriesInstanceUID"
    recorded = golden.text("26-report-csv-hdr.out").splitlines()
    assert rows[2:] == recorded[2:]
    assert len(rows) == 4


@pytest.mark.parametrize("separator", [",", ";", "\\t", "|", "::"])
def test_csv_quotes_what_needs_it(separator: str) -> None:
    awkward = {"SeriesDescription": 'a,b;c|d\t"e"::f', "NumberOfSeriesRelatedInstances": "3"}
    text = csv_text(made(awkward, PatientName=" DOE\nJANE "), CsvOptions(separator=separator))
    assert '"a,b;c|d\t""e""::f"' in text
    assert '" DOE\nJANE "' in text
    if len(separator) == 1:
        ((name, *_, description, count),) = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        assert (name, description, count) == (" DOE\nJANE ", awkward["SeriesDescription"], "3")


@pytest.mark.parametrize("separator", ["", '"', "\n"])
def test_impossible_separator_is_refused(separator: str) -> None:
    with pytest.raises(InputError, match="--csvSeparator"):
        csv_text([], CsvOptions(separator=separator))


def test_csv_has_a_row_for_a_study_without_series() -> None:
    mixed = [*made(PatientName="A"), *made({"SeriesDescription": "S"}, PatientName="B")]
    first, second, third = csv_text(mixed, CsvOptions(headers=True)).splitlines()
    assert first.split("|")[-1] == "NumberOfSeriesRelatedInstances"
    assert second == "A" + "|" * 13
    assert third == "B" + "|" * 12 + "S|"
    assert "│ " not in csv_text(made(PatientName="A"), CsvOptions(prettify=True, headers=True)).splitlines()[-1]


def test_csv_summary_is_one_row_a_study() -> None:
    rows = csv_text(blocks(), CsvOptions(summarize=True)).splitlines()
    assert [row.split("|")[-2:] for row in rows] == [
        ["Study contains 1 series", "All series contain 4 images"],
        ["Study contains 2 series", "All series contain 8 images"],
    ]


def test_csv_summary_does_not_count_what_is_unknown() -> None:
    text = csv_text(made({"NumberOfSeriesRelatedInstances": "3"}, {}), CsvOptions(summarize=True))
    assert "All series contain at least 3 images" in text


def test_csv_prettified() -> None:
    layout = make_layout(header_study="PatientID", header_series="Modality")
    assert csv_text(blocks(layout), CsvOptions(prettify=True, headers=True)).splitlines()[:5] == [
        "───────────┬──────────┬───────────────────┬────────────────────────────────",
        " PatientID │ Modality │ SeriesDescription │ NumberOfSeriesRelatedInstances ",
        "───────────┼──────────┼───────────────────┼────────────────────────────────",
        " PID00000  │    CT    │   Axial 0 1.5mm   │             00004              ",
        "───────────┴──────────┴───────────────────┴────────────────────────────────",
    ]


def test_csv_prettified_leaves_chosen_body_columns_at_the_left_and_headings_inside() -> None:
    layout = make_layout(header_study="PatientID", header_series="Modality", body_series="Modality,SeriesDescription")
    lines = csv_text(blocks(layout), CsvOptions(prettify=True, headers=True)).splitlines()
    assert lines[3] == " PID00000  │    CT    │ CT       │   Axial 0 1.5mm   "
    assert {len(line) for line in lines} == {len(lines[0])}


def test_wide_characters_take_two_columns() -> None:
    plain = raw_text(made({}, PatientName="山田^太郎")).splitlines()[0]
    assert plain.endswith("山田^太郎" + " " * 41)


def test_control_characters_do_not_reach_the_screen() -> None:
    found = made({"SeriesDescription": "a\x1b[2Jb\r\nc"})
    for text in (raw_text(found), tabular(found), tagged(found), csv_text(found, CsvOptions(prettify=True))):
        assert "\x1b" not in text
        assert "a\\x1b[2Jb  c" in text


def test_tabular_in_a_pipe_is_rows_without_boxes() -> None:
    layout = make_layout(header_study="PatientID", header_series="Modality")
    text = tagged(made({"Modality": "MR", "SeriesDescription": "T1"}, {"SeriesDescription": "T2"}, PatientID="42"))
    assert "PatientID\t42\n" in text
    assert text.endswith("Modality\tMR\nSeriesDescription\tT1\nSeriesDescription\tT2\n\n")
    assert tagged(blocks(layout)).splitlines()[0] == "PatientID\tPID00000"


def test_header_tag_that_the_study_lacks_comes_from_its_first_series() -> None:
    (block,) = made({"PerformedStationAETitle": "CT1"}, {"PerformedStationAETitle": "CT2"})
    assert header(block)["PerformedStationAETitle"] == "CT1"


@pytest.mark.parametrize(
    ("birth", "day", "age"),
    [
        ("20100131", "20160304", "006Y"),
        ("20100304", "20160304", "006Y"),
        ("20100305", "20160304", "005Y"),
        ("20160301", "20160304", "003D"),
        ("20160229", "20160304", "004D"),
        ("20160219", "20160304", "002W"),
        ("20160201", "20160304", "001M"),
        ("20150306", "20160304", "012M"),
        ("20160304", "20160304", "000D"),
        ("2010-01-31", "20160304", "006Y"),
        ("20160305", "20160304", ""),
        ("", "20160304", ""),
        ("20100230", "20160304", ""),
        ("2010", "20160304", ""),
        ("١٢٣٤٥٦٧٨", "20160304", ""),
    ],
)
def test_age_is_worked_out_in_one_format(birth: str, day: str, age: str) -> None:
    assert age_at(birth, day) == age
    (block,) = made(PatientBirthDate=birth, StudyDate=day)
    assert header(block)["PatientAge"] == age


def test_age_that_the_pacs_gave_stays() -> None:
    (block,) = made(PatientBirthDate="20100131", StudyDate="20160304", PatientAge="061Y")
    assert header(block)["PatientAge"] == "061Y"


def test_layout_of_json_replaces_everything() -> None:
    text = json.dumps({"header": {"study": ["PatientID"], "series": []}, "body": {"series": ["Modality"]}})
    layout = make_layout(layout_json=text, header_study="PatientName", series_special="seriesStatus")
    assert layout == Layout(("PatientID",), (), ("Modality",), ("Modality",), ("seriesStatus",))


@pytest.mark.parametrize("text", ["{", "[]", '{"header": 1}', '{"body": {"series": "Modality"}}', '{"header": []}'])
def test_layout_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--reportLayout"):
        make_layout(layout_json=text)


def test_unknown_colours_are_refused() -> None:
    with pytest.raises(InputError, match="--colorize: 'pink'"):
        raw_text(made(), colorize="pink")


def test_status_lines_by_position_and_junk() -> None:
    recorded = golden.document("29-status-after.out", {"PACSPORT": 104})
    lines = status_lines(recorded)
    assert lines[UID("2.25.1170869343319568895328765358778663006")].startswith(" [ PACS:004/JSON:004/DCM:004/")
    assert len(lines) == 3
    junk_verbs: list[Any] = [{"00-status": []}, {"00-status": {"study": {}}}, {"00-status": {"study": [1, {"x": 2}]}}]
    for junk in (None, [], *junk_verbs):
        assert status_lines({**recorded, "then": junk}) == {}
    assert status_lines({"data": [], "then": {"00-retrieve": {"study": []}}}) == {}
