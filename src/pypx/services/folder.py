"""A directory as object store: an object's name is its path below the directory."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from errno import EACCES, EDQUOT, EMLINK, ENAMETOOLONG, ENOENT, ENOSPC, ENOTDIR, EOPNOTSUPP, EPERM, EROFS, EXDEV
from fcntl import ioctl
from pathlib import Path
from typing import BinaryIO

from pypx.errors import StorageError
from pypx.model.peers import FolderTarget
from pypx.model.plain import brief, shortened
from pypx.services.storage import (
    CHUNK,
    DIR_MODE,
    FILE_MODE,
    NameTooLongError,
    StorageUnreachableError,
    StoredObject,
    clean_folder,
    clean_name,
    digest_of,
    file_md5,
    passed_on,
    save,
)

_PART, _SUFFIX = ".px-", ".part"
_STALE_S = 3600.0
_SHOWN = 120
_FICLONE = 0x40049409  # of linux/fs.h; elsewhere refused, and then the bytes are written
_NO_LINK = frozenset({EXDEV, EPERM, EACCES, EMLINK, EOPNOTSUPP})
_STOPPING = frozenset({ENOSPC, EDQUOT, EROFS})


class FolderStore:
    """Objects as files of 0640 in directories of 0750 below one root.

    A file appears under its name whole: it is written under a temporary name, which does not end in ``.dcm``, checked,
    made durable and renamed.  Bytes are shared with the source where the filesystem can share extents.

    Parameters
    ----------
    target : the root; made if it is missing
    link : make a hard link of the source where possible.  The object then *is* the source: whoever changes one
        changes the other, and the object has the source's mode and owner
    """

    def __init__(self, target: FolderTarget, *, link: bool = False) -> None:
        self._target = target
        self._root = Path(os.path.abspath(target.root))  # noqa: PTH100 - resolve() would hide a link as root
        self._link = link

    def __str__(self) -> str:
        return str(self._target)

    def check(self) -> None:
        """See :class:`pypx.services.storage.ObjectStore`."""
        try:
            _make_dirs(self._root)
            writable = os.access(self._root, os.W_OK | os.X_OK)
        except OSError as error:
            raise StorageUnreachableError(f"{self}: cannot be made: {error.strerror}; name another folder") from error
        if not writable:
            raise StorageUnreachableError(f"{self}: may not be written by this user; give access, or name another one")

    def head(self, name: str) -> StoredObject | None:
        """See :class:`pypx.services.storage.ObjectStore`; reads the whole file for its checksum."""
        return self.read(name)

    def read(self, name: str) -> StoredObject | None:
        """See :class:`pypx.services.storage.ObjectStore`."""
        path = self._path(name)
        with self._explained("reading", name):
            if not path.is_file():
                return None
            return _described(path, name, file_md5(path))

    def put(self, source: Path, name: str, md5: str, data: bytes | None = None) -> StoredObject:
        """See :class:`pypx.services.storage.ObjectStore`."""
        path = self._path(name)
        with self._explained("writing", name):
            _make_dirs(path.parent)
            self._check_inside(path)
            temporary = path.with_name(f"{_PART}{secrets.token_hex(8)}{_SUFFIX}")
            try:
                written = self._written(source, temporary, md5, data)
                if written != md5:
                    raise StorageError(
                        f"{self}: {brief(name)} was written with checksum {written}, not {md5}; check the disk,"
                        " push it again"
                    )
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)  # also after renaming a link over another link of the same file
            return _described(path, name, md5)

    def _written(self, source: Path, temporary: Path, md5: str, data: bytes | None) -> str:
        """Make the file, durably, in the cheapest way there is; returns the MD5 of what it holds."""
        if self._link and _linked(source, temporary):
            return file_md5(temporary)
        with source.open("rb", buffering=0) as reader, _new(temporary) as writer:
            if shared := _shares(reader, writer):
                written = ""
            elif data is not None:  # the very bytes that the caller has made the checksum of
                writer.write(data)
                written = md5
            else:
                written = digest_of(passed_on(iter(lambda: reader.read(CHUNK), b""), writer.write))[1]
            writer.flush()
            os.fsync(writer.fileno())
        return file_md5(temporary) if shared else written

    def get(self, name: str, target: Path) -> StoredObject:
        """See :class:`pypx.services.storage.ObjectStore`."""
        path = self._path(name)
        with self._explained("reading", name):
            if not path.is_file():
                raise StorageError(f"{self}: there is no object {brief(name)}")
            with path.open("rb") as stream:
                size, md5 = save(iter(lambda: stream.read(CHUNK), b""), target)
        return StoredObject(name, size, md5)

    def delete(self, name: str) -> None:
        """See :class:`pypx.services.storage.ObjectStore`; directories that are empty then go as well."""
        path = self._path(name)
        with self._explained("removing", name):
            self._check_inside(path)
            path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or not there
            for parent in path.parents:
                if parent == self._root:
                    break
                parent.rmdir()

    def walk(self, folder: str) -> Iterator[StoredObject]:
        """See :class:`pypx.services.storage.ObjectStore`; checksums are not given, they would cost reading all."""
        start = self._root / clean_folder(folder)
        with self._explained("listing", folder):
            if start.is_file():
                yield _described(start, clean_folder(folder))
            for directory, folders, names in os.walk(start, onerror=self._unlisted):
                folders.sort()
                for name in sorted(names):
                    path = Path(directory, name)
                    if not _is_part(name) and path.is_file():
                        yield _described(path, path.relative_to(self._root).as_posix())

    def _unlisted(self, error: OSError) -> None:
        """Nobody is to take what cannot be seen for absent; lost+found is of the volume, not of the store."""
        if error.errno not in {ENOENT, ENOTDIR} and error.filename != str(self._root / "lost+found"):
            raise error

    def below(self, folder: str) -> Iterator[StoredObject]:
        """See :class:`pypx.services.storage.ObjectStore`."""
        yield from self.walk(folder)

    def settle(self, folder: str) -> None:
        """Make the names in a folder durable, and remove what an interrupted run has left there."""
        directory = self._root / clean_folder(folder)
        with self._explained("syncing", folder):
            if not directory.is_dir():
                return
            for part in directory.glob(f"{_PART}*{_SUFFIX}"):
                with suppress(FileNotFoundError):
                    if time.time() - part.stat().st_mtime > _STALE_S:
                        part.unlink()
            while directory != self._root.parent:
                descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    with suppress(OSError):  # some network file systems cannot, and need not
                        os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                directory = directory.parent

    def _path(self, name: str) -> Path:
        path = self._root / clean_name(name)
        if _is_part(path.name):
            raise StorageError(f"{self}: {name[:120]} is a temporary name of px; choose another")
        return path

    def _check_inside(self, path: Path) -> None:
        """No symbolic link below the root may lead out of it."""
        if not path.parent.resolve().is_relative_to(self._root.resolve()):
            raise StorageError(f"{self}: {path.parent} leads out of it through a symbolic link; remove that link")

    @contextmanager
    def _explained(self, verb: str, name: str) -> Iterator[None]:
        doing = f"{verb} {shortened(brief(name), _SHOWN)}"
        try:
            yield
        except OSError as error:
            if error.errno == ENAMETOOLONG:
                raise NameTooLongError(f"{self}: {doing}", name, "255 in each part, 4095 with the directory") from error
            text = f"{self}: {doing}: {error.strerror or error}"
            if error.errno in _STOPPING:
                raise StorageUnreachableError(f"{text}; make room or give access, then push again") from error
            raise StorageError(f"{text}; check the disk and the permissions") from error


def _is_part(name: str) -> bool:
    return name.startswith(_PART) and name.endswith(_SUFFIX)


def _described(path: Path, name: str, md5: str = "") -> StoredObject:
    status = path.stat()
    modified = datetime.fromtimestamp(status.st_mtime, timezone.utc).isoformat().replace("+00:00", "Z")
    return StoredObject(name, status.st_size, md5, modified)


def _make_dirs(path: Path) -> None:
    """Directories of 0750 whatever the umask; those that exist stay as they are."""
    for directory in [*reversed(path.parents), path]:
        if not directory.is_dir():
            with suppress(FileExistsError):  # another thread was faster
                directory.mkdir(DIR_MODE)
                directory.chmod(DIR_MODE | directory.stat().st_mode & 0o7000)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    return True


def _shares(source: BinaryIO, target: BinaryIO) -> bool:
    """Whether a new file now shares the extents of `source`: ioctl_ficlone(2), on Btrfs, XFS and the like."""
    try:
        ioctl(target.fileno(), _FICLONE, source.fileno())
    except OSError:
        return False
    return True


def _new(path: Path) -> BinaryIO:
    """A new file of 0640, whatever the umask."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE)
    os.fchmod(descriptor, FILE_MODE)
    return os.fdopen(descriptor, "wb")
