"""What the older Python interface prints: reports and the lines of ``withFeedBack``, on stdout as pypx did."""

from __future__ import annotations

import sys


def emit(text: str) -> None:
    """Write to stdout."""
    sys.stdout.write(text)
    sys.stdout.flush()


def coloured() -> bool:
    """Whether stdout is a terminal, which may have colours."""
    return sys.stdout.isatty()
