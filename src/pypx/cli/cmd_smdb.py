"""``px smdb``: the database of a BASEMOUNT, and the services named in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pypx.cli import options, smdb_migrate, tool_options
from pypx.cli.console import Console
from pypx.cli.query_options import MATCHING
from pypx.cli.verbs import spread_verbosity
from pypx.errors import InputError

if TYPE_CHECKING:
    from pypx.db.layout import Layout

_KINDS = ["PACS", "CUBE", "swift", "storage"]
_EPILOG = options.epilog(
    """
    px smdb init --basemount /data/dicom
    px smdb service PACS set orthanc '{"serverIP": "10.0.0.5", "serverPort": "4242", "aec": "ORTHANC"}'
    px smdb search PatientName='DOE*' Modality=MR
    px smdb verify --deep
    px smdb --action imageDirsSeriesInstanceUID --actionArgs 1.2.3.4 --logdir /data/dicom/log
    """,
    0, 2, 40, 41, 50,
    _1="the document of --action says that it did not work",
)  # fmt: skip


class SmdbGroup(click.Group):
    """The group ``px smdb``, which also takes pypx's ``--action``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let ``-v`` stand with or without its number."""
        return super().parse_args(ctx, spread_verbosity(args))


def _hidden(*names: str) -> list[click.Option]:
    return [click.Option([f"--{name}", name], hidden=True, expose_value=True) for name in names]


@click.group("smdb", cls=SmdbGroup, invoke_without_command=True, epilog=_EPILOG)
@click.option("--action", "action", metavar="ACTION", help="pypx's form: what to do.")
@click.option(
    "--actionArgs",
    "--action-args",
    "action_args",
    default="",
    metavar="TEXT",
    help="pypx's form: a UID, a PatientID, or a JSON object of service entries.",
)
@click.option("-p", "--xcrdir", "xcrdir", default="", metavar="DIR", help="pypx's form: directory of a filed image.")
@click.option("-f", "--xcrfile", "xcrfile", default="", metavar="FILE", help="pypx's form: the image in it.")
@click.option("--xcrdirfile", "xcrdirfile", default="", metavar="PATH", help="pypx's form: both in one.")
@options.layout(required=False, short=True)
@options.output(jsonl=False)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    action: str | None,
    action_args: str,
    xcrdir: str,
    xcrfile: str,
    xcrdirfile: str,
    layout: Layout | None,
    out: Console,
    **_filters: str | None,
) -> int:
    """Look into the database of a BASEMOUNT, and name PACS and stores in it.

    Sub-commands explain themselves: px smdb search --help. pypx's form (--action NAME --actionArgs TEXT) prints pypx's
    documents: imageDirsPatientID, imageDirsSeriesInstanceUID, mapsUpdateForFile, mapsUpdateForPatient,
    seriesData_DBtablesGet, studyData_DBtablesGet, patientData_DBtablesGet, endOfStudy, swift, storage, CUBE, PACS.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    if not action:
        raise InputError("nothing to do: px smdb --help names the sub-commands and actions")
    from pypx.cli.smdb_actions import run_action

    if layout is None:
        raise InputError("no BASEMOUNT: give --logdir DIR/log (PX_DB) or --basemount DIR (PX_BASEMOUNT)")
    return run_action(
        action, action_args, xcrdirfile or "/".join(part for part in (xcrdir, xcrfile) if part), layout, out
    )


command.params.extend(_hidden(*MATCHING, "JSONargs"))
command.add_command(smdb_migrate.command)


@command.command(
    "init",
    cls=options.PxCommand,
    short_help="Make a new BASEMOUNT.",
    epilog=options.epilog(
        "px smdb init --basemount /data/dicom\npx smdb init --basemount /data/old --format 3\n"
        "px smdb init --basemount /data/dicom --share owner",
        0,
        2,
        40,
    ),
)
@click.option(
    "--format",
    "number",
    type=click.Choice(["3", "4"]),
    default="4",
    show_default=True,
    help="3 can be read and written by pypx 3 too; 4 is px's own.",
)
@click.option(
    "--share",
    type=click.Choice(["owner", "group", "group-write", "all"]),
    help="Who may read what is made from now on: the owner alone, the group too (as if nothing was said), the group"
    " which may also write, or everybody. Can be changed later.",
)
@options.layout(required=True, short=True)
@tool_options.templates
@options.output(jsonl=False)
def init(number: str, share: str | None, layout: Layout, templates: tool_options.TemplateOptions, out: Console) -> None:
    """Make a new BASEMOUNT; an existing one keeps its format."""
    from pypx.db.formats import default_templates, read_format
    from pypx.db.layout import Share
    from pypx.db.smdb import Database

    before = read_format(layout)
    if share and before is not None and not options.typed("number"):
        number = str(before.number)
    chosen = templates.over(default_templates(int(number))) if templates else None
    database = Database.create(layout, format=int(number), templates=chosen, share=Share(share) if share else None)
    if share and before is not None and before.share.value != share:
        out.note(f"{layout.base}: new files are for {share}; a running px listen goes on as before, and what is there")
        out.note(
            "already keeps its permissions (the security page of the documentation has the line that changes them)"
        )
    if out.json:
        out.document({"status": True, "basemount": str(layout.base), "format": database.format})
    else:
        out.line(f"{layout.base}: a BASEMOUNT of format {database.format}")


@command.command(
    "search",
    short_help="List recorded patients, studies or series.",
    cls=options.PxCommand,
    epilog=options.epilog(
        "px smdb search PatientName='DOE*' StudyDate=20240101-\npx smdb search --level study --jsonl", 0, 2, 40
    ),
)
@click.argument("terms", nargs=-1, metavar="[KEYWORD=VALUE]...")
@click.option(
    "--level",
    type=click.Choice(["patient", "study", "series"], case_sensitive=False),
    default="series",
    show_default=True,
    help="What to list.",
)
@options.layout(required=True, short=True)
@options.output()
def search(terms: tuple[str, ...], level: str, layout: Layout, out: Console) -> None:
    """List recorded patients, studies or series, by any recorded tag; * and ? are wildcards, dates may be ranges."""
    from pypx.db.smdb import Database
    from pypx.model.keywords import Level
    from pypx.workflows import search as workflow

    matches = workflow.parse_matches(terms)
    options.note_missing(layout, out)
    shown = Level[level.upper()]
    records = workflow.search(Database.open(layout), matches, shown)
    if out.json:
        out.document(list(records))
    elif out.jsonl:
        for record in records:
            out.record(record)
    else:
        columns = list(dict.fromkeys((*workflow.SHOWN[shown], *matches)))
        columns += ["instances"] if shown is Level.SERIES else []
        out.table(columns, ([record.get(name, "") for name in columns] for record in records))


@command.command(
    "service",
    short_help="List, show, set, remove or check named services.",
    cls=options.PxCommand,
    epilog=options.epilog(
        """
        px smdb service PACS list
        px smdb service PACS set orthanc '{"serverIP": "10.0.0.5", "serverPort": "4242", "aec": "ORTHANC"}'
        px smdb service swift set store - < entry.json
        px smdb service PACS check orthanc
        px smdb service storage check chris
        px smdb service PACS remove orthanc
        """,
        0,
        2,
        10,
        11,
        12,
        40,
        _30="the store cannot be used",
        _31="CUBE cannot be reached, or refuses the login",
    ),
)
@click.argument("kind", type=click.Choice(_KINDS, case_sensitive=False))
@click.argument("act", metavar="[list|get|set|remove|check]", default="list")
@click.argument("key", required=False)
@click.argument("value", required=False, metavar="[JSON]")
@options.layout(required=True, short=True)
@tool_options.limits
@tool_options.store_timeout
@tool_options.cube_timeout
@tool_options.programs("echoscu")
@options.output(jsonl=False)
def service(**values: object) -> None:
    """List, show, set, remove or check named services: a check connects and logs in. Passwords are shown as ****.

    Set takes the entry as a JSON object, or - to read it from stdin: that keeps passwords out of the list of processes.
    """
    from pypx.cli.smdb_actions import run_service

    run_service(**values)  # type: ignore[arg-type]  # click hands over exactly its parameters


@command.command(
    "image-dirs",
    cls=options.PxCommand,
    short_help="Say where the images of a series are.",
    epilog=options.epilog(
        "px smdb image-dirs --SeriesInstanceUID 1.2.3.4\npx smdb image-dirs --PatientID 1234567", 0, 2, 40
    ),
)
@click.option("--SeriesInstanceUID", "--series-instance-uid", "series", metavar="UID", help="Directory of a series.")
@click.option("--PatientID", "--patient-id", "patient", metavar="ID", help="Directories of a patient.")
@options.layout(required=True, short=True)
@options.output(jsonl=False)
def image_dirs(series: str | None, patient: str | None, layout: Layout, out: Console) -> int:
    """Say where the images of a series or of a patient are."""
    from pypx.cli.smdb_actions import image_directories, run_action

    if bool(series) == bool(patient):
        raise InputError("give --SeriesInstanceUID or --PatientID")
    options.note_missing(layout, out)
    if out.json:
        return run_action(
            f"imageDirs{'SeriesInstanceUID' if series else 'PatientID'}", series or patient or "", "", layout, out
        )
    for line in image_directories(series, patient, layout):
        out.line(line)
    return 0


@command.command(
    "maps-update",
    cls=options.PxCommand,
    short_help="Enter packed files into the tables anew.",
    epilog=options.epilog(
        "px smdb maps-update /data/dicom/data/a/b/c/0001.dcm\npx smdb maps-update --PatientID 1234567",
        0, 2, 40, 41, 50, _1="a file could not be recorded",
    ),
)  # fmt: skip
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--PatientID", "--patient-id", "patient", metavar="ID", help="All files on record of a patient.")
@options.layout(required=True, short=True)
@options.output(jsonl=False)
def maps_update(file: str | None, patient: str | None, layout: Layout, out: Console) -> int:
    """Enter a packed file, or all files of a patient, into the tables anew."""
    from pypx.cli.smdb_actions import run_action

    if bool(file) == bool(patient):
        raise InputError("give a FILE or --PatientID")
    return run_action(
        "mapsUpdateForPatient" if patient else "mapsUpdateForFile", patient or "", file or "", layout, out
    )


@command.command(
    "tables",
    cls=options.PxCommand,
    short_help="Name the table files of a packed image.",
    epilog=options.epilog("px smdb tables /data/dicom/data/a/b/c/0001.dcm", 0, 2, 40, 50),
)
@click.argument("file", metavar="FILE")
@options.layout(required=True, short=True)
@options.output(jsonl=False)
def tables(file: str, layout: Layout, out: Console) -> int:
    """Name the table files of a packed image, and whether they exist."""
    from pypx.cli.smdb_actions import run_action

    return run_action("patientData_studyData_seriesData_DBtablesGet", "", file, layout, out)


_jobs = click.option(
    "--jobs", type=click.IntRange(1), default=None, metavar="N", help="Processes (one a processor, at most 8)."
)


@command.command(
    "verify",
    cls=options.PxCommand,
    short_help="Compare the records with the files.",
    epilog=options.epilog(
        """
        px smdb verify --basemount /data/dicom
        px smdb verify --deep --dry-run --json
        px smdb verify --deep --set-aside
        """,
        2, 40, 41, _0="all is as recorded", _3="something differs",
    ),
)  # fmt: skip
@click.option("--deep", is_flag=True, help="Read every file whole and compare its checksum.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option(
    "--set-aside", is_flag=True,
    help="Move damaged files to incoming/rejected/ and record them as lost, so that px move asks for them.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on where an interrupted verify ended.")
@_jobs
@options.layout(required=True, short=True)
@options.output()
def verify(
    *, deep: bool, dry_run: bool, set_aside: bool, resume: bool, jobs: int | None, layout: Layout, out: Console
) -> int:
    """Compare every record with its file, and every file with the records.

    A file that is gone is recorded as lost, so that the next px move of its series asks for it; one that was moved
    within data/ is recorded where it is. Nothing is deleted.
    """
    from pypx.cli.smdb_upkeep import run_verify
    from pypx.workflows.pool import default_jobs
    from pypx.workflows.verify import VerifyOptions

    if dry_run and set_aside:
        raise InputError("--set-aside moves files, and --dry-run changes nothing; give one of them")
    return run_verify(layout, VerifyOptions(deep, dry_run, set_aside, resume, jobs or default_jobs()), out)


@command.command(
    "rebuild",
    cls=options.PxCommand,
    short_help="Recreate the tables from the files.",
    epilog=options.epilog(
        "px smdb rebuild --basemount /data/dicom", 0, 2, 40, 41, _3="some files are not readable, whole DICOM files"
    ),
)
@_jobs
@options.layout(required=True, short=True)
@options.output(jsonl=False)
def rebuild(*, jobs: int | None, layout: Layout, out: Console) -> int:
    """Recreate patient, study and series tables and image records from the files in data/.

    What only the tables know stays: requests, pushes, registrations, and what each PACS said. A listener may go on
    meanwhile, and an interrupted rebuild goes on where it ended.
    """
    from pypx.cli.smdb_upkeep import run_rebuild
    from pypx.workflows.pool import default_jobs

    return run_rebuild(layout, jobs or default_jobs(), out)
