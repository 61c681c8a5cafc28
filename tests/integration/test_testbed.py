"""The test bed itself: the servers hold what the other tests take for granted."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from support import corpus as made
from support.corpus import Corpus, make_corpus, make_series
from support.dicom import dataset_bytes, read
from support.ports import listens, wait_until
from support.pxrun import PxRunner, clean_environment
from support.sealed import Seal
from support.servers import (
    ORTHANC_GARBLES,
    SNIPPETS,
    Dcmqrscp,
    Orthanc,
    Pacs,
    StorescpSink,
    dcmqrscp_configuration,
    orthanc_configuration,
    program,
    run_tool,
    sent_instances,
)


def digest(corpus: Corpus) -> str:
    return hashlib.sha256(b"".join(file.path.read_bytes() for file in corpus)).hexdigest()


def test_corpus_is_the_same_each_time(corpus: Corpus, tmp_path: Path) -> None:
    again = make_corpus(tmp_path / "again")
    assert digest(again) == digest(corpus)
    assert [file.SOPInstanceUID for file in again] == [file.SOPInstanceUID for file in corpus]


def test_corpus_is_as_mixed_as_it_claims(corpus: Corpus) -> None:
    assert 60 <= len(corpus) <= 120
    assert len({file.SOPInstanceUID for file in corpus}) == len(corpus)
    assert {file.charset for file in corpus} >= made.NAMES.keys()
    assert {file.TransferSyntaxUID for file in corpus} == set(made.TRANSFER_SYNTAXES.values())
    assert {file.tags.get("Modality") for file in corpus} >= {"CT", "MR", "SR", "OT"}
    assert set(made.HOSTILE) <= {file.tags.get("SeriesDescription") for file in corpus}
    assert len({file.StudyInstanceUID for file in corpus if file.PatientID == "PID-1001"}) == 3
    twins = corpus.of_kind("twin")
    assert len({file.SeriesInstanceUID for file in twins}) == 2
    assert len({(file.tags["SeriesNumber"], file.tags["SeriesDescription"]) for file in twins}) == 1


def test_corpus_files_say_what_the_manifest_says(corpus: Corpus) -> None:
    for file in corpus:
        syntax, _ = dataset_bytes(file.path)
        dataset = read(file.path)
        assert syntax == file.TransferSyntaxUID
        assert dataset.SOPInstanceUID == file.SOPInstanceUID
        assert dataset.StudyInstanceUID == file.StudyInstanceUID
        assert dataset.SeriesInstanceUID == file.SeriesInstanceUID
        assert set(file.tags) >= {element.keyword for element in dataset if element.VR in {"LO", "PN", "DA", "IS"}}


def test_large_series_are_patched_right(tmp_path: Path) -> None:
    series = make_series(tmp_path / "series", 3, rows=32, cols=24, seed="x")
    assert len({file.SOPInstanceUID for file in series}) == 3
    for number, file in enumerate(series, 1):
        dataset = read(file.path, pixels=True)
        assert dataset.InstanceNumber == number
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID == file.SOPInstanceUID
        assert dataset.SeriesInstanceUID == file.SeriesInstanceUID
        assert len(dataset.PixelData) == 32 * 24 * 2
        assert run_tool("dcmftest", str(file.path)).returncode == 0
    assert len({read(file.path, pixels=True).PixelData for file in series}) == 3


def test_orthanc_holds_the_corpus_byte_for_byte(orthanc: Orthanc, corpus: Corpus) -> None:
    for file in corpus.of_kind("mr", "compressed", "charset"):
        assert orthanc.file_bytes(file.SOPInstanceUID) == file.path.read_bytes()


def test_orthanc_answers_its_own_title_only(orthanc: Orthanc) -> None:
    assert orthanc.echo().returncode == 0
    refused = run_tool("echoscu", "-aec", "SOMEBODY", orthanc.host, str(orthanc.port))
    assert refused.returncode != 0
    assert "Called AE Title Not Recognized" in refused.stderr


def test_orthanc_sends_to_a_modality_made_known(
    orthanc: Orthanc, corpus: Corpus, storescp_sink: Callable[..., StorescpSink]
) -> None:
    sink = storescp_sink()
    orthanc.knows(sink.aet, sink.port)
    wanted = {file.SOPInstanceUID: file for file in corpus.of_kind("twin")}
    StudyInstanceUID = next(iter(wanted.values())).StudyInstanceUID
    move = run_tool(
        "movescu", "-S", "-aec", orthanc.aet, "-aem", sink.aet, "-k", "0008,0052=STUDY",
        "-k", f"0020,000d={StudyInstanceUID}", orthanc.host, str(orthanc.port),
    )  # fmt: skip
    assert move.returncode == 0, move.stderr + orthanc.log()[-2000:]
    received = sink.instances()
    assert received.keys() == wanted.keys()
    for SOPInstanceUID, path in received.items():
        assert dataset_bytes(path) == dataset_bytes(wanted[SOPInstanceUID].path)
    orthanc.forgets(sink.aet)


def test_orthanc_takes_and_forgets_what_a_test_brings(orthanc: Orthanc, tmp_path: Path) -> None:
    before = orthanc.instances()
    series = make_series(tmp_path / "series", 2, rows=8, cols=8, seed="upload")
    orthanc.upload(file.path for file in series)
    assert orthanc.instances() - before == {file.SOPInstanceUID for file in series}
    orthanc.delete(series.files[0].SOPInstanceUID)
    assert orthanc.instances() - before == {series.files[1].SOPInstanceUID}
    orthanc.delete(series.series()[0])
    assert orthanc.instances() == before


def test_dcmqrscp_sends_to_each_destination(
    dcmqrscp: Dcmqrscp, corpus: Corpus, storescp_sink: Callable[..., StorescpSink]
) -> None:
    wanted = {file.SOPInstanceUID for file in corpus.of_kind("sr")}
    StudyInstanceUID = corpus.of_kind("sr")[0].StudyInstanceUID
    for destination in dcmqrscp.destinations:
        sink = storescp_sink(destination)
        move = run_tool(
            "movescu", "-S", "-aec", dcmqrscp.aet, "-aem", sink.aet, "-k", "0008,0052=STUDY",
            "-k", f"0020,000d={StudyInstanceUID}", dcmqrscp.host, str(dcmqrscp.port),
        )  # fmt: skip
        assert move.returncode == 0, move.stderr
        assert sink.instances().keys() == wanted


def found(pacs: Pacs, StudyInstanceUID: str, directory: Path) -> Dataset:
    """The one answer of a C-FIND at STUDY level, values not yet decoded."""
    directory.mkdir()
    run = run_tool(
        "findscu", "-S", "-X", "-od", str(directory), "-aec", pacs.aet, "-k", "0008,0052=STUDY",
        "-k", f"0020,000d={StudyInstanceUID}", "-k", "0010,0010", "-k", "0008,1030", pacs.host, str(pacs.port),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    (answer,) = directory.iterdir()
    return read(answer)


def raw(dataset: Dataset, keyword: str) -> bytes:
    """The bytes of a value as they stand in the file."""
    element = dataset.get_item(keyword)
    return bytes(cast("RawDataElement", element).value or b"").rstrip(b" ")


def test_orthanc_answers_in_utf8_and_keeps_the_names(orthanc: Orthanc, corpus: Corpus, tmp_path: Path) -> None:
    garbled = set()
    for file in corpus.of_kind("charset"):
        answer = found(orthanc, file.StudyInstanceUID, tmp_path / file.PatientID)
        if any(raw(answer, keyword).decode() != file.tags[keyword] for keyword in ("PatientName", "StudyDescription")):
            garbled.add(file.charset)
    assert garbled == ORTHANC_GARBLES


def test_dcmqrscp_answers_in_the_character_set_of_the_file(dcmqrscp: Dcmqrscp, corpus: Corpus, tmp_path: Path) -> None:
    for file in corpus.of_kind("charset"):
        answer, stored = found(dcmqrscp, file.StudyInstanceUID, tmp_path / file.PatientID), read(file.path)
        for keyword in ("PatientName", "StudyDescription"):
            assert raw(answer, keyword) == raw(stored, keyword)


def test_dcmqrscp_has_two_titles_and_no_other(dcmqrscp: Dcmqrscp) -> None:
    assert dcmqrscp.echo().returncode == 0
    for title, answered in ((dcmqrscp.second_aet, True), ("SOMEBODY", False)):
        echo = run_tool("echoscu", "-aec", title, dcmqrscp.host, str(dcmqrscp.port))
        assert (echo.returncode == 0) is answered, echo.stderr
    assert dcmqrscp.instances(aet=dcmqrscp.second_aet) == frozenset()


def test_snippets_differ_from_the_running_configuration_in_values_only(tmp_path: Path) -> None:
    shown = json.loads((SNIPPETS / "orthanc.json").read_text())
    assert orthanc_configuration(DicomPort=1).keys() == shown.keys()
    with pytest.raises(AssertionError, match="NoSuchKey"):
        orthanc_configuration(NoSuchKey=1)
    shown_lines = (SNIPPETS / "dcmqrscp.cfg").read_text().splitlines()
    used_lines = dcmqrscp_configuration(1, [2, 3, 4, 5], tmp_path).splitlines()
    assert len(shown_lines) == len(used_lines)
    changed = [used for shown, used in zip(shown_lines, used_lines, strict=True) if shown != used]
    assert len(changed) == 1 + 4 + 2
    assert all(re.search(rf"\b[1-5]\b|{re.escape(str(tmp_path))}", line) for line in changed)


def test_report_of_dcmsend_is_read_instance_by_instance() -> None:
    report = """
Filename      : a
SOP Instance  : 1.2
DIMSE Status  : 0x0000 (Success)

Filename      : b
SOP Instance  : 1.3
DIMSE Status  : <not sent>

Filename      : c
SOP Instance  : 1.4
DIMSE Status  : 0xa700 (Refused: OutOfResources)
"""
    assert sent_instances(report) == ["1.2"]


def test_reserved_port_refuses_until_its_server_listens(free_port: Callable[[], int]) -> None:
    port = free_port()
    assert not listens(port)
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", port))
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        assert listens(port)


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_missing_server_fails_in_ci_and_skips_elsewhere(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no-such-server is not installed"):
        program("no-such-server")


def test_servers_end_with_what_they_forked(storescp_sink: Callable[..., StorescpSink]) -> None:
    sink = storescp_sink()
    sink.stop()
    assert not sink.server.alive()
    assert not listens(sink.port)


def test_servers_die_with_the_tests(tmp_path: Path) -> None:
    """Also when the test process is killed and nothing of it can clean up."""
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(SNIPPETS.parents[1] / "tests")!r})
from pathlib import Path
from support.servers import Destination, StorescpSink
from support.ports import free_port
sink = StorescpSink(Path({str(tmp_path)!r}), Destination("SINK", free_port()))
print(sink.port, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    wait_until(lambda: not listens(int(run.stdout)), "storescp has ended")


def connect() -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", 9))


@pytest.mark.parametrize(
    ("what", "act"),
    [
        ("open", lambda outside: (outside / "x").write_text("x")),
        ("open", lambda outside: (outside / "inside" / ".." / "x").write_text("x")),
        ("mkdir", lambda outside: (outside / "x").mkdir()),
        ("os.rename", lambda outside: (outside / "inside" / "file").rename(outside / "x")),
        ("os.remove", lambda outside: (outside / "file").unlink()),
        ("os.chmod", lambda outside: (outside / "file").chmod(0o600)),
        ("subprocess", lambda _outside: subprocess.run(["/bin/true"], check=False)),
        ("socket.connect", lambda _outside: connect()),
    ],
)
def test_seal_stops_a_unit_test_that_leaves_its_place(what: str, act: Callable[[Path], object], tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file").write_text("")
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))

    def swallow_it() -> None:
        with Seal().closed(inside):
            try:
                act(tmp_path)
            except BaseException:  # noqa: BLE001  code under test that swallows the failure does not get away
                (inside / "swallowed").touch()

    with pytest.raises(pytest.fail.Exception, match=what):
        swallow_it()
    (inside / "swallowed").unlink()
    assert sorted(tmp_path.rglob("*")) == before


def test_seal_lets_a_unit_test_work(tmp_path: Path) -> None:
    with Seal().closed(tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").write_text("x")
        (tmp_path / "a" / "b").rename(tmp_path / "c")
        assert Path(__file__).read_text()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        left, right = socket.socketpair()
        left.close()
        right.close()


def test_px_runs_without_the_settings_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PX_BASEMOUNT", "/somewhere")
    environment = clean_environment(tmp_path / "home", {"PX_AET": "X"})
    assert "PX_BASEMOUNT" not in environment
    assert environment["PX_AET"] == "X"


def test_px_answers(px: PxRunner) -> None:
    version = px("--version").ok()
    assert re.search(r"\d+\.\d+\.\d+", version.stdout + version.stderr)
    assert px("no-such-command").returncode == 2
