"""The worker of a listener: one process that files what arrives, none per image.

The folders are the truth; what the supervisor says over the channel (a socket, standard input and output of the
worker) only wakes it.  It answers with events, a JSON object a line.  When the channel ends, because the supervisor
drained or died, the worker files what is closed and ends.  It may be killed at any instant: whoever looks at the
folders next goes on.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from pypx.db.files import begin_to_write
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.db.tables import locked, sync_filesystem
from pypx.errors import InvalidDicomError, PxError
from pypx.model.dataclass import dataclass
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.services.dicomfile import has_pixels
from pypx.workflows import spool
from pypx.workflows.digests import Digesting
from pypx.workflows.filing import Filer, FilingOptions, SeriesFiled
from pypx.workflows.note import Note
from pypx.workflows.placing import Placement
from pypx.workflows.recorder import Recorder
from pypx.workflows.spool import AssociationFolder

_BUSY_S = 0.02
_LIVE_S = 0.2
_IDLE_S = 1.0
_IDLE_WORK_S = 0.05
_LAST_S = 1.0
_LAST_ADOPTED_S = 5.0
_ADOPT_S = 2.0
_MAX_PAUSE_S = 30.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class Channel:
    """The worker's end of the socket to its supervisor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.open = True
        self._heard = True

    def send(self, kind: str, **values: Any) -> None:
        """Tell the supervisor; what cannot be told any more is not needed any more."""
        if self._heard:
            try:
                _write_all(self._descriptor, f"{json.dumps({'kind': kind, **values})}\n".encode())
            except OSError:
                self.open = self._heard = False

    def wait(self, timeout_s: float) -> None:
        """Sleep until the supervisor says something, or a thread does `wake`, at most `timeout_s` seconds."""
        heard = [self._descriptor] if self.open else []
        ready = select.select([*heard, self._woken], [], [], timeout_s)[0]
        if self._woken in ready:
            os.read(self._woken, 4096)
        if self._descriptor in ready:
            try:
                self.open = bool(os.read(self._descriptor, 4096))
            except OSError:
                self.open = False

    def wake(self) -> None:
        """End `wait`, now or when it is next called; to be called by other threads."""
        with suppress(BlockingIOError):  # it is full: there is enough to wake up of
            os.write(self._waker, b"\0")


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@dataclass(slots=True)
class Worker:
    """Files what is closed in the folder of its own listener and in those of dead ones.

    The files of `deadly` are not read but set aside: earlier workers died of them.
    """

    filer: Filer
    own: Path
    channel: Channel
    note: Note
    deadly: frozenset[Path] = frozenset()
    _folders: dict[Path, AssociationFolder] = field(default_factory=dict, init=False)
    _batch: dict[Path, set[str]] = field(default_factory=dict, init=False)
    _recording: dict[Path, set[str]] = field(default_factory=dict, init=False)
    _filed: deque[SeriesFiled] = field(default_factory=deque, init=False)
    _recorder: Recorder = field(init=False)
    _live_s: float = field(default=_BUSY_S, init=False)
    _behind: bool = field(default=False, init=False)
    _delayed: dict[Path, float] = field(default_factory=dict, init=False)
    _adopted: dict[Path, int] = field(default_factory=dict, init=False)
    _next_adoption: float = field(default=0.0, init=False)
    _pause_s: float = field(default=1.0, init=False)
    _adopted_until: float | None = field(default=None, init=False)
    _digesting: Digesting = field(init=False)

    def __post_init__(self) -> None:
        self._digesting = Digesting(self.filer.database, beside=False)
        self._recorder = Recorder(self.filer)
        self._recorder.announce_beside()
        self._recorder.on_done = self.channel.wake
        self.filer.on_series = self._filed.append

    def run(self) -> bool:
        """Work until the channel has ended and nothing closed is left; in the folders of dead listeners for 5 s more.

        Returns
        -------
        Whether all that was closed in the folder of this listener has been filed
        """
        while True:
            last = not self.channel.open
            if last and self._adopted_until is None:
                self._adopted_until, self._next_adoption = time.monotonic() + _LAST_ADOPTED_S, 0.0
            self._adopt()
            self._behind = False
            try:
                progress = self._pass([self.own])
                if not last or (not progress and time.monotonic() < (self._adopted_until or 0.0)):
                    progress = self._pass(list(self._adopted)) or progress
            except (PxError, OSError) as error:
                self._forget_batches()
                self.channel.send("filing-failed", reason=_without_names(error))
                if last:
                    return not spool.waiting(self.own, 1)
                self.channel.wait(self._pause_s)
                self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
                continue
            if last and not progress:
                self._digest(_LAST_S)
                self._release_empty()
                return not spool.waiting(self.own, 1)
            self._pause_s = 1.0
            self._release_empty()
            more = progress and (last or self._behind)
            self.channel.wait(0.0 if more or self._digest(_IDLE_WORK_S) else self._rest_s())

    def _digest(self, seconds: float) -> bool:
        """Make checksums while nothing is being received; whether there are more to make now."""
        if self._batch or self._recorder.busy or any(not folder.ended for folder in self._folders.values()):
            return False
        try:
            return self._digesting.work(seconds, quiet_s=_IDLE_S if self.channel.open else 0.0)
        except PxError:
            return False  # whoever verifies makes them

    def _rest_s(self) -> float:
        """How long to sleep: a moment while something comes or is being recorded, longer as nothing does.

        A pass looks at all that lies in the folders, so to make one for every file that comes would take longer than to
        file it.  That an association has ended, or a batch was recorded, is heard at once, whatever this says.
        """
        living = [folder for folder in self._folders.values() if not folder.ended]
        if self._batch or self._recorder.busy or any(folder.filling for folder in living):
            self._live_s = _BUSY_S
        elif not living:
            return _IDLE_S
        else:
            self._live_s = min(2 * self._live_s, _LIVE_S)
        return self._live_s

    def _pass(self, listeners: list[Path]) -> bool:
        """Take up to one batch, the oldest files first, and let it be recorded if it is time; whether anything was."""
        found = False
        for folder, name in self._closed(listeners):
            found = self._add(folder, name) or found
            if self.filer.full or (self.filer.due and not self._recorder.busy):
                self._behind = True
                break
        self.note.write("")
        if self._recorder.done or self.filer.full or not self.channel.open:
            self._behind = self._tell_recorded() or self._behind  # some folders may be empty now
            found = found or self._behind
        if not self._recorder.busy and self._batch and (self.filer.due or not self.channel.open or self._some_ended()):
            self._recorder.begin()
            self._recording, self._batch = self._batch, {}
        if not self.channel.open:
            found = self._tell_recorded() or found
        return found

    def _some_ended(self) -> bool:
        """Whether the batch has files of an association that has ended: then nothing is gained by waiting."""
        return any(path not in self._folders or self._folders[path].ended for path in self._batch)

    def _add(self, folder: AssociationFolder, name: str) -> bool:
        file = folder.path / name
        self.note.write(str(file))
        try:
            cut = folder.ended and self._is_cut(file)
            if cut is None:
                return False  # the supervisor says in a moment how that association ended
            if cut:
                self.filer.refuse(file, "the program that received it was killed before it was known to be whole")
            elif file in self.deadly:
                self.filer.refuse(file, "the filing process ended abnormally each time it read this file")
            else:
                self.filer.add(file)
        except FileNotFoundError:
            if file.exists():
                raise
            return False  # storescp itself removes what it could not write to the end
        except OSError as error:
            if error.errno in _FULL:
                raise
            if file not in self._delayed:
                self.channel.send("filing-failed", name=file.name, reason=_without_names(error))
            self._delayed[file] = time.monotonic() + _MAX_PAUSE_S  # the others need not wait for this one
            return False
        self._delayed.pop(file, None)
        self._batch.setdefault(folder.path, set()).add(name)
        return True

    def _is_cut(self, file: Path) -> bool | None:
        """Whether a file of an ended association may be cut short though its structure does not show it.

        ``None``: not known yet.
        """
        if not spool.maybe_unfinished(file):
            return False
        well = spool.ended_well(file.parent)
        if well is None and self.channel.open and file.parent.parent == self.own:
            return None
        try:
            return not well and not has_pixels(file)
        except InvalidDicomError:
            return False  # its structure does show it

    def _tell_recorded(self) -> bool:
        """Wait for the batch that is being recorded, and tell of it; whether there was one."""
        try:
            outcomes = self._recorder.outcomes()
        finally:
            while self._filed:
                self._tell_series(self._filed.popleft())
        self._recording = {}
        self._digesting.take(outcomes)
        for outcome in outcomes:
            self._tell(outcome)
        for folder, files in Counter(os.path.dirname(outcome.source) for outcome in outcomes).items():  # noqa: PTH120
            listener, association = os.path.split(folder)
            if listener == str(self.own):
                self.channel.send("filed", association=association, files=files)
        return bool(outcomes)

    def _forget_batches(self) -> None:
        self._recorder.give_up()
        self.filer.discard()
        self._batch, self._recording = {}, {}

    def _closed(self, listeners: list[Path]) -> Iterator[tuple[AssociationFolder, str]]:
        """The closed files that are neither in a batch nor to be left alone for a while.

        Those of a batch stay in their folders until it is recorded, and are looked at in each pass: they are told apart
        by name, for a path takes longer to make than all else that is done with them here.
        """
        now = time.monotonic()
        seen = set()
        for listener in listeners:
            for path in spool.associations(listener):
                seen.add(path)
                if path not in self._folders:
                    self._folders[path], self._live_s = AssociationFolder(path), _BUSY_S
                folder = self._folders[path]
                names = folder.closed()
                for name in folder.fresh:
                    begin_to_write(f"{path}/{name}")
                taken = self._batch.get(path, set()) | self._recording.get(path, set())
                if not names and not taken and folder.ended and spool.remove_folder(path):
                    del self._folders[path]
                for name in names:
                    if name not in taken and not (self._delayed and self._delayed.get(path / name, 0.0) > now):
                        yield folder, name
        for path in [path for path in self._folders if path.parent in listeners and path not in seen]:
            del self._folders[path]

    def _adopt(self) -> None:
        """Take over the folders of listeners that have died, now and then."""
        if time.monotonic() < self._next_adoption:
            return
        self._next_adoption = time.monotonic() + _ADOPT_S
        for folder in spool.listeners(self.filer.layout.incoming):
            if folder != self.own and folder not in self._adopted:
                descriptor = spool.take_lock(folder)
                if descriptor is not None:
                    self._adopted[folder] = descriptor

    def _release_empty(self) -> None:
        for folder in [folder for folder in self._adopted if spool.remove_folder(folder)]:
            os.close(self._adopted.pop(folder))

    def _tell_series(self, filed: SeriesFiled) -> None:
        self.channel.send(
            "series",
            StudyInstanceUID=filed.StudyInstanceUID,
            SeriesInstanceUID=filed.SeriesInstanceUID,
            new=filed.new,
            total=filed.total,
        )

    def _tell(self, outcome: FileOutcome) -> None:
        if outcome.state is FileState.REJECTED:
            self.channel.send("rejected-file", name=outcome.source.name, reason=outcome.reason)
        elif outcome.state is FileState.CONFLICT and outcome.instance is not None:
            self.channel.send(
                "conflict",
                SeriesInstanceUID=outcome.instance.SeriesInstanceUID,
                SOPInstanceUID=outcome.instance.SOPInstanceUID,
            )


def _without_names(error: Exception) -> str:
    """What went wrong, without file names: in the BASEMOUNT they tell of patients."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError):
        return f"cannot write to the BASEMOUNT: {cause.strerror or type(cause).__name__}"
    place, colon, reason = str(error).partition(": ")
    return f"in the BASEMOUNT: {reason}" if colon and place.startswith("/") else str(error)


def _tell_bug(channel: Channel, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say where a bug is, without what it was about; standard error leads somewhere with ``--debug`` only."""
    place = trace
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f" at {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
    reason = f"a bug in px: {kind.__name__}{where} (run px listen with --debug and report what it prints)"
    channel.send("filing-failed", reason=reason)
    sys.__excepthook__(kind, error, trace)


def main(arguments: list[str]) -> int:
    """Run a worker; 0 if nothing closed is left.

    Parameters
    ----------
    arguments : log directory, data directory, folder of the listener, descriptor of the note, and the deadly files
    """
    log, data, own = map(Path, arguments[:3])
    note, deadly = Note(int(arguments[3])), frozenset(map(Path, arguments[4:]))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the supervisor says when: it closes the channel
    channel = Channel(sys.stdin.fileno())
    sys.excepthook = partial(_tell_bug, channel)
    try:
        database = Database.open_or_create(Layout.of_log(log, data))
        layout = database.layout
        # loads what the first batch would wait for, and proves it works
        with locked(layout.lock("filing", own.name), modes=layout.modes):
            sync_filesystem(layout.data)
        options = FilingOptions(Placement.MOVE, rejected=layout.incoming / spool.REJECTED)
        done = Worker(Filer(database, options), own, channel, note, deadly).run()
    except PxError as error:
        channel.send("filing-failed", reason=_without_names(error))
        return error.exit_code
    return 0 if done else 1
