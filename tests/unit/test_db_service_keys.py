from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.errors import DatabaseError, InputError

SECRET = "canary-7f3a"
PACS = {"aet": "PX", "aec": "ORTHANC", "serverIP": "127.0.0.1", "serverPort": "4242"}
SWIFT = {"ip": "127.0.0.1", "port": "8080", "login": f"chris:{SECRET}"}
CUBE = {"url": "http://127.0.0.1:8000/api/v1/", "username": "chris", "password": SECRET}


@pytest.fixture
def layout(basemount: Path) -> Layout:
    return Layout.of_basemount(basemount)


@pytest.fixture
def keys(layout: Layout) -> ServiceKeys:
    return ServiceKeys(layout)


def write(layout: Layout, kind: str, content: object) -> Path:
    layout.services.mkdir(parents=True, exist_ok=True)
    path = layout.services / f"{kind}.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_reading_creates_nothing(keys: ServiceKeys, layout: Layout) -> None:
    assert (keys.read("pacs"), keys.storage(), keys.masked("cube"), keys.loose_files()) == ({}, {}, {}, ())
    assert not layout.base.exists()


def test_entries_are_merged_by_their_name(keys: ServiceKeys) -> None:
    assert keys.set("CUBE", {"a": CUBE, "b": CUBE}) == {"a": CUBE, "b": CUBE}
    changed = {**CUBE, "username": "other", "regFSdir": "/x", "extra": {"kept": [1]}}
    assert keys.set("cube", {"b": changed}) == {"a": CUBE, "b": changed}
    assert keys.path("Cube").read_text() == json.dumps({"a": CUBE, "b": changed}, indent=4)
    assert keys.names("cube") == ("a", "b")
    assert keys.remove("cube", "a") == {"b": changed}
    with pytest.raises(
        InputError, match=r"'a' is no entry of .*cube\.json; there are b; px smdb service cube set adds one"
    ):
        keys.remove("cube", "a")


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_only_the_owner_can_read_them(keys: ServiceKeys, layout: Layout, umask: int) -> None:
    old = os.umask(umask)
    try:
        keys.set("swift", {"a": SWIFT})
    finally:
        os.umask(old)
    assert (mode(layout.services), mode(keys.path("swift"))) == (0o700, 0o600)
    assert keys.loose_files() == ()


def test_looser_files_are_named_and_tightened_by_a_write(keys: ServiceKeys, layout: Layout) -> None:
    path, other = write(layout, "swift", {"a": SWIFT}), write(layout, "cube", {"a": CUBE})
    path.chmod(0o644)
    other.chmod(0o640)
    layout.services.chmod(0o755)
    assert keys.loose_files() == (layout.services, other, path)
    keys.set("swift", {"a": SWIFT})
    assert (mode(layout.services), mode(path)) == (0o700, 0o600)
    assert keys.loose_files() == (other,)


@pytest.mark.parametrize("entry", [PACS, {"aet": "PX", "aec": "ORTHANC", "ip": "127.0.0.1", "port": 4242}])
def test_a_pacs_may_be_spelt_in_two_ways(keys: ServiceKeys, entry: dict[str, Any]) -> None:
    keys.set("PACS", {"orthanc": entry})
    assert keys.pacs("orthanc") == PACS
    assert keys.read("pacs") == {"orthanc": entry}


def test_the_shape_of_pfdcm_is_understood_and_kept(keys: ServiceKeys, layout: Layout) -> None:
    table = {"services": {"MGH": {"info": {**PACS, "aet_listener": "LISTEN"}}}, "own": PACS}
    write(layout, "pacs", table)
    assert keys.pacs("MGH") == {**PACS, "aet_listener": "LISTEN"}
    assert keys.pacs("own") == PACS
    assert keys.read("pacs") == table
    assert keys.names("pacs") == ("MGH", "own")
    keys.set("pacs", {"more": PACS})
    assert keys.names("pacs") == ("MGH", "more", "own")
    assert keys.remove("pacs", "MGH")["services"] == {}
    keys.set("pacs", {"services": {"BCH": {"info": PACS}}})
    assert keys.pacs("BCH") == PACS


def test_a_pacs_may_be_called_services(keys: ServiceKeys) -> None:
    keys.set("pacs", {"services": PACS})
    assert keys.pacs("services") == PACS
    assert keys.remove("pacs", "services") == {}


def test_what_a_pacs_does_not_say_is_empty(keys: ServiceKeys, layout: Layout) -> None:
    write(layout, "pacs", {"half": {"aec": "X", "port": None}})
    assert keys.pacs("half") == {"aet": "", "aec": "X", "serverIP": "", "serverPort": ""}


def test_an_unknown_pacs_names_the_known_ones(keys: ServiceKeys) -> None:
    with pytest.raises(InputError, match=r"'x' is no entry of .*; there are none"):
        keys.pacs("x")
    keys.set("pacs", {"b": PACS, "a": PACS})
    with pytest.raises(InputError, match="there are a, b"):
        keys.pacs("x")


def test_both_files_of_storage_are_seen(keys: ServiceKeys) -> None:
    fs = {"storagetype": "fs", "storepath": "/mnt/x"}
    keys.set("swift", {"a": SWIFT, "b": SWIFT})
    keys.set("storage", {"b": fs, "c": {"storagetype": "swift", **SWIFT}})
    assert keys.storage() == {
        "a": {"storagetype": "swift", **SWIFT},
        "b": fs,
        "c": {"storagetype": "swift", **SWIFT},
    }
    assert keys.entry("storage", "a")["storagetype"] == "swift"
    assert keys.names("storage") == ("a", "b", "c")
    with pytest.raises(InputError, match="there are a, b, c"):
        keys.entry("storage", "d")


@pytest.mark.parametrize(
    ("kind", "entries", "message"),
    [
        ("pacs", [], "at least one entry"),
        ("pacs", {}, "at least one entry"),
        ("pacs", {"a": "text"}, "pacs entry 'a': a JSON object is expected, such as"),
        ("pacs", {"": PACS}, "name of an entry is empty"),
        ("pacs", {"a": {"aet": "X"}}, "aec and serverIP missing"),
        ("pacs", {"a": {**PACS, "serverPort": "99999"}}, "serverPort: '99999' is not a TCP port"),
        ("pacs", {"a": {**PACS, "serverIP": "$(id)"}}, "serverIP: .* is not a host"),
        ("pacs", {"a": {**PACS, "aec": "x" * 17}}, "aec: .* is not an AE title"),
        ("pacs", {"a": {**PACS, "aec": ["X"]}}, "aec must be a text"),
        ("pacs", {"services": {"a": {"info": {"aec": "X"}}}}, "'a': serverIP missing"),
        ("swift", {"a": {"ip": "127.0.0.1"}}, "port missing; such an entry looks like"),
        ("swift", {"a": {**SWIFT, "port": "x"}}, "is not a TCP port"),
        ("storage", {"a": SWIFT}, "storagetype missing"),
        ("storage", {"a": {"storagetype": "tape"}}, "'tape' is unknown; there are swift, fs, s3"),
        ("storage", {"a": {"storagetype": "fs"}}, "storepath missing"),
        ("cube", {"a": {"username": "chris"}}, "url missing"),
        ("cube", {"a": {"url": "localhost"}}, "http://"),
        ("cube", {"a": {**CUBE, "password": {"x": SECRET}}}, "password must be a text"),
        ("nosuch", {"a": {}}, "'nosuch' is no kind of service; there are swift, storage, cube, pacs, telemetry"),
        ("../x", {"a": {}}, "no kind of service"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    keys: ServiceKeys, layout: Layout, kind: str, entries: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        keys.set(kind, entries)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert not layout.base.exists()


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("telemetry", {"url": "https://127.0.0.1/", "username": "u", "password": "p"}),
        ("storage", {"storagetype": "s3", "endpoint": "http://127.0.0.1", "bucket": "b"}),
        ("swift", {"auth_url": "https://127.0.0.1/v3", "container": "c"}),
        ("storage", {"storagetype": "swift", "ip": "127.0.0.1", "port": 8080}),
    ],
)
def test_other_shapes_are_taken(keys: ServiceKeys, kind: str, entry: dict[str, Any]) -> None:
    assert keys.set(kind, {"a": entry}) == {"a": entry}


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_broken_file_is_named_and_stays(keys: ServiceKeys, layout: Layout, content: str) -> None:
    path = write(layout, "cube", content)
    with pytest.raises(DatabaseError, match=r"cube\.json: not a table"):
        keys.read("cube")
    with pytest.raises(DatabaseError, match=r"cube\.json: not a table"):
        keys.set("cube", {"a": CUBE})
    assert path.read_text() == content


def test_no_secret_is_shown(keys: ServiceKeys, layout: Layout) -> None:
    write(layout, "swift", {"a": SWIFT, "b": {**SWIFT, "login": SECRET, "key": SECRET, "tenant": {"api_key": SECRET}}})
    write(
        layout,
        "cube",
        {"a": CUBE, "b": {"url": f"http://u:{SECRET}@127.0.0.1/", "tokens": [SECRET]}, "password": SECRET},
    )
    write(layout, "pacs", {"services": {"key": {"info": PACS}}})
    shown = {kind: keys.masked(kind) for kind in ("swift", "cube", "pacs")}
    assert SECRET not in json.dumps(shown)
    assert shown["cube"]["a"] == {**CUBE, "password": "****"}
    assert shown["cube"]["b"]["url"] == "http://u:****@127.0.0.1/"
    assert shown["swift"]["a"] == {**SWIFT, "login": "chris:****"}
    assert keys.read("cube")["a"] == CUBE


def test_passwords_that_others_may_read_are_taken_from_them(
    keys: ServiceKeys, layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    """A BASEMOUNT that pypx made has files of 0644; its owner need not do anything."""
    path = write(layout, "cube", {"a": CUBE})
    path.chmod(0o644)
    assert keys.entry("cube", "a") == CUBE
    assert mode(path) == 0o600
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text
    assert SECRET not in caplog.text
    keys.read("cube")
    assert len(caplog.records) == 1, "it is said once"


@pytest.mark.parametrize("loose", [0o777, 0o770, 0o1777])
def test_nobody_else_may_exchange_a_file_with_passwords(
    keys: ServiceKeys, layout: Layout, caplog: pytest.LogCaptureFixture, loose: int
) -> None:
    write(layout, "cube", {"a": CUBE}).chmod(0o600)
    layout.services.chmod(loose)
    assert keys.entry("cube", "a") == CUBE
    assert mode(layout.services) & 0o777 == 0o700
    assert "others could replace the files that hold passwords; it is chmod 700 now" in caplog.text


@pytest.mark.parametrize("loose", [0o755, 0o750])
def test_a_directory_that_others_may_only_look_into_stays(
    keys: ServiceKeys, layout: Layout, caplog: pytest.LogCaptureFixture, loose: int
) -> None:
    write(layout, "cube", {"a": CUBE}).chmod(0o600)
    layout.services.chmod(loose)
    assert keys.entry("cube", "a") == CUBE
    assert mode(layout.services) == loose
    assert not caplog.records


def test_without_passwords_files_stay_as_they_are(keys: ServiceKeys, layout: Layout) -> None:
    path = write(layout, "pacs", {"a": PACS})
    path.chmod(0o644)
    assert keys.pacs("a") == PACS
    assert mode(path) == 0o644
    assert path in keys.loose_files()


@pytest.mark.parametrize("kind", ["cube", "swift"])
def test_passwords_that_cannot_be_taken_from_others_are_refused(
    keys: ServiceKeys, layout: Layout, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = write(layout, kind, {"a": CUBE if kind == "cube" else SWIFT})
    path.chmod(0o604)

    def refused(_path: Path, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)  # the file is another user's
    for read in (keys.read, keys.masked, keys.names):
        with pytest.raises(DatabaseError, match=r"other users have access.*chmod 600.*PX_ALLOW_LOOSE_SERVICES=1"):
            read(kind)
    monkeypatch.setenv("PX_ALLOW_LOOSE_SERVICES", "1")
    assert keys.names(kind) == ("a",)
    assert mode(path) == 0o604
