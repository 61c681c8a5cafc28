"""Filing: from a closed file somewhere to a durable record in the BASEMOUNT.

Crash-safe without a journal.  The source stays until the record is durable, every step before that can be done
again, and doing it again changes nothing:

1. the header is read; a file that is not whole is set aside or left where it is, and named;
2. the file gets its final name (:mod:`pypx.workflows.placing`); a name that is taken is judged by what has it;
3. once a batch, the filesystem is synchronised; then the records of each series are added, in one append;
4. only then the sources are removed.

So a record exists for durable files only, and a source is gone only when its record is durable.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import field, replace
from datetime import datetime, timezone
from pathlib import Path

from pypx.db.checkpoints import reached
from pypx.db.layout import Layout, Modes
from pypx.db.smdb import Database
from pypx.db.tables import locked, make_dirs, sync_filesystem, write_file
from pypx.errors import InvalidDicomError
from pypx.model.dataclass import dataclass
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.model.identifiers import UID
from pypx.model.keywords import RECORDED_KEYS
from pypx.model.packpath import MAX_FILE_BYTES, Templates, legal_component, pack_path
from pypx.model.records import ImageRecord, Instance
from pypx.services.dicomfile import read_instance, same_instance
from pypx.workflows.batches import Batch, Begun, Entry, Refusal, by_series, copy_of
from pypx.workflows.copying import Copies
from pypx.workflows.placing import Placement, place, same_file, set_aside
from pypx.workflows.recorder import Announcer

BATCH_FILES = 256
BATCH_S = 1.0
BATCH_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class FilingOptions:
    """How files are filed.

    `templates` override those of the BASEMOUNT.  `rejected` is where files that are not whole DICOM go, each with a
    text file that says why (``None``: they stay where they are).  With `lenient`, a source that cannot be removed is
    no error; its outcome says so.
    """

    placement: Placement = Placement.MOVE
    templates: Templates | None = None
    rejected: Path | None = None
    lenient: bool = False


@dataclass(frozen=True, slots=True)
class SeriesFiled:
    """What one batch did to one series: instances that are new, and how many are recorded now."""

    StudyInstanceUID: UID
    SeriesInstanceUID: UID
    new: int
    total: int


@dataclass(slots=True)
class Filer:
    """Files closed files into one BASEMOUNT, batch by batch.

    Any number of processes may work on one BASEMOUNT at once.  An exception of :meth:`add` or :meth:`commit` loses
    nothing: the sources are there; :meth:`discard` the batch and add them again.

    Not for several threads, with one exception: while one of them adds files, another may :meth:`record` the batches
    that were :meth:`cut` off, in their order.  To the names and the records both are then as two processes.
    """

    database: Database
    options: FilingOptions = field(default_factory=FilingOptions)
    on_series: Callable[[SeriesFiled], None] | None = None
    announcer: Announcer = field(init=False)
    _batch: Batch = field(default_factory=Batch, init=False)
    _templates: Templates = field(init=False)
    _keywords: frozenset[str] = field(init=False)
    _tree: str = field(init=False)

    def __post_init__(self) -> None:
        self.announcer = Announcer(self.database)
        self._templates = self.options.templates or self.database.templates
        self._keywords = frozenset(RECORDED_KEYS) | self._templates.keywords()
        self._tree = f"{self.layout.data.absolute()}{os.sep}"

    @property
    def layout(self) -> Layout:
        """Where the BASEMOUNT is."""
        return self.database.layout

    @property
    def full(self) -> bool:
        """Whether the batch is to be committed before anything is added: 256 files."""
        return len(self._batch.items) >= BATCH_FILES

    @property
    def due(self) -> bool:
        """Whether the batch is to be committed: full, one second old, or of 64 MiB.

        What the disk has to write after the last file cannot be hidden behind anything.
        """
        batch = self._batch
        return bool(batch.items) and (
            self.full or batch.size > BATCH_BYTES or time.monotonic() - batch.began >= BATCH_S
        )

    def add(self, source: Path) -> None:
        """Take one closed file into the batch.

        Raises
        ------
        OSError : it cannot be read, or there is no room for it
        """
        self.finish(self.begin(source))

    def begin(self, source: Path, copier: Copies | None = None) -> Begun:
        """Read the header of a closed file, and let `copier` copy it meanwhile if it is large; then `finish` it.

        Several may have begun; they are finished in the order in which they are to come into the batch.

        Raises
        ------
        OSError : it cannot be read, or no directory made for it
        """
        try:
            instance = self.read(source)
        except InvalidDicomError as error:
            return Refusal(source, str(error))
        target = pack_path(self._templates, instance.tags).under(self.layout.data)
        entry = Entry(source, instance, source.stat().st_size, target)
        if copier is not None and entry.size > copier.above and self._copies and not os.path.lexists(target):
            make_dirs(target.parent, self.layout.modes.directory)
            entry.copying = copier.begin(source, target.parent, self.layout.modes.file)
        return entry

    def finish(self, begun: Begun) -> None:
        """Give a file that was begun its name, and take it into the batch.

        Raises
        ------
        OSError : it cannot be copied
        """
        if isinstance(begun, Refusal):
            self.refuse(begun.source, begun.reason)
            return
        self._place(begun)
        self._batch.add(begun)
        if begun.state is FileState.FILED:
            self.announcer.take(begun)

    def refuse(self, source: Path, reason: str) -> None:
        """Take a file into the batch that is not to be filed: set aside, or left where it is."""
        folder = self.options.rejected
        kept = None if folder is None else keep_rejected(source, folder, reason, self.layout.modes)
        self._batch.add(FileOutcome(source, FileState.REJECTED, file=kept, reason=reason))

    def take(self, outcome: FileOutcome) -> None:
        """Take an outcome into the batch that was settled elsewhere, to come out in its turn."""
        self._batch.add(outcome)

    def commit(self) -> list[FileOutcome]:
        """Make the batch durable, record it, remove the sources that are to go.

        Returns
        -------
        One outcome a file, in the order in which they were added

        Raises
        ------
        DatabaseError : the records could not be written
        OSError : the files could not be synchronised
        """
        outcomes = self.record(self._batch)
        self._batch = Batch()
        return outcomes

    def cut(self) -> Batch:
        """End the batch and begin the next; whoever calls this has it recorded."""
        batch, self._batch = self._batch, Batch()
        return batch

    def record(self, batch: Batch) -> list[FileOutcome]:
        """Do with a batch that was `cut` off what `commit` does with the one that is being filled."""
        if any(item.file is not None for item in batch.items):
            self._sync()
        reached("filing.synced")
        for entries in by_series(item for item in batch.items if isinstance(item, Entry)):
            self._record(entries)
        reached("filing.recorded")
        outcomes = [item.outcome() if isinstance(item, Entry) else item for item in batch.items]
        outcomes = [self._remove_source(outcome) for outcome in outcomes]
        reached("filing.removed")
        return outcomes

    def discard(self) -> None:
        """Forget the batch; its sources are still there, and adding them again does no harm."""
        self._batch = Batch()
        self.announcer.forget()

    def read(self, source: Path) -> Instance:
        """The header of a file; depends on nothing but the file.

        Raises
        ------
        InvalidDicomError : not DICOM, cut short, or without the UIDs
        """
        return read_instance(source, self._keywords)

    # The steps, in order.

    @property
    def _copies(self) -> bool:
        return self.options.placement is Placement.COPY

    def _place(self, entry: Entry) -> None:
        target = entry.file
        while True:
            if self._give_name(entry) or same_file(entry.source, entry.file):
                entry.placed = True
                reached("filing.placed")
                return
            try:
                there = _taken_by(entry)
            except FileNotFoundError:
                continue  # whoever had the name has just given it up
            except InvalidDicomError as error:
                # Only a power failure before the sync leaves a final name on a file that is not whole.
                folder = self.layout.incoming / "rejected"
                keep_rejected(entry.file, folder, f"found at {entry.file}: {error}", self.layout.modes)
                entry.file.unlink()
                continue
            if there is None:
                return
            apart = _apart(target, entry.instance.SOPInstanceUID)
            if there == entry.instance.SOPInstanceUID or entry.file == apart:
                self._conflict(entry, entry.file)
                return
            entry.file = apart

    def _give_name(self, entry: Entry) -> bool:
        """Let `entry.file` name the bytes of the source; ``False``: the name is taken."""
        if not self._copies:
            return place(entry.source, entry.file, self.options.placement, self.layout.modes)
        copy = copy_of(entry, self.layout.modes)
        if copy is None:
            return place(entry.source, entry.file, Placement.COPY, self.layout.modes)
        try:
            if not copy.give_name(entry.file):
                return False
            entry.crc32 = copy.crc32
            return True
        finally:
            copy.close()

    def _conflict(self, entry: Entry, other: Path) -> None:
        """Keep an instance that came again with other content than `other`, beside it a text file that says so."""
        uid = entry.instance.SOPInstanceUID
        entry.state = FileState.CONFLICT
        entry.reason = f"instance {uid} is already there with other content"
        entry.file = set_aside(
            entry.source,
            self.layout.incoming / "conflicts" / entry.instance.SeriesInstanceUID,
            (f"{uid}.{number}.dcm" for number in itertools.count(1)),
            move=self.options.placement is Placement.MOVE,
            known=_same_content,
            modes=self.layout.modes,
        )
        why = _reason_file(entry.file)
        if not why.exists():  # the same conflict again is kept once
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            text = f"{now} {entry.reason}: {self.layout.relative(other)}\n"
            write_file(why, text.encode(), self.layout.modes.file)

    def _sync(self) -> None:
        sync_filesystem(self.layout.data)
        incoming = self.layout.incoming
        if incoming.is_dir() and incoming.stat().st_dev != self.layout.data.stat().st_dev:
            sync_filesystem(incoming)

    def _record(self, entries: list[Entry]) -> None:
        """Records of one series, under a lock that only filing takes: of two processes, one comes first."""
        series = entries[0].instance.SeriesInstanceUID
        with locked(self.layout.lock("filing", series), modes=self.layout.modes):
            recorded = dict(self.database.images(series))
            before = len(recorded)
            fresh = [(entry, record) for entry in entries if (record := self._settle(entry, recorded)) is not None]
            for entry in {entry.instance.StudyInstanceUID: entry for entry, _ in fresh}.values():
                self.database.add_headers(entry.instance, entry.file.parent)
            if fresh:
                self.database.add_images([(entry.instance, record) for entry, record in fresh])
            for entry in entries:
                if entry.state is FileState.CONFLICT:
                    self.database.add_conflict(series, entry.instance.SOPInstanceUID, self.layout.relative(entry.file))
        if fresh and self.on_series is not None:
            study = fresh[0][0].instance.StudyInstanceUID
            self.on_series(SeriesFiled(study, series, len(recorded) - before, len(recorded)))

    def _settle(self, entry: Entry, recorded: dict[UID, ImageRecord]) -> ImageRecord | None:
        """The record to add for a placed file, if it is to get one; `recorded` is brought up to date."""
        if entry.state is not FileState.FILED:
            return None
        uid = entry.instance.SOPInstanceUID
        known = recorded.get(uid)
        file = self.layout.relative(entry.file)
        if known is not None and known.file == file:
            entry.state = FileState.DUPLICATE
            return None
        if known is not None and self._is_elsewhere(entry, self.layout.resolve(known.file)):
            return None
        if not entry.file.exists():  # the name was somebody else's, who has withdrawn it since
            entry.placed = place(entry.source, entry.file, self.options.placement, self.layout.modes)
            entry.crc32 = None
            self._sync()
        if not entry.placed:  # another process gave the name to its own file of this instance, and has yet to record it
            entry.size = entry.file.stat().st_size
        now = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
        recorded[uid] = ImageRecord(uid, file, entry.size, now)
        return recorded[uid]

    def _is_elsewhere(self, entry: Entry, other: Path) -> bool:
        """Whether the BASEMOUNT already has the instance in `other` (filed by another template, or other values)."""
        placed = entry.file
        try:
            same = other.exists() and _same_content(entry.source, other)
        except InvalidDicomError:
            return False  # damaged: the new one takes its place
        if not same and not other.exists():
            return False
        if same:
            entry.state, entry.file = FileState.DUPLICATE, other
        else:
            self._conflict(entry, other)
            self._sync()
        if entry.placed and placed.resolve() != other.resolve():
            placed.unlink(missing_ok=True)
        return True

    def _remove_source(self, outcome: FileOutcome) -> FileOutcome:
        """Remove a source whose content is durable elsewhere; never a file of the tree itself."""
        if self.options.placement is not Placement.MOVE or outcome.file is None:
            return outcome
        if not str(outcome.source.absolute()).startswith(self._tree):
            try:
                outcome.source.unlink(missing_ok=True)
            except OSError as error:
                if not self.options.lenient:
                    raise
                return replace(outcome, stays=error.strerror or type(error).__name__)
        return outcome


def keep_rejected(file: Path, folder: Path, reason: str, modes: Modes) -> Path:
    """Keep a file that is of no use in `folder`, beside it a text file that says why; the file itself stays."""
    kept = set_aside(file, folder, _numbered(file.name), move=True, modes=modes)
    write_file(_reason_file(kept), f"{reason}\n".encode(), modes.file)
    return kept


def _reason_file(kept: Path) -> Path:
    return kept.with_name(f"{kept.name}.reason.txt")


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in itertools.count(1):
        yield f"{name}.{number}"


def _taken_by(entry: Entry) -> UID | None:
    """Whose file has the name: ``None`` if it is this very instance with this very content."""
    there = read_instance(entry.file, frozenset()).SOPInstanceUID
    if there == entry.instance.SOPInstanceUID and same_instance(entry.source, entry.file):
        return None
    return there


def _apart(target: Path, uid: UID) -> Path:
    """Another name for an instance whose template gives it the name of a different one."""
    extension = ".dcm" if target.suffix == ".dcm" else ""
    name = f"{target.name.removesuffix(extension)}-{uid}{extension}"
    return target.with_name(legal_component(name, limit=MAX_FILE_BYTES, extension=extension))


def _same_content(first: Path, second: Path) -> bool:
    return same_file(first, second) or same_instance(first, second)
