"""Queries from keywords and values, delays, and the words of a PACS."""

from __future__ import annotations

import pytest

from pypx.errors import InputError
from pypx.model.identifiers import UID
from pypx.model.records import SeriesRef
from pypx.services.dimse import status_text
from pypx.workflows.find import build_query
from pypx.workflows.move import parse_delay


def test_keywords_are_looked_up_and_values_checked() -> None:
    query = build_query({"PatientName": "DOE*", "StudyDate": "2024-01-31", "PatientBirthDate": ""})
    assert [(key.keyword, key.VR, key.value) for key in query.match] == [
        ("PatientName", "PN", "DOE*"),
        ("StudyDate", "DA", "20240131"),
        ("PatientBirthDate", "DA", ""),
    ]
    assert query.return_keys is None


def test_what_px_sets_itself_is_passed_over() -> None:
    query = build_query(
        {"QueryRetrieveLevel": "IMAGE", "Modality": "CT"}, return_keys=("QueryRetrieveLevel", "StudyDate")
    )
    assert [key.keyword for key in query.match] == ["Modality"]
    assert query.return_keys == ("StudyDate",)


@pytest.mark.parametrize(
    ("match", "returned", "text"),
    [
        ({"PatientNmae": "x"}, None, "'PatientNmae' is not a DICOM keyword; did you mean PatientName"),
        ({}, ("StudyDte",), "'StudyDte' is not a DICOM keyword; did you mean StudyDate"),
        ({"TransferSyntaxUID": "1.2"}, None, "TransferSyntaxUID: cannot be matched on"),
        ({"ProcedureCodeSequence": "x"}, None, "ProcedureCodeSequence: cannot be matched on"),
        ({"StudyDate": "20240230"}, None, "StudyDate: the value is not a day of the calendar"),
        ({"StudyInstanceUID": "../x"}, None, "StudyInstanceUID: the value is not a UID"),
    ],
)
def test_what_cannot_be_asked(match: dict[str, str], returned: tuple[str, ...] | None, text: str) -> None:
    with pytest.raises(InputError) as caught:
        build_query(match, return_keys=returned)
    assert str(caught.value).startswith(text)
    if "the value" in text:
        assert caught.value.detail.startswith(text.replace("the value", repr(*match.values())))


@pytest.mark.parametrize(
    ("text", "images", "seconds"),
    [
        ("0", 12, 0),
        ("2.5", 12, 2.5),
        (" 3 ", None, 3),
        ("dynamic", 12, 12),
        ("dynamic:6", 3, 0.5),
        ("dynamic:6", None, 0),
    ],
)
def test_delays(text: str, images: int | None, seconds: float) -> None:
    delay = parse_delay(text)
    assert delay.after(SeriesRef(UID("1.2"), UID("1.3"), images)) == seconds
    assert bool(delay) is (text != "0")


@pytest.mark.parametrize(
    "text", ["", "soon", "-1", "nan", "inf", "86401", "dynamic:", "dynamic:0", "dynamic:-2", "dynamic:x", "6:dynamic"]
)
def test_what_is_no_delay(text: str) -> None:
    with pytest.raises(InputError, match="retrieve delay"):
        parse_delay(text)


@pytest.mark.parametrize(
    ("status", "move", "text"),
    [
        (0xA700, False, "status A700: out of resources"),
        (0xA702, True, "status A702: out of resources"),
        (0xA801, True, "status A801: the PACS does not know our AE title as destination: ask its administrator"),
        (0xA900, False, "status A900: the PACS does not take these keys"),
        (0xB000, True, "status B000: some images could not be sent"),
        (0xC000, True, "status C000: unable to process: the PACS does not know our AE title as destination, or cannot"),
        (0xC123, False, "status C123: unable to process: the PACS could not handle the query"),
        (0xFE00, True, "status FE00: cancelled"),
        (0x1234, True, "status 1234: a status that DICOM does not name"),
    ],
)
def test_status_in_words(status: int, move: bool, text: str) -> None:
    said = status_text(status, move=move)
    assert said.startswith(text)
    assert "\n" not in said


@pytest.mark.parametrize(
    "charset", ["", "ISO_IR 6", "ISO_IR 100", "ISO_IR 192", "\\ISO 2022 IR 87", "ISO 2022 IR 6\\ISO 2022 IR 149", "GBK"]
)
def test_character_sets_of_dicom(charset: str) -> None:
    assert build_query({}, charset=charset).charset == charset


@pytest.mark.parametrize(
    ("charset", "near"),
    [
        ("ISO_IR192", "'ISO_IR 192'"),
        ("iso_ir 100", "'ISO_IR 100'"),
        ("utf-8", "'ISO_IR 192'"),
        ("\\ISO2022 IR87", "'ISO 2022 IR 87'"),
        ("ISO_IR 149", "'ISO 2022 IR 149'"),
        ("GB 18030", "'GB18030'"),
        ("BLA", "ISO_IR 192"),
        ("ISO_IR 100\\", "''"),
    ],
)
def test_what_is_no_character_set(charset: str, near: str) -> None:
    with pytest.raises(InputError, match="no defined term") as caught:
        build_query({}, charset=charset)
    assert near in str(caught.value)
