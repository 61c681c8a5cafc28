"""The REST client of CUBE: what is registered there, and registering, in both of its dialects.

To v5.x a call registers one file (``POST …/pacsfiles/``), from v6 on a whole series (``POST …/pacs/series/``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any
from urllib.parse import urljoin

from pypx.errors import CubeError
from pypx.model.dataclass import dataclass
from pypx.model.peers import CubeTarget
from pypx.services.cubeaddress import CubeLimits
from pypx.services.cubeerrors import CubeRefusedError, CubeUncertainError, error_text
from pypx.services.cubefields import Fields
from pypx.services.cubehttp import CubeSession

Item = Mapping[str, Any]

_BEHIND_THE_END = 2_000_000_000
"""An offset at which a list has a count and links, but no items that CUBE would have to look at."""

_PAGE = 100


class Dialect(str, Enum):
    """How a CUBE takes registrations."""

    FILES = "per-file"
    SERIES = "per-series"


@dataclass(frozen=True, slots=True)
class _Collection:
    """A list of CUBE: where to POST, where to search, and whether it takes a POST."""

    url: str
    search: str
    takes_post: bool


class CubeClient:
    """One CUBE, over one session; may be used by several threads at once.

    Of the errors, CubeUnreachableError and CubeDeniedError would meet every other request as well.

    Parameters
    ----------
    target : URL of the API root, and login
    limits : time limits and tries
    connections : how many threads will ask at once
    """

    def __init__(self, target: CubeTarget, *, limits: CubeLimits | None = None, connections: int = 8) -> None:
        self._session = CubeSession(target, limits, connections=connections)
        self._links: Mapping[str, Any] | None = None
        self._collections: dict[str, _Collection] = {}

    def __enter__(self) -> CubeClient:  # noqa: PYI034 - typing.Self is not in Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return str(self._session)

    @property
    def url(self) -> str:
        """The URL of the API root."""
        return self._session.root

    @property
    def username(self) -> str:
        """Who registers."""
        return self._session.target.username

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def dialect(self) -> Dialect:
        """How this CUBE takes registrations, by the links of its API root; also checks the login.

        Raises
        ------
        CubeError : in no way, or it cannot be asked
        """
        links = self._root_links()
        if "pacsseries" in links:
            if self._collection("pacsseries").takes_post:
                return Dialect.SERIES
            raise CubeError(
                f"{self}: takes no registration by its API (releases v6.3.0-beta.1 to beta.5 do not); upgrade it"
            )
        if "pacsfiles" in links:
            self._collection("pacsfiles")
            return Dialect.FILES
        raise CubeError(
            f"{self}: has neither a link pacsfiles nor pacsseries in its root; is that a CUBE, and the URL of its API?"
        )

    # --- what is registered

    def find_series(self, pacs_name: str, SeriesInstanceUID: str) -> Item | None:
        """The series as registered under a PACS name (per-series dialect)."""
        wanted = {"pacs_identifier": pacs_name, "SeriesInstanceUID": SeriesInstanceUID}
        return self._find("pacsseries", wanted, wanted)

    def find_file(self, name: str) -> Item | None:
        """A file as registered, by the name of its object."""
        return self._find("pacsfiles", {"fname_exact": name}, {"fname": name})

    def count_files(self, folder: str) -> int:
        """How many files are registered below a folder.

        Raises
        ------
        CubeError : CUBE does not say; also if an object that it lists is gone from its storage
        """
        data = self._session.get(self._collection("pacsfiles").search, {"fname": f"{folder}/", "limit": 1}).data
        if any(not str(item.get("fname", "")).startswith(f"{folder}/") for item in _results(data)):
            raise self._odd_search("fname")
        return _count(data)

    def files_of_series(self, pacs_name: str, SeriesInstanceUID: str) -> dict[str, Item]:
        """The files of a series as registered, by the names of their objects (per-file dialect).

        Raises
        ------
        CubeError : CUBE does not say; also if an object that it lists is gone from its storage
        """
        wanted = {"pacs_identifier": pacs_name, "SeriesInstanceUID": SeriesInstanceUID}
        search = self._collection("pacsfiles").search
        if not _count(self._session.get(search, {**wanted, "limit": 1, "offset": _BEHIND_THE_END}).data):
            return {}
        found: dict[str, Item] = {}
        for item in self._pages(search, {**wanted, "limit": _PAGE}):
            if any(item.get(name) != value for name, value in wanted.items()):
                raise self._odd_search("SeriesInstanceUID")
            found[str(item.get("fname"))] = item
        return found

    # --- registering

    def register_file(self, name: str, pacs_name: str, fields: Fields) -> Item | None:
        """Register one object (per-file dialect).

        Without a clear answer CUBE is asked for the file; if it has none, it is registered once more, but for a CUBE
        that gave no answer in time: that may be working on it still.

        Returns
        -------
        CUBE's item; ``None`` if it was registered before

        Raises
        ------
        CubeUncertainError : it may have been done
        CubeRefusedError : CUBE's own words in `data`
        """
        body = {**fields, "pacs_name": pacs_name, "path": name}
        limits = self._session.limits
        for left in (1, 0):
            try:
                return self._register("pacsfiles", body, limits.read_s, "already been registered")
            except CubeUncertainError as error:
                found = self._settled(error, lambda: self.find_file(name), limits.settle_s)
                if found is not None:
                    return found
                if error.silent or not left:
                    raise CubeUncertainError(f"{error}, and does not list the file; register again later") from None
                pause_s = max(limits.pause_s, error.pause_s)
            time.sleep(min(pause_s, limits.longest_pause_s))
        raise AssertionError("unreachable: the last try returns or raises")

    def register_series(self, folder: str, count: int, pacs_name: str, fields: Fields) -> Item | None:
        """Register all objects of a folder as one series, for ever (per-series dialect).

        CUBE counts until its storage lists `count` names ending in ``.dcm``, for about 30 s, before it answers.
        Without a clear answer CUBE is asked for the series until it must have ended; nothing is sent twice.

        Returns
        -------
        CUBE's item; ``None`` if the series was registered before

        Raises
        ------
        CubeUncertainError : it may have been done
        CubeRefusedError : CUBE's own words in `data`
        """
        body = {**fields, "pacs_name": pacs_name, "path": folder, "ndicom": count}
        limits = self._session.limits
        try:
            limit_s = limits.series_s + limits.per_file_s * count
            return self._register("pacsseries", body, limit_s, "already registered for pacs")
        except CubeUncertainError as error:
            uid = str(fields["SeriesInstanceUID"])
            found = self._settled(error, lambda: self.find_series(pacs_name, uid), limits.check_s)
            if found is not None:
                return found
            if error.answered and self.count_files(folder):
                raise CubeError(
                    f"{error}; it holds files of this folder that belong to no such series, left by an earlier failure"
                    " or registered under another UID: only its administrator can remove them"
                ) from None
            raise CubeUncertainError(f"{error}, and does not list the series; register again later") from None

    # --- in detail

    def _register(self, link: str, body: Mapping[str, Any], limit_s: float, duplicate: str) -> Item | None:
        try:
            data = self._session.post(self._collection(link).url, body, read_s=limit_s).data
        except CubeRefusedError as error:
            if duplicate in error_text(error.data):
                return None
            raise
        if not isinstance(data, dict):
            raise CubeUncertainError(f"{self}: took the request but its answer is no item", answered=True)
        return data

    def _settled(self, error: CubeUncertainError, find: Callable[[], Item | None], cut_s: float) -> Item | None:
        """Search for what a registration without a clear answer should have made.

        CUBE is done once it has answered; after a broken connection it may go on for `cut_s`, and it had the time it
        needs already where it was waited for.
        """
        limits = self._session.limits
        end = time.monotonic() + (0.0 if error.answered else limits.settle_s if error.silent else cut_s)
        pause_s = limits.pause_s
        while True:
            found = find()
            if found is not None or time.monotonic() >= end:
                return found
            time.sleep(min(pause_s, max(0.0, end - time.monotonic())))
            pause_s *= 2

    def _find(self, link: str, params: Mapping[str, str], wanted: Mapping[str, str]) -> Item | None:
        data = self._session.get(self._collection(link).search, {**params, "limit": 1}).data
        for item in _results(data):
            if any(item.get(name) != value for name, value in wanted.items()):
                raise self._odd_search(", ".join(params))
            return item
        return None

    def _odd_search(self, filters: str) -> CubeError:
        return CubeError(f"{self}: a search by {filters} finds something else; its answers cannot be used")

    def _pages(self, url: str, params: Mapping[str, str | int]) -> Iterator[Item]:
        offset = 0
        while True:
            data = self._session.get(url, {**params, "offset": offset}).data
            items = _results(data)
            yield from items
            offset += len(items)
            if not items or offset >= _count(data):
                return

    def _root_links(self) -> Mapping[str, Any]:
        if self._links is None:
            data = self._session.get(self._session.root, login=False).data
            links = data.get("collection_links") if isinstance(data, dict) else None
            if not isinstance(links, dict):
                raise CubeError(f"{self}: its answer has no collection_links; is that the URL of CUBE's API root?")
            self._links = links
        return self._links

    def _collection(self, link: str) -> _Collection:
        """A list of the API root; asked once how it is searched and whether it takes a POST."""
        if link not in self._collections:
            links = self._root_links()
            if link not in links:
                raise CubeError(f"{self}: has no link {link} in its API root; it is too old or too new for px")
            url = self._session.own_url(links[link])
            answer = self._session.get(url, {"limit": 1, "offset": _BEHIND_THE_END})
            data = answer.data if isinstance(answer.data, dict) else {}
            takes_post = "POST" in answer.allowed if answer.allowed else "template" in data
            self._collections[link] = _Collection(url, self._session.own_url(_search_link(data, url)), takes_post)
        return self._collections[link]


def _search_link(data: Mapping[str, Any], url: str) -> str:
    queries = data.get("queries")
    links = [query.get("href") for query in queries if isinstance(query, dict)] if isinstance(queries, list) else []
    return next((str(link) for link in links if link), urljoin(url, "search/"))


def _results(data: Any) -> list[Item]:
    results = data.get("results") if isinstance(data, dict) else None
    if not isinstance(results, list) or not all(isinstance(item, dict) for item in results):
        raise CubeError("CUBE's answer to a search is no list of items; is that the URL of CUBE's API root?")
    return results


def _count(data: Any) -> int:
    count = data.get("count") if isinstance(data, dict) else None
    if not isinstance(count, int):
        raise CubeError("CUBE's answer to a search has no count; is that the URL of CUBE's API root?")
    return count
