"""Which CUBE, and how to log in: options, ``PX_CUBE_*`` variables, a named service, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pypx.db.service_keys import ServiceKeys
from pypx.errors import InputError
from pypx.model.dataclass import dataclass
from pypx.model.peers import CubeTarget
from pypx.services.cubeaddress import checked_root, checked_token

VARIABLES = {
    "url": "PX_CUBE_URL",
    "username": "PX_CUBE_USERNAME",
    "password": "PX_CUBE_PASSWORD",
    "token": "PX_CUBE_TOKEN",
    "cacert": "PX_CUBE_CACERT",
}
"""Environment variables by field; ``PX_CUBE`` names an entry of ``services/cube.json``."""

DEFAULT_USERNAME = "chris"
"""The only user that CUBE lets register."""

_SECRETS = ("password", "token")


@dataclass(frozen=True, slots=True)
class CubeWords:
    """What was said of a CUBE in one place; ``""`` or ``None`` is not said; `timeout` is of its silences, seconds."""

    url: str | None = None
    username: str | None = None
    password: str | None = None
    token: str | None = None
    cacert: str | None = None
    timeout: str | None = None

    @property
    def timeout_s(self) -> float | None:
        """How long CUBE may be silent, seconds; ``None``: as ever."""
        return float(self.timeout) if self.timeout else None

    def __repr__(self) -> str:
        return f"CubeWords(url={self.url!r}, username={self.username!r})"


def resolve_cube(
    said: CubeWords, *, key: str | None = None, keys: ServiceKeys | None = None, environ: Mapping[str, str]
) -> CubeTarget:
    """The CUBE that options, environment and named service describe together.

    Password and token come from one place, the first that has any; where it has both, the token counts.

    Parameters
    ----------
    said : by options
    key : entry of ``services/cube.json``; that of ``PX_CUBE`` if not given
    keys : the named services; ``None``: no BASEMOUNT is known
    environ : the environment

    Raises
    ------
    InputError : an unknown key, no URL, no login, or a value that cannot be used
    """
    key = key or environ.get("PX_CUBE")
    places = [
        {name: getattr(said, name) or "" for name in VARIABLES},
        {name: environ.get(variable, "") for name, variable in VARIABLES.items()},
        _entry(key, keys) if key else {},
    ]
    url = _first(places, "url")
    if not url:
        raise InputError("no CUBE: give --CUBEURL URL (PX_CUBE_URL), or name one with --CUBE KEY (PX_CUBE)")
    login = next((place for place in places if any(place.get(name) for name in _SECRETS)), {})
    password, token = login.get("password") or None, login.get("token") or None
    username = _first(places, "username") or DEFAULT_USERNAME
    if password is None and token is None:
        raise InputError(
            f"no login for user {username!r} of CUBE: set PX_CUBE_TOKEN or PX_CUBE_PASSWORD, or name one by --CUBE KEY"
        )
    cacert = _first(places, "cacert")
    if cacert and not Path(cacert).exists():
        raise InputError(f"{cacert}: no such certificate; it is to prove that CUBE is CUBE (PX_CUBE_CACERT)")
    return CubeTarget(
        url=checked_root(url),
        username=username,
        password=None if token else password,
        token=checked_token(token) if token else None,
        cacert=Path(cacert) if cacert else None,
    )


def _entry(key: str, keys: ServiceKeys | None) -> dict[str, str]:
    if keys is None:
        raise InputError(
            f"--CUBE {key}: named CUBEs are kept in the BASEMOUNT; give --basemount DIR (PX_BASEMOUNT) or --db DIR/log"
        )
    entry = keys.entry("cube", key)
    return {name: str(entry[name]) for name in VARIABLES if entry.get(name) not in (None, "")}


def _first(places: list[dict[str, str]], name: str) -> str:
    return next((place[name] for place in places if place.get(name)), "")
