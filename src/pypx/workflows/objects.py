"""Objects of a store by hand: list, put, get, remove, look; what ``px storage`` and pfstorage do."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from errno import ELOOP, ENOENT, ENOTDIR
from pathlib import Path
from typing import TypeVar

from pypx.db.files import shown
from pypx.errors import InputError, PartialError, StorageError
from pypx.model.dataclass import dataclass
from pypx.model.plain import brief
from pypx.services.storage import ObjectStore, StorageUnreachableError, clean_folder, clean_name, read_content

_T = TypeVar("_T")
JOBS = 8


@dataclass(frozen=True, slots=True)
class Moved:
    """A file and an object, one made of the other; `error` says why it was not.

    `sent` is whether bytes went over (``False``: both were equal already); `size` in bytes.
    """

    file: Path
    name: str
    size: int = 0
    sent: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An object as a listing shows it."""

    name: str
    bytes: int
    hash: str
    last_modified: str


def list_objects(store: ObjectStore, path: str = "", substring: str = "") -> Iterator[Found]:
    """The object `path` and all below it, part by part: ``s1`` does not show ``s10``.

    Parameters
    ----------
    path : a folder or an object; ``""`` or ``/``: everything.  Leading dots, as in ``./a``, are dropped
    substring : only objects with this text in their name

    Raises
    ------
    InputError : `path` is no name
    StorageError : the store does not answer
    """
    for item in store.walk(folder_name(path)):
        if substring in item.name:
            yield Found(item.name, item.size, item.md5, item.modified)


def folder_name(path: str) -> str:
    """A path as users write it, ``./a/b/`` or ``/a/b``, as the name of a folder."""
    return clean_folder(path.removeprefix("./") if path != "." else "")


def object_exists(store: ObjectStore, path: str) -> bool:
    """Whether there is an object of exactly this name; a folder is none."""
    return store.head(clean_name(path)) is not None


def put_objects(store: ObjectStore, pairs: Iterable[tuple[Path, str]], *, jobs: int = JOBS) -> Iterator[Moved]:
    """Store files under names; what is there and equal is not sent.

    Yields
    ------
    One result a pair, in order

    Raises
    ------
    StorageUnreachableError : the store as a whole cannot be used
    """

    def put(pair: tuple[Path, str]) -> Moved:
        file, name = pair
        try:
            content = read_content(file)
            there = store.head(clean_name(name))
            if there is None or (there.size, there.md5) != (content.size, content.md5):
                store.put(file, clean_name(name), content.md5, content.data)
                return Moved(file, name, content.size, sent=True)
            return Moved(file, name, content.size)
        except OSError as error:
            return Moved(file, name, error=f"{shown(file)}: cannot be read: {error.strerror or error}")

    store.check()
    folders = set()
    for moved in _each(put, pairs, jobs, lambda pair, error: Moved(*pair, error=error)):
        folders.add(moved.name.rpartition("/")[0])
        yield moved
    for folder in folders:
        store.settle(folder)


def put_pairs(local: Path, to: str, *, replaced: str | None = None, substring: str = "") -> list[tuple[Path, str]]:
    """Which file of a directory goes under which name.

    Parameters
    ----------
    local : a file, or a directory that is walked
    to : a name; without `replaced`, what `local` is followed by comes behind it
    replaced : text of the local path that `to` takes the place of (pfstorage: ``mapLocationOver``)
    substring : only files with this text in their full path

    Raises
    ------
    InputError : there is no such file, none is left, a directory cannot be listed, or a name cannot be used
    """
    start = Path(os.path.abspath(local))  # noqa: PTH100 - resolve() would change the names
    if not os.path.exists(start):  # noqa: PTH110 - Path.exists raises for a name that is too long
        raise InputError(f"{local}: no such file or directory")
    files = sorted(_files_below(start)) if start.is_dir() else [start]
    pairs = []
    for file in (file for file in files if substring in str(file)):
        if replaced:
            name = str(file).replace(replaced.rstrip("/") or "/", to, 1)
        else:
            name = f"{to.rstrip('/')}/{file.relative_to(start)}" if start.is_dir() else to
        pairs.append((file, clean_name(name)))
    if not pairs:
        raise InputError(f"{local}: no files to put; name a directory that has some")
    return pairs


def _files_below(start: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(
            f"{shown(error.filename)}: cannot be read: {error.strerror}; give access, then repeat"
        ) from error

    for folder, _, names in os.walk(start, onerror=refuse):
        for name in names:
            path = Path(folder, name)
            try:
                if stat.S_ISREG(path.stat().st_mode):
                    yield path
            except OSError as error:  # a dangling link is no file
                if error.errno not in {ENOENT, ENOTDIR, ELOOP}:
                    refuse(error)


def get_objects(store: ObjectStore, path: str, to: Path, *, substring: str = "", jobs: int = JOBS) -> Iterator[Moved]:
    """Fetch the object `path`, or all below it, into `to`; each appears whole, checked, by rename.

    An object goes to `to` with what its name has behind `path`; a single object to `to` itself, or into it if it is a
    directory.

    Raises
    ------
    InputError : nothing is there
    StorageUnreachableError : the store as a whole cannot be used
    """
    folder = folder_name(path)
    names = [item.name for item in store.walk(folder) if substring in item.name]
    if not names:
        raise InputError(f"{store}: there is no object at {brief(path) or '/'}")

    def place(name: str) -> Path:
        rest = clean_name(name)[len(folder) :].strip("/")
        if rest:
            return to / rest
        return to / name.rpartition("/")[2] if to.is_dir() else to

    def get(name: str) -> Moved:
        stored = store.get(name, place(name))
        return Moved(place(name), name, stored.size, sent=True)

    yield from _each(get, names, jobs, lambda name, error: Moved(to, name, error=error))


def remove_objects(store: ObjectStore, path: str, *, substring: str = "", jobs: int = JOBS) -> Iterator[Moved]:
    """Remove the object `path` and all below it: with ``s1`` never what is in ``s10``.

    Raises
    ------
    InputError : `path` is empty, which would be everything
    StorageUnreachableError : the store as a whole cannot be used
    """
    folder = folder_name(path)
    if not folder:
        raise InputError(f"{store}: removing everything is not offered; name a folder or an object")
    names = [item.name for item in store.walk(folder) if substring in item.name]

    def remove(name: str) -> Moved:
        store.delete(name)
        return Moved(Path(), name, sent=True)

    yield from _each(remove, names, jobs, lambda name, error: Moved(Path(), name, error=error))


def check_moved(moved: Iterable[Moved]) -> None:
    """Raise if something failed.

    Raises
    ------
    PartialError : some did
    StorageError : all did
    """
    results = list(moved)
    errors = [result.error for result in results if result.error is not None]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        kind = StorageError if len(errors) == len(results) else PartialError
        raise kind(f"{errors[0]}{more}")


def _each(
    action: Callable[[_T], Moved], items: Iterable[_T], jobs: int, failed: Callable[[_T, str], Moved]
) -> Iterator[Moved]:
    """Results of an action over items, in order, ``4 * jobs`` ahead at most; a failure does not stop the others."""
    with ThreadPoolExecutor(jobs) as pool:
        waiting: list[tuple[_T, Future[Moved]]] = []
        try:
            for item in items:
                waiting.append((item, pool.submit(action, item)))
                if len(waiting) >= 4 * jobs:
                    yield _result(*waiting.pop(0), failed)
            while waiting:
                yield _result(*waiting.pop(0), failed)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _result(item: _T, future: Future[Moved], failed: Callable[[_T, str], Moved]) -> Moved:
    try:
        return future.result()
    except StorageUnreachableError:
        raise
    except (StorageError, InputError) as error:
        return failed(item, str(error))
