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
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.db.tables import locked, sync_filesystem, write_file
from pypx.errors import InvalidDicomError
from pypx.model.identifiers import UID
from pypx.model.keywords import RECORDED_KEYS
from pypx.model.outcomes import FileOutcome, FileState
from pypx.model.packpath import MAX_FILE_BYTES, Templates, legal_component, pack_path
from pypx.model.records import ImageRecord, Instance
from pypx.services.dicomfile import read_instance, same_instance
from pypx.workflows.placing import Placement, place, same_file, set_aside

BATCH_FILES = 256
BATCH_S = 1.0


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
class _Entry:
    """An instance on its way; `placed`: the name `file` is there because of us."""

    source: Path
    instance: Instance
    size: int
    file: Path
    state: FileState = FileState.FILED
    reason: str | None = None
    placed: bool = False

    def outcome(self) -> FileOutcome:
        return FileOutcome(self.source, self.state, self.instance, self.file, self.reason)


@dataclass(slots=True)
class Filer:
    """Files closed files into one BASEMOUNT, batch by batch.

    Not for several threads; any number of processes may work on one BASEMOUNT at once.  An exception of
    :meth:`add` or :meth:`commit` loses nothing: the sources are there; :meth:`discard` the batch and add them again.
    """

    database: Database
    options: FilingOptions = field(default_factory=FilingOptions)
    on_series: Callable[[SeriesFiled], None] | None = None
    _batch: list[_Entry | FileOutcome] = field(default_factory=list, init=False)
    _announced: set[tuple[UID, UID]] = field(default_factory=set, init=False)
    _began: float = field(default=0.0, init=False)
    _templates: Templates = field(init=False)
    _keywords: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self._templates = self.options.templates or self.database.templates
        self._keywords = frozenset(RECORDED_KEYS) | self._templates.keywords()

    @property
    def layout(self) -> Layout:
        """Where the BASEMOUNT is."""
        return self.database.layout

    @property
    def due(self) -> bool:
        """Whether the batch is to be committed: 256 files, or one second old."""
        return len(self._batch) >= BATCH_FILES or (bool(self._batch) and time.monotonic() - self._began >= BATCH_S)

    def add(self, source: Path) -> None:
        """Take one closed file into the batch.

        Raises
        ------
        OSError : it cannot be read, or there is no room for it
        """
        if not self._batch:
            self._began = time.monotonic()
        try:
            instance = self.read(source)
        except InvalidDicomError as error:
            self.refuse(source, str(error))
            return
        entry = self._place(source, instance)
        self._batch.append(entry)
        if entry.state is FileState.FILED:
            self._announce(entry)

    def refuse(self, source: Path, reason: str) -> None:
        """Take a file into the batch that is not to be filed: set aside, or left where it is."""
        folder = self.options.rejected
        kept = None if folder is None else keep_rejected(source, folder, reason)
        self._batch.append(FileOutcome(source, FileState.REJECTED, file=kept, reason=reason))

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
        if any(item.file is not None for item in self._batch):
            self._sync()
        for entries in _by_series(item for item in self._batch if isinstance(item, _Entry)):
            self._record(entries)
        outcomes = [item.outcome() if isinstance(item, _Entry) else item for item in self._batch]
        outcomes = [self._remove_source(outcome) for outcome in outcomes]
        self.discard()
        return outcomes

    def discard(self) -> None:
        """Forget the batch; its sources are still there, and adding them again does no harm."""
        self._batch = []
        self._announced = set()

    def read(self, source: Path) -> Instance:
        """The header of a file; depends on nothing but the file.

        Raises
        ------
        InvalidDicomError : not DICOM, cut short, or without the UIDs
        """
        return read_instance(source, self._keywords)

    # The steps, in order.

    def _place(self, source: Path, instance: Instance) -> _Entry:
        target = self.layout.data / pack_path(self._templates, instance.tags).file
        entry = _Entry(source, instance, source.stat().st_size, target)
        while True:
            if place(source, entry.file, self.options.placement) or same_file(source, entry.file):
                entry.placed = True
                return entry
            try:
                there = _taken_by(entry)
            except FileNotFoundError:
                continue  # whoever had the name has just given it up
            except InvalidDicomError as error:
                # Only a power failure before the sync leaves a final name on a file that is not whole.
                keep_rejected(entry.file, self.layout.incoming / "rejected", f"found at {entry.file}: {error}")
                entry.file.unlink()
                continue
            if there is None:
                return entry
            apart = _apart(target, instance.SOPInstanceUID)
            if there == instance.SOPInstanceUID or entry.file == apart:
                self._conflict(entry, entry.file)
                return entry
            entry.file = apart

    def _announce(self, entry: _Entry) -> None:
        """Write the tables of a series when its first file comes, not when all wait for its last to be durable."""
        instance = entry.instance
        key = (instance.StudyInstanceUID, instance.SeriesInstanceUID)
        if key not in self._announced and instance.SOPInstanceUID not in self.database.images(key[1]):
            self.database.add_headers(instance, entry.file.parent)
        self._announced.add(key)

    def _conflict(self, entry: _Entry, other: Path) -> None:
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
        )
        why = _reason_file(entry.file)
        if not why.exists():  # the same conflict again is kept once
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            write_file(why, f"{now} {entry.reason}: {self.layout.relative(other)}\n".encode())

    def _sync(self) -> None:
        sync_filesystem(self.layout.data)
        incoming = self.layout.incoming
        if incoming.is_dir() and incoming.stat().st_dev != self.layout.data.stat().st_dev:
            sync_filesystem(incoming)

    def _record(self, entries: list[_Entry]) -> None:
        """Records of one series, under a lock that only filing takes: of two processes, one comes first."""
        series = entries[0].instance.SeriesInstanceUID
        with locked(self.layout.lock("filing", series)):
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

    def _settle(self, entry: _Entry, recorded: dict[UID, ImageRecord]) -> ImageRecord | None:
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
            entry.placed = place(entry.source, entry.file, self.options.placement)
            self._sync()
        now = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
        recorded[uid] = ImageRecord(uid, file, entry.size, now)
        return recorded[uid]

    def _is_elsewhere(self, entry: _Entry, other: Path) -> bool:
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
        if self.layout.data.absolute() not in outcome.source.absolute().parents:
            try:
                outcome.source.unlink(missing_ok=True)
            except OSError as error:
                if not self.options.lenient:
                    raise
                return replace(outcome, stays=error.strerror or type(error).__name__)
        return outcome


def keep_rejected(file: Path, folder: Path, reason: str) -> Path:
    """Keep a file that is of no use in `folder`, beside it a text file that says why; the file itself stays."""
    kept = set_aside(file, folder, _numbered(file.name), move=True)
    write_file(_reason_file(kept), f"{reason}\n".encode())
    return kept


def _reason_file(kept: Path) -> Path:
    return kept.with_name(f"{kept.name}.reason.txt")


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in itertools.count(1):
        yield f"{name}.{number}"


def _taken_by(entry: _Entry) -> UID | None:
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


def _by_series(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    groups: dict[UID, list[_Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.instance.SeriesInstanceUID, []).append(entry)
    yield from groups.values()
