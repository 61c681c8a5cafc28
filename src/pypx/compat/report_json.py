"""Reports as JSON: ``px-report --printReport json``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pypx.workflows.report import StudyBlock


def to_document(blocks: Iterable[StudyBlock]) -> list[dict[str, Any]]:
    """One object a study: its header, the body tags of each series, and what identifies each series."""
    return [
        {
            "header": dict(block.header),
            "body": [dict(series.body) for series in block.series],
            "bodySeriesUID": [dict(series.identity) for series in block.series],
        }
        for block in blocks
    ]
