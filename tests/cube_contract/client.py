"""A plain client of the contract server, as bare as curl: it follows nothing and retries nothing."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from cube_contract.access import USERS
from cube_contract.wire import COLLECTION, JSON
from support.swift_client import Answer, ask


@dataclass(frozen=True, slots=True)
class Client:
    """Asks as one of USERS, with Basic login, or as nobody; `root` ends in /api/v1/."""

    root: str
    user: str | None = "chris"
    accept: str | None = JSON

    def headers(self) -> dict[str, str]:
        found = {} if self.accept is None else {"Accept": self.accept}
        passwords = {user.name: user.password for user in USERS}
        if self.user is not None:
            text = f"{self.user}:{passwords[self.user]}".encode()
            found["Authorization"] = f"Basic {base64.b64encode(text).decode()}"
        return found

    def ask(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None, **headers: str
    ) -> Answer:
        sent = {**self.headers(), **headers}
        if content_type is not None:
            sent["Content-Type"] = content_type
        return ask(method, f"{self.root}{path}", sent, body)

    def get(self, path: str, **params: object) -> Any:
        """The JSON of a 200."""
        answer = self.ask("GET", f"{path}?{urlencode(params)}" if params else path)
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def count(self, path: str, **params: object) -> int:
        count: int = self.get(path, **params)["count"]
        return count

    def post(self, path: str, data: object, content_type: str = JSON) -> tuple[int, Any]:
        """Status and JSON; as Collection+JSON the object is sent as template."""
        body = data
        if content_type == COLLECTION and isinstance(data, dict):
            body = {"template": {"data": [{"name": name, "value": value} for name, value in data.items()]}}
        answer = self.ask("POST", path, json.dumps(body).encode(), content_type)
        return answer.status, json.loads(answer.body)
