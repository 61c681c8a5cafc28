"""How files get to a target: object by object into a store, association by association to a PACS."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import islice
from pathlib import Path
from typing import Protocol

from pypx.errors import (
    PeerError,
    PeerRejectedError,
    PeerUnreachableError,
    PxError,
    StorageError,
    ToolFailedError,
    ToolMissingError,
)
from pypx.model.dataclass import dataclass
from pypx.model.outcomes import FailedFile, PushedFile
from pypx.model.peers import PacsNode
from pypx.services.cstore import send
from pypx.services.dcmtk import Limits, Programs
from pypx.services.dcmtk_log import PeerFloodError, PeerSilentError
from pypx.services.storage import (
    NameTooLongError,
    ObjectStore,
    StorageUnreachableError,
    StoredObject,
    file_md5,
    read_content,
)
from pypx.workflows.pushlog import PushRecord, Target
from pypx.workflows.pushplan import Item, Plan

Result = PushedFile | FailedFile
Task = Callable[[], list[Result]]
Present = Mapping[str, StoredObject]

ASSOCIATIONS = 4
"""At most so many associations at once: PACS limit them."""

BATCH = 64
_STOPPING = (
    StorageUnreachableError, PeerUnreachableError, PeerRejectedError, PeerSilentError, PeerFloodError,
    ToolMissingError, ToolFailedError,
)  # fmt: skip
_CHANGED = (
    "it is not the file that was pushed before (its MD5 is another): corrupt, or changed; compare them, then push "
)
_CHANGED += "with --replace if it is right"


@dataclass(frozen=True, slots=True)
class CarryOptions:
    """How careful a push is.

    `read_back`: read what is there already, instead of believing the checksum that the store keeps of it.  `replace`:
    push a file although an earlier push of it had other bytes.
    """

    read_back: bool = False
    replace: bool = False


@dataclass(slots=True)
class Brake:
    """Stops a push that cannot succeed: where the target as a whole fails, or after `limit` failures in a row."""

    limit: int
    fatal: PxError | None = None
    _row: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def succeeded(self) -> None:
        """Something worked."""
        self._row = 0

    def failed(self, error: PxError) -> None:
        """Something did not work; a name that is too long is nothing that the next file has, too."""
        if isinstance(error, NameTooLongError):
            return
        with self._lock:
            self._row += 1
            if self.fatal is None and (isinstance(error, _STOPPING) or self._row >= self.limit):
                self.fatal = error

    def guarded(self, files: Sequence[Path], action: Task) -> list[Result]:
        """Run an action unless stopped; its errors become the results of `files`."""
        if self.fatal is not None:
            return [FailedFile(file, f"not tried, since {self.fatal}") for file in files]
        try:
            results = action()
        except OSError as error:
            return [FailedFile(file, f"cannot be read: {error.strerror or error}") for file in files]
        except (StorageError, PeerError, ToolMissingError, ToolFailedError) as error:
            self.failed(error)
            return [FailedFile(file, str(error)) for file in files]
        self.succeeded()
        return results


class Carrier(Protocol):
    """A way to a target.

    `jobs` is how many tasks it can do at once at most (``None``: as many as wanted).
    """

    target: Target
    brake: Brake
    jobs: int | None

    def check(self) -> None:
        """Prove that the target can be used, as far as that can be done without sending."""

    def present(self, plan: Plan, record: PushRecord | None) -> Present:
        """What the target holds of this series now, by name."""

    def tasks(self, plan: Plan, present: Present, record: PushRecord | None) -> Iterator[Task]:
        """What is to be done, in tasks that may run at once; each returns a result for each of its files."""

    def settle(self, plan: Plan) -> None:
        """Make durable what was put."""


@dataclass(slots=True)
class StoreCarrier:
    """Into an object store: what is there and equal is skipped; each object is verified by its checksum."""

    store: ObjectStore
    target: Target
    options: CarryOptions
    brake: Brake
    jobs: int | None = None

    def check(self) -> None:
        """See :class:`Carrier`."""
        self.store.check()

    def present(self, plan: Plan, record: PushRecord | None) -> Present:  # noqa: ARG002 - the store knows
        """The objects in the folder of the series: one listing, instead of a question for each object."""
        return {item.name: item for item in self.store.below(plan.folder)} if plan.items else {}

    def tasks(self, plan: Plan, present: Present, record: PushRecord | None) -> Iterator[Task]:
        """A task for each object, the folder's listing at hand."""
        for item in plan.items:
            md5 = record.checksums.get(str(item.file), "") if record is not None else ""
            there = present.get(item.name)
            yield lambda item=item, there=there, md5=md5: self.brake.guarded(  # type: ignore[misc]
                [item.file], lambda: [self._push(item, there, md5)]
            )

    def settle(self, plan: Plan) -> None:
        """See :class:`Carrier`."""
        self.store.settle(plan.folder)

    def _push(self, item: Item, listed: StoredObject | None, recorded: str) -> Result:
        content = read_content(item.file)
        size, md5 = content.size, content.md5
        if recorded and md5 != recorded and not self.options.replace:
            return FailedFile(item.file, _CHANGED)

        def equal(there: StoredObject | None) -> bool:
            return there is not None and (there.size, there.md5) == (size, md5)

        there = listed
        if self.options.read_back:
            there = self.store.read(item.name)
        elif not equal(there) and (there is not None or recorded):
            there = self.store.head(item.name)  # listings may lag behind, and some tell no checksum
        if equal(there):
            return PushedFile(item.file, item.name, size, md5, sent=False)
        self.store.put(item.file, item.name, md5, content.data)
        broken = bool(there or listed or recorded)
        return PushedFile(item.file, item.name, size, md5, sent=True, replaced=broken)


@dataclass(slots=True)
class PacsCarrier:
    """To a PACS by C-STORE: what the record says it took, byte for byte the same, is skipped."""

    node: PacsNode
    target: Target
    options: CarryOptions
    brake: Brake
    limits: Limits = field(default_factory=Limits)
    programs: Programs = field(default_factory=Programs)
    jobs: int | None = ASSOCIATIONS

    def check(self) -> None:
        """Nothing is asked: a PACS may take images and no C-ECHO."""

    def present(self, plan: Plan, record: PushRecord | None) -> Present:  # noqa: ARG002 - not asked of the PACS
        """What the record says that it took: DICOM has no way to compare what a PACS holds."""
        names = record.names.values() if record is not None else ()
        return {name: StoredObject(name, 0) for name in names}

    def tasks(self, plan: Plan, present: Present, record: PushRecord | None) -> Iterator[Task]:
        """A task for each batch of files."""
        items = iter(plan.items)
        while batch := list(islice(items, BATCH)):
            files = [item.file for item in batch]
            yield lambda batch=batch, files=files: self.brake.guarded(  # type: ignore[misc]
                files, lambda: self._push(batch, present, record)
            )

    def settle(self, plan: Plan) -> None:
        """A PACS stores what it says it has."""

    def _push(self, batch: Sequence[Item], present: Present, record: PushRecord | None) -> list[Result]:
        results: list[Result] = []
        fresh: dict[Path, PushedFile] = {}
        for item in batch:
            size, md5 = os.stat(item.file).st_size, file_md5(item.file)  # noqa: PTH116 - as cheap as it gets
            recorded = record.checksums.get(str(item.file), "") if record is not None else ""
            if recorded and recorded != md5 and not self.options.replace:
                results.append(FailedFile(item.file, _CHANGED))
            elif recorded == md5 and item.uid in present:
                results.append(PushedFile(item.file, item.uid, size, md5, sent=False))
            else:
                fresh[item.file] = PushedFile(item.file, item.uid, size, md5, sent=True)
        answers = send(self.node, list(fresh), self.limits, self.programs)
        if any(one.silent for one in answers):
            self.brake.failed(PeerSilentError(f"{self.node} sent nothing within the time limit; push again later"))
        return results + [fresh[one.file] if one.ok else FailedFile(one.file, one.status) for one in answers]
