"""Import path of pypx 3: ``from pypx.echo import Echo``."""

from __future__ import annotations

from pypx.compat.api import Echo

__all__ = ["Echo"]
