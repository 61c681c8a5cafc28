"""OpenStack Swift as object store, by python-swiftclient (TempAuth v1 and Keystone v3)."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import requests
import swiftclient
from swiftclient.exceptions import ClientException

from pypx.errors import StorageError
from pypx.model.peers import SwiftTarget
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
from pypx.services.swift_errors import explained
from pypx.services.swift_login import Login

logging.getLogger("swiftclient").addHandler(logging.NullHandler())
logging.getLogger("swiftclient").propagate = False  # it logs each error it raises, URLs of patients included

_RETRIES = 4
_PAGE = 1000
_MD5_HEADER = "x-object-meta-px-md5"


class _Bytes(bytes):
    """A body that swiftclient may send again as it is."""

    __slots__ = ()

    def reset(self, *_args: object, **_kwargs: object) -> None:
        """Nothing has moved."""


class _Connection(swiftclient.Connection):  # type: ignore[misc]
    """A connection that takes its token from the shared login."""

    def __init__(self, login: Login, target: SwiftTarget, timeout_s: float, retries: int, backoff_s: float) -> None:
        # user and key are not used: swiftclient asks whether they are there before it logs in again after a 401
        super().__init__(
            authurl=target.auth_url,
            user="shared",
            key="shared",
            retries=retries,
            starting_backoff=backoff_s,
            max_backoff=16,
            timeout=timeout_s,
            cacert=str(target.cacert) if target.cacert is not None else None,
        )
        self._login = login
        self._used: str | None = None

    def get_auth(self) -> tuple[str, str]:
        """Storage URL and token; after a 401 swiftclient asks again, and the token used last is stale."""
        self.url, self.token = self._login.session(stale=self._used)
        self._used = self.token
        return self.url, self.token


class SwiftStore:
    """An object store in one container of a Swift account.

    Each thread has a connection of its own; all share the token of one login.  PUT, GET, HEAD and DELETE of a named
    object may be repeated without harm, so connection errors, 408, 429 and 5xx are tried again with growing pauses
    (swiftclient does it), a 401 by logging in once more.

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
        self._settings = (timeout_s, retries, backoff_s)
        self._segment_bytes = segment_bytes
        self._large_bytes = large_bytes
        self._local = threading.local()
        self._login = Login(target, timeout_s)

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

    def put(self, source: Path, name: str, md5: str) -> StoredObject:
        """See :class:`pypx.services.storage.ObjectStore`."""
        try:
            with source.open("rb") as stream:
                size = source.stat().st_size
                if size > self._large_bytes:
                    self._put_large(stream, size, name, md5)
                else:
                    body: Any = _Bytes(stream.read()) if size <= SMALL_BYTES else stream
                    self._put_one(self._container, name, body, size, md5)
        except OSError as error:
            raise StorageError(f"{source}: cannot be read: {error.strerror or error}") from error
        return StoredObject(name, size, md5)

    def get(self, name: str, target: Path) -> StoredObject:
        """See :class:`pypx.services.storage.ObjectStore`."""
        said, chunks = self._opened(name)
        if said is None:
            raise StorageError(f"{self}: there is no object {name}")
        size, md5 = save(self._guarded(name, chunks), target)
        if size != said.size or (said.md5 and said.md5 != md5):
            target.unlink(missing_ok=True)
            raise StorageError(f"{self}: {name} is corrupt: its bytes are not those of its checksum; push it again")
        return StoredObject(name, size, md5)

    def read(self, name: str) -> StoredObject | None:
        """See :class:`pypx.services.storage.ObjectStore`."""
        said, chunks = self._opened(name)
        if said is None:
            return None
        size, md5 = digest_of(self._guarded(name, chunks))
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
        def ask(connection: _Connection) -> Any:
            return connection.get_container(container, marker, _PAGE, prefix)

        found = self._call("listing of", prefix, ask, absent=True)
        return [] if found is None else list(found[1])

    def _put_one(self, container: str, name: str, body: Any, size: int, md5: str) -> None:
        settings = {"content_length": size, "etag": md5, "content_type": content_type(name)}
        if not isinstance(body, bytes):
            settings["chunk_size"] = CHUNK

        def put(connection: _Connection) -> Any:
            return connection.put_object(container, name, body, **settings)

        etag = self._call("PUT", name, put, absent=True)
        if etag is None:
            self._make_container(container)
            if not isinstance(body, bytes):
                body.seek(0)
            etag = self._call("PUT", name, put)
        if etag.strip('"') != md5:
            raise StorageError(f"{self}: {name} arrived with checksum {etag}, not {md5}; push it again")

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

        def put(connection: _Connection) -> Any:
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
        found = self._call(
            "GET", name, lambda c: c.get_object(self._container, name, resp_chunk_size=CHUNK), absent=True
        )
        return (None, iter(())) if found is None else (_object(name, found[0]), found[1])

    def _guarded(self, name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The bytes of a download, its errors explained."""
        try:
            yield from chunks
        except (ClientException, requests.RequestException) as error:
            raise self._failure("GET", name, error) from error

    def _call(self, doing: str, name: str, action: Callable[[Any], Any], *, absent: bool = False) -> Any:
        """One request by the connection of this thread; with `absent`, a 404 is ``None``."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = _Connection(self._login, self._target, *self._settings)
        try:
            return action(connection)
        except (ClientException, requests.RequestException, OSError) as error:
            if absent and isinstance(error, ClientException) and error.http_status == 404:
                return None
            raise self._failure(doing, name, error) from error

    def _failure(self, doing: str, name: str, error: Exception) -> StorageError:
        return explained(f"{self}: {doing} {name}".rstrip(), error, self._settings[0])


def _is_segmented(headers: dict[str, str]) -> bool:
    return headers.get("x-static-large-object", "").lower() == "true"


def _object(name: str, headers: dict[str, str]) -> StoredObject:
    etag = headers.get("etag", "").strip('"')
    if _is_segmented(headers) or "x-object-manifest" in headers:
        etag = headers.get(_MD5_HEADER, "")
    return StoredObject(name, int(headers.get("content-length", 0)), etag, headers.get("last-modified", ""))


def _delete(container: str, name: str, connection: Any) -> None:
    connection.delete_object(container, name)
