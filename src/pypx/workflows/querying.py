"""Queries of one level through a few associations, and the answers to each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

from pypx.errors import InvalidDicomError, PeerFailedError, PxError
from pypx.model.keywords import Level
from pypx.services import dcmtk, dicomfile, dimse
from pypx.services.dcmtk import Conversation
from pypx.services.dcmtk_log import FinalResponse
from pypx.workflows.answers import Answer
from pypx.workflows.asking import ask_all

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Reply:
    """What came back for one query; `error` says why it may not be all, `status` is that of the final response."""

    answers: list[Answer] = field(default_factory=list)
    error: PxError | None = None
    status: int | None = None


class Asker:
    """Asks one PACS; its files lie in a directory of the caller, which nobody else can read.

    Setting `stop` ends what is being asked.
    """

    def __init__(self, talk: Conversation, scratch: Path, charset: str, stop: Event | None = None) -> None:
        self._talk = talk
        self._stop = stop or Event()
        self._scratch = scratch
        self._charset = charset

    def ask(
        self,
        level: Level,
        queries: Sequence[Mapping[str, str]],
        *,
        jobs: int = 1,
        progress: Progress | None = None,
        first_must_work: bool = False,
    ) -> list[Reply]:
        """Ask queries of one level.

        Parameters
        ----------
        level : their level
        queries : keyword to value, one mapping a query
        jobs : associations at a time
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
        jobs: int = 1,
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
        work = _Work(self._talk, folder, files, replies, progress, stop=self._stop, first_must_work=first_must_work)
        shares = max(1, min(jobs, len(files)))
        if shares == 1:
            work.do(range(len(files)))
            return replies
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - it loads logging, for --jobs only

        with ThreadPoolExecutor(shares, thread_name_prefix="px-find") as pool:
            try:
                list(pool.map(work.do, [range(first, len(files), shares) for first in range(shares)]))
            except BaseException:
                work.stop.set()
                raise
        return replies


class _Work:
    """The queries of one call, shared by the threads that ask them."""

    def __init__(
        self,
        talk: Conversation,
        folder: Path,
        files: Sequence[Path],
        replies: Sequence[Reply],
        progress: Progress | None,
        *,
        stop: Event,
        first_must_work: bool,
    ) -> None:
        self.stop = stop
        self._talk = talk
        self._folder = folder
        self._files = files
        self._replies = replies
        self._progress = progress
        self._first_must_work = first_must_work
        self._lock = Lock()
        self._done = 0

    def do(self, share: Sequence[int]) -> None:
        """Ask the queries at the positions of `share`, in their order."""

        def run(batch: Sequence[int]) -> dcmtk.Finals:
            asked = [share[at] for at in batch]
            out_dir = Path(tempfile.mkdtemp(dir=self._folder))
            answers = dcmtk.Answers(out_dir)
            finals = dcmtk.find(self._talk, [self._files[at] for at in asked], out_dir, self.stop)
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

        for at, answer in ask_all(len(share), run, first_must_work=self._first_must_work):
            self._finish(self._replies[share[at]], answer)

    def _finish(self, reply: Reply, answer: FinalResponse | PxError) -> None:
        if isinstance(answer, PxError):
            reply.error = answer
            reply.status = None
        elif answer.status != dimse.SUCCESS:
            reply.status = answer.status
            reply.error = PeerFailedError(f"{self._talk.node}: {dimse.status_text(answer.status, move=False)}")
        else:
            reply.status = answer.status
        with self._lock:
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, len(self._files))

    def _read(self, answers: Iterable[tuple[int, Path]], asked: Sequence[int]) -> None:
        """Hand response files of a run to their queries, and remove them."""
        for number, path in answers:
            reply = self._replies[asked[min(number, len(asked)) - 1]]
            try:
                reply.answers.append(dicomfile.read_answer(path))
            except InvalidDicomError as error:
                reply.error = PeerFailedError(f"{self._talk.node}: an answer cannot be read: {error}")
            path.unlink()
