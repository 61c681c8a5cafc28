"""What the programs that serve associations say when they cannot take what comes: heard, told apart, never shown.

In inetd mode storescp closes its standard error, so a log configuration has it write its errors to a pipe that all
associations of a listener share.  Its text may hold what a sender chose and is dropped here; what it means goes on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path

from pypx.db.files import os_errors
from pypx.db.layout import FILE_MODE
from pypx.services.dcmtk import storescp_log_config
from pypx.workflows.spool import ERRORS

_BLOCK = 1 << 16
_MAX_LINE = 1 << 13
_LINE = re.compile(
    rb"(\d{1,10}) (?:.*DIMSE[ _]\w+: Cannot (?=(?:write to|create) file)|0000:0002 )"
    rb"(write to|create|Virtual Memory exhausted)"
)


class Refused(Enum):
    """Why storescp took something not: it answered *out of resources*, or aborted (`MEMORY`).

    DCMTK 3.6.7: dimstore.cc, dcerror.cc.
    """

    WRITE = "write to"
    CREATE = "create"
    MEMORY = "Virtual Memory exhausted"


class Words:
    """The pipe.

    Parameters
    ----------
    folder : of the listener; gets the log configuration

    Raises
    ------
    DatabaseError : the configuration cannot be written
    """

    def __init__(self, folder: Path) -> None:
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reader, False)
        self._rest = b""
        self.config = folder / ERRORS
        try:
            with os_errors("write", self.config):
                self.config.write_text(storescp_log_config(self.writer), encoding="ascii")
                self.config.chmod(FILE_MODE)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """The end to read from, for a selector."""
        return self._reader

    def heard(self) -> Iterator[tuple[int, Refused]]:
        """The process ids of programs that refused an object since the last call, and why."""
        with suppress(BlockingIOError):
            while block := os.read(self._reader, _BLOCK):
                *lines, rest = (self._rest + block).split(b"\n")
                self._rest = rest[:_MAX_LINE]
                for line in lines:
                    found = _LINE.match(line)
                    if found is not None:
                        yield int(found[1]), Refused(found[2].decode())

    def close(self) -> None:
        """Close the pipe and remove the configuration; programs that still run go on without."""
        os.close(self._reader)
        os.close(self.writer)
        with suppress(OSError):
            self.config.unlink()
