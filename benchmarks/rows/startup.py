"""Start-up of each command against the bare interpreter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pypx3
from bench import BIN, PX, Case, Measured, Options, Row, Summary, environment, run

BUDGET_S = 0.080
COMMANDS = (
    "echo", "find", "report", "move", "listen", "repack", "push", "register", "storage", "status", "do", "smdb",
    "completion",
)  # fmt: skip
OLD_COMMANDS = (
    "px-do", "px-echo", "px-find", "px-listen", "px-move", "px-push", "px-register", "px-repack", "px-report",
    "px-smdb", "px-status", "pfstorage",
)  # fmt: skip


def _timed(argv: list[str]) -> Measured:
    return run(argv, environment())


@contextmanager
def _open(argv: list[str], old: list[str] | None, options: Options) -> Iterator[Case]:
    pypx = None
    if old and options.with_pypx:
        theirs = pypx3.install()
        # pypx ends `--version` with 1
        pypx = partial(run, theirs.argv(*old), theirs.environment(options.scratch), codes=(0, 1))
    yield Case(partial(_timed, argv), partial(_timed, [sys.executable, "-c", "pass"]), pypx)


def _row(name: str, argv: list[str], old: list[str] | None = None) -> Row:
    return Row(
        name=name,
        title=" ".join(argv).replace(f"{BIN}/", ""),
        unit="runs",
        budget=f"at most {BUDGET_S * 1000:.0f} ms more",
        floor_is="python -c pass",
        open=partial(_open, argv, old),
        passes=_passes,
        ratio_of="time",
    )


def _passes(summary: Summary) -> bool:
    added = summary.added_s
    return added is not None and added.median <= BUDGET_S


ROWS = (
    _row("startup-version", [PX, "--version"], ["px-find", "--version"]),
    _row("startup-help", [PX, "--help"]),
    *(_row(f"startup-{verb}", [PX, verb, "--help"]) for verb in COMMANDS),
    *(_row(f"startup-{command}", [str(BIN / command), "--help"], [command, "--help"]) for command in OLD_COMMANDS),
)
