"""The peers px talks to, as frozen records: the stores, CUBE, and those of :mod:`pypx.model.pacs`.

The latter are a module of their own since making a record class takes a millisecond: px find has no use for a store.
"""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from pypx.model.dataclass import dataclass
from pypx.model.pacs import PacsNode, TlsSettings


@dataclass(frozen=True, slots=True)
class SwiftTarget:
    """An OpenStack Swift account and container, and how to log in.

    `auth_version` is ``"1"`` (TempAuth: `user` is ``account:user``) or ``"3"`` (Keystone; `options` holds
    ``project_name``, ``user_domain_name`` and the like).  The key is a secret: it is in no text of this record.
    """

    auth_url: str
    user: str
    key: str = field(repr=False)
    container: str = "users"
    auth_version: str = "1"
    options: tuple[tuple[str, str], ...] = ()
    cacert: Path | None = None

    def __str__(self) -> str:
        return f"swift {self.container} at {self.auth_url}"


@dataclass(frozen=True, slots=True)
class FolderTarget:
    """A directory used as object store: an object's name is its path below `root`."""

    root: Path

    def __str__(self) -> str:
        return f"folder {self.root}"


@dataclass(frozen=True, slots=True)
class S3Target:
    """A bucket of an S3 service; without keys, boto3 looks for them where it always does."""

    bucket: str
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    cacert: Path | None = None

    def __str__(self) -> str:
        return f"s3 {self.bucket}" + (f" at {self.endpoint}" if self.endpoint else "")


@dataclass(frozen=True, slots=True)
class CubeTarget:
    """A CUBE by the URL of its API root, and a login: user and password, or a token."""

    url: str
    username: str
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    cacert: Path | None = None

    def __str__(self) -> str:
        return f"CUBE {self.url}"


__all__ = ["CubeTarget", "FolderTarget", "PacsNode", "S3Target", "SwiftTarget", "TlsSettings"]
