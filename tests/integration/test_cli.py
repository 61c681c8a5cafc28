"""px as a real process against real servers: the whole chain, and what bad input does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pypx.services.process import find_program
from support.corpus import Corpus
from support.dicom import dataset_bytes
from support.ports import wait_until
from support.pxrun import PxRunner, RunningPx, clean_environment, installed
from support.servers import Dcmqrscp, Orthanc, Pacs

PATIENT = "PID-1001"


def address(pacs: Pacs, **more: str) -> dict[str, str]:
    return {"PX_SERVER_IP": pacs.host, "PX_SERVER_PORT": str(pacs.port), "PX_AEC": pacs.aet, **more}


@pytest.fixture
def listener(px: PxRunner, orthanc: Orthanc, basemount: Path, free_port: Callable[[], int]) -> Iterator[RunningPx]:
    """A listener with AE title PXTEST that Orthanc knows, filing into `basemount`."""
    port = free_port()
    orthanc.knows("PXTEST", port)
    running = px.start(
        "listen", "--basemount", basemount, "--port", port, "--bind", "127.0.0.1", "--aet", "PXTEST", "--jsonl"
    )
    running.wait_for("ready")
    try:
        yield running
    finally:
        orthanc.forgets("PXTEST")


def filed(basemount: Path) -> dict[str, Path]:
    """SOP Instance UID to file, by the names of the files."""
    return {path.stem.split("-", 1)[1]: path for path in (basemount / "data").rglob("*.dcm")}


def test_echo_tells_four_answers_apart(
    px: PxRunner, orthanc: Orthanc, dcmqrscp: Dcmqrscp, free_port: Callable[[], int]
) -> None:
    for pacs in (orthanc, dcmqrscp):
        assert "answered in" in px("echo", env=address(pacs)).ok().stdout
        rejected = px("echo", "--aec", "NOBODY", env=address(pacs))
        assert rejected.returncode == 11
        assert "NOBODY" in rejected.stderr
    assert json.loads(px("echo", "--json", env=address(orthanc)).ok().stdout)["status"] == "success"
    down = px("echo", "--serverPort", free_port(), env=address(orthanc))
    assert down.returncode == 10
    assert len(down.stderr.splitlines()) == 1
    homeless = px("echo")
    assert homeless.returncode == 2
    assert "PX_SERVER_IP" in homeless.stderr


def test_find_in_each_form(px: PxRunner, orthanc: Orthanc, corpus: Corpus) -> None:
    env = address(orthanc)
    series = {file.SeriesInstanceUID for file in corpus if file.PatientID == PATIENT}
    by_option = px("find", "--PatientID", PATIENT, "--jsonl", env=env).ok().stdout
    assert {json.loads(line)["SeriesInstanceUID"] for line in by_option.splitlines()} == series
    for args, text in (
        (["--key", f"PatientID={PATIENT}"], ""),
        (["--query-file", "-"], f"PatientID={PATIENT}\n"),
        (["--query-file", "-"], json.dumps({"PatientID": PATIENT})),
        (["--StudyInstanceUID", ",".join({f.StudyInstanceUID for f in corpus if f.PatientID == PATIENT})], ""),
    ):
        answer = px("find", *args, "--jsonl", env=env, input=text).ok().stdout
        assert {json.loads(line)["SeriesInstanceUID"] for line in answer.splitlines()} == series
    narrowed = px("find", "--PatientID", PATIENT, "--StudyDate", "20210317-20210318", "--StudyOnly", "--jsonl", env=env)
    assert len(narrowed.ok().stdout.splitlines()) == 2
    born = px("find", "--PatientBirthDate", "-19500101", "--PatientID", PATIENT, env=env).ok()
    assert "no match" in born.stderr


def test_every_name_comes_out_as_it_went_in(px: PxRunner, orthanc: Orthanc, corpus: Corpus) -> None:
    """Character sets and hostile values, from the PACS to the record and through a pipe to the report."""
    document = px("find", "--json", env=address(orthanc)).ok().stdout
    report = px(
        "report", "--jsonl", "--reportHeaderStudyTags", "PatientName", "--reportBodySeriesTags",
        "SeriesInstanceUID,SeriesDescription", input=document,
    ).ok()  # fmt: skip
    shown = {record["SeriesInstanceUID"]: record for record in map(json.loads, report.stdout.splitlines())}
    charset = [file for file in corpus if file.kind == "charset"]
    assert charset
    for file in charset:
        assert shown[file.SeriesInstanceUID]["SeriesDescription"] == file.tags["SeriesDescription"]


def test_the_whole_chain(px: PxRunner, orthanc: Orthanc, corpus: Corpus, basemount: Path, listener: RunningPx) -> None:
    env = address(orthanc, PX_AET="PXTEST", PX_BASEMOUNT=str(basemount))
    wanted = [file for file in corpus if file.PatientID == PATIENT]
    chain = px("find", "--PatientID", PATIENT, "--then", "retrieve,status", "--json", env=env).ok()
    document = json.loads(chain.stdout)
    states = [
        entry["images"]["state"]
        for study in document["then"]["01-status"]["study"]
        for entries in study.values()
        for entry in entries
    ]
    assert states == ["ImagesAllReceivedOK"] * len({file.SeriesInstanceUID for file in wanted})
    assert set(filed(basemount)) == {file.SOPInstanceUID for file in wanted}
    for file in wanted:
        assert dataset_bytes(filed(basemount)[file.SOPInstanceUID]) == dataset_bytes(file.path)

    status = px("status", "--PatientID", PATIENT, "--jsonl", env=env).ok()
    records = [json.loads(line) for line in status.stdout.splitlines()]
    assert {record["state"] for record in records} == {"complete"}
    assert sum(record["received"] for record in records) == len(wanted)
    piped = px("status", "--jsonl", env=env, input=chain.stdout).ok()
    assert sorted(piped.stdout.splitlines()) == sorted(status.stdout.splitlines())
    table = px("report", "--printReport", "json", "--seriesSpecial", "seriesStatus", input=chain.stdout).ok()
    assert "PACS:006/JSON:006/DCM:006" in table.stdout
    assert "complete" in px("do", "--then", "status", env=env, input=chain.stdout).ok().stdout
    found = px("smdb", "search", f"PatientID={PATIENT}", "Modality=MR", "--jsonl", env=env).ok()
    assert json.loads(found.stdout)["instances"] == 4

    assert listener.stop() == 0
    events = [json.loads(line) for line in listener.stdout().splitlines()]
    assert events[0]["kind"] == "ready"
    assert events[-1]["kind"] == "stopped"
    assert sum(event["new"] for event in events if event["kind"] == "series") == len(wanted)


def test_move_of_a_study_waits_for_the_listener(
    px: PxRunner, orthanc: Orthanc, corpus: Corpus, basemount: Path, listener: RunningPx
) -> None:
    study = next(file.StudyInstanceUID for file in corpus if file.kind == "twin")
    env = address(orthanc, PX_AET="PXTEST", PX_BASEMOUNT=str(basemount))
    result = px("move", "--StudyInstanceUID", study, "--jsonl", env=env).ok()
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted((record["expected"], record["completed"], record["received"]) for record in records) == [
        (2, 2, 2), (3, 3, 3),
    ]  # fmt: skip
    assert all(record["status"] == "0000" for record in records)
    assert listener.process.poll() is None


def test_a_pacs_named_in_the_basemount(px: PxRunner, orthanc: Orthanc, basemount: Path) -> None:
    entry = {"serverIP": orthanc.host, "serverPort": str(orthanc.port), "aec": orthanc.aet, "aet": "ANY"}
    where = ("--basemount", str(basemount))
    px("smdb", "service", "PACS", "set", "here", "-", *where, input=json.dumps(entry)).ok()
    assert "answered" in px("smdb", "service", "PACS", "check", "here", *where).ok().stdout
    assert orthanc.aet in px("echo", "--PACS", "here", *where).ok().stdout
    found = px("find", "--PACS", "here", "--PatientID", PATIENT, *where, "--StudyOnly").ok()
    assert len(found.stdout.splitlines()) == 4
    unknown = px("find", "--PACS", "there", *where)
    assert unknown.returncode == 2
    assert "here" in unknown.stderr


def test_an_unknown_destination_is_explained(px: PxRunner, orthanc: Orthanc, corpus: Corpus) -> None:
    file = next(iter(corpus))
    uids = ["--StudyInstanceUID", file.StudyInstanceUID, "--SeriesInstanceUID", file.SeriesInstanceUID]
    result = px("move", *uids, "--move-destination", "NOBODY", "--jsonl", env=address(orthanc))
    assert result.returncode == 12
    record = json.loads(result.stdout)
    assert record["state"] == "failed"
    assert "destination" in record["error"]


def test_repack_a_tree_and_again(px: PxRunner, corpus: Corpus, basemount: Path) -> None:
    px("repack", "--basemount", basemount, corpus.directory).ok()
    assert set(filed(basemount)) == {file.SOPInstanceUID for file in corpus}
    again = px("repack", "--basemount", basemount, corpus.directory, "--jsonl").ok()
    assert {json.loads(line)["state"] for line in again.stdout.splitlines()} == {"duplicate"}
    bad = basemount.parent / "bad.dcm"
    bad.write_bytes(corpus.files[0].path.read_bytes()[:-10])
    mixed = px("repack", "--basemount", basemount, bad, corpus.files[0].path)
    assert mixed.returncode == 3
    assert "bad.dcm" in mixed.stderr


def test_the_line_that_storescp_calls(px: PxRunner, corpus: Corpus, basemount: Path, tmp_path: Path) -> None:
    file = tmp_path / "in" / "image"
    file.parent.mkdir()
    file.write_bytes(corpus.files[0].path.read_bytes())
    px(
        "repack", "--xcrdir", file.parent, "--xcrfile", file.name, "--verbosity", "0", "--logdir", basemount / "log",
        "--datadir", basemount / "data", "--cleanup",
    ).ok()  # fmt: skip
    assert not file.exists()
    assert len(filed(basemount)) == 1


BAD = [
    (["find"], "", {}, 2),
    (["find", "--PatientBirthdate", "1"], "", {"PX_SERVER_IP": "127.0.0.1"}, 2),
    (["find", "--StudyDate", "20240231"], "", {"PX_SERVER_IP": "127.0.0.1"}, 2),
    (["find", "--StudyDate", "20240202-20240101"], "", {"PX_SERVER_IP": "127.0.0.1"}, 2),
    (["find", "--PACS", "nowhere"], "", {"PX_BASEMOUNT": "base"}, 2),
    (["find", "--then", "retrieve"], "", {"PX_SERVER_IP": "127.0.0.1"}, 2),
    (["report"], "", {}, 2),
    (["report"], "{", {}, 2),
    (["move"], "", {}, 2),
    (["move"], "[1, 2", {}, 2),
    (["do", "--then", "status"], "", {"PX_BASEMOUNT": "base"}, 2),
    (["do", "--then", "status"], '{"data": 3}', {"PX_BASEMOUNT": "base"}, 2),
    (["status"], "{}", {"PX_BASEMOUNT": "base"}, 2),
    (["repack", "empty"], "", {"PX_BASEMOUNT": "base"}, 50),
    (["repack", "absent"], "", {"PX_BASEMOUNT": "base"}, 2),
    (["smdb", "search", "PatientNme=x"], "", {"PX_BASEMOUNT": "base"}, 2),
    (["listen", "--port", "1"], "", {}, 2),
]


@pytest.mark.parametrize(
    ("args", "text", "env", "code"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_bad_input_is_one_line_and_leaves_nothing(
    args: list[str], text: str, env: dict[str, str], code: int, form: str, px: PxRunner, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    (place / "empty").mkdir(parents=True)
    result = px(*args, *(["--json"] if form == "json" else []), input=text, env=env, cwd=place)
    assert result.returncode == code
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"px {args[0]}: ")
    if form == "json":
        document = json.loads(result.stdout)
        assert document["error"] in result.stderr
        assert document["status"] in (False, "error")
    assert [path.name for path in place.rglob("*")] == ["empty"]
    assert list((px.home / "tmp").iterdir()) == []


def test_no_dcmtk_says_how_to_install_it(px: PxRunner, orthanc: Orthanc, corpus: Corpus, basemount: Path) -> None:
    env = address(orthanc, PATH="/nonexistent")
    file = corpus.files[0]
    uids = ["--StudyInstanceUID", file.StudyInstanceUID, "--SeriesInstanceUID", file.SeriesInstanceUID]
    for args in (["echo"], ["find"], ["move", *uids], ["listen", "--basemount", basemount, "--port", "0"]):
        result = px(*args, env=env)
        assert result.returncode == 20, result.stderr
        assert "apt-get install dcmtk" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not basemount.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_basemount(px: PxRunner, corpus: Corpus, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    for args in (["repack", corpus.files[0].path], ["listen", "--port", "0"], ["smdb", "init"]):
        result = px(*args, "--basemount", closed / "base")
        assert result.returncode == 40, result.stderr
        assert str(closed) in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_a_basemount_that_cannot_be(px: PxRunner, corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for args in (["repack", corpus.files[0].path], ["listen", "--port", "0"], ["smdb", "init"]):
        result = px(*args, "--basemount", file / "base")
        assert result.returncode == 40, result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_a_reader_that_leaves_is_no_error(px: PxRunner, orthanc: Orthanc) -> None:
    environment = clean_environment(px.directory / "home", address(orthanc))
    command = [installed("px"), "find", "--json", "-v", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.read(1) == b"{"
        running.stdout.close()
        said = running.stderr.read()
        running.wait(timeout=30)
    assert said == b""
    assert running.returncode in {0, 141}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_at_once(
    number: signal.Signals, code: int, px: PxRunner, free_port: Callable[[], int]
) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as silent:
        running = px.start("find", "--serverIP", "127.0.0.1", "--serverPort", silent.getsockname()[1])
        connection, _ = silent.accept()
        with connection:
            assert running.stop(number, timeout=5) == code
    assert len(running.stderr().strip().splitlines()) <= 1
    wait_until(lambda: not list((px.home / "tmp").iterdir()), "temporary files are gone")


def test_no_identifier_stands_in_an_argument_list_of_a_child(px: PxRunner, orthanc: Orthanc, tmp_path: Path) -> None:
    spy = tmp_path / "findscu"
    seen = tmp_path / "seen"
    spy.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {seen}\nexec {find_program("findscu")} "$@"\n')
    spy.chmod(0o755)
    found = px(
        "find", "--query-file", "-", "--findscu", spy, "--StudyOnly", env=address(orthanc), input=f"PatientID={PATIENT}"
    )
    assert len(found.ok().stdout.splitlines()) == 4
    assert PATIENT not in seen.read_text()
    assert str(orthanc.port) in seen.read_text()
