"""Search the smdb by any recorded tag."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from pypx.db.smdb import Database
from pypx.errors import InputError
from pypx.model.identifiers import UID
from pypx.model.keywords import RECORDED_KEYS, UNIQUE_KEY, Level
from pypx.model.query import MatchingKey
from pypx.workflows.status import text_of

SHOWN: Mapping[Level, tuple[str, ...]] = {
    Level.PATIENT: ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    Level.STUDY: (
        "PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "StudyDescription", "AccessionNumber",
    ),
    Level.SERIES: (
        "PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "StudyDescription", "SeriesInstanceUID",
        "SeriesNumber", "SeriesDescription", "Modality",
    ),
}  # fmt: skip
"""The keywords of a search record per level; those searched for are added."""

Match = Callable[[str], bool]


def parse_matches(pairs: Iterable[str]) -> dict[str, str]:
    """Search terms as written, ``Keyword=value``.

    Raises
    ------
    InputError : not of that form, an unknown keyword (the nearest right one is named), or one given twice
    """
    matches: dict[str, str] = {}
    for pair in pairs:
        keyword, equals, value = pair.partition("=")
        keyword = keyword.strip()
        if not equals or not keyword:
            raise InputError(f"search: {pair[:80]!r} is not of the form Keyword=value")
        if keyword not in RECORDED_KEYS:
            from pypx.services.dicomfile import keyword_info  # noqa: PLC0415 - the dictionary takes 0.2 s to load

            keyword_info(keyword)
        if keyword in matches:
            raise InputError(f"search: {keyword} is given twice")
        matches[keyword] = value
    return matches


def search(
    database: Database, matches: Mapping[str, str], level: Level = Level.SERIES
) -> Iterator[dict[str, str | int]]:
    r"""The patients, studies or series on record that match.

    Parameters
    ----------
    database : only read
    matches : keyword to value; ``*`` and ``?`` are wildcards, upper and lower case are alike, several UIDs are
        separated by ``\``, dates may be a range (``a-b``, ``a-``, ``-b``); an empty value matches everything
    level : what to list; a patient or study matches if one of its series does

    Yields
    ------
    Flat records: the keywords of `SHOWN`, those searched for, and for series the number of ``instances`` on record

    Raises
    ------
    InputError : `level` is IMAGE, a date is no date and no range, or no series on record has such a tag
    """
    if level not in SHOWN:
        raise InputError(f"search: the level {level.value} cannot be listed; PATIENT, STUDY or SERIES can")
    _check_recorded(database, matches)
    tests = {keyword: _match(keyword, value) for keyword, value in matches.items() if value}
    shown = dict.fromkeys((*SHOWN[level], *matches))
    seen: set[str] = set()
    for tags in _all_series(database):
        unique = tags.get(UNIQUE_KEY[level], "")
        if unique in seen or not all(test(tags.get(keyword, "")) for keyword, test in tests.items()):
            continue
        seen.add(unique)
        record: dict[str, str | int] = {keyword: tags.get(keyword, "") for keyword in shown}
        if level is Level.SERIES:
            record["instances"] = len(database.images(UID(unique)))
        yield record


def _check_recorded(database: Database, keywords: Iterable[str]) -> None:
    """Refuse tags that are not recorded; tables of pypx 3 may have any, so they are looked for there."""
    missing = {keyword for keyword in keywords if keyword not in RECORDED_KEYS}
    for tags in _all_series(database) if missing else ():
        missing -= tags.keys()
        if not missing:
            return
    if missing:
        raise InputError(f"search: {min(missing)} is not recorded; recorded are {', '.join(RECORDED_KEYS)}")


def _all_series(database: Database) -> Iterator[dict[str, str]]:
    """Each series on record with all that its tables say of it, the tables of the series last."""
    patients: dict[str, dict[str, str]] = {}
    studies: dict[str, dict[str, str]] = {}
    for uid in database.series_uids():
        series = _texts(database.series(uid))
        study = UID(series.get("StudyInstanceUID", ""))
        patient = series.get("PatientID", "")
        if patient not in patients:
            patients[patient] = _texts(database.patient(patient)) if patient else {}
        if study not in studies:
            studies[study] = _texts(database.study(study)) if study else {}
        header = _header(database.study_series(study, uid)) if study else {}
        yield patients[patient] | studies[study] | header | series | {"SeriesInstanceUID": uid}


def _texts(fields: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: text_of(value) for name, value in (fields or {}).items() if not isinstance(value, list | dict)}


def _header(fields: Mapping[str, Any] | None) -> dict[str, str]:
    block = (fields or {}).get("DICOM")
    if not isinstance(block, dict):
        return {}
    return {name: text_of(item.get("value") if isinstance(item, dict) else item) for name, item in block.items()}


def _match(keyword: str, value: str) -> Match:
    if keyword.endswith("UID"):
        patterns = [_pattern(part.strip()) for part in re.split(r"[\\,]", value)]
        return lambda text: any(pattern.fullmatch(text) for pattern in patterns)
    if keyword.endswith("Date") and not set(value) & {"*", "?"}:
        first, dash, last = MatchingKey(keyword, "DA", value).value.partition("-")
        return partial(_within, first, last if dash else first)
    pattern = _pattern(value)
    return lambda text: pattern.fullmatch(text) is not None


def _within(first: str, last: str, text: str) -> bool:
    day = re.sub(r"[-/.]", "", text)[:8]
    return len(day) == 8 and first <= day and (not last or day <= last)


def _pattern(value: str) -> re.Pattern[str]:
    parts = ({"*": ".*", "?": "."}.get(character) or re.escape(character) for character in value)
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)
