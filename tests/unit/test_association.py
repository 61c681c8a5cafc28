"""The head of an A-ASSOCIATE-RQ, and who may send."""

from __future__ import annotations

import struct
import time
from ipaddress import ip_network

import pytest

from pypx.errors import InputError
from pypx.model.identifiers import parse_ae_title
from pypx.workflows.association import AccessRules, AssociationRequest, Rejection, parse_network, parse_request


def head(called: bytes = b"PX", calling: bytes = b"PACS", *, kind: int = 1, length: int = 200) -> bytes:
    return struct.pack(">BBLHH16s16s32s", kind, 0, length, 1, 0, called.ljust(16), calling.ljust(16), b"")


def test_titles_are_read_without_their_padding() -> None:
    assert parse_request(head(b"MY PACS", b"SIXTEEN-LETTERS-"), "192.0.2.1") == AssociationRequest(
        calling_aet="SIXTEEN-LETTERS-", called_aet="MY PACS", address="192.0.2.1"
    )


@pytest.mark.parametrize(
    ("title", "good"),
    [
        (b"PACS", True), (b"  PACS", True), (b"PACS\0\0", True), (b"pacs 1", True), (b"-PACS_(1)~", True),
        (b"SIXTEEN-LETTERS-", True), (b"", False), (bytes(16), False), (b" \0 \0", False), (b"PA\\CS", False),
        (b"PA\tCS", False), (b"PA\0CS", False), (b"PACS\n", False), (b"PACS\x7f", False), ("PÄCS".encode(), False),
    ],
)  # fmt: skip
def test_titles_are_those_of_dicom(title: bytes, good: bool) -> None:
    """PS3.5 6.2, VR AE."""
    for data, flaw in ((head(calling=title), Rejection.CALLING_AE), (head(called=title), Rejection.CALLED_AE)):
        request = parse_request(data, "192.0.2.1")
        assert request is not None
        assert request.flaw is (None if good else flaw)
        assert AccessRules().judge(request) is request.flaw


def item(kind: int, *parts: bytes) -> bytes:
    value = b"".join(parts)
    return struct.pack(">BxH", kind, len(value)) + value


APPLICATION = item(0x10, b"1.2.840.10008.3.1.1.1")
ABSTRACT, TRANSFER = item(0x30, b"1.2.840.10008.1.1"), item(0x40, b"1.2.840.10008.1.2")
CONTEXT = item(0x20, b"\1\0\0\0", ABSTRACT, TRANSFER)
USER = item(0x50, item(0x51, b"\0\0\x40\0"), item(0x52, b"1.2.3"))


@pytest.mark.parametrize(
    ("items", "good"),
    [
        ([APPLICATION, CONTEXT, USER], True),
        ([APPLICATION, *[CONTEXT] * 128, USER], True),
        ([USER, CONTEXT, item(0x99, b"a later edition")], True),
        ([CONTEXT, item(0x50, item(0x55, b"n" * 64), item(0x58, b"x" * 60_000))], True),
        ([], False),
        ([APPLICATION, USER], False),
        ([item(0x20), USER], False),
        ([item(0x20, b"\1\0\0\0", ABSTRACT), USER], False),
        ([item(0x20, b"\1\0\0\0", item(0x30, b"1" * 65), TRANSFER), USER], False),
        ([CONTEXT, item(0x50, item(0x55, b"n" * 60_000))], False),
        ([CONTEXT, item(0x50, b"\x52\0\0\x09", b"1.2.3")], False),
        ([CONTEXT, USER, b"\0\0"], False),
        ([CONTEXT, USER[:-1]], False),
    ],
)
def test_what_storescp_would_not_answer_is_a_flaw(items: list[bytes], good: bool) -> None:
    """PS3.8 9.3.2; tried with DCMTK 3.6.7."""
    variable = b"".join(items)
    request = parse_request(head(length=68 + len(variable)) + variable, "")
    assert request is not None
    assert request.flaw is (None if good else Rejection.MALFORMED)
    if variable:
        half = parse_request(head(length=68 + len(variable)) + variable[:-1], "")
        assert half is not None
        assert half.flaw is None, "judged when all of it is there"


def test_a_request_of_nothing_but_empty_items_is_judged_at_once() -> None:
    variable = item(0x99) * 60_000
    began = time.process_time()
    request = parse_request(head(length=68 + len(variable)) + variable, "")
    assert request is not None
    assert request.flaw is Rejection.MALFORMED
    assert time.process_time() - began < 1


def test_titles_padded_with_nul_or_with_odd_characters_come_out_printable() -> None:
    request = parse_request(head(b"PX\0\0", b"A\x1b[2J\xff"), "")
    assert request is not None
    assert (request.called_aet, request.calling_aet) == ("PX", "A?[2J?")


@pytest.mark.parametrize(
    "data",
    [b"", head()[:73], head(kind=4), b"GET / HTTP/1.1\r\n".ljust(74), head(length=67), head(length=1 << 30)],
    ids=["empty", "short", "P-DATA", "HTTP", "too short to be true", "too long"],
)
def test_anything_else_is_no_request(data: bytes) -> None:
    assert parse_request(data, "") is None


@pytest.mark.parametrize(
    ("rejection", "pdu"),
    [
        (Rejection.CALLED_AE, "03 00 00000004 00 01 01 07"),
        (Rejection.CALLING_AE, "03 00 00000004 00 01 01 03"),
        (Rejection.ADDRESS, "03 00 00000004 00 01 01 03"),
        (Rejection.LOCAL_LIMIT, "03 00 00000004 00 02 03 02"),
        (Rejection.STOPPING, "03 00 00000004 00 02 03 01"),
        (Rejection.MALFORMED, "03 00 00000004 00 01 02 01"),
    ],
)
def test_rejection_pdu(rejection: Rejection, pdu: str) -> None:
    assert rejection.pdu() == bytes.fromhex(pdu)
    assert rejection.text


RULES = AccessRules(
    aet=parse_ae_title("PX"),
    calling_aets=frozenset({parse_ae_title("PACS")}),
    networks=(ip_network("192.0.2.0/24"), ip_network("::1")),
)


@pytest.mark.parametrize(
    ("calling", "called", "address", "expected"),
    [
        ("PACS", "PX", "192.0.2.77", None),
        ("PACS", "PX", "::1", None),
        ("PACS", "px", "192.0.2.77", Rejection.CALLED_AE),
        ("PACS", "", "192.0.2.77", Rejection.CALLED_AE),
        ("OTHER", "PX", "192.0.2.77", Rejection.CALLING_AE),
        ("PACS", "PX", "198.51.100.1", Rejection.ADDRESS),
        ("PACS", "PX", "no address", Rejection.ADDRESS),
    ],
)
def test_rules(calling: str, called: str, address: str, expected: Rejection | None) -> None:
    assert RULES.judge(AssociationRequest(calling, called, address)) is expected


def test_without_rules_anybody_may_send() -> None:
    assert AccessRules().judge(AssociationRequest("", "", "")) is None


def test_networks_from_text() -> None:
    assert parse_network(" 10.1.2.3/24 ") == ip_network("10.1.2.0/24")
    assert parse_network("10.1.2.3") == ip_network("10.1.2.3/32")
    with pytest.raises(InputError, match="neither an address nor a network"):
        parse_network("pacs.example.org")
