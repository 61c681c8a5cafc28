"""The options of a retrieve that is to be complete: what to ask for, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from pypx.cli.options import F, record
from pypx.cli.tool_options import Seconds
from pypx.model.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Completing:
    """Whether to ask the PACS before what it has, for all, for several at a time, and how often and when again."""

    expect: bool = True
    force: bool = False
    beside: bool = True
    retries: int = 0
    pause_s: float = 2.0


def completing_of(values: Mapping[str, Any]) -> Completing:
    """The record from the values of `OPTIONS`."""
    return Completing(
        values["expect"], values["force"], not values["one_by_one"], values["retry"], values["retry_wait"]
    )


OPTIONS = (
    click.option(
        "--retry", type=click.IntRange(0), default=0, show_default=True, metavar="N",
        help="Ask so often again for images that are missing.",
    ),
    click.option(
        "--retry-wait", type=Seconds(zero=True), default=2.0, show_default=True, metavar="SECONDS",
        help="Pause before asking again; it doubles each time.",
    ),
    click.option(
        "--one-by-one", is_flag=True,
        help="Ask for one series after another, through one association; by default two are used at a time.",
    ),
    click.option("--force", is_flag=True, help="Ask for all images, whatever is there."),
    click.option(
        "--expect/--no-expect", "expect", default=True, show_default=True,
        help="Ask the PACS before a retrieve which images it has; without, its counts must do.",
    ),
)  # fmt: skip


def completing(function: F) -> F:
    """Give the command ``completing``: how a retrieve goes about being complete."""
    return record("completing", completing_of, *OPTIONS)(function)
