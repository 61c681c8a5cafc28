"""The verbs push and register of a chain: their own arguments, and a store or a CUBE that fails for all series."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeVar

from pypx.db.service_keys import ServiceKeys
from pypx.errors import InputError, PxError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID
from pypx.model.outcomes import PushOutcome, RegisterOutcome
from pypx.model.packpath import Templates
from pypx.model.peers import CubeTarget, FolderTarget, PacsNode
from pypx.model.records import SeriesRef
from pypx.model.tls import TLS_FIELDS, option_name
from pypx.services.cube import CubeClient
from pypx.services.cubefields import checked_pacs_name
from pypx.workflows.carriers import CarryOptions
from pypx.workflows.cubetarget import CubeWords, resolve_cube
from pypx.workflows.push import PushOptions, push_series
from pypx.workflows.pushplan import check_pacs_name, templates_for
from pypx.workflows.pushtarget import Destination, TargetWords, resolve_destination, resolve_store
from pypx.workflows.register import RegisterOptions, register
from pypx.workflows.targets import StoreTarget, carrier_to, open_store, record_target

if TYPE_CHECKING:
    from pypx.workflows.chain import Scene

_Done = TypeVar("_Done", PushOutcome, RegisterOutcome)

_STORE = {
    "swift": "key", "storage": "key", "swiftIP": "ip", "swiftPort": "port", "swiftLogin": "login",
    "container": "container", "store-cacert": "cacert", "storeBaseLocation": "folder",
}  # fmt: skip
_PACS = {"PACS": "pacs", "serverIP": "host", "serverPort": "host_port", "aec": "called_aet", "aet": "calling_aet"}
_TLS = {option_name(field)[2:]: field for field in TLS_FIELDS}
_CUBE = {"CUBEURL": "url", "CUBEusername": "username", "CUBEuserpasswd": "password", "cacert": "cacert"}
_TEMPLATES = {
    "rootDirTemplate": "root", "studyDirTemplate": "study", "seriesDirTemplate": "series", "imageTemplate": "image",
}  # fmt: skip
_OF_BOTH = (*_STORE, *_TEMPLATES, "swiftServicesPACS", "jobs", "partial", "db")
_OF_PUSH = (*_OF_BOTH, *_PACS, *_TLS, "link", "read-back", "replace")
_OF_REGISTER = (*_OF_BOTH, *_CUBE, "CUBE")
_PASSED_OVER = frozenset({
    "swiftPackEachDICOM", "parseAllFilesWithSubStr", "xcrdir", "xcrfile", "xcrdirfile", "swiftBaseLocation", "upstream",
    "cleanup", "debug", "json", "verbosity",
})  # fmt: skip
"""What pypx takes and a chain does not need: the series of the find result are what is pushed and registered."""


@dataclass(frozen=True, slots=True)
class PushStep:
    """A push of a chain, ready to run."""

    destination: Destination
    options: PushOptions
    carry: CarryOptions
    link: bool


@dataclass(frozen=True, slots=True)
class RegisterStep:
    """A registration of a chain, ready to run; `below` is CUBE's store, if it is known."""

    cube: CubeTarget
    options: RegisterOptions
    below: StoreTarget | None


def check_push(scene: Scene) -> None:
    """Check the arguments of a push, and say what was assumed.

    Raises
    ------
    InputError : an argument is unknown or cannot be used, or the target is not named
    """
    step = push_step(scene)
    if scene.options.notice is not None:
        for notice in step.destination.notices:
            scene.options.notice(notice)


def check_register(scene: Scene) -> None:
    """Check the arguments of a registration.

    Raises
    ------
    InputError : an argument is unknown or cannot be used, or the CUBE or its login is not named
    """
    register_step(scene)


def push_step(scene: Scene) -> PushStep:
    """The push that the arguments of a step describe; see :func:`check_push`."""
    args = _Args("push", scene, _OF_PUSH)
    found = resolve_destination(
        args.target(_STORE | _PACS), args.keys, args.environ, calling_aet=scene.node.calling_aet
    )
    to_pacs, link = isinstance(found.target, PacsNode), args.flag("link")
    if link and not isinstance(found.target, FolderTarget):
        raise InputError("--thenArgs for push: link is for a directory; no other store can share bytes")
    options = PushOptions(
        pacs_name="" if to_pacs else check_pacs_name(args.pacs_name()),
        templates=args.templates(),
        partial=args.number("partial", 0) > 0,
        jobs=args.number("jobs", 8),
    )
    return PushStep(found, options, CarryOptions(args.flag("read-back"), args.flag("replace")), link)


def register_step(scene: Scene) -> RegisterStep:
    """The registration that the arguments of a step describe; see :func:`check_register`."""
    args = _Args("register", scene, _OF_REGISTER)
    said = CubeWords(**{field: args.text(name) or None for name, field in _CUBE.items()})
    cube = resolve_cube(said, key=args.text("CUBE") or None, keys=args.keys, environ=args.environ)
    found = resolve_store(args.target(_STORE), args.keys, args.environ)
    below = found.target if found else None
    name = args.pacs_name()
    pushed = next((step for step in reversed(scene.before) if step.verb == "push"), None)
    if pushed is not None:
        earlier = push_step(replace(scene, args=pushed.args))
        if below is None and not isinstance(earlier.destination.target, PacsNode):
            below = earlier.destination.target
        name = name or earlier.options.pacs_name
    options = RegisterOptions(
        pacs_name=checked_pacs_name(name) if name else "",
        jobs=args.number("jobs", 8),
        partial=args.number("partial", 0) > 0,
        really_partial=args.number("partial", 0) > 1,
        templates=args.templates(),
        progress=scene.options.progress,
    )
    return RegisterStep(cube, options, below)


def push(scene: Scene) -> Iterator[PushOutcome]:
    """Push each series; where the target as a whole fails, every series that is left has its error."""
    step = push_step(scene)
    where = record_target(step.destination.target).where
    tell = scene.options.progress

    def run(refs: Sequence[SeriesRef]) -> Iterator[PushOutcome]:
        carrier = carrier_to(
            step.destination.target,
            step.carry,
            link=step.link,
            jobs=step.options.jobs,
            limits=scene.options.limits,
            programs=scene.options.programs,
        )
        progress = None if tell is None else lambda done, total, _bytes: tell(done, total)
        yield from push_series(refs, carrier, scene.database, step.options, progress)

    def failed(ref: SeriesRef, error: str) -> PushOutcome:
        return PushOutcome(ref, where, files=0, expected=ref.NumberOfSeriesRelatedInstances or 0, error=error)

    yield from _one_each(scene.series, run, failed)


def register_all(scene: Scene) -> Iterator[RegisterOutcome]:
    """Register each series; where CUBE as a whole fails, every series that is left has its error."""
    step = register_step(scene)

    def run(refs: Sequence[SeriesRef]) -> Iterator[RegisterOutcome]:
        store = open_store(step.below, jobs=step.options.jobs) if step.below is not None else None
        with CubeClient(step.cube, connections=step.options.jobs) as cube:
            yield from register(refs, scene.database, cube, step.options, store=store)

    def failed(ref: SeriesRef, error: str) -> RegisterOutcome:
        return RegisterOutcome(
            ref, "", step.options.pacs_name, expected=ref.NumberOfSeriesRelatedInstances, error=error
        )

    yield from _one_each(scene.series, run, failed)


def _one_each(
    series: Sequence[SeriesRef],
    run: Callable[[Sequence[SeriesRef]], Iterator[_Done]],
    failed: Callable[[SeriesRef, str], _Done],
) -> Iterator[_Done]:
    """An outcome for every series as it stands in the result, though each is done once."""
    outcomes = run(tuple({ref.SeriesInstanceUID: ref for ref in series}.values()))
    done: dict[UID, _Done] = {}
    error = ""
    for ref in series:
        uid = ref.SeriesInstanceUID
        while uid not in done and not error:
            try:
                outcome = next(outcomes, None)
            except PxError as problem:
                error = str(problem)
                break
            if outcome is None:
                error = f"series {uid}: nothing was done; run it again"
            else:
                done[outcome.series.SeriesInstanceUID] = outcome
        yield replace(done[uid], series=ref) if uid in done else failed(ref, error)


class _Args:
    """The arguments of one step, by the option names of pypx; each is checked when it is read."""

    def __init__(self, verb: str, scene: Scene, known: Sequence[str]) -> None:
        self._where, self._args, self._database = f"--thenArgs for {verb}", scene.args, scene.database
        self.keys = ServiceKeys(scene.database.layout)
        self.environ: Mapping[str, str] = os.environ if scene.options.environ is None else scene.options.environ
        unknown = sorted(name for name in scene.args if name not in known and name not in _PASSED_OVER)
        if unknown:
            raise InputError(f"{self._where}: there is no {unknown[0]!r}; there are {', '.join(known)}")
        log = self.text("db")
        if log and os.path.realpath(log) != os.path.realpath(self._database.layout.log):
            raise InputError(f"{self._where}: db names {log}, but the chain works on {self._database.layout.log}")

    def text(self, name: str) -> str:
        value = self._args.get(name)
        if value is None or value is False:
            return ""
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise InputError(f"{self._where}: {name} must be a text")
        return str(value)

    def flag(self, name: str) -> bool:
        value = self._args.get(name, False)
        if not isinstance(value, bool):
            raise InputError(f"{self._where}: {name} must be true or false")
        return value

    def number(self, name: str, default: int) -> int:
        """A number from 0 to 64, also as text; ``true`` is 1."""
        value: Any = self._args.get(name, default)
        digits = str(int(value)) if isinstance(value, bool | int) else str(value)
        if not digits.isascii() or not digits.isdigit() or int(digits[:4]) > 64 or (default and not int(digits)):
            raise InputError(f"{self._where}: {name} must be a number up to 64")
        return int(digits)

    def target(self, names: Mapping[str, str]) -> TargetWords:
        said: dict[str, str] = {}
        for name, field in names.items():
            text = self.text(name)
            if text and said.setdefault(field, text) != text:
                raise InputError(f"{self._where}: {name} says twice which store; give one of them")
        if "folder" in said:
            said["folder"] = os.path.abspath(said["folder"])  # noqa: PTH100 - as it is named, links included
        return TargetWords(**said, tls=self._tls() if _PACS.keys() <= names.keys() else ())

    def _tls(self) -> tuple[tuple[str, str], ...]:
        said = {"tls": str(self.flag("tls")).lower()} if "tls" in self._args else {}
        said |= {field: text for name, field in _TLS.items() if name != "tls" and (text := self.text(name))}
        return tuple(said.items())

    def pacs_name(self) -> str:
        return self.text("swiftServicesPACS") or self.environ.get("PX_SWIFT_SERVICES_PACS", "")

    def templates(self) -> Templates | None:
        own = {field: text for name, field in _TEMPLATES.items() if (text := self.text(name))}
        return Templates(**(asdict(templates_for(self._database)) | own)) if own else None
