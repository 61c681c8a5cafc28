"""The tests' own view of a Swift account: plain HTTP, so that what px stored is not read back by px's library."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a container listing; `hash` is the MD5 of its bytes, or of its segments' for a large object."""

    name: str
    size: int
    hash: str


def ask(
    method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None, *, timeout: float = 60
) -> Answer:
    """One HTTP request over a connection of its own; redirects are not followed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request(
            method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, dict(headers or {})
        )
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())
    finally:
        connection.close()


@dataclass(slots=True)
class SwiftAccount:
    """An account behind TempAuth (v1): list, read, write and delete objects."""

    auth_url: str
    user: str
    key: str
    _login: tuple[str, str] | None = field(default=None, repr=False)

    def login(self) -> tuple[str, str]:
        """Storage URL and token, asked for once."""
        if self._login is None:
            answer = ask("GET", self.auth_url, {"X-Auth-User": self.user, "X-Auth-Key": self.key})
            assert answer.status == 200, f"{self.auth_url} as {self.user}: {answer}"
            self._login = answer.headers["x-storage-url"], answer.headers["x-auth-token"]
        return self._login

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One request below the storage URL; `path` is quoted already."""
        url, token = self.login()
        return ask(method, f"{url}/{path}", {"X-Auth-Token": token, **(headers or {})}, body)

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        answer = self.ask(method, path, headers, body)
        assert answer.status < 300, f"Swift: {method} {path}: {answer.status} {answer.body[:300]!r}"
        return answer

    def make_container(self, container: str) -> None:
        self._ask("PUT", quote(container), body=b"")

    def containers(self) -> list[str]:
        return [str(item["name"]) for item in json.loads(self._ask("GET", "?format=json").body)]

    def listing(self, container: str, prefix: str = "", *, page: int = 1000) -> Iterator[Entry]:
        """Objects whose name starts with `prefix`, a plain text prefix, in the order of the container."""
        marker = ""
        while True:
            query = urlencode({"format": "json", "prefix": prefix, "limit": page, "marker": marker})
            items = json.loads(self._ask("GET", f"{quote(container)}?{query}").body)
            yield from (Entry(item["name"], item["bytes"], item["hash"]) for item in items)
            if not items:
                return
            marker = items[-1]["name"]

    def names(self, container: str, prefix: str = "") -> list[str]:
        return [entry.name for entry in self.listing(container, prefix)]

    def put(self, container: str, name: str, data: bytes) -> None:
        self._ask("PUT", f"{quote(container)}/{quote(name)}", body=data)

    def get(self, container: str, name: str) -> bytes:
        return self._ask("GET", f"{quote(container)}/{quote(name)}").body

    def head(self, container: str, name: str) -> Answer:
        """Headers of the object, also when it is not there (status 404)."""
        return self.ask("HEAD", f"{quote(container)}/{quote(name)}")

    def delete(self, container: str, name: str) -> None:
        """Remove an object; one that is listed but lost on disk (404) leaves the listing too."""
        answer = self.ask("DELETE", f"{quote(container)}/{quote(name)}")
        assert answer.status in {204, 404}, f"Swift: DELETE {name}: {answer.status} {answer.body[:300]!r}"

    def empty(self, container: str) -> None:
        """Remove every object of the container."""
        for name in self.names(container):
            self.delete(container, name)
        left = self.names(container)
        assert not left, f"Swift still lists {left}"

    def remove_container(self, container: str) -> None:
        self.empty(container)
        self._ask("DELETE", quote(container))
