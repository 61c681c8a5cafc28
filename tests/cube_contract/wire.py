"""Media types of CUBE: which one is answered with, what a request says, and what each answer looks like."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode

JSON = "application/json"
COLLECTION = "application/vnd.collection+json"
HTML = "text/html"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
ANSWER_TYPES = (COLLECTION, JSON, HTML)
LINKS = {"folder", "file_resource", "parent_folder", "owner", "query_list", "series_list"}

NOT_FOUND_PAGE = (
    '\n<!doctype html>\n<html lang="en">\n<head>\n  <title>Not Found</title>\n</head>\n<body>\n'
    "  <h1>Not Found</h1><p>The requested resource was not found on this server.</p>\n</body>\n</html>\n"
)
CRASH = "Internal server error"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came; header names in lower case, `path` without query and not unquoted."""

    method: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def url(self) -> str:
        return f"http://{self.host}{self.path}{'?' if self.query else ''}{self.query}"

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def media_type(self) -> str:
        return self.content_type.split(";")[0].strip().lower()

    @property
    def accept(self) -> str:
        return self.headers.get("accept", "*/*")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, ready to be sent."""

    status: int
    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: `items`, how many there are in all, and where the others are."""

    items: list[dict[str, Any]]
    count: int
    next: str | None
    previous: str | None
    queries: list[dict[str, Any]] = field(default_factory=list)
    template: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """An answer with an error; `data` is of one of the five shapes."""

    def __init__(self, status: int, data: dict[str, Any] | list[str], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {data}")
        self.status = status
        self.data = data
        self.headers = headers or {}


class CrashError(Exception):
    """CUBE runs into a bug of its own: status 500."""


def detail(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> RefusedError:
    return RefusedError(status, {"detail": sentence}, headers)


def negotiate(request: Request, offered: tuple[str, ...] = ANSWER_TYPES) -> str:
    """Type to answer with: the most specific range of Accept that fits, ours first; ``q`` is not looked at."""
    if request.params.get("format") == "json" and JSON in offered:
        return JSON
    ranges = [part.split(";")[0].strip().lower() for part in request.accept.split(",") if part.strip()] or ["*/*"]
    for stars in (0, 1, 2):
        for media_type in offered:
            family = media_type.split("/")[0]
            wanted = (media_type, f"{family}/*", "*/*")[stars]
            if wanted in ranges:
                return media_type
    raise detail(406, "Could not satisfy the request Accept header.")


def read_body(request: Request, accepted: tuple[str, ...]) -> Mapping[str, Any]:
    """The object that was sent, flat; RefusedError with 415 or 400."""
    if not request.body:
        return {}
    if request.media_type not in accepted:
        raise detail(415, f'Unsupported media type "{request.content_type}" in request.')
    if request.media_type == FORM:
        return dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    if request.media_type == MULTIPART:
        return _read_multipart(request)
    try:
        data = json.loads(request.body)
    except ValueError as error:
        raise detail(400, f"JSON parse error - {error}") from error
    if request.media_type == COLLECTION:
        return _read_template(data)
    if not isinstance(data, dict):
        kind = type(data).__name__
        raise RefusedError(400, {"non_field_errors": [f"Invalid data. Expected a dictionary, but got {kind}."]})
    return data


def _read_template(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict) or "template" not in data:
        raise detail(400, "Collection+JSON: template is missing.")
    try:
        return {str(item["name"]): item["value"] for item in data["template"]["data"]}
    except (KeyError, TypeError) as error:
        raise detail(400, "Collection+JSON: template.data must be a list of name and value.") from error


def _read_multipart(request: Request) -> Mapping[str, Any]:
    head = f"Content-Type: {request.content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.body, policy=email.policy.HTTP)
    found: dict[str, Any] = {}
    for part in message.iter_parts():
        payload = part.get_payload(decode=True)
        found[str(part.get_param("name", header="content-disposition"))] = (
            payload.decode() if isinstance(payload, bytes) else ""
        )
    return found


def error_reply(request: Request, media_type: str, refused: RefusedError) -> Reply:
    data = refused.data
    sentence = json.dumps(data, ensure_ascii=False)
    if isinstance(data, dict) and isinstance(data.get("detail"), str):
        sentence = data["detail"]
    return _reply(refused.status, data, _collection_error(request, sentence), media_type, refused.headers)


def crash_reply(request: Request) -> Reply:
    """500: JSON only for who asks for exactly that."""
    media_type = JSON if request.accept == JSON else COLLECTION
    return _reply(500, {"error": CRASH}, _collection_error(request, CRASH), media_type, {})


def item_reply(request: Request, media_type: str, item: dict[str, Any], status: int = 200) -> Reply:
    headers = {"Location": str(item["url"])} if status == 201 else {}
    collection = {"version": "1.0", "href": request.url, "items": [_collection_item(item)]}
    return _reply(status, item, {"collection": collection}, media_type, headers)


def page_reply(request: Request, media_type: str, page: Page) -> Reply:
    template = {"data": [{"name": name, "value": ""} for name in page.template]}
    flat: dict[str, Any] = {"count": page.count, "next": page.next, "previous": page.previous, "results": page.items}
    links = [{"rel": rel, "href": href} for rel, href in page.links.items()]
    steps = {"next": page.next, "previous": page.previous}
    links += [{"rel": rel, "href": href} for rel, href in steps.items() if href is not None]
    items = [_collection_item(item) for item in page.items]
    collection: dict[str, Any] = {
        "version": "1.0", "href": request.url, "items": items, "links": links, "total": page.count,
    }  # fmt: skip
    for data in (flat, collection):
        if page.queries:
            data["queries"] = page.queries
        if page.template:
            data["template"] = template
    if page.links:
        flat["collection_links"] = page.links
    return _reply(200, flat, {"collection": collection}, media_type, {})


def not_found_reply() -> Reply:
    """What Django says of a URL that is none; it does not look at Accept."""
    return Reply(404, NOT_FOUND_PAGE.encode(), "text/html; charset=utf-8")


def step(request: Request, limit: int, offset: int) -> str:
    """The URL of this list at another place; without `offset` at its start."""
    params = {**request.params, "limit": str(limit), "offset": str(offset)}
    if offset <= 0:
        del params["offset"]
    return f"http://{request.host}{request.path}?{urlencode(sorted(params.items()))}"


def _collection_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "data": [{"name": name, "value": value} for name, value in item.items() if name not in {"url", *LINKS}],
        "href": item["url"],
        "links": [{"rel": name, "href": item[name]} for name in item if name in LINKS],
    }


def _collection_error(request: Request, sentence: str) -> dict[str, Any]:
    return {"collection": {"version": "1.0", "href": request.url, "error": {"message": sentence}}}


def _reply(status: int, flat: object, collection: object, media_type: str, headers: Mapping[str, str]) -> Reply:
    data = collection if media_type == COLLECTION else flat
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    if media_type == HTML:
        return Reply(status, f"<html><body><pre>{escape(text)}</pre></body></html>".encode(), HTML, headers)
    return Reply(status, text.encode(), media_type, headers)
