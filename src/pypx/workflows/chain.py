"""Several verbs over one find result: ``--then``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, replace
from typing import Any

from pypx.db.smdb import Database
from pypx.errors import InputError, PartialError
from pypx.model.dataclass import dataclass
from pypx.model.keywords import QueryModel
from pypx.model.outcomes import FindResult, MoveOutcome, PushOutcome, RegisterOutcome, SeriesStatus, StudyFound
from pypx.model.peers import PacsNode
from pypx.model.records import SeriesRef
from pypx.services.dcmtk import Limits, Programs
from pypx.workflows.fetch import Fetch, FetchOptions
from pypx.workflows.move import Delay, parse_delay
from pypx.workflows.status import refs_of_result, series_status
from pypx.workflows.then import Step

Outcome = MoveOutcome | SeriesStatus | PushOutcome | RegisterOutcome | None
"""What a verb says of one series; ``None``: the verb only shows it."""

IDLE_S = 15.0
"""How long to wait for a listener that records nothing new, seconds."""


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """What the verbs of a chain share.

    `delay` is the pause between two requests of a retrieve; `idle_s` bounds the wait for images after it: seconds in
    which nothing new is recorded; `progress` is called with images recorded and images expected meanwhile.  `expect`,
    `counted`, `force`, `beside`, `retries` and `pause_s` are those of :class:`~pypx.workflows.fetch.FetchOptions`.
    `environ` is where push and register look for what their arguments leave open (``None``: that of the process);
    `notice` is told what they assumed.
    """

    delay: Delay = field(default_factory=lambda: parse_delay("0"))
    model: QueryModel = QueryModel.STUDY_ROOT
    limits: Limits = field(default_factory=Limits)
    programs: Programs = field(default_factory=Programs)
    idle_s: float = IDLE_S
    progress: Callable[[int, int], None] | None = None
    expect: bool = True
    counted: bool = False
    force: bool = False
    beside: bool = True
    retries: int = 0
    pause_s: float = 2.0
    environ: Mapping[str, str] | None = None
    notice: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """What a verb works on and with; `before` are the steps before it."""

    series: tuple[SeriesRef, ...]
    node: PacsNode
    database: Database
    options: ChainOptions
    args: Mapping[str, Any]
    before: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb of the chain.

    `run` yields one outcome per series, as each is done; `settle` gets all of them afterwards and returns the final
    ones (a retrieve waits for its images).  `needs_images`: it works on images; `needs_pacs`: it wants a PACS address.
    `check` raises InputError for arguments it cannot use, before any verb runs.
    """

    run: Callable[[Scene], Iterator[Outcome]]
    needs_images: bool = False
    needs_pacs: bool = False
    settle: Callable[[Scene, list[Outcome]], list[Outcome]] | None = None
    check: Callable[[Scene], None] | None = None


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
            if outcome is not None and (trouble := _trouble(outcome))
        )

    def check(self) -> None:
        """Raise :class:`PartialError` if a verb failed for some series."""
        failed = self.failed
        if failed:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            raise PartialError(f"{failed[0]}{more}")


def _trouble(outcome: MoveOutcome | SeriesStatus | PushOutcome | RegisterOutcome) -> str:
    """Why a verb has failed for a series, ``""`` if it has not."""
    if isinstance(outcome, SeriesStatus):
        return ""
    return _move_trouble(outcome) if isinstance(outcome, MoveOutcome) else outcome.error or ""


def _move_trouble(outcome: MoveOutcome) -> str:
    """Why a retrieve is no success: what the series is short of, and the words of the PACS."""
    verdict = outcome.verdict
    if verdict is None:
        return "" if outcome.ok else outcome.error or outcome.state.value
    if outcome.complete:
        return ""
    of = "an unknown number of" if verdict.expected is None else str(verdict.expected)
    said = f": {outcome.error}" if outcome.error else ""
    return f"{verdict.state.value}, {verdict.packed} of {of} images are here{said}"


def _fetch(scene: Scene) -> Fetch:
    options = scene.options
    fetch_options = FetchOptions(
        delay=options.delay,
        model=options.model,
        limits=options.limits,
        programs=options.programs,
        expect=options.expect,
        counted=options.counted,
        force=options.force,
        beside=options.beside,
        retries=options.retries,
        pause_s=options.pause_s,
        idle_s=options.idle_s,
        progress=options.progress,
    )
    return Fetch(scene.series, scene.node, scene.database, fetch_options)


def _retrieve(scene: Scene) -> Iterator[Outcome]:
    yield from _fetch(scene).ask()


def _settle_retrieve(scene: Scene, outcomes: list[Outcome]) -> list[Outcome]:
    """Wait for the listener, judge, ask again; the outcomes in the order they are given in."""
    asked = [outcome for outcome in outcomes if isinstance(outcome, MoveOutcome)]
    settled = {one.series: one for one in _fetch(scene).settle(asked)}
    return [settled.get(one.series, one) if isinstance(one, MoveOutcome) else one for one in outcomes]


def _status(scene: Scene) -> Iterator[Outcome]:
    yield from series_status(scene.series, scene.database)


def _store_verb(name: str) -> Callable[[Scene], Any]:
    """A function of the verbs push and register, which load slow libraries when they are asked for."""

    def call(scene: Scene) -> Any:
        from pypx.workflows import chainstore  # noqa: PLC0415 - see above

        return getattr(chainstore, name)(scene)

    return call


def _report(scene: Scene) -> Iterator[Outcome]:
    yield from (None for _ in scene.series)


VERBS: dict[str, Verb] = {
    "retrieve": Verb(_retrieve, needs_pacs=True, settle=_settle_retrieve),
    "status": Verb(_status, needs_images=True),
    "push": Verb(_store_verb("push"), needs_images=True, check=_store_verb("check_push")),
    "register": Verb(_store_verb("register_all"), needs_images=True, check=_store_verb("check_register")),
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
    scenes = [replace(scene, args=step.args, before=planned[:position]) for position, step in enumerate(planned)]
    for step, own in zip(planned, scenes, strict=True):
        check = VERBS[step.verb].check
        if check is not None:
            check(own)
    done: list[VerbResult] = []
    for position, (step, own) in enumerate(zip(planned, scenes, strict=True)):
        ran = _run_verb(result, position, step, own, say)
        settle = VERBS[step.verb].settle
        done.append(ran if settle is None else _settled(ran, settle, own))
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
    deque(outcomes, maxlen=0)  # a retrieve hears the PACS out on what it has, which may take longer than its images
    return VerbResult(step.verb, tuple(studies))


def _outcome_of(series: SeriesRef, outcomes: Iterator[Outcome], early: dict[SeriesRef, list[Outcome]]) -> Outcome:
    """The outcome of one series; those of others that come before it (asked again after an abort) wait in `early`."""
    while not early.get(series):
        outcome = next(outcomes)
        if outcome is None:
            return None
        early.setdefault(outcome.series, []).append(outcome)
    return early[series].pop(0)


def _settled(done: VerbResult, settle: Callable[[Scene, list[Outcome]], list[Outcome]], scene: Scene) -> VerbResult:
    """The result of a verb with its final outcomes."""
    final = iter(settle(scene, [outcome for _, outcomes in done.studies for outcome in outcomes]))
    return VerbResult(
        done.verb, tuple((study, tuple(next(final) for _ in outcomes)) for study, outcomes in done.studies)
    )
