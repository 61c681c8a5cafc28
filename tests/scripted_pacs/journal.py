"""What the PACS saw and did, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scripted_pacs.plain import from_plain


@dataclass(slots=True)
class Association:
    """One A-ASSOCIATE-RQ.

    `ending` is open, rejected, unanswered, released, aborted (by the PACS), closed (by the PACS) or lost (the peer
    aborted or went away).
    """

    number: int
    calling: str
    called: str
    ending: str = "open"


@dataclass(slots=True)
class Asked:
    """One request; `keys` is its identifier as text by keyword, several values joined by a backslash.

    `request` counts the requests of its association from 1.  `done` is the number of answers or of sub-operations up
    to the final response, `status` that of the final response: ``None`` while there is none.  `ending` is open,
    answered, cancelled, aborted, closed, silent or lost.
    """

    command: str
    association: int
    request: int
    level: str = ""
    model: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    destination: str = ""
    done: int = 0
    status: int | None = None
    ending: str = "open"


@dataclass(slots=True)
class Sent:
    """One sub-operation.

    `outcome` is stored, failed (the destination did not take it) or dropped; `status` is that of the C-STORE response.
    """

    association: int
    request: int
    SeriesInstanceUID: str
    SOPInstanceUID: str
    outcome: str
    status: int | None = None
    other_content: bool = False


Record = Association | Asked | Sent
KINDS: dict[str, type[Association | Asked | Sent]] = {kind.__name__: kind for kind in (Association, Asked, Sent)}


@dataclass(frozen=True, slots=True)
class Journal:
    """All records, and the questions that tests ask most."""

    records: tuple[Record, ...]

    @classmethod
    def from_plain(cls, records: Iterable[tuple[str, Any]]) -> Journal:
        return cls(tuple(from_plain(KINDS[name], value) for name, value in records))

    def associations(self, ending: str = "") -> list[Association]:
        return [one for one in self.records if isinstance(one, Association) and ending in ("", one.ending)]

    def asked(self, command: str = "", level: str = "") -> list[Asked]:
        """Requests, of a command such as "C-MOVE" and of a level such as "IMAGE" if given."""
        return [
            one
            for one in self.records
            if isinstance(one, Asked) and command in ("", one.command) and level in ("", one.level)
        ]

    def sent(self, outcome: str = "") -> list[Sent]:
        return [one for one in self.records if isinstance(one, Sent) and outcome in ("", one.outcome)]

    def stored(self) -> list[str]:
        """SOP Instance UIDs in the order in which the destination took them, each as often as it did."""
        return [one.SOPInstanceUID for one in self.sent("stored")]
