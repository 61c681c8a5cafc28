"""The rows of the benchmarks: a module each, whose ROWS main.py runs."""

from __future__ import annotations

from pathlib import Path

ORDER = ("receive", "retrieve", "find", "repack", "push", "status", "search", "register", "startup")
"""Modules in the order of the table; others come after them."""


def names() -> list[str]:
    """Every module that is there, in that order."""
    found = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__"}
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))
