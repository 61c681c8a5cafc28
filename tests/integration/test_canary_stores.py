"""The made-up patient and passwords on their way to stores and to CUBE: objects by hand, pushes, both dialects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cube_contract import CubeServer, Dialect, FolderStore
from cube_contract.server import Trouble
from support.canary import (
    ANY,
    IDENTITY,
    NAMED,
    STUDY,
    WRONG,
    Site,
    check_people,
    check_records,
    check_seen,
    entry_of,
)
from support.limits import LONG
from support.ports import free_port
from support.swift_server import SwiftServer
from support.watch import watching

KINDS = ("swift", "s3", "fs")
BELOW = "SERVICES/PACS/CLINIC"


def entry(kind: str, swift: SwiftServer, media: Path, *, key: str, port: int | None = None) -> dict[str, str]:
    """A named store of a kind, with this key."""
    if kind == "fs":
        return {"storagetype": "fs", "storepath": str(media)}
    if kind == "swift":
        return {**entry_of(swift, key), **({} if port is None else {"port": str(port)})}
    endpoint = swift.s3_url if port is None else f"http://127.0.0.1:{port}"
    return {
        "storagetype": "s3", "endpoint": endpoint, "bucket": "users", "access_key": swift.user, "secret_key": key
    }  # fmt: skip


@pytest.fixture
def packed(canary: Site, canary_images: list[Path]) -> Site:
    """The site with the images filed, so that names of files and objects are made of the patient's values."""
    canary.run("repack", canary_images[0].parent)
    names = "".join(str(path) for path in (canary.basemount / "data").rglob("*"))
    assert IDENTITY in names, "the patient's values are in no name: nothing is tested here"
    return canary


@pytest.mark.parametrize("kind", KINDS)
def test_objects_by_hand(packed: Site, swift: SwiftServer, tmp_path: Path, kind: str) -> None:
    data, media, got = packed.basemount / "data", tmp_path / "media", tmp_path / "got"
    packed.swift_key = swift.key
    named = ("--storage", "good")
    with watching(packed.px.home / "tmp") as seen:
        packed.service("storage", "good", **entry(kind, swift, media, key=swift.key))
        packed.run("smdb", "service", "storage", "check", "good", data_out=False)
        packed.run("storage", "put", data, BELOW, *named)
        listed = packed.run("storage", "ls", BELOW, *named, "--jsonl").stdout
        assert IDENTITY in listed, "the names of the objects hold no patient: nothing is tested here"
        name = json.loads(listed.splitlines()[0])["name"]
        packed.run("storage", "get", BELOW, got, *named)
        packed.run("storage", "exists", name, *named)
        fail_by_hand(packed, data, got, name)
        packed.run("storage", "rm", name, *named)
        packed.run("storage", "exists", name, *named, ends=1)
        packed.run("storage", "rm", "-r", BELOW, *named)
    check_people(packed.said)
    check_seen(seen)
    check_records(packed.basemount)


def fail_by_hand(canary: Site, data: Path, got: Path, name: str) -> None:
    """What was fetched is in the way, what is to be stored is not to be read."""
    named = ("--storage", "good")
    for file in got.rglob("*.dcm"):
        file.unlink()
        file.mkdir()
    canary.run("storage", "get", BELOW, got, *named, ends=None)
    for file in data.rglob("*.dcm"):
        file.rename(file.with_suffix(".kept"))
        file.symlink_to("/proc/self/mem")  # not to be read, not even by root
    canary.run("storage", "put", data, "other", *named, ends=None)
    canary.run("storage", "get", f"{name}.gone", got, *named, ends=None)
    canary.run("storage", "rm", f"{BELOW}/gone", *named, ends=None)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_objects_by_hand_with_a_wrong_password_and_without_a_store(
    packed: Site, swift: SwiftServer, tmp_path: Path, kind: str
) -> None:
    data, media = packed.basemount / "data", tmp_path / "media"
    packed.swift_key = WRONG
    packed.service("storage", "wrong", **entry(kind, swift, media, key=WRONG))
    packed.service("storage", "gone", **entry(kind, swift, media, key=WRONG, port=free_port()))
    with watching(packed.px.home / "tmp") as seen:
        words = (("get", BELOW, tmp_path / "got"), ("put", data, BELOW), ("ls", BELOW), ("rm", "-r", BELOW))
        for store in ("wrong", "gone") if LONG else ("wrong",):
            named = ("--storage", store, "--store-timeout", "1")
            for word in words if LONG else words[:2]:
                packed.run("storage", *word, *named, ends=None, data_out=False)
            packed.run("push", *named, *NAMED, "--StudyInstanceUID", STUDY, "--partial", ends=None, data_out=False)
        packed.run("smdb", "service", "storage", "check", "wrong", ends=None, data_out=False)
    check_people(packed.said)
    check_seen(seen)
    check_records(packed.basemount)


@pytest.mark.parametrize("dialect", ["old", "new"])
def test_registration_in_both_dialects(
    packed: Site, cube_server: Callable[..., CubeServer], tmp_path: Path, dialect: Dialect
) -> None:
    media = tmp_path / "media"
    cube = cube_server(FolderStore(media), dialect, looks=2, pause_s=0.05)
    packed.cube_password = "chris1234"
    whole = ("--partial", "--partial")  # twice: nobody was asked how many images there are
    register = ("register", "--cube", "cube", *NAMED, "--StudyInstanceUID", STUDY, *whole, "--cube-timeout", "1")
    with watching(packed.px.home / "tmp") as seen:
        packed.service("CUBE", "cube", url=cube.url, username="chris", password="chris1234")
        packed.service("CUBE", "wrong", url=cube.url, username="chris", password=WRONG)
        packed.run("push", "--storeBaseLocation", media, *NAMED, "--StudyInstanceUID", STUDY, "--partial")
        for file in media.rglob("*.dcm"):
            file.rename(f"{file}.away")
        packed.run(*register, ends=None)  # CUBE finds no files, and says where
        packed.run(*register, "--storeBaseLocation", media, ends=None)  # px finds none
        packed.run("register", "--cube", "wrong", *register[3:], ends=None, env={"PX_CUBE_PASSWORD": ""})
        for file in media.rglob("*.away"):
            file.rename(file.with_suffix(""))
        troubles: tuple[tuple[Trouble, int | None], ...] = (("crash", None), ("hang", ANY), ("cut", ANY))
        for trouble, ends in troubles:
            for number in range(1, 9):
                cube.faults.on_post(number, trouble, 2)
            packed.run(*register, ends=ends)
            cube.faults.planned.clear()
        packed.run("smdb", "service", "CUBE", "check", "wrong", ends=None, data_out=False)
        cube.expire_token_after(1)
        packed.run(*register)
    assert cube.statuses()[400 if dialect == "new" else 500], "CUBE refused nothing: nothing is tested here"
    check_people(packed.said)
    check_seen(seen)
    check_records(packed.basemount)
