"""Where a CUBE is, which login goes there, and how long to wait for it."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from pypx.errors import CubeError, InputError
from pypx.model.dataclass import dataclass

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class CubeLimits:
    """Time limits in seconds, and how often is tried.

    `connect_s` for a connection; `read_s` for each silence of CUBE, but `series_s` (and `per_file_s` more for each
    file) when it registers a series, as it looks into its storage for 30 s.  To learn what became of a registration
    without an answer, px asks for `settle_s` after those limits, or for `check_s` if CUBE had no time for a series.
    `tries` for one request, with pauses that begin at `pause_s` and double.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    series_s: float = 75.0
    per_file_s: float = 0.05
    settle_s: float = 10.0
    check_s: float = 40.0
    tries: int = 4
    pause_s: float = 0.5
    longest_pause_s: float = 30.0


def limits_of(timeout_s: float | None) -> CubeLimits:
    """The time limits where CUBE may be silent for so long, seconds; ``None``: as ever."""
    usual = CubeLimits()
    if timeout_s is None:
        return usual
    more_s = usual.series_s - usual.read_s
    return replace(
        usual,
        connect_s=min(timeout_s, usual.connect_s),
        read_s=timeout_s,
        series_s=timeout_s + more_s,
        settle_s=min(timeout_s, usual.settle_s),
    )


def checked_root(url: str) -> str:
    """The URL of an API root, with a slash at its end.

    Raises
    ------
    InputError : it is none, or it holds a login
    """
    parts = urlsplit(url.strip())
    if parts.username is not None or parts.password is not None:
        raise InputError("CUBE URL: it holds a login; give user and password apart from it")
    try:
        usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"CUBE URL: {url[:80]!r} is none; it looks like https://cube.example.org/api/v1/")
    return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/", "", ""))


def checked_token(token: str) -> str:
    """A token without blanks around it.

    Raises
    ------
    InputError : it can be none; the text does not hold it
    """
    cleaned = token.strip()
    if not cleaned.isascii() or not cleaned.isalnum():
        raise InputError(
            "CUBE token: a token is letters and digits, as CUBE gives it for user and password at auth-token/"
        )
    return cleaned


def same_server(root: str, link: str) -> str:
    """A link that the CUBE at `root` gave, if it leads to the same server: the login goes nowhere else.

    ``http`` in the link is ``https`` where CUBE is asked by that: behind a proxy it may not know better.

    Raises
    ------
    CubeError : it leads to another server
    """
    ours = urlsplit(root)
    try:
        theirs = urlsplit(urljoin(root, link))
    except ValueError:
        raise CubeError(f"CUBE {root}: gives a link that is no URL; is that the URL of its API root?") from None
    if ours.scheme == "https" and theirs.scheme == "http":
        theirs = theirs._replace(scheme="https")
    if _origin(ours) != _origin(theirs):
        raise CubeError(
            f"CUBE {root}: links to another server, {theirs.scheme}://{theirs.hostname}, which the login is not for;"
            " give the URL that CUBE itself uses"
        )
    return urlunsplit(theirs._replace(fragment=""))


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    try:
        return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return parts.scheme, None, None
