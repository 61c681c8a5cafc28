"""The document of px-push on its way in: which file became which object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pypx.errors import InputError


def is_push_document(document: Mapping[str, Any]) -> bool:
    """Whether it is what ``px push --json`` prints."""
    return "localFileList" in document and "data" not in document


def pushed_files(document: Mapping[str, Any], source: str) -> dict[Path, str]:
    """File to object, of what was pushed.

    Parameters
    ----------
    document : as ``px push --json`` prints it
    source : where it came from, for the message

    Raises
    ------
    InputError : it is none, or holds no files
    """
    files, names = document.get("localFileList"), document.get("objectFileList")
    if not isinstance(files, list) or not isinstance(names, list) or len(files) != len(names):
        raise InputError(f"{source}: localFileList and objectFileList of `px push --json` are expected, of one length")
    if not files:
        said, text = document.get("msg"), f"{source}: nothing was pushed"
        if not said:
            raise InputError(f"{text}: the lists of its files are empty")
        raise InputError(f"{text}; that push told why", detail=f"{text}: {str(said)[:200]}")
    return {Path(str(file)).absolute(): str(name) for file, name in zip(files, names, strict=True)}
