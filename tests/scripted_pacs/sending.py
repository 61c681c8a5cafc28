"""What associations share, and the sub-operations of a C-MOVE: sent, dropped, counted and noted."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from pynetdicom.dsutils import encode

from scripted_pacs.images import image
from scripted_pacs.journal import Asked, Association, Sent
from scripted_pacs.play import Book, Play, SubOperation
from scripted_pacs.storing import LostError, StoreAssociation

SUCCESS, WARNING, UNABLE = 0x0000, 0xB000, 0xA702


@dataclass(slots=True)
class Session:
    """An association: its place in the journal, its requests so far, and the PDUs queued and written."""

    record: Association
    requests: int = 0
    queued: int = 0
    written: int = 0


@dataclass(slots=True)
class Stage:
    """What all associations share."""

    aet: str
    destinations: Mapping[str, tuple[str, int]]
    play: Play
    book: Book = field(default_factory=Book)
    sessions: dict[Any, Session] = field(default_factory=dict)


@dataclass(slots=True)
class Counts:
    remaining: int
    completed: int = 0
    failed: int = 0
    warning: int = 0


class Sender:
    """The association to a move destination, opened by the first sub-operation that needs it."""

    def __init__(self, stage: Stage, asked: Asked, message: int, address: tuple[str, int]) -> None:
        self.stage, self.asked, self.message, self.address = stage, asked, message, address
        self.play = stage.play
        self._association: StoreAssociation | None = None
        self._gone = False

    def do(self, operation: SubOperation, counts: Counts) -> None:
        """Do or drop one sub-operation, count it, and note it."""
        counts.remaining -= 1
        sent = Sent(
            self.asked.association,
            self.asked.request,
            operation.SeriesInstanceUID,
            operation.SOPInstanceUID,
            "dropped",
            other_content=operation.other_content,
        )
        told = self.play.told(operation)
        if not told:
            sent.status = self._store(operation)
            sent.outcome = "stored" if sent.status is not None and _took(sent.status) else "failed"
            told = "completed" if sent.outcome == "stored" else "failed"
            if told == "completed" and operation.SOPInstanceUID in self.play.script.warned:
                told = "warning"
        if told != "uncounted":
            setattr(counts, told, getattr(counts, told) + 1)
        self.stage.book.add(sent)

    def _store(self, operation: SubOperation) -> int | None:
        if self._gone:
            return None
        try:
            if self._association is None:
                self._association = StoreAssociation(self.stage.aet, self.asked.destination, self.address)
            data = encode(image(operation.entry, other_content=operation.other_content), False, True)
            assert data is not None
            return self._association.store(operation.SOPInstanceUID, data, self.stage.aet, self.message)
        except LostError:
            self._gone = True
            return None

    def close(self) -> None:
        if self._association is not None:
            self._association.close()


def send_all(busy: ExitStack, sender: Sender, operations: list[SubOperation]) -> None:
    """The sub-operations behind an early success; `busy` is theirs to leave."""
    play, counts = sender.play, Counts(len(operations))
    with busy:
        for operation in operations:
            play.pause(play.script.store_delay_s, play.ended.is_set)
            if play.ended.is_set():
                break
            sender.do(operation, counts)
        sender.close()


def _took(status: int) -> bool:
    return status == SUCCESS or status >> 12 == 0xB


def final_status(counts: Counts) -> int:
    if counts.failed and not counts.completed and not counts.warning:
        return UNABLE
    return WARNING if counts.failed or counts.warning else SUCCESS
