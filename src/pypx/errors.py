"""The errors of px, one exit status per class.

Every error that a user can cause or meet is a :class:`PxError`; its text is the one line that reaches stderr and
says what px tried, with whom, what came back and what to do.  ``exit_code`` is the exit status of the process,
documented in ``docs/exit-codes.rst``.  Anything else that escapes is a bug in px (exit status 70).
"""

from __future__ import annotations

from typing import ClassVar


class PxError(Exception):
    """Base of all errors of px; exit status 1 where no subclass is more exact.

    Its text names no patient.  Where the whole would, such as the name of a file that is made of a PatientID, that is
    in `detail` (else ``""``), which is shown to who asks with ``-v``.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, *args: object, detail: str = "") -> None:
        super().__init__(*args)
        self.detail = detail


class InputError(PxError):
    """What the user gave cannot be used: an option, a query, JSON on stdin, an unknown service key."""

    exit_code = 2

    @classmethod
    def of_value(cls, place: str, value: str, problem: str) -> InputError:
        """What is wrong with a value, which may be a patient's: the text says where and what, `detail` the value too.

        Parameters
        ----------
        place : such as a keyword
        problem : goes on from the value, such as ``is not a UID``
        """
        return cls(f"{place}: the value {problem}", detail=f"{place}: {value[:80]!r} {problem}")

    def at(self, place: str) -> InputError:
        """The same, said of a place, such as a line of a file."""
        return InputError(f"{place}: {self}", detail=f"{place}: {self.detail}" if self.detail else "")


class PartialError(PxError):
    """Some of the items asked for failed; the others are done."""

    exit_code = 3


class PeerError(PxError):
    """Base of the errors of a conversation with a DICOM peer."""

    exit_code = 12


class PeerUnreachableError(PeerError):
    """No TCP connection to the peer, or no answer to the association request in time."""

    exit_code = 10


class PeerRejectedError(PeerError):
    """The peer answered with an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    exit_code = 11


class PeerFailedError(PeerError):
    """The peer took the association but the request failed: aborted, timed out, or a failing DIMSE status."""

    exit_code = 12


class ToolMissingError(PxError):
    """A program px needs (DCMTK) is not installed."""

    exit_code = 20


class ToolFailedError(PxError):
    """A program px started ended in a way that is not the peer's doing."""

    exit_code = 21


class StorageError(PxError):
    """An object store refused or lost something."""

    exit_code = 30


class CubeError(PxError):
    """CUBE refused a request."""

    exit_code = 31


class DatabaseError(PxError):
    """The BASEMOUNT cannot be read, written or understood."""

    exit_code = 40


class LockTimeoutError(DatabaseError):
    """Another process held a lock of the BASEMOUNT for too long."""

    exit_code = 41


class InvalidDicomError(PxError):
    """A file is not DICOM, is cut short, or lacks what it must have."""

    exit_code = 50
