"""The options that name object stores and what is to be pushed to them or registered: px push, register, storage."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pypx.cli import inputs, tls_options
from pypx.cli.console import Console
from pypx.cli.options import Command, F, given, named_layout, record
from pypx.cli.tool_options import store_timeout
from pypx.errors import InputError
from pypx.model.dataclass import dataclass

if TYPE_CHECKING:
    from pypx.cli.targets import Targets
    from pypx.db.layout import Layout
    from pypx.db.service_keys import ServiceKeys
    from pypx.db.smdb import Database
    from pypx.model.found import FindResult
    from pypx.model.records import SeriesRef
    from pypx.services.storage import ObjectStore
    from pypx.workflows.pushtarget import Destination, TargetWords
    from pypx.workflows.targets import StoreTarget

_FIELDS = {
    "key": "swift", "ip": "swift_ip", "port": "swift_port", "login": "swift_login", "container": "container",
    "cacert": "store_cacert",
    "timeout": "store_timeout", "folder": "store_base", "pacs": "to_pacs", "host": "to_host", "host_port": "to_port",
    "called_aet": "to_aec", "calling_aet": "aet",
}  # fmt: skip

_STORE: tuple[Callable[[Command], Command], ...] = (
    click.option(
        "--swift", "--storage", "swift", metavar="KEY",
        help="A store named in the BASEMOUNT: Swift, directory or S3 (PX_STORAGE).",
    ),
    click.option("--swiftIP", "--swift-ip", "swift_ip", metavar="HOST", help="Host of a Swift (PX_SWIFT_IP)."),
    click.option("--swiftPort", "--swift-port", "swift_port", metavar="PORT", help="Its port (PX_SWIFT_PORT)."),
    click.option(
        "--swiftLogin", "--swift-login", "swift_login", metavar="LOGIN",
        help="Its login, account:user (PX_SWIFT_LOGIN); the key is taken from PX_SWIFT_KEY.",
    ),
    click.option("--container", metavar="NAME", help="Container of Swift, or bucket of S3 (users)."),
    click.option(
        "--store-cacert", "store_cacert", metavar="FILE",
        help="Certificate that the store's is signed by; with --swiftIP, TLS is spoken (PX_STORE_CACERT).",
    ),
    store_timeout,
    click.option(
        "--storeBaseLocation", "--store-base-location", "store_base", metavar="DIR", help="A directory as store.",
    ),
)  # fmt: skip

_PACS: tuple[Callable[[Command], Command], ...] = (
    click.option("--PACS", "--pacs", "to_pacs", metavar="KEY", help="Send to a PACS named in the BASEMOUNT (C-STORE)."),
    click.option("--serverIP", "--server-ip", "to_host", metavar="HOST", help="Send to the PACS at this host."),
    click.option("--serverPort", "--server-port", "to_port", metavar="PORT", help="Its port."),
    click.option("--aec", "to_aec", metavar="TITLE", help="Its AE title."),
    click.option("--aet", metavar="TITLE", envvar="PX_AET", help="Our AE title towards it (PX_AET)."),
    *tls_options.TARGET,
)  # fmt: skip


def _words(_values: Mapping[str, Any]) -> TargetWords:
    from pypx.workflows.pushtarget import TargetWords

    said = {field: str(given(name)) for field, name in _FIELDS.items() if given(name) is not None}
    if "folder" in said:
        said["folder"] = str(Path(said["folder"]).absolute())
    return TargetWords(**said, tls=tuple(tls_options.values().items()))


def store(function: F) -> F:
    """Give the command ``said``: what was said of a store."""
    return record("said", _words, *_STORE)(function)


def destination(function: F) -> F:
    """Give the command ``said``: what was said of a store, or of a PACS to send to."""
    return record("said", _words, *_STORE, *_PACS)(function)


def service_keys(layout: Layout | None = None) -> ServiceKeys | None:
    """The named services of the BASEMOUNT, ``None`` if none is named."""
    from pypx.db.service_keys import ServiceKeys

    found = layout or named_layout()
    return ServiceKeys(found) if found else None


def resolved_destination(said: TargetWords, layout: Layout | None, out: Console) -> Destination:
    """Where to push to; people are told what was assumed.

    Raises
    ------
    InputError : no target, or several, or one that cannot be used
    """
    from pypx.cli.peer_options import DEFAULT_AET
    from pypx.workflows.pushtarget import resolve_destination

    found = resolve_destination(said, service_keys(layout), os.environ, calling_aet=DEFAULT_AET)
    for notice in found.notices:
        out.note(notice)
    return found


def opened_store(said: TargetWords, layout: Layout | None, out: Console, *, jobs: int = 8) -> ObjectStore:
    """The store that is named, opened.

    Raises
    ------
    InputError : none is named, or one that cannot be used
    """
    from pypx.workflows.pushtarget import required_store
    from pypx.workflows.targets import open_store

    found = required_store(said, service_keys(layout), os.environ)
    for notice in found.notices:
        out.note(notice)
    return open_store(found.target, jobs=jobs, timeout_s=said.timeout_s)


def store_below(said: TargetWords, layout: Layout | None, out: Console) -> StoreTarget | None:
    """The store that is named, if one is."""
    from pypx.workflows.pushtarget import resolve_store

    found = resolve_store(said, service_keys(layout), os.environ)
    for notice in found.notices if found else ():
        out.note(notice)
    return found.target if found else None


# --- what is to be pushed or registered


@dataclass(frozen=True, slots=True)
class Files:
    """The files that were named: those of directories, or single ones."""

    sources: tuple[Path, ...]
    substring: str


def files(function: F) -> F:
    """Give the command ``files``: the directory or files to take, and none else (``--xcrdir``)."""
    return record(
        "files",
        _files,
        click.option("-p", "--xcrdir", "xcrdir", metavar="DIR", help="Take the files of this directory, all below it."),
        click.option("-f", "--xcrfile", "xcrfile", metavar="FILE", help="Of it, this file."),
        click.option("--xcrdirfile", "xcrdirfile", metavar="PATH", help="Both in one."),
        click.option(
            "--parseAllFilesWithSubStr", "--parse-all-files-with-substr", "substring", metavar="TEXT",
            help="Of a directory, only the files with this text in their full path.",
        ),
    )(function)  # fmt: skip


def _files(values: Mapping[str, Any]) -> Files:
    directory, name, both = values["xcrdir"], values["xcrfile"], values["xcrdirfile"]
    sources = (
        [Path(both)] if both else [Path(directory or ".") / name] if name else [Path(directory)] if directory else []
    )
    substring = values["substring"] or ""
    if substring and not sources:
        raise InputError("--parseAllFilesWithSubStr is about a directory: give --xcrdir DIR")
    return Files(tuple(sources), substring)


def series_of(
    targets: Targets, document: Mapping[str, Any] | None, database: Database, verb: str
) -> tuple[SeriesRef, ...]:
    """The series that UIDs or a find document name.

    Raises
    ------
    InputError : a study is not recorded, or there is none
    """
    from pypx.workflows import status

    if targets.series:
        study = targets.studies[0] if len(targets.studies) == 1 else None
        return tuple(status.ref_of_series(database, series, study) for series in targets.series)
    if targets.studies:
        return tuple(ref for study in targets.studies for ref in _recorded(study, database, verb))
    from pypx.compat.find_read import from_document

    result: FindResult = from_document(document or {})
    if not result.series:
        raise InputError(f"nothing to {verb}: the find document holds no series")
    return status.refs_of_result(result)


def _recorded(study: Any, database: Database, verb: str) -> tuple[SeriesRef, ...]:
    from pypx.workflows.status import refs_of_study

    refs = refs_of_study(database, study)
    if not refs:
        raise InputError(f"nothing to {verb}: {database.layout.base} has no study {study}; retrieve or repack it")
    return tuple(refs)


def one_source(verb: str, named: Mapping[str, object], document: inputs.DocumentSource) -> None:
    """Check that exactly one of the ways to say what to take was used; a pipe counts if nothing else is named.

    Raises
    ------
    InputError : none, or several
    """
    ways = [way for way, value in named.items() if value]
    if document.named:
        ways.append("--reportDataFile")
    if len(ways) > 1:
        raise InputError(f"what to {verb} is named twice: {' and '.join(ways)}; give one of them")
    if not ways and not document.present:
        raise InputError(
            f"nothing to {verb}: give --xcrdir DIR, --StudyInstanceUID or --SeriesInstanceUID, or pipe the JSON of"
            " px find in"
        )


def needed_layout(layout: Layout | None) -> Layout:
    """The BASEMOUNT that is named.

    Raises
    ------
    InputError : none is named
    """
    if layout is None:
        raise InputError("no BASEMOUNT: give --basemount DIR (or set PX_BASEMOUNT), or --db DIR/log (PX_DB)")
    return layout


def pacs_name(function: F) -> F:
    """Give the command ``pacs_name``: the name of the PACS in the store and in CUBE."""
    return click.option(
        "--swiftServicesPACS", "--swift-services-pacs", "pacs_name", metavar="NAME", default="",
        envvar="PX_SWIFT_SERVICES_PACS", help="Name of the PACS in the store and in CUBE (PX_SWIFT_SERVICES_PACS).",
    )(function)  # fmt: skip
