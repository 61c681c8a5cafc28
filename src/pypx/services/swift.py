"""OpenStack Swift as object store, by python-swiftclient (TempAuth v1 and Keystone v3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import requests

from pypx.errors import StorageError
from pypx.model.peers import SwiftTarget
from pypx.model.plain import brief
from pypx.services.fileslice import FileSlice
from pypx.services.storage import (
    CHUNK,
    LARGE_BYTES,
    SEGMENT_BYTES,
    SMALL_BYTES,
    StorageUnreachableError,
    StoredObject,
    clean_folder,
    clean_name,
    content_type,
    digest_of,
    save,
)
from pypx.services.swift_requests import TROUBLE, SwiftRequests

_RETRIES = 4
_PAGE = 1000
_MD5_HEADER = "x-object-meta-px-md5"


class _Bytes(bytes):
    """A body that swiftclient may send again as it is."""

    __slots__ = ()

    def reset(self, *_args: object, **_kwargs: object) -> None:
        """Nothing has moved."""


class SwiftStore:
    """An object store in one container of a Swift account.

    Each thread has a connection of its own; all share the token of one login.  What is tried again, and how often:
    :class:`pypx.services.swift_requests.SwiftRequests`.

    Parameters
    ----------
    target : account, container and login
    timeout_s : limit for connecting and for each silence of the server, seconds
    retries, backoff_s : how often a failed request is repeated, and the first pause, seconds
    segment_bytes, large_bytes : files of more than `large_bytes` go as a static large object in segments of
        `segment_bytes`, which lie in the container ``<container>_segments``
    """

    def __init__(
        self,
        target: SwiftTarget,
        *,
        timeout_s: float = 60.0,
        retries: int = _RETRIES,
        backoff_s: float = 0.5,
        segment_bytes: int = SEGMENT_BYTES,
        large_bytes: int = LARGE_BYTES,
    ) -> None:
        self._target = target
        self._container = target.container
        self._requests = SwiftRequests(target, timeout_s, retries, backoff_s)
        self._call = self._requests.call
        self._segment_bytes = segment_bytes
        self._large_bytes = large_bytes

    def __str__(self) -> str:
        return str(self._target)

    def check(self) -> None:
        """See :class:`pypx.services.storage.ObjectStore`; the container is made if it is missing."""
        try:
            if self._call("HEAD", "", lambda c: c.head_container(self._container), absent=True) is None:
                self._make_container(self._container)
        except StorageError as error:
            raise StorageUnreachableError(str(error)) from error

    def head(self, name: str) -> StoredObject | None:
        """See :class:`pypx.services.storage.ObjectStore`."""
        headers = self._call("HEAD", name, lambda c: c.head_object(self._container, name), absent=True)
        return None if headers is None else _object(name, headers)

    def put(self, source: Path, name: str, md5: str, data: bytes | None = None) -> StoredObject:
        """See :class:`pypx.services.storage.ObjectStore`."""
        if data is not None:
            self._put_one(self._container, name, _Bytes(data), len(data), md5)
            return StoredObject(name, len(data), md5)
        try:
            with source.open("rb") as stream:
                size = source.stat().st_size
                if size > self._large_bytes:
                    self._put_large(stream, size, name, md5)
                else:
                    body: Any = _Bytes(stream.read()) if size <= SMALL_BYTES else stream
                    self._put_one(self._container, name, body, size, md5)
        except OSError as error:
            raise StorageError(f"{source.name}: cannot be read: {error.strerror or error}") from error
        return StoredObject(name, size, md5)

    def get(self, name: str, target: Path) -> StoredObject:
        """See :class:`pypx.services.storage.ObjectStore`."""
        said, chunks = self._opened(name)
        if said is None:
            raise StorageError(f"{self}: there is no object {brief(name)}")
        size, md5 = save(chunks, target)
        if size != said.size or (said.md5 and said.md5 != md5):
            target.unlink(missing_ok=True)
            raise StorageError(
                f"{self}: {brief(name)} is corrupt: its bytes are not those of its checksum; push it again"
            )
        return StoredObject(name, size, md5)

    def read(self, name: str) -> StoredObject | None:
        """See :class:`pypx.services.storage.ObjectStore`."""
        said, chunks = self._opened(name)
        if said is None:
            return None
        size, md5 = digest_of(chunks)
        return StoredObject(name, size, md5)

    def delete(self, name: str) -> None:
        """See :class:`pypx.services.storage.ObjectStore`; the segments of a large object go with it."""
        headers = self._call("HEAD", name, lambda c: c.head_object(self._container, name), absent=True)
        if headers is None:
            return
        query = "multipart-manifest=delete" if _is_segmented(headers) else None
        self._call("DELETE", name, lambda c: c.delete_object(self._container, name, query_string=query), absent=True)

    def walk(self, folder: str) -> Iterator[StoredObject]:
        """See :class:`pypx.services.storage.ObjectStore`."""
        folder = clean_folder(folder)
        if folder:
            exact = self.head(folder)
            if exact is not None:
                yield exact
        yield from self._listed(self._container, f"{folder}/" if folder else "")

    def below(self, folder: str) -> Iterator[StoredObject]:
        """See :class:`pypx.services.storage.ObjectStore`; a page that is not full is the last."""
        yield from self._listed(self._container, f"{clean_name(folder)}/", until_empty=False)

    def settle(self, folder: str) -> None:
        """Swift has stored what it said it has."""

    def _listed(self, container: str, prefix: str, *, until_empty: bool = True) -> Iterator[StoredObject]:
        """Objects whose name begins with `prefix`; a server may give fewer a page than asked for, so look on."""
        marker = ""
        while items := self._page(container, prefix, marker):
            for item in items:
                md5 = "" if "slo_etag" in item else item["hash"]
                yield StoredObject(item["name"], item["bytes"], md5, item["last_modified"])
            if len(items) < _PAGE and not until_empty:
                return
            marker = items[-1]["name"]

    def _page(self, container: str, prefix: str, marker: str) -> list[dict[str, Any]]:
        def ask(connection: Any) -> Any:
            try:
                return connection.get_container(container, marker, _PAGE, prefix)
            except ValueError as error:
                raise requests.ConnectionError("the listing is no JSON") from error

        found = self._call("listing of", prefix, ask, absent=True)
        return [] if found is None else list(found[1])

    def _put_one(self, container: str, name: str, body: Any, size: int, md5: str) -> None:
        settings = {"content_length": size, "etag": md5, "content_type": content_type(name)}
        if not isinstance(body, bytes):
            settings["chunk_size"] = CHUNK

        def put(connection: Any) -> Any:
            if not isinstance(body, bytes):
                body.seek(0)
            return connection.put_object(container, name, body, **settings)

        etag = self._call("PUT", name, put, absent=True)
        if etag is None:
            self._make_container(container)
            etag = self._call("PUT", name, put)
        if etag.strip('"') != md5:
            raise StorageError(f"{self}: {brief(name)} arrived with checksum {etag}, not {md5}; push it again")

    def _put_large(self, stream: BinaryIO, size: int, name: str, md5: str) -> None:
        """A static large object; segments that an interrupted run has stored are not sent again."""
        container = f"{self._container}_segments"
        prefix = f"{name}/{md5}/{self._segment_bytes}/"
        there = {item.name: item for item in self._listed(container, prefix)}
        manifest = []
        for number, start in enumerate(range(0, size, self._segment_bytes)):
            length = min(self._segment_bytes, size - start)
            part = f"{prefix}{number:08d}"
            part_md5 = digest_of(FileSlice(stream, start, length).chunks())[1]
            known = there.get(part)
            if known is None or (known.size, known.md5) != (length, part_md5):
                self._put_one(container, part, FileSlice(stream, start, length), length, part_md5)
            manifest.append({"path": f"/{container}/{part}", "etag": part_md5, "size_bytes": length})
        body = _Bytes(json.dumps(manifest).encode())
        headers = {_MD5_HEADER: md5, "Content-Type": content_type(name)}

        def put(connection: Any) -> Any:
            query = "multipart-manifest=put"
            return connection.put_object(self._container, name, body, headers=headers, query_string=query)

        if self._call("PUT", name, put, absent=True) is None:
            self._make_container(self._container)
            self._call("PUT", name, put)
        for item in list(self._listed(container, f"{name}/")):
            if not item.name.startswith(prefix):
                self._call("DELETE", item.name, partial(_delete, container, item.name), absent=True)

    def _make_container(self, container: str) -> None:
        self._call("making container", container, lambda c: c.put_container(container))

    def _opened(self, name: str) -> tuple[StoredObject | None, Iterator[bytes]]:
        found = self._asked_for(name, {})
        if found is None:
            return None, iter(())
        return _object(name, found[0]), self._whole(name, *found)

    def _asked_for(self, name: str, headers: dict[str, str]) -> tuple[dict[str, str], Iterator[bytes]] | None:
        def get(connection: Any) -> Any:
            try:
                found = connection.get_object(self._container, name, resp_chunk_size=CHUNK, headers=headers)
            except TypeError:  # of swiftclient, where the answer has no length
                found = None
            if found is None or "content-length" not in found[0]:
                raise requests.ConnectionError("the answer has no length")
            return found

        answer: tuple[dict[str, str], Iterator[bytes]] | None = self._call("GET", name, get, absent=True)
        return answer

    def _whole(self, name: str, headers: dict[str, str], chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The bytes of a download; where it breaks off, the rest is asked for, of the same object only."""
        done, size, tries = 0, int(headers.get("content-length", 0)), 0
        while True:
            error: Exception = requests.ConnectionError(f"it ended after {done} of {size} bytes")
            try:
                for chunk in chunks:
                    done, tries = done + len(chunk), 0
                    yield chunk
            except TROUBLE as trouble:
                error = trouble
            if done >= size:
                return
            tries += 1
            if tries > self._requests.retries or isinstance(error, requests.Timeout):
                raise self._requests.failure("GET", name, error) from error
            self._requests.pause(tries)
            rest = {"Range": f"bytes={done}-", "If-Match": headers.get("etag", "")}
            found = self._asked_for(name, rest)
            if found is None or not found[0].get("content-range", "").startswith(f"bytes {done}-"):
                raise StorageError(
                    f"{self}: GET {brief(name)}: it broke off, and its rest is not to be had; try again later"
                )
            chunks = found[1]


def _is_segmented(headers: dict[str, str]) -> bool:
    return headers.get("x-static-large-object", "").lower() == "true"


def _object(name: str, headers: dict[str, str]) -> StoredObject:
    etag = headers.get("etag", "").strip('"')
    if _is_segmented(headers) or "x-object-manifest" in headers:
        etag = headers.get(_MD5_HEADER, "")
    return StoredObject(name, int(headers.get("content-length", 0)), etag, headers.get("last-modified", ""))


def _delete(container: str, name: str, connection: Any) -> None:
    connection.delete_object(container, name)
