"""How many associations a find takes: one for few studies, two for many, one at a PACS that takes no second."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from pypx.model.found import FindResult
from pypx.model.identifiers import AETitle
from pypx.model.keywords import QueryModel
from pypx.model.pacs import PacsNode
from pypx.services.dcmtk import Limits
from pypx.workflows.find import build_query, find
from scripted_pacs import Archive, Fault, Journal, Script, ScriptedPacs, make_archive
from support.corpus import make_series
from support.ports import free_port, wait_until
from support.pxrun import PxResult, PxRunner
from support.scripted import answer, scripted_pacs
from support.servers import HOST, Dcmqrscp

STUDIES = 22
ARCHIVE = make_archive("side by side", patients=1, studies=STUDIES, series=1, instances=2)
SERIES = sorted(series.SeriesInstanceUID for series in ARCHIVE.series())
SLOWLY_S = 0.02
"""Before each response, so that an association is there until another one beside it is refused."""
LIMITS = Limits(connect_s=5, acse_s=5, dimse_s=10)


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedPacs]:
    with ScriptedPacs(free_port()) as pacs:
        yield pacs


@pytest.fixture
def pacs(running: ScriptedPacs) -> ScriptedPacs:
    """The one PACS of this module, asked nothing yet."""
    running.wait_quiet()
    running.play(Script(answer_delay_s=SLOWLY_S), ARCHIVE)
    return running


def run(px: PxRunner, pacs: ScriptedPacs | Dcmqrscp, *words: str | int) -> PxResult:
    peer = ("--serverIP", HOST, "--serverPort", pacs.port, "--aec", pacs.aet, "--aet", "PX")
    return px("find", *peer, "--timeout", "5", "--acse-timeout", "1", "--dimse-timeout", "10", "--json", *words)


def ask(pacs: Any, **options: Any) -> FindResult:
    node = PacsNode(HOST, pacs.port, AETitle(pacs.aet), AETitle("PX"), AETitle("PX"))
    return find(build_query({}), node, limits=LIMITS, **options)


def found(result: PxResult) -> list[str]:
    """The series that a document names, in no order, each as often as it does."""
    studies = json.loads(result.ok().stdout)["data"]
    return sorted(series["SeriesInstanceUID"]["value"] for study in studies for series in study["series"])


def side_by_side(journal: Journal, level: str = "SERIES") -> list[int]:
    """The associations that asked at a level, by their numbers; from the second on each began before another ended."""
    numbers = [one.association for one in journal.asked("C-FIND", level)]
    spans = sorted((numbers.index(one), len(numbers) - numbers[::-1].index(one), one) for one in set(numbers))
    assert all(later[0] < max(end for _, end, _ in spans[: at + 1]) for at, later in enumerate(spans[1:]))
    return [number for _, _, number in spans]


def asked_once(journal: Journal) -> bool:
    asked = [one.keys["StudyInstanceUID"] for one in journal.asked("C-FIND", "SERIES")]
    return sorted(asked) == sorted(study.StudyInstanceUID for study in ARCHIVE.studies())


def test_many_studies_are_asked_for_through_two_associations(px: PxRunner, pacs: ScriptedPacs) -> None:
    assert found(run(px, pacs)) == SERIES
    journal = pacs.wait_quiet()
    assert len(side_by_side(journal)) == 2
    assert asked_once(journal)
    assert [one.ending for one in journal.associations()] == ["released"] * 3


def test_few_studies_are_asked_for_through_one(pacs: ScriptedPacs) -> None:
    (patient,) = ARCHIVE.patients
    pacs.play(pacs.script, Archive((replace(patient, studies=patient.studies[:15]),)))
    assert len(ask(pacs).series) == 15
    assert len(pacs.wait_quiet().associations()) == 2


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_a_number_is_a_wish(px: PxRunner, pacs: ScriptedPacs, jobs: int) -> None:
    assert found(run(px, pacs, "--jobs", jobs)) == SERIES
    assert len({one.association for one in pacs.wait_quiet().asked("C-FIND", "SERIES")}) == jobs


def test_one_is_a_wish_at_every_level() -> None:
    """In the patient root model also the study queries are many."""

    def handle(identifier: Dataset, _event: Any) -> Iterator[Any]:
        level = identifier.QueryRetrieveLevel
        for number in range(1, STUDIES + 1):
            if level == "PATIENT" or identifier.PatientID == f"P{number}":
                study = {} if level == "PATIENT" else {"StudyInstanceUID": f"1.2.{number}"}
                series = {"SeriesInstanceUID": f"1.2.{number}.1"} if level == "SERIES" else {}
                yield 0xFF00, answer(QueryRetrieveLevel=level, PatientID=f"P{number}", **study, **series)

    query = build_query({"PatientID": "P*"}, model=QueryModel.PATIENT_ROOT, return_keys=())
    for jobs, associations in ((1, 3), (None, 5)):
        with scripted_pacs(find=handle) as peer:
            node = PacsNode(HOST, peer.port, AETitle(peer.aet), AETitle("PX"), AETitle("PX"))
            assert len(find(query, node, limits=LIMITS, jobs=jobs).series) == STUDIES
        assert peer.associations == associations


@pytest.mark.parametrize("words", [(), ("--jobs", 2)], ids=["automatic", "--jobs 2"])
@pytest.mark.parametrize("beyond", ["rejected", "unanswered"])
def test_a_pacs_that_takes_one_association(
    px: PxRunner, pacs: ScriptedPacs, beyond: Any, words: tuple[str | int, ...]
) -> None:
    pacs.play(Script(most_associations=1, beyond=beyond, answer_delay_s=SLOWLY_S))
    result = run(px, pacs, *words)
    assert found(result) == SERIES
    assert "jobs" not in result.stderr
    assert "incomplete" not in result.stderr
    journal = pacs.wait_quiet()
    assert journal.associations(beyond), "a second association was not tried"
    assert asked_once(journal)


def test_more_associations_than_a_pacs_takes(px: PxRunner, pacs: ScriptedPacs) -> None:
    pacs.play(Script(most_associations=2, answer_delay_s=3 * SLOWLY_S))
    result = run(px, pacs, "--jobs", 4)
    assert found(result) == SERIES
    assert "jobs" not in result.stderr
    journal = pacs.wait_quiet()
    assert journal.associations("rejected")
    assert asked_once(journal)


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Callable[[int], Dcmqrscp]]:
    """`limited(2)` starts a dcmqrscp with MaxAssociations 2, which nobody asks yet."""
    studies = [make_series(tmp_path / str(number), 1, 4, 4, seed=f"limited {number}") for number in range(STUDIES)]
    with ExitStack() as stack:

        def start(most: int) -> Dcmqrscp:
            server = Dcmqrscp(tmp_path / "pacs", most_associations=most)
            stack.callback(server.stop)
            wait_until(lambda: idle(server), "the C-ECHO is over")
            server.upload(file.path for files in studies for file in files)
            wait_until(lambda: idle(server), "the upload is over")
            return server

        yield start


def idle(server: Dcmqrscp) -> bool:
    """Whether it counts no association: an ended one counts until its process is waited for, once a second."""
    log = server.log()
    return log.count("Association Acknowledged") == log.count("Cleaned up after child")


@pytest.mark.parametrize(("most", "words"), [(1, ()), (2, ("--jobs", 3))], ids=["automatic", "--jobs 3"])
def test_dcmqrscp_that_refuses_one(
    px: PxRunner, limited: Callable[[int], Dcmqrscp], most: int, words: tuple[str | int, ...]
) -> None:
    pacs = limited(most)
    result = run(px, pacs, *words)
    assert len(set(found(result))) == len(pacs.instances()) == STUDIES
    assert "jobs" not in result.stderr
    assert "incomplete" not in result.stderr
    assert "Refusing Association (TooManyAssociations)" in pacs.log(), "one more association was not tried"


class OneBreaksOff:
    """A PACS that aborts an association at its first series query as long as another one asks for series."""

    def __init__(self) -> None:
        self.first: Any = None
        self.tried = threading.Event()
        self.aborted = 0

    def __call__(self, identifier: Dataset, event: Any) -> Iterator[Any]:
        if identifier.QueryRetrieveLevel == "STUDY":
            for number in range(STUDIES):
                yield 0xFF00, answer(QueryRetrieveLevel="STUDY", StudyInstanceUID=f"1.2.{number}")
            return
        self.first = self.first or event.assoc
        if event.assoc is not self.first and self.first.is_alive():
            self.aborted += 1
            event.assoc.abort()
            self.tried.set()
            return
        self.tried.wait(10)
        study = str(identifier.StudyInstanceUID)
        found = answer(QueryRetrieveLevel="SERIES", StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1")
        found.NumberOfSeriesRelatedInstances = 1
        yield 0xFF00, found


@pytest.mark.parametrize("jobs", [None, 2])
def test_a_second_association_that_breaks_off(jobs: int | None) -> None:
    story = OneBreaksOff()
    with scripted_pacs(find=story) as peer:
        result = ask(peer, jobs=jobs)
    assert (len(result.series), result.problems) == (STUDIES, ())
    assert story.aborted == 1, "it was tried again beside the other"
    assert peer.associations == 4
    assert len(peer.asked) == 1 + STUDIES + 1


def test_instances_are_counted_through_two_associations(pacs: ScriptedPacs) -> None:
    pacs.play(Script(count="absent", answer_delay_s=SLOWLY_S))
    result = ask(pacs)
    assert [series.ref.NumberOfSeriesRelatedInstances for series in result.series] == [2] * STUDIES
    assert len(side_by_side(pacs.wait_quiet(), "IMAGE")) == 2


def test_what_a_pacs_refused_is_not_tried_again(pacs: ScriptedPacs) -> None:
    """The counting of instances comes after the queries for series."""
    pacs.play(Script(count="absent", most_associations=1, answer_delay_s=SLOWLY_S))
    result = ask(pacs)
    assert [series.ref.NumberOfSeriesRelatedInstances for series in result.series] == [2] * STUDIES
    journal = pacs.wait_quiet()
    last = max(one.association for one in journal.asked("C-FIND", "SERIES"))
    refused = [one.number for one in journal.associations("rejected")]
    assert refused
    assert max(refused) < last
    assert {one.association for one in journal.asked("C-FIND", "IMAGE")} == {last + 1}


def test_progress_counts_each_study_once(pacs: ScriptedPacs) -> None:
    pacs.play(Script(most_associations=1, answer_delay_s=SLOWLY_S))
    seen: list[tuple[int, int]] = []
    ask(pacs, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, STUDIES) for done in range(1, STUDIES + 1)]


def test_a_status_is_an_answer(pacs: ScriptedPacs) -> None:
    """A query that fails is not asked again because the association beside it was refused."""
    failing = (Fault("status", "C-FIND", "SERIES", status=0xC000),)
    pacs.play(Script(most_associations=1, answer_delay_s=SLOWLY_S, faults=failing))
    result = ask(pacs, split=False)
    assert len(result.problems) == STUDIES
    assert asked_once(pacs.wait_quiet())


@pytest.mark.parametrize("answered", [1, STUDIES // 2 + 1], ids=["beside", "afterwards"])
def test_interrupted(px: PxRunner, pacs: ScriptedPacs, answered: int) -> None:
    """While the one association is asked, and while that is which asks for what the refused one left."""
    pacs.play(Script(most_associations=1, answer_delay_s=5 * SLOWLY_S))
    command = px.start("find", "--serverIP", HOST, "--serverPort", pacs.port, "--aec", pacs.aet, "--aet", "PX")
    wait_until(lambda: len(pacs.journal().asked("C-FIND", "SERIES")) > answered, "series are asked for")
    pacs.play(Script(most_associations=1, faults=(Fault("silence", "C-FIND"),)))
    wait_until(lambda: any(one.ending == "silent" for one in pacs.journal().asked()), "a query hangs")
    assert command.stop(signal.SIGINT, timeout=5) == 130
    pacs.wait_quiet()


@pytest.mark.parametrize(("named", "associations"), [(1, 1), (8, 1), (9, 2)])
def test_studies_that_are_named_are_asked_for_with_their_series(
    pacs: ScriptedPacs, named: int, associations: int
) -> None:
    """What a PACS does not have is asked for in vain, and one that it has twice is found once."""
    studies = [study.StudyInstanceUID for study in ARCHIVE.studies()[:named]]
    node = PacsNode(HOST, pacs.port, AETitle(pacs.aet), AETitle("PX"), AETitle("PX"))
    wanted = "\\".join([*studies[:-1], "1.2.3.4.5"] if named > 1 else studies)
    found = find(build_query({"StudyInstanceUID": wanted}), node, limits=LIMITS)
    kept = studies[: len(studies) - (named > 1)]
    assert sorted(study.StudyInstanceUID for study in found.studies) == sorted(kept)
    assert all(len(study.series) == 1 for study in found.studies)
    assert found.problems == ()
    journal = pacs.wait_quiet()
    assert len(journal.associations()) == associations
    asked = [one.keys["StudyInstanceUID"] for one in journal.asked("C-FIND", "SERIES")]
    assert len(asked) == len(set(asked)) == (named if associations == 1 else len(kept))
