"""Several verbs over one find result: ``--then``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pypx.db.smdb import Database
from pypx.errors import InputError, PartialError
from pypx.model.keywords import QueryModel
from pypx.model.outcomes import FindResult, MoveOutcome, SeriesStatus, StudyFound
from pypx.model.peers import PacsNode
from pypx.model.records import SeriesRef
from pypx.services.dcmtk import Limits, Programs
from pypx.workflows.move import Delay, parse_delay, retrieve, wait_for_images
from pypx.workflows.status import refs_of_result, series_status
from pypx.workflows.then import Step

Outcome = MoveOutcome | SeriesStatus | None
"""What a verb says of one series; ``None``: the verb only shows it."""

IDLE_S = 15.0
"""How long to wait for a listener that records nothing new, seconds."""


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """What the verbs of a chain share.

    `delay` is the pause between two requests of a retrieve; `idle_s` bounds the wait for images after it: seconds in
    which nothing new is recorded; `progress` is called with images recorded and images expected meanwhile.
    """

    delay: Delay = field(default_factory=lambda: parse_delay("0"))
    model: QueryModel = QueryModel.STUDY_ROOT
    limits: Limits = field(default_factory=Limits)
    programs: Programs = field(default_factory=Programs)
    idle_s: float = IDLE_S
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """What a verb works on and with."""

    series: tuple[SeriesRef, ...]
    node: PacsNode
    database: Database
    options: ChainOptions
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb of the chain.

    `run` yields one outcome per series, as each is done; `needs_images` makes it wait for what a retrieve before it
    asked for; `needs_pacs` wants a PACS address.
    """

    run: Callable[[Scene], Iterator[Outcome]]
    needs_images: bool = False
    needs_pacs: bool = False


@dataclass(frozen=True, slots=True)
class StudyStarted:
    """A verb comes to a study."""

    position: int
    verb: str
    study: StudyFound


@dataclass(frozen=True, slots=True)
class SeriesStarted:
    """A verb comes to a series."""

    position: int
    verb: str
    series: SeriesRef


@dataclass(frozen=True, slots=True)
class SeriesDone:
    """A verb has done with a series."""

    position: int
    verb: str
    series: SeriesRef
    outcome: Outcome


Event = StudyStarted | SeriesStarted | SeriesDone


@dataclass(frozen=True, slots=True)
class VerbResult:
    """What one verb did: its outcomes per study, in the order of the find result."""

    verb: str
    studies: tuple[tuple[StudyFound, tuple[Outcome, ...]], ...]


@dataclass(frozen=True, slots=True)
class ChainResult:
    """What the verbs did, in order, and to which PACS the requests went."""

    node: PacsNode
    verbs: tuple[VerbResult, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """One line for each series that a verb could not do."""
        return tuple(
            f"{done.verb} of series {outcome.series.SeriesInstanceUID}: {trouble}"
            for done in self.verbs
            for _, outcomes in done.studies
            for outcome in outcomes
            if isinstance(outcome, MoveOutcome) and (trouble := _trouble(outcome))
        )

    def check(self) -> None:
        """Raise :class:`PartialError` if a verb failed for some series."""
        failed = self.failed
        if failed:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            raise PartialError(f"{failed[0]}{more}")


def _trouble(outcome: MoveOutcome) -> str:
    """Why a retrieve is no success: the words of the PACS, or images that were sent and never recorded."""
    if not outcome.ok:
        return outcome.error or outcome.state.value
    due = outcome.counts.completed or outcome.series.NumberOfSeriesRelatedInstances
    if outcome.received is None or due is None or outcome.received >= due:
        return ""
    return f"{outcome.received} of {due} images recorded"


def _retrieve(scene: Scene) -> Iterator[Outcome]:
    options = scene.options
    yield from retrieve(
        scene.series,
        scene.node,
        database=scene.database,
        delay=options.delay,
        model=options.model,
        limits=options.limits,
        programs=options.programs,
    )


def _status(scene: Scene) -> Iterator[Outcome]:
    yield from series_status(scene.series, scene.database)


def _report(scene: Scene) -> Iterator[Outcome]:
    yield from (None for _ in scene.series)


VERBS: dict[str, Verb] = {
    "retrieve": Verb(_retrieve, needs_pacs=True),
    "status": Verb(_status, needs_images=True),
    "report": Verb(_report),
}
"""The verbs by name; a module that brings a new one adds it here."""


def run_chain(
    result: FindResult,
    steps: Iterable[Step],
    *,
    database: Database,
    node: PacsNode | None = None,
    options: ChainOptions | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> ChainResult:
    """Run verbs over a find result, verb by verb, in it study by study and series by series.

    Parameters
    ----------
    result : what to work on; its studies without series are passed over
    steps : verbs with their arguments (:func:`pypx.workflows.then.parse_then`)
    database : where requests are noted and counts are read
    node : the PACS to retrieve from; the one of `result` if ``None``
    options : delay, limits and waiting
    on_event : called as the chain goes on, for people who watch

    Raises
    ------
    InputError : an unknown verb, no PACS to ask, or a series without UIDs; before anything ran
    PeerError : the PACS cannot be asked at all
    """
    planned = tuple(steps)
    peer = node or result.peer
    _check(result, planned, peer)
    scene = Scene(refs_of_result(result), peer, database, options or ChainOptions(), {})
    say = on_event or (lambda _event: None)
    done: list[VerbResult] = []
    for position, step in enumerate(planned):
        verb = VERBS[step.verb]
        if verb.needs_images and done:
            done = [_awaited(one, scene) for one in done]
        done.append(_run_verb(result, position, step, replace(scene, args=step.args), say))
    return ChainResult(peer, tuple(done))


def _check(result: FindResult, steps: tuple[Step, ...], node: PacsNode) -> None:
    for step in steps:
        if step.verb not in VERBS:
            raise InputError(f"--then: {step.verb!r} is no verb; px knows {', '.join(VERBS)}")
        if VERBS[step.verb].needs_pacs and not node.host:
            raise InputError(f"--then {step.verb}: no PACS is known; give --serverIP, --serverPort, --aec and --aet")
    for series in result.series:
        if not (series.ref.StudyInstanceUID and series.ref.SeriesInstanceUID):
            raise InputError(
                "--then: a series of the result has no StudyInstanceUID or SeriesInstanceUID; ask for them"
            )


def _run_verb(result: FindResult, position: int, step: Step, scene: Scene, say: Callable[[Event], None]) -> VerbResult:
    outcomes = VERBS[step.verb].run(scene)
    early: dict[SeriesRef, list[Outcome]] = {}
    studies = []
    for study in result.studies:
        if not study.series:
            continue
        say(StudyStarted(position, step.verb, study))
        of_study = []
        for series in study.series:
            say(SeriesStarted(position, step.verb, series.ref))
            outcome = _outcome_of(series.ref, outcomes, early)
            say(SeriesDone(position, step.verb, series.ref, outcome))
            of_study.append(outcome)
        studies.append((study, tuple(of_study)))
    return VerbResult(step.verb, tuple(studies))


def _outcome_of(series: SeriesRef, outcomes: Iterator[Outcome], early: dict[SeriesRef, list[Outcome]]) -> Outcome:
    """The outcome of one series; those of others that come before it (asked again after an abort) wait in `early`."""
    while not early.get(series):
        outcome = next(outcomes)
        if outcome is None:
            return None
        early.setdefault(outcome.series, []).append(outcome)
    return early[series].pop(0)


def _awaited(done: VerbResult, scene: Scene) -> VerbResult:
    """The result of a retrieve with what the listener has recorded of it since; any other result as it is."""
    asked = [outcome for _, outcomes in done.studies for outcome in outcomes if isinstance(outcome, MoveOutcome)]
    if not asked or all(outcome.received is not None for outcome in asked):
        return done
    progress = scene.options.progress or (lambda _recorded, _expected: None)
    waited = iter(wait_for_images(scene.database, asked, scene.options.idle_s, progress))
    return VerbResult(
        done.verb, tuple((study, tuple(next(waited) for _ in outcomes)) for study, outcomes in done.studies)
    )
