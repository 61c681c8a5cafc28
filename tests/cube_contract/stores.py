"""The storage below CUBE: it holds the bytes that somebody else pushed; CUBE looks, and on a few occasions changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from support.swift_client import SwiftAccount


class StorageError(Exception):
    """The storage did not answer."""


class ListingStore(Protocol):
    """What CUBE asks of its storage; names have no leading slash."""

    def listing(self, path: str) -> list[str]:
        """Names of the objects that the back end counts as lying under `path`; StorageError if it does not say."""

    def size(self, name: str) -> int | None:
        """Bytes of one object, None if there is no such object (a folder is none)."""

    def read(self, name: str) -> bytes: ...

    def rename(self, name: str, new_name: str) -> None: ...

    def delete(self, name: str) -> None: ...


class FolderStore:
    """STORAGE_ENV `filesystem` or `fslink`: a key is a path below MEDIA_ROOT; a folder never takes its sibling along."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, name: str) -> Path:
        return Path(f"{self.root}/{name}")

    def listing(self, path: str) -> list[str]:
        top = self._path(path)
        if self.size(path) is not None:
            return [path]
        found = [Path(folder, file) for folder, _, files in os.walk(top) for file in files]
        return sorted(file.relative_to(self.root).as_posix() for file in found)

    def size(self, name: str) -> int | None:
        path = self._path(name)
        try:
            return path.stat().st_size if path.is_file() else None
        except OSError as error:
            raise StorageError(str(error)) from error

    def read(self, name: str) -> bytes:
        return self._path(name).read_bytes()

    def rename(self, name: str, new_name: str) -> None:
        target = self._path(new_name)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path(name).rename(target)

    def delete(self, name: str) -> None:
        self._path(name).unlink()


class SwiftStore:
    """STORAGE_ENV `swift`, and `s3` over the same container: the listing is by plain prefix, without a final slash."""

    def __init__(self, account: SwiftAccount, container: str = "users") -> None:
        self.account = account
        self.container = container

    def listing(self, path: str) -> list[str]:
        try:
            return self.account.names(self.container, path)
        except (OSError, AssertionError) as error:
            raise StorageError(str(error)) from error

    def size(self, name: str) -> int | None:
        try:
            answer = self.account.head(self.container, name)
        except (OSError, AssertionError) as error:
            raise StorageError(str(error)) from error
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise StorageError(f"HEAD {name}: {answer.status}")
        return int(answer.headers["content-length"])

    def read(self, name: str) -> bytes:
        return self.account.get(self.container, name)

    def rename(self, name: str, new_name: str) -> None:
        self.account.put(self.container, new_name, self.account.get(self.container, name))
        self.account.delete(self.container, name)

    def delete(self, name: str) -> None:
        self.account.delete(self.container, name)
