"""What the log of findscu and movescu says about each request (``-d``, or ``requests_log.cfg``; DCMTK 3.6.7).

Exit codes prove nothing: both programs end with 0 after an abort and after a time-out, findscu even after A700.  A
request counts as answered only if the block of its own final response was seen; the n-th query file of a command line
has Message ID n.

The log holds identifiers of patients.  Nothing of it is kept but numbers and texts that are known word for word.
"""

from __future__ import annotations

import re
from dataclasses import field

from pypx.errors import PeerFailedError, PeerRejectedError, PeerUnreachableError, PxError, ToolFailedError
from pypx.model.dataclass import dataclass
from pypx.model.pacs import PacsNode
from pypx.model.suboperations import SubOperations
from pypx.services.process import MEMORY_BYTES

_FINAL = re.compile(r"I: Received Final (?:Find|Move) Response")
_BEGIN = re.compile(r"D: =+ INCOMING DIMSE MESSAGE =+")
_END = re.compile(r"D: =+ END DIMSE MESSAGE =+")
_FIELD = re.compile(r"D: (Message ID Being Responded To|\w+ Suboperations|DIMSE Status|Message Type) *: (.*)")
_STATUS = re.compile(r"0x([0-9a-f]{4})\b")
_ECHO = re.compile(r"I: Received Echo Response \(([A-Za-z0-9 :]{1,60})\)")
# What is seen in trouble only is text: compiling it would take a millisecond of every find.
_CONDITION = r"\b([0-9a-f]{4}:[0-9a-f]{4}) (.{0,200})"
_REJECTED = r"[EF]: Result: (Rejected \w{1,20}), Source: ([A-Za-z ()]{1,60})"
_REASON = r"[EF]: Reason: ([A-Za-z ()]{1,60})"
_PLAIN_TEXT = r"[A-Za-z ]{1,60}"
_NO_MEMORY = ("Virtual Memory exhausted", "bad_alloc")  # a status of dcmdata; the last words of the C++ library


class PeerSilentError(PeerFailedError):
    """The peer took a request and sent nothing within the time limit; what it does with the request is unknown."""


class PeerFloodError(PeerFailedError):
    """The peer sent or announced more in one message than a program may hold."""


class PeerBusyError(PeerRejectedError):
    """The peer rejected the association for now (result 2, rejected-transient, PS3.8 9.3.4): try again later."""


class ServiceRefusedError(PeerFailedError):
    """The peer took the association but none of its presentation contexts: it does not offer the service to us."""


@dataclass(frozen=True, slots=True)
class FinalResponse:
    """The final response to one request.

    `message_id` counts the query files of a run from 1; `status` is the DIMSE status (PS3.7 annex C).
    """

    message_id: int
    status: int
    counts: SubOperations = field(default_factory=SubOperations)


class DcmtkLog:
    """Reads a log line by line.

    Attributes
    ----------
    finals : the final responses seen so far, by Message ID
    sent : how many requests were sent
    accepted : whether the association was accepted
    echo_status : status text of a C-ECHO response, ``"Success"`` if all is well; ``None``: there was none
    """

    def __init__(self) -> None:
        self.finals: dict[int, FinalResponse] = {}
        self.sent = 0
        self.requested = False
        self.accepted = False
        self.echo_status: str | None = None
        self._block: dict[str, str] | None = None
        self._awaited = False
        self._rejected: tuple[str, str] | None = None
        self._reason = ""
        self._no_context = False
        self._condition: tuple[str, str] | None = None
        self._no_memory = False

    def feed(self, line: str) -> FinalResponse | None:
        """Take one line; the final response that it completes, if any."""
        if line.startswith("D: "):
            return self._debug(line) if self._awaited else None
        if line.startswith("I: "):
            self._info(line)
        elif tells_of_memory(line):
            self._no_memory = True
        elif line.startswith(("E: ", "F: ")):
            self._error(line)
        return None

    def _info(self, line: str) -> None:
        self._awaited, self._block = _FINAL.fullmatch(line) is not None, None
        if line in ("I: Sending Find Request", "I: Sending Move Request"):
            self.sent += 1
        elif line == "I: Requesting Association":
            self.requested = True
        elif line.startswith("I: Association Accepted"):
            self.accepted = True
        elif found := _ECHO.fullmatch(line):
            self.echo_status = found[1]

    def _debug(self, line: str) -> FinalResponse | None:
        if self._block is None:
            if _BEGIN.fullmatch(line):
                self._block = {}
            return None
        if found := _FIELD.fullmatch(line):
            self._block[found[1]] = found[2].strip()
        elif _END.fullmatch(line):
            final = _final(self._block)
            self._awaited, self._block = False, None
            if final is not None:
                self.finals[final.message_id] = final
            return final
        return None

    def _error(self, line: str) -> None:
        self._awaited, self._block = False, None
        if found := re.fullmatch(_REJECTED, line):
            self._rejected = (found[1], found[2].strip())
        elif found := re.fullmatch(_REASON, line):
            self._reason = found[1].strip()
        elif "No Acceptable Presentation Contexts" in line:
            self._no_context = True
        elif self._condition is None and (found := re.search(_CONDITION, line)):
            self._condition = (found[1], found[2])

    def failure(self, peer: PacsNode, program: str, returncode: int, *, within_s: float | None) -> PxError | None:
        """Why the conversation ended early, in one line; ``None`` if the log tells of no trouble.

        Parameters
        ----------
        peer, program : how the text names them
        returncode : how the program ended
        within_s : the limit of ours that ended it, seconds; ``None``: none did
        """
        if self._rejected or self._reason:
            busy = self._rejected is not None and "Transient" in self._rejected[0]
            kind = PeerBusyError if busy else PeerRejectedError
            return kind(_rejection(peer, self._rejected, self._reason))
        if self._no_context:
            return ServiceRefusedError(f"{peer} took the association but does not offer what {program} asks for")
        if self._no_memory or self._condition is not None:
            return self._broken(peer, program)
        if within_s is not None:
            silent = PeerSilentError if self.accepted else PeerUnreachableError
            return silent(unfinished(peer, program, within_s))
        if returncode < 0 or (returncode and not self.requested):
            how = f"was ended by signal {-returncode}" if returncode < 0 else f"ended with exit status {returncode}"
            return ToolFailedError(f"{program} {how} before it was done; px needs DCMTK 3.6.7 or later")
        return None

    def _broken(self, peer: PacsNode, program: str) -> PxError:
        """What ended the conversation."""
        code, text = self._condition or ("", "")
        if self._no_memory:
            return PeerFloodError(too_much(peer, program, MEMORY_BYTES))
        return _during(peer, code) if self.accepted else _before(peer, code, text)


def tells_of_memory(line: str) -> bool:
    """Whether a line of a log says that the program got no more memory."""
    return any(words in line for words in _NO_MEMORY)


def too_much(peer: PacsNode, program: str, memory_bytes: int) -> str:
    """What came of a program that got no more memory: no answer in DICOM needs so much."""
    return f"{peer} sent or announced more than fits into the {memory_bytes >> 20} MiB of memory of {program}"


def unfinished(peer: PacsNode, program: str, within_s: float) -> str:
    """What came of a program that said nothing for so long: its peer may be silent, or send one answer without end."""
    return f"{peer} did not finish an answer within {within_s:g} s; {program} was ended"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _final(block: dict[str, str]) -> FinalResponse | None:
    status = _STATUS.match(block.get("DIMSE Status", ""))
    message_id = block.get("Message ID Being Responded To", "")
    if status is None or not _is_number(message_id) or not block.get("Message Type", "").endswith("RSP"):
        return None

    def count(name: str) -> int | None:
        text = block.get(f"{name} Suboperations", "")
        return int(text) if _is_number(text) else None

    counts = SubOperations(count("Completed"), count("Failed"), count("Warning"), count("Remaining"))
    return FinalResponse(int(message_id), int(status[1], 16), counts)


_ADVICE = {
    "Called AE Title Not Recognized": "check the AE title of the PACS (--aec)",
    "Calling AE Title Not Recognized": "the PACS does not know our AE title (--aet): ask its administrator to add it",
    "Local Limit Exceeded": "the PACS has too many associations: try again later, or with fewer --jobs",
    "Temporary Congestion": "the PACS is busy: try again later",
}


def _rejection(peer: PacsNode, rejected: tuple[str, str] | None, reason: str) -> str:
    by = f" ({rejected[0]}, {rejected[1]})" if rejected else ""
    advice = _ADVICE.get(reason)
    return f"{peer} rejected the association: {reason or 'no reason given'}{by}{f'; {advice}' if advice else ''}"


def _before(peer: PacsNode, code: str, text: str) -> PeerUnreachableError:
    """What went wrong before the association was there."""
    cause = text.rpartition(":")[2].strip()
    known = {
        "0006:031c": f"no connection to {peer}: {cause if re.fullmatch(_PLAIN_TEXT, cause) else 'failed'}; "
        "check host and port, and that the PACS runs",
        "0006:031a": f"{peer} does not answer an association request in time; is that a DICOM port?",
        "0006:0320": f"no connection to {peer}: the host name is unknown",
        "0006:0321": f"{peer} answers, but not in DICOM; check the port",
        "0006:0317": f"{peer} closed the connection without an answer; does it take our address?",
    }
    return PeerUnreachableError(known.get(code, f"no association with {peer} (DCMTK condition {code})"))


def _during(peer: PacsNode, code: str) -> PeerFailedError:
    """What went wrong in the middle of a request."""
    if code in ("0006:0207", "0006:031a"):
        return PeerSilentError(f"{peer} sent nothing within the time limit")
    known = {
        "0006:0317": f"{peer} aborted the association",
        "0006:0316": f"{peer} released the association in the middle of a request",
    }
    return PeerFailedError(known.get(code, f"the conversation with {peer} broke off (DCMTK condition {code})"))
