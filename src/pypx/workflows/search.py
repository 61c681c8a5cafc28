"""Search the smdb by any recorded tag."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from pypx.db.entries import text_of
from pypx.db.index import matching
from pypx.db.seriestags import SeriesTags, scan
from pypx.db.smdb import Database
from pypx.errors import InputError
from pypx.model.identifiers import UID, is_uid
from pypx.model.keywords import RECORDED_KEYS, UNIQUE_KEY, Level
from pypx.model.query import MatchingKey

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
            raise InputError.of_value("search", pair, "is not of the form Keyword=value")
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
    shown = list(dict.fromkeys((*SHOWN[level], *matches)))
    seen: set[str] = set()
    for tags in _found(database, matches, tests, shown):
        unique = tags.get(UNIQUE_KEY[level], "")
        if unique in seen:
            continue
        seen.add(unique)
        record: dict[str, str | int] = {keyword: tags.get(keyword, "") for keyword in shown}
        if level is Level.SERIES:
            record["instances"] = len(database.images(UID(unique)))
        yield record


def _found(
    database: Database, matches: Mapping[str, str], tests: Mapping[str, Match], shown: Sequence[str]
) -> Iterator[Mapping[str, str]]:
    """The series that match: found by its UID, by the index, or by reading all where pypx 3 recorded more than px."""
    series = matches.get("SeriesInstanceUID", "")
    if is_uid(series) and _is_listed(database, UID(series)):
        every: Iterator[Mapping[str, str]] = iter([SeriesTags(database).read(UID(series))])
    elif all(keyword in RECORDED_KEYS for keyword in matches):
        yield from matching(database, tests, shown)
        return
    else:
        every = scan(database)
    yield from (tags for tags in every if all(test(tags.get(keyword, "")) for keyword, test in tests.items()))


def _is_listed(database: Database, series: UID) -> bool:
    """Whether the study that a series names lists it; if not, another one may."""
    study = UID(text_of((database.series(series) or {}).get("StudyInstanceUID")))
    return bool(study) and series in database.series_of_study(study)


def _check_recorded(database: Database, keywords: Iterable[str]) -> None:
    """Refuse tags that are not recorded; tables of pypx 3 may have any, so they are looked for there."""
    missing = {keyword for keyword in keywords if keyword not in RECORDED_KEYS}
    for tags in scan(database) if missing else ():
        missing -= tags.keys()
        if not missing:
            return
    if missing:
        raise InputError(f"search: {min(missing)} is not recorded; recorded are {', '.join(RECORDED_KEYS)}")


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
