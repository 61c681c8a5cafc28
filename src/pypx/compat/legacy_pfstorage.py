"""pfstorage: objects of a store, by hand."""

from __future__ import annotations

from pathlib import Path

from pypx.compat.legacy_call import Answer, Call
from pypx.compat.legacy_push import store_of
from pypx.compat.push_json import NO_FILES, to_document
from pypx.compat.storage_json import Action, parse_action, run_action
from pypx.errors import InputError, PxError, StorageError
from pypx.model.packpath import PYPX_PUSH_TEMPLATES
from pypx.workflows.push import PushOptions, push_files
from pypx.workflows.pushlog import PACS_ROOT
from pypx.workflows.targets import Resolved, carrier_to, open_store

_TYPES = ("swift", "fs")


def run(call: Call) -> Answer:
    """Do what ``--do`` says, and make the document of pfstorage."""
    try:
        if call.text("str_type", "swift") not in _TYPES:
            raise InputError(f"--type {call.text('str_type')[:20]!r}: there are {', '.join(_TYPES)}")
        action = parse_action(call.text("do"))
        resolved = store_of(call, None)
        document = _push(call, action, resolved) if action.is_push else run_action(action, open_store(resolved.target))
    except PxError as error:
        return Answer({"status": False, "msg": str(error)}, error)
    if document.get("status") or "ls" in document:
        return Answer(document)
    said = next((str(document[key]) for key in ("error", "lsError", "msg") if document.get(key)), "nothing was done")
    return Answer(document, StorageError(said))


def _push(call: Call, action: Action, resolved: Resolved) -> dict[str, object]:
    """``objPut`` with ``packEachDICOM``: names by the templates, below what stands before ``%pack``."""
    local, where = str(action.args.get("localpath") or ""), str(action.args.get("toLocation") or "")
    root, name, rest = where.partition(f"{PACS_ROOT}/")
    pacs_name = rest.removesuffix("/%pack")
    if not local or root or not name or "/" in pacs_name or not pacs_name:
        raise InputError(f'--do: packEachDICOM needs localpath, and "toLocation": "{PACS_ROOT}/NAME/%pack"')
    options = PushOptions(pacs_name=pacs_name, templates=call.templates(PYPX_PUSH_TEMPLATES), partial=True)
    substring = str(action.args.get("DICOMsubstr") or "")
    outcomes = list(push_files([Path(local)], carrier_to(resolved.target), None, options, substring=substring))
    return to_document(outcomes) if outcomes else dict(NO_FILES)
