"""The options of the work itself: time limits, DCMTK's programs, the pause between requests, path templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from pypx.cli.options import F, record

if TYPE_CHECKING:
    from pypx.model.packpath import Templates
    from pypx.services.dcmtk import Limits, Programs


def limits(function: F) -> F:
    """Give the command ``limits``: how long to wait for the PACS, in seconds."""

    def make(values: Mapping[str, Any]) -> Limits:
        from pypx.services.dcmtk import Limits

        names = {"connect_s": "timeout", "acse_s": "acse_timeout", "dimse_s": "dimse_timeout"}
        return Limits(**{field: values[name] for field, name in names.items() if values[name] is not None})

    seconds = click.FloatRange(min=0, min_open=True)
    return record(
        "limits",
        make,
        click.option(
            "--timeout", type=seconds, metavar="SECONDS", envvar="PX_TIMEOUT",
            help="To connect (PX_TIMEOUT; 10).",
        ),
        click.option(
            "--acse-timeout", type=seconds, metavar="SECONDS", envvar="PX_ACSE_TIMEOUT",
            help="For the association to be answered (PX_ACSE_TIMEOUT; 30).",
        ),
        click.option(
            "--dimse-timeout", type=seconds, metavar="SECONDS", envvar="PX_DIMSE_TIMEOUT",
            help="Between two messages of a request (PX_DIMSE_TIMEOUT; 300).",
        ),
    )(function)  # fmt: skip


def programs(*names: str) -> Callable[[F], F]:
    """Give the command ``programs``: names or paths of the DCMTK programs `names`."""

    def make(values: Mapping[str, Any]) -> Programs:
        from pypx.services.dcmtk import Programs

        return Programs(**{name: values[name] for name in names if values.get(name)})

    return record(
        "programs",
        make,
        *(
            click.option(
                f"--{name}", name, metavar="PROGRAM", envvar=f"PX_{name.upper()}",
                help=f"Name or path of DCMTK's {name} (PX_{name.upper()}).",
            )
            for name in names
        ),
    )  # fmt: skip


def delay(function: F) -> F:
    """Give the command ``delay``: the text of ``--intraSeriesRetrieveDelay``."""
    return click.option(
        "--intraSeriesRetrieveDelay", "--intra-series-retrieve-delay", "--delay", "delay", default="",
        metavar="N|dynamic:N", help="Pause after each series: N seconds, or one second for every N images of it (0).",
    )(function)  # fmt: skip


class TemplateOptions:
    """The path templates that were given; the others are those of the BASEMOUNT."""

    __slots__ = ("given",)

    def __init__(self, given: Mapping[str, str]) -> None:
        self.given = dict(given)

    def __bool__(self) -> bool:
        return bool(self.given)

    def over(self, base: Templates) -> Templates:
        """Replace those parts of `base` that were given.

        Raises
        ------
        InputError : one of them is no template
        """
        from dataclasses import asdict

        from pypx.model.packpath import Templates

        return Templates(**(asdict(base) | self.given))


_TEMPLATES = {
    "root": ("--rootDirTemplate", "--root-dir-template", "folder of a patient"),
    "study": ("--studyDirTemplate", "--study-dir-template", "folder of a study"),
    "series": ("--seriesDirTemplate", "--series-dir-template", "folder of a series"),
    "image": ("--imageTemplate", "--image-template", "file of an image"),
}


def templates(function: F) -> F:
    """Give the command ``templates``: how folders and files are to be named."""

    def make(values: Mapping[str, Any]) -> TemplateOptions:
        return TemplateOptions({part: values[f"{part}_template"] for part in _TEMPLATES if values[f"{part}_template"]})

    return record(
        "templates",
        make,
        *(
            click.option(
                old, new, f"{part}_template", metavar="TEMPLATE",
                help=f"Name of the {what} (that of the BASEMOUNT).",
            )
            for part, (old, new, what) in _TEMPLATES.items()
        ),
    )(function)  # fmt: skip
