"""``px repack``: file DICOM files that are on disk already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pypx.cli import options, tool_options
from pypx.cli.console import Console
from pypx.errors import InputError, PxError

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.model.fileoutcomes import FileOutcome
    from pypx.workflows.repack import RepackSummary

_EPILOG = options.epilog(
    """
    px repack --basemount /data/dicom /media/cdrom
    px repack --basemount /data/dicom --move --imageTemplate '%SOPInstanceUID.dcm' incoming/
    px repack --xcrdir /tmp/in --xcrfile 1.dcm --logdir /data/dicom/log --datadir /data/dicom/data --cleanup
    """,
    0, 2, 40, 41,
    _3="some files are bad, hold other content than what is filed, or cannot be removed; the others are filed",
    _50="not one DICOM file",
)  # fmt: skip


@click.command("repack", cls=options.PxCommand, epilog=_EPILOG)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option("-p", "--xcrdir", "xcrdir", metavar="DIR", help="Directory of the file or files, as px-repack takes it.")
@click.option("-f", "--xcrfile", "xcrfile", metavar="FILE", help="The file in it.")
@click.option("--xcrdirfile", "xcrdirfile", metavar="PATH", help="Both in one.")
@click.option(
    "--parseAllFilesWithSubStr",
    "--parse-all-files-with-substr",
    "substrings",
    metavar="A,B,...",
    help="Of a directory, only the files whose name contains one of these.",
)
@click.option(
    "--recursive/--no-recursive",
    "recursive",
    default=None,
    help="Go into directories (on; off for --xcrdir with --parseAllFilesWithSubStr).",
)
@click.option("--link", "link", is_flag=True, help="Share the bytes with the source where the filesystem can.")
@click.option("--move", "--cleanup", "move", is_flag=True, help="Remove each source once it is filed and recorded.")
@tool_options.templates
@options.layout(required=True, short=True)
@options.output()
def command(
    *,
    paths: tuple[Path, ...],
    xcrdir: str | None,
    xcrfile: str | None,
    xcrdirfile: str | None,
    substrings: str | None,
    recursive: bool | None,
    link: bool,
    move: bool,
    templates: tool_options.TemplateOptions,
    layout: Layout,
    out: Console,
) -> None:
    """File DICOM files, or whole directories of them, in the BASEMOUNT: under the path of the templates, and recorded.

    They are copied unless --link or --move says otherwise. What is there already is left as it is; a bad file is named
    and skipped.
    """
    from pypx.db.smdb import Database
    from pypx.workflows.placing import Placement
    from pypx.workflows.pool import default_jobs
    from pypx.workflows.repack import RepackOptions, RepackSummary, repack

    if link and move:
        raise InputError("--link and --move exclude each other")
    sources = [*paths, *_legacy_sources(xcrdir, xcrfile, xcrdirfile)]
    if not sources:
        raise InputError("nothing to file: name files or directories, or give --xcrdir and --xcrfile")
    database = Database.open(layout)  # made with the first file that is filed: bad input leaves nothing behind
    chosen = RepackOptions(
        placement=Placement.MOVE if move else Placement.LINK if link else Placement.COPY,
        templates=templates.over(database.templates) if templates else None,
        recursive=not (xcrdir and substrings) if recursive is None else recursive,
        substrings=tuple(part.strip() for part in (substrings or "").split(",") if part.strip()),
        processes=default_jobs(),
    )
    summary = RepackSummary()
    skipped: list[Path] = []

    def skip(path: Path, kind: str) -> None:
        skipped.append(path)
        out.detail(f"{path}: skipped: {kind}")

    with ExitStack() as stack:
        advance = stack.enter_context(out.progress("files", late=True))  # processes are forked without other threads
        outcomes = stack.enter_context(closing(repack(sources, database, chosen, advance, skip)))
        _show(_watched(outcomes, summary, out), summary, out, moved=move)
    if skipped:
        out.note(f"px repack: {len(skipped)} links and special files were skipped (-v names them)")
    summary.check()


def _legacy_sources(xcrdir: str | None, xcrfile: str | None, xcrdirfile: str | None) -> Iterator[Path]:
    if xcrdirfile:
        yield Path(xcrdirfile)
    elif xcrfile:
        yield Path(xcrdir or ".") / xcrfile
    elif xcrdir:
        yield Path(xcrdir)


def _watched(outcomes: Iterator[FileOutcome], summary: RepackSummary, out: Console) -> Iterator[FileOutcome]:
    """Count the outcomes as they pass, and name what is not as it should be."""
    from pypx.model.fileoutcomes import FileState

    for outcome in outcomes:
        summary.take(outcome)
        bad = outcome.state in {FileState.REJECTED, FileState.CONFLICT} or outcome.stays is not None
        words = f"{outcome.source}: {outcome.state.value}{f': {outcome.reason}' if outcome.reason else ''}"
        if outcome.stays is not None:
            words += f"; the source stays: {outcome.stays}"
        (out.note if bad else out.detail)(words)
        yield outcome


def _show(outcomes: Iterator[FileOutcome], summary: RepackSummary, out: Console, *, moved: bool) -> None:
    if out.json:
        from pypx.compat.repack_json import to_document

        document = to_document(outcomes, cleaned=moved)
        with out.failing(PxError, lambda _error: document):
            summary.check()
        out.document(document)
        return
    if out.jsonl:
        from pypx.cli.records import file_record

        for outcome in outcomes:
            out.record(file_record(outcome))
    else:
        for _ in outcomes:
            pass  # counted as it passes, and named where there is something to say
        out.line(", ".join(f"{count} {state.value}" for state, count in summary.counts.items() if count) or "no files")
