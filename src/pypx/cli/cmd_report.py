"""``px report``: what a find returned, as table, text, CSV or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pypx.cli import console, inputs, options
from pypx.cli.console import Console

if TYPE_CHECKING:
    from pypx.compat.report_csv import CsvOptions
    from pypx.workflows.report import Layout, StudyBlock

_EPILOG = options.epilog(
    """
    px find --PatientID 1234567 --json | px report
    px report --reportDataFile found.json --printReport csv --csvPrintHeaders --csvSeparator ,
    px find --PatientID 1234567 --json | px report --printReport csv --csvPrettify --csvPrintHeaders \\
        --reportHeaderStudyTags PatientName,PatientID,StudyDate --reportBodySeriesTags SeriesDescription
    """,
    0, 2,
    _12="the document says that its find failed",
)  # fmt: skip

_FORMATS = click.Choice(["tabular", "rawText", "csv", "json"], case_sensitive=False)


def _tags(values: Mapping[str, Any]) -> Layout:
    from pypx.workflows.report import make_layout

    return make_layout(
        layout_json=values["report_layout"],
        header_study=values["header_study"],
        header_series=values["header_series"],
        body_series=values["body_series"],
        series_special=values["series_special"],
    )


def _csv(values: Mapping[str, Any]) -> CsvOptions:
    from pypx.compat.report_csv import CsvOptions

    return CsvOptions(
        separator=values["csv_separator"],
        headers=values["csv_headers"],
        prettify=values["csv_prettify"],
        summarize=values["csv_summarize"],
    )


_tag_options = options.record(
    "tags",
    _tags,
    click.option(
        "--reportHeaderStudyTags", "--report-header-study-tags", "header_study", default="", metavar="A,B,...",
        help="Attributes of the study, at the head.",
    ),
    click.option(
        "--reportHeaderSeriesTags", "--report-header-series-tags", "header_series", default="", metavar="A,B,...",
        help="Attributes of the study's first series, at the head.",
    ),
    click.option(
        "--reportBodySeriesTags", "--report-body-series-tags", "body_series", default="", metavar="A,B,...",
        help="Attributes of each series.",
    ),
    click.option(
        "--reportLayout", "--report-layout", "report_layout", default="", metavar="JSON",
        help='All three: {"header": {"study": [...], "series": [...]}, "body": {"series": [...]}}.',
    ),
    click.option(
        "--seriesSpecial", "--series-special", "series_special", default="", metavar="A,B,...",
        help="Added to what identifies a series in JSON; seriesStatus shows how much of it has arrived.",
    ),
)  # fmt: skip

_csv_options = options.record(
    "csv",
    _csv,
    click.option(
        "--csvSeparator", "--csv-separator", "csv_separator", default="|", show_default=True, metavar="TEXT",
        help="What stands between two values.",
    ),
    click.option("--csvPrintHeaders", "--csv-print-headers", "csv_headers", is_flag=True, help="Print column names."),
    click.option("--csvPrettify", "--csv-prettify", "csv_prettify", is_flag=True, help="Draw lines and align columns."),
    click.option("--csvSummarize", "--csv-summarize", "csv_summarize", is_flag=True, help="Print one row a study."),
)  # fmt: skip


@click.command("report", cls=options.PxCommand, epilog=_EPILOG)
@click.argument("file", required=False, metavar="[FILE]")
@inputs.document
@click.option(
    "--printReport", "--print-report", "--format", "form", type=_FORMATS, default="tabular", show_default=True,
    help="How to show it.",
)  # fmt: skip
@click.option("--colorize", type=click.Choice(["dark", "light"]), help="Colours for a dark or a light terminal.")
@_tag_options
@_csv_options
@options.output()
def command(
    *,
    file: str | None,
    document: inputs.DocumentSource,
    form: str,
    colorize: str | None,
    tags: Layout,
    csv: CsvOptions,
    out: Console,
) -> None:
    """Show what px find --json printed: from FILE, from a pipe, or from an option."""
    from pypx.compat.find_read import from_document
    from pypx.compat.status_json import status_lines
    from pypx.workflows.report import report

    source = inputs.DocumentSource(document.text, file) if file else document
    found = source.read()
    result = from_document(found, need_uids=False)
    _tell_of_unknown(tags, out)
    blocks = list(report(result, tags, status_lines(found)))
    show(blocks, "json" if out.json else "jsonl" if out.jsonl else form, csv, colorize or "", out)


def _tell_of_unknown(tags: Layout, out: Console) -> None:
    """Tell of tags that no document has, since they are not DICOM's."""
    from pypx.errors import InputError
    from pypx.services.dicomfile import keyword_info
    from pypx.workflows.report import SERIES_STATUS

    chosen = (*tags.header_study, *tags.header_series, *tags.body_series, *tags.series_special)
    for tag in dict.fromkeys(chosen):
        try:
            if tag != SERIES_STATUS:
                keyword_info(tag)
        except InputError as error:  # noqa: PERF203 - a few tags
            out.note(f"the column stays empty: {error}")


def show(blocks: list[StudyBlock], form: str, csv: CsvOptions, colorize: str, out: Console) -> None:
    """Write a report.

    Parameters
    ----------
    form : ``tabular``, ``rawText``, ``csv``, ``json`` or ``jsonl``
    """
    if form == "json":
        from pypx.compat.report_json import to_document

        out.document(to_document(blocks))
    elif form == "jsonl":
        for block in blocks:
            for series in block.series:
                out.record(dict(block.header) | dict(series.body) | dict(series.identity))
    elif form == "csv":
        from pypx.compat.report_csv import csv_text

        console.write_lines(csv_text(blocks, csv))
    elif form.lower() == "rawtext":
        from pypx.compat.report_text import raw_text

        console.write(raw_text(blocks, colorize=colorize if console.colours() else ""))
    else:
        _tabular(blocks, colorize)


def _tabular(blocks: list[StudyBlock], colorize: str) -> None:
    if not console.is_terminal():
        from pypx.compat.report_text import tagged

        console.write(tagged(blocks))
        return
    styles = {"dark": ("bright_magenta", "bright_green"), "light": ("magenta", "green")}.get(colorize, ("", ""))
    for block in blocks:
        console.pairs([block.header, [row for series in block.series for row in series.body]], styles)
