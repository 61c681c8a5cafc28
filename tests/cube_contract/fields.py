"""The fields of a registration and the sentences with which CUBE refuses a bad value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

INT_MAX = 2147483647
INT_MIN = -2147483648


class FieldError(Exception):
    """One sentence about one field."""


@dataclass(frozen=True, slots=True)
class Field:
    """How one value is read: `kind` is text, date, integer or sex."""

    kind: str = "text"
    required: bool = False
    limit: int | None = None
    rule: Callable[[Any], Any] = field(default=lambda value: value)

    @property
    def absent(self) -> str | None:
        """What an optional field holds that was not sent."""
        return "" if self.kind in {"text", "sex"} else None

    @property
    def nullable(self) -> bool:
        return self.kind in {"date", "integer"} and not self.required

    def read(self, value: object, *, from_form: bool) -> Any:
        """The value as it is kept; FieldError says what is wrong with it."""
        if from_form and value == "" and self.nullable:
            return None
        if value is None:
            if self.nullable:
                return None
            raise FieldError("This field may not be null.")
        readers: dict[str, Callable[[object], object]] = {
            "text": self._text,
            "date": _date,
            "integer": self._integer,
            "sex": _sex,
        }
        return self.rule(readers[self.kind](value))

    def _text(self, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise FieldError("Not a valid string.")
        text = str(value).strip()
        if not text and self.required:
            raise FieldError("This field may not be blank.")
        if self.limit is not None and len(text) > self.limit:
            raise FieldError(f"Ensure this field has no more than {self.limit} characters.")
        if "\0" in text:
            raise FieldError("Null characters are not allowed.")
        return text

    def _integer(self, value: object) -> int:
        text = re.sub(r"\.0*\s*$", "", str(value).strip())
        if isinstance(value, bool) or not re.fullmatch(r"[+-]?\d{1,1000}", text):
            raise FieldError("A valid integer is required.")
        number = int(text)
        if self.limit is not None and number > self.limit:
            raise FieldError(f"Ensure this value is less than or equal to {self.limit}.")
        if self.limit is not None and number < INT_MIN:
            raise FieldError(f"Ensure this value is greater than or equal to {INT_MIN}.")
        return number


def _date(value: object) -> str:
    try:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value.strip()):
            return date.fromisoformat(value.strip()).isoformat()
    except ValueError:
        pass
    raise FieldError("Date has wrong format. Use one of these formats instead: YYYY-MM-DD.")


def _sex(value: object) -> str:
    if value in {"M", "F", "O", ""}:
        return str(value)
    raise FieldError(f'"{value}" is not a valid choice.')


def _old_path(text: str) -> str:
    path = text.strip(" ").strip("/")
    if not path.startswith("SERVICES/PACS/"):
        raise FieldError("File path must start with 'SERVICES/PACS/'.")
    return path


def _new_path(text: str) -> str:
    path = text.strip(" ").strip("/")
    if not path.startswith("SERVICES/PACS/"):
        raise FieldError("This field must start with 'SERVICES/PACS/'.")
    if "," in path:
        raise FieldError(f"Invalid path '{path}'. Cannot contain commas.")
    return path


def _new_pacs_name(text: str) -> str:
    if "," in text or "/" in text:
        raise FieldError(f"Invalid PACS name '{text}'. Cannot contain commas or slashes.")
    return text


def _ndicom(number: int) -> int:
    if number < 1:
        raise FieldError(f"This field must be a postive integer. Got {number}.")
    return number


DESCRIPTORS = {
    "PatientID": Field(required=True, limit=100),
    "PatientName": Field(limit=150),
    "PatientBirthDate": Field("date"),
    "PatientAge": Field("integer", limit=INT_MAX),
    "PatientSex": Field("sex"),
    "StudyDate": Field("date", required=True),
    "AccessionNumber": Field(limit=100),
    "Modality": Field(limit=15),
    "ProtocolName": Field(limit=64),
    "StudyInstanceUID": Field(required=True, limit=100),
    "StudyDescription": Field(limit=400),
    "SeriesInstanceUID": Field(required=True, limit=100),
    "SeriesDescription": Field(limit=400),
}

OLD_FIELDS = {
    "path": Field(required=True, rule=_old_path),
    **DESCRIPTORS,
    "pacs_name": Field(required=True, limit=20),
}

NEW_FIELDS = {
    "path": Field(required=True, limit=1024, rule=_new_path),
    "ndicom": Field("integer", required=True, rule=_ndicom),
    **DESCRIPTORS,
    "pacs_name": Field(required=True, limit=20, rule=_new_pacs_name),
}


def read_fields(
    fields: Mapping[str, Field], sent: Mapping[str, object], *, from_form: bool
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Values and complaints, of all fields together; what no field is called after is ignored."""
    values: dict[str, Any] = {}
    complaints: dict[str, list[str]] = {}
    for name, rule in fields.items():
        value, complaint = _read_one(rule, sent.get(name), is_there=name in sent, from_form=from_form)
        if complaint:
            complaints[name] = [complaint]
        else:
            values[name] = value
    return values, complaints


def _read_one(rule: Field, value: object, *, is_there: bool, from_form: bool) -> tuple[Any, str]:
    if not is_there:
        return rule.absent, "This field is required." if rule.required else ""
    try:
        return rule.read(value, from_form=from_form), ""
    except FieldError as error:
        return None, str(error)
