"""How CUBE says no, and what that means for a registration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pypx.errors import CubeError

_MAX_TEXT = 400


class CubeUnreachableError(CubeError):
    """CUBE cannot be reached, or does not answer a question."""


class CubeDeniedError(CubeError):
    """The login is wrong, or this user may not do this; the same holds for all that was still to be done."""


class CubeRefusedError(CubeError):
    """CUBE understood a request and refused it; `data` is its answer."""

    def __init__(self, message: str, data: object) -> None:
        super().__init__(message)
        self.data = data


class CubeUncertainError(CubeError):
    """A registration was sent and no clear answer came back: it may have been done, or may still be.

    `answered`: CUBE gave an error (5xx), so that it is done with the request; `silent`: it gave nothing in time;
    `pause_s`: how long it asks to be left alone, seconds.
    """

    def __init__(self, message: str, *, answered: bool = False, silent: bool = False, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.answered = answered
        self.silent = silent
        self.pause_s = pause_s


def error_text(data: object) -> str:
    """What CUBE says in an answer that is an error, as one line; each of its shapes, fields by name."""
    return " ".join(_text(data).split())[:_MAX_TEXT] or "no reason given"


def _text(data: object) -> str:
    if isinstance(data, str):
        return data
    if isinstance(data, list):
        return "; ".join(_text(item) for item in data)
    if not isinstance(data, dict):
        return ""
    collection = data.get("collection")
    if isinstance(collection, dict):
        return _collection_text(collection)
    unnamed = ("detail", "error", "non_field_errors")
    return "; ".join(_text(value) if name in unnamed else f"{name}: {_text(value)}" for name, value in data.items())


def _collection_text(collection: Mapping[str, Any]) -> str:
    error = collection.get("error")
    message = error.get("message", "") if isinstance(error, dict) else ""
    try:
        inner = json.loads(message)
    except (TypeError, ValueError):
        return str(message)
    return _text(inner) if isinstance(inner, dict | list) else str(message)
