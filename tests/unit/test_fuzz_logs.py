"""What DCMTK writes, mutated: logs of findscu and movescu, reports of dcmsend, requests of senders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pypx.errors import PxError
from pypx.model.identifiers import AETitle
from pypx.model.peers import PacsNode
from pypx.services.cstore import _statuses
from pypx.services.dcmtk import Answers
from pypx.services.dcmtk_log import DcmtkLog
from pypx.workflows.association import parse_request
from support.limits import LONG, cpu_limit
from support.mutate import Mutator

LOGS = sorted((Path(__file__).parent / "dcmtk_logs").rglob("*.*"))
CASES = 5_000 if LONG else 300
PEER = PacsNode("pacs", 104, AETitle("A"), AETitle("B"), AETitle("B"))


def test_mutated_logs_say_something_or_nothing() -> None:
    texts = [path.read_text(errors="replace").splitlines() for path in LOGS if path.is_file()]
    assert texts
    for number in range(CASES):
        mutator = Mutator(f"log {number}")
        log = DcmtkLog()
        with cpu_limit(5):
            for line in mutator.log(mutator.random.choice(texts)):
                final = log.feed(line)
                assert final is None or (0 <= final.status <= 0xFFFF and final.message_id >= 0)
            failure = log.failure(
                PEER, "findscu", mutator.random.choice((0, 1, -9)), within_s=350.0 if number % 2 == 0 else None
            )
        assert failure is None or isinstance(failure, PxError)
        assert "\n" not in str(failure)
        assert "\x1b" not in str(failure)
        assert len(str(failure)) < 600


def test_digits_of_other_scripts_are_no_numbers() -> None:
    """``"²".isdigit()`` is true, and ``int("²")`` an error."""
    log = DcmtkLog()
    for line in (
        "I: Received Final Find Response",
        "D: ===================== INCOMING DIMSE MESSAGE ====================",
        "D: Message Type                  : C-FIND RSP",
        "D: Message ID Being Responded To : ²",
        "D: DIMSE Status                  : 0x0000: Success",
        "D: ======================= END DIMSE MESSAGE =======================",
    ):
        assert log.feed(line) is None
    assert log.finals == {}


def test_mutated_reports_of_dcmsend() -> None:
    block = [
        "Filename      : 000001.dcm",
        "SOP Class UID : 1.2",
        "Presentation Context ID : 1",
        "DIMSE Status  : 0x0000: Success",
        "",
    ]
    for number in range(CASES):
        mutator = Mutator(f"report {number}")
        with cpu_limit(5):
            statuses = _statuses("\n".join(mutator.log(block * 3)))
        assert all(isinstance(status, str) for status in statuses.values())


def test_mutated_requests_are_read_or_not(tmp_path: Path) -> None:
    head = (
        b"\x01\0\0\0\1\0" + b"\0\1\0\0" + b"CALLED".ljust(16) + b"CALLING".ljust(16) + bytes(32) + b"\x10\0\0\x15" * 9
    )
    for number in range(CASES):
        request = parse_request(Mutator(f"request {number}").request(head)[:74], "10.0.0.1")
        if request is not None:
            for title in (request.calling_aet, request.called_aet):
                assert len(title) <= 16
                assert title.isascii()
                assert title.isprintable()


def test_other_files_among_the_answers_are_no_answers(tmp_path: Path) -> None:
    for name in ("rsp0001.dcm", "rsp0003.dcm", "x.dcm", "rsp0001.txt"):
        (tmp_path / name).touch()
    assert [number for number, _ in Answers(tmp_path).rest()] == [1, 2]


def test_answers_are_told_apart_while_they_come(tmp_path: Path) -> None:
    def come(*numbers: int) -> None:
        for number in numbers:
            (tmp_path / f"rsp{number:04}.dcm").touch()

    def taken(found: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
        return [(query, Path(path).stem[3:]) for query, path in found]

    answers = Answers(tmp_path)
    come(1, 2, 4)
    assert taken(answers.after_final()) == [(1, "0001"), (1, "0002")]
    come(7, 8)
    assert taken(answers.after_final()) == [(2, "0004")]
    assert taken(answers.after_final()) == []
    assert taken(answers.after_final()) == [(4, "0007"), (4, "0008")]
    come(10, 12, 9999, 10000)
    assert taken(answers.rest()) == [(5, "0010"), (6, "0012"), (9992, "9999"), (9992, "10000")]
