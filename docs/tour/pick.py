#!/usr/bin/env python3
"""Choose a small study for the tour; print its StudyInstanceUID and the SeriesInstanceUID of its smallest series.

    px find … --json | pick.py     from a find document
    pick.py --windows              ask the PACS itself, studies only: today, then some days back, then further, year
                                   by year, until there is an answer

The second form never asks a PACS for everything it has.  Exit status 1: nothing to choose from.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, timedelta
from typing import Any

YEARS_BACK = 30
DAYS_BACK = (0, 2, 7, 31, 366)


def value(entry: dict[str, Any], keyword: str) -> str:
    """Return the text of a keyword of a study or series of a find document."""
    return str(entry.get(keyword, {}).get("value", ""))


def images(entry: dict[str, Any], keyword: str = "NumberOfSeriesRelatedInstances") -> int:
    """Return how many images an entry says it has; very many if it does not say."""
    text = value(entry, keyword)
    return int(text) if text.isdigit() else 1_000_000


def find(*options: str) -> list[dict[str, Any]]:
    """Run px find and return its studies."""
    argv = ["px", "find", *options, "--json"]
    run = subprocess.run(argv, check=False, stdout=subprocess.PIPE)  # noqa: S603 - an argument list of our own
    if run.returncode != 0:
        sys.exit(run.returncode)
    studies: list[dict[str, Any]] = json.loads(run.stdout)["data"]
    return studies


def windows() -> list[str]:
    """Return StudyDate ranges that do not overlap, from today backwards."""
    today = date.today()  # noqa: DTZ011  # StudyDate is a local date
    ends = [*DAYS_BACK, *range(DAYS_BACK[-1] + 366, 366 * YEARS_BACK, 366)]
    starts = [-1, *ends]
    return [
        f"{today - timedelta(days=last):%Y%m%d}-{today - timedelta(days=first + 1):%Y%m%d}"
        for first, last in zip(starts, ends, strict=False)
    ]


def newest_study() -> list[dict[str, Any]]:
    """Return the smallest study of the first window that has one, with its series."""
    for window in windows():
        studies = find("--StudyDate", window, "--StudyOnly")
        if studies:
            small = min(studies, key=lambda study: images(study, "NumberOfStudyRelatedInstances"))
            return find("--StudyInstanceUID", value(small, "StudyInstanceUID"))
    return []


def main() -> int:
    """Print the choice."""
    studies = newest_study() if "--windows" in sys.argv else json.load(sys.stdin)["data"]
    sizes = [(sum(images(series) for series in study["series"]), study) for study in studies if study.get("series")]
    if not sizes:
        return 1
    study = min(sizes, key=lambda pair: pair[0])[1]
    series = min(study["series"], key=images)
    sys.stdout.write(f"{value(study, 'StudyInstanceUID')} {value(series, 'SeriesInstanceUID')}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
