"""Object names that are longer than a store takes: named, with what to do; the other files arrive all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pypx.errors import StorageError
from pypx.model.peers import FolderTarget, S3Target, SwiftTarget
from pypx.services.folder import FolderStore
from pypx.services.s3 import S3Store
from pypx.services.storage import NameTooLongError, ObjectStore, StorageUnreachableError, file_md5
from pypx.services.swift import SwiftStore
from support.corpus import make_series
from support.pxrun import PxRunner
from support.swift_server import SwiftServer


@pytest.fixture(params=["swift", "s3", "folder"])
def store(request: pytest.FixtureRequest, swift: SwiftServer, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return FolderStore(FolderTarget(tmp_path / "store"))
    if request.param == "s3":
        return S3Store(S3Target("users", swift.s3_url, access_key=swift.user, secret_key=swift.key))
    return SwiftStore(SwiftTarget(swift.auth_url, swift.user, key=swift.key))


def of_length(length: int) -> str:
    """A name of so many bytes, each part of at most 200."""
    text = "/".join(["n" * 200] * (length // 201 + 1))[:length]
    return text[:-1] + "x" if text.endswith("/") else text


@pytest.mark.parametrize("length", [1024, 1025, 5000, 10_000])
@pytest.mark.parametrize("small", [True, False])
def test_a_name_of_so_many_bytes(store: ObjectStore, tmp_path: Path, length: int, small: bool) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"bytes")
    md5, data = file_md5(file), b"bytes" if small else None
    store.check()
    name = of_length(length)
    limit = 4095 - len(str(tmp_path)) if isinstance(store, FolderStore) else 1024
    if length <= limit and length < 3000:
        assert store.put(file, name, md5, data).size == 5
        assert store.read(name) is not None
        return
    with pytest.raises(NameTooLongError) as failure:
        store.put(file, name, md5, data)
    text = str(failure.value)
    assert "\n" not in text
    assert len(text) < 500
    assert f"its name has {length} bytes, more than the store takes" in text
    assert "shorten the folder" in text
    assert store.put(file, "short", md5, data).size == 5, "the next one goes"


def test_a_part_of_a_name(store: ObjectStore, tmp_path: Path) -> None:
    """256 bytes in one part: objects take them, files do not; 255 go everywhere."""
    file = tmp_path / "file"
    file.write_bytes(b"bytes")
    store.check()
    store.put(file, "a/" + "b" * 229, file_md5(file))
    name = f"a/{'ä' * 128}/c"
    if isinstance(store, FolderStore):
        with pytest.raises(NameTooLongError, match="255 in each part"):
            store.put(file, name, file_md5(file))
    else:
        store.put(file, name, file_md5(file))


def test_no_such_error_for_other_refusals(swift: SwiftServer, tmp_path: Path) -> None:
    """A 400 that is about something else is not said to be about the name."""
    file = tmp_path / "file"
    file.write_bytes(b"bytes")
    store = SwiftStore(SwiftTarget(swift.auth_url, swift.user, key=swift.key, container="c" * 300))
    with pytest.raises(StorageError) as failure:
        store.put(file, "short", file_md5(file))
    assert not isinstance(failure.value, (NameTooLongError, StorageUnreachableError))


@pytest.mark.parametrize("kind", ["swift", "s3"])
def test_a_push_goes_on_without_the_files_whose_names_are_too_long(
    swift: SwiftServer, px: PxRunner, tmp_path: Path, kind: str
) -> None:
    """Twenty in a row, more than failures of another kind may be, then four that fit: these arrive."""
    for folder, number, patient in (("a-long", 20, "L" * 64), ("b-short", 4, "S")):
        make_series(tmp_path / "all" / folder, number, 16, 16, seed=folder, PatientID=patient)
    entry: dict[str, str] = {"ip": "127.0.0.1", "port": str(swift.port), "login": swift.user, "key": swift.key}
    if kind == "s3":
        entry = {"storagetype": "s3", "endpoint": swift.s3_url, "access_key": swift.user, "secret_key": swift.key}
    base = tmp_path / "basemount"
    (base / "services").mkdir(parents=True, mode=0o700)
    file = base / "services" / "storage.json"
    file.write_text(json.dumps({"far": entry}))
    file.chmod(0o600)
    words: list[str | Path] = ["push", "--xcrdir", tmp_path / "all", "--swift", "far", "--basemount", base]
    words += ["--swiftServicesPACS", "CLINIC"]
    words += ["--rootDirTemplate", "q" * 190 + "%PatientID", "--imageTemplate", "i" * 200 + "%SOPInstanceUID"]
    result = px(*words, "--studyDirTemplate", "s" * 250, "--seriesDirTemplate", "r" * 250, "--jobs", "1")
    assert result.returncode == 3, result.stderr
    names = swift.names()
    assert len(names) == 4
    assert all(len(name) < 1024 for name in names)
    assert "more than the store takes (1024" in result.stderr
    assert "a bug in px" not in result.stderr
