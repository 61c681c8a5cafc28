"""Private temporary folders, which a killed process leaves behind and the next one removes.

They hold queries, so the names of patients.  That nobody who lives owns one is known from a lock on a file in it
(flock(2)), which the kernel frees.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "px-"
_LOCK = ".lock"
_MEMORY = Path("/dev/shm")  # noqa: S108 - no fixed name in it: folders are made as tempfile makes them
_LEAST_ROOM = 1024**3
_UNBORN_S = 60.0


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """Make a folder for this user alone (0700), and remove it in the end.

    It lies in memory (``/dev/shm``) if that has a gibibyte of room, as that of a container often has not, and nobody
    set ``TMPDIR``; else in the temporary directory.  On a disk every answer of a PACS waits for the syncs of others.

    Folders of the same user whose process was killed are removed first.

    Parameters
    ----------
    purpose : a word for its name
    """
    place = _place()
    for directory in {place, Path(tempfile.gettempdir())}:
        _remove_abandoned(directory)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{purpose}-", dir=place) as name:
        unborn = Path(name, f"{_LOCK}.new")
        descriptor = os.open(unborn, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with suppress(OSError):  # no locks here: then nobody removes it for us
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                unborn.rename(unborn.with_suffix(""))
            yield Path(name)
        finally:
            os.close(descriptor)


def _place() -> Path:
    """Where folders are made."""
    if not any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")):
        with suppress(OSError):
            room = os.statvfs(_MEMORY)
            if room.f_bavail * room.f_frsize >= _LEAST_ROOM and os.access(_MEMORY, os.W_OK | os.X_OK):
                return _MEMORY
    return Path(tempfile.gettempdir())


def _remove_abandoned(directory: Path) -> None:
    for folder in directory.glob(f"{_PREFIX}*-*"):
        with suppress(OSError):
            status = folder.lstat()
            if status.st_uid != os.geteuid() or status.st_mode & 0o77:
                continue
            if time.time() - status.st_mtime > _UNBORN_S and not any(folder.iterdir()):
                folder.rmdir()  # its process was killed before it had a lock
                continue
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
