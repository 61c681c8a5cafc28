"""What px find cannot match on, said before a PACS is asked: most would pass over it and answer with everything."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pypx.errors import InputError
from pypx.model.keywords import Level, level_of

_CONTROL = {
    "QueryRetrieveLevel": "px asks for studies and then for their series; --StudyOnly leaves the series out",
    "SpecificCharacterSet": "the character set of the query is --query-charset",
}
_COUNT = re.compile("NumberOf(Patient|Study|Series)Related(Studies|Series|Instances)")


def check_match(match: Mapping[str, str]) -> None:
    """Refuse matching keys that no study or series query can answer.

    An empty value, which asks for the attribute to be shown, is refused of the keys only that px sets itself.

    Raises
    ------
    InputError : a key that px sets itself, a count with a value (PS3.4 C.3.4), or an attribute of images with a value
    """
    for keyword, value in match.items():
        if keyword in _CONTROL:
            raise InputError(f"{keyword}: cannot be given; {_CONTROL[keyword]}")
        if not value:
            continue
        if _COUNT.fullmatch(keyword):
            raise InputError(f"{keyword}: cannot be matched, a PACS only counts it; --key {keyword}= shows it")
        if level_of(keyword) is Level.IMAGE:
            raise InputError(f"{keyword}: cannot be matched, it belongs to images; px find asks for studies and series")
