"""Import path of pypx 3: ``from pypx.utils import sanitize``."""

from __future__ import annotations

from pypx.compat.api_paths import dataPath, patientPath, sanitize, seriesPath, studyPath

__all__ = ["dataPath", "patientPath", "sanitize", "seriesPath", "studyPath"]
