"""Import path of pypx 3: ``from pypx.status import Status``."""

from __future__ import annotations

from pypx.compat.api import Status

__all__ = ["Status"]
