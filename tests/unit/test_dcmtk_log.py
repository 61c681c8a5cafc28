"""The log of DCMTK, judged on logs that the real programs wrote (DCMTK 3.6.7) against scripted peers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypx.errors import PeerFailedError, PeerRejectedError, PeerUnreachableError, PxError, ToolFailedError
from pypx.model.identifiers import AETitle
from pypx.model.outcomes import SubOperations
from pypx.model.peers import PacsNode
from pypx.services.dcmtk_log import (
    DcmtkLog,
    FinalResponse,
    PeerBusyError,
    PeerFloodError,
    PeerSilentError,
    ServiceRefusedError,
)

LOGS = Path(__file__).parent / "dcmtk_logs"
NODE = PacsNode("127.0.0.1", 104, AETitle("SCRIPT"), AETitle("PX"), AETitle("PX"))
NOTHING = SubOperations()


def read(name: str) -> tuple[DcmtkLog, list[FinalResponse]]:
    log = DcmtkLog()
    text = (LOGS / f"{name}.log").read_bytes().decode("utf-8", "replace")
    finals = [final for line in text.split("\n") if (final := log.feed(line)) is not None]
    assert {final.message_id: final for final in finals} == log.finals
    return log, finals


FINALS = [
    ("find-success", [(1, 0x0000, NOTHING), (2, 0x0000, NOTHING), (3, 0x0000, NOTHING)]),
    ("find-abort-in-second", [(1, 0x0000, NOTHING)]),
    ("find-closed-in-second", [(1, 0x0000, NOTHING)]),
    ("find-timeout-in-second", [(1, 0x0000, NOTHING)]),
    ("find-a700-in-second", [(1, 0x0000, NOTHING), (2, 0xA700, NOTHING), (3, 0x0000, NOTHING)]),
    ("find-a900-all", [(1, 0xA900, NOTHING), (2, 0xA900, NOTHING), (3, 0xA900, NOTHING)]),
    (
        "move-success-warning-unknown-destination",
        [(1, 0x0000, SubOperations(2, 0, 0, 0)), (2, 0xB000, SubOperations(1, 1, 0, 0)), (3, 0xA801, NOTHING)],
    ),
    ("move-abort-in-second", [(1, 0x0000, SubOperations(2, 0, 0, 0))]),
    ("move-timeout-in-second", [(1, 0x0000, SubOperations(2, 0, 0, 0))]),
    ("move-a702", [(1, 0xA702, SubOperations(0, 1, 0, None))]),
    ("find-refused", []),
    ("find-rejected-called", []),
    ("find-no-context", []),
    ("find-unreadable-query", []),
]


@pytest.mark.parametrize(("name", "expected"), FINALS)
def test_final_responses(name: str, expected: list[tuple[int, int, SubOperations]]) -> None:
    _, finals = read(name)
    assert finals == [FinalResponse(*each) for each in expected]


FAILURES: list[tuple[str, type[PxError], str]] = [
    ("find-refused", PeerUnreachableError, "no connection to SCRIPT@127.0.0.1:104: Connection refused"),
    ("move-refused", PeerUnreachableError, "Connection refused"),
    ("echo-refused", PeerUnreachableError, "Connection refused"),
    ("echo-unknown-host", PeerUnreachableError, "the host name is unknown"),
    ("find-silent-peer", PeerUnreachableError, "does not answer an association request"),
    ("move-silent-peer", PeerUnreachableError, "does not answer an association request"),
    ("echo-silent-peer", PeerUnreachableError, "does not answer an association request"),
    ("find-not-dicom", PeerUnreachableError, "answers, but not in DICOM"),
    ("move-not-dicom", PeerUnreachableError, "answers, but not in DICOM"),
    ("echo-not-dicom", PeerUnreachableError, "answers, but not in DICOM"),
    ("find-closed-at-once", PeerUnreachableError, "closed the connection without an answer"),
    ("echo-closed-at-once", PeerUnreachableError, "closed the connection without an answer"),
    (
        "find-rejected-called",
        PeerRejectedError,
        "rejected the association: Called AE Title Not Recognized (Rejected Permanent, Service User)",
    ),
    ("move-rejected-called", PeerRejectedError, "Called AE Title Not Recognized"),
    ("echo-rejected-called", PeerRejectedError, "Called AE Title Not Recognized"),
    ("echo-rejected-calling", PeerRejectedError, "Calling AE Title Not Recognized"),
    ("find-rejected-limit", PeerBusyError, "Local Limit Exceeded (Rejected Transient, Service Provider"),
    ("find-no-context", ServiceRefusedError, "does not offer"),
    ("move-no-context", ServiceRefusedError, "does not offer"),
    ("echo-no-context", ServiceRefusedError, "does not offer"),
    ("find-abort-in-second", PeerFailedError, "aborted the association"),
    ("find-closed-in-second", PeerFailedError, "aborted the association"),
    ("move-abort-in-second", PeerFailedError, "aborted the association"),
    ("find-timeout-in-second", PeerSilentError, "sent nothing within the time limit"),
    ("move-timeout-in-second", PeerSilentError, "sent nothing within the time limit"),
]


@pytest.mark.parametrize(("name", "kind", "text"), FAILURES)
def test_failures_are_told_apart(name: str, kind: type[PxError], text: str) -> None:
    log, _ = read(name)
    failure = log.failure(NODE, "findscu", 0, within_s=None)
    assert type(failure) is kind
    assert text in str(failure)
    assert "\n" not in str(failure)


@pytest.mark.parametrize("name", ["find-success", "find-a700-in-second", "move-success-warning-unknown-destination"])
def test_a_failing_status_is_no_failure_of_the_conversation(name: str) -> None:
    log, _ = read(name)
    assert log.failure(NODE, "findscu", 69, within_s=None) is None


@pytest.mark.parametrize(("name", "requests"), [("find-success", 3), ("find-abort-in-second", 2), ("move-refused", 0)])
def test_requests_that_were_sent_are_counted(name: str, requests: int) -> None:
    assert read(name)[0].sent == requests


def test_echo_is_judged_by_its_status_not_by_the_exit_code() -> None:
    assert read("echo-success")[0].echo_status == "Success"
    assert read("echo-failing-status")[0].echo_status == "Unknown Status: 0x122"  # echoscu ended with 0
    assert read("echo-refused")[0].echo_status is None


def test_a_program_that_breaks_down_is_a_tool_failure() -> None:
    log, _ = read("find-unreadable-query")
    failure = log.failure(NODE, "findscu", 1, within_s=None)
    assert isinstance(failure, ToolFailedError)
    assert "nothere" not in str(failure)
    crashed = read("find-success")[0].failure(NODE, "findscu", -11, within_s=None)
    assert isinstance(crashed, ToolFailedError)
    assert "signal 11" in str(crashed)


def test_our_own_limit() -> None:
    assert type(DcmtkLog().failure(NODE, "findscu", -15, within_s=350.0)) is PeerUnreachableError
    log, _ = read("find-success")
    assert type(log.failure(NODE, "findscu", -15, within_s=350.0)) is PeerSilentError


@pytest.mark.parametrize(
    "lines",
    [
        (
            "E: Find Failed, file: q.dcm:",
            "E: 0006:020d DIMSE: receiveCommand: cmdSet->read() Failed",
            "E: 0000:0002 Virtual Memory exhausted",
        ),
        (
            "W: DIMSE Warning: (FINDSCU,X): DIMSE receiveDataSetInMemory: dset->read() Failed (Virtual Memory exhausted)",
            "E: 0006:020d DIMSE Failed to receive message",
        ),
        ("terminate called after throwing an instance of 'St9bad_alloc'", "  what():  std::bad_alloc"),
    ],
    ids=["command", "data set", "library"],
)
def test_a_peer_that_sends_too_much(lines: tuple[str, ...]) -> None:
    log = DcmtkLog()
    for line in ("I: Requesting Association", "I: Association Accepted (Max Send PDV: 16372)", *lines):
        log.feed(line)
    failure = log.failure(NODE, "findscu", -6, within_s=None)
    assert type(failure) is PeerFloodError
    assert "sent or announced more than fits into the 512 MiB of memory of findscu" in str(failure)


def test_what_our_own_limit_says_is_true_of_a_peer_that_never_stops() -> None:
    log, _ = read("find-success")
    assert str(log.failure(NODE, "findscu", -15, within_s=350.0)).endswith(
        "did not finish an answer within 350 s; findscu was ended"
    )


def test_an_interrupted_block_counts_for_nothing() -> None:
    """A final response is taken from a whole block only, never from a piece of one."""
    lines = (LOGS / "move-success-warning-unknown-destination.log").read_text().split("\n")
    first = lines.index("I: Received Final Move Response")
    end = next(at for at in range(first, len(lines)) if "END DIMSE MESSAGE" in lines[at])
    for cut in range(first, end):
        log = DcmtkLog()
        for line in [*lines[:cut], "E: Move Request Failed: 0006:0317 Peer aborted Association", *lines[cut + 1 :]]:
            log.feed(line)
        assert 1 not in log.finals
        assert {2, 3} <= log.finals.keys()


def test_pending_responses_are_no_answers() -> None:
    lines = [
        "I: Received Find Response 1",
        "D: ===================== INCOMING DIMSE MESSAGE ====================",
        "D: Message Type                  : C-FIND RSP",
        "D: Message ID Being Responded To : 1",
        "D: DIMSE Status                  : 0x0000: Success",
        "D: ======================= END DIMSE MESSAGE =======================",
    ]
    log = DcmtkLog()
    assert [log.feed(line) for line in lines] == [None] * 6
    lines[0] = "I: Received Final Find Response"
    assert [log.feed(line) for line in lines][-1] == FinalResponse(1, 0)


def test_texts_hold_nothing_of_the_log_but_known_words() -> None:
    log = DcmtkLog()
    for line in ("E: Association Request Failed: 0006:031c TCP Initialization Error: DOE^JANE 1234", "E: DOE^JANE"):
        log.feed(line)
    assert "JANE" not in str(log.failure(NODE, "findscu", 2, within_s=None))
    log = DcmtkLog()
    log.feed("I: Association Accepted (Max Send PDV: 16372)")
    log.feed("E: Find Failed, file: DOE^JANE: 0006:0999 DOE^JANE")
    assert str(log.failure(NODE, "findscu", 0, within_s=None)).endswith("(DCMTK condition 0006:0999)")
