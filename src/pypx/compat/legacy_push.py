"""px-push: the files of a directory, to Swift or into a directory."""

from __future__ import annotations

import os
from pathlib import Path

from pypx.compat.legacy_call import Answer, Call
from pypx.compat.push_json import NO_FILES, to_document
from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.db.smdb import Database
from pypx.errors import InputError, PxError
from pypx.model.outcomes import PushOutcome
from pypx.model.packpath import PYPX_PUSH_TEMPLATES
from pypx.workflows.push import PushOptions, PushSummary, push_files
from pypx.workflows.targets import Resolved, carrier_to, folder_store, named_store, swift_store


def run(call: Call) -> Answer:
    """Push the files below ``--xcrdir``, and make the document of px-push."""
    outcomes: list[PushOutcome] = []
    try:
        source = _source(call)
        layout = call.layout()
        database = Database.open(layout)
        resolved = store_of(call, layout)
        options = PushOptions(
            pacs_name=call.text("str_swiftServicesPACS"), templates=call.templates(PYPX_PUSH_TEMPLATES), partial=True
        )
        if not options.pacs_name:
            raise InputError("--swiftServicesPACS NAME: the name of the PACS in the store is needed")
        summary = PushSummary()
        carrier = carrier_to(resolved.target)
        substring = call.text("str_filesubstr")
        for outcome in push_files([source], carrier, database, options, substring=substring):
            outcomes.append(outcome)
            summary.take(outcome)
        summary.check()
    except PxError as error:
        document = to_document(outcomes) if outcomes else {**NO_FILES, "msg": str(error)}
        return Answer(document | {"status": False}, error)
    return Answer(to_document(outcomes))


def _source(call: Call) -> Path:
    """The directory or file to push; there is no default, for pypx's was ``/tmp`` with all that is in it.

    Raises
    ------
    InputError : nothing is named
    """
    both, directory, name = call.text("str_xcrdirfile"), call.chosen("str_xcrdir"), call.text("str_xcrfile")
    if not both and not directory:
        raise InputError("nothing to push: give --xcrdir DIR")
    return Path(both) if both else Path(directory) / name


def store_of(call: Call, layout: Layout | None) -> Resolved:
    """The store that the options name, in pypx's order: a directory, a named one, an address.

    Raises
    ------
    InputError : none is named, or it lacks something
    """
    folder, key = call.text("str_storeBaseLocation"), call.text("swift")
    if folder:
        return folder_store(os.path.abspath(folder))  # noqa: PTH100 - as it is named, links included
    if key and layout is not None:
        resolved = named_store(ServiceKeys(layout), key, call.environ)
    else:
        fields = {"ip": "str_swiftIP", "port": "str_swiftPort", "login": "str_swiftLogin"}
        resolved = swift_store({name: call.text(option) for name, option in fields.items()}, call.environ)
    for notice in resolved.notices:
        call.say(notice)
    return resolved
