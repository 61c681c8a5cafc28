"""pfstorage: actions as ``--do '{"action": …, "args": {…}}'``, and their documents."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pypx.errors import InputError, PxError, StorageError
from pypx.model.dataclass import dataclass
from pypx.model.jsontext import JsonTextError, parse_json
from pypx.services.storage import ObjectStore
from pypx.workflows.objects import (
    Moved,
    folder_name,
    get_objects,
    list_objects,
    object_exists,
    put_objects,
    put_pairs,
    remove_objects,
)

_LISTED = ("name", "bytes", "hash", "last_modified")
PUSH_ACTION = "packEachDICOM"
"""With this in the arguments, `objPut` is a push: its names are made of templates."""


@dataclass(frozen=True, slots=True)
class Action:
    """What is to be done, with its arguments."""

    name: str
    args: Mapping[str, Any]

    @property
    def is_push(self) -> bool:
        """Whether it packs DICOM files: then :func:`pypx.workflows.push.push_files` does it."""
        return self.name == "objPut" and bool(self.args.get(PUSH_ACTION))


def parse_action(text: str) -> Action:
    """Read the text of ``--do``.

    Raises
    ------
    InputError : no JSON, no action, an unknown action, or arguments that are no object
    """
    try:
        value = parse_json(text)
    except JsonTextError as error:
        raise InputError(f"--do: not JSON ({error})") from None
    action = value.get("action") if isinstance(value, dict) else None
    if not isinstance(action, str):
        raise InputError('--do: a JSON object {"action": …, "args": {…}} is expected')
    name = _ALIASES.get(action, action)
    if name not in _ACTIONS:
        raise InputError(f"--do: there is no action {action[:40]!r}; there are {', '.join(_ACTIONS)}")
    args = value.get("args", {})
    if not isinstance(args, dict):
        raise InputError("--do: args must be a JSON object")
    return Action(name, args)


def run_action(action: Action, store: ObjectStore) -> dict[str, Any]:
    """Do it; the document that pfstorage printed.

    A failure of the store is in the document (``status`` false and its real cause).

    Raises
    ------
    InputError : an argument cannot be used
    """
    return _ACTIONS[action.name](store, action.args)


def _text(args: Mapping[str, Any], name: str, default: str = "") -> str:
    value = args.get(name, default)
    if not isinstance(value, str):
        raise InputError(f"--do: {name} must be a text")
    return value


def _ls(store: ObjectStore, args: Mapping[str, Any]) -> dict[str, Any]:
    keys = args.get("retSpec", list(_LISTED))
    if not isinstance(keys, list) or not all(key in _LISTED for key in keys):
        raise InputError(f"--do: retSpec is a list of {', '.join(_LISTED)}")
    path, substring = _text(args, "path", "/"), _text(args, "substr")
    folder_name(path)
    try:
        found = [{key: getattr(item, key) for key in keys} for item in list_objects(store, path, substring)]
    except StorageError as error:
        return {"status": False, "lsError": str(error)}
    return {"status": bool(found), "ls": found}


def _put(store: ObjectStore, args: Mapping[str, Any]) -> dict[str, Any]:
    local = _text(args, "localpath")
    if not local:
        raise InputError("--do: objPut needs localpath, a file or a directory")
    to, over = _text(args, "toLocation"), _text(args, "mapLocationOver")
    if not over:  # pypx: the whole local path comes behind toLocation
        to, over = f"{to.rstrip('/')}/", "/"
    pairs = put_pairs(Path(local), to, replaced=over, substring=_text(args, "DICOMsubstr"))
    return _moved(lambda: list(put_objects(store, pairs)), local)


def _pull(store: ObjectStore, args: Mapping[str, Any]) -> dict[str, Any]:
    source = _text(args, "fromLocation")
    to = _text(args, "toLocation")
    target = Path(to) if to else Path("/") / folder_name(source)
    document = _moved(lambda: list(get_objects(store, source, target, substring=_text(args, "substr"))), str(target))
    return {**document, "currentWorkingDir": os.getcwd()}  # noqa: PTH109 - text as pypx gave it


def _moved(action: Callable[[], list[Moved]], local: str) -> dict[str, Any]:
    try:
        results = action()
    except PxError as error:
        return {"status": False, "localFileList": [], "objectFileList": [], "localpath": local, "error": str(error)}
    return moved_document(results, local)


def moved_document(results: Iterable[Moved], local: str) -> dict[str, Any]:
    """Files and objects as pfstorage named them."""
    kept = list(results)
    done = [result for result in kept if result.error is None]
    errors = [result.error for result in kept if result.error is not None]
    document: dict[str, Any] = {
        "status": not errors,
        "localFileList": [str(result.file) for result in done],
        "objectFileList": [result.name for result in done],
        "localpath": local,
    }
    return {**document, "error": errors[0]} if errors else document


def _rmtree(store: ObjectStore, args: Mapping[str, Any]) -> dict[str, Any]:
    path = _text(args, "path")
    if not folder_name(path):
        raise InputError("--do: rmtree needs path, a folder or an object; everything is not removed")
    try:
        results = list(remove_objects(store, path, substring=_text(args, "substr")))
    except StorageError as error:
        return {"status": False, "dellist": [], "error": str(error)}
    errors = [result.error for result in results if result.error is not None]
    document: dict[str, Any] = {
        "status": bool(results) and not errors,
        "dellist": [result.name for result in results if result.error is None],
    }
    return {**document, "error": errors[0]} if errors else document


def _exists(store: ObjectStore, args: Mapping[str, Any]) -> dict[str, Any]:
    path = _text(args, "path") or _text(args, "obj")
    try:
        found = object_exists(store, path)
    except StorageError as error:
        return {"status": False, "objExists": False, "error": str(error)}
    return {"status": True, "objExists": found}


_ALIASES = {"objPush": "objPut"}
"""What the help of pfstorage calls it."""

_ACTIONS: dict[str, Callable[[ObjectStore, Mapping[str, Any]], dict[str, Any]]] = {
    "ls": _ls,
    "objPut": _put,
    "objPull": _pull,
    "rmtree": _rmtree,
    "objExists": _exists,
}
