"""Answers that a PACS may have cut short: asked for again in parts, until each part is below the limit.

Some PACS stop at 100, 200 or 500 answers, with status A700 or in silence.  A query that ends at such a number, or with
such a status, is repeated for two parts of its range of dates, these for theirs, down to a day, and a day by modality.

Where only the number is suspicious, which is mostly chance, the first parts are asked for nothing but UIDs: what a PACS
takes its time for is counting what belongs to a study.  If the UIDs are those that are known, all is well; if not, or
if the PACS fails, the same parts are asked for with all attributes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import date, timedelta

from pypx.model.dataclass import dataclass
from pypx.model.found import Completeness
from pypx.model.identifiers import is_uid
from pypx.workflows.answers import Answer, value_of
from pypx.workflows.querying import Reply

RESOURCES = frozenset({0x0213, 0xA700, 0xA701})
"""Final statuses by which a PACS says that there is more than it answers."""

MODALITIES = (
    "CR", "CT", "DX", "ES", "IO", "KO", "MG", "MR", "NM", "OT", "PR", "PT", "PX", "RF", "RTDOSE", "RTPLAN", "RTSTRUCT",
    "SC", "SEG", "SR", "US", "XA", "XC",
)  # fmt: skip
"""What to part a day by, besides the modalities that were answered."""

_MOST_PARTS = 4000
_MOST_BARREN = 6
_EPOCH = date(1900, 1, 1)


def may_be_capped(answers: int) -> bool:
    """Whether a PACS that limits its answers may have stopped there: 10, 20 … 100, 500, 512, 1024, and so on."""
    return answers >= 10 and (answers % 10 == 0 or (answers >= 64 and answers & (answers - 1) == 0))


@dataclass(slots=True)
class _Part:
    """A part of a query: its keys, and what came back; `parent` is the part it is a part of."""

    keys: Mapping[str, str]
    parent: _Part | None = None
    found: dict[str, Answer] = field(default_factory=dict)
    failed: bool = False
    parts: list[_Part] = field(default_factory=list)
    by_modality: bool = False


class StudyParts:
    """One study query and its parts: hands out what is to be asked, takes the replies, and says what it makes of them.

    Parameters
    ----------
    keys : of the query
    reply : what came back for it
    split : whether to ask in parts; if not, a suspicion is only stated
    """

    def __init__(self, keys: Mapping[str, str], reply: Reply, *, split: bool = True) -> None:
        self._root = _Part(keys)
        self._split = split
        self._cap: int | None = None
        self._most = 0
        self._asked = 0
        self._barren = 0
        self._unsure = False
        self._problem: str | None = None
        self._error = reply.error
        self._strange: list[Answer] = []
        self._found: dict[str, Answer] = {}
        self._pending: list[_Part] = []
        self._take(self._root, reply)
        self._judge([self._root])
        self._probing = not self._root.failed

    @property
    def pending(self) -> list[Mapping[str, str]]:
        """The keys of the parts to be asked for next."""
        return [_for_uids(part.keys) if self._probing else part.keys for part in self._pending]

    @property
    def answers(self) -> list[Answer]:
        """Every study once, in the order in which they came; those without a usable UID last."""
        return [*{**self._root.found, **self._found}.values(), *self._strange]

    @property
    def complete(self) -> Completeness:
        """Whether these are all."""
        if self._problem is not None:
            return Completeness.NO
        return Completeness.UNKNOWN if self._unsure else Completeness.YES

    @property
    def problem(self) -> str | None:
        """Why some are missing, in one line."""
        return self._problem

    def take(self, replies: Sequence[Reply]) -> None:
        """Take the replies to `pending`, in its order."""
        if self._probing:
            self._probing = False
            if not self._known(replies):
                return  # what is pending stays so, with all attributes
        asked, self._pending = self._pending, []
        for part, reply in zip(asked, replies, strict=True):
            self._take(part, reply)
        parents = list({id(part.parent): part.parent for part in asked if part.parent is not None}.values())
        barren = all(part.failed and not part.found for part in asked)
        self._barren = self._barren + 1 if barren else 0
        self._judge([part for parent in parents for part in self._suspects(parent)])

    def _known(self, replies: Sequence[Reply]) -> bool:
        """Whether replies hold UIDs of known studies only; if so, their answers become the whole ones."""
        for reply in replies:
            uids = [value_of(answer, "StudyInstanceUID").strip() for answer in reply.answers]
            if reply.error is not None or not self._root.found.keys() >= set(uids):
                return False
            reply.answers = [self._root.found[uid] for uid in uids]
        return True

    def _take(self, part: _Part, reply: Reply) -> None:
        for answer in reply.answers:
            uid = value_of(answer, "StudyInstanceUID").strip()
            if is_uid(uid):
                part.found.setdefault(uid, answer)
            elif part is self._root:
                self._strange.append(answer)
        self._most = max(self._most, len(part.found))
        part.failed = reply.status in RESOURCES
        if reply.error is not None and not part.failed:
            self._problem = self._problem or str(reply.error)

    def _suspects(self, parent: _Part) -> list[_Part]:
        """Merge the answers of the parts of `parent`; those of the parts that may be short themselves."""
        merged = {uid: answer for part in parent.parts for uid, answer in part.found.items()}
        more = merged.keys() - parent.found.keys()
        self._found = {**merged, **self._found}
        if more and parent.found:
            self._cap = min(self._cap or len(parent.found), len(parent.found))
        if parent.found and all(part.found.keys() == parent.found.keys() for part in parent.parts):
            self._give_up(parent)  # the PACS does not heed what the parts differ in
            return []
        if (more or parent.failed) and (parent.by_modality or self._undated(parent)):
            self._unsure = True  # of other modalities, or without a date, there may be others
        return parent.parts

    def _judge(self, parts: Sequence[_Part]) -> None:
        """Split what may be short."""
        for part in parts:
            if not self._may_be_short(part):
                continue
            hopeless = not self._split or self._asked >= _MOST_PARTS or self._barren >= _MOST_BARREN
            part.parts = [] if hopeless else self._parts_of(part)
            self._asked += len(part.parts)
            self._pending += part.parts
            if not part.parts:
                self._give_up(part)

    def _give_up(self, part: _Part) -> None:
        """Leave a part as it is: known to be short if the PACS said so."""
        self._unsure = True
        if part.failed:
            why = (
                str(self._error) if self._error else "the PACS has more answers than it gives to any part of the query"
            )
            self._problem = self._problem or why

    def _may_be_short(self, part: _Part) -> bool:
        if part.failed:
            return True
        if self._cap is not None:
            return len(part.found) >= self._cap
        return may_be_capped(len(part.found)) and len(part.found) >= self._most

    @staticmethod
    def _undated(part: _Part) -> bool:
        return any(_date(value_of(answer, "StudyDate")) is None for answer in part.found.values())

    def _parts_of(self, part: _Part) -> list[_Part]:
        low, high = _range(part.keys.get("StudyDate", ""))
        if low is not None and low == high:
            return self._by_modality(part)
        middle = _middle(low, high, [_date(value_of(answer, "StudyDate")) for answer in part.found.values()])
        if middle is None:
            return []
        ranges = (_text(low, middle), _text(middle + timedelta(days=1), high))
        return [_Part({**part.keys, "StudyDate": text}, part) for text in ranges]

    def _by_modality(self, part: _Part) -> list[_Part]:
        if part.keys.get("ModalitiesInStudy"):
            return []
        part.by_modality = True
        seen = [one for answer in part.found.values() for one in modalities_of(value_of(answer, "ModalitiesInStudy"))]
        return [_Part({**part.keys, "ModalitiesInStudy": one}, part) for one in dict.fromkeys([*seen, *MODALITIES])]


def modalities_of(value: str) -> list[str]:
    """The modalities of a value of several."""
    return [text.strip() for text in value.split("\\") if re.fullmatch(r"[A-Z0-9 _]{1,16}", text.strip())]


def _for_uids(keys: Mapping[str, str]) -> dict[str, str]:
    """The keys of a study query without the attributes that are not matched on, but for the UID."""
    return {keyword: value for keyword, value in keys.items() if value} | {"StudyInstanceUID": keys["StudyInstanceUID"]}


def _middle(low: date | None, high: date | None, found: Sequence[date | None]) -> date | None:
    """The last day of the first part: half of what was found lies up to it; ``None`` if there are no two parts."""
    dates = sorted(day for day in found if day is not None)
    first = low or _EPOCH
    last = high or max([date.today() + timedelta(days=1), *dates[-1:]])  # noqa: DTZ011 - dates of studies are local
    if first >= last:
        return None
    middle = dates[(len(dates) - 1) // 2] if dates else first + (last - first) // 2
    return min(max(middle, first), last - timedelta(days=1))


def _range(value: str) -> tuple[date | None, date | None]:
    first, dash, last = value.partition("-")
    return (_date(first), _date(last)) if dash else (_date(first), _date(first))


def _text(low: date | None, high: date | None) -> str:
    if low is not None and low == high:
        return f"{low:%Y%m%d}"
    return f"{low:%Y%m%d}-{high:%Y%m%d}" if low and high else f"{low:%Y%m%d}-" if low else f"-{high:%Y%m%d}"


def _date(text: str) -> date | None:
    found = re.fullmatch(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})", text.strip(), re.ASCII)
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


@dataclass(slots=True)
class SeriesParts:
    """One series query, and the parts of it by modality where its answer may be short.

    `number` is how many series the study has by its PACS (``None``: it did not say, or only some were asked for).
    """

    keys: Mapping[str, str]
    reply: Reply
    number: int | None
    modalities: Sequence[str]
    pending: list[Mapping[str, str]] = field(default_factory=list)
    complete: Completeness = Completeness.YES
    problem: str | None = None
    _short: bool = False

    def suspect(self, most: int, *, split: bool) -> None:
        """Look at the reply; `most` is the length of the longest one that the PACS gave."""
        count, reply = len(self.reply.answers), self.reply
        capped = reply.error is None and may_be_capped(count) and count >= most
        self._short = reply.status in RESOURCES or (capped and self.number != count)
        if not self._short:
            return
        if split and not self.keys.get("Modality"):
            seen = [value_of(answer, "Modality").strip() for answer in reply.answers]
            wanted = dict.fromkeys([*self.modalities, *(one for one in seen if one)]) or dict.fromkeys(MODALITIES)
            self.pending = [{**self.keys, "Modality": one} for one in wanted]
        elif reply.error is None:
            self.complete = Completeness.UNKNOWN

    def take(self, replies: Sequence[Reply]) -> None:
        """Add what the parts brought to the reply, and judge anew."""
        before = {value_of(answer, "SeriesInstanceUID").strip() for answer in self.reply.answers}
        merged = dict.fromkeys(before)
        for answer in (answer for reply in replies for answer in reply.answers):
            uid = value_of(answer, "SeriesInstanceUID").strip()
            if uid not in merged:
                merged[uid] = None
                self.reply.answers.append(answer)
        failed = next((reply.error for reply in replies if reply.error is not None), None)
        if self.number is not None and len(merged) >= self.number and failed is None:
            self.reply.error = None
        elif self.number is not None and failed is None:
            self.problem = f"{len(merged)} of {self.number} series were answered"
        elif failed is not None:
            self.reply.error = failed
        else:
            whole = self.reply.error is None and len(merged) == len(before)
            self.reply.error = None
            self.complete = Completeness.YES if whole else Completeness.UNKNOWN
