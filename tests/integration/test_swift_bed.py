"""The Swift of the test bed: a real one, by its own protocol and by S3, and breakable where tests need it broken."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from support.swift_client import SwiftAccount, ask
from support.swift_server import Request, SwiftServer

NAME = "SERVICES/PACS/CLINIC/77-RÖ, R/00003-T2 50%/0001-1.2.dcm"
DATA = bytes(range(256)) * 512


def test_object_comes_back_as_it_was(swift: SwiftServer) -> None:
    swift.account.put("users", NAME, DATA)
    assert swift.account.get("users", NAME) == DATA
    [entry] = swift.account.listing("users")
    assert (entry.name, entry.size, entry.hash) == (NAME, len(DATA), hashlib.md5(DATA).hexdigest())


def test_only_the_right_key_gets_a_token(swift: SwiftServer) -> None:
    headers = {"X-Auth-User": swift.user, "X-Auth-Key": "wrong"}
    assert ask("GET", swift.auth_url, headers).status == 401
    answer = ask("GET", swift.auth_url, {**headers, "X-Auth-Key": swift.key})
    assert answer.status == 200
    assert answer.headers["x-storage-url"].endswith("/v1/AUTH_chris")


def test_listing_is_by_plain_prefix_and_complete_over_pages(swift: SwiftServer) -> None:
    names = [f"s1/{number}" for number in range(5)] + ["s10/0"]
    for name in names:
        swift.account.put("users", name, b"x")
    assert [entry.name for entry in swift.account.listing("users", "s1", page=2)] == names
    assert swift.names("s1/") == names[:5]


def test_swiftclient_reads_and_writes(swift: SwiftServer) -> None:
    swiftclient: Any = pytest.importorskip("swiftclient")
    connection = swiftclient.Connection(authurl=swift.auth_url, user=swift.user, key=swift.key, retries=0)
    try:
        assert connection.put_object("users", NAME, DATA) == hashlib.md5(DATA).hexdigest()
        assert swift.account.get("users", NAME) == DATA
    finally:
        connection.close()


def s3_client(swift: SwiftServer) -> Any:
    boto3: Any = pytest.importorskip("boto3")
    config: Any = pytest.importorskip("botocore.config")
    return boto3.client(
        "s3",
        endpoint_url=swift.s3_url,
        region_name="us-east-1",
        aws_access_key_id=swift.user,
        aws_secret_access_key=swift.key,
        config=config.Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def test_bucket_and_container_are_one(swift: SwiftServer) -> None:
    s3 = s3_client(swift)
    try:
        answer = s3.put_object(Bucket="users", Key=NAME, Body=DATA)
        assert answer["ETag"] == f'"{hashlib.md5(DATA).hexdigest()}"'
        assert swift.account.get("users", NAME) == DATA
        swift.account.put("users", "by-swift", b"abc")
        assert s3.get_object(Bucket="users", Key="by-swift")["Body"].read() == b"abc"
        listed = s3.list_objects_v2(Bucket="users", Prefix="SERVICES/PACS/")
        assert [item["Key"] for item in listed["Contents"]] == [NAME]
        s3.delete_object(Bucket="users", Key=NAME)
        assert swift.names() == ["by-swift"]
    finally:
        s3.close()


def test_s3_uploads_in_parts_and_makes_buckets(swift: SwiftServer) -> None:
    s3 = s3_client(swift)
    parts = [b"a" * (5 << 20), b"b" * 10]
    try:
        s3.create_bucket(Bucket="images")
        upload = s3.create_multipart_upload(Bucket="images", Key="big")["UploadId"]
        done = [
            {"PartNumber": n, "ETag": s3.upload_part(Bucket="images", Key="big", UploadId=upload, PartNumber=n, Body=part)["ETag"]}
            for n, part in enumerate(parts, 1)
        ]  # fmt: skip
        s3.complete_multipart_upload(Bucket="images", Key="big", UploadId=upload, MultipartUpload={"Parts": done})
        assert s3.head_object(Bucket="images", Key="big")["ETag"].endswith('-2"')
        assert swift.account.get("images", "big") == b"".join(parts)
    finally:
        s3.close()
    swift.empty()
    assert swift.account.containers() == ["users"]


def test_s3_refuses_a_wrong_secret(swift: SwiftServer) -> None:
    errors: Any = pytest.importorskip("botocore.exceptions")
    s3 = s3_client(swift)
    s3._request_signer._credentials.secret_key = "wrong"
    try:
        with pytest.raises(errors.ClientError, match="SignatureDoesNotMatch"):
            s3.list_objects_v2(Bucket="users")
    finally:
        s3.close()


def test_large_object_in_segments(swift: SwiftServer) -> None:
    account = swift.account
    account.make_container("users_segments")
    for number, data in enumerate((b"abc", b"def")):
        account.put("users_segments", f"big/{number}", data)
    manifest = b'[{"path":"users_segments/big/0"},{"path":"users_segments/big/1"}]'
    assert account.ask("PUT", "users/big?multipart-manifest=put", body=manifest).status == 201
    assert account.get("users", "big") == b"abcdef"
    assert account.head("users", "big").headers["x-static-large-object"] == "True"


def test_corrupt_object_keeps_its_size_and_listing(swift: SwiftServer) -> None:
    swift.account.put("users", NAME, DATA)
    before = list(swift.account.listing("users"))
    swift.corrupt(NAME)
    data = swift.account.get("users", NAME)
    assert len(data) == len(DATA)
    assert sum(a != b for a, b in zip(data, DATA, strict=True)) == 1
    assert list(swift.account.listing("users")) == before


def test_lost_object_is_listed_but_gone(swift: SwiftServer) -> None:
    swift.account.put("users", NAME, DATA)
    swift.lose(NAME)
    assert swift.names() == [NAME]
    assert swift.account.head("users", NAME).status == 404
    swift.empty()
    assert swift.names() == []


def test_breaking_what_is_not_there_fails(swift: SwiftServer) -> None:
    with pytest.raises(AssertionError, match="holds no object 'nothing'"):
        swift.corrupt("nothing")


def test_log_tells_each_request(swift: SwiftServer) -> None:
    before = len(swift.requests())
    swift.account.put("users", "a b", b"x")
    swift.account.head("users", "nothing")
    assert swift.requests()[before:] == [
        Request("PUT", "/v1/AUTH_chris/users/a%20b", 201),
        Request("HEAD", "/v1/AUTH_chris/users/nothing", 404),
    ]


@pytest.mark.slow
def test_without_object_server_nothing_is_stored_and_then_it_is(swift: SwiftServer) -> None:
    with swift.down("object"):
        answer = swift.account.ask("PUT", "users/x", body=b"x")
        assert answer.status == 503
    swift.account.put("users", "x", b"x")
    assert swift.account.get("users", "x") == b"x"


@pytest.mark.slow
def test_objects_over_the_limit_are_refused_and_all_processes_end(tmp_path: Path) -> None:
    swift = SwiftServer(tmp_path / "swift", {"max_file_size": 1 << 20})
    swift.start()
    pids = [server.pid for server in swift.servers.values()]
    try:
        assert len(pids) == 5
        assert swift.account.ask("PUT", "users/x", body=bytes((1 << 20) + 1)).status == 413
        swift.account.put("users", "x", bytes(1 << 20))
    finally:
        swift.stop()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    with pytest.raises(OSError, match="refused"):
        SwiftAccount(swift.auth_url, swift.user, swift.key).login()
