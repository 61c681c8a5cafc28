"""The state of a series as pypx 3 printed it, and its one-line form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pypx.compat.find_read import from_document
from pypx.db.smdb import Database
from pypx.model.identifiers import UID
from pypx.model.outcomes import SeriesState, SeriesStatus
from pypx.workflows.smdb import SERIES_TABLES, TableFile, series_tables, study_tables

PUSH_FAILED = -10
_IMAGE_COUNTS = ("received", "requested", "packed", "pushed", "registered")
_LINE_COUNTS = (
    ("PACS", "requested"),
    ("JSON", "received"),
    ("DCM", "packed"),
    ("PUSH", "pushed"),
    ("REG", "registered"),
)
_LINE_WIDTH = 104


def status_document(status: SeriesStatus, database: Database, *, verify: bool = False) -> dict[str, Any]:
    """The px-status document of a series.

    Parameters
    ----------
    status : what :func:`pypx.workflows.status.series_status` found
    database : the same smdb, for the names of its table files
    verify : ``--verifySeriesInStudy``: an unknown study is answered as such, whatever is known of the series
    """
    study = _study_block(status, database, verify=verify)
    listed = study.get("seriesListInStudy", {}).get("seriesList", [])
    if verify and not status.study_recorded:
        return _answer(study, {}, _nothing(), ("StudyNotFound", "NoSeriesFound"), "Study not found")
    series = _series_block(status, database)
    if verify and not listed:
        series["state"] = "SeriesNotInStudy"
        error = "" if status.series_recorded else "Series not found"
        return _answer(study, series, _nothing(), (study["state"], "SeriesNotInStudy"), error)
    if not status.series_recorded:
        return _answer(study, series, _nothing(), (study["state"], "NoSeriesFound"), "Series not found")
    states = (study["state"], "SeriesMapMetaOK")
    return _answer(study, series, _images_block(status), states, "")


def _answer(
    study: dict[str, Any], series: dict[str, Any], images: dict[str, Any], states: tuple[str, str], error: str
) -> dict[str, Any]:
    return {
        "state": {"study": states[0], "series": states[1], "images": images.get("state", "NoImagesFound")},
        "study": study,
        "series": series,
        "images": images,
        "status": not error,
        "error": error,
    }


def _study_block(status: SeriesStatus, database: Database, *, verify: bool) -> dict[str, Any]:
    uid = status.series.StudyInstanceUID
    block: dict[str, Any] = {"status": status.study_recorded, "studyTable": study_table_block(database, uid)}
    if verify and not status.study_recorded:
        return block | {"state": "StudyNotFound"}
    known = status.study_recorded and status.series_recorded and status.listed_in_study
    block["state"] = "StudyContainsSeriesOK" if known else "StudyDoesNotContainSeries"
    listed = [str(series) for series in database.series_of_study(uid)] if uid else []
    block["seriesListInStudy"] = {"status": bool(listed), "seriesList": listed, "JSONparseError": []}
    return block


def _series_block(status: SeriesStatus, database: Database) -> dict[str, Any]:
    return {
        "status": status.series_recorded,
        "seriesTable": series_table_block(database, status.series.SeriesInstanceUID),
        "state": "SeriesMapMetaOK" if status.series_recorded else "SeriesNotFound",
    }


def _images_block(status: SeriesStatus) -> dict[str, Any]:
    pushed = PUSH_FAILED if status.push_failed and not status.pushed else status.pushed
    requested = -1 if status.expected is None else status.expected
    state, ok = _images_state(status)
    return {
        "received": {"status": status.received > 0, "count": status.received},
        "requested": {"status": requested >= 0, "count": requested},
        "packed": {"status": status.packed > 0, "count": status.packed},
        "pushed": {"status": pushed > 0, "count": pushed},
        "registered": {"status": status.registered > 0, "count": status.registered},
        "state": state,
        "status": ok,
    }


def _images_state(status: SeriesStatus) -> tuple[str, bool]:
    """The word of pypx for the images, and whether it is a good one.

    Pushed and registered are said of a series only when as many instances are there as were asked for and received:
    pypx said so as soon as one was.
    """
    due = 0 if status.state is SeriesState.MISSING else max(status.received, status.expected or 0)
    if due and status.registered >= due:
        return "ImagesRegisteredOK", True
    if due and status.pushed >= due:
        return "ImagesPushedOK", True
    if status.expected is None and status.state is not SeriesState.MISSING:
        return "ImagesReceiveCountOK", True
    if status.expected is not None and status.received >= status.expected and status.state is not SeriesState.MISSING:
        return "ImagesAllReceivedOK", True
    return ("ImagesInFlight", False) if status.received else ("NoImagesReceived", False)


def _nothing() -> dict[str, Any]:
    return {name: {"count": -1} for name in _IMAGE_COUNTS}


def study_table_block(database: Database, study: UID) -> dict[str, Any]:
    """Names and existence of the table files of a study."""
    meta, series = study_tables(database, study)
    return {
        "status": True,
        "studyDataDir": str(meta.path.parent),
        "studySeriesDir": str(series.path),
        "studyMetaFile": _file(meta),
        "studySeriesFile": {"name": "-not applicable-", "exists": False},
    }


def series_table_block(database: Database, series: UID, image: str = "") -> dict[str, Any]:
    """Names and existence of the table files of a series; `image` names an image file whose record is looked for."""
    tables = {table.table: table for table in series_tables(database, series, image)}
    meta, retrieve, push, pack, register = (f"series-{name}" for name in SERIES_TABLES)
    return {
        "status": True,
        "seriesBaseDir": _file(tables["images"]),
        meta: _file(tables["meta"]),
        retrieve: _file(tables["retrieve"]),
        "series-image": _file(tables["image"]) if image else {"name": "", "exists": False},
        push: _file(tables["push"]),
        pack: _file(tables["pack"]),
        register: _file(tables["register"]),
    }


def _file(table: TableFile) -> dict[str, Any]:
    return {"name": str(table.path), "exists": table.exists}


def status_line(document: Mapping[str, Any], SeriesDescription: str) -> str:
    """The line that pypx showed of a series: its counts, or its states where it is not known, then its description.

    Parameters
    ----------
    document : as :func:`status_document` makes it, or pypx of any release
    SeriesDescription : what to show behind
    """
    if document.get("status"):
        counts = "/".join(f"{name}:{_count(document, key)}" for name, key in _LINE_COUNTS)
        text = f" [ {counts} ] │  {SeriesDescription}"
    else:
        state = document.get("state")
        states: Mapping[str, Any] = state if isinstance(state, dict) else {}
        words = " : ".join(f"{states.get(name, '')!s:>15}" for name in ("study", "series", "images"))
        text = f"{words} │ {SeriesDescription}"
    return text.ljust(_LINE_WIDTH)


def _count(document: Mapping[str, Any], key: str) -> str:
    images = document.get("images")
    entry = images.get(key) if isinstance(images, dict) else None
    count = entry.get("count") if isinstance(entry, dict) else None
    if not isinstance(count, int) or isinstance(count, bool) or count == -1:
        return "---"
    return f"{count:03d}" if count >= 0 else "ERR"


def status_lines(document: Mapping[str, Any]) -> dict[UID, str]:
    """SeriesInstanceUID to status line, from a find document whose chain had a status; empty if none ran.

    The first key of ``then`` that contains ``status`` counts; entries belong to the studies and series of ``data`` by
    position, as pypx numbered them.
    """
    then = document.get("then")
    verbs = then if isinstance(then, dict) else {}
    found = next((value for key, value in verbs.items() if "status" in key), None)
    studies = found.get("study") if isinstance(found, dict) else None
    if not isinstance(studies, list):
        return {}
    lines: dict[UID, str] = {}
    shown = [study for study in from_document(document, need_uids=False).studies if study.series]
    for study, entry in zip(shown, studies, strict=False):
        results: object = next(iter(entry.values()), None) if isinstance(entry, dict) else None
        for series, result in zip(study.series, results if isinstance(results, list) else [], strict=False):
            if isinstance(result, dict):
                lines[series.ref.SeriesInstanceUID] = status_line(result, series.ref.SeriesDescription)
    return lines
