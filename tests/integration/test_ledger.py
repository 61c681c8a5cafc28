"""Complete, or explained: whatever the PACS does, px says what is missing, and never that a part is the whole."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import PeerRejectedError
from pypx.model.identifiers import UID, AETitle
from pypx.model.outcomes import Completeness, MoveOutcome, MoveState, SeriesState
from pypx.model.peers import PacsNode
from pypx.model.records import SeriesRef
from pypx.services import dcmtk, process
from pypx.services.dcmtk import Limits
from pypx.services.dcmtk_log import FinalResponse
from pypx.workflows.fetch import Fetch, FetchOptions
from pypx.workflows.find import build_query, find
from pypx.workflows.move import retrieve
from pypx.workflows.status import series_status
from scripted_pacs import (
    ALWAYS,
    Archive,
    Case,
    Drop,
    Duplicate,
    Fault,
    Script,
    ScriptedPacs,
    SeriesTruth,
    draw_case,
    make_archive,
)
from support.corpus import make_series
from support.ports import free_port, wait_until
from support.pxrun import PxRunner
from support.servers import HOST, Orthanc

LONG = bool(os.environ.get("PX_TEST_LONG"))
CASES = 300 if LONG else 12
LISTENER = "PXLISTEN"
SENDING = "Sending resource"
LIMITS = Limits(connect_s=5, acse_s=10, dimse_s=20)
OPTIONS = FetchOptions(limits=LIMITS, retries=4, pause_s=0.05, idle_s=0.8)


class Site:
    """A listener with its BASEMOUNT, and a scripted PACS that sends to it."""

    def __init__(self, basemount: Path, port: int, pacs: ScriptedPacs) -> None:
        self.layout = Layout.of_basemount(basemount)
        self.listener_port = port
        self.pacs = pacs
        self.plays = 0
        self.node = PacsNode(HOST, pacs.port, AETitle(pacs.aet), AETitle("PX"), AETitle(LISTENER))

    @property
    def database(self) -> Database:
        return Database.open_or_create(self.layout)

    def play(self, archive: Archive, script: Script | None = None) -> None:
        """Another script; under another title, so that nothing is remembered of the PACS."""
        self.pacs.play(script or Script(), archive)
        self.plays += 1
        self.node = PacsNode(HOST, self.pacs.port, AETitle(f"PLAY{self.plays}"), AETitle("PX"), AETitle(LISTENER))

    def refs(self) -> list[SeriesRef]:
        archive, script = self.pacs.archive, self.pacs.script
        found = []
        for series in archive.series():
            claimed = script.claimed(series)
            study = archive.study_of(series.SeriesInstanceUID)
            uids = UID(study.StudyInstanceUID), UID(series.SeriesInstanceUID)
            found.append(SeriesRef(*uids, claimed if isinstance(claimed, int) else None))
        return found

    def fetch(self, options: FetchOptions = OPTIONS) -> list[MoveOutcome]:
        work = Fetch(self.refs(), self.node, self.database, options)
        return work.settle(list(work.ask()))

    def held(self, series: str) -> set[str]:
        return set(self.database.images(UID(series)))

    def lose(self, *uids: str) -> None:
        """Forget images, and remove their files."""
        database = self.database
        for ref in self.refs():
            images = database.images(ref.SeriesInstanceUID)
            gone = [UID(uid) for uid in uids if uid in images]
            for uid in gone:
                self.layout.resolve(images[uid].file).unlink()
            database.forget_images(ref.SeriesInstanceUID, gone)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("ledger")
    basemount, port = folder / "basemount", free_port()
    runner = PxRunner(folder)
    pacs = ScriptedPacs(free_port(), "SCRIPTED", {LISTENER: (HOST, port)}, make_archive("none", patients=0))
    try:
        listener = runner.start("listen", "--basemount", basemount, "--port", port, "--bind", HOST, "--jsonl",
                                "--min-free", "1M")  # fmt: skip
        wait_until(lambda: '"ready"' in listener.stdout(), f"the listener is ready: {listener.stderr()}")
        with pacs:
            yield Site(basemount, port, pacs)
    finally:
        runner.stop_all()


# --- any PACS


def check(outcome: MoveOutcome, truth: SeriesTruth, held: set[str]) -> None:
    """What must be true of a verdict, whatever the PACS did."""
    verdict = outcome.verdict
    assert verdict is not None
    everything = set(truth.instances)
    assert held <= everything
    assert verdict.packed == verdict.received == len(held)
    if verdict.state is SeriesState.COMPLETE:
        assert held == everything, f"complete, without {everything - held}"
    if verdict.missing is not None:
        assert set(verdict.missing) == everything - held
    listed = truth.listed is not None and set(truth.listed) == everything and truth.list_status == 0
    vouched = listed and truth.claimed == len(everything)
    if vouched:
        assert verdict.expected == len(everything)
        assert verdict.missing is not None
        assert (verdict.state is SeriesState.COMPLETE) == (held == everything)
    conflicts = truth.conflicting & held
    assert verdict.conflicts >= len(conflicts - {uid for uid in conflicts if uid not in truth.ever})


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(CASES))
def test_whatever_the_pacs_does(site: Site, seed: int) -> None:
    """Never complete when it is not; exactly the missing are named; resuming ends with all that can ever arrive."""
    case = draw_case(random.Random(f"ledger/{seed}"))
    site.play(case.archive, case.script)
    rounds = 0
    while True:
        rounds += 1
        outcomes = site.fetch()
        site.pacs.wait_quiet()
        settle(site, case)
        assert len(outcomes) == len(case.truths)
        for outcome, truth in zip(outcomes, case.truths, strict=True):
            held = site.held(truth.SeriesInstanceUID)
            (status,) = series_status([outcome.series], site.database)
            assert outcome.verdict is not None
            if status == outcome.verdict:
                check(outcome, truth, held)
            else:  # images that came after the waiting had ended
                assert outcome.verdict.state is not SeriesState.COMPLETE
        if all(site.held(truth.SeriesInstanceUID) == truth.ever for truth in case.truths):
            break
        assert rounds < 6, f"seed {seed}, {case}: {[outcome.verdict for outcome in outcomes]}"
    final = site.fetch()
    for outcome, truth in zip(final, case.truths, strict=True):
        check(outcome, truth, site.held(truth.SeriesInstanceUID))
        if outcome.verdict is not None and outcome.verdict.state is SeriesState.COMPLETE:
            assert outcome.state is MoveState.NOT_ASKED or truth.first


def settle(site: Site, case: Case) -> None:
    """Return when the listener has filed all that the PACS has stored."""
    stored = set(site.pacs.journal().stored())
    series = [truth.SeriesInstanceUID for truth in case.truths]
    wait_until(lambda: stored <= set().union(*map(site.held, series)), "all that was stored is filed")


# --- what is asked for, and what not


def asked(site: Site) -> list[tuple[str, int]]:
    """Level of each C-MOVE, and how many instances it named."""
    return [
        (one.level, len(one.keys.get("SOPInstanceUID", "").split("\\")) if one.level == "IMAGE" else 0)
        for one in site.pacs.journal().asked("C-MOVE")
    ]


def fetched(site: Site, options: FetchOptions = OPTIONS) -> MoveOutcome:
    (outcome,) = site.fetch(options)
    site.pacs.wait_quiet()
    return outcome


def fresh(site: Site, script: Script | None = None, *, instances: int = 24) -> Archive:
    """A series that nobody has retrieved yet."""
    archive = make_archive(f"fresh {site.plays}", patients=1, studies=1, series=1, instances=instances)
    site.play(archive, script)
    return archive


def test_what_is_complete_is_not_asked_for_and_what_is_missing_is_named(site: Site) -> None:
    (series,) = fresh(site).series()
    assert fetched(site).complete
    site.pacs.forget()
    again = fetched(site)
    assert (again.state, again.complete, asked(site)) == (MoveState.NOT_ASKED, True, [])
    lost = series.uids[3:8]
    site.lose(*lost)
    few = fetched(site)
    assert (few.complete, asked(site)) == (True, [("IMAGE", 5)])
    assert sorted(site.pacs.journal().stored()) == sorted(lost)
    site.pacs.forget()
    site.lose(*series.uids[:7])
    assert fetched(site).complete
    assert asked(site) == [("SERIES", 0)], "more than a quarter is asked for as a series"
    site.pacs.forget()
    forced = fetched(site, replace(OPTIONS, force=True))
    assert (forced.complete, asked(site)) == (True, [("SERIES", 0)])


def test_files_that_are_gone_are_missing_before_anybody_verifies(site: Site) -> None:
    (series,) = fresh(site).series()
    assert fetched(site).complete
    images = site.database.images(UID(series.SeriesInstanceUID))
    site.layout.resolve(images[UID(series.uids[0])].file).unlink()
    site.pacs.forget()
    outcome = fetched(site)
    assert asked(site) == [("IMAGE", 1)]
    assert outcome.complete


def test_a_level_that_a_pacs_refuses_is_remembered(site: Site) -> None:
    refusing = tuple(Fault("status", command, "IMAGE", status=0xA900) for command in ("C-FIND", "C-MOVE"))
    (series,) = fresh(site, Script(faults=refusing)).series()
    outcome = fetched(site)
    assert outcome.complete, "the count and the sub-operations agree"
    assert len(site.pacs.journal().asked("C-FIND", "IMAGE")) == 1
    site.lose(series.uids[0])
    missing = next(series_status(site.refs(), site.database))
    assert (missing.state, missing.expected, missing.missing) == (SeriesState.MISSING, 24, None)
    assert fetched(site).complete
    assert len(site.pacs.journal().asked("C-FIND", "IMAGE")) == 1


def test_a_refused_c_move_of_instances_falls_back_to_the_series(site: Site) -> None:
    (series,) = fresh(site, Script(faults=(Fault("status", "C-MOVE", "IMAGE", status=0xA900),))).series()
    assert fetched(site).complete
    for requests in ([("IMAGE", 2), ("SERIES", 0)], [("SERIES", 0)]):
        site.pacs.forget()
        site.lose(*series.uids[:2])
        assert fetched(site).complete
        assert asked(site) == requests


def test_without_expectation_the_count_must_do(site: Site) -> None:
    fresh(site)
    outcome = fetched(site, replace(OPTIONS, expect=False))
    assert site.pacs.journal().asked("C-FIND") == []
    assert outcome.complete


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "C-MOVE", status=0xA702, times=2),
        Fault("status", "C-MOVE", status=0xA702, after=3, times=2),
        Fault("abort", "C-MOVE", after=3, times=3),
        Fault("close", "C-MOVE", times=3),
    ],
    ids=["A702", "A702-midway", "abort", "close"],
)
def test_retries_bring_what_a_busy_pacs_did_not_send(site: Site, fault: Fault) -> None:
    fresh(site, Script(faults=(fault,)))
    first = fetched(site, replace(OPTIONS, retries=0))
    assert not first.complete
    assert fetched(site).complete
    fresh(site, Script(faults=(fault,)))
    outcome = fetched(site)
    assert outcome.complete
    assert outcome.attempts > 1


def test_a_rejection_for_now_is_retried_and_a_final_one_is_not(site: Site) -> None:
    fresh(site, Script(reject_first=3))
    assert fetched(site).complete
    fresh(site, Script(reject_first=ALWAYS, reject_with=(1, 1, 7)))
    with pytest.raises(PeerRejectedError, match="Called AE Title Not Recognized"):
        fetched(site)
    assert len(site.pacs.journal().associations()) == 1


def test_an_unknown_destination_is_refused_at_once(site: Site) -> None:
    fresh(site)
    node = site.node
    site.node = PacsNode(node.host, node.port, node.called_aet, node.calling_aet, AETitle("NOWHERE"))
    outcome = fetched(site)
    assert (outcome.verdict and outcome.verdict.state, outcome.attempts) == (SeriesState.REFUSED, 1)
    assert "as destination" in str(outcome.error)


def test_more_than_expected_and_conflicts_are_told(site: Site) -> None:
    archive = make_archive("unlisted", patients=1, studies=1, series=1, instances=9)
    (series,) = archive.series()
    hidden, twice = series.uids[0], series.uids[5]
    site.play(archive, Script(unlisted=(hidden,), count_error=-1, duplicates=(Duplicate(twice, other_content=True),)))
    outcome = fetched(site)
    verdict = outcome.verdict
    assert verdict is not None
    assert (verdict.packed, verdict.conflicts) == (9, 1)
    assert verdict.state is not SeriesState.COMPLETE
    assert not outcome.complete


def test_a_count_without_a_second_witness_is_no_proof(site: Site) -> None:
    """The PACS counts too low, lists nothing, and loses one: only its sub-operations tell."""
    archive = make_archive("low", patients=1, studies=1, series=1, instances=9)
    (series,) = archive.series()
    refusing = Fault("status", "C-FIND", "IMAGE", status=0xA900)
    site.play(archive, Script(count_error=-1, faults=(refusing,), drops=(Drop(series.uids[:1]),)))
    verdict = fetched(site).verdict
    assert verdict is not None
    assert (verdict.packed, verdict.state) == (8, SeriesState.UNKNOWN_EXPECTATION)


# --- the commands


def test_the_command_ends_with_a_verdict(site: Site, px: PxRunner) -> None:
    archive = make_archive("command", patients=1, studies=1, series=2, instances=12)
    first, second = archive.series()
    site.play(archive, Script(drops=(Drop(second.uids[:2], "completed", 1),)))
    node = site.node
    args = ("move", "--serverIP", node.host, "--serverPort", node.port, "--aec", node.called_aet, "--aet", "PX",
            "--move-destination", LISTENER, "--basemount", site.layout.base, "--idle", "1",
            "--StudyInstanceUID", archive.studies()[0].StudyInstanceUID)  # fmt: skip
    short = px(*args, "--json")
    assert short.returncode == 3
    document = json.loads(short.stdout)
    records = {record["SeriesInstanceUID"]: record for record in document["series"]}
    assert document["complete"] is False
    assert records[first.SeriesInstanceUID]["state"] == "complete"
    record = records[second.SeriesInstanceUID]
    assert (record["state"], record["missing"], record["expected"]) == ("missing", sorted(second.uids[:2]), 12)
    assert (record["answer"], record["status"], record["completed"]) == ("success", "0000", 12)
    status = px("status", "--basemount", site.layout.base, "--SeriesInstanceUID", second.SeriesInstanceUID, "--jsonl")
    told = json.loads(status.ok().stdout)
    keys = ("StudyInstanceUID", "SeriesInstanceUID", "state", "expected", "received", "pushed", "registered", "missing")
    assert set(keys) <= told.keys()
    assert (told["state"], told["missing"]) == ("missing", sorted(second.uids[:2]))
    site.pacs.forget()
    lines = px(*args, "--jsonl").ok().stdout.splitlines()
    assert {json.loads(line)["asked"] for line in lines} == {"nothing", "instances"}
    assert sorted(site.pacs.journal().stored()) == sorted(second.uids[:2])
    table = px(*args).ok()
    assert "2 of 2 series" in table.stderr


# --- the truth is in the log block of each request's own final response


def by_exit_code(
    talk: dcmtk.Conversation,
    program: str,
    options: Sequence[str],
    files: Sequence[Path],
    stop: Event | None,
    **_run: object,
) -> dcmtk.Finals:
    """What px would believe if it believed exit codes: 0 means that every request was answered with Success."""
    argv = [program, *options, *talk.limits.options(), *dcmtk.addressed(talk.node), *map(str, files)]
    done = process.run(argv, idle_s=talk.limits.idle_s)
    for number in range(1, len(files) + 1):
        yield FinalResponse(number, 0 if done.returncode == 0 else 0xC000)
    return None


SHORT = Limits(connect_s=5, acse_s=5, dimse_s=1)
MIDDLE = make_archive("middle", patients=1, studies=5, series=1, instances=4)
THIRD = MIDDLE.series()[2]
FIND_FAULTS = {
    "abort": Fault("abort", "C-FIND", "SERIES", request=3),
    "time-out": Fault("silence", "C-FIND", "SERIES", request=3, times=1),
    "A700": Fault("status", "C-FIND", "SERIES", request=3, status=0xA700),
}
MOVE_FAULTS = {
    "abort": Script(faults=(Fault("abort", "C-MOVE", series=(THIRD.SeriesInstanceUID,), after=2),)),
    "time-out": Script(faults=(Fault("silence", "C-MOVE", series=(THIRD.SeriesInstanceUID,), after=2),)),
    "A700": Script(faults=(Fault("status", "C-MOVE", series=(THIRD.SeriesInstanceUID,), status=0xA700),)),
    "B000": Script(drops=(Drop(THIRD.uids[:1], "failed"),)),
}


def check_find(site: Site) -> None:
    """Every study has its series, or the result says that it is short."""
    result = find(build_query({}), site.node, limits=SHORT)
    assert len(result.series) == 5 or result.complete is not Completeness.YES


def check_move(site: Site) -> None:
    """The third request of five, and only that, is told to have failed."""
    outcomes = {one.series.SeriesInstanceUID: one for one in retrieve(site.refs(), site.node, limits=SHORT)}
    assert [uid for uid, one in outcomes.items() if not one.ok] == [THIRD.SeriesInstanceUID]


@pytest.mark.parametrize("name", FIND_FAULTS)
def test_a_query_is_judged_by_its_own_final_response(site: Site, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the check fails as soon as exit codes are believed."""
    site.play(MIDDLE, Script(faults=(FIND_FAULTS[name],)))
    check_find(site)
    site.play(MIDDLE, Script(faults=(FIND_FAULTS[name],)))
    monkeypatch.setattr(dcmtk, "_converse", by_exit_code)
    with pytest.raises(AssertionError):
        check_find(site)


@pytest.mark.parametrize("name", MOVE_FAULTS)
def test_a_retrieve_is_judged_by_its_own_final_response(site: Site, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the check fails as soon as exit codes are believed."""
    site.play(MIDDLE, MOVE_FAULTS[name])
    check_move(site)
    site.play(MIDDLE, MOVE_FAULTS[name])
    monkeypatch.setattr(dcmtk, "_converse", by_exit_code)
    with pytest.raises(AssertionError):
        check_move(site)


# --- Orthanc


def test_seven_of_five_hundred(site: Site, empty_orthanc: Orthanc, tmp_path: Path, px: PxRunner) -> None:
    """Seven files are lost; a dry run leaves it at that; verified, they and no others are sent again."""
    made = make_series(tmp_path / "500", 500, 16, 16, seed="seven of five hundred")
    empty_orthanc.upload(file.path for file in made)
    empty_orthanc.knows(LISTENER, site.listener_port)
    series, study = made.files[0].SeriesInstanceUID, made.files[0].StudyInstanceUID
    base = ("--basemount", site.layout.base)
    move = ("move", "--serverIP", HOST, "--serverPort", empty_orthanc.port, "--aec", empty_orthanc.aet, "--aet", "PX",
            "--move-destination", LISTENER, "--StudyInstanceUID", study, "--jsonl", *base)  # fmt: skip
    try:
        assert json.loads(px(*move).ok().stdout)["received"] == 500
        images = site.database.images(UID(series))
        lost = random.Random(7).sample(sorted(images), 7)
        for uid in lost:
            site.layout.resolve(images[uid].file).unlink()
        for options, left in ((("--dry-run",), 500), ((), 493)):
            verified = px("smdb", "verify", *base, "--jsonl", *options)
            assert verified.returncode == 3
            drifts = [json.loads(line) for line in verified.stdout.splitlines()]
            assert {one["SOPInstanceUID"] for one in drifts if one["SeriesInstanceUID"] == series} == set(lost)
            assert len(site.database.images(UID(series))) == left
        before = empty_orthanc.log().count(SENDING)
        record = json.loads(px(*move).ok().stdout)
        assert (record["state"], record["asked"], record["completed"]) == ("complete", "instances", 7)
        wait_until(lambda: empty_orthanc.log().count(SENDING) == before + 7, "Orthanc's log tells of seven")
        assert set(site.database.images(UID(series))) == set(images)
    finally:
        empty_orthanc.forgets(LISTENER)
        empty_orthanc.delete(series)
