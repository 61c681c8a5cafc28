"""Records to JSON and back."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

_T = TypeVar("_T")


def from_plain(kind: type[_T], value: Any) -> _T:
    """The record that `dataclasses.asdict` and JSON made `value` of."""
    built: _T = _build(kind, value)
    return built


def _build(kind: Any, value: Any) -> Any:
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        known = {field.name for field in fields(kind)}
        return kind(**{name: _build(hints[name], part) for name, part in value.items() if name in known})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        return tuple(_build(inner[0], part) for part in value) if inner[-1] is Ellipsis else tuple(value)
    return value
