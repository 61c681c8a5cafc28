"""The peers px talks to, as frozen records."""

from __future__ import annotations

from dataclasses import dataclass

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
