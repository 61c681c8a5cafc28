"""Import path of pypx 3: ``from pypx.pfstorage import PfStorage, swiftStorage``."""

from __future__ import annotations

from pypx.compat.api import PfStorage, fileStorage, swiftStorage

__all__ = ["PfStorage", "fileStorage", "swiftStorage"]
