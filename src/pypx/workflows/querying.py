"""Queries of one level through a few associations, and the answers to each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import field
from functools import partial
from pathlib import Path
from threading import Event, Lock

from pypx.errors import InvalidDicomError, PeerFailedError, PxError
from pypx.model.dataclass import dataclass
from pypx.model.keywords import Level
from pypx.model.pacs import PacsNode
from pypx.services import dcmtk, dicomfile, dimse
from pypx.services.dcmtk import Conversation
from pypx.services.dcmtk_log import FinalResponse
from pypx.services.dicomtags import are_listed
from pypx.workflows.answers import Answer
from pypx.workflows.asking import ask_all, associations_for, not_granted

Progress = Callable[[int, int], None]

SETTLE_S = 0.2
"""Between associations that were not all granted and the next: a PACS counts one for a moment after its end."""


@dataclass(slots=True)
class Reply:
    """What came back for one query; `error` says why it may not be all, `status` is that of the final response."""

    answers: list[Answer] = field(default_factory=list)
    error: PxError | None = None
    status: int | None = None


class Asker:
    """Asks one PACS; its files lie in a directory of the caller, which nobody else can read.

    Setting `stop` ends what is being asked.  How many associations the PACS takes at once is remembered from call to
    call, once it has taken less than were tried.
    """

    def __init__(self, talk: Conversation, scratch: Path, charset: str, stop: Event | None = None) -> None:
        self._talk = talk
        self._stop = stop or Event()
        self._scratch = scratch
        self._charset = charset
        self._granted: int | None = None

    def ask(
        self,
        level: Level,
        queries: Sequence[Mapping[str, str]],
        *,
        jobs: int | None = None,
        progress: Progress | None = None,
        first_must_work: bool = False,
    ) -> list[Reply]:
        """Ask queries of one level.

        Parameters
        ----------
        level : their level
        queries : keyword to value, one mapping a query
        jobs : associations at a time; ``None``: as many as are worth it (:data:`~pypx.workflows.asking.MANY`)
        progress : called with queries answered and queries in all
        first_must_work : raise if there is no association at all

        Returns
        -------
        a reply for each query, in order
        """
        leveled = [(level, keys) for keys in queries]
        return self.ask_levels(leveled, jobs=jobs, progress=progress, first_must_work=first_must_work)

    def ask_levels(
        self,
        queries: Sequence[tuple[Level, Mapping[str, str]]],
        *,
        jobs: int | None = None,
        progress: Progress | None = None,
        first_must_work: bool = False,
    ) -> list[Reply]:
        """Ask queries, each of its own level, as `ask` does: an association takes queries of several levels."""
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        files = []
        for number, (level, keys) in enumerate(queries, 1):
            files.append(folder / f"q{number:05d}.dcm")
            dicomfile.write_query(files[-1], level, keys, self._charset)
        replies = [Reply() for _ in queries]
        listed = all(are_listed(keys) for _, keys in queries)
        ask = partial(dcmtk.find, self._talk, listed=listed)
        peer = self._talk.node
        work = _Work(ask, folder, files, replies, progress, peer=peer, stop=self._stop, first_must_work=first_must_work)
        associations = associations_for(len(files), jobs, self._granted)
        if associations == 1:
            work.do(range(len(files)))
        else:
            self._do_side_by_side(work, [range(first, len(files), associations) for first in range(associations)])
        return replies

    def _do_side_by_side(self, work: _Work, shares: Sequence[Sequence[int]]) -> None:
        """Ask through several associations; what those that are not granted leave is asked through a single one."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - it loads logging, for many queries only

        with ThreadPoolExecutor(len(shares), thread_name_prefix="px-find") as pool:
            try:
                left = [share for share in pool.map(work.do_beside_others, shares) if share]
            except BaseException:
                work.stop.set()
                raise
        if left:
            work.stop.wait(SETTLE_S)
            work.do([at for share in left for at in share])
            if work.served:
                self._granted = max(1, len(shares) - len(left))


class _Work:
    """The queries of one call, shared by the threads that ask them; `served` once the PACS has answered one."""

    def __init__(
        self,
        ask: Callable[[Sequence[Path], Path, Event], dcmtk.Finals],
        folder: Path,
        files: Sequence[Path],
        replies: Sequence[Reply],
        progress: Progress | None,
        *,
        peer: PacsNode,
        stop: Event,
        first_must_work: bool,
    ) -> None:
        self.stop = stop
        self._ask = ask
        self._peer = peer
        self._folder = folder
        self._files = files
        self._replies = replies
        self._progress = progress
        self._first_must_work = first_must_work
        self._lock = Lock()
        self._done = 0
        self.served = False

    def do(self, share: Sequence[int]) -> None:
        """Ask the queries at the positions of `share`, in their order."""
        first_must_work = self._first_must_work and not self.served
        for at, answer in ask_all(len(share), partial(self._run, share), first_must_work=first_must_work):
            self._finish(share[at], answer)

    def do_beside_others(self, share: Sequence[int]) -> list[int]:
        """Ask as `do` does, through one of several associations; returns what is left if the PACS does not grant it."""
        finished: set[int] = set()

        def leave(failure: PxError) -> bool:
            return not self.stop.is_set() and not_granted(failure, barren=not finished)

        run = partial(self._run, share)
        for at, answer in ask_all(len(share), run, first_must_work=self._first_must_work, leave=leave):
            finished.add(at)
            self._finish(share[at], answer)
        return [position for at, position in enumerate(share) if at not in finished]

    def _run(self, share: Sequence[int], batch: Sequence[int]) -> dcmtk.Finals:
        """One association, for the queries that stand at the places `batch` of `share`."""
        asked = [share[at] for at in batch]
        out_dir = Path(tempfile.mkdtemp(dir=self._folder))
        answers = dcmtk.Answers(out_dir)
        finals = self._ask([self._files[at] for at in asked], out_dir, self.stop)
        with closing(finals):
            try:
                while True:
                    final = next(finals)
                    self._read(answers.after_final(), asked)  # while the PACS looks for the next
                    yield final
            except StopIteration as end:
                failure: PxError | None = end.value
        self._read(answers.rest(), asked)
        return failure

    def _finish(self, position: int, answer: FinalResponse | PxError) -> None:
        reply = self._replies[position]
        if isinstance(answer, PxError):
            reply.error = answer
            reply.status = None
        elif answer.status != dimse.SUCCESS:
            reply.status = answer.status
            reply.error = PeerFailedError(f"{self._peer}: {dimse.status_text(answer.status, move=False)}")
        else:
            reply.status = answer.status
        with self._lock:
            self.served = self.served or isinstance(answer, FinalResponse)
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, len(self._files))

    def _read(self, answers: Iterable[tuple[int, str]], asked: Sequence[int]) -> None:
        """Hand response files of a run to their queries, and remove them."""
        for number, path in answers:
            reply = self._replies[asked[min(number, len(asked)) - 1]]
            try:
                reply.answers.append(dicomfile.read_answer(path))
            except InvalidDicomError as error:
                reply.error = PeerFailedError(f"{self._peer}: an answer cannot be read: {error}")
            os.unlink(path)  # noqa: PTH108 - for each answer
