"""What went wrong with Swift, in one line: with whom, what came back, what to do."""

from __future__ import annotations

import requests
from swiftclient.exceptions import ClientException

from pypx.errors import StorageError
from pypx.services.storage import StorageUnreachableError


def explained(what: str, error: Exception, timeout_s: float) -> StorageError:
    """The error of a request that swiftclient has given up.

    Parameters
    ----------
    what : what was tried, and where
    error : what swiftclient or requests raised
    timeout_s : the time limit that was set, seconds

    Returns
    -------
    A StorageUnreachableError where no other request would fare better
    """
    status = getattr(error, "http_status", None)
    if isinstance(error, ClientException) and status:
        return _by_status(status, f"{what}: {status} {error.http_reason or ''}".rstrip())
    if isinstance(error, requests.exceptions.SSLError):
        return StorageUnreachableError(f"{what}: TLS failed ({_reason(error)}); name its CA file as cacert")
    if isinstance(error, requests.Timeout):
        return StorageUnreachableError(f"{what}: no answer within {timeout_s:g} s; try again later")
    return StorageUnreachableError(f"{what}: no connection ({_reason(error)}); check address and port")


def _by_status(status: int, text: str) -> StorageError:
    if status in (401, 403):
        return StorageUnreachableError(f"{text}; this login may not do that")
    if status == 422:
        return StorageError(f"{text}; other bytes arrived than were read: check disk and network, then push it again")
    if status == 413:
        return StorageError(f"{text}; the file is too large for the store, or your quota is used up")
    if status == 507:
        return StorageUnreachableError(f"{text}; the store is full")
    advice = "try again later" if status >= 500 or status == 429 else "the server refuses it"
    return StorageError(f"{text}; {advice}")


def _reason(error: Exception) -> str:
    """The innermost reason, without the URL that requests puts around it."""
    inner: object = error
    while isinstance(inner, Exception) and (inner.args or hasattr(inner, "reason")):
        deeper = getattr(inner, "reason", None) or next((arg for arg in inner.args if isinstance(arg, Exception)), None)
        if not isinstance(deeper, Exception) or deeper is inner:
            break
        inner = deeper
    text = getattr(inner, "strerror", None) or str(inner).rpartition(": ")[2]
    return " ".join(str(text).split())[:200]
