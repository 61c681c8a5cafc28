"""``px push``: images to an object store, a directory, or a PACS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from pypx.cli import inputs, options, store_options, tool_options
from pypx.cli.console import Console
from pypx.cli.targets import Targets, targets
from pypx.errors import InputError, PxError
from pypx.model.plain import brief

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.db.smdb import Database
    from pypx.model.outcomes import PushOutcome
    from pypx.services.dcmtk import Limits, Programs
    from pypx.workflows.carriers import Carrier
    from pypx.workflows.push import Progress, PushOptions, PushSummary
    from pypx.workflows.pushtarget import Destination, TargetWords

_NAMED = 10
"""So many files of a series that failed are named one by one; --json and --jsonl have all."""

_EPILOG = options.epilog(
    """
    px push --SeriesInstanceUID 1.2.3.4 --storeBaseLocation /mnt/store --swiftServicesPACS HOSPITAL
    px push --xcrdir /data/export --swift chris --swiftServicesPACS HOSPITAL --jobs 16
    px find --PatientID 1234567 --json | px push --swift chris --swiftServicesPACS HOSPITAL
    px push --StudyInstanceUID 1.2.3 --serverIP 10.0.0.9 --serverPort 104 --aec ARCHIVE
    """,
    0, 2, 10, 11, 20, 21, 40, 41,
    _3="some files or series are not there; the others are",
    _30="nothing could be pushed, or the store cannot be used",
    _50="not one DICOM file in the directory",
)  # fmt: skip


@click.command("push", cls=options.PxCommand, epilog=_EPILOG)
@store_options.files
@targets
@inputs.document
@store_options.destination
@store_options.pacs_name
@click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="How many are sent at once.")
@click.option("--partial", is_flag=True, help="Push series, too, that are not known to be complete.")
@click.option("--link", is_flag=True, help="Into a directory: hard links where possible, no second copy.")
@click.option(
    "--read-back", "read_back", is_flag=True, help="Read what is there already, byte for byte, to compare it."
)
@click.option("--replace", is_flag=True, help="Push files although they changed since they were pushed.")
@click.option(
    "--swiftPackEachDICOM", "--swift-pack-each-dicom", "pack_each", is_flag=True, expose_value=False,
    help="Accepted; every object is named by its own header.",
)  # fmt: skip
@tool_options.templates
@options.layout(required=False)
@tool_options.limits
@tool_options.programs("dcmsend")
@options.output()
def command(
    *,
    files: store_options.Files,
    targets: Targets,
    document: inputs.DocumentSource,
    said: TargetWords,
    pacs_name: str,
    jobs: int,
    partial: bool,
    link: bool,
    read_back: bool,
    replace: bool,
    templates: tool_options.TemplateOptions,
    layout: Layout | None,
    limits: Limits,
    programs: Programs,
    out: Console,
) -> None:
    """Push images to Swift, S3, a directory or a PACS: the files of a directory, series by UID, or what a find found.

    By UID or find, the recorded images of complete series are pushed. What is there and equal is skipped, every object
    is verified by the store's checksum, and a push that was interrupted goes on where it stopped.
    """
    from pypx.workflows.carriers import CarryOptions
    from pypx.workflows.targets import carrier_to

    store_options.one_source("push", {"--xcrdir": files.sources, "UIDs": targets}, document)
    if not files.sources:
        store_options.needed_layout(layout)
    place = store_options.resolved_destination(said, layout, out)
    database = _database(layout)
    chosen = _options(place, pacs_name=pacs_name, jobs=jobs, partial=partial, templates=templates, database=database)
    _check_link(place, link)
    carrier = carrier_to(
        place.target,
        CarryOptions(read_back, replace),
        link=link,
        jobs=jobs,
        timeout_s=said.timeout_s,
        limits=limits,
        programs=programs,
    )
    out.detail(f"pushing to {carrier.target.where}, {jobs} at once")

    def start(progress: Progress) -> Iterator[PushOutcome]:
        return _pushed(files, targets, document, carrier=carrier, database=database, chosen=chosen, progress=progress)

    _show(start, carrier.target.where, out)


def _database(layout: Layout | None) -> Database | None:
    from pypx.db.smdb import Database

    return Database.open(layout) if layout else None


def _options(
    place: Destination,
    *,
    pacs_name: str,
    jobs: int,
    partial: bool,
    templates: tool_options.TemplateOptions,
    database: Database | None,
) -> PushOptions:
    from pypx.model.peers import PacsNode
    from pypx.workflows.push import PushOptions
    from pypx.workflows.pushplan import check_pacs_name, templates_for

    return PushOptions(
        pacs_name=pacs_name if isinstance(place.target, PacsNode) else check_pacs_name(pacs_name),
        templates=templates.over(templates_for(database)) if templates else None,
        partial=partial,
        jobs=jobs,
    )


def _check_link(place: Destination, link: bool) -> None:
    from pypx.model.peers import FolderTarget

    if link and not isinstance(place.target, FolderTarget):
        raise InputError("--link: only a directory can share the bytes with the BASEMOUNT")


def _pushed(
    files: store_options.Files,
    targets: Targets,
    document: inputs.DocumentSource,
    *,
    carrier: Carrier,
    database: Database | None,
    chosen: PushOptions,
    progress: Progress,
) -> Iterator[PushOutcome]:
    from pypx.workflows.push import push_files, push_series

    if files.sources or database is None:
        return push_files(files.sources, carrier, database, chosen, substring=files.substring, progress=progress)
    found = None if targets else document.read()
    refs = store_options.series_of(targets, found, database, "push")
    return push_series(refs, carrier, database, chosen, progress)


def _show(start: Callable[[Progress], Iterator[PushOutcome]], where: str, out: Console) -> None:
    """Push under a progress bar, show outcomes as they come, then what they come to; raise if not all is well."""
    from pypx.cli import render
    from pypx.cli.store_records import PUSH_COLUMNS, push_record
    from pypx.compat.push_json import to_document
    from pypx.workflows.push import PushSummary

    summary, done = PushSummary(), list[Any]()
    try:
        with out.failing(PxError, lambda _error: to_document(done) | {"status": False}):
            with out.progress("files") as advance:
                for outcome in start(lambda files, total, _bytes: advance(files, total)):
                    done.append(outcome)
                    summary.take(outcome)
                    _watch(outcome, out)
                    if out.jsonl:
                        out.record(push_record(outcome))
            summary.check()
        if out.json:
            out.document(to_document(done))
    finally:
        if done and not out.json and not out.jsonl:
            render.show_records(PUSH_COLUMNS, map(push_record, done), out)
            out.note(_summary(summary, where))


def _watch(outcome: PushOutcome, out: Console) -> None:
    """Tell what is not as it should be."""
    for name in outcome.replaced:
        out.note(f"{brief(name)}: was broken or gone in the store; pushed again")
    for failure in outcome.failures[:_NAMED]:
        out.note(f"{out.place(failure.file)}: {failure.reason}")
    if len(outcome.failures) > _NAMED:
        out.note(f"and {len(outcome.failures) - _NAMED} more files of series {outcome.series.SeriesInstanceUID}")


def _summary(summary: PushSummary, where: str) -> str:
    text = f"{summary.pushed} of {summary.files} files sent to {where}"
    text += f", {summary.skipped} were there and equal" if summary.skipped else ""
    return text + (f", {summary.failed} failed" if summary.failed else "")
