r"""What to ask a PACS for: level, matching keys, return keys.

Values are checked here, once; the value representation of each keyword comes from the DICOM dictionary (PS3.6) by
way of the caller, so that this module needs no dictionary of its own.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

from pypx.errors import InputError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import is_uid
from pypx.model.keywords import (
    IMAGE_RETURN_KEYS,
    PATIENT_RETURN_KEYS,
    SERIES_RETURN_KEYS,
    STUDY_RETURN_KEYS,
    UNIQUE_KEY,
    Level,
    QueryModel,
    level_of,
)

_DATE = re.compile(r"(\d{4})([-/.]?)(\d{2})\2(\d{2})", re.ASCII)
_DATE_VALUE = re.compile(
    r"(?P<first>\d{4}([-/.]?)\d{2}\2\d{2})?(?P<dash>\s*-\s*)?(?P<last>\d{4}([-/.]?)\d{2}\5\d{2})?", re.ASCII
)
_TIME_VALUE = re.compile(r"(\d{2}){1,3}(\.\d{1,6})?", re.ASCII)
_MAX_VALUE = 16_384


@dataclass(frozen=True, slots=True)
class MatchingKey:
    r"""One attribute to match: keyword, value representation and value (PS3.4 C.2.2.2).

    `value` may hold wildcards (``*``, ``?``), a date range (``a-b``, ``a-``, ``-b``) or several UIDs separated by
    ``\``.
    """

    keyword: str
    VR: str
    value: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _checked_value(self.keyword, self.VR, self.value))

    @property
    def level(self) -> Level:
        """The level at which the model defines the keyword."""
        return level_of(self.keyword)


@dataclass(frozen=True, slots=True)
class Query:
    """A query over studies and their series.

    `match` are the matching keys; `return_keys` replaces the keys px asks for (``None``: px's own choice per level);
    `study_only` leaves the series out; `model` is study root unless a PACS wants patient root; `charset` is the
    SpecificCharacterSet in which values beyond ASCII are sent.
    """

    match: tuple[MatchingKey, ...] = ()
    return_keys: tuple[str, ...] | None = None
    study_only: bool = False
    model: QueryModel = QueryModel.STUDY_ROOT
    charset: str = "ISO_IR 192"

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for key in self.match:
            if key.keyword in seen:
                raise InputError(f"{key.keyword}: given twice in one query")
            seen.add(key.keyword)

    def value(self, keyword: str) -> str:
        """The matching value of `keyword`, empty if the query does not match on it."""
        return next((key.value for key in self.match if key.keyword == keyword), "")

    def keys_at(self, level: Level, fixed: dict[str, str] | None = None) -> dict[str, str]:
        """Keyword to value of one identifier at `level`; an empty value asks for the attribute (universal matching).

        Parameters
        ----------
        level : STUDY, SERIES, IMAGE or PATIENT
        fixed : values that this one request adds or overrides, such as the UID of the study whose series are asked for
        """
        upper = {Level.PATIENT, Level.STUDY} if level is Level.STUDY else {level}
        keys = dict.fromkeys(self.returned_at(level), "")
        keys.update({key.keyword: key.value for key in self.match if key.level in upper})
        keys.update(fixed or {})
        keys.setdefault(UNIQUE_KEY[level], "")
        return keys

    def returned_at(self, level: Level) -> tuple[str, ...]:
        """The keywords asked for at `level`."""
        if self.return_keys is None:
            return _DEFAULT_RETURN[level]
        upper = {Level.PATIENT, Level.STUDY} if level is Level.STUDY else {level}
        return tuple(keyword for keyword in self.return_keys if level_of(keyword) in upper)

    @property
    def image_keys(self) -> tuple[MatchingKey, ...]:
        """Matching keys that no study or series query can answer."""
        return tuple(key for key in self.match if key.level is Level.IMAGE)


_DEFAULT_RETURN: dict[Level, tuple[str, ...]] = {
    Level.PATIENT: PATIENT_RETURN_KEYS,
    Level.STUDY: STUDY_RETURN_KEYS,
    Level.SERIES: SERIES_RETURN_KEYS,
    Level.IMAGE: IMAGE_RETURN_KEYS,
}


def _checked_value(keyword: str, vr: str, value: str) -> str:
    if len(value) > _MAX_VALUE:
        raise InputError(f"{keyword}: the value has {len(value)} characters, more than {_MAX_VALUE}")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise InputError.of_value(keyword, value, "holds control characters")
    if not value:
        return value
    check = _CHECKS.get(vr)
    return check(keyword, value) if check else value


def _checked_date(keyword: str, value: str) -> str:
    found = _DATE_VALUE.fullmatch(value.strip())
    if found is None or not (found["first"] or found["last"]):
        raise InputError.of_value(
            keyword, value, "is no date (20240131) and no range (20240101-20240131, 20240101-, -20240131)"
        )
    first, last = _real_date(keyword, found["first"]), _real_date(keyword, found["last"])
    if not found["dash"]:
        if last:
            raise InputError.of_value(keyword, value, "is no date; a range is written with a dash: 20240101-20240131")
        return first
    if first and last and first > last:
        raise InputError.of_value(keyword, value, "is a range that ends before it begins")
    return f"{first}-{last}"


def _real_date(keyword: str, text: str | None) -> str:
    if not text:
        return ""
    found = _DATE.fullmatch(text)
    digits = "".join(found.group(1, 3, 4)) if found else text
    try:
        datetime.strptime(digits, "%Y%m%d").replace(tzinfo=timezone.utc)
    except ValueError:
        raise InputError.of_value(keyword, text, "is not a day of the calendar") from None
    return digits


def _checked_time(keyword: str, value: str) -> str:
    parts = value.strip().split("-")
    if len(parts) > 2 or not any(parts) or not all(_TIME_VALUE.fullmatch(part) for part in parts if part):
        raise InputError.of_value(keyword, value, "is no time (hhmmss) and no range (hhmmss-hhmmss)")
    return value.strip()


def _checked_uids(keyword: str, value: str) -> str:
    uids = [part.strip() for part in re.split(r"[\\,]", value)]
    for uid in uids:
        if uid != "*" and not is_uid(uid):
            raise InputError.of_value(keyword, uid, "is not a UID (digits and dots, at most 64 characters)")
    return "\\".join(uids)


_CHECKS = {"DA": _checked_date, "TM": _checked_time, "UI": _checked_uids}

EMPTY_QUERY = Query()

__all__ = ["EMPTY_QUERY", "Level", "MatchingKey", "Query", "QueryModel"]
