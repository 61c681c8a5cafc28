"""The named points at which a test can stop a process."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from pypx.db import checkpoints

_ROOT = Path(__file__).parents[2]
_CALLED = re.compile(r'\breached\("([a-z.]+)"\)')


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The signals that would have been sent."""
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append((pid, number)))
    return signals


def test_a_named_point_stops_the_process(monkeypatch: pytest.MonkeyPatch, sent: list[tuple[int, int]]) -> None:
    monkeypatch.setattr(checkpoints, "_STOP_AT", "filing.placed")
    checkpoints.reached("filing.synced")
    assert sent == []
    checkpoints.reached("filing.placed")
    assert sent == [(os.getpid(), signal.SIGSTOP)]


def test_nothing_stops_without_the_variable(monkeypatch: pytest.MonkeyPatch, sent: list[tuple[int, int]]) -> None:
    monkeypatch.setattr(checkpoints, "_STOP_AT", None)
    checkpoints.reached("filing.placed")
    assert sent == []


def test_each_point_is_listed_once() -> None:
    guide = (_ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    used = [name for file in (_ROOT / "src").rglob("*.py") for name in _CALLED.findall(file.read_text("utf-8"))]
    listed = re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", guide, re.MULTILINE)
    assert sorted(used) == sorted(set(used))
    assert sorted(listed) == sorted(used)
