"""The options of the work itself: time limits, DCMTK's programs, the pause between requests, path templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pypx.cli.options import Command, F, record
from pypx.errors import InputError

if TYPE_CHECKING:
    from pypx.model.packpath import Templates
    from pypx.services.dcmtk import Limits, Programs


_DAY_S = 86_400


class Seconds(click.FloatRange):
    """A number of seconds up to a day; ``nan``, ``inf`` and what a timer cannot hold are refused.

    With `zero`, 0 is taken as well.
    """

    name = "seconds"

    def __init__(self, *, zero: bool = False) -> None:
        super().__init__(min=0, max=_DAY_S, min_open=not zero)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; the message names the environment variable the text came from, if it did."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if 0 < seconds <= _DAY_S or (seconds == 0 and not self.min_open):
            return seconds
        place = ""
        if ctx and param and param.name and ctx.get_parameter_source(param.name) is ParameterSource.ENVIRONMENT:
            place = f"{param.envvar}: "
        least = "more than 0" if self.min_open else "0"
        words = f"{place}{str(value)[:40]!r} is no number of seconds, {least} to {_DAY_S}"
        raise click.BadParameter(words, ctx, param)


store_timeout: Callable[[Command], Command] = click.option(
    "--store-timeout", "store_timeout", type=Seconds(), metavar="SECONDS", envvar="PX_STORE_TIMEOUT",
    help="For each silence of Swift or S3, in seconds (PX_STORE_TIMEOUT; 60).",
)  # fmt: skip
"""How long a store may be silent."""

cube_timeout: Callable[[Command], Command] = click.option(
    "--cube-timeout", "cube_timeout", type=Seconds(), metavar="SECONDS", envvar="PX_CUBE_TIMEOUT",
    help="For each silence of CUBE, in seconds, and 45 more for a whole series (PX_CUBE_TIMEOUT; 30).",
)  # fmt: skip
"""How long CUBE may be silent."""


def limits(function: F) -> F:
    """Give the command ``limits``: how long to wait for the PACS, in seconds."""

    def make(values: Mapping[str, Any]) -> Limits:
        from pypx.services.dcmtk import Limits

        names = {"connect_s": "timeout", "acse_s": "acse_timeout", "dimse_s": "dimse_timeout"}
        return Limits(**{field: values[name] for field, name in names.items() if values[name] is not None})

    seconds = Seconds()
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
        InputError : one of them is no template, or has a keyword that is none of DICOM's
        """
        from dataclasses import asdict

        from pypx.model.packpath import Templates, parse_template
        from pypx.services.dicomfile import keyword_info

        chosen = Templates(**(asdict(base) | self.given))
        for part, text in self.given.items():
            for keyword in sorted(parse_template(text).keywords()):
                try:
                    keyword_info(keyword)
                except InputError as error:  # noqa: PERF203 - a few keywords
                    raise InputError(f"{_TEMPLATES[part][0]}: {error}") from None
        return chosen


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
