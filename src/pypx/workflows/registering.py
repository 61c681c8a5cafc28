"""How one series is registered: whole or file by file, as the CUBE at hand takes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace

from pypx.db.smdb import Database
from pypx.errors import CubeError, InputError, PxError
from pypx.model.dataclass import dataclass
from pypx.model.outcomes import RegisteredFile, RegisterOutcome
from pypx.model.packpath import Templates
from pypx.services.cube import CubeClient, Dialect, Item
from pypx.services.cubeerrors import CubeDeniedError, CubeUnreachableError
from pypx.services.cubefields import Fields, check_path
from pypx.services.storage import ObjectStore
from pypx.workflows.registerlog import record_registration
from pypx.workflows.registerplan import Entry, RegisterPlan, Source, check_folder, fields_of, make_register_plan

_STOPPING = (CubeDeniedError, CubeUnreachableError)
"""What stops all that is still to be done, since it would fail alike."""


@dataclass(frozen=True, slots=True)
class RegisterOptions:
    """How to register.

    `pacs_name` is the name of the PACS in storage and in CUBE, at most 20 characters (``""``: that of the push).
    `jobs` bounds the requests at a time (per-file dialect).  `partial` takes series that are not complete; where CUBE
    takes whole series it must be said twice, by `really_partial`, as what comes later never joins them.  `templates`
    name the objects of what px did not push.  `progress` is called with files done and files in all of a series.
    """

    pacs_name: str = ""
    jobs: int = 8
    partial: bool = False
    really_partial: bool = False
    templates: Templates | None = None
    progress: Callable[[int, int], None] | None = None


class Registration:
    """Registers series by series with one CUBE."""

    def __init__(
        self,
        database: Database,
        cube: CubeClient,
        options: RegisterOptions,
        store: ObjectStore | None,
        dialect: Dialect,
    ) -> None:
        self._database = database
        self._cube = cube
        self._options = options
        self._store = store
        self._dialect = dialect

    def of_series(self, source: Source) -> RegisterOutcome:
        """Register one series; its own trouble is in the outcome."""
        begin = time.monotonic()
        outcome = RegisterOutcome(source.ref, self._dialect.value, self._options.pacs_name)
        try:
            plan = make_register_plan(
                source,
                self._database,
                self._options.pacs_name,
                self._options.templates,
                store_at_hand=self._store is not None,
            )
        except InputError:
            raise
        except PxError as error:
            return replace(outcome, error=str(error), seconds=time.monotonic() - begin)
        outcome = replace(outcome, pacs_name=plan.pacs_name, expected=plan.expected)
        of_dialect = self._whole if self._dialect is Dialect.SERIES else self._by_file
        return replace(of_dialect(plan, outcome), seconds=time.monotonic() - begin)

    def _record(self, outcome: RegisterOutcome) -> None:
        record_registration(self._database, outcome, self._cube.url, self._cube.username)

    def _tell(self, done: int, total: int) -> None:
        if self._options.progress is not None:
            self._options.progress(done, total)

    # --- whole series

    def _whole(self, plan: RegisterPlan, outcome: RegisterOutcome) -> RegisterOutcome:
        """Register a series as one, unless it is; CUBE takes it as it is then, for ever."""
        self._tell(0, len(plan.entries))
        try:
            found = self._cube.find_series(plan.pacs_name, plan.ref.SeriesInstanceUID)
        except _STOPPING:
            raise
        except PxError as error:
            return replace(outcome, error=_plain(str(error), plan))
        try:
            outcome = self._posted(plan, outcome) if found is None else self._compared(plan, outcome, found)
        except _STOPPING:
            raise
        except PxError as error:
            text = _plain(str(error), plan)
            files = tuple(RegisteredFile(entry.name, entry.file, {}, error=text) for entry in plan.entries)
            outcome = replace(outcome, files=files, error=text)
        self._record(outcome)
        return outcome

    def _posted(self, plan: RegisterPlan, outcome: RegisterOutcome) -> RegisterOutcome:
        options = self._options
        partial = options.partial and options.really_partial
        if plan.problem and not partial:
            raise CubeError(
                f"not registered: {plan.problem}; this CUBE takes a series once and nothing later, so it must be whole"
                + ("; to register what is there, for good, ask for it twice" if options.partial else "")
            )
        names = check_folder(plan, self._store, partial=partial)
        outcome = replace(outcome, folder=plan.folder)
        file = next((entry.file for entry in plan.entries if entry.file is not None), None)
        fields = fields_of(file, plan, self._database)
        item = self._cube.register_series(plan.folder, len(names), plan.pacs_name, fields)
        if item is not None:
            there = set(names)
            taken = replace(plan, entries=tuple(entry for entry in plan.entries if entry.name in there))
            return self._all(taken, outcome, item, new=True)
        return self._compared(plan, outcome, self._cube.find_series(plan.pacs_name, plan.ref.SeriesInstanceUID))

    def _compared(self, plan: RegisterPlan, outcome: RegisterOutcome, found: Item | None) -> RegisterOutcome:
        """Whether what is registered already is what should be."""
        if found is None:
            raise CubeError(
                f"{self._cube}: says that the series is registered, but does not list it; ask its administrator"
            )
        folder = str(found.get("folder_path") or plan.folder)
        if found.get("deletion_status") not in (None, "", "inactive"):
            raise CubeError(f"{self._cube}: is deleting this series; register it again when it is gone")
        count = self._cube.count_files(folder)
        partial = self._options.partial and self._options.really_partial
        expected = len(plan.entries) if partial or plan.expected is None else plan.expected
        outcome = replace(outcome, folder=folder)
        if count == expected:
            return self._all(plan, outcome, found, new=False)
        error = (
            f"is registered already, with {count} files instead of {expected}; CUBE never changes a registered series:"
            " have it removed there, then register again"
        )
        files = tuple(RegisteredFile(entry.name, entry.file, found, error=error) for entry in plan.entries)
        return replace(outcome, registered=count, files=files, error=error)

    def _all(self, plan: RegisterPlan, outcome: RegisterOutcome, item: Item, *, new: bool) -> RegisterOutcome:
        count = len(plan.entries)
        self._tell(count, count)
        files = tuple(RegisteredFile(entry.name, entry.file, item, new=new) for entry in plan.entries)
        expected = count if plan.expected is None else plan.expected
        return replace(outcome, registered=count, expected=expected, files=files)

    # --- file by file

    def _by_file(self, plan: RegisterPlan, outcome: RegisterOutcome) -> RegisterOutcome:
        """Register the objects that CUBE does not list yet, some at a time."""
        entries = plan.entries
        outcome = replace(outcome, folder=entries[0].name.rpartition("/")[0])
        listed = self._listed(plan)
        done = {
            entry.name: RegisteredFile(entry.name, entry.file, listed[entry.name])
            for entry in entries
            if entry.name in listed
        }
        stop = threading.Event()
        left = [entry for entry in entries if entry.name not in done]
        self._tell(len(done), len(entries))
        with self._recorded_if_stopped(plan, outcome, done), ThreadPoolExecutor(max(1, self._options.jobs)) as pool:
            futures = [pool.submit(self._one, entry, plan, stop) for entry in left]
            try:
                for future in as_completed(futures):
                    file = future.result()
                    if file is not None:
                        done[file.name] = file
                    self._tell(len(done), len(entries))
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        outcome = self._summed(plan, outcome, done)
        self._record(outcome)
        return outcome

    @contextmanager
    def _recorded_if_stopped(
        self, plan: RegisterPlan, outcome: RegisterOutcome, done: Mapping[str, RegisteredFile]
    ) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if done:
                self._record(self._summed(plan, outcome, done))
            raise

    def _listed(self, plan: RegisterPlan) -> Mapping[str, Item]:
        """What CUBE lists of the series; nothing if it cannot: then it says so file by file."""
        try:
            return self._cube.files_of_series(plan.pacs_name, plan.ref.SeriesInstanceUID)
        except _STOPPING:
            raise
        except CubeError:
            return {}

    def _one(self, entry: Entry, plan: RegisterPlan, stop: threading.Event) -> RegisteredFile | None:
        """Register one object; ``None`` if all has been stopped."""
        if stop.is_set():
            return None
        fields: Fields = {}
        try:
            check_path(entry.name, plan.pacs_name, per_series=False)
            fields = fields_of(entry.file, plan, self._database)
            item = self._cube.register_file(entry.name, plan.pacs_name, fields)
        except _STOPPING:
            stop.set()
            raise
        except PxError as error:
            return RegisteredFile(entry.name, entry.file, {}, error=_plain(str(error), plan))
        known = {**fields, "pacs_identifier": plan.pacs_name}
        return RegisteredFile(entry.name, entry.file, known if item is None else item, new=item is not None)

    def _summed(
        self, plan: RegisterPlan, outcome: RegisterOutcome, done: Mapping[str, RegisteredFile]
    ) -> RegisterOutcome:
        files = tuple(done[entry.name] for entry in plan.entries if entry.name in done)
        broken = tuple(RegisteredFile("", file, {}, error=reason) for file, reason in plan.unusable)
        failed = [file for file in (*files, *broken) if file.error is not None]
        registered = sum(1 for file in files if file.error is None)
        expected = plan.expected if plan.expected is not None else len(plan.entries) + len(broken)
        error = None
        if failed:
            first = failed[0].name.rpartition("/")[2] or (failed[0].file.name if failed[0].file else "")
            of_all = f"{len(failed)} of {len(files) + len(broken)}"
            error = f"{of_all} files are not registered, such as {first}: {failed[0].error}"
        elif registered < expected and not self._options.partial:
            error = (
                f"{registered} of {expected} files are registered; retrieve and push the others, then register again"
            )
        return replace(outcome, registered=registered, expected=expected, files=(*files, *broken), error=error)


def _plain(text: str, plan: RegisterPlan) -> str:
    """A message without the folders above the series: their names are made of what is known of the patient."""
    for folder in {entry.name.rpartition("/")[0] for entry in plan.entries}:
        text = text.replace(folder.rpartition("/")[0], "…")
    return text
