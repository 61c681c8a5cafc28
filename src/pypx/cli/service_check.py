"""Checking a named store or CUBE: connect, log in, and say what is there."""

from __future__ import annotations

import os
from itertools import islice

from pypx.db.service_keys import ServiceKeys
from pypx.workflows.cubetarget import DEFAULT_USERNAME, CubeWords, resolve_cube
from pypx.workflows.targets import named_store, open_store

_LOOKED_AT = 1000


def check_storage(kind: str, key: str, keys: ServiceKeys, timeout_s: float | None = None) -> tuple[str, ...]:
    """Log in and list what is in the container.

    Parameters
    ----------
    kind : ``storage`` or ``swift``: where the entry has to be
    timeout_s : how long it may be silent, seconds; ``None``: as for a push

    Returns
    -------
    Lines for people: the answer, then what was assumed

    Raises
    ------
    InputError : there is no such entry, or it cannot be used
    StorageError : the store cannot be used
    """
    keys.entry(kind, key)
    found = named_store(keys, key, os.environ)
    store = open_store(found.target, jobs=1, timeout_s=timeout_s)
    store.check()
    count = sum(1 for _ in islice(store.walk(""), _LOOKED_AT))
    holds = "no object" if not count else f"{_LOOKED_AT} objects or more" if count == _LOOKED_AT else f"{count} objects"
    return f"{key}: {found.target} can be used; it holds {holds}", *found.notices


def check_cube(key: str, keys: ServiceKeys, timeout_s: float | None = None) -> tuple[str, ...]:
    """Log in and find out how this CUBE takes registrations; it may be silent for `timeout_s` seconds.

    Returns
    -------
    Lines for people: the answer, then what may stand in the way

    Raises
    ------
    InputError : there is no such entry, or it cannot be used
    CubeError : CUBE cannot be reached, refuses the login, or takes no registrations
    """
    from pypx.services.cube import CubeClient, Dialect
    from pypx.services.cubeaddress import limits_of

    target = resolve_cube(CubeWords(), key=key, keys=keys, environ={})
    with CubeClient(target, limits=limits_of(timeout_s), connections=1) as cube:
        how = "series by series" if cube.dialect() is Dialect.SERIES else "file by file"
    answer = f"{key}: {target} takes registrations {how}; logged in as {target.username}"
    if target.username == DEFAULT_USERNAME:
        return (answer,)
    return answer, f"{key}: CUBE lets only {DEFAULT_USERNAME} register, not {target.username}"
