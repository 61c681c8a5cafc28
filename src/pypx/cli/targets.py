"""Which series a command is about: UIDs from options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pypx.cli.options import F, record
from pypx.model.dataclass import dataclass

if TYPE_CHECKING:
    from pypx.model.identifiers import UID


@dataclass(frozen=True, slots=True)
class Targets:
    """The UIDs that were given, checked, each once."""

    studies: tuple[UID, ...]
    series: tuple[UID, ...]

    def __bool__(self) -> bool:
        return bool(self.studies or self.series)


def _uids(texts: tuple[str, ...], what: str) -> tuple[UID, ...]:
    from pypx.model.identifiers import parse_uid

    words = [word for text in texts for word in re.split(r"[,\\\s]+", text) if word]
    return tuple(dict.fromkeys(parse_uid(word, what) for word in words))


def _targets(values: Mapping[str, Any]) -> Targets:
    return Targets(_uids(values["studies"], "StudyInstanceUID"), _uids(values["series"], "SeriesInstanceUID"))


def targets(function: F) -> F:
    """Give the command ``targets``: the studies and series named by UID."""
    return record(
        "targets",
        _targets,
        click.option(
            "--StudyInstanceUID", "--study-instance-uid", "studies", multiple=True, metavar="UID",
            help="Study, or several with commas; may be repeated.",
        ),
        click.option(
            "--SeriesInstanceUID", "--series-instance-uid", "series", multiple=True, metavar="UID",
            help="Series, or several with commas; may be repeated.",
        ),
    )(function)  # fmt: skip
