"""Every time limit is finite by default, and the page of limits names its number."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from pypx.cli import interrupts
from pypx.db import files, tables
from pypx.services import dcmtk, pauses, process
from pypx.services.cubeaddress import CubeLimits, limits_of
from pypx.services.dcmtk import Limits
from pypx.services.s3 import S3Store
from pypx.services.swift import SwiftStore
from pypx.workflows import chain, targets
from pypx.workflows.fetch import FetchOptions
from pypx.workflows.serving import ListenOptions

PAGE = Path(__file__).parents[2] / "docs/limits.rst"
DAY_S = 86_400


def of_record(record: object) -> Iterator[tuple[str, float]]:
    """The fields of a record that are times."""
    for one in fields(record):  # type: ignore[arg-type]
        if one.name.endswith("_s"):
            yield f"{type(record).__name__}.{one.name}", getattr(record, one.name)


def of_function(function: Callable[..., object], name: str) -> tuple[str, float]:
    """The default of a parameter."""
    return f"{function.__qualname__}.{name}", inspect.signature(function).parameters[name].default


LIMITS = [
    *of_record(Limits()),
    *of_record(ListenOptions(port=0)),
    *of_record(CubeLimits()),
    *of_record(limits_of(5.0)),
    *of_record(FetchOptions()),
    of_function(SwiftStore.__init__, "timeout_s"),
    of_function(S3Store.__init__, "timeout_s"),
    of_function(files.locked, "timeout_s"),
    of_function(tables.update_table, "timeout_s"),
    ("targets.STORE_TIMEOUT_S", targets.STORE_TIMEOUT_S),
    ("chain.IDLE_S", chain.IDLE_S),
    ("Limits.idle_s", Limits().idle_s),
    ("pauses.LONGEST_S", pauses.LONGEST_S),
    ("process grace", process._GRACE_S),
    ("interrupts.GRACE_S", interrupts.GRACE_S),
]


@pytest.mark.parametrize(("name", "seconds"), LIMITS)
def test_no_limit_is_none_or_infinite(name: str, seconds: float) -> None:
    assert isinstance(seconds, (int, float)), name
    assert math.isfinite(seconds), name
    assert 0 < seconds <= DAY_S, name


def test_dcmtk_gets_all_three_limits() -> None:
    options = dcmtk.Limits(0.1, 0.1, 0.1).options()
    assert options[::2] == ["-to", "-ta", "-td"]
    assert all(int(number) >= 1 for number in options[1::2]), "0 would be no limit"


@pytest.mark.parametrize(
    ("option", "seconds"),
    [
        ("``--timeout``", Limits().connect_s),
        ("``--acse-timeout``", Limits().acse_s),
        ("``--dimse-timeout``", Limits().dimse_s),
        ("``--store-timeout``", targets.STORE_TIMEOUT_S),
        ("``--cube-timeout``", CubeLimits().read_s),
        ("``--drain``", ListenOptions(port=0).drain_s),
        ("a standstill", ListenOptions(port=0).stall_s),
        ("request", ListenOptions(port=0).request_s),
        ("lock", of_function(files.locked, "timeout_s")[1]),
    ],
)
def test_the_page_names_the_default(option: str, seconds: float) -> None:
    lines = [line.split("  ") for line in PAGE.read_text().splitlines() if option in line]
    assert any(f"{seconds:g} s" in (cell.strip() for cell in cells) for cells in lines), (option, lines)
