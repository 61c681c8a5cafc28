"""Register: tell CUBE of images that lie in its storage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pypx.db.smdb import Database
from pypx.errors import CubeError, PartialError
from pypx.model.identifiers import UID
from pypx.model.outcomes import FailedFile, RegisteredFile, RegisterOutcome
from pypx.model.records import SeriesRef
from pypx.services.cube import CubeClient
from pypx.services.cubefields import checked_pacs_name
from pypx.services.storage import ObjectStore
from pypx.workflows.registering import RegisterOptions, Registration
from pypx.workflows.registerplan import Source, absolute, group_files


def register(
    series: Iterable[SeriesRef],
    database: Database,
    cube: CubeClient,
    options: RegisterOptions | None = None,
    *,
    store: ObjectStore | None = None,
) -> Iterator[RegisterOutcome]:
    """Register what is pushed of each series.

    Parameters
    ----------
    series : which ones, order kept
    database : where pushes are on record, and registrations are recorded
    cube : where to register
    options : names, bounds, and whether parts of a series will do
    store : CUBE's storage, to look before CUBE does; without it, the record of the push is trusted

    Yields
    ------
    One outcome per series as it ends.  What is registered already is success; running again does what is left

    Raises
    ------
    InputError : the name of the PACS is none that CUBE takes; before any request
    CubeError : CUBE cannot be reached, refuses the login, or takes no registrations.  What it confirmed until then is
        recorded
    """
    options = options or RegisterOptions()
    yield from _run((Source(ref) for ref in series), database, cube, options, store)


def register_files(
    files: Sequence[Path],
    database: Database,
    cube: CubeClient,
    options: RegisterOptions | None = None,
    *,
    store: ObjectStore | None = None,
    names: Mapping[Path, str] | None = None,
    unread: Sequence[FailedFile] = (),
) -> Iterator[RegisterOutcome]:
    """Register exactly these files, series by series.

    Parameters
    ----------
    files : DICOM files, wherever they are
    names : the objects of some of them, as an earlier push gave them; others are found by the record of the push or by
        the templates
    unread : what could not be read where the files are

    Other parameters, outcomes and errors are those of :func:`register`.  Where CUBE takes whole series, the files must
    be all that the smdb knows of their series.  What is no DICOM or `unread` comes first, as an outcome without UIDs.
    """
    options = options or RegisterOptions()
    if options.pacs_name:
        checked_pacs_name(options.pacs_name)
    groups, bad = group_files(files)
    bad += [(one.file, one.reason) for one in unread]
    if bad:
        broken = tuple(RegisteredFile("", file, {}, error=reason) for file, reason in bad)
        nowhere = SeriesRef(UID(""), UID(""))
        what = "are no whole DICOM files" if not unread else "or directories cannot be read"
        error = f"{len(bad)} files {what}, such as {bad[0][0].name}: {bad[0][1]}"
        yield RegisterOutcome(nowhere, "", expected=len(bad), files=broken, error=error)
    known = {absolute(file): _object_name(name) for file, name in (names or {}).items()}
    yield from _run((Source(ref, members, known) for ref, members in groups), database, cube, options, store)


def _object_name(name: str) -> str:
    """The object that a push named; where it went into a folder, older records have the path of the file there."""
    root = name.rfind("/SERVICES/PACS/")
    return name[root + 1 :] if root >= 0 else name


def check(outcomes: Sequence[RegisterOutcome]) -> None:
    """Raise if not all is registered.

    Raises
    ------
    CubeError : nothing is
    PartialError : some is
    """
    failed = [outcome for outcome in outcomes if not outcome.ok]
    if not failed:
        return
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    text = f"register of series {failed[0].series.SeriesInstanceUID or '(none)'}: {failed[0].error}{more}"
    if any(outcome.registered for outcome in outcomes):
        raise PartialError(text)
    raise CubeError(text)


def _run(
    sources: Iterable[Source],
    database: Database,
    cube: CubeClient,
    options: RegisterOptions,
    store: ObjectStore | None,
) -> Iterator[RegisterOutcome]:
    if options.pacs_name:
        checked_pacs_name(options.pacs_name)
    work: Registration | None = None
    for source in sources:
        if work is None:
            work = Registration(database, cube, options, store, cube.dialect())
        yield work.of_series(source)


__all__ = ["RegisterOptions", "check", "register", "register_files"]
