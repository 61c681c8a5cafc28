"""Append-only files of JSON objects, one a line.

A line counts when its newline is there.  What follows the last newline was cut short by a crash (or is being written):
readers ignore it, the next writer cuts it off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pypx.db.checkpoints import reached
from pypx.db.files import os_errors, set_mode, sync_dir
from pypx.db.layout import FILE_MODE
from pypx.errors import DatabaseError
from pypx.model.dataclass import dataclass

_TAIL = 64
_JSON_BLANKS = " \t\r"
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a log has been read: which file it was, the offset behind the last line read, and the bytes before it."""

    device: int
    inode: int
    offset: int
    tail: bytes


def append_lines(path: Path, lines: Sequence[str], mode: int = FILE_MODE) -> None:
    """Append lines in one write and make them durable; the caller holds the lock of the file.

    Parameters
    ----------
    path : the log; created (not its directory) when missing
    lines : texts without newlines; none: nothing is touched
    mode : permissions of a new file, whatever the umask

    Raises
    ------
    DatabaseError : nothing was appended, such as when the disk is full
    """
    if not lines:
        return
    data = "".join(f"{line}\n" for line in lines).encode()
    with os_errors("append to", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, mode)
        try:
            end = _cut_torn_line(descriptor)
            if end == 0:
                set_mode(descriptor, mode)
            _append(descriptor, data, end)
        finally:
            os.close(descriptor)
    if end == 0:
        sync_dir(path.parent)


def _append(descriptor: int, data: bytes, end: int) -> None:
    try:
        rest = memoryview(data)
        while rest:  # one write, but where the disk is nearly full: then the second says so
            rest = rest[os.write(descriptor, rest) :]
        reached("logs.appended")
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise


def _cut_torn_line(descriptor: int) -> int:
    """Cut off what follows the last newline; returns the size after that."""
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    end = size
    while end > 0:
        start = max(0, end - _BLOCK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    os.ftruncate(descriptor, end)
    return end


def read_lines(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Read the complete lines of a log from `offset` on.

    Returns
    -------
    The objects, and the offset behind the last complete line; ``([], offset)`` where there is no file

    Raises
    ------
    DatabaseError : a complete line is not a JSON object (names file and line), or the file cannot be read
    """
    with os_errors("read", path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return [], offset
        try:
            data = _read_from(descriptor, offset)
        finally:
            os.close(descriptor)
    data = data[: data.rfind(b"\n") + 1]
    return _objects(path, data, offset), offset + len(data)


def read_since(path: Path, mark: Mark | None) -> tuple[list[dict[str, Any]], Mark | None, bool]:
    """Read the complete lines that a log got since `mark`.

    Returns
    -------
    The objects, the new mark (``None``: there is no file), and whether the objects continue what was read up to `mark`;
    if not, the file is another one, and the objects are all it holds

    Raises
    ------
    DatabaseError : as `read_lines`
    """
    with os_errors("read", path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return [], None, mark is None
        try:
            state = os.fstat(descriptor)
            continued = mark is not None and _continues(descriptor, state, mark)
            start = mark.offset if mark is not None and continued else 0
            data = _read_from(descriptor, start)
        finally:
            os.close(descriptor)
    data = data[: data.rfind(b"\n") + 1]
    before = mark.tail if mark is not None and continued else b""
    new = Mark(state.st_dev, state.st_ino, start + len(data), (before + data[-_TAIL:])[-_TAIL:])
    return _objects(path, data, start), new, continued


def _continues(descriptor: int, state: os.stat_result, mark: Mark) -> bool:
    same = (state.st_dev, state.st_ino) == (mark.device, mark.inode) and state.st_size >= mark.offset
    return same and os.pread(descriptor, len(mark.tail), mark.offset - len(mark.tail)) == mark.tail


def _read_from(descriptor: int, offset: int) -> bytes:
    blocks = []
    while block := os.pread(descriptor, _BLOCK, offset):
        blocks.append(block)
        offset += len(block)
    return b"".join(blocks)


def _objects(path: Path, data: bytes, offset: int) -> list[dict[str, Any]]:
    try:
        objects = list(_decoded(data.decode()))
    except (ValueError, RecursionError):
        objects = [None]
    if all(isinstance(value, dict) for value in objects):
        return objects
    with os_errors("read", path), path.open("rb") as stream:
        number = stream.read(offset).count(b"\n")
    raise DatabaseError(f"{path}, line {number + _first_bad(data)}: not a JSON object; repair or remove that line")


def _decoded(text: str) -> Iterator[Any]:
    """The values of the lines of `text`, which ends with a newline or is empty; half the time of loading each line."""
    decode, start = json.JSONDecoder().raw_decode, 0
    while start < len(text):
        end = text.index("\n", start)
        if end > start:
            if text[start] in _JSON_BLANKS or text[end - 1] in _JSON_BLANKS:
                value, stop = json.loads(text[start:end]), end
            else:
                value, stop = decode(text, start)
            if stop != end:
                raise ValueError("a line does not end where its value does")
            yield value
        start = end + 1


def _first_bad(data: bytes) -> int:
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            good = not line or isinstance(json.loads(line), dict)
        except (ValueError, RecursionError):
            good = False
        if not good:
            return number
    return 1
