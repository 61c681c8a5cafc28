"""Import path of pypx 3: ``from pypx.listen import Listen``."""

from __future__ import annotations

from pypx.compat.api import Listen

__all__ = ["Listen"]
