"""Object names, the folder store, and where targets come from; nothing is asked of a server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pypx.compat.storage_json import parse_action, run_action
from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.errors import InputError, PartialError, StorageError
from pypx.model.peers import FolderTarget, S3Target, SwiftTarget
from pypx.services.folder import FolderStore
from pypx.services.storage import StorageUnreachableError, clean_folder, clean_name, file_md5, is_inside
from pypx.workflows.objects import Moved, check_moved, get_objects, list_objects, put_pairs, remove_objects
from pypx.workflows.targets import folder_store, named_store, open_store, record_target, swift_store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(FolderTarget(root))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.dcm"
    path.write_bytes(b"image" * 1000)
    return path


@pytest.mark.parametrize(("name", "cleaned"), [("/a/b.dcm", "a/b.dcm"), ("a", "a"), ("a/Ä b/", "a/Ä b")])
def test_names_lose_outer_slashes(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned


@pytest.mark.parametrize("name", ["", "/", "a//b", "../a", "a/../b", "a/.", "a\nb", "a\0b", "a/\udc80", "..", "a\x7f"])
def test_names_that_lead_elsewhere_are_refused(name: str, store: FolderStore, source: Path) -> None:
    with pytest.raises(InputError):
        clean_name(name)
    with pytest.raises(InputError):
        store.put(source, name, file_md5(source))


@pytest.mark.parametrize(
    ("name", "folder", "inside"),
    [
        ("s1/a", "s1", True),
        ("s10/a", "s1", False),
        ("s1", "s1", True),
        ("s10", "s1", False),
        ("x/s1/a", "s1", False),
        ("a", "", True),
    ],
)
def test_inside_is_part_by_part(name: str, folder: str, inside: bool) -> None:
    assert is_inside(name, folder) is inside
    assert clean_folder("/") == ""


def test_file_appears_whole_with_our_modes(store: FolderStore, root: Path, source: Path) -> None:
    old = os.umask(0o077)
    try:
        stored = store.put(source, "a/b/c.dcm", file_md5(source))
    finally:
        os.umask(old)
    path = root / "a/b/c.dcm"
    assert path.read_bytes() == source.read_bytes()
    assert (stored.size, stored.md5) == (5000, file_md5(source))
    assert path.stat().st_mode & 0o777 == 0o640
    assert {directory.stat().st_mode & 0o777 for directory in (root, root / "a", root / "a/b")} == {0o750}
    assert path.stat().st_ino != source.stat().st_ino
    assert [entry.name for entry in path.parent.iterdir()] == ["c.dcm"]


def test_other_bytes_than_those_announced_are_not_stored(store: FolderStore, root: Path, source: Path) -> None:
    store.put(source, "a/c.dcm", file_md5(source))
    before = (root / "a/c.dcm").read_bytes()
    md5 = file_md5(source)
    source.write_bytes(b"something else")
    with pytest.raises(StorageError, match="checksum"):
        store.put(source, "a/c.dcm", md5)
    assert (root / "a/c.dcm").read_bytes() == before
    assert [entry.name for entry in (root / "a").iterdir()] == ["c.dcm"]


def test_link_shares_the_file_and_can_be_repeated(root: Path, source: Path) -> None:
    store = FolderStore(FolderTarget(root), link=True)
    for _ in range(2):
        store.put(source, "a/c.dcm", file_md5(source))
    assert (root / "a/c.dcm").stat().st_ino == source.stat().st_ino
    assert [entry.name for entry in (root / "a").iterdir()] == ["c.dcm"]


def test_symbolic_link_does_not_lead_out(store: FolderStore, root: Path, source: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root.mkdir()
    (root / "a").symlink_to(outside)
    with pytest.raises(StorageError, match="symbolic link"):
        store.put(source, "a/c.dcm", file_md5(source))
    (outside / "c.dcm").write_bytes(b"")
    with pytest.raises(StorageError, match="symbolic link"):
        store.delete("a/c.dcm")
    assert [entry.name for entry in outside.iterdir()] == ["c.dcm"]


def test_walk_keeps_siblings_apart_and_hides_partial_files(store: FolderStore, root: Path, source: Path) -> None:
    for name in ("s1/a.dcm", "s10/a.dcm", "s1/sub/b.dcm", "s1x"):
        store.put(source, name, file_md5(source))
    (root / "s1/.px-0123.part").write_bytes(b"torn")
    assert [item.name for item in store.walk("s1")] == ["s1/a.dcm", "s1/sub/b.dcm"]
    assert [item.name for item in store.walk("s1x")] == ["s1x"]
    assert len(list(store.walk(""))) == 4
    assert list(store.walk("absent")) == []


def test_settle_removes_what_an_interrupted_run_left(store: FolderStore, root: Path, source: Path) -> None:
    store.put(source, "s1/a.dcm", file_md5(source))
    for name, age in (("old", 7200), ("new", 0)):
        part = root / f"s1/.px-{name}.part"
        part.write_bytes(b"torn")
        os.utime(part, (part.stat().st_mtime - age,) * 2)
    store.settle("s1")
    assert sorted(entry.name for entry in (root / "s1").iterdir()) == [".px-new.part", "a.dcm"]


def test_delete_takes_empty_folders_along(store: FolderStore, root: Path, source: Path) -> None:
    store.put(source, "a/b/c.dcm", file_md5(source))
    store.put(source, "a/d.dcm", file_md5(source))
    store.delete("a/b/c.dcm")
    store.delete("a/b/c.dcm")
    assert [item.name for item in store.walk("")] == ["a/d.dcm"]
    assert not (root / "a/b").exists()


def test_root_that_cannot_be_made_stops_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnreachableError, match="cannot be made"):
        FolderStore(FolderTarget(tmp_path / "file" / "store")).check()


def test_removing_a_folder_spares_its_longer_sibling(store: FolderStore, source: Path) -> None:
    for name in ("s1/a.dcm", "s10/a.dcm"):
        store.put(source, name, file_md5(source))
    assert [moved.name for moved in remove_objects(store, "/s1/")] == ["s1/a.dcm"]
    assert [item.name for item in list_objects(store)] == ["s10/a.dcm"]
    with pytest.raises(InputError, match="removing everything"):
        list(remove_objects(store, "/"))


def test_get_gives_a_tree_or_a_file(store: FolderStore, source: Path, tmp_path: Path) -> None:
    for name in ("x/s1/a.dcm", "x/s1/b/c.dcm"):
        store.put(source, name, file_md5(source))
    list(get_objects(store, "x/s1", tmp_path / "tree"))
    assert sorted(p.relative_to(tmp_path / "tree").as_posix() for p in (tmp_path / "tree").rglob("*.dcm")) == [
        "a.dcm",
        "b/c.dcm",
    ]
    list(get_objects(store, "x/s1/a.dcm", tmp_path / "one.dcm"))
    assert (tmp_path / "one.dcm").read_bytes() == source.read_bytes()
    with pytest.raises(InputError, match="no object at …/s2"):
        list(get_objects(store, "x/s2", tmp_path))


def test_put_pairs_name_as_pfstorage_did(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    for name in ("d/1.dcm", "d/e/2.dcm", "d/e/3.txt"):
        (tmp_path / name).write_bytes(b"")
    top = tmp_path / "d"
    assert [name for _, name in put_pairs(top, "/to", replaced=str(top), substring=".dcm")] == [
        "to/1.dcm",
        "to/e/2.dcm",
    ]
    assert [name for _, name in put_pairs(top, "to")] == ["to/1.dcm", "to/e/2.dcm", "to/e/3.txt"]
    assert put_pairs(top / "1.dcm", "to/x.dcm") == [(top / "1.dcm", "to/x.dcm")]
    with pytest.raises(InputError, match="no files"):
        put_pairs(top, "to", substring="nothing")


def test_failures_are_partial_unless_all_failed() -> None:
    good, bad = Moved(Path("a"), "a"), Moved(Path("b"), "b", error="b: broken")
    check_moved([good])
    with pytest.raises(PartialError, match="b: broken"):
        check_moved([good, bad])
    with pytest.raises(StorageError, match=r"b: broken \(and 1 more\)"):
        check_moved([bad, bad])


# pfstorage


def do(store: FolderStore, text: str) -> dict[str, object]:
    return run_action(parse_action(text), store)


def test_actions_give_the_documents_of_pfstorage(store: FolderStore, tmp_path: Path, source: Path) -> None:
    args = f'{{"localpath": "{source}", "mapLocationOver": "{tmp_path}", "toLocation": "SERVICES/x"}}'
    document = do(store, f'{{"action": "objPut", "args": {args}}}')
    assert document == {
        "status": True,
        "localFileList": [str(source)],
        "objectFileList": ["SERVICES/x/source.dcm"],
        "localpath": str(source),
    }
    listed = do(store, '{"action": "ls", "args": {"path": "./SERVICES", "retSpec": ["name", "bytes"]}}')
    assert listed == {"status": True, "ls": [{"name": "SERVICES/x/source.dcm", "bytes": 5000}]}
    assert do(store, '{"action": "ls", "args": {"path": "SERV"}}') == {"status": False, "ls": []}
    exists = do(store, '{"action": "objExists", "args": {"path": "SERVICES/x/source.dcm"}}')
    assert exists == {"status": True, "objExists": True}
    pulled = do(
        store, f'{{"action": "objPull", "args": {{"fromLocation": "SERVICES", "toLocation": "{tmp_path}/back"}}}}'
    )
    assert pulled["localFileList"] == [f"{tmp_path}/back/x/source.dcm"]
    assert pulled["currentWorkingDir"] == str(Path.cwd())
    assert do(store, '{"action": "rmtree", "args": {"path": "SERVICES/x"}}') == {
        "status": True,
        "dellist": ["SERVICES/x/source.dcm"],
    }
    assert do(store, '{"action": "objPull", "args": {"fromLocation": "SERVICES"}}')["status"] is False


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", '{"args": {}}', '{"action": "format"}', '{"action": "ls", "args": []}',
        '{"action": "ls", "args": {"retSpec": ["owner"]}}', '{"action": "ls", "args": {"path": 1}}',
        '{"action": "rmtree", "args": {}}', '{"action": "rmtree", "args": {"path": "/"}}',
        '{"action": "objPut", "args": {}}', '{"action": "ls", "args": {"path": "a/../.."}}',
    ],
)  # fmt: skip
def test_actions_that_cannot_be_understood_are_refused(store: FolderStore, text: str) -> None:
    with pytest.raises(InputError):
        do(store, text)


# Targets


def test_swift_entry_of_pypx() -> None:
    found = swift_store({"ip": "10.0.0.2", "port": "8080", "login": "chris:chris1234"}, {"OS_PASSWORD": "other"})
    assert found.target == SwiftTarget("http://10.0.0.2:8080/auth/v1.0", "chris:chris1234", "testing")
    assert len(found.notices) == 1
    assert "PX_SWIFT_KEY" in found.notices[0]
    given = swift_store({"ip": "h", "port": 443, "login": "a:b", "key": "k", "container": "c"}, {})
    assert given.target == SwiftTarget("https://h:443/auth/v1.0", "a:b", "k", "c")
    assert given.notices == ()
    environ = {"PX_SWIFT_KEY": "from the environment"}
    target = swift_store({"ip": "h", "port": "1", "login": "a:b", "key": "k"}, environ).target
    assert isinstance(target, SwiftTarget)
    assert target.key == "from the environment"


def test_keystone_from_the_environment_and_from_fields() -> None:
    environ = {
        "OS_AUTH_URL": "https://keystone:5000/v3", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_PROJECT_NAME": "proj",
        "OS_USER_DOMAIN_NAME": "Default", "OS_CACERT": "/ca.pem", "OS_REGION_NAME": "r1",
    }  # fmt: skip
    target = swift_store({}, environ).target
    assert isinstance(target, SwiftTarget)
    assert (target.auth_version, target.user, target.key, target.cacert) == ("3", "u", "p", Path("/ca.pem"))
    assert dict(target.options) == {"project_name": "proj", "user_domain_name": "Default", "region_name": "r1"}
    fields = {"auth_url": "https://other/v3", "username": "me", "container": "users"}
    own = swift_store(fields, environ).target
    assert isinstance(own, SwiftTarget)
    assert (own.auth_url, own.user, own.key) == ("https://other/v3", "me", "p")
    with pytest.raises(InputError, match="no password"):
        swift_store(fields, {})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "ip and port missing"),
        ({"ip": "h", "port": "99999", "login": "a:b"}, "not a TCP port"),
        ({"ip": "h", "port": "1"}, "no login"),
        ({"auth_url": "ftp://h/", "login": "a:b"}, "http"),
        ({"auth_url": "http://me:secret@h/auth/v1.0", "login": "a:b"}, "hold no login"),
    ],
)
def test_swift_that_lacks_something_is_named(fields: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        swift_store(fields, {})
    assert "secret" not in str(caught.value)


def test_named_stores(basemount: Path) -> None:
    keys = ServiceKeys(Layout.of_basemount(basemount))
    keys.set("swift", {"old": {"ip": "h", "port": "8080", "login": "a:b"}})
    keys.set("storage", {
        "new": {"storagetype": "swift", "ip": "h", "port": "8080", "login": "a:b", "key": "k"},
        "fs": {"storagetype": "fs", "storepath": "/mnt/store"},
        "s3": {"storagetype": "s3", "endpoint_url": "http://minio:9000", "bucket_name": "b", "access_key": "a", "secret_key": "s"},
        "rel": {"storagetype": "fs", "storepath": "mnt"},
        "half": {"storagetype": "s3", "access_key": "a"},
    })  # fmt: skip
    assert isinstance(named_store(keys, "old", {}).target, SwiftTarget)
    assert isinstance(named_store(keys, "new", {}).target, SwiftTarget)
    assert named_store(keys, "fs", {}).target == FolderTarget(Path("/mnt/store"))
    s3 = named_store(keys, "s3", {}).target
    assert s3 == S3Target("b", "http://minio:9000", None, "a", "s")
    for key, words in [("rel", "absolute"), ("half", "come together"), ("none", "no entry")]:
        with pytest.raises(InputError, match=words):
            named_store(keys, key, {})


def test_targets_say_where_they_are_and_no_secret() -> None:
    targets = [
        swift_store({"ip": "h", "port": "1", "login": "a:b", "key": "secret"}, {}).target,
        S3Target("b", "http://minio:9000", None, "secret", "secret"),
        folder_store("/mnt/store").target,
    ]
    for target in targets:
        assert "secret" not in repr(target) + str(target) + record_target(target).where
    assert [record_target(target).kind for target in targets] == ["swift", "s3", "folder"]
    assert isinstance(open_store(targets[2]), FolderStore)


@pytest.mark.parametrize(
    ("status", "words", "stops"),
    [
        (401, "this login may not do that", True),
        (403, "this login may not do that", True),
        (404, "the server refuses it", False),
        (413, "too large", False),
        (422, "other bytes arrived", False),
        (429, "try again later", False),
        (503, "try again later", False),
        (507, "the store is full", True),
    ],
)
def test_answers_of_swift_are_explained(status: int, words: str, stops: bool) -> None:
    from swiftclient.exceptions import ClientException  # noqa: PLC0415 - for this test only

    from pypx.services.swift_errors import explained  # noqa: PLC0415 - as above

    error = explained("swift at h: PUT a.dcm", ClientException("x", http_status=status, http_reason="R"), 60)
    assert str(error).startswith(f"swift at h: PUT a.dcm: {status} R; ")
    assert words in str(error)
    assert "\n" not in str(error)
    assert isinstance(error, StorageUnreachableError) is stops
