"""The PACS of ``services/pacs.json`` as callers: by which title, and from which address, each may come."""

from __future__ import annotations

import socket

from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.errors import InputError
from pypx.workflows.association import Caller


def known_callers(layout: Layout) -> frozenset[Caller]:
    """The AE title of each named PACS with the IPv4 addresses of its host, looked up now.

    Raises
    ------
    InputError : no PACS has a name, or a host name stands for nothing
    DatabaseError : the entries cannot be read
    """
    keys = ServiceKeys(layout)
    callers = {
        Caller(fields["aec"], address)
        for name in keys.names("pacs")
        for fields in [keys.pacs(name)]
        for address in _addresses(name, fields["serverIP"])
    }
    if not callers:
        raise InputError(f"{keys.path('pacs')} names no PACS, so nobody could send; px smdb service pacs set adds one")
    return frozenset(callers)


def _addresses(name: str, host: str) -> set[str]:
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(
            f"PACS {name!r}: its host {host[:80]!r} cannot be looked up; write its address into services/pacs.json"
        ) from None
    return {str(address[0]) for *_, address in found}
