"""Import path of pypx 3: ``from pypx.base import Base``, which its classes derive from."""

from __future__ import annotations

from pypx.compat.api import Base

__all__ = ["Base"]
