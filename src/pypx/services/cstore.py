"""Sending images to a PACS (C-STORE) by dcmsend of DCMTK, each judged by the report it writes.

dcmsend proposes for each file its own transfer syntax, so that every SOP class and syntax is offered.  Uncompressed
files travel as explicit VR little endian: those in implicit or big endian arrive with other bytes and equal values.
Its exit status proves nothing: with ``--no-halt`` it is 0 also if images were not sent.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path

from pypx.errors import PeerRejectedError, PeerUnreachableError, StorageError, ToolFailedError
from pypx.model.dataclass import dataclass
from pypx.model.pacs import PacsNode
from pypx.services import process
from pypx.services.dcmtk import Limits, Programs, addressed, line
from pypx.services.dcmtk_log import PeerFloodError, PeerSilentError, tells_of_memory, too_much, unfinished
from pypx.services.scratch import scratch_folder

_SUCCESS = "0x0000"
_FIELD = re.compile(r"(?m)^(\w[\w .]*?) *: (.*)$")
_REFUSED_FILE = re.compile(r"W: bad DICOM file: (.*?): (.*?)(?:, ignoring file)?")
_NO_ASSOCIATION = re.compile(r"F: cannot negotiate network association: (.*)")
_BROKEN = re.compile(r"[EF]: .*?[0-9a-f]{4}:[0-9a-f]{4} (.*)")
_ADVICE = {
    "Connection refused": "check host and port, and that the PACS runs",
    "DUL network read timeout": "it does not answer in time; is that a DICOM port?",
    "unknown host": "check the host name",
}
_SILENCE = "DIMSE No data available"
_NO_MEMORY = "no memory for what the PACS sent or announced"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_INFLATED_BYTES = 4 << 30
_HEAD_BYTES = 1 << 14
_ELEMENTS = 64
_MAX_BROKEN = 6


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What the PACS said of one file; `status` is its DIMSE status with its text, or why there is none.

    `silent`: it took the association and let the time limit pass.
    """

    file: Path
    ok: bool
    status: str
    silent: bool = False


def send(
    node: PacsNode,
    files: Sequence[Path],
    limits: Limits,
    programs: Programs,
    on_answer: Callable[[], object] | None = None,
) -> tuple[StoreAnswer, ...]:
    """Send files to a PACS, several in an association.

    Images go in their own transfer syntax; none is decompressed.  Where the association breaks off, what was not
    answered is sent again (a PACS that has an instance takes it again without harm); a file at which it breaks off
    twice is given up.  A PACS that falls silent is not asked again: each time would cost the whole time limit.

    Parameters
    ----------
    node : the PACS
    files : DICOM files
    limits, programs : as for every DCMTK program
    on_answer : called for each answer of the PACS as it comes

    Returns
    -------
    One answer a file, in order

    Raises
    ------
    PeerUnreachableError, PeerRejectedError : no association, nothing was sent
    PeerSilentError : the PACS fell silent before it had answered anything
    PeerFloodError : it sent more than fits into memory, likewise, or so that dcmsend broke down
    StorageError : the temporary directory cannot be used
    ToolMissingError, ToolFailedError : dcmsend cannot be started, or made no report
    """
    answers: dict[Path, StoreAnswer] = {}
    tries: dict[Path, int] = {}
    broken = 0
    while left := [file for file in files if file not in answers]:
        run = _run(node, left, limits, programs, on_answer)
        if run.silent and not answers and not any(run.answer(file).ok for file in left):
            raise PeerSilentError(f"{node} took the association and sent nothing within the time limit; push later")
        if run.flooded and not answers and not any(run.answer(file).ok for file in left):
            raise PeerFloodError(too_much(node, "dcmsend", memory_for(files)))
        for file in left:
            answer = run.answer(file)
            if answer.ok or not run.broken or run.statuses.get(file, "").startswith("0x"):
                answers[file] = answer
        if run.broken:
            broken += 1
            culprit = next((file for file in left if file not in answers), None)
            if culprit is not None:
                tries[culprit] = tries.get(culprit, 0) + 1
                if tries[culprit] > 1:
                    answers[culprit] = run.answer(culprit)
            if broken >= _MAX_BROKEN or run.silent or run.flooded:
                answers.update((file, run.answer(file)) for file in left if file not in answers)
    return tuple(answers[file] for file in files)


@dataclass(slots=True)
class _Run:
    """One run of dcmsend: DIMSE statuses from its report, and what its log says."""

    statuses: dict[Path, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    names: dict[Path, str] = field(default_factory=dict)
    no_association: str = ""
    broken: str = ""

    def feed(self, line: str) -> None:
        """Take one line of the log."""
        if found := _NO_ASSOCIATION.fullmatch(line):
            self.no_association = found[1]
        elif found := _REFUSED_FILE.fullmatch(line):
            self.refused[Path(found[1]).name] = found[2]
        elif tells_of_memory(line):
            self.broken = _NO_MEMORY
        elif not self.broken and (found := _BROKEN.fullmatch(line)):
            self.broken = found[1]

    @property
    def silent(self) -> bool:
        """Whether the association broke off because the PACS said nothing."""
        return self.broken.startswith(_SILENCE)

    @property
    def flooded(self) -> bool:
        """Whether there was no memory for what the PACS sent."""
        return self.broken == _NO_MEMORY

    def answer(self, file: Path) -> StoreAnswer:
        """What became of a file."""
        status = self.statuses.get(file, "")
        if status.startswith(_SUCCESS):
            return StoreAnswer(file, ok=True, status=status)
        if self.names[file] in self.refused:
            return StoreAnswer(file, ok=False, status=f"dcmsend cannot read it: {self.refused[self.names[file]]}")
        if status.startswith("0x"):
            return StoreAnswer(file, ok=False, status=f"the PACS answered {status}")
        if self.broken:
            status = f"not sent, the association broke off: {self.broken}"
            return StoreAnswer(file, ok=False, status=status, silent=self.silent)
        return StoreAnswer(file, ok=False, status="not sent: the PACS does not take its SOP class or transfer syntax")


def _run(
    node: PacsNode, files: Sequence[Path], limits: Limits, programs: Programs, on_answer: Callable[[], object] | None
) -> _Run:
    run = _Run()

    def on_line(line: str) -> None:
        run.feed(line)
        if on_answer is not None and line.startswith("I: Received C-STORE Response"):
            on_answer()

    try:
        with scratch_folder("send") as folder:
            report = folder / "report.txt"
            links = _linked(files, folder)
            run.names = {file: link.name for file, link in zip(files, links, strict=True)}
            with line(node, limits) as way:
                argv = _argv(way.node, report, limits, programs)
                argv += map(str, links)
                memory = memory_for(files)
                done = process.run(argv, idle_s=limits.idle_s, on_line=on_line, memory_bytes=memory)
            text = report.read_text("utf-8", "replace") if report.exists() else None
    except OSError as error:
        raise StorageError(
            f"{node}: cannot prepare sending: {error.strerror}; check {tempfile.gettempdir()}"
        ) from error
    if done.timed_out:
        silence = unfinished(node, "dcmsend", limits.idle_s)
        raise PeerSilentError(f"{silence}, and what it had sent is not known; push again")
    if run.no_association:
        raise way.failure or _failed_association(node, run.no_association)
    if text is None and run.flooded:
        raise PeerFloodError(f"{too_much(node, 'dcmsend', memory)}, and what it had sent is not known; push again")
    if text is None and len(run.refused) < len(files):
        raise ToolFailedError(f"dcmsend ended with exit status {done.returncode} and no report; px needs DCMTK 3.6.7")
    statuses = _statuses(text or "")
    run.statuses = {file: statuses.get(name, "") for file, name in run.names.items()}
    return run


def memory_for(files: Sequence[Path]) -> int:
    """How much memory dcmsend may fill, bytes: more than it needs for any of these files, which it sends in turn.

    Values stay in the file, but each element costs some 200 bytes (of 8 in the file), and what is deflated is inflated
    as a whole (up to 4 GiB, as far as px inflates).
    """
    try:
        largest = max((file.stat().st_size for file in files), default=0)
        deflated = any(map(_is_deflated, files))
    except OSError:  # dcmsend says which and why
        largest, deflated = _INFLATED_BYTES, True
    return process.MEMORY_BYTES + _ELEMENTS * largest + (_INFLATED_BYTES if deflated else 0)


def _is_deflated(file: Path) -> bool:
    with file.open("rb") as stream:
        return _DEFLATED in stream.read(_HEAD_BYTES)


def _failed_association(node: PacsNode, text: str) -> PeerRejectedError | PeerUnreachableError:
    if "Rejected" in text:
        return PeerRejectedError(
            f"{node} rejected the association; check the AE title of the PACS (--aec), and that it knows ours (--aet)"
        )
    if "Unrecognized PDU type" in text:
        return PeerUnreachableError(f"{node} answers, but not in DICOM; check the port")
    advice = next((advice for part, advice in _ADVICE.items() if part in text), "check host and port")
    return PeerUnreachableError(f"no association with {node}: {text.rpartition(': ')[2][:120]}; {advice}")


def _argv(node: PacsNode, report: Path, limits: Limits, programs: Programs) -> list[str]:
    """Arguments without the files: dcmsend(1), DCMTK 3.6.7.

    Where decompressing is allowed, 3.6.7 offers JPEG lossless and JPEG-LS together with an uncompressed syntax, and
    then cannot convert to it.
    """
    options = ["-v", "--no-halt", "--no-uid-checks", "--decompress-never", "--create-report-file", str(report)]
    return [programs.dcmsend, *options, *limits.options(), *addressed(node)]


def _linked(files: Sequence[Path], folder: Path) -> list[Path]:
    """The files under names that tell nothing: arguments of a program can be seen by every user of the host."""
    links = []
    for number, file in enumerate(files, start=1):
        link = folder / f"{number:06d}.dcm"
        link.symlink_to(os.path.abspath(file))  # noqa: PTH100 - resolve() is not needed for a link
        links.append(link)
    return links


def _statuses(report: str) -> dict[str, str]:
    blocks = (dict(_FIELD.findall(block)) for block in report.split("\n\n"))
    return {Path(block["Filename"]).name: block.get("DIMSE Status", "") for block in blocks if "Filename" in block}
