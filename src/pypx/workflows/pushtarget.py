"""Where to push to: exactly one target that was named, by options, else by variables; there is no default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path

from pypx.db.service_keys import ServiceKeys
from pypx.errors import InputError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import parse_ae_title, parse_host, parse_port
from pypx.model.peers import FolderTarget, PacsNode, S3Target
from pypx.model.tls import TLS_FIELDS, option_name, tls_of
from pypx.workflows.targets import Resolved, StoreTarget, folder_store, named_store, swift_store

VARIABLES = {
    "key": "PX_STORAGE", "ip": "PX_SWIFT_IP", "port": "PX_SWIFT_PORT", "login": "PX_SWIFT_LOGIN",
    "cacert": "PX_STORE_CACERT",
}  # fmt: skip
"""Environment variables by field; ``PX_SWIFT_KEY`` and ``OS_*`` are read where a Swift is named."""

_KINDS = {
    "--swift KEY": ("key",),
    "--swiftIP": ("ip", "port", "login"),
    "--storeBaseLocation": ("folder",),
    "a PACS (--PACS, --serverIP, --serverPort, --aec)": ("pacs", "host", "host_port", "called_aet"),
}
_NOTHING = (
    "no target is named: give --swift KEY, --swiftIP HOST --swiftPort PORT --swiftLogin LOGIN, --storeBaseLocation DIR"
)


@dataclass(frozen=True, slots=True)
class TargetWords:
    """What was said of a target; ``""`` is not said.

    `key` names an entry of ``storage.json`` or ``swift.json``; `ip`, `port`, `login` are of a Swift; `container`,
    `cacert` and `timeout` (seconds that it may be silent) are of a Swift or S3; `folder` is a directory; `pacs` names
    an entry of ``pacs.json``, and `host`, `host_port`, `called_aet`, `calling_aet` are of a PACS, and so is `tls`, by
    the fields of :mod:`pypx.model.tls`.
    """

    key: str = ""
    ip: str = ""
    port: str = ""
    login: str = field(default="", repr=False)
    container: str = ""
    cacert: str = ""
    timeout: str = ""
    folder: str = ""
    pacs: str = ""
    host: str = ""
    host_port: str = ""
    called_aet: str = ""
    calling_aet: str = ""
    tls: tuple[tuple[str, str], ...] = ()

    @property
    def timeout_s(self) -> float | None:
        """How long the store may be silent, seconds; ``None``: as ever."""
        return float(self.timeout) if self.timeout else None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of target that were named, as options."""
        return tuple(kind for kind, names in _KINDS.items() if any(getattr(self, name) for name in names))


@dataclass(frozen=True, slots=True)
class Destination:
    """A target to push to, and what the user should be told about how it was found (one line each)."""

    target: StoreTarget | PacsNode
    notices: tuple[str, ...] = ()


def resolve_destination(
    said: TargetWords, keys: ServiceKeys | None, environ: Mapping[str, str], *, calling_aet: str
) -> Destination:
    """The store or PACS that is named.

    A PACS is named by `said` alone: the variables name the one that is asked for images.  Only the passphrase of our
    key (``PX_TLS_KEY_PASSWORD``) is taken from there.

    Parameters
    ----------
    said : by options
    keys : the named services; ``None``: no BASEMOUNT is known
    environ : the environment; it counts where options name no target
    calling_aet : our AE title, if `said` has none

    Raises
    ------
    InputError : no target or several are named, an unknown key, or a value that cannot be used
    """
    kinds = said.kinds
    if len(kinds) > 1:
        raise InputError(f"several targets are named: {' and '.join(kinds)}; give one")
    if said.pacs or said.host or said.host_port or said.called_aet:
        if said.container:
            raise InputError("--container is of Swift and S3; a PACS has none")
        return Destination(_pacs(said, keys, environ, calling_aet))
    if said.tls:
        raise InputError(f"{option_name(said.tls[0][0])} is about a PACS, and none is named to push to")
    found = resolve_store(said, keys, environ)
    if found is None:
        raise InputError(f"{_NOTHING}, or a PACS by --PACS KEY or --serverIP, --serverPort and --aec")
    return Destination(found.target, found.notices)


def required_store(said: TargetWords, keys: ServiceKeys | None, environ: Mapping[str, str]) -> Resolved:
    """The store that is named, as :func:`resolve_store`.

    Raises
    ------
    InputError : none is named, or as :func:`resolve_store`
    """
    found = resolve_store(said, keys, environ)
    if found is None:
        raise InputError(_NOTHING)
    return found


def resolve_store(said: TargetWords, keys: ServiceKeys | None, environ: Mapping[str, str]) -> Resolved | None:
    """The store that options name, else the environment; ``None`` if none is named.

    Raises
    ------
    InputError : several are named, an unknown key, or a value that cannot be used
    """
    if not said.kinds:
        said = _by_variables(said, environ)
    if len(said.kinds) > 1:
        raise InputError(f"several targets are named: {' and '.join(said.kinds)}; give one")
    if said.folder:
        found = folder_store(said.folder)
    elif said.key:
        if keys is None:
            raise InputError(
                f"--swift {said.key}: named stores are kept in the BASEMOUNT;"
                " give --basemount DIR (PX_BASEMOUNT) or --db DIR/log (PX_DB)"
            )
        found = named_store(keys, said.key, environ)
    elif said.ip or said.port or said.login:
        fields = {name: getattr(said, name) or environ.get(VARIABLES[name], "") for name in ("ip", "port", "login")}
        if said.cacert or environ.get(VARIABLES["cacert"]):
            fields["secure"] = "true"
        found = swift_store(fields, environ, "--swiftIP")
    elif environ.get("OS_AUTH_URL"):
        found = swift_store({}, environ, "OS_AUTH_URL")
    else:
        if said.container:
            raise InputError(f"--container {said.container}: of which store? {_NOTHING}")
        return None
    target = _in_container(found.target, said.container)
    return Resolved(_trusting(target, said.cacert, environ), found.notices)


def _trusting(target: StoreTarget, said: str, environ: Mapping[str, str]) -> StoreTarget:
    """The target with the CA certificates that are named; those of an option or variable go before its own."""
    if isinstance(target, FolderTarget):
        if said:
            raise InputError("--store-cacert is of Swift and S3; a directory has none")
        return target
    named = said or environ.get(VARIABLES["cacert"], "")
    if named:
        target = replace(target, cacert=Path(named))
    if target.cacert is not None and not target.cacert.exists():
        raise InputError(f"{target.cacert}: no such certificate; it is to prove that the store is the store")
    return target


def _by_variables(said: TargetWords, environ: Mapping[str, str]) -> TargetWords:
    key, ip = environ.get(VARIABLES["key"], ""), environ.get(VARIABLES["ip"], "")
    if key and ip:
        raise InputError("PX_STORAGE and PX_SWIFT_IP name two targets; give one of them")
    return replace(said, key=key, ip=ip)


def _in_container(target: StoreTarget, container: str) -> StoreTarget:
    if not container:
        return target
    if isinstance(target, FolderTarget):
        raise InputError("--container is of Swift and S3; a directory has none")
    if "/" in container:
        raise InputError(f"--container {container[:80]!r}: the name of a container has no slash")
    if isinstance(target, S3Target):
        return replace(target, bucket=container)
    return replace(target, container=container)


def _pacs(said: TargetWords, keys: ServiceKeys | None, environ: Mapping[str, str], calling_aet: str) -> PacsNode:
    own = {"serverIP": said.host, "serverPort": said.host_port, "aec": said.called_aet, "aet": said.calling_aet}
    entry: Mapping[str, str] = {}
    if said.pacs:
        if keys is None:
            raise InputError(
                f"--PACS {said.pacs}: named PACS are kept in the BASEMOUNT;"
                " give --basemount DIR (PX_BASEMOUNT) or --db DIR/log (PX_DB)"
            )
        entry = keys.pacs(said.pacs)
    values = {name: own[name] or entry.get(name, "") for name in own}
    missing = [f"--{name}" for name in ("serverIP", "serverPort", "aec") if not values[name]]
    if missing:
        raise InputError(f"a PACS to push to needs {', '.join(missing)} as well; the PX_* variables name another one")
    calling = parse_ae_title(values["aet"] or calling_aet, "--aet")
    return PacsNode(
        host=parse_host(values["serverIP"], "--serverIP"),
        port=parse_port(values["serverPort"], "--serverPort"),
        called_aet=parse_ae_title(values["aec"], "--aec"),
        calling_aet=calling,
        move_destination=calling,
        tls=tls_of(
            {**{name: entry[name] for name in TLS_FIELDS if name in entry}, **dict(said.tls)},
            dict(said.tls),
            environ.get("PX_TLS_KEY_PASSWORD"),
        ),
    )
