"""Search filters of CUBE's lists: what each parameter compares, and that an unknown one is ignored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from cube_contract.wire import RefusedError

CUBE_TIME = timezone(timedelta(hours=-5))
Record = dict[str, Any]
Test = Callable[[Any, Any], bool]

EXACT_BOTH = (
    "PatientID", "PatientSex", "PatientBirthDate", "StudyDate", "AccessionNumber", "StudyInstanceUID",
    "SeriesInstanceUID", "pacs_identifier",
)  # fmt: skip
CONTAINED = ("PatientName", "ProtocolName", "StudyDescription", "SeriesDescription")
NUMBERS = {"id", "PatientAge", "min_PatientAge", "max_PatientAge", "fname_nslashes", "pacs_id"}


def _equal(have: Any, want: Any) -> bool:
    return bool(have == want)


def _starts(have: Any, want: Any) -> bool:
    return str(have).startswith(want)


def _contains(have: Any, want: Any) -> bool:
    return str(want).lower() in str(have).lower()


def _at_least(have: Any, want: Any) -> bool:
    return have is not None and bool(have >= want)


def _at_most(have: Any, want: Any) -> bool:
    return have is not None and bool(have <= want)


def _slashes(have: Any, want: Any) -> bool:
    return bool(str(have).count("/") == want)


Filters = Mapping[str, tuple[str, Test]]

_TIMES: Filters = {"min_creation_date": ("created", _at_least), "max_creation_date": ("created", _at_most)}
_DICOM: Filters = {
    **{name: (name, _equal) for name in EXACT_BOTH},
    **{name: (name, _contains) for name in CONTAINED},
    "PatientAge": ("PatientAge", _equal),
    "min_PatientAge": ("PatientAge", _at_least),
    "max_PatientAge": ("PatientAge", _at_most),
}
_FNAME: Filters = {
    "fname": ("fname", _starts),
    "fname_exact": ("fname", _equal),
    "fname_icontains": ("fname", _contains),
    "fname_nslashes": ("fname", _slashes),
}
OLD_FILES: Filters = {"id": ("id", _equal), **_FNAME, **_DICOM, **_TIMES}
NEW_FILES: Filters = {"id": ("id", _equal), **_FNAME, **_TIMES}
SERIES: Filters = {
    "id": ("id", _equal),
    **_DICOM,
    **_TIMES,
    "pacs_id": ("pacs_id", _equal),
    "deletion_status": ("deletion_status", _equal),
}
PACS: Filters = {"id": ("id", _equal), "identifier": ("identifier", _equal)}
NOT_EMULATED = {"fname_icontains_topdir_unique", "active"}
"""Filters of CUBE that mean something, but not here: using one is recorded as a violation."""


def search(records: Iterable[Record], filters: Filters, params: Mapping[str, str]) -> list[Record]:
    """Records that fit all known parameters; unknown and empty ones are ignored.  RefusedError for what is no number."""
    found = list(records)
    for name, text in params.items():
        if name in filters and text:
            key, test = filters[name]
            want = _value(name, text)
            found = [record for record in found if test(record[key], want)]
    return found


def _value(name: str, text: str) -> Any:
    try:
        if name in NUMBERS:
            return int(text)
        if name.endswith("_creation_date"):
            when = datetime.fromisoformat(text.replace("Z", "+00:00"))
            return when if when.tzinfo else when.replace(tzinfo=CUBE_TIME)
    except ValueError as error:
        sentence = "Enter a number." if name in NUMBERS else "Enter a valid date/time."
        raise RefusedError(400, {name: [sentence]}) from error
    return text
