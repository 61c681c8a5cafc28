"""The made-up patient and passwords in the commands of pypx where these fail, and with ``--datadir`` away from ``log/``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cube_contract import CubeServer, FolderStore
from support.canary import (
    AET,
    ANY,
    IDENTITY,
    NAME,
    NAMED,
    SERIES,
    STUDY,
    WRONG,
    Site,
    check_people,
    check_records,
    check_seen,
    entry_of,
)
from support.ports import free_port
from support.swift_server import SwiftServer
from support.watch import watching

UIDS = ("--StudyInstanceUID", STUDY, "--SeriesInstanceUID", SERIES)


def pack(canary: Site, images: list[Path], log: Path, data: Path, *, ends: int | None) -> None:
    words = ("--logdir", log, "--datadir", data, "--xcrdir", images[0].parent, "--parseAllFilesWithSubStr", "dcm")
    canary.run(*words, command="px-repack", ends=ends)


def test_no_pacs(canary: Site) -> None:
    with watching(canary.px.home / "tmp") as seen:
        for port, aec in ((free_port(), canary.orthanc.aet), (canary.orthanc.port, "NOBODY")):
            peer = ("--serverIP", "127.0.0.1", "--serverPort", port, "--aec", aec, "--aet", AET)
            who = ("--PatientID", IDENTITY, "--PatientName", NAME)
            canary.run(*peer, *who, "--json", command="px-find", ends=None)
            canary.run(*peer, *who, "--then", "retrieve", command="px-find", ends=None)
            canary.run(*peer, *UIDS, command="px-move", ends=None)
    check_people(canary.said)
    check_seen(seen, "findscu", "movescu")


def test_no_store_and_no_cube(
    canary: Site,
    canary_images: list[Path],
    swift: SwiftServer,
    cube_server: Callable[..., CubeServer],
    tmp_path: Path,
) -> None:
    media, log, data = tmp_path / "media", canary.basemount / "log", canary.basemount / "data"
    cube = cube_server(FolderStore(media), "old")
    canary.run("smdb", "init", "--format", "3", data_out=False)
    pack(canary, canary_images, log, data, ends=0)
    files = ("--xcrdir", next(data.rglob("*.dcm")).parent, "--parseAllFilesWithSubStr", "dcm", "--json")
    with watching(canary.px.home / "tmp") as seen:
        canary.service("storage", "wrong", **entry_of(swift, WRONG))
        canary.service("storage", "folder", storagetype="fs", storepath=str(media))
        canary.service("CUBE", "wrong", url=cube.url, username="chris", password=WRONG)
        canary.service("CUBE", "cube", url=cube.url, username="chris", password="chris1234")
        canary.run("--db", log, "--swift", "wrong", *NAMED, *files, command="px-push", ends=None)
        pushed = canary.run("--db", log, "--swift", "folder", *NAMED, *files, command="px-push").stdout
        for file in media.rglob("*.dcm"):
            file.rename(f"{file}.away")
        for name in ("wrong", "cube"):  # the latter does not find the files
            words = ("--db", log, "--CUBE", name, *NAMED, *files)
            canary.run(*words, command="px-register", input=pushed, ends=None)
    check_people(canary.said)
    check_seen(seen)
    check_records(canary.basemount)


def test_damaged_tables(canary: Site, canary_images: list[Path]) -> None:
    log, data = canary.basemount / "log", canary.basemount / "data"
    canary.run("smdb", "init", "--format", "3", data_out=False)
    pack(canary, canary_images, log, data, ends=0)
    table = log / "patientData" / f"{IDENTITY}.json"
    whole = table.read_bytes()
    with watching(canary.px.home / "tmp") as seen:
        table.write_bytes(whole[:-5])
        canary.run("--logdir", log, "--action", "imageDirsPatientID", "--actionArgs", IDENTITY, command="px-smdb",
                   ends=None)  # fmt: skip
        for path in (*data.rglob("*.dcm"), *log.rglob(f"{SERIES}-*")):
            if path.is_file():
                path.unlink()
        pack(canary, canary_images, log, data, ends=ANY)
        for name in ("meta", "retrieve", "pack"):
            (log / "seriesData" / f"{SERIES}-{name}.json").write_text(f"{{{NAME} {IDENTITY}")
        canary.run("--db", log, *UIDS, command="px-status", ends=None)
        canary.run("--logdir", log, "--action", "imageDirsPatientID", "--actionArgs", IDENTITY, command="px-smdb",
                   ends=None)  # fmt: skip
        canary.run(command="px-report", input=f'{{"data": "{NAME}"', ends=None, data_out=False)
    check_people(canary.said)
    check_seen(seen)
    check_records(canary.basemount)


def test_files_away_from_the_tables(canary: Site, canary_images: list[Path], tmp_path: Path) -> None:
    """Below ``--datadir`` the names are the patient's as well, though no ``log/`` lies beside it."""
    log, data = canary.basemount / "log", tmp_path / "archive" / "packed"
    pack(canary, canary_images, log, data, ends=0)
    (top,) = data.iterdir()
    assert IDENTITY in top.name, "the patient is in no name: nothing is tested here"
    top.rename(tmp_path / "elsewhere")
    away = ("--basemount", canary.basemount, "--datadir", data)
    canary.run("smdb", "verify", *away, ends=None, data_out=False)
    top.write_text("in the way")
    pack(canary, canary_images, log, data, ends=None)
    canary.run("repack", canary_images[0].parent, *away, ends=None, data_out=False)
    canary.run("smdb", "rebuild", *away, ends=None, data_out=False)
    shown = [text for text in canary.said if f"{data}/…" in text]
    assert shown, f"no file was named: {canary.said}"
    check_people(canary.said)
    check_records(canary.basemount)
