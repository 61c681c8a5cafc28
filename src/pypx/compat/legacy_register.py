"""px-register: tell CUBE of the files of a directory, or of what px-push has pushed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pypx.compat.find_read import parse_document
from pypx.compat.legacy_call import Answer, Call
from pypx.compat.register_json import to_document
from pypx.db.service_keys import ServiceKeys
from pypx.db.smdb import Database
from pypx.errors import InputError, PxError
from pypx.model.outcomes import RegisterOutcome
from pypx.model.packpath import PYPX_PUSH_TEMPLATES
from pypx.services.cube import CubeClient
from pypx.workflows.cubetarget import CubeWords, resolve_cube
from pypx.workflows.register import RegisterOptions, check, register_files


def run(call: Call) -> Answer:
    """Register the files, and make the document of px-register."""
    outcomes: list[RegisterOutcome] = []
    try:
        files, names = _files(call)
        layout = call.layout()
        said = CubeWords(
            url=call.chosen("str_CUBEURL"),
            username=call.chosen("str_CUBEusername"),
            password=call.chosen("str_CUBEuserpasswd"),
        )
        target = resolve_cube(said, key=call.chosen("CUBE"), keys=ServiceKeys(layout), environ=call.environ)
        options = RegisterOptions(
            pacs_name=call.text("str_swiftServicesPACS"), partial=True, templates=call.templates(PYPX_PUSH_TEMPLATES)
        )
        with CubeClient(target) as cube:
            outcomes += register_files(files, Database.open(layout), cube, options, names=names)
        check(outcomes)
    except PxError as error:
        return Answer(to_document(outcomes) | {"status": False, "error": str(error)}, error)
    return Answer(to_document(outcomes))


def _files(call: Call) -> tuple[list[Path], dict[Path, str]]:
    """The files, and the objects of those that a push has named; pypx's order: by name, one file, those of a push.

    Raises
    ------
    InputError : there are none
    """
    substrings, directory = call.words("str_filesubstr"), call.text("str_xcrdir")
    pushed = _pushed(call)
    if substrings and directory:
        folder = Path(directory).absolute()
        try:
            found = sorted(folder.iterdir())
            files = [path for path in found if any(s in path.name for s in substrings) and path.is_file()]
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{directory}: no such directory") from None
        except OSError as error:
            raise InputError(f"{directory}: cannot be read: {error.strerror}; give access, then repeat") from None
    elif call.text("str_xcrdirfile"):
        files = [Path(call.text("str_xcrdirfile")).absolute()]
    elif call.text("str_xcrfile"):
        files = [Path(directory or ".").absolute() / call.text("str_xcrfile")]
    else:
        files = list(pushed)
    if not files:
        raise InputError(
            "no files to register: give --upstreamFile FILE with the JSON of px-push, or --xcrdir DIR with"
            " --parseAllFilesWithSubStr dcm"
        )
    return files, {file: pushed[file] for file in files if file in pushed}


def _pushed(call: Call) -> dict[Path, str]:
    """File to object, as px-push printed them or as they are given."""
    upstream = call.text("upstreamFile")
    source: Mapping[str, Any] = call.options
    if upstream:
        try:
            source = parse_document(Path(upstream).read_text(encoding="utf-8"), upstream)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
            raise InputError(f"{upstream}: cannot be read: {why}") from None
    files, names = source.get("localFileList") or [], source.get("objectFileList") or []
    if not isinstance(files, list) or not isinstance(names, list) or len(files) != len(names):
        raise InputError("localFileList and objectFileList are to be lists of the same length")
    return {Path(str(file)).absolute(): str(name) for file, name in zip(files, names, strict=True)}
