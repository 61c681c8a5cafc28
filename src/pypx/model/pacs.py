"""A PACS as peer: what every conversation in DICOM needs, and no more."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from pypx.model.dataclass import dataclass
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
