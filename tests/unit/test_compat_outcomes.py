"""Outcomes of echo, move and repack in pypx's shape."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from pypx.compat.commands import move_command
from pypx.compat.move_json import echo_document, echo_error_document, move_document, move_error_document
from pypx.compat.repack_json import to_document
from pypx.errors import PeerRejectedError, PeerUnreachableError
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.model.identifiers import UID, AETitle
from pypx.model.outcomes import EchoOutcome, MoveOutcome, MoveState
from pypx.model.peers import PacsNode
from pypx.model.records import Instance, SeriesRef
from support import golden

NODE = PacsNode("127.0.0.1", 104, AETitle("ORTHANC"), AETitle("CHRISLOCAL"), AETitle("CHRISLOCAL"))
REF = SeriesRef(UID("2.25.653198307399165578185356073155066334"), UID("2.25.604306568731276869699318073719750404"))
PLACES = {"PACSPORT": 104}


def test_echo_is_that_of_pypx_but_for_the_size_of_a_pdv() -> None:
    recorded = ast.literal_eval(golden.text("02-echo.out", PLACES))
    ours = echo_document(EchoOutcome(NODE, 0.1))
    assert list(ours) == list(recorded)
    assert {key: value for key, value in ours.items() if key != "data"} == {
        key: value for key, value in recorded.items() if key != "data"
    }
    assert ours["data"] == [line.partition(" (Max Send")[0] for line in recorded["data"]]


@pytest.mark.parametrize("error", [PeerUnreachableError("nobody there"), PeerRejectedError("wrong title")])
def test_failed_echo_is_an_error(error: PeerUnreachableError | PeerRejectedError) -> None:
    recorded = ast.literal_eval(golden.text("03-echo-down.out"))
    node = PacsNode("127.0.0.1", 1, NODE.called_aet, NODE.calling_aet, NODE.move_destination)
    ours = echo_error_document(error, node)
    assert {**ours, "data": recorded["data"]} == recorded
    assert ours["data"] == f"{error}\n"


def test_move_is_that_of_pypx() -> None:
    recorded = ast.literal_eval(golden.text("50-move.out", PLACES))
    ours = move_document(MoveOutcome(REF, MoveState.SUCCESS, 0), NODE)
    assert ours == recorded
    assert list(ours) == list(recorded)


@pytest.mark.parametrize(
    ("state", "status", "error", "code"),
    [
        (MoveState.FAILED, 0xC000, "status C000", 69),
        (MoveState.WARNING, 0xB000, "3 of 4 images failed", 69),
        (MoveState.NO_ANSWER, None, None, 61),
    ],
)
def test_move_that_was_no_success_is_an_error(state: MoveState, status: int | None, error: str, code: int) -> None:
    ours = move_document(MoveOutcome(REF, state, status, error=error), NODE)
    assert (ours["status"], ours["returncode"]) == ("error", code)
    assert ours["data"] == f"{error or 'no-answer'}\n"


def test_move_without_a_pacs() -> None:
    command = move_command(REF, NODE)
    ours = move_error_document(PeerUnreachableError("nobody there"), command)
    assert ours == {"status": "error", "data": "nobody there\n", "command": command, "returncode": 61}


def outcome(name: str, state: FileState = FileState.FILED, reason: str | None = None) -> FileOutcome:
    instance = Instance(REF.StudyInstanceUID, REF.SeriesInstanceUID, UID("1.2"), "", "", {})
    kept = state in {FileState.FILED, FileState.DUPLICATE}
    file = Path("/base/data/a/b/c/0001-1.2.dcm") if kept else None
    return FileOutcome(Path("/in") / name, state, instance if kept else None, file, reason)


def test_repack_of_good_files() -> None:
    document = to_document([outcome("a"), outcome("b", FileState.DUPLICATE)], cleaned=True)
    assert document["status"] is True
    first = document["run"][0]
    assert list(first) == ["status", "d_mapsUpdate", "d_DICOMfile_save", "cleanup"]
    assert first["d_mapsUpdate"] == {"status": True}
    save = first["d_DICOMfile_save"]
    assert (save["outputDir"], save["outputFile"]) == ("/base/data/a/b/c", "0001-1.2.dcm")
    assert save["d_DICOMfile_read"]["inputFileName"] == "a"


def test_repack_says_that_a_source_could_not_be_removed() -> None:
    document = to_document([replace(outcome("a"), stays="Permission denied")], cleaned=True)
    assert document["status"] is True, "it is filed"
    assert document["run"][0]["cleanup"] == {"status": False, "error": True, "message": "Permission denied"}


@pytest.mark.parametrize("state", [FileState.REJECTED, FileState.CONFLICT])
def test_repack_with_a_bad_file_is_no_success_wherever_it_stands(state: FileState) -> None:
    document = to_document([outcome("a", state, "not DICOM"), outcome("b")], cleaned=True)
    assert document["status"] is False
    assert [entry["status"] for entry in document["run"]] == [False, True]
    assert document["run"][0]["d_DICOMfile_save"]["errorCopy"] == "not DICOM"
    assert document["run"][0]["d_mapsUpdate"] == {}
    assert "cleanup" not in document["run"][0]


def test_repack_of_nothing_is_no_success() -> None:
    assert to_document([]) == {"status": False, "run": []}
