"""The programs of DCMTK: argument lists, runs, and what came of each request.

Keys travel in files, never as ``-k`` options, so that no identifier of a patient stands in an argument list that
``ps`` shows to every user of the host.  Whether a request was answered is read from the log
(:mod:`pypx.services.dcmtk_log`); values come from response files only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event
from types import MappingProxyType

from pypx.errors import PeerFailedError, PxError
from pypx.model.dataclass import dataclass
from pypx.model.keywords import QueryModel
from pypx.model.pacs import PacsNode
from pypx.services import process
from pypx.services.dcmtk_log import DcmtkLog, FinalResponse
from pypx.services.line import Line, line_to


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of a conversation, seconds.

    `connect_s`: TCP connection (``-to``).  `acse_s`: answer to the association request, and its release (``-ta``).
    `dimse_s`: silence between two messages of a request (``-td``); an idle limit, never a total one.
    """

    connect_s: float = 10.0
    acse_s: float = 30.0
    dimse_s: float = 300.0

    @property
    def idle_s(self) -> float:
        """Our own limit around a program: no output for so long means it hangs."""
        return self.connect_s + self.acse_s + self.dimse_s + 10.0

    def options(self) -> list[str]:
        """The three limits as options of every network program of DCMTK (whole seconds, at least one)."""
        return ["-to", _seconds(self.connect_s), "-ta", _seconds(self.acse_s), "-td", _seconds(self.dimse_s)]


@dataclass(frozen=True, slots=True)
class Programs:
    """Names or paths of the programs px starts."""

    echoscu: str = "echoscu"
    findscu: str = "findscu"
    movescu: str = "movescu"
    storescp: str = "storescp"
    dcmsend: str = "dcmsend"
    storescu: str = "storescu"


def _seconds(value: float) -> str:
    return str(max(1, round(value)))


def storescp_argv(programs: Programs, out_dir: Path, limits: Limits, log_config: Path | None = None) -> list[str]:
    """Arguments of a storescp that serves the one association on its standard input and ends.

    Every SOP class (``-pm``) and every transfer syntax it knows (``+xa``) is taken; data sets go to disk as they come
    (``+B``), each under a name of its own (``+uf``), into `out_dir`, which must exist.  No ``-xcr``: that option hands
    names the sender chose to a shell.  With ``-id`` it closes its standard error; `log_config` says where else its
    errors go (:func:`storescp_log_config`).

    References
    ----------
    storescp(1), DCMTK 3.6.7
    """
    return [
        programs.storescp,
        *([] if log_config is None else ["--log-config", str(log_config)]),
        "-id",
        "+B",
        "-pm",
        "+xa",
        "+uf",
        "-pdu",
        "131072",
        "-dhl",
        "-ta",
        _seconds(limits.acse_s),
        "-td",
        _seconds(limits.dimse_s),
        "-od",
        str(out_dir),
    ]


def storescp_log_config(descriptor: int) -> str:
    """A configuration that has a program of DCMTK write its errors, and no less, to a descriptor it inherits.

    Each line begins with its process id.
    """
    return (
        "log4cplus.rootLogger=ERROR, out\n"
        "log4cplus.appender.out=log4cplus::FileAppender\n"
        f"log4cplus.appender.out.File=/proc/self/fd/{descriptor}\n"
        "log4cplus.appender.out.ImmediateFlush=true\n"
        "log4cplus.appender.out.layout=log4cplus::PatternLayout\n"
        "log4cplus.appender.out.layout.ConversionPattern=%i %m%n\n"
    )


@dataclass(frozen=True, slots=True)
class Conversation:
    """Whom to ask, in which information model, with which limits and programs."""

    node: PacsNode
    model: QueryModel = QueryModel.STUDY_ROOT
    limits: Limits = Limits()
    programs: Programs = Programs()


Finals = Generator[FinalResponse, None, PxError | None]
"""Final responses as they come; returns why some are missing, or ``None``."""

SMALL_DICTIONARY = MappingProxyType({"DCMDICTPATH": str(Path(__file__).with_name("dcmtk.dic"))})
"""Environment of a program of DCMTK that needs no more than the attributes of :mod:`pypx.services.dicomtags`.

More than half of the time that such a program takes from start to end goes into its own dictionaries (echoscu of DCMTK
3.6.7: 18 ms of 31), and a retrieve starts several.  storescp writes data sets as they come and movescu sends what px
wrote; findscu needs a dictionary for answers in implicit VR.  A DCMDICTPATH that px was given is left as it is.
"""

_MODEL_OPTION = {QueryModel.STUDY_ROOT: "-S", QueryModel.PATIENT_ROOT: "-P"}
_LOG_OPTIONS = ["--log-config", str(Path(__file__).with_name("requests_log.cfg"))]


def echo(node: PacsNode, limits: Limits, programs: Programs) -> float:
    """Ask the peer for a C-ECHO.

    Returns
    -------
    seconds from the start of echoscu to its end

    Raises
    ------
    PeerUnreachableError, PeerRejectedError : no association
    PeerFailedError : no answer, or another status than Success
    """
    log = DcmtkLog()
    with line(node, limits) as way:
        argv = [programs.echoscu, "-v", *limits.options(), *addressed(way.node)]
        done = process.run(argv, idle_s=limits.idle_s, on_line=log.feed, defaults=SMALL_DICTIONARY)
    if log.echo_status == "Success":
        return done.seconds
    if log.echo_status is not None:
        raise PeerFailedError(f"{node} answered the C-ECHO with {log.echo_status!r} instead of Success")
    within_s = limits.idle_s if done.timed_out else None
    failure = way.failure or log.failure(node, "echoscu", done.returncode, within_s=within_s)
    raise failure or PeerFailedError(f"{node} did not answer the C-ECHO")


def find(
    talk: Conversation,
    queries: Sequence[Path],
    out_dir: Path,
    stop: Event | None = None,
    *,
    listed: bool = False,
) -> Finals:
    """Send queries through one association, strictly one after the other (C-FIND).

    Parameters
    ----------
    talk : whom to ask, and how
    queries : query files; the n-th has Message ID n
    out_dir : existing empty directory for the answers; see :class:`Answers`
    stop : ends it when set
    listed : every attribute asked for is one of :mod:`pypx.services.dicomtags`, and none a sequence

    Yields
    ------
    the final responses as they come

    Returns
    -------
    why it ended before all queries were answered; ``None`` if they were

    Raises
    ------
    ToolMissingError, ToolFailedError : findscu cannot be started
    """
    options = [*_LOG_OPTIONS, _MODEL_OPTION[talk.model], "-X", "-od", str(out_dir)]
    return (yield from _converse(talk, talk.programs.findscu, options, queries, stop, listed=listed))


class Answers:
    """The response files of one run of findscu, handed out while it runs.

    They are counted through, and each final response uses up a number; so the gaps before an answer say which query it
    belongs to.

    Parameters
    ----------
    out_dir : that of the run; who gets the path of a file may remove it
    """

    def __init__(self, out_dir: Path) -> None:
        self._out_dir = str(out_dir)
        self._next = 1
        self._taken = 0

    def after_final(self) -> Iterator[tuple[int, str]]:
        """After a final response: position of its query (from 1) and path of each of its answers, in order."""
        while os.path.exists(path := f"{self._out_dir}/rsp{self._next:04}.dcm"):  # noqa: PTH110 - for each answer
            self._taken += 1
            self._next += 1
            yield self._next - self._taken, path
        self._next += 1

    def rest(self) -> Iterator[tuple[int, str]]:
        """After the end of the run: the same for what is left."""
        found = ((int(path.stem[3:]), path) for path in Path(self._out_dir).glob("rsp*.dcm"))
        for number, path in sorted(one for one in found if one[0] >= self._next):
            yield number - self._taken, str(path)
            self._taken += 1


def move(
    talk: Conversation,
    requests: Sequence[Path],
    stop: Event | None = None,
    *,
    accepted: Callable[[], object] | None = None,
) -> Finals:
    """Send retrieve requests through one association, strictly one after the other (C-MOVE).

    The images go to ``talk.node.move_destination``.  `accepted` is called when the peer has accepted the association;
    other parameters, yields and errors are those of :func:`find`.
    """
    options = [*_LOG_OPTIONS, *move_options(talk)]
    return (yield from _converse(talk, talk.programs.movescu, options, requests, stop, accepted=accepted))


def move_options(talk: Conversation) -> list[str]:
    """Options of movescu that say what is asked of whom."""
    return [_MODEL_OPTION[talk.model], "-aem", talk.node.move_destination]


def line(node: PacsNode, limits: Limits) -> AbstractContextManager[Line]:
    """The way to a PACS for one run of a program; errors: :func:`pypx.services.line.line_to`."""
    return line_to(node, connect_s=limits.connect_s, acse_s=limits.acse_s)


def addressed(node: PacsNode) -> list[str]:
    """The peer and the two AE titles as arguments."""
    return ["-aet", node.calling_aet, "-aec", node.called_aet, node.host, str(node.port)]


def _converse(
    talk: Conversation,
    program: str,
    options: Sequence[str],
    files: Sequence[Path],
    stop: Event | None,
    *,
    listed: bool = True,
    accepted: Callable[[], object] | None = None,
) -> Finals:
    """Run a program, yielding the final responses its log shows; returns why some are missing, if so."""
    log = DcmtkLog()
    with line(talk.node, talk.limits) as way:
        argv = [program, *options, *talk.limits.options(), *addressed(way.node), *map(str, files)]
        defaults = SMALL_DICTIONARY if listed else {}
        lines = process.stream(argv, idle_s=talk.limits.idle_s, stop=stop, defaults=defaults)
        try:
            while True:
                final = log.feed(next(lines))
                if accepted is not None and log.accepted:
                    accepted()
                    accepted = None
                if final is not None:
                    yield final
        except StopIteration as end:
            done: process.Finished = end.value
        finally:
            lines.close()
    if len(log.finals) == len(files):
        return None
    within_s = talk.limits.idle_s if done.timed_out else None
    failure = way.failure or log.failure(talk.node, Path(program).name, done.returncode, within_s=within_s)
    return failure or PeerFailedError(f"{talk.node} ended the association before it had answered all requests")
