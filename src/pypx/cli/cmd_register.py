"""``px register``: tell CUBE of images that lie in its storage."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pypx.cli import inputs, options, store_options, tool_options
from pypx.cli.console import Advance, Console
from pypx.cli.targets import Targets, targets
from pypx.errors import InputError, PxError
from pypx.model.dataclass import dataclass

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.db.smdb import Database
    from pypx.model.outcomes import RegisterOutcome
    from pypx.model.peers import CubeTarget
    from pypx.services.cube import CubeClient
    from pypx.services.storage import ObjectStore
    from pypx.workflows.cubetarget import CubeWords
    from pypx.workflows.pushtarget import TargetWords
    from pypx.workflows.register import RegisterOptions

_EPILOG = options.epilog(
    """
    px register --SeriesInstanceUID 1.2.3.4 --CUBE local --swiftServicesPACS HOSPITAL --swift chris
    PX_CUBE_TOKEN=... px register --StudyInstanceUID 1.2.3 --CUBEURL https://cube.example.org/api/v1/
    px push --xcrdir /data/export --swift chris --swiftServicesPACS HOSPITAL --json | px register --CUBE local
    px find --PatientID 1234567 --json | px register --CUBE local
    """,
    0, 2, 40, 41,
    _3="some series or files are not registered; the others are",
    _30="the store below CUBE does not answer",
    _31="nothing is registered: CUBE cannot be reached, refuses the login, or refused all",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _What:
    """What is to be registered, as it was named."""

    files: store_options.Files
    targets: Targets
    document: inputs.DocumentSource
    upstream: str


def _cube_words(values: Mapping[str, Any]) -> CubeWords:
    from pypx.workflows.cubetarget import CubeWords

    fields = ("url", "username", "password", "cacert", "timeout")
    said = {name: str(values[f"cube_{name}"] or "") or None for name in fields}
    return CubeWords(**said)


_cube = options.record(
    "cube_said",
    _cube_words,
    click.option("--CUBEURL", "--cube-url", "cube_url", metavar="URL", help="Root of CUBE's API (PX_CUBE_URL)."),
    click.option(
        "--CUBEusername", "--cube-username", "cube_username", metavar="NAME",
        help="Who registers; log in by PX_CUBE_TOKEN or PX_CUBE_PASSWORD (PX_CUBE_USERNAME; chris).",
    ),
    click.option(
        "--CUBEuserpasswd", "--cube-user-passwd", "cube_password", metavar="PASSWORD",
        help="Accepted; every user of this host can read it in the list of processes.",
    ),
    click.option(
        "--cacert", "cube_cacert", metavar="FILE", help="Certificate that CUBE's is signed by (PX_CUBE_CACERT)."
    ),
    tool_options.cube_timeout,
)  # fmt: skip


@click.command("register", cls=options.PxCommand, epilog=_EPILOG)
@store_options.files
@click.option(
    "--upstreamFile",
    "--upstream-file",
    "upstream",
    metavar="FILE",
    help="Take what px push --json says it pushed; - reads it from stdin.",
)
@targets
@inputs.document
@click.option("--CUBE", "--cube", "cube_key", metavar="KEY", help="A CUBE named in the BASEMOUNT (PX_CUBE).")
@_cube
@store_options.pacs_name
@store_options.store
@click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="How many requests at once.")
@click.option(
    "--partial",
    count=True,
    help="Take series that are not complete; given twice also where CUBE takes a series once and never the rest.",
)
@tool_options.templates
@options.layout(required=True)
@options.output()
def command(
    *,
    files: store_options.Files,
    upstream: str | None,
    targets: Targets,
    document: inputs.DocumentSource,
    cube_key: str | None,
    cube_said: CubeWords,
    pacs_name: str,
    said: TargetWords,
    jobs: int,
    partial: int,
    templates: tool_options.TemplateOptions,
    layout: Layout,
    out: Console,
) -> None:
    """Register images in CUBE that have been pushed to its storage: series by UID, what a find found, or files.

    CUBE is asked first; what is registered already is success. With --swift or --storeBaseLocation px looks into the
    store itself before CUBE does. Older CUBEs take files one by one, newer ones a whole series, once and for ever.
    """
    from pypx.db.smdb import Database
    from pypx.services.cube import CubeClient
    from pypx.services.cubeaddress import limits_of
    from pypx.workflows.cubetarget import resolve_cube
    from pypx.workflows.pushplan import templates_for
    from pypx.workflows.register import RegisterOptions
    from pypx.workflows.targets import open_store

    what = _What(files, targets, document, upstream or "")
    named = {"--xcrdir": files.sources, "--upstreamFile": upstream, "UIDs": targets}
    store_options.one_source("register", named, document)
    target = resolve_cube(cube_said, key=cube_key, keys=store_options.service_keys(layout), environ=os.environ)
    below = store_options.store_below(said, layout, out)
    store = open_store(below, jobs=jobs, timeout_s=said.timeout_s) if below else None
    database = Database.open(layout)
    out.detail(f"registering in {target} as {target.username}, {f'over {below}' if below else 'trusting the pushes'}")
    chosen = RegisterOptions(
        pacs_name=pacs_name,
        jobs=jobs,
        partial=partial > 0,
        really_partial=partial > 1,
        templates=templates.over(templates_for(database)) if templates else None,
    )
    with CubeClient(target, limits=limits_of(cube_said.timeout_s), connections=jobs) as cube:
        _show(lambda advance: _registered(what, database, cube, replace(chosen, progress=advance), store), target, out)


def _registered(
    what: _What, database: Database, cube: CubeClient, chosen: RegisterOptions, store: ObjectStore | None
) -> Iterator[RegisterOutcome]:
    from pypx.compat.push_read import is_push_document, pushed_files
    from pypx.workflows.pushjobs import find_files
    from pypx.workflows.register import register, register_files

    names: dict[Path, str] = {}
    if what.files.sources:
        found = list(find_files(what.files.sources, what.files.substring))
        if not found:
            raise InputError(f"{what.files.sources[0]}: no files to register; name a directory that has some")
        files = [one for one in found if isinstance(one, Path)]
        unread = [one for one in found if not isinstance(one, Path)]
        return register_files(files, database, cube, chosen, store=store, unread=unread)
    document = None if what.targets else _read(what)
    if document is not None and (what.upstream or is_push_document(document)):
        names = pushed_files(document, what.upstream or "stdin")
        return register_files(list(names), database, cube, chosen, store=store, names=names)
    refs = store_options.series_of(what.targets, document, database, "register")
    return register(refs, database, cube, chosen, store=store)


def _read(what: _What) -> Mapping[str, Any]:
    if not what.upstream:
        return what.document.read()
    text = inputs.read_text(what.upstream, "document of px push")
    return inputs.parse_object(text, "stdin" if what.upstream == "-" else what.upstream, "document of px push")


def _show(start: Callable[[Advance], Iterator[RegisterOutcome]], target: CubeTarget, out: Console) -> None:
    """Register under a progress bar, show outcomes as they come, then what they come to; raise if not all is well."""
    from pypx.cli import render
    from pypx.cli.store_records import REGISTER_COLUMNS, register_record
    from pypx.compat.register_json import to_document
    from pypx.workflows.register import check

    done: list[RegisterOutcome] = []
    try:
        with out.failing(PxError, lambda _error: to_document(done) | {"status": False}):
            with out.progress("files") as advance:
                for outcome in start(advance):
                    done.append(outcome)
                    for file in outcome.failed if not outcome.ok else ():
                        out.detail(f"{file.name or file.file}: {file.error}")
                    if out.jsonl:
                        out.record(register_record(outcome))
            check(done)
        if out.json:
            out.document(to_document(done))
    finally:
        if done and not out.json and not out.jsonl:
            render.show_records(REGISTER_COLUMNS, map(register_record, done), out)
            registered, new = (sum(getattr(one, name) for one in done) for name in ("registered", "new"))
            out.note(f"{registered} files registered in {target}, {new} of them now")
