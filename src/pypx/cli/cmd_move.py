"""``px move``: have a PACS send series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pypx.cli import inputs, options, tool_options
from pypx.cli.console import Console
from pypx.cli.fetch_options import Completing, completing
from pypx.cli.peer_options import PeerOptions, peer_overrides
from pypx.cli.targets import Targets, targets
from pypx.errors import InputError, PeerError, PeerFailedError

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.model.pacs import PacsNode
    from pypx.model.records import SeriesRef
    from pypx.services.dcmtk import Limits, Programs

_EPILOG = options.epilog(
    """
    px move --StudyInstanceUID 1.2.3
    px move --StudyInstanceUID 1.2.3 --SeriesInstanceUID 1.2.3.4,1.2.3.5 --move-destination CHRIS
    px find --PatientID 1234567 --json | px move --basemount /data/dicom
    px move --StudyInstanceUID 1.2.3 --basemount /data/dicom --retry 3
    """,
    2, 10, 11, 20, 21, 40, 41,
    _0="every series is complete; without a BASEMOUNT: the PACS reported success",
    _3="something is missing, or nobody knows whether it is",
    _12="no series was sent",
)  # fmt: skip


@click.command("move", cls=options.PxCommand, epilog=_EPILOG)
@targets
@inputs.document
@peer_overrides
@options.layout(required=False)
@tool_options.delay
@click.option(
    "--wait/--no-wait",
    "wait",
    default=None,
    help="Wait until the listener has recorded what was sent (on if a BASEMOUNT is named).",
)
@click.option(
    "--idle", "idle_s", type=tool_options.Seconds(zero=True), default=10.0, show_default=True, metavar="SECONDS",
    help="Stop waiting when nothing has arrived for so long.",
)  # fmt: skip
@completing
@click.option("--patient-root", "patient_root", is_flag=True, help="Use the patient root model.")
@tool_options.limits
@tool_options.programs("movescu", "findscu")
@options.output()
def command(
    *,
    targets: Targets,
    document: inputs.DocumentSource,
    peer: PeerOptions,
    layout: Layout | None,
    delay: str,
    wait: bool | None,
    idle_s: float,
    completing: Completing,
    patient_root: bool,
    limits: Limits,
    programs: Programs,
    out: Console,
) -> int:
    """Have a PACS send a study, some series, or all that a find found, to a listener.

    The PACS sends to the AE title of --move-destination, at the address it has on file for it. Give the series by UID,
    or pipe the JSON of px find in; of a study without --SeriesInstanceUID all series are sent.

    With the BASEMOUNT of the listener, px asks the PACS what it has, then for what is not there yet, waits for the
    listener, and says of each series whether it is complete or what is missing. Repeat the command to go on.
    """
    from pypx.cli import moves
    from pypx.model.keywords import QueryModel
    from pypx.workflows.move import parse_delay

    model = QueryModel.PATIENT_ROOT if patient_root else QueryModel.STUDY_ROOT
    pause = parse_delay(delay or "0")
    if wait and layout is None:
        raise InputError("--wait: name the BASEMOUNT of the listener with --basemount DIR (PX_BASEMOUNT)")
    node, refs = _requests(
        targets=targets, document=document, peer=peer, layout=layout, limits=limits, programs=programs
    )
    if not refs:
        return moves.show_nothing(out)
    out.detail(f"C-MOVE of {len(refs)} series from {node} to {node.move_destination}, as {node.calling_aet}")
    work = moves.Work(refs, node, pause, model, limits, programs, counted=bool(targets))
    with out.failing(PeerError, lambda error: moves.error_document(error, refs, node)):
        if layout is None or wait is False:
            outcomes = moves.ask_only(work, layout, out)
        else:
            outcomes = moves.fetch(work, layout, completing, idle_s, out)
    moves.show(outcomes, node, out)
    return moves.exit_code(outcomes)


def _requests(
    *,
    targets: Targets,
    document: inputs.DocumentSource,
    peer: PeerOptions,
    layout: Layout | None,
    limits: Limits,
    programs: Programs,
) -> tuple[PacsNode, tuple[SeriesRef, ...]]:
    """The PACS to ask and the series to ask it for."""
    if targets.series and not targets.studies:
        raise InputError(
            "--SeriesInstanceUID needs --StudyInstanceUID: a PACS finds a series by both "
            "(or: px find --SeriesInstanceUID ... --json | px move)"
        )
    if targets:
        node = peer.node()
        if len(targets.studies) == 1 and targets.series and layout is None:
            from pypx.model.records import SeriesRef

            return node, tuple(SeriesRef(targets.studies[0], series) for series in targets.series)
        return node, _ask(targets, node, limits, programs)
    if not document.present:
        raise InputError(
            "nothing to move: give --StudyInstanceUID (and --SeriesInstanceUID), or pipe the JSON of px find in"
        )
    from pypx.compat.find_read import from_document

    result = from_document(document.read())
    return peer.node(inputs.known_peer(result)), tuple(series.ref for series in result.series)


def _ask(targets: Targets, node: PacsNode, limits: Limits, programs: Programs) -> tuple[SeriesRef, ...]:
    """Ask the PACS which series the studies have; all that were named must be among them."""
    from pypx.workflows.find import build_query, find

    result = find(build_query({"StudyInstanceUID": "\\".join(targets.studies)}), node, limits=limits, programs=programs)
    if result.problems:
        raise PeerFailedError(f"{node}: {result.problems[0]}")
    refs = {series.ref.SeriesInstanceUID: series.ref for series in result.series}
    missing = [uid for uid in targets.series if uid not in refs]
    missing += [uid for uid in targets.studies if uid not in {study.StudyInstanceUID for study in result.studies}]
    if missing:
        raise PeerFailedError(f"{node} has no {missing[0]}{f' (nor {len(missing) - 1} more)' if missing[1:] else ''}")
    return tuple(refs[uid] for uid in targets.series) if targets.series else tuple(refs.values())
