"""``px smdb migrate``: lift a BASEMOUNT that pypx 3 made to format 4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pypx.cli import options
from pypx.cli.console import Console

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.workflows.migrate import Migration, MigrationSummary, SeriesLifted


@click.command(
    "migrate",
    cls=options.PxCommand,
    short_help="Lift a BASEMOUNT of pypx 3 to format 4.",
    epilog=options.epilog(
        "px smdb migrate --basemount /data/dicom --dry-run\npx smdb migrate --basemount /data/dicom",
        0, 2, 40, 41, _3="a series cannot be lifted: the line says why; the others are",
    ),
)  # fmt: skip
@click.option("-n", "--dry-run", "dry_run", is_flag=True, help="Show what would be done, series by series; do nothing.")
@options.layout(required=True, short=True)
@options.output(jsonl=False)
def command(dry_run: bool, layout: Layout, out: Console) -> None:
    """Lift a BASEMOUNT that pypx 3 made to format 4: a file of image records a series, paths relative, quicker to read.

    Images stay where they are, and under the names they have in storage. It may be interrupted at any instant and run
    again; px may go on receiving meanwhile, pypx 3 may not. What pypx 3 needs is kept in log/.format3.
    """
    from pypx.workflows.migrate import Migration, MigrationSummary

    migration = Migration(layout)
    if not migration.needed:
        if out.json:
            out.document(_document(migration, MigrationSummary(), [], dry_run=dry_run))
        else:
            out.line(f"{layout.base}: is format 4 already")
        return
    summary = MigrationSummary()
    results: list[SeriesLifted] = []
    steps = migration.plan() if dry_run else migration.run()
    for one in out.each(steps, "migrate", len(migration.series)):
        summary.take(one)
        if dry_run or out.json or one.lost or one.unknown or one.problem:
            results.append(one)
    if out.json:
        out.document(_document(migration, summary, results, dry_run=dry_run))
    else:
        _show(migration, summary, results, dry_run=dry_run, out=out)
    summary.check()


def _show(
    migration: Migration, summary: MigrationSummary, results: list[SeriesLifted], *, dry_run: bool, out: Console
) -> None:
    for one in results:
        if one.problem:
            out.note(f"series {one.SeriesInstanceUID}: {one.problem}")
        for what, files in (("not there", one.lost), ("SOP Instance UID unknown", one.unknown)):
            for file in files:
                out.detail(f"{migration.layout.resolve(file)}: {what}")
    if results:
        rows = [
            (one.SeriesInstanceUID, *(("-",) * 4 if one.problem else _counts(one)), "no" if one.problem else "yes")
            for one in results
        ]
        out.table(("SeriesInstanceUID", "images", "to lift" if dry_run else "lifted", "lost", "unknown", "ok"), rows)
    word = "to lift" if dry_run else "lifted"
    out.line(
        f"{migration.layout.base}: format {migration.format}; {summary.series} series, {summary.images} images,"
        f" {summary.lifted} {word}, {summary.lost} lost, {summary.unknown} with unknown UID"
    )
    if summary.lost:
        more = "" if out.verbosity > 1 else " (-v names them)"
        out.note(f"lost: there is no file where the record says; the records are kept{more}")
    if summary.images and summary.lost >= summary.images:
        first = next(file for one in results for file in one.lost)
        out.note(
            f"every file is lost, such as {first}: if pypx saw the BASEMOUNT under another path (in a container),"
            " migrate it there"
        )


def _counts(one: SeriesLifted) -> tuple[int, int, int, int]:
    return one.images, one.lifted, len(one.lost), len(one.unknown)


def _document(
    migration: Migration, summary: MigrationSummary, results: list[SeriesLifted], *, dry_run: bool
) -> dict[str, Any]:
    return {
        "status": not summary.problems,
        "basemount": str(migration.layout.base),
        "format": migration.format,
        "dryRun": dry_run,
        "series": [
            {
                "SeriesInstanceUID": one.SeriesInstanceUID,
                "images": one.images,
                "lifted": one.lifted,
                "lost": list(one.lost),
                "unknown": list(one.unknown),
                "problem": one.problem,
            }
            for one in results
        ],
        "totals": {
            "series": summary.series,
            "images": summary.images,
            "lifted": summary.lifted,
            "lost": summary.lost,
            "unknown": summary.unknown,
            "problems": summary.problems,
        },
    }
