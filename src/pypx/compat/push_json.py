"""Pushes as pypx 3 printed them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pypx.model.outcomes import PushOutcome

NO_FILES = {"status": False, "localFileList": [], "objectFileList": [], "msg": "No valid file list generated"}


def to_document(outcomes: Iterable[PushOutcome]) -> dict[str, Any]:
    """The document of px-push and of ``--then push``.

    The two lists hold what is in the store, ``objectFileList`` always by object names (pypx gave absolute paths in a
    file store, which nobody could register).  Each file has a block of its own; of one that failed it has ``error``.
    A push that failed before any file was tried has ``msg``.
    """
    series = list(outcomes)
    done = [file for outcome in series for file in outcome.done]
    failures = [failure for outcome in series for failure in outcome.failures]
    errors = [outcome.error for outcome in series if outcome.error is not None]
    if not done and not failures:
        return {**NO_FILES, "msg": errors[0]} if errors else dict(NO_FILES)
    document: dict[str, Any] = {
        "status": not errors,
        "localFileList": [str(file.file) for file in done],
        "objectFileList": [file.name for file in done],
    }
    for file in done:
        document[str(file.file)] = {
            "status": True,
            "localFileList": [str(file.file)],
            "objectFileList": [file.name],
            "localpath": str(file.file.parent),
        }
    for failure in failures:
        document[str(failure.file)] = {
            "status": False,
            "localFileList": [],
            "objectFileList": [],
            "localpath": str(failure.file.parent),
            "error": failure.reason,
        }
    if errors:
        document["msg"] = errors[0]
    return document
