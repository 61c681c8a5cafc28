"""Answers that may be short: what is asked again, and what of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from pypx.errors import PeerFailedError
from pypx.model.found import Completeness
from pypx.model.records import Element
from pypx.workflows.answers import Answer, value_of
from pypx.workflows.querying import Reply
from pypx.workflows.splitting import RESOURCES, StudyParts

KEYS = {"PatientID": "P1", "StudyDate": "", "StudyInstanceUID": "", "NumberOfStudyRelatedInstances": ""}


def whole(number: int) -> Answer:
    return (
        Element("0008,0020", "StudyDate", f"202001{number:02d}"),
        Element("0020,000d", "StudyInstanceUID", f"1.2.{number}"),
        Element("0020,1208", "NumberOfStudyRelatedInstances", "7"),
    )


def only_uid(number: int) -> Answer:
    return (Element("0020,000d", "StudyInstanceUID", f"1.2.{number}"),)


def ten() -> StudyParts:
    return StudyParts(KEYS, Reply([whole(number) for number in range(1, 11)]))


def with_all_keys(parts: StudyParts) -> bool:
    """Whether the same two parts as at first are to be asked for, with all attributes."""
    dates = [keys["StudyDate"] for keys in parts.pending]
    return dates == ["-20200105", "20200106-"] and all(keys.keys() == KEYS.keys() for keys in parts.pending)


def uids(answers: Sequence[Answer]) -> list[str]:
    return [value_of(answer, "StudyInstanceUID") for answer in answers]


def test_a_number_that_is_round_by_chance_costs_two_queries_for_uids() -> None:
    parts = ten()
    assert parts.pending == [
        {"PatientID": "P1", "StudyDate": "-20200105", "StudyInstanceUID": ""},
        {"PatientID": "P1", "StudyDate": "20200106-", "StudyInstanceUID": ""},
    ]
    parts.take(
        [Reply([only_uid(number) for number in range(1, 6)]), Reply([only_uid(number) for number in range(6, 11)])]
    )
    assert parts.pending == []
    assert (parts.complete, parts.problem) == (Completeness.YES, None)
    assert parts.answers == [whole(number) for number in range(1, 11)]


def test_what_was_not_known_is_asked_for_with_all_attributes() -> None:
    parts = ten()
    parts.take(
        [Reply([only_uid(number) for number in range(1, 6)]), Reply([only_uid(number) for number in range(6, 13)])]
    )
    assert with_all_keys(parts)
    parts.take([Reply([whole(number) for number in range(1, 6)]), Reply([whole(number) for number in range(6, 13)])])
    assert parts.pending == []
    assert parts.complete is Completeness.YES
    assert len(parts.answers) == 12
    assert set(parts.answers) == {whole(number) for number in range(1, 13)}


def test_a_pacs_that_fails_the_question_for_uids_is_asked_the_usual_one() -> None:
    failed = Reply([], PeerFailedError("out of resources"), min(RESOURCES))
    parts = ten()
    parts.take([Reply([only_uid(1)]), failed])
    assert with_all_keys(parts)
    assert parts.problem is None
    parts.take([Reply([whole(number) for number in range(1, 6)]), Reply([whole(number) for number in range(6, 11)])])
    assert (parts.pending, parts.complete) == ([], Completeness.YES)


def test_a_pacs_that_does_not_heed_the_dates_leaves_it_unknown() -> None:
    parts = ten()
    parts.take([Reply([only_uid(number) for number in range(1, 11)])] * 2)
    assert parts.pending == []
    assert parts.complete is Completeness.UNKNOWN
    assert uids(parts.answers) == [f"1.2.{number}" for number in range(1, 11)]


def test_who_says_that_there_is_more_is_asked_with_all_attributes_at_once() -> None:
    parts = StudyParts(KEYS, Reply([whole(number) for number in range(1, 8)], PeerFailedError("A700"), 0xA700))
    assert all(keys.keys() == KEYS.keys() for keys in parts.pending)
    assert len(parts.pending) == 2


def test_a_find_loads_nothing_of_stores_and_retrieving() -> None:
    """Making a record class takes a millisecond, and the wait for a PACS begins when all is loaded."""
    code = "import sys\nimport pypx.workflows.find\nprint(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    loaded = set(answer.stdout.split())
    others = {"pypx.model.outcomes", "pypx.model.peers", "pypx.compat", "pypx.db", "difflib", "hashlib", "pydicom"}
    assert "pypx.workflows.find" in loaded
    assert loaded & others == set()
