"""Import path of pypx 3: ``from pypx.move import Move``."""

from __future__ import annotations

from pypx.compat.api import Move

__all__ = ["Move"]
