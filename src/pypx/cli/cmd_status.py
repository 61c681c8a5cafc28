"""``px status``: how much of each series has arrived, from the BASEMOUNT alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pypx.cli import inputs, options
from pypx.cli.console import Console
from pypx.cli.targets import Targets, targets
from pypx.errors import InputError

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.db.smdb import Database
    from pypx.model.records import SeriesRef

_EPILOG = options.epilog(
    """
    px status --basemount /data/dicom --PatientID 1234567
    px status --db /data/dicom/log --StudyInstanceUID 1.2.3 --SeriesInstanceUID 1.2.3.4 --json
    px find --PatientID 1234567 --json | px status --jsonl
    """,
    0, 2, 40,
)  # fmt: skip


@click.command("status", cls=options.PxCommand, epilog=_EPILOG)
@targets
@click.option("--PatientID", "--patient-id", "patient", metavar="ID", help="All recorded series of a patient.")
@click.option(
    "--verifySeriesInStudy", "--verify-series-in-study", "verify", is_flag=True,
    help="In the --json document, answer StudyNotFound where the study is unknown.",
)  # fmt: skip
@inputs.document
@options.layout(required=True)
@options.output()
def command(
    *,
    targets: Targets,
    patient: str | None,
    verify: bool,
    document: inputs.DocumentSource,
    layout: Layout,
    out: Console,
) -> None:
    """Say how much of which series has arrived; UIDs, a patient, or a find document on stdin name the series.

    Nobody is asked but the BASEMOUNT: what was requested, received, packed, pushed and registered is recorded there.
    """
    from pypx.cli import render
    from pypx.cli.records import status_record
    from pypx.compat.status_json import status_document
    from pypx.db.smdb import Database
    from pypx.workflows.status import series_status

    database = Database.open(layout)
    refs = _refs(targets, patient, document, database)
    options.note_missing(layout, out)
    statuses = series_status(refs, database)
    if out.json:
        documents = [status_document(status, database, verify=verify) for status in statuses]
        out.document(documents[0] if len(targets.series) == 1 else documents)
    elif out.jsonl:
        for status in statuses:
            out.record(status_record(status))
    else:
        render.show_records(render.STATUS_COLUMNS, map(status_record, statuses), out)
    if not refs:
        out.note("nothing of it is recorded")


def _refs(
    targets: Targets, patient: str | None, document: inputs.DocumentSource, database: Database
) -> tuple[SeriesRef, ...]:
    from pypx.workflows import status as workflow

    if targets.series:
        study = targets.studies[0] if len(targets.studies) == 1 else None
        return tuple(workflow.ref_of_series(database, series, study) for series in targets.series)
    if targets.studies:
        return tuple(ref for study in targets.studies for ref in workflow.refs_of_study(database, study))
    if patient:
        return workflow.refs_of_patient(database, patient)
    if not document.present:
        raise InputError(
            "nothing to look for: give --SeriesInstanceUID, --StudyInstanceUID or --PatientID,"
            " or pipe the JSON of px find in"
        )
    from pypx.compat.find_read import from_document

    return workflow.refs_of_result(from_document(document.read()))
