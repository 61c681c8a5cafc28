"""The lines of ``--withFeedBack``: what a chain does, for people who watch."""

from __future__ import annotations

from pypx.compat.report_text import RESET, pad, raw_rows
from pypx.compat.status_json import status_document, status_line
from pypx.db.smdb import Database
from pypx.model.outcomes import FindResult, MoveOutcome, PushOutcome, RegisterOutcome, SeriesStatus
from pypx.model.plain import plain
from pypx.model.records import SeriesRef
from pypx.workflows.chain import Event, SeriesDone, SeriesStarted, StudyStarted
from pypx.workflows.report import report

_WHITE = "\x1b[1;37m"
_HEADING = "\x1b[44m\x1b[1;37m"
_RED = "\x1b[0;31m"
_HANDING_ON = {"push": "Pushing", "register": "Registering"}


class Feedback:
    """Turns the events of a chain into text.

    Parameters
    ----------
    result : what the chain works on
    database : where its states are read
    colour : ANSI colours as pypx wrote them always; off unless told, since they spoil files and pipes
    """

    def __init__(self, result: FindResult, database: Database, *, colour: bool = False) -> None:
        self._database = database
        self._colour = colour
        self._texts = {series.ref: series.value("SeriesNumber") for series in result.series}
        self._peer, self._query = result.peer, result.query

    def text(self, event: Event) -> str:
        """The text of an event, line ends included; ``""`` for one that pypx did not show."""
        if isinstance(event, StudyStarted):
            return self._study(event)
        if isinstance(event, SeriesStarted):
            return self._started(event)
        return self._done(event)

    def _started(self, event: SeriesStarted) -> str:
        if event.verb == "retrieve":
            return self._line(self._requesting(event.series))
        word = _HANDING_ON.get(event.verb)
        if word is None:
            return ""
        count = len(self._database.images(event.series.SeriesInstanceUID))
        description = pad(plain(event.series.SeriesDescription), 50)
        return self._line(f"{word} [ {count:03d} ]: {description}{event.series.SeriesInstanceUID}")

    def _study(self, event: StudyStarted) -> str:
        single = FindResult(self._peer, self._query, (event.study,))
        header = "".join(raw_rows(block.header, "dark" if self._colour else "") for block in report(single))
        return f"\n{self._heading('STUDY', event.verb)}{self._line(header)}{self._heading('SERIES', event.verb)}"

    def _done(self, event: SeriesDone) -> str:
        outcome = event.outcome
        if isinstance(outcome, MoveOutcome):
            return "" if outcome.ok else self._line(f"     {outcome.error or outcome.state.value}", _RED)
        if isinstance(outcome, PushOutcome | RegisterOutcome):
            return self._line(f"    {outcome.error}", _RED) if outcome.error else ""
        description = plain(event.series.SeriesDescription)
        if isinstance(outcome, SeriesStatus):
            line = status_line(status_document(outcome, self._database, verify=True), description)
            return self._line(f"{line} │ {event.series.SeriesInstanceUID}")
        return self._line(f"{pad(description, 55)} │ {event.series.SeriesInstanceUID}")

    def _requesting(self, series: SeriesRef) -> str:
        count = series.NumberOfSeriesRelatedInstances
        images = "---" if count is None else f"{count:03d}"
        number = self._texts.get(series, "")
        shown = f" [ {number:0>4} ] " if number else ""
        return f"{f'Requesting {images} images for ':>31}{shown}{plain(series.SeriesDescription)}{' ' * 15}"

    def _heading(self, what: str, verb: str) -> str:
        text = f"[ {what} {verb} ]"
        return f"{_HEADING}{text}{RESET}\n" if self._colour else f"{text}\n"

    def _line(self, text: str, colour: str = _WHITE) -> str:
        return f"{colour}{text}\n{RESET}" if self._colour else f"{text}\n"
