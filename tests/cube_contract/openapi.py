"""Checks of requests and answers against CUBE's own OpenAPI description (openapi.json, as CUBE publishes it).

The description knows the present API only.  The per-file API is described here in the same terms: its item has the
descriptors of a series, its search the filters of both lists.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cube_contract.search import NOT_EMULATED, OLD_FILES
from cube_contract.wire import COLLECTION, FORM, MULTIPART, Request

Schema = Mapping[str, Any]

UNCHECKED = {"default", "example", "description", "title", "readOnly", "writeOnly", "required", "nullable"}
FORMATS = {
    "date": re.compile(r"\d{4}-\d{2}-\d{2}"),
    "date-time": re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})"),
    "uri": re.compile(r"https?://\S+"),
    "binary": re.compile(r".*", re.DOTALL),
}
TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "boolean": (bool,), "array": (list,), "object": (dict,),
}  # fmt: skip


def load() -> dict[str, Any]:
    """The description as CUBE publishes it."""
    text = Path(__file__).with_name("openapi.json").read_text()
    description: dict[str, Any] = json.loads(text)
    return description


def with_per_file_api(description: dict[str, Any]) -> dict[str, Any]:
    """The description with the paths of v5.x in place of those of v6."""
    old = copy.deepcopy(description)
    schemas = old["components"]["schemas"]
    item = schemas["PACSSeries"]
    for name in ("ndicom", "folder", "folder_path", "deletion_status", "deletion_requested_at", "deletion_error"):
        del item["properties"][name]
    for name, schema in schemas["PACSFile"]["properties"].items():
        if name in {"fname", "fsize", "file_resource"}:
            item["properties"][name] = {**schema, "readOnly": True}
    item["required"] = [name for name in item["required"] if name in item["properties"]] + ["fname", "fsize"]
    numbers = {"id", "fname_nslashes", "PatientAge", "min_PatientAge", "max_PatientAge"}
    filters = [
        {"in": "query", "name": name, "schema": {"type": "integer" if name in numbers else "string"}}
        for name in (*OLD_FILES, "limit", "offset", "fname_icontains_topdir_unique")
    ]
    kept = {path: item for path, item in old["paths"].items() if "/pacs/" not in path}
    series = description["paths"]["/api/v1/pacs/series/"]
    search = {**description["paths"]["/api/v1/pacs/series/search/"]["get"], "parameters": filters}
    one = description["paths"]["/api/v1/pacs/series/{id}/"]["get"]
    old["paths"] = {
        **kept,
        "/api/v1/pacsfiles/": series,
        "/api/v1/pacsfiles/search/": {"get": search},
        "/api/v1/pacsfiles/{id}/": {"get": one},
        "/api/v1/pacsfiles/{id}/.": description["paths"]["/api/v1/pacs/files/{id}/."],
    }
    return old


class Description:
    """Answers what is wrong with a request or an answer; an empty list says nothing is."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.schemas: Mapping[str, Schema] = description["components"]["schemas"]
        self._operations = sorted(
            ((_pattern(path), item) for path, item in description["paths"].items()),
            key=lambda pair: "(" in pair[0].pattern,  # paths without a number in them first
        )

    def operation(self, method: str, path: str) -> Mapping[str, Any] | None:
        for pattern, item in self._operations:
            if pattern.fullmatch(path) and method.lower() in item:
                found: Mapping[str, Any] = item[method.lower()]
                return found
        return None

    def request_violations(self, request: Request, sent: Mapping[str, Any] | None) -> list[str]:
        """What the description does not allow; `sent` is the body, flat, None if it could not be read."""
        where = f"{request.method} {request.path}"
        operation = self.operation(request.method, request.path)
        if operation is None:
            return [f"{where}: no such path or method"]
        found = [f"{where}: {text}" for text in self._query_violations(operation, request.params)]
        content = operation.get("requestBody", {}).get("content", {})
        if request.body and not content:
            found.append(f"{where}: a body")
        if content and sent is None:
            found.append(f"{where}: a body of type {request.media_type!r} that cannot be read")
        if content and sent is not None:
            schema = content["application/json"]["schema"]
            as_text = request.media_type in {FORM, MULTIPART, COLLECTION}
            found += [f"{where}: {text}" for text in self.violations(schema, sent, "request", as_text=as_text)]
        return found

    def answer_violations(self, method: str, path: str, status: int, data: object) -> list[str]:
        """What a JSON answer has that the description does not, or the other way."""
        operation = self.operation(method, path)
        if operation is None or str(status) not in operation["responses"]:
            return [f"{method} {path}: no answer {status}"]
        content = operation["responses"][str(status)].get("content", {})
        return list(self.violations(content["application/json"]["schema"], data, "answer")) if content else []

    def _query_violations(self, operation: Mapping[str, Any], params: Mapping[str, str]) -> Iterator[str]:
        known = {item["name"]: item["schema"] for item in operation.get("parameters", []) if item["in"] == "query"}
        for name, text in params.items():
            if name not in known:
                yield f"query parameter {name} is none"
            elif known[name]["type"] == "integer" and not text.isdigit():
                yield f"query parameter {name} is no number: {text!r}"
            if name in NOT_EMULATED:
                yield f"query parameter {name} is not emulated"

    def violations(
        self, schema: Schema, value: object, direction: str, where: str = "", *, as_text: bool = False
    ) -> Iterator[str]:
        """Compare a value with a schema; `as_text` takes ``"12"`` for a number, as forms and templates have it."""
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"].rsplit("/", 1)[1]]
        if value is None and schema.get("nullable"):
            return
        if as_text and schema.get("type") == "integer" and isinstance(value, str) and value.lstrip("-").isdigit():
            value = int(value)
        for keyword, limit in schema.items():
            if keyword == "properties":
                yield from self._object_violations(schema, value, direction, where, as_text=as_text)
            elif keyword in {"oneOf", "allOf"}:
                yield from self._choice_violations(keyword, limit, value, direction, where)
            elif keyword == "items":
                for number, item in enumerate(value if isinstance(value, list) else []):
                    yield from self.violations(limit, item, direction, f"{where}[{number}]")
            elif keyword not in UNCHECKED and not _fits(keyword, limit, value):
                yield f"{where}: {value!r} against {keyword} {limit}"

    def _choice_violations(
        self, keyword: str, schemas: list[Schema], value: object, direction: str, where: str
    ) -> Iterator[str]:
        results = [list(self.violations(schema, value, direction, where)) for schema in schemas]
        good = sum(not result for result in results)
        if good != (1 if keyword == "oneOf" else len(schemas)):
            yield f"{where}: {value!r} against {keyword}"

    def _object_violations(
        self, schema: Schema, value: object, direction: str, where: str, *, as_text: bool
    ) -> Iterator[str]:
        hidden = "readOnly" if direction == "request" else "writeOnly"
        if not isinstance(value, dict):
            return
        properties = {name: item for name, item in schema["properties"].items() if not self._resolved(item).get(hidden)}
        for name in schema.get("required", []):
            if name in properties and name not in value:
                yield f"{where}.{name}: missing"
        for name, item in value.items():
            if name in properties:
                yield from self.violations(properties[name], item, direction, f"{where}.{name}", as_text=as_text)
            elif not (direction == "answer" and name in {"collection_links", "queries", "template"}):
                yield f"{where}.{name}: no such field"

    def _resolved(self, schema: Schema) -> Schema:
        return self.schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def _pattern(path: str) -> re.Pattern[str]:
    text = re.escape(path).replace(r"\{id\}", r"(\d+)")
    return re.compile(re.sub(r"/\\\.$", "/[^/]+", text))


def _fits(keyword: str, limit: Any, value: Any) -> bool:
    if keyword == "type":
        return isinstance(value, TYPES[limit]) and not (limit == "integer" and isinstance(value, bool))
    if keyword == "enum":
        return value in limit
    if keyword == "maxLength":
        return not isinstance(value, str) or len(value) <= limit
    if keyword in {"maximum", "minimum"}:
        return not isinstance(value, int) or (value <= limit if keyword == "maximum" else value >= limit)
    if keyword == "format":
        return not isinstance(value, str) or FORMATS[limit].fullmatch(value) is not None
    raise AssertionError(f"openapi.json has a keyword that is not checked here: {keyword}")
