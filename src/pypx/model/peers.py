"""The peers px talks to, as frozen records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pypx.model.identifiers import AETitle


@dataclass(frozen=True, slots=True)
class PacsNode:
    """A PACS as DICOM peer, and the titles we use towards it.

    `host` and `port` are its address; `called_aet` is its AE title, `calling_aet` ours.  `move_destination` is the
    title the PACS sends images to on C-MOVE: it must be known to the PACS together with the address of our listener
    (PS3.4 C.4.2).
    """

    host: str
    port: int
    called_aet: AETitle
    calling_aet: AETitle
    move_destination: AETitle

    def __str__(self) -> str:
        return f"{self.called_aet}@{self.host}:{self.port}"


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
