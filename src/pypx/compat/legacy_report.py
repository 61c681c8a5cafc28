"""px-report and px-status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pypx.compat.find_read import from_document
from pypx.compat.legacy_call import Answer, Call
from pypx.compat.report_csv import CsvOptions, csv_text
from pypx.compat.report_json import to_document
from pypx.compat.report_text import raw_text, tabular
from pypx.compat.status_json import status_document, status_lines
from pypx.db.smdb import Database
from pypx.errors import PxError
from pypx.model.identifiers import UID, parse_uid
from pypx.workflows.report import StudyBlock, make_layout
from pypx.workflows.report import report as rows
from pypx.workflows.status import ref_of_series, series_status

FLAGGED = "An error has been flagged in the report payload."
_RED, _RESET = "\x1b[0;31m", "\x1b[0m"


def report_blocks(call: Call, document: Mapping[str, Any]) -> list[StudyBlock]:
    """What a report shows of a find document, by the layout options.

    Raises
    ------
    PxError : the document is none or reports a failure, or the layout cannot be used
    """
    layout = make_layout(
        layout_json=call.text("reportTags"),
        header_study=call.text("reportHeaderStudyTags"),
        header_series=call.text("reportHeaderSeriesTags"),
        body_series=call.text("reportBodySeriesTags"),
        series_special=call.text("seriesSpecial"),
    )
    return list(rows(from_document(document, need_uids=False), layout, status_lines(document)))


def report_text(call: Call, document: Mapping[str, Any]) -> str:
    """The report in the form that ``printReport`` names; ``""`` for none and for an unknown one.

    Raises
    ------
    PxError : as :func:`report_blocks`
    """
    blocks = report_blocks(call, document)
    form = call.text("printReport")
    colour = call.text("colorize")
    colour = colour if colour in ("dark", "light") else ""
    if form == "tabular":
        return tabular(blocks)
    if form == "rawText":
        return raw_text(blocks, colorize=colour)
    if form == "json":
        return json.dumps(to_document(blocks), indent=4) + "\n"
    if form != "csv":
        return ""
    return csv_text(
        blocks,
        CsvOptions(
            separator=call.text("csvSeparator", "|"),
            headers=call.flag("csvPrintHeaders"),
            prettify=call.flag("csvPrettify"),
            summarize=call.flag("csvSummarize"),
        ),
    )


def flagged_text(document: Mapping[str, Any], *, colour: bool) -> str:
    """What px-report shows of a document that reports a failure: a sentence, then the document."""
    sentence = f"{_RED}{FLAGGED}{_RESET}" if colour else FLAGGED
    return f"{sentence}\n{json.dumps(document, indent=4)}\n"


def status(call: Call) -> Answer:
    """How far a series has come, as the document of px-status."""
    try:
        database = Database.open(call.layout())
        study = call.text("StudyInstanceUID")
        ref = ref_of_series(
            database,
            parse_uid(call.text("SeriesInstanceUID"), "SeriesInstanceUID"),
            parse_uid(study, "StudyInstanceUID") if study else UID(""),
        )
        (found,) = series_status([ref], database)
        return Answer(status_document(found, database, verify=call.flag("verifySeriesInStudy")))
    except PxError as error:
        return Answer({"status": False, "error": str(error)}, error)
