"""The PACS API of CUBE without the rest of it: routes, rules of registration, lists and searches, in two dialects.

`old`   to v5.2.0: ``POST pacsfiles/``, a call per file
`new`   v6.10.0 on: ``POST pacs/series/``, a call per series
`gap`   v6.3.0-beta.1 to beta.5: as new, but ``pacs/series/`` is GET only
`none`  a server without any PACS link

Left out: PACS queries and retrieves, session cookies, and PFDCM, which is out of reach here (``GET pacs/`` is 500).
"""

from __future__ import annotations

import mimetypes
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from cube_contract import items, wire
from cube_contract.access import Access, User
from cube_contract.data import Data, Row
from cube_contract.fields import NEW_FIELDS, OLD_FIELDS
from cube_contract.items import BASE, Dialect, Items
from cube_contract.registrar import Registrar
from cube_contract.search import CUBE_TIME, NEW_FILES, OLD_FILES, PACS, SERIES, Filters, search
from cube_contract.stores import ListingStore, StorageError
from cube_contract.wire import COLLECTION, FORM, JSON, MULTIPART, CrashError, Page, RefusedError, Reply, Request, detail

BODIES = (JSON, COLLECTION, FORM, MULTIPART)
DEFAULT_LIMIT = 10

# What python-chrisclient 2.4.0 to 2.13.0 insist on; nothing is served there.
OPEN_LINKS = (
    "chrisinstance", "public_feeds", "files", "compute_resources", "plugin_metas", "plugins", "plugin_instances",
    "pipelines", "pipeline_instances", "pipelinesourcefiles", "workflows", "tags", "uploadedfiles", "userfiles",
    "servicefiles", "filebrowser",
)  # fmt: skip
LOGIN_LINKS = ("user", "groups", "download_tokens", "admin")
PACS_LINKS = {
    "old": {"pacsfiles": "pacsfiles/"},
    "new": {"pacs": "pacs/", "pacsfiles": "pacs/files/", "pacsqueries": "pacs/queries/", "pacsseries": "pacs/series/"},
    "gap": {"pacsfiles": "pacs/files/", "pacsseries": "pacs/series/"},
    "none": {},
}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request on its way through a route: who asks, with which media type to answer, the number in the URL."""

    request: Request
    user: User | None
    media_type: str
    number: int


@dataclass(frozen=True, slots=True)
class Route:
    """A URL, what may be done there and who does it; `closed` needs a login, ``pacs`` membership as well."""

    pattern: re.Pattern[str]
    methods: dict[str, Callable[[Ask], Reply]]
    closed: Literal["", "any", "pacs"]
    offered: tuple[str, ...] = wire.ANSWER_TYPES


@dataclass(slots=True)
class Cube:
    """One CUBE over a real store.  `looks` and `pause_s`: how often and at what distance it counts; 30 and 1 in life."""

    store: ListingStore
    dialect: Dialect = "new"
    looks: int = 30
    pause_s: float = 1.0
    access: Access = field(default_factory=Access)
    data: Data = field(default_factory=Data)
    stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # From a request to an answer

    def handle(self, request: Request) -> Reply:
        """Answer one request as CUBE would; the order of the checks is Django REST Framework's."""
        route, number = self._route(request.path)
        if route is None:
            redirected, _ = self._route(f"{request.path}/")
            if redirected is None or request.path.endswith("/"):
                return wire.not_found_reply()
            slashed = replace(request, path=f"{request.path}/").url
            return Reply(301, b"", "text/html; charset=utf-8", {"Location": slashed})
        reply = self._answer(route, number, request)
        return replace(reply, headers={"Allow": ", ".join(route.methods), "Vary": "Accept", **reply.headers})

    def _answer(self, route: Route, number: int, request: Request) -> Reply:
        media_type = route.offered[0]
        try:
            media_type = wire.negotiate(request, route.offered)
            with self._lock:
                user = self.access.user_of(request)
            if route.closed:
                self.access.require(user, request.method, pacs_only=route.closed == "pacs")
            if request.method not in route.methods:
                raise detail(405, f'Method "{request.method}" not allowed.')
            return route.methods[request.method](Ask(request, user, media_type, number))
        except RefusedError as refused:
            return wire.error_reply(request, media_type, refused)
        except (CrashError, StorageError):
            return wire.crash_reply(request)

    def _route(self, path: str) -> tuple[Route | None, int]:
        for route in self._routes():
            if match := route.pattern.fullmatch(path):
                return route, int(match[1]) if match.groups() else 0
        return None, 0

    def _routes(self) -> Iterable[Route]:
        yield _route("", {"GET": self._root})
        yield _route("auth-token/", {"POST": self._token}, offered=(JSON,))
        if self.dialect == "old":
            yield _route("pacsfiles/", {"GET": self._file_list, "POST": self._register_file}, "any")
            yield _route("pacsfiles/search/", {"GET": self._file_search}, "any")
            yield _route("pacsfiles/#/", {"GET": self._file}, "any")
            yield _route("pacsfiles/#/.+", {"GET": self._file_bytes}, "any")
        if self.dialect in {"new", "gap"}:
            yield _route("pacs/files/", {"GET": self._file_list}, "pacs")
            yield _route("pacs/files/search/", {"GET": self._file_search}, "pacs")
            yield _route("pacs/files/#/", {"GET": self._file}, "pacs")
            yield _route("pacs/files/#/.+", {"GET": self._file_bytes}, "pacs")
            posts = {"POST": self._register_series} if self.dialect == "new" else {}
            deletes = {"DELETE": self._delete_series} if self.dialect == "new" else {}
            yield _route("pacs/series/", {"GET": self._series_list, **posts}, "pacs")
            yield _route("pacs/series/search/", {"GET": self._series_search}, "pacs")
            yield _route("pacs/series/#/", {"GET": self._series, **deletes}, "pacs")
        if self.dialect == "new":
            yield _route("pacs/", {"GET": self._pacs_list}, "pacs")
            yield _route("pacs/search/", {"GET": self._pacs_search}, "pacs")
            yield _route("pacs/#/", {"GET": self._pacs}, "pacs")
            yield _route("pacs/#/series/", {"GET": self._pacs_series}, "pacs")

    # Root and token

    def _root(self, ask: Ask) -> Reply:
        links = {name: f"{name}/" for name in OPEN_LINKS} | PACS_LINKS[self.dialect]
        if ask.user is not None:
            links |= {name: f"{name}/" for name in LOGIN_LINKS}
        return self._page(
            ask, [], lambda row: row, links={name: items.url(ask.request, at) for name, at in links.items()}
        )

    def _token(self, ask: Ask) -> Reply:
        sent = wire.read_body(ask.request, (JSON, FORM, MULTIPART))
        missing = {name: ["This field is required."] for name in ("username", "password") if name not in sent}
        if missing:
            raise RefusedError(400, missing)
        with self._lock:
            token = self.access.token_for(sent["username"], sent["password"])
        return Reply(200, f'{{"token":"{token}"}}'.encode(), JSON)

    # Registering

    def _register_file(self, ask: Ask) -> Reply:
        if ask.request.media_type in {FORM, MULTIPART}:
            raise CrashError
        sent = wire.read_body(ask.request, (JSON, COLLECTION))
        row = self._registrar.file(sent)
        return wire.item_reply(ask.request, ask.media_type, self._items.file(ask.request, row), 201)

    def _register_series(self, ask: Ask) -> Reply:
        sent = wire.read_body(ask.request, BODIES)
        row = self._registrar.series(sent, from_form=ask.request.media_type in {FORM, MULTIPART})
        return wire.item_reply(ask.request, ask.media_type, self._items.series(ask.request, row), 201)

    @property
    def _registrar(self) -> Registrar:
        return Registrar(self.store, self.data, self._lock, self.stopping, self.looks, self.pause_s)

    @property
    def _items(self) -> Items:
        return Items(self.store, self.data, self.dialect)

    # Removing

    def _delete_series(self, ask: Ask) -> Reply:
        with self._lock:
            row = self._row(self.data.series, ask.number, "PACSSeries")
            row["deletion_status"] = "pending"
            row["deletion_requested_at"] = datetime.now(CUBE_TIME).isoformat(timespec="microseconds")
        return wire.item_reply(ask.request, ask.media_type, self._items.series(ask.request, row), 202)

    def work(self) -> None:
        """Do what a Celery worker does: remove the series that are pending, with what the store lists under them."""
        with self._lock:
            pending = [row for row in self.data.series.values() if row["deletion_status"] == "pending"]
            for row in pending:
                for name in self.store.listing(row["folder_path"]):
                    self.store.delete(name)
                self.data.remove_series(row)

    # Lists and items

    def _file_list(self, ask: Ask) -> Reply:
        template = list(OLD_FIELDS) if self.dialect == "old" else []
        return self._page(
            ask, self.data.files.values(), self._items.file, filters=self._file_filters, template=template
        )

    def _file_search(self, ask: Ask) -> Reply:
        found = search(list(self.data.files.values()), self._file_filters, ask.request.params)
        return self._page(ask, found, self._items.file)

    @property
    def _file_filters(self) -> Filters:
        return OLD_FILES if self.dialect == "old" else NEW_FILES

    def _file(self, ask: Ask) -> Reply:
        row = self._row(self.data.files, ask.number, "PACSFile")
        return wire.item_reply(ask.request, ask.media_type, self._items.file(ask.request, row))

    def _file_bytes(self, ask: Ask) -> Reply:
        row = self._row(self.data.files, ask.number, "PACSFile")
        name = row["fname"].rpartition("/")[2]
        if self.store.size(row["fname"]) is None:
            raise CrashError
        kind = "application/dicom" if name.endswith(".dcm") else mimetypes.guess_type(name)[0]
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Reply(200, self.store.read(row["fname"]), kind or "application/octet-stream", headers)

    def _series_list(self, ask: Ask) -> Reply:
        template = list(NEW_FIELDS) if self.dialect == "new" else []
        return self._page(ask, self.data.series.values(), self._items.series, filters=SERIES, template=template)

    def _series_search(self, ask: Ask) -> Reply:
        found = search(list(self.data.series.values()), SERIES, ask.request.params)
        return self._page(ask, found, self._items.series)

    def _series(self, ask: Ask) -> Reply:
        row = self._row(self.data.series, ask.number, "PACSSeries")
        return wire.item_reply(ask.request, ask.media_type, self._items.series(ask.request, row))

    def _pacs_list(self, ask: Ask) -> Reply:
        raise CrashError  # PFDCM is asked on each call, and there is none

    def _pacs_search(self, ask: Ask) -> Reply:
        return self._page(ask, search(list(self.data.pacs.values()), PACS, ask.request.params), self._items.pacs)

    def _pacs(self, ask: Ask) -> Reply:
        row = self._row(self.data.pacs, ask.number, "PACS")
        return wire.item_reply(ask.request, ask.media_type, self._items.pacs(ask.request, row))

    def _pacs_series(self, ask: Ask) -> Reply:
        self._row(self.data.pacs, ask.number, "PACS")
        rows = [row for row in self.data.series.values() if row["pacs_id"] == ask.number]
        return self._page(ask, rows, self._items.series)

    def _row(self, table: dict[int, Row], number: int, kind: str) -> Row:
        if number not in table:
            raise detail(404, f"No {kind} matches the given query.")
        return table[number]

    def _page(
        self,
        ask: Ask,
        rows: Iterable[Row],
        item: Callable[..., Row],
        *,
        filters: Filters | None = None,
        template: list[str] | None = None,
        links: dict[str, str] | None = None,
    ) -> Reply:
        request = ask.request
        found = list(rows)
        limit = _number(request.params.get("limit", "")) or DEFAULT_LIMIT
        offset = _number(request.params.get("offset", ""))
        queries = []
        if filters is not None:
            data = [{"name": name, "value": ""} for name in filters]
            queries = [
                {"href": items.url(request, f"{request.path[len(BASE) :]}search/"), "rel": "search", "data": data}
            ]
        page = Page(
            items=[item(request, row) for row in found[offset : offset + limit]],
            count=len(found),
            next=wire.step(request, limit, offset + limit) if offset + limit < len(found) else None,
            previous=wire.step(request, limit, offset - limit) if offset else None,
            queries=queries,
            template=template or [],
            links=links or {},
        )
        return wire.page_reply(request, ask.media_type, page)


def _route(
    path: str,
    methods: dict[str, Callable[[Ask], Reply]],
    closed: Literal["", "any", "pacs"] = "",
    offered: tuple[str, ...] = wire.ANSWER_TYPES,
) -> Route:
    return Route(re.compile(BASE + path.replace("#", r"(\d+)")), methods, closed, offered)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
