"""The fields of a registration in CUBE: cut and formatted to what CUBE takes; pure functions.

Limits are those of CUBE 2.7.0 to v7; releases before are wider where they differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

from pypx.errors import CubeError, InputError

MAX_PACS_NAME = 20
"""Longest ``pacs_name`` of a registration, characters; in all releases."""

MAX_FILE_PATH = 512
"""Longest name of an object that the per-file API can keep, characters: the key of its table of files."""

MAX_FOLDER_PATH = 1024
"""Longest ``path`` that the per-series API takes, characters."""

SPACE = "SERVICES/PACS"
"""What every registered name begins with."""

DESCRIPTOR_KEYS = frozenset({
    "PatientID", "PatientName", "PatientBirthDate", "PatientAge", "PatientSex", "StudyDate", "AccessionNumber",
    "Modality", "ProtocolName", "StudyInstanceUID", "StudyDescription", "SeriesInstanceUID", "SeriesDescription",
})  # fmt: skip
"""The DICOM attributes that describe a series in CUBE."""

Fields = dict[str, str | int]

_TEXTS = {
    "PatientID": 100, "PatientName": 150, "AccessionNumber": 100, "Modality": 15, "ProtocolName": 64,
    "StudyInstanceUID": 100, "StudyDescription": 400, "SeriesInstanceUID": 100, "SeriesDescription": 400,
}  # fmt: skip
"""Text fields and their longest value, characters."""

_DATE = re.compile(r"(\d{4})([-.]?)(\d{2})\2(\d{2})", re.ASCII)
_AGE = re.compile(r"(\d{1,3})([YMWD]?)", re.ASCII | re.IGNORECASE)
_DAYS = {"Y": 365, "M": 30, "W": 7, "D": 1, "": 365}
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def checked_pacs_name(name: str) -> str:
    """The name of the PACS, without blanks around it.

    Raises
    ------
    InputError : CUBE would refuse it: empty, too long, with a comma, a slash or a control character; or ``.``, ``..``
    """
    cleaned = name.strip()
    if not cleaned:
        raise InputError("the name of the PACS in CUBE is empty; give it by --swiftServicesPACS")
    if len(cleaned) > MAX_PACS_NAME:
        raise InputError(
            f"PACS name {cleaned[:60]!r} has {len(cleaned)} characters, CUBE takes at most {MAX_PACS_NAME};"
            " push and register under a shorter one"
        )
    if cleaned in {".", ".."} or not cleaned.isprintable() or set(cleaned) & set(",/"):
        raise InputError(
            f"PACS name {cleaned!r} is no folder name that CUBE takes: no comma, no slash, not '.' or '..'"
        )
    return cleaned


def check_path(path: str, pacs_name: str, *, per_series: bool) -> None:
    """Refuse the path of an object, or with `per_series` of a series folder, that CUBE would refuse or take otherwise.

    Raises
    ------
    CubeError : outside the folder of the PACS, too long, not in its plain form; per series also with a comma
    """
    shown = repr(path.rpartition("/")[2][:120])
    limit = MAX_FOLDER_PATH if per_series else MAX_FILE_PATH
    if not path.startswith(f"{SPACE}/{pacs_name}/"):
        raise CubeError(f"{shown} does not lie in {SPACE}/{pacs_name}/ and CUBE takes no other place; push it there")
    if len(path) > limit:
        raise CubeError(
            f"{shown}: its path has {len(path)} characters, CUBE takes {limit}; push with shorter templates"
        )
    if per_series and "," in path:
        raise CubeError(f"{shown}: CUBE takes no comma in a path; push with templates that make none")
    if any(part.strip() in {"", ".", ".."} for part in path.split("/")) or _CONTROL.search(path):
        raise CubeError(f"{shown}: its path has an empty part, '.', '..' or control characters")


def descriptors(tags: Mapping[str, str]) -> Fields:
    """What CUBE is told of a series or file; a field without a value is left out.

    Parameters
    ----------
    tags : keyword to text as in the file; :data:`DESCRIPTOR_KEYS` are looked at

    Returns
    -------
    Texts without NUL and outer blanks, cut to CUBE's limits; dates as ``YYYY-MM-DD``; ``PatientAge`` in days;
    ``PatientSex`` only if it is ``M``, ``F`` or ``O``

    Raises
    ------
    CubeError : PatientID, StudyDate or a UID, which CUBE requires, has no usable value; names the field
    """
    fields: Fields = {}
    for keyword, limit in _TEXTS.items():
        text = _text(tags.get(keyword, ""))[:limit].strip()
        if text:
            fields[keyword] = text
    study, birth = iso_date(tags.get("StudyDate", "")), iso_date(tags.get("PatientBirthDate", ""))
    days = age_days(tags.get("PatientAge", ""), study, birth)
    sex = _text(tags.get("PatientSex", "")).upper()
    optional: dict[str, str | int | None] = {
        "PatientBirthDate": birth,
        "PatientAge": days,
        "PatientSex": sex if sex in {"M", "F", "O"} else None,
        "StudyDate": study,
    }
    fields.update({keyword: value for keyword, value in optional.items() if value is not None})
    for keyword in ("PatientID", "StudyDate", "StudyInstanceUID", "SeriesInstanceUID"):
        if keyword not in fields:
            state = "has no usable value" if _text(tags.get(keyword, "")) else "is absent or empty"
            raise CubeError(f"{keyword} {state} in the DICOM header, and CUBE requires it; nothing was registered")
    return fields


def iso_date(text: str) -> str | None:
    """A DICOM date (PS3.5 6.2, VR DA; also ``YYYY.MM.DD``) as ``YYYY-MM-DD``; ``None``: it is none."""
    found = _DATE.fullmatch(_text(text))
    if found is None:
        return None
    try:
        return date(int(found[1]), int(found[3]), int(found[4])).isoformat()
    except ValueError:
        return None


def age_days(text: str, study: str | None, birth: str | None) -> int | None:
    """An age in days, as the senders of ChRIS count: a year is 365 days, a month 30.

    Parameters
    ----------
    text : PatientAge (PS3.5 6.2, VR AS); a plain number is years, what is no age counts as unknown
    study, birth : dates as ``YYYY-MM-DD``, from which an empty age is computed

    Returns
    -------
    >= 0, or ``None`` if the age is unknown
    """
    cleaned = _text(text)
    if cleaned:
        found = _AGE.fullmatch(cleaned)
        return int(found[1]) * _DAYS[found[2].upper()] if found else None
    if study is None or birth is None:
        return None
    days = (date.fromisoformat(study) - date.fromisoformat(birth)).days
    return days if days >= 0 else None


def _text(value: str) -> str:
    """Text that a database can keep: no NUL, no half of a surrogate pair, no blanks around it."""
    return _SURROGATE.sub("\ufffd", value.replace("\0", "")).strip()
