"""A PACS that cuts its answers short, in silence or with A700: px asks in parts, or says that it may be short."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pypx.errors import PeerFailedError
from pypx.model.identifiers import AETitle
from pypx.model.outcomes import Completeness, FindResult
from pypx.model.peers import PacsNode
from pypx.services.dcmtk import Limits
from pypx.workflows.find import build_query, find
from scripted_pacs import Archive, Fault, Script, ScriptedPacs, make_archive
from support.ports import free_port
from support.pxrun import PxRunner

LIMITS = Limits(connect_s=5, acse_s=10, dimse_s=20)
Start = Callable[..., ScriptedPacs]


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedPacs]:
    with ScriptedPacs(free_port()) as pacs:
        yield pacs


@pytest.fixture
def scripted_pacs(running: ScriptedPacs) -> Start:
    """The one PACS of this module, with another archive and script."""

    def start(archive: Archive, script: Script | None = None) -> ScriptedPacs:
        running.play(script, archive)
        return running

    return start


MANY = make_archive("split", patients=3, studies=15, series=1, instances=1)
STUDIES = {study.StudyInstanceUID for study in MANY.studies()}
CAPS = [
    Script(find_cap=10, find_cap_levels=("STUDY",)),
    Script(find_cap=20, find_cap_levels=("STUDY",)),
    Script(find_cap=7, find_cap_status=0xA700, find_cap_levels=("STUDY",)),
    Script(find_cap=10, find_cap_status=0xA700, find_cap_levels=("STUDY",)),
    Script(find_cap=7, find_cap_status=0xA700, find_cap_instead=True, find_cap_levels=("STUDY",)),
]


def ask(pacs: ScriptedPacs, *, split: bool = True, dates: str = "") -> FindResult:
    node = PacsNode(pacs.host, pacs.port, AETitle(pacs.aet), AETitle("PX"), AETitle("PX"))
    return find(build_query({"StudyDate": dates} if dates else {}), node, limits=LIMITS, split=split)


def uids(result: FindResult) -> set[str]:
    return {study.StudyInstanceUID for study in result.studies}


@pytest.mark.parametrize("script", CAPS, ids=["10", "20", "7-A700", "10-A700", "7-A700-instead"])
@pytest.mark.parametrize("dates", ["", "20200101-20231231", "20190101-"])
def test_everything_is_found_in_parts(scripted_pacs: Start, script: Script, dates: str) -> None:
    result = ask(scripted_pacs(MANY, script), dates=dates)
    assert uids(result) == STUDIES
    assert len(result.studies) == len(STUDIES)
    assert len(result.series) == len(STUDIES)
    assert (result.complete, result.problems) == (Completeness.YES, ())


@pytest.mark.parametrize("script", CAPS, ids=["10", "20", "7-A700", "10-A700", "7-A700-instead"])
def test_without_splitting_the_result_says_that_it_may_be_short(scripted_pacs: Start, script: Script) -> None:
    pacs = scripted_pacs(MANY, script)
    if script.find_cap_instead:
        with pytest.raises(PeerFailedError, match="A700"):
            ask(pacs, split=False)
        return
    result = ask(pacs, split=False)
    assert len(result.studies) == script.find_cap
    wanted = Completeness.NO if script.find_cap_status else Completeness.UNKNOWN
    assert result.complete is wanted
    assert bool(result.problems) == bool(script.find_cap_status)


def test_a_round_number_that_is_the_truth_costs_no_association(scripted_pacs: Start) -> None:
    archive = make_archive("ten", patients=1, studies=10, series=1, instances=1)
    pacs = scripted_pacs(archive)
    result = ask(pacs)
    assert len(result.studies) == 10
    assert result.complete is Completeness.YES
    assert len(pacs.journal().associations()) == 2
    assert len(pacs.journal().asked("C-FIND", "STUDY")) == 3


def test_a_day_is_parted_by_modality(scripted_pacs: Start) -> None:
    """All studies on one day: of two modalities, neither above the limit."""
    (patient,) = make_archive("day", patients=1, studies=18, series=1, instances=1).patients
    studies = tuple(
        replace(study, StudyDate="20240229", series=(replace(study.series[0], Modality="MR" if number % 2 else "CT"),))
        for number, study in enumerate(patient.studies)
    )
    archive = Archive((replace(patient, studies=studies),))
    result = ask(scripted_pacs(archive, Script(find_cap=10, find_cap_levels=("STUDY",))), dates="20240229")
    assert uids(result) == {study.StudyInstanceUID for study in studies}
    assert result.complete is Completeness.UNKNOWN, "a study of another modality may be hidden"


def test_what_cannot_be_parted_is_never_called_complete(scripted_pacs: Start) -> None:
    """All studies on one day and of one modality."""
    (patient,) = make_archive("day", patients=1, studies=18, series=1, instances=1).patients
    studies = tuple(replace(study, StudyDate="20240229") for study in patient.studies)
    archive = Archive((replace(patient, studies=studies),))
    for status, complete in ((0, Completeness.UNKNOWN), (0xA700, Completeness.NO)):
        script = Script(find_cap=10, find_cap_status=status, find_cap_levels=("STUDY",))
        result = ask(scripted_pacs(archive, script))
        assert len(result.studies) == 10
        assert result.complete is complete


def test_a_pacs_that_never_answers_is_given_up_soon(scripted_pacs: Start) -> None:
    pacs = scripted_pacs(MANY, Script(faults=(Fault("status", "C-FIND", "STUDY", status=0xA700),)))
    with pytest.raises(PeerFailedError, match="A700"):
        ask(pacs)
    assert len(pacs.journal().asked("C-FIND")) < 300


@pytest.mark.parametrize("status", [0, 0xA700])
def test_series_are_checked_against_their_number(scripted_pacs: Start, status: int) -> None:
    (patient,) = make_archive("wide", patients=1, studies=1, series=14, instances=1).patients
    (study,) = patient.studies
    mixed = [replace(one, Modality="SR" if one.SeriesNumber > 7 else "CT") for one in study.series]
    cap = Script(find_cap=10, find_cap_status=status, find_cap_levels=("SERIES",))
    for series, complete in ((tuple(mixed), Completeness.YES), (study.series, Completeness.NO)):
        archive = Archive((replace(patient, studies=(replace(study, series=series),)),))
        result = ask(scripted_pacs(archive, cap))
        assert result.complete is complete
        assert len(result.series) == (14 if complete is Completeness.YES else 10)
        assert bool(result.problems) == (complete is Completeness.NO)


def test_instances_that_a_pacs_counts_short_are_not_counted(scripted_pacs: Start) -> None:
    archive = make_archive("deep", patients=1, studies=1, series=1, instances=25)
    pacs = scripted_pacs(archive, Script(count="absent", find_cap=10, find_cap_levels=("IMAGE",)))
    (series,) = ask(pacs).series
    assert series.ref.NumberOfSeriesRelatedInstances is None
    pacs.play(Script(count="absent"))
    (series,) = ask(pacs).series
    assert series.ref.NumberOfSeriesRelatedInstances == 25


def test_the_command_says_whether_its_answer_is_whole(scripted_pacs: Start, px: PxRunner) -> None:
    pacs = scripted_pacs(MANY, CAPS[0])
    address = ("--serverIP", pacs.host, "--serverPort", pacs.port, "--aec", pacs.aet, "--json")
    document = json.loads(px("find", *address).ok().stdout)
    assert (len(document["data"]), document["complete"], document["problems"]) == (len(STUDIES), "yes", [])
    short = px("find", *address, "--no-split")
    document = json.loads(short.ok().stdout)
    assert (len(document["data"]), document["complete"]) == (10, "unknown")
    assert "may not be all" in short.stderr
