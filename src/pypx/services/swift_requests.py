"""Requests to Swift by python-swiftclient: a connection a thread, one rule of what is repeated, errors explained."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import requests
import swiftclient
from swiftclient.exceptions import ClientException
from urllib3.exceptions import HTTPError

from pypx.errors import StorageError
from pypx.model.peers import SwiftTarget
from pypx.model.plain import brief, shortened
from pypx.services.pauses import pause_before
from pypx.services.storage import NameTooLongError
from pypx.services.swift_errors import explained
from pypx.services.swift_login import Login

logging.getLogger("swiftclient").addHandler(logging.NullHandler())
logging.getLogger("swiftclient").propagate = False  # it logs each error it raises, URLs of patients included

TROUBLE = (ClientException, requests.RequestException, HTTPError, OSError)
"""What swiftclient and the libraries below it raise when a request fails."""

_SHOWN = 120
_BUSY = frozenset({408, 429, 498, 499})


class _Connection(swiftclient.Connection):  # type: ignore[misc]
    """A connection that takes its token from the shared login and repeats nothing by itself."""

    def __init__(self, login: Login, target: SwiftTarget, timeout_s: float) -> None:
        super().__init__(
            authurl=target.auth_url,
            retries=0,
            timeout=timeout_s,
            cacert=str(target.cacert) if target.cacert is not None else None,
        )
        self._login = login
        self.used: str | None = None

    def get_auth(self) -> tuple[str, str]:
        """Storage URL and token; where it is asked for after a 401, the token used last is stale."""
        self.url, self.token = self._login.session(stale=self.used)
        self.used = self.token
        return self.url, self.token


class SwiftRequests:
    """Sends requests that may be repeated without harm, as all of ours may: PUT, GET, HEAD and DELETE of a name.

    Connection errors, answers that break off, 408, 429 and 5xx are tried again with growing pauses, `Retry-After` is
    kept to; a silence is tried again once; after a 401 px logs in anew, once a request.

    Parameters
    ----------
    target : account, container and login
    timeout_s : limit for connecting and for each silence of the server, seconds
    retries, backoff_s : how often a failed request is repeated, and the first pause, seconds
    """

    def __init__(self, target: SwiftTarget, timeout_s: float, retries: int, backoff_s: float) -> None:
        self.target = target
        self.retries = retries
        self._timeout_s, self._backoff_s = timeout_s, backoff_s
        self._login = Login(target, timeout_s)
        self._local = threading.local()

    def call(self, doing: str, name: str, action: Callable[[Any], Any], *, absent: bool = False) -> Any:
        """Do one request by the connection of this thread; with `absent`, a 404 is ``None``.

        Raises
        ------
        StorageError : it failed, and repeating did not help
        """
        tries, silences, logged_in = 0, 0, False
        while True:
            answer, error = self._tried(action)
            if error is None:
                return answer
            status = getattr(error, "http_status", None)
            if absent and status == 404:
                return None
            if status == 401 and not logged_in:
                logged_in = True
                continue
            tries += 1
            silences += isinstance(error, requests.Timeout)
            if not _may_pass(error, status) or tries > self.retries or silences > 1:
                raise self.failure(doing, name, error) from error
            if status is None:
                self._drop()
            time.sleep(pause_before(tries, self._backoff_s, _asked(error)))

    def _tried(self, action: Callable[[Any], Any]) -> tuple[Any, Exception | None]:
        try:
            return action(self._connection()), None
        except TROUBLE as error:
            return None, error

    def pause(self, tries: int) -> None:
        """Wait before the next try, after so many have failed."""
        self._drop()
        time.sleep(pause_before(tries, self._backoff_s, None))

    def failure(self, doing: str, name: str, error: Exception) -> StorageError:
        """What swiftclient raised, as one line."""
        what = f"{self.target}: {doing} {shortened(brief(name), _SHOWN)}".rstrip()
        if _names_too_long(error):
            return NameTooLongError(what, name, "1024 in most")
        return explained(what, error, self._timeout_s)

    def _connection(self) -> _Connection:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = _Connection(self._login, self.target, self._timeout_s)
        return connection

    def _drop(self) -> None:
        """Have the next request made by a connection of its own, with the same token."""
        connection = self._connection()
        if connection.http_conn:
            connection.close()
        connection.http_conn = None


def _may_pass(error: Exception, status: int | None) -> bool:
    """Whether what failed may work when it is repeated."""
    if isinstance(error, requests.exceptions.SSLError):
        return "certificate" not in str(error).lower() and "hostname" not in str(error).lower()
    return status is None or status in _BUSY or (status >= 500 and status != 507)


def _names_too_long(error: Exception) -> bool:
    """Whether the server refuses a name for its length: Swift says so in words, what stands before it by 414."""
    status, said = getattr(error, "http_status", None), getattr(error, "http_response_content", None)
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return status == 414 or (status == 400 and "object name length" in text.lower())


def _asked(error: Exception) -> str | None:
    headers = getattr(error, "http_response_headers", None) or getattr(getattr(error, "response", None), "headers", {})
    found = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    return None if found is None else str(found)
