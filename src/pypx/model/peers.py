"""The peers px talks to, as frozen records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pypx.model.identifiers import AETitle


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How a DICOM connection is secured (PS3.15 annex B.10).

    `ca`: the certificates that the peer's is checked against; ``None``: for a PACS those of the system, for a listener
    nobody's certificate is asked for.  `cert` and `key` are our own (a `cert` may hold the key as well); the passphrase
    of the key is in `password_file`, or is `password`, a secret that is in no text of this record.  `name` is the host
    name that the certificate of a PACS must have, if that differs from its address; of no use to a listener.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    password_file: Path | None = None
    password: str | None = field(default=None, repr=False)
    name: str | None = None


@dataclass(frozen=True, slots=True)
class PacsNode:
    """A PACS as DICOM peer, and the titles we use towards it.

    `host` and `port` are its address; `called_aet` is its AE title, `calling_aet` ours.  `move_destination` is the
    title the PACS sends images to on C-MOVE: it must be known to the PACS together with the address of our listener
    (PS3.4 C.4.2).  With `tls` every connection to it is made by TLS.
    """

    host: str
    port: int
    called_aet: AETitle
    calling_aet: AETitle
    move_destination: AETitle
    tls: TlsSettings | None = None

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
