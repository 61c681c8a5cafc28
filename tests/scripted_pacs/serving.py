"""C-FIND and C-MOVE as an SCP, response by response: pynetdicom's own service classes cannot lie."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.dimse_primitives import C_FIND, C_MOVE
from pynetdicom.dsutils import decode, encode
from pynetdicom.service_class import ServiceClass

from scripted_pacs.journal import Asked
from scripted_pacs.matching import IdentifierError, attributes, found, targets
from scripted_pacs.script import Fault
from scripted_pacs.sending import SUCCESS, Counts, Sender, Stage, final_status, send_all

FIND = {"1.2.840.10008.5.1.4.1.2.1.1": "patient", "1.2.840.10008.5.1.4.1.2.2.1": "study"}
MOVE = {"1.2.840.10008.5.1.4.1.2.1.2": "patient", "1.2.840.10008.5.1.4.1.2.2.2": "study"}

PENDING, CANCELLED, UNKNOWN_DESTINATION, MISMATCH = 0xFF00, 0xFE00, 0xA801, 0xA900


class OverError(Exception):
    """The request ends here; `ending` is its place in the journal."""

    def __init__(self, ending: str) -> None:
        super().__init__(ending)
        self.ending = ending


class QueryRetrieve(ServiceClass):  # type: ignore[misc]
    """One request; pynetdicom makes an object of this class for each."""

    def __init__(self, assoc: Any, stage: Stage) -> None:
        super().__init__(assoc)
        self.stage = stage
        self.play = stage.play
        self.session = stage.sessions[assoc]

    def SCP(self, req: Any, context: Any) -> None:
        """Serve a request to its end, whichever that is."""
        self.req, self.context = req, context
        self.session.requests += 1
        done = False
        try:
            self._note()
            self._serve()
            done = True
        except OverError as end:
            self.asked.ending = end.ending
            done = True
        finally:
            if not done:
                self.stage.book.bugs.append(traceback.format_exc())

    def _note(self) -> None:
        moves = isinstance(self.req, C_MOVE)
        syntax = self.context.transfer_syntax[0]
        identifier = decode(self.req.Identifier, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
        keys = {element.keyword or str(element.tag): _text(element.value) for element in identifier}
        self.asked = Asked(
            command="C-MOVE" if moves else "C-FIND",
            association=self.session.record.number,
            request=self.session.requests,
            level=keys.pop("QueryRetrieveLevel", ""),
            model=(MOVE if moves else FIND)[self.req.AffectedSOPClassUID],
            keys=keys,
            destination=str(self.req.MoveDestination).strip() if moves else "",
        )
        self.touched = [uid for uid in keys.get("SeriesInstanceUID", "").split("\\") if uid]
        self.stage.book.add(self.asked)

    def _serve(self) -> None:
        most = self.play.script.most_requests
        if most is not None and self.session.requests > most:
            status = self.play.script.most_requests_status
            self._act(Fault("abort") if status is None else Fault("status", status=status))
        try:
            if self.asked.command == "C-FIND":
                self._find()
            else:
                self._move()
        except IdentifierError:
            self._end(MISMATCH)

    # C-FIND

    def _find(self) -> None:
        script, asked = self.play.script, self.asked
        entries = list(found(self.play.archive, script, asked.level, asked.model, asked.keys))
        cap = script.find_cap if asked.level in script.find_cap_levels else None
        capped = cap is not None and len(entries) > cap
        if capped:
            entries = [] if script.find_cap_instead else entries[:cap]
        for entry in entries:
            self._pause(script.answer_delay_s)
            self._check(asked.done)
            self._answer(attributes(entry, script))
        self._pause(script.answer_delay_s)
        self._check(asked.done)
        self._end(script.find_cap_status if capped else SUCCESS)

    def _answer(self, values: Mapping[str, str]) -> None:
        dataset = Dataset()
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.QueryRetrieveLevel = self.asked.level
        dataset.RetrieveAETitle = self.stage.aet
        for keyword in self.asked.keys:
            if keyword in values:
                value = values[keyword]
                setattr(dataset, keyword, value.split("\\") if "\\" in value else value)
        self.asked.done += 1
        self._respond(PENDING, identifier=dataset)

    # C-MOVE

    def _move(self) -> None:
        asked, play = self.asked, self.play
        operations = play.operations(targets(play.archive, asked.level, asked.model, asked.keys))
        self.touched = list(dict.fromkeys(one.SeriesInstanceUID for one in operations)) or self.touched
        address = self.stage.destinations.get(asked.destination)
        if address is None:
            self._check(0)
            self._end(UNKNOWN_DESTINATION)
            return
        sender = Sender(self.stage, asked, self.req.MessageID, address)
        counts = Counts(remaining=len(operations))
        if play.script.early_success:
            self._check(0)
            busy = ExitStack()
            busy.enter_context(self.stage.book.busy())  # from before the answer on
            threading.Thread(target=send_all, args=(busy, sender, operations), daemon=True).start()
            asked.done = len(operations)
            self._end(SUCCESS, Counts(0, completed=len(operations)))
            return
        try:
            for operation in operations:
                self._check(asked.done)
                self._pause(play.script.store_delay_s)
                self._check_peer()
                sender.do(operation, counts)
                asked.done += 1
                if play.script.pending:
                    self._respond(PENDING, counts=counts)
            self._check(asked.done)
        finally:
            sender.close()
        wanted = play.script.final_status
        self._end(final_status(counts) if wanted is None else wanted, counts)

    # One step

    def _check(self, position: int) -> None:
        """End the request here if the peer is gone or has cancelled, or if the script says so."""
        self._check_peer()
        if self.is_cancelled(self.req.MessageID):
            self._end(CANCELLED, ending="cancelled")
            raise OverError("cancelled")
        if fault := self.play.fault(self.asked, self.touched, position):
            self._act(fault)

    def _act(self, fault: Fault) -> None:
        if fault.what == "status":
            self._end(fault.status)
            raise OverError("answered")
        if fault.what == "silence":
            self.asked.ending = "silent"
            while not self._peer_gone() and not self.play.ended.wait(0.01):
                pass
            self.assoc.abort()
            raise OverError("silent")
        if fault.what == "abort":
            self.session.record.ending = "aborted"
            self.assoc.abort()
            raise OverError("aborted")
        self.session.record.ending = "closed"
        self._hang_up()
        raise OverError("closed")

    def _hang_up(self) -> None:
        """Close the connection without a word, once everything said so far is written."""
        deadline = time.monotonic() + 10
        while self.session.written < self.session.queued and time.monotonic() < deadline:
            time.sleep(0.001)
        raw = getattr(self.assoc.dul.socket, "socket", None)
        if raw is not None:
            raw.shutdown(socket.SHUT_RDWR)

    def _check_peer(self) -> None:
        if self._peer_gone():
            raise OverError("lost")

    def _peer_gone(self) -> bool:
        return bool(self.assoc.acse.is_aborted()) or not self.assoc.dul.is_alive()

    def _pause(self, seconds: float) -> None:
        if seconds:
            self.play.pause(seconds, self._peer_gone)

    def _end(self, status: int, counts: Counts | None = None, *, ending: str = "answered") -> None:
        self.asked.status = status
        self.asked.ending = ending
        self._respond(status, counts=counts)

    def _respond(self, status: int, *, identifier: Dataset | None = None, counts: Counts | None = None) -> None:
        response = type(self.req)()
        assert isinstance(response, (C_FIND, C_MOVE))
        response.MessageID = response.MessageIDBeingRespondedTo = self.req.MessageID
        response.AffectedSOPClassUID = self.req.AffectedSOPClassUID
        response.Status = status
        if identifier is not None:
            syntax = self.context.transfer_syntax[0]
            data = encode(identifier, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
            assert data is not None
            response.Identifier = BytesIO(data)
        if counts is not None and not self.play.script.omit_counts:
            if status == PENDING:
                response.NumberOfRemainingSuboperations = counts.remaining
            response.NumberOfCompletedSuboperations = counts.completed
            response.NumberOfFailedSuboperations = counts.failed
            response.NumberOfWarningSuboperations = counts.warning
        self.dimse.send_msg(response, self.context.context_id)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return str(value)
    return "\\".join(map(str, value)) if not hasattr(value, "original_string") else str(value)


def chosen(stage: Stage, otherwise: Callable[[str], Any]) -> Callable[[str], Any]:
    """In place of pynetdicom's look-up of service classes: ours for query and retrieve."""

    def choose(uid: str) -> Any:
        if uid in FIND or uid in MOVE:
            return lambda assoc: QueryRetrieve(assoc, stage)
        return otherwise(uid)

    return choose
