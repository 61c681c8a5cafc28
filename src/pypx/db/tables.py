"""The only reader and writer of table files: lock, read, change, replace.

A table is a JSON object in a file of its own, written as pypx writes it and replaced as a whole, so that readers
need no lock; a log (see :mod:`pypx.db.logs`) is a file of JSON objects, one a line, that only grows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pypx.db.files import about, locked, make_dirs, read_bytes, sync_filesystem, write_file
from pypx.db.layout import Modes
from pypx.db.logs import append_lines, read_lines

__all__ = [
    "append_lines",
    "dump",
    "locked",
    "make_dirs",
    "read_lines",
    "read_table",
    "sync_filesystem",
    "update_table",
    "write_file",
]

_MODES = Modes()
_RETRIES = 3
_RETRY_S = 0.02


def read_table(path: Path) -> dict[str, Any] | None:
    """Read a table; ``None`` if there is none.

    A file that does not parse is read again a few times: pypx 3 empties a table before it writes it.

    Raises
    ------
    DatabaseError : unreadable, not JSON or not a JSON object; never taken for an empty table
    """
    for attempt in range(_RETRIES):
        raw = read_bytes(path)
        if raw is None:
            return None
        try:
            return _parsed(raw)
        except (ValueError, RecursionError) as error:
            if attempt == _RETRIES - 1:
                raise about(path, f": not a table ({error}); restore or remove this file") from None
            time.sleep(_RETRY_S)
    return None


def _parsed(raw: bytes) -> dict[str, Any]:
    table = json.loads(raw)
    if not isinstance(table, dict):
        raise ValueError(f"a JSON object is expected, found {type(table).__name__}")  # noqa: TRY004 - caught as bad JSON
    return table


def update_table(
    path: Path,
    lock: Path,
    change: Callable[[dict[str, Any]], dict[str, Any] | None],
    timeout_s: float = 30,
    *,
    modes: Modes = _MODES,
    lock_modes: Modes | None = None,
) -> dict[str, Any]:
    """Change a table under its lock: read, change, write aside, fsync, rename.

    Parameters
    ----------
    path : the table; created with its directory when missing
    lock : its lock file, held from the read to the rename
    change : gets the table (``{}`` if there is none) and returns the new one, or ``None`` to leave all as it is
    timeout_s : how long to wait for the lock, seconds
    modes : permissions of the file, and of its directory if that is missing
    lock_modes : those of the lock file; ``None``: the same

    Returns
    -------
    The table as it now is

    Raises
    ------
    LockTimeoutError, DatabaseError : nothing was changed then
    """
    with locked(lock, timeout_s, modes=lock_modes or modes):
        table = read_table(path)
        before = None if table is None else dump(table)
        changed = change({} if table is None else table)
        if changed is None:
            return {} if before is None else _parsed(before)
        after = dump(changed)
        if after != before:
            make_dirs(path.parent, modes.directory)
            write_file(path, after, modes.file)
        return changed


def dump(table: dict[str, Any]) -> bytes:
    """A table as pypx writes it: indented by four, ASCII, without a newline at the end."""
    return json.dumps(table, indent=4).encode("ascii")
