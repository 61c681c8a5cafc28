"""Import path of pypx 3: ``from pypx.report import Report``."""

from __future__ import annotations

from pypx.compat.api import Report

__all__ = ["Report"]
