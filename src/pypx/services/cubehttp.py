"""Talking to CUBE: one session, one login, one rule for time limits and repeats, one reading of its errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import NewConnectionError

from pypx.errors import CubeError, InputError
from pypx.model.dataclass import dataclass
from pypx.model.peers import CubeTarget
from pypx.services.cubeaddress import CubeLimits, checked_root, checked_token, same_server
from pypx.services.cubeerrors import (
    CubeDeniedError,
    CubeRefusedError,
    CubeUncertainError,
    CubeUnreachableError,
    error_text,
)
from pypx.services.pauses import retry_after

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """The JSON of a good answer, and the methods that its URL takes."""

    data: Any
    allowed: frozenset[str]


class _Login(AuthBase):
    """The token, or nothing; in any case not what ``~/.netrc`` has for the host."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Token {self._token}"
        return request


class CubeSession:
    """Requests to one CUBE, by token, as JSON; may be used by several threads at once.

    Redirects are not followed: a POST would become a GET, and a login could go elsewhere.  A GET is repeated after
    connection errors, 429 and 5xx; a POST only if it was not taken at all (no connection, 429).

    Parameters
    ----------
    target : URL of the API root and login; user and password are exchanged for a token once
    limits : time limits and tries
    connections : how many threads will ask at once

    Raises
    ------
    InputError : the URL is none, or holds a login
    """

    def __init__(self, target: CubeTarget, limits: CubeLimits | None = None, *, connections: int = 8) -> None:
        self.target = target
        self.root = checked_root(target.url)
        self.limits = limits or CubeLimits()
        self._token = None if target.token is None else checked_token(target.token)
        self._token_lock = threading.Lock()
        self._session = requests.Session()
        self._session.headers["Accept"] = _JSON
        self._verify = str(target.cacert) if target.cacert else True
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=connections, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def __str__(self) -> str:
        return f"CUBE {self.root}"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, url: str, params: Mapping[str, str | int] | None = None, *, login: bool = True) -> Answer:
        """Ask something.

        Raises
        ------
        CubeUnreachableError, CubeDeniedError, CubeRefusedError, CubeError
        """
        response = self._logged_in("GET", url, self.limits.read_s, params=params, login=login)
        if response.status_code >= 500:
            raise CubeError(f"{self}: failed with {_said(response)}; try again later or ask its administrator")
        return self._answer(response)

    def post(self, url: str, fields: Mapping[str, Any], *, read_s: float) -> Answer:
        """Register something.

        Raises
        ------
        CubeUncertainError : it may have been done
        CubeUnreachableError, CubeDeniedError, CubeRefusedError, CubeError : it was not done
        """
        response = self._logged_in("POST", url, read_s, body=fields)
        if response.status_code >= 500:
            asked_s = retry_after(response.headers.get("Retry-After"))
            raise CubeUncertainError(f"{self}: failed with {_said(response)}", answered=True, pause_s=asked_s)
        try:
            return self._answer(response)
        except CubeError:
            if response.status_code < 300:
                raise CubeUncertainError(
                    f"{self}: took the request but its answer is not JSON", answered=True
                ) from None
            raise

    def own_url(self, link: object) -> str:
        """A link that CUBE gave, checked to lead to the same server: :func:`pypx.services.cubeaddress.same_server`."""
        return same_server(self.root, str(link))

    # --- from a request to a checked answer

    def _answer(self, response: requests.Response) -> Answer:
        status = response.status_code
        if 300 <= status < 400:
            place = urlsplit(urljoin(response.url, response.headers.get("Location", "")))
            shown = urlunsplit(place._replace(netloc=place.netloc.rpartition("@")[2], query="", fragment=""))
            raise CubeError(f"{self}: sends on to {shown}; give the URL of its API root there")
        try:
            data = response.json()
        except ValueError:
            raise CubeError(
                f"{self}: answered {status} without JSON; is its URL that of an API root, https://host/api/v1/ ?"
            ) from None
        if status >= 400:
            raise CubeRefusedError(f"{self}: {status}, {error_text(data)}", data)
        allowed = frozenset(
            part.strip().upper() for part in response.headers.get("Allow", "").split(",") if part.strip()
        )
        return Answer(data, allowed)

    def _logged_in(
        self,
        method: str,
        url: str,
        read_s: float,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int] | None = None,
        login: bool = True,
    ) -> requests.Response:
        """Send with the token; once more with a new one if ours is no longer taken."""
        token = self._current_token() if login else None
        response = self._send(method, url, read_s, token, body=body, params=params)
        if login and response.status_code == 401 and self.target.token is None:
            response = self._send(method, url, read_s, self._current_token(stale=token), body=body, params=params)
        if response.status_code in (401, 403):
            raise CubeDeniedError(self._denial(response, method))
        return response

    def _denial(self, response: requests.Response, method: str) -> str:
        who = f"user {self.target.username!r}" if self.target.token is None else "the user of this token"
        if response.status_code == 401:
            return f"{self}: does not take the login of {who} ({_said(response)}); check user, password or token"
        if method == "POST":
            return f"{self}: {who} may not register ({_said(response)}); only CUBE's user 'chris' may: log in as that"
        return (
            f"{self}: {who} may not see what is registered ({_said(response)}); log in as CUBE's user 'chris', who"
            " alone may register"
        )

    def _current_token(self, stale: str | None = None) -> str:
        with self._token_lock:
            if self._token is None or self._token == stale:
                self._token = self._new_token()
            return self._token

    def _new_token(self) -> str:
        if self.target.password is None:
            raise InputError(f"{self}: no password and no token for user {self.target.username!r}; give one of them")
        fields = {"username": self.target.username, "password": self.target.password}
        url = urljoin(self.root, "auth-token/")
        response = self._send("POST", url, self.limits.read_s, None, body=fields, repeatable=True)
        if response.status_code in (400, 401, 403):
            raise CubeDeniedError(
                f"{self}: does not take user {self.target.username!r} with this password ({_said(response)})"
            )
        if response.status_code >= 500:
            raise CubeUnreachableError(f"{self}: login failed with {_said(response)}; try again later")
        data = self._answer(response).data
        token = data.get("token") if isinstance(data, dict) else None
        if not isinstance(token, str) or not token.isalnum():
            raise CubeError(f"{self}: gave no token for the login; is that the URL of CUBE's API root?")
        return token

    def _send(
        self,
        method: str,
        url: str,
        read_s: float,
        token: str | None,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int] | None = None,
        repeatable: bool = False,
    ) -> requests.Response:
        """One exchange, with what repeats are safe."""
        repeatable = repeatable or method == "GET"
        pause_s = self.limits.pause_s
        for left in range(self.limits.tries - 1, -1, -1):
            try:
                response = self._session.request(
                    method, url, params=params, json=body, auth=_Login(token), allow_redirects=False,
                    timeout=(self.limits.connect_s, read_s), verify=self._verify,
                )  # fmt: skip
            except requests.RequestException as error:
                self._judge(error, repeatable=repeatable, last=not left)
                wait_s = pause_s
            except ValueError:  # of urllib, for a redirection to what is no URL
                raise CubeError(f"{self}: its answer is not understood; is that the URL of its API root?") from None
            else:
                busy = response.status_code == 429 or (repeatable and response.status_code >= 500)
                if not busy or not left:
                    return response
                wait_s = max(pause_s, retry_after(response.headers.get("Retry-After")))
            time.sleep(min(wait_s, self.limits.longest_pause_s))
            pause_s *= 2
        raise AssertionError("unreachable: the last try returns or raises")

    def _judge(self, error: requests.RequestException, *, repeatable: bool, last: bool) -> None:
        """Raise what a failed exchange means; return if it may be repeated."""
        if isinstance(error, requests.exceptions.SSLError):
            raise CubeUnreachableError(
                f"{self}: its certificate cannot be verified; if your own authority signed it, give its certificate"
            ) from None
        if isinstance(error, requests.exceptions.InvalidURL):
            raise InputError(f"{self}: that is no URL that can be asked") from None
        unsent = _never_sent(error)
        silent = isinstance(error, requests.exceptions.ReadTimeout)
        if not repeatable and not unsent:
            what = "gave no answer in time" if silent else "broke the connection off before its answer"
            raise CubeUncertainError(f"{self}: {what}", silent=silent) from None
        if last or silent:
            what = "cannot be reached" if unsent else "gives no answer" if silent else "breaks connections off"
            raise CubeUnreachableError(f"{self}: {what}; is it running, and is this its URL?") from None


def _said(response: requests.Response) -> str:
    try:
        text = error_text(response.json())
    except ValueError:
        text = response.reason or "no reason given"
    return f"{response.status_code}: {text}"


def _never_sent(error: requests.RequestException) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.exceptions.ConnectTimeout) or isinstance(reason, NewConnectionError)
