"""The path-template language: text with ``%Keyword``, ``%_function_Keyword`` and ``%_function|arguments_Keyword``.

The grammar, in full::

    template  = 1*( literal / tag )
    literal   = 1*( any character but "%" )
    tag       = "%" [ "_" function [ "|" arguments ] "_" ] keyword
    function  = 1*( "a".."z" / "0".."9" )
    arguments = *( any character but "%" and "_" )
    keyword   = letter *( letter / digit )                       (ASCII)

A keyword is the longest run of letters and digits, so ``%PatientIDx`` is the keyword ``PatientIDx``: whether DICOM has
such a keyword is for the caller to check.  ``-``, ``.``, ``_`` and whatever is neither letter nor digit end it.  An
underscore ends the arguments, so they cannot hold one.  A ``%`` that begins no tag is an error.  Nothing in a value is
ever read as template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache

from pypx.errors import InputError
from pypx.model.dataclass import dataclass
from pypx.model.templatefunc import BadArgumentsError, Function, make_function

AGE_KEYWORDS = frozenset({"PatientAge", "AgeInDays"})
"""Tags that are computed from StudyDate and PatientBirthDate; the second is none of DICOM's."""

_TAG = re.compile(r"%(?:_(?P<function>[a-z0-9]+)(?:\|(?P<arguments>[^%_]*))?_)?(?P<keyword>[A-Za-z][A-Za-z0-9]*)")
_BROKEN = (
    (re.compile(r"%_[a-z0-9]+(?:\|[^%_]*)?_"), "no DICOM keyword follows the function"),
    (re.compile(r"%_[a-z0-9]+(?:\|[^%_]*)?"), "a function ends with '_' before the keyword: %_md5|7_PatientID"),
    (re.compile(r"%_"), "no function name follows '%_': %_md5|7_PatientID"),
    (re.compile(r"%"), "no DICOM keyword follows '%'"),
)
_DATE = re.compile(r"(\d{4})([-.]?)(\d{2})\2(\d{2})", re.ASCII)
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")


@dataclass(frozen=True, slots=True)
class Tag:
    """One ``%…Keyword`` of a template; `function` is ``None`` for a plain one, `seed` a further keyword it needs."""

    keyword: str
    function: Function | None = None
    seed: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template.

    `tokens` are literal texts and tags in order.  `extension` is the file name extension the template itself ends
    with (``".dcm"``), or ``""``.
    """

    text: str
    tokens: tuple[str | Tag, ...]
    extension: str = ""

    def keywords(self) -> frozenset[str]:
        """The DICOM keywords whose values the template needs, those an age is computed from included."""
        used = {name for token in self.tokens if isinstance(token, Tag) for name in (token.keyword, token.seed) if name}
        if used & AGE_KEYWORDS:
            used |= {"StudyDate", "PatientBirthDate"}
        return frozenset(used - {"AgeInDays"})

    def render(self, tags: Mapping[str, str]) -> str:
        r"""Put the values in; the result is raw text, not yet fit for a path.

        A function acts on the value of its own keyword only.  A tag that `tags` lacks becomes ``_Keyword``, with or
        without a function.  Several values (``a\b``) read ``[a\b]``, which is sanitised as the list that pypx printed.
        """
        parts: list[str] = []
        for token in self.tokens:
            if isinstance(token, str):
                parts.append(token)
                continue
            value = value_of(token.keyword, tags)
            if value is None:
                parts.append("_" + token.keyword)
            elif token.function is not None:
                parts.append(token.function(value, (value_of(token.seed, tags) or "") if token.seed else ""))
            else:
                parts.append(f"[{value}]" if "\\" in value else value)
        return "".join(parts)


@lru_cache(maxsize=256)
def parse_template(text: str) -> Template:
    """Compile a template; the same text is compiled once per process.

    Raises
    ------
    InputError : empty, a ``%`` that begins no tag, an unknown function, unfit arguments; names position and reason
    """
    if not text:
        raise InputError("path template: it is empty; give at least one literal or %Keyword")
    tokens: list[str | Tag] = []
    position = 0
    while position < len(text):
        end = text.find("%", position)
        if end != position:
            end = len(text) if end < 0 else end
            tokens.append(text[position:end])
            position = end
            continue
        found = _TAG.match(text, position)
        if found is None:
            reason = next(reason for pattern, reason in _BROKEN if pattern.match(text, position))
            raise _error(text, position, reason)
        tokens.append(_tag(text, found))
        position = found.end()
    ending = _EXTENSION.search(tokens[-1]) if isinstance(tokens[-1], str) else None
    return Template(text, tuple(tokens), ending.group() if ending else "")


def _tag(text: str, found: re.Match[str]) -> Tag:
    if found["function"] is None:
        return Tag(found["keyword"])
    try:
        function, seed = make_function(found["function"], found["arguments"])
    except BadArgumentsError as error:
        raise _error(text, found.start(), str(error)) from None
    return Tag(found["keyword"], function, seed)


def _error(text: str, position: int, reason: str) -> InputError:
    shown = text if len(text) <= 120 else text[:117] + "..."
    return InputError(f"path template {shown!r}, position {position + 1}: {reason}")


def value_of(keyword: str, tags: Mapping[str, str]) -> str | None:
    """The value a template sees under `keyword`; ``None`` if there is none.

    ``PatientAge`` is the file's own where it has the tag (an empty one stays empty), else computed: days below 7
    (``003D``), weeks below 30 days, months of 30 days below 365, else years of 365, rounded half to even.
    ``AgeInDays`` is always computed (``002224d``).  If either date is empty both are zero, ``000D`` and ``000000d``:
    that is how packed trees of patients without a birth date have always read.  If a date is absent, is no date, or
    the study is earlier than the birth, there is no age: the tag counts as absent, and ``_PatientAge`` or
    ``_AgeInDays`` says so in the path.
    """
    if keyword not in AGE_KEYWORDS:
        return tags.get(keyword)
    if keyword == "PatientAge" and "PatientAge" in tags:
        return tags["PatientAge"]
    days = age_days(tags)
    if days is None:
        return None
    return _age_text(days) if keyword == "PatientAge" else f"{days:06d}d"


def age_days(tags: Mapping[str, str]) -> int | None:
    """Days from PatientBirthDate to StudyDate; 0 if either is empty, ``None`` if there is no age (:func:`value_of`).

    Dates are ``YYYYMMDD``, ``YYYY-MM-DD`` or the ``YYYY.MM.DD`` of old files (PS3.5 6.2, VR DA).
    """
    study, birth = tags.get("StudyDate"), tags.get("PatientBirthDate")
    if study is None or birth is None:
        return None
    study, birth = study.strip(" \0"), birth.strip(" \0")
    if not study or not birth:
        return 0
    last, first = _day_number(study), _day_number(birth)
    if last is None or first is None or last < first:
        return None
    return last - first


@lru_cache(maxsize=1024)
def _day_number(text: str) -> int | None:
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    try:
        return datetime(int(found[1]), int(found[3]), int(found[4]), tzinfo=timezone.utc).toordinal()
    except ValueError:
        return None


def _age_text(days: int) -> str:
    if days < 7:
        return f"{days:03d}D"
    if days < 30:
        return f"{round(days / 7):03d}W"
    if days < 365:
        return f"{round(days / 30):03d}M"
    return f"{round(days / 365):03d}Y"
