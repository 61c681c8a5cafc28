"""Object stores on real servers: large objects, logins, listings, damage."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pypx.errors import StorageError
from pypx.model.peers import FolderTarget, S3Target, SwiftTarget
from pypx.services.folder import FolderStore
from pypx.services.s3 import S3Store
from pypx.services.storage import ObjectStore, StorageUnreachableError, file_md5
from pypx.services.swift import SwiftStore
from pypx.workflows.objects import get_objects, list_objects, object_exists, put_objects, put_pairs, remove_objects
from pypx.workflows.targets import swift_store
from support.servers import HOST
from support.silent import mute_peer
from support.swift_server import SwiftServer


@pytest.fixture(params=["swift", "folder", "s3"])
def store(request: pytest.FixtureRequest, swift: SwiftServer, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return FolderStore(FolderTarget(tmp_path / "store"))
    if request.param == "s3":
        return S3Store(S3Target("users", swift.s3_url, access_key=swift.user, secret_key=swift.key))
    return SwiftStore(target_of(swift))


def target_of(swift: SwiftServer, **fields: Any) -> SwiftTarget:
    return SwiftTarget(swift.auth_url, swift.user, **{"key": swift.key, **fields})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files whose names and folders are the beginnings of others."""
    top = tmp_path / "tree"
    for name in ("s1/a.dcm", "s1/deep/b.dcm", "s10/a.dcm", "s1.dcm", "Ä ö/ü.dcm", "s1/a.dcm.txt"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(name.encode() * 100)
    return top


def contents(top: Path) -> dict[str, bytes]:
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_put_list_get_exists_remove(store: ObjectStore, tree: Path, tmp_path: Path) -> None:
    moved = list(put_objects(store, put_pairs(tree, "up")))
    assert [(one.error, one.sent) for one in moved] == [(None, True)] * 6
    assert not any(one.sent for one in put_objects(store, put_pairs(tree, "up"))), "equal objects were sent again"
    listed = {item.name: item.bytes for item in list_objects(store, "/up/")}
    assert listed == {f"up/{name}": len(data) for name, data in contents(tree).items()}
    assert sorted(item.name for item in list_objects(store, "up/s1")) == [
        "up/s1/a.dcm",
        "up/s1/a.dcm.txt",
        "up/s1/deep/b.dcm",
    ]
    assert [item.name for item in list_objects(store, "up/s1.dcm")] == ["up/s1.dcm"]
    assert [item.name for item in list_objects(store, "", "deep")] == ["up/s1/deep/b.dcm"]
    assert list(list_objects(store, "u")) == []
    assert object_exists(store, "up/s10/a.dcm")
    assert not object_exists(store, "up/s10")
    list(get_objects(store, "up", tmp_path / "down"))
    assert contents(tmp_path / "down") == contents(tree)
    assert len(list(remove_objects(store, "up/s1"))) == 3
    left = sorted(item.name for item in list_objects(store))
    assert left == sorted(f"up/{name}" for name in contents(tree) if not name.startswith("s1/"))
    store.delete("up/never there")


def test_unknown_object_cannot_be_got(store: ObjectStore, tmp_path: Path) -> None:
    store.check()
    with pytest.raises(StorageError, match="there is no object"):
        store.get("a/b.dcm", tmp_path / "b.dcm")
    assert store.head("a/b.dcm") is None
    assert store.read("a/b.dcm") is None
    assert not (tmp_path / "b.dcm").exists()


def test_checksum_of_the_sender_is_checked(store: ObjectStore, tmp_path: Path) -> None:
    store.check()
    source = tmp_path / "a.dcm"
    source.write_bytes(b"first")
    md5 = file_md5(source)
    source.write_bytes(b"other")
    with pytest.raises(StorageError):
        store.put(source, "a.dcm", md5)
    assert store.head("a.dcm") is None


def test_corrupt_object_is_not_handed_out(swift: SwiftServer, tmp_path: Path) -> None:
    stores: dict[str, ObjectStore] = {
        "swift": SwiftStore(target_of(swift)),
        "s3": S3Store(S3Target("users", swift.s3_url, access_key=swift.user, secret_key=swift.key)),
    }
    for kind, one in stores.items():
        source = tmp_path / "a.dcm"
        source.write_bytes(b"image" * 100)
        one.put(source, f"{kind}.dcm", file_md5(source))
        swift.corrupt(f"{kind}.dcm")
        with pytest.raises(StorageError, match="corrupt"):
            one.get(f"{kind}.dcm", tmp_path / "got.dcm")
        assert not (tmp_path / "got.dcm").exists()


def large_file(tmp_path: Path, seed: int = 0) -> Path:
    path = tmp_path / f"large-{seed}.dcm"
    path.write_bytes(random.Random(seed).randbytes(2_500_000))
    return path


def segmented(swift: SwiftServer) -> SwiftStore:
    return SwiftStore(target_of(swift), segment_bytes=1_000_000, large_bytes=1_000_000)


def test_large_file_goes_in_segments_and_goes_on_where_it_stopped(swift: SwiftServer, tmp_path: Path) -> None:
    store, source = segmented(swift), large_file(tmp_path)
    store.put(source, "a/large.dcm", file_md5(source))
    assert swift.account.get("users", "a/large.dcm") == source.read_bytes()
    assert swift.account.head("users", "a/large.dcm").headers["x-static-large-object"] == "True"
    segments = swift.account.names("users_segments")
    assert len(segments) == 3
    stored = store.head("a/large.dcm")
    assert stored is not None
    assert (stored.size, stored.md5) == (2_500_000, file_md5(source))
    assert store.read("a/large.dcm") is not None
    assert [item.md5 for item in store.walk("a")] == [""]
    swift.account.delete("users", "a/large.dcm")
    swift.account.delete("users_segments", segments[1])
    before = len([r for r in swift.requests() if r.method == "PUT" and "users_segments" in r.path])
    store.put(source, "a/large.dcm", file_md5(source))
    after = len([r for r in swift.requests() if r.method == "PUT" and "users_segments" in r.path])
    assert after - before == 1, "segments that were there have been sent again"
    store.get("a/large.dcm", tmp_path / "got.dcm")
    assert (tmp_path / "got.dcm").read_bytes() == source.read_bytes()


def test_segments_of_what_was_replaced_or_removed_do_not_stay(swift: SwiftServer, tmp_path: Path) -> None:
    store = segmented(swift)
    for seed in (1, 2):
        source = large_file(tmp_path, seed)
        store.put(source, "large.dcm", file_md5(source))
    assert swift.account.get("users", "large.dcm") == source.read_bytes()
    names = [name for name in swift.account.names("users_segments") if name.startswith("large.dcm/")]
    assert len(names) == 3
    store.delete("large.dcm")
    assert [name for name in swift.account.names("users_segments") if name.startswith("large.dcm/")] == []
    assert store.head("large.dcm") is None


def test_large_file_goes_to_s3_in_parts(swift: SwiftServer, tmp_path: Path) -> None:
    target = S3Target("users", swift.s3_url, access_key=swift.user, secret_key=swift.key)
    store = S3Store(target, segment_bytes=5 << 20, large_bytes=5 << 20)
    source = tmp_path / "large.dcm"
    source.write_bytes(random.Random(3).randbytes(11 << 20))
    store.put(source, "a/large.dcm", file_md5(source))
    stored = store.head("a/large.dcm")
    assert stored is not None
    assert (stored.size, stored.md5) == (11 << 20, file_md5(source))
    store.get("a/large.dcm", tmp_path / "got.dcm")
    assert (tmp_path / "got.dcm").read_bytes() == source.read_bytes()
    store.delete("a/large.dcm")


def test_container_is_made_when_it_is_missing(swift: SwiftServer, tmp_path: Path) -> None:
    source = tmp_path / "a.dcm"
    source.write_bytes(b"image")
    store = SwiftStore(target_of(swift, container=f"made-{time.time_ns()}"))
    store.put(source, "a.dcm", file_md5(source))
    assert store.head("a.dcm") is not None
    streamed = tmp_path / "big.dcm"
    streamed.write_bytes(bytes(9 << 20))
    other = SwiftStore(target_of(swift, container=f"made-{time.time_ns()}"))
    other.put(streamed, "a.dcm", file_md5(streamed))
    stored = other.read("a.dcm")
    assert stored is not None
    assert stored.size == 9 << 20


def test_one_login_serves_all_threads_and_is_renewed(swift: SwiftServer, tmp_path: Path) -> None:
    source = tmp_path / "a.dcm"
    source.write_bytes(b"image")
    store, md5 = SwiftStore(target_of(swift), backoff_s=0.01), file_md5(source)

    def logins() -> int:
        return sum(1 for request in swift.requests() if request.path.startswith("/auth/"))

    before = logins()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: store.put(source, f"{number}.dcm", md5), range(20)))
        assert logins() - before == 1
        login = store._requests._login
        login._now = (login.session()[0], "AUTH_tk_expired")
        store._requests._local = threading.local()
        list(pool.map(lambda number: store.put(source, f"{number}.dcm", md5), range(20, 40)))
    assert len(swift.names()) == 40
    assert logins() - before == 2, "each thread has logged in for itself"


def test_silent_server_ends_in_time(tmp_path: Path) -> None:
    source = tmp_path / "a.dcm"
    source.write_bytes(b"image")
    with mute_peer() as port:
        store = SwiftStore(SwiftTarget(f"http://{HOST}:{port}/auth/v1.0", "a:b", "c"), timeout_s=0.3, retries=0)
        with pytest.raises(StorageUnreachableError, match="no answer within"):
            store.put(source, "a.dcm", file_md5(source))
        bucket = S3Target("users", f"http://{HOST}:{port}", access_key="a", secret_key="b")
        with pytest.raises(StorageUnreachableError, match="no answer within"):
            S3Store(bucket, timeout_s=0.3, retries=0).check()


def test_wrong_keys_are_refused_in_words(swift: SwiftServer) -> None:
    with pytest.raises(StorageUnreachableError, match="login refused"):
        SwiftStore(target_of(swift, key="not-the-key")).check()
    with pytest.raises(StorageUnreachableError, match="check the keys") as caught:
        S3Store(S3Target("users", swift.s3_url, access_key=swift.user, secret_key="not-the-key")).check()
    assert "not-the-key" not in str(caught.value)


# Keystone v3: a login that hands out tokens of the real Swift


@contextmanager
def keystone(swift: SwiftServer) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Address of a Keystone that knows user `px` of project `radiology`, and the requests it got."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            user = body["auth"]["identity"]["password"]["user"]
            good = self.path == "/v3/auth/tokens" and (user["name"], user["password"]) == ("px", "secret")
            url, token = swift.account.login()
            endpoints = [
                {"interface": "internal", "region": "r1", "region_id": "r1", "url": "http://nowhere.invalid/"},
                {"interface": "public", "region": "r1", "region_id": "r1", "url": url},
            ]
            catalog = [{"type": "identity", "endpoints": []}, {"type": "object-store", "endpoints": endpoints}]
            answer = json.dumps({"token": {"catalog": catalog}} if good else {"error": {"code": 401}}).encode()
            self.send_response(201 if good else 401)
            self.send_header("Content-Length", str(len(answer)))
            if good:
                self.send_header("X-Subject-Token", token)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}/v3", asked
        finally:
            server.shutdown()
            thread.join()


def test_keystone_login(swift: SwiftServer, tmp_path: Path) -> None:
    source = tmp_path / "a.dcm"
    source.write_bytes(b"image")
    with keystone(swift) as (url, asked):
        environ = {
            "OS_AUTH_URL": url, "OS_USERNAME": "px", "OS_PASSWORD": "secret", "OS_PROJECT_NAME": "radiology",
            "OS_USER_DOMAIN_NAME": "Hospital", "OS_REGION_NAME": "r1",
        }  # fmt: skip
        target = swift_store({}, environ).target
        assert isinstance(target, SwiftTarget)
        SwiftStore(target).put(source, "a.dcm", file_md5(source))
        assert swift.account.get("users", "a.dcm") == b"image"
        auth = asked[0]["auth"]
        assert auth["identity"]["password"]["user"]["domain"] == {"name": "Hospital"}
        assert auth["scope"] == {"project": {"name": "radiology", "domain": {"id": "default"}}}
        wrong = swift_store({}, {**environ, "OS_PASSWORD": "wrong"}).target
        assert isinstance(wrong, SwiftTarget)
        with pytest.raises(StorageUnreachableError, match="login refused"):
            SwiftStore(wrong).check()
        elsewhere = swift_store({}, {**environ, "OS_REGION_NAME": "r2"}).target
        assert isinstance(elsewhere, SwiftTarget)
        with pytest.raises(StorageUnreachableError, match="no object-store"):
            SwiftStore(elsewhere).check()
