"""What became of repacked files, as pypx 3 printed it, without the dumps of whole headers that it added."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pypx.model.fileoutcomes import FileOutcome, FileState

_KEPT = frozenset({FileState.FILED, FileState.DUPLICATE})


def to_document(outcomes: Iterable[FileOutcome], *, cleaned: bool = False) -> dict[str, Any]:
    """The run document of px-repack.

    Parameters
    ----------
    outcomes : one a file; the top ``status`` is true only if every file was filed (pypx: if the last one was)
    cleaned : whether sources of filed files were removed (``--cleanup``)
    """
    run = [_file(outcome, cleaned=cleaned) for outcome in outcomes]
    return {"status": bool(run) and all(entry["status"] for entry in run), "run": run}


def _file(outcome: FileOutcome, *, cleaned: bool) -> dict[str, Any]:
    ok = outcome.state in _KEPT
    read = {
        "method": "DICOMfile_read",
        "status": outcome.instance is not None,
        "inputPath": str(outcome.source.parent),
        "inputFileName": outcome.source.name,
    }
    save = {
        "method": "DICOMfile_save",
        "outputDir": str(outcome.file.parent) if outcome.file else "",
        "outputFile": outcome.file.name if outcome.file else "",
        "shutilpath": str(outcome.file) if outcome.file else "",
        "status": ok,
        "errorDir": "",
        "errorCopy": "" if ok else outcome.reason or outcome.state.value,
        "d_DICOMfile_read": read,
    }
    entry: dict[str, Any] = {"status": ok, "d_mapsUpdate": {"status": True} if ok else {}, "d_DICOMfile_save": save}
    if cleaned and ok:
        stays = outcome.stays or ""
        entry["cleanup"] = {"status": not stays, "error": bool(stays), "message": stays}
    return entry
