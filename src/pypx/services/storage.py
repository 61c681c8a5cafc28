"""Object storage as px sees it: names, bytes and checksums.

A store is whatever satisfies :class:`ObjectStore`: :mod:`pypx.services.swift`, :mod:`pypx.services.folder` and
:mod:`pypx.services.s3` do.  Names are the keys of CUBE, such as
``SERVICES/PACS/<name>/<patient>/<study>/<series>/<image>.dcm``, without a leading slash.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from pathlib import Path
from typing import Protocol

from pypx.errors import InputError, StorageError
from pypx.model.dataclass import dataclass
from pypx.model.plain import brief

CHUNK = 1 << 20
SMALL_BYTES = 2 << 20
"""Files up to this size are read once and sent from memory; bounds what a worker holds."""

SEGMENT_BYTES = 1 << 30
LARGE_BYTES = 5 * (1 << 30)
"""What Swift and S3 take as one object; larger files go in segments of `SEGMENT_BYTES`."""

DIR_MODE = 0o750
FILE_MODE = 0o640


class StorageUnreachableError(StorageError):
    """The store as a whole cannot be used: no connection, login refused, no such bucket.  Trying on is pointless."""


class NameTooLongError(StorageError):
    """The name of an object is longer than the store takes; that says nothing of the next one.

    Parameters
    ----------
    what : the store, and what was tried
    name : of the object
    most : what it takes, in words
    """

    def __init__(self, what: str, name: str, most: str) -> None:
        super().__init__(
            f"{what}: its name has {len(name.encode())} bytes, more than the store takes ({most}); shorten the folder,"
            " or the templates that the name is made by"
        )


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a store.

    `size` in bytes; `md5` is the hexadecimal MD5 of its bytes, empty where the store does not tell it without reading
    them; `modified` is the store's own text for the time of the last change.
    """

    name: str
    size: int
    md5: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: its size and MD5, and the bytes themselves, unless there are more than `SMALL_BYTES`."""

    size: int
    md5: str
    data: bytes | None = field(default=None, repr=False)


class ObjectStore(Protocol):
    """What px needs of a store; every method raises :class:`pypx.errors.StorageError` with one line on failure.

    An implementation may be used by several threads at once.
    """

    def check(self) -> None:
        """Prove that the store can be used: connect, log in, find or make the container.

        Raises
        ------
        StorageUnreachableError : it cannot
        """

    def head(self, name: str) -> StoredObject | None:
        """The object `name` with its checksum, or ``None`` if there is none."""

    def put(self, source: Path, name: str, md5: str, data: bytes | None = None) -> StoredObject:
        """Store the bytes of `source` as `name`, replacing what was there; verified by the store's checksum.

        `md5` is the MD5 of the source as the caller read it: other bytes are not stored.  `data` is what the caller
        read, if he has it still: then the file is not read again.
        """

    def get(self, name: str, target: Path) -> StoredObject:
        """Write the object to `target`, which appears by rename; the bytes are checked against the store's checksum."""

    def read(self, name: str) -> StoredObject | None:
        """Size and MD5 of the object as its bytes come when read, whatever the store says of them."""

    def delete(self, name: str) -> None:
        """Remove the object; one that is not there is not an error."""

    def walk(self, folder: str) -> Iterator[StoredObject]:
        """All objects in `folder` and below it, and the object of exactly that name; never those of ``folder10``."""

    def below(self, folder: str) -> Iterator[StoredObject]:
        """The objects below `folder` for one who asks again where one is missing: faster than :meth:`walk`."""

    def settle(self, folder: str) -> None:
        """Make durable what was put into `folder`, where the store has not done so."""


def clean_name(name: str) -> str:
    """An object name without outer slashes.

    Raises
    ------
    InputError : empty, a part of the name is empty, ``.`` or ``..``, or it holds control characters
    """
    cleaned = name.strip("/")
    if any(part in ("", ".", "..") for part in cleaned.split("/")) or not _is_text(cleaned):
        raise InputError(f"{name[:120]!r} is no object name: its parts may not be empty, '.' or '..'")
    return cleaned


def clean_folder(folder: str) -> str:
    """A folder name without outer slashes; ``""`` is the whole store.

    Raises
    ------
    InputError : as :func:`clean_name`
    """
    return clean_name(folder) if folder.strip("/") else ""


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return all(character >= " " and character != "\x7f" for character in name)


def is_inside(name: str, folder: str) -> bool:
    """Whether `name` is `folder` itself or lies below it, part by part; everything lies in the empty folder."""
    return not folder or name == folder or name.startswith(f"{folder}/")


def content_type(name: str) -> str:
    """The media type an object is stored with."""
    return "application/dicom" if name.endswith(".dcm") else "application/octet-stream"


def read_content(path: Path) -> Content:
    """Read a file once: its checksum, and its bytes if they are few.

    Raises
    ------
    OSError : it cannot be read
    """
    with path.open("rb", buffering=0) as stream:
        if os.fstat(stream.fileno()).st_size > SMALL_BYTES:
            return Content(*digest_of(iter(lambda: stream.read(CHUNK), b"")))
        data = stream.readall()
    return Content(len(data), hashlib.md5(data, usedforsecurity=False).hexdigest(), data)


def file_md5(path: Path) -> str:
    """MD5 of a file's bytes, hexadecimal: the checksum that Swift and S3 keep of an object.

    Raises
    ------
    OSError : it cannot be read
    """
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of(chunks: Iterable[bytes]) -> tuple[int, str]:
    """Number and MD5 of bytes that come in pieces."""
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def save(chunks: Iterable[bytes], target: Path) -> tuple[int, str]:
    """Write bytes to `target`, which appears by rename; directories on the way are made.

    Returns
    -------
    size and MD5 of what was written

    Raises
    ------
    StorageError : it cannot be written
    """
    temporary = target.with_name(f".px-{secrets.token_hex(8)}.part")
    try:
        target.parent.mkdir(mode=DIR_MODE, parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                temporary.chmod(FILE_MODE)
                size, md5 = digest_of(passed_on(chunks, stream.write))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{brief(str(target))}: cannot be written: {error.strerror or error}") from error
    return size, md5


def passed_on(chunks: Iterable[bytes], write: Callable[[bytes], object]) -> Iterator[bytes]:
    """The chunks, each written before it is yielded."""
    for chunk in chunks:
        write(chunk)
        yield chunk
