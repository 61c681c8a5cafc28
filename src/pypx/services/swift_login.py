"""Logging in to Swift: TempAuth (v1) and Keystone (v3), once for all threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

from pypx.model.peers import SwiftTarget
from pypx.services.storage import StorageUnreachableError


class Login:
    """The storage URL and token of a Swift account, asked for when first needed and again when refused."""

    def __init__(self, target: SwiftTarget, timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._now: tuple[str, str] | None = None

    def session(self, stale: str | None = None) -> tuple[str, str]:
        """Storage URL and token; `stale` is a token that was refused.

        Raises
        ------
        StorageUnreachableError : the login is refused, or its answer is none
        requests.RequestException : no connection; may be tried again
        """
        with self._lock:
            if self._now is None or self._now[1] == stale:
                self._now = None
                url, token = self._v3() if self._target.auth_version == "3" else self._v1()
                self._now = self._secured(url), token
            return self._now

    def _secured(self, url: str) -> str:
        """The storage URL; by https where the login is: a server behind a proxy that ends TLS may not know better."""
        ours, theirs = urlsplit(self._target.auth_url), urlsplit(url)
        if ours.scheme != "https" or theirs.scheme != "http" or dict(self._target.options).get("storage_url"):
            return url
        if theirs.netloc != ours.netloc:
            raise self._strange(
                f"the login is by https, but the objects are at http://{theirs.hostname}, which anybody on the way can"
                " read; have the server name an https address, or set storage_url"
            )
        return urlunsplit(theirs._replace(scheme="https"))

    def _v1(self) -> tuple[str, str]:
        headers = {"X-Auth-User": self._target.user, "X-Auth-Key": self._target.key}
        answer = requests.get(
            self._target.auth_url, headers=headers, timeout=self._timeout_s, verify=_verify(self._target)
        )
        self._check(answer)
        url, token = answer.headers.get("X-Storage-Url"), answer.headers.get("X-Auth-Token")
        if not url or not token:
            raise self._strange("it names no storage URL and token")
        return url, token

    def _v3(self) -> tuple[str, str]:
        base = self._target.auth_url.rstrip("/")
        answer = requests.post(
            f"{base if base.endswith('/v3') else base + '/v3'}/auth/tokens",
            json={"auth": _v3_request(self._target)},
            timeout=self._timeout_s,
            verify=_verify(self._target),
        )
        self._check(answer)
        token = answer.headers.get("X-Subject-Token")
        try:
            url = self._endpoint(answer.json()["token"])
        except (ValueError, KeyError, TypeError):
            raise self._strange("it is no token of Keystone v3") from None
        if not token:
            raise self._strange("it names no token")
        return url, token

    def _endpoint(self, token: Mapping[str, Any]) -> str:
        options = dict(self._target.options)
        if options.get("storage_url"):
            return options["storage_url"]
        interface = options.get("interface", "public").removesuffix("URL")
        region = options.get("region_name")
        for service in token.get("catalog", []):
            if service["type"] != "object-store":
                continue
            for endpoint in service["endpoints"]:
                if endpoint["interface"] == interface and region in (
                    None,
                    endpoint.get("region"),
                    endpoint["region_id"],
                ):
                    return str(endpoint["url"])
        where = f"{interface} interface" + (f", region {region}" if region else "")
        raise self._strange(f"its catalog has no object-store ({where}); is the user in the right project?")

    def _check(self, answer: requests.Response) -> None:
        if answer.status_code in (401, 403):
            raise StorageUnreachableError(
                f"{self._target}: login refused ({answer.status_code} {answer.reason}); check user and key"
            )
        if answer.status_code >= 500 or answer.status_code == 429:
            raise requests.ConnectionError(f"login answered {answer.status_code} {answer.reason}", response=answer)
        if answer.status_code >= 300:
            raise self._strange(f"{answer.status_code} {answer.reason}; is that the address of the login?")

    def _strange(self, what: str) -> StorageUnreachableError:
        return StorageUnreachableError(f"{self._target}: the answer to the login cannot be used: {what}")


def _verify(target: SwiftTarget) -> str | bool:
    return str(target.cacert) if target.cacert is not None else True


def _v3_request(target: SwiftTarget) -> dict[str, Any]:
    """The body of a Keystone v3 login, by password or by application credential."""
    options = dict(target.options)
    if options.get("application_credential_id"):
        credential = {"id": options["application_credential_id"], "secret": target.key}
        return {"identity": {"methods": ["application_credential"], "application_credential": credential}}
    user: dict[str, Any] = {"password": target.key}
    if options.get("user_id"):
        user["id"] = options["user_id"]
    else:
        user.update(name=target.user, domain=_domain(options, "user_domain"))
    request: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    if options.get("project_id"):
        request["scope"] = {"project": {"id": options["project_id"]}}
    elif options.get("project_name"):
        request["scope"] = {"project": {"name": options["project_name"], "domain": _domain(options, "project_domain")}}
    return request


def _domain(options: Mapping[str, str], which: str) -> dict[str, str]:
    if options.get(f"{which}_id"):
        return {"id": options[f"{which}_id"]}
    if options.get(f"{which}_name"):
        return {"name": options[f"{which}_name"]}
    return {"id": options.get("default_domain", "default")}
