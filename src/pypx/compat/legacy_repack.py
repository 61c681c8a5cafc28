"""px-repack: one received file, or those of a directory.  It runs once an image in ``storescp -xcr``: nothing slow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pypx.compat.legacy_call import Answer, Call
from pypx.compat.repack_json import to_document
from pypx.db.smdb import Database
from pypx.errors import InputError, PxError
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.workflows.placing import Placement
from pypx.workflows.repack import RepackOptions, RepackSummary, repack

_KEPT = (FileState.REJECTED, FileState.CONFLICT)


def run(call: Call) -> Answer:
    """File what the options name, and make the document of px-repack.

    A source is removed by ``--cleanup`` only when its image is filed and recorded.
    """
    cleanup = call.flag("b_cleanup")
    outcomes: list[FileOutcome] = []
    try:
        source, substrings = _source(call), call.words("str_filesubstr")
        database = Database.open(call.layout())
        options = RepackOptions(
            placement=Placement.MOVE if cleanup else Placement.COPY,
            templates=call.templates(database.templates),
            recursive=False,
            substrings=substrings,
        )
        summary = RepackSummary()
        with closing(repack([source], database, options)) as filed:
            for outcome in _told(filed, call):
                outcomes.append(outcome)
                summary.take(outcome)
        summary.check()
    except PxError as error:
        document = to_document(outcomes, cleaned=cleanup) | {"status": False, "error": str(error)}
        return Answer(document, error)
    return Answer(to_document(outcomes, cleaned=cleanup))


def _source(call: Call) -> Path:
    """The file, or the directory whose files are chosen by a part of their name.

    Raises
    ------
    InputError : nothing is named
    """
    directory = call.chosen("str_xcrdir")
    if call.text("str_filesubstr"):
        if not directory:
            raise InputError("--parseAllFilesWithSubStr: name the directory with --xcrdir DIR")
        return Path(directory)
    both, name = call.text("str_xcrdirfile"), call.text("str_xcrfile")
    if not both and not name:
        raise InputError("nothing to file: give --xcrdir DIR with --xcrfile FILE or with --parseAllFilesWithSubStr dcm")
    return Path(both) if both else Path(directory or ".") / name


def _told(outcomes: Iterator[FileOutcome], call: Call) -> Iterator[FileOutcome]:
    for outcome in outcomes:
        if outcome.state in _KEPT:
            call.say(f"{outcome.source}: {outcome.state.value}: {outcome.reason or 'left where it is'}")
        yield outcome
