"""What a listener tells while it runs."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import Any

from pypx.model.dataclass import dataclass


class EventKind(str, Enum):
    """What happened."""

    READY = "ready"
    NOTICE = "notice"
    ASSOCIATION_OPENED = "association-opened"
    ASSOCIATION_REJECTED = "association-rejected"
    ASSOCIATION_ENDED = "association-ended"
    SERIES = "series"
    REJECTED_FILE = "rejected-file"
    CONFLICT = "conflict"
    OBJECT_TOO_LARGE = "object-too-large"
    OUT_OF_RESOURCES = "out-of-resources"
    FILING_FAILED = "filing-failed"
    WORKER_RESTARTED = "worker-restarted"
    TLS_REFUSED = "tls-refused"
    TLS_RESTARTED = "tls-restarted"
    PAUSED = "paused"
    RESUMED = "resumed"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ListenEvent:
    """One event; fields that do not belong to its kind are ``None``.

    An association counts as ended when its program has and its files are recorded, so `files` are durable then.
    `exit_status` is that of its storescp, negative for a signal; `seconds` how long that ran.  `new` and `total` count
    the distinct instances of a series: added now, recorded in all.  `refused` counts objects that were answered with
    *out of resources*: of each association the first is told at once, by the reason it had.  `earlier` counts files
    that an earlier listener received and that still wait.  No event names a patient.
    """

    kind: EventKind
    address: str | None = None
    port: int | None = None
    aet: str | None = None
    basemount: str | None = None
    pid: int | None = None
    association: str | None = None
    calling_aet: str | None = None
    called_aet: str | None = None
    certificate: str | None = None
    files: int | None = None
    refused: int | None = None
    earlier: int | None = None
    exit_status: int | None = None
    seconds: float | None = None
    StudyInstanceUID: str | None = None
    SeriesInstanceUID: str | None = None
    SOPInstanceUID: str | None = None
    new: int | None = None
    total: int | None = None
    name: str | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The kind and the fields that have a value, in the order above."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"kind": self.kind.value, **{k: v for k, v in values.items() if k != "kind" and v is not None}}
