"""From named services, options and variables to targets, and from targets to the ways there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pypx.db.service_keys import ServiceKeys
from pypx.errors import InputError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import parse_host, parse_port
from pypx.model.peers import FolderTarget, PacsNode, S3Target, SwiftTarget
from pypx.services.dcmtk import Limits, Programs
from pypx.services.storage import ObjectStore
from pypx.workflows.carriers import Brake, Carrier, CarryOptions, PacsCarrier, StoreCarrier
from pypx.workflows.pushlog import Target

StoreTarget = SwiftTarget | FolderTarget | S3Target

STORE_TIMEOUT_S = 60.0
"""How long a Swift or S3 may be silent unless told otherwise, seconds."""

DEFAULT_CONTAINER = "users"
DEFAULT_KEY = "testing"
"""What pypx sends as Swift key, always; only used, with a notice, where no other is given."""

_V3_FIELDS = (
    "project_name", "project_id", "user_id", "user_domain_name", "user_domain_id", "project_domain_name",
    "project_domain_id", "default_domain", "region_name", "interface", "storage_url", "application_credential_id",
)  # fmt: skip
_ALIASES = {
    "auth_url": ("auth_url", "authurl"),
    "user": ("login", "username", "user"),
    "key": ("key", "password", "swift_key", "application_credential_secret"),
    "container": ("container", "container_name"),
    "auth_version": ("auth_version", "identity_api_version"),
    "project_name": ("project_name", "tenant_name"),
    "cacert": ("cacert",),
    "bucket": ("bucket", "bucket_name", "container", "container_name"),
    "endpoint": ("endpoint", "endpoint_url", "url"),
    "region": ("region", "region_name"),
    "access_key": ("access_key", "access_key_id", "aws_access_key_id"),
    "secret_key": ("secret_key", "secret_access_key", "aws_secret_access_key"),
}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A store, and what the user should be told about how it was found (one line each)."""

    target: StoreTarget
    notices: tuple[str, ...] = ()


def named_store(keys: ServiceKeys, key: str, environ: Mapping[str, str]) -> Resolved:
    """The store of an entry of ``storage.json`` or ``swift.json``.

    Parameters
    ----------
    keys : the service entries of the BASEMOUNT
    key : the name of the entry
    environ : the environment; ``OS_*`` and ``PX_SWIFT_KEY`` fill in what the entry of a Swift lacks, ``AWS_*`` is left
        to boto3

    Raises
    ------
    InputError : there is no such entry, or it lacks something; names the field
    """
    entry = keys.entry("storage", key)
    where = f"storage entry {key!r}"
    fields = _fields(entry)
    kind = fields.get("storagetype", "swift")
    if kind == "fs":
        return Resolved(FolderTarget(_folder(fields.get("storepath", ""), f"{where}: storepath")))
    if kind == "s3":
        return Resolved(_s3(fields, where))
    if kind != "swift":
        raise InputError(f"{where}: storagetype {kind[:20]!r} is unknown; there are swift, fs, s3")
    return swift_store(fields, environ, where)


def swift_store(fields: Mapping[str, Any], environ: Mapping[str, str], where: str = "swift") -> Resolved:
    """A Swift from fields as a service entry has them (``ip port login key container …``), or from ``OS_*`` alone.

    With the address of a Keystone (``…/v3``) or ``auth_version`` 3, the login is by Keystone v3; else by TempAuth.

    Raises
    ------
    InputError : something is missing; names the field
    """
    own = _fields(fields)
    found = {**(_openstack(environ) if _wants_openstack(own) else {}), **own}
    url = _first(found, "auth_url") or _legacy_url(found, where)
    _check_url(url, where)
    version = "3" if (_first(found, "auth_version") or "").startswith("3") or _is_keystone(url) else "1"
    user = _first(found, "user") or ""
    if not user and not found.get("user_id") and not found.get("application_credential_id"):
        raise InputError(f"{where}: there is no login (--swiftLogin, or login in the service entry)")
    key = environ.get("PX_SWIFT_KEY") or _first(found, "key") or ""
    notices: tuple[str, ...] = ()
    if not key:
        if version == "3":
            raise InputError(f"{where}: there is no password (OS_PASSWORD, or key in the service entry)")
        key = DEFAULT_KEY
        notices = (f"{where}: no key given; pypx's {DEFAULT_KEY!r} is tried. Set key in the entry, or PX_SWIFT_KEY",)
    cacert = _first(found, "cacert")
    target = SwiftTarget(
        auth_url=url,
        user=user,
        key=key,
        container=_first(found, "container") or DEFAULT_CONTAINER,
        auth_version=version,
        options=_v3_options(found) if version == "3" else (),
        cacert=Path(cacert) if cacert else None,
    )
    return Resolved(target, notices)


def folder_store(path: str) -> Resolved:
    """A directory as store.

    Raises
    ------
    InputError : empty, or not absolute
    """
    return Resolved(FolderTarget(_folder(path, "storage folder")))


def open_store(
    target: StoreTarget, *, link: bool = False, jobs: int = 8, timeout_s: float | None = None
) -> ObjectStore:
    """The store at a target; nothing is asked of it yet.

    Parameters
    ----------
    target : where it is
    link : a folder gets hard links of the files where possible, instead of copies
    jobs : how many threads will use it
    timeout_s : how long a server may be silent, seconds, > 0 (``None``: `STORE_TIMEOUT_S`)

    Raises
    ------
    StorageUnreachableError : boto3, which S3 needs, is not installed
    """
    if isinstance(target, FolderTarget):
        from pypx.services.folder import FolderStore  # noqa: PLC0415 - only the body that is used is loaded

        return FolderStore(target, link=link)
    if isinstance(target, S3Target):
        from pypx.services.s3 import S3Store  # noqa: PLC0415 - boto3 is an extra

        return S3Store(target, timeout_s=timeout_s or STORE_TIMEOUT_S, connections=jobs)
    from pypx.services.swift import SwiftStore  # noqa: PLC0415 - slow to import

    return SwiftStore(target, timeout_s=timeout_s or STORE_TIMEOUT_S)


def carrier_to(
    target: StoreTarget | PacsNode,
    options: CarryOptions | None = None,
    *,
    link: bool = False,
    jobs: int = 8,
    timeout_s: float | None = None,
    limits: Limits | None = None,
    programs: Programs | None = None,
    store: ObjectStore | None = None,
) -> Carrier:
    """The way to a target, for one push.

    Parameters
    ----------
    target : a store or a PACS
    options : how careful it is
    link, jobs, timeout_s : see :func:`open_store`
    limits, programs : for a PACS
    store : the opened store, where there is one already
    """
    options = options or CarryOptions()
    named, brake = record_target(target), Brake(limit=max(8, 2 * jobs))
    if isinstance(target, PacsNode):
        return PacsCarrier(target, named, options, brake, limits or Limits(), programs or Programs())
    return StoreCarrier(store or open_store(target, link=link, jobs=jobs, timeout_s=timeout_s), named, options, brake)


def record_target(target: StoreTarget | PacsNode) -> Target:
    """How the record of a push names a target."""
    if isinstance(target, SwiftTarget):
        return Target("swift", f"{target.container} at {target.auth_url}")
    if isinstance(target, FolderTarget):
        return Target("folder", str(target.root))
    if isinstance(target, S3Target):
        return Target("s3", f"{target.bucket} at {target.endpoint or 'AWS'}")
    return Target("pacs", str(target))


def _fields(entry: Mapping[str, Any]) -> dict[str, str]:
    """The fields of an entry as texts, by names in lower case without ``OS_``; empty ones are none."""
    texts = {str(name).lower().removeprefix("os_"): str(value).strip() for name, value in entry.items()}
    return {name: text for name, text in texts.items() if text and text != "None"}


def _openstack(environ: Mapping[str, str]) -> dict[str, str]:
    return _fields({name: value for name, value in environ.items() if name.startswith("OS_")})


def _wants_openstack(fields: Mapping[str, str]) -> bool:
    """Whether ``OS_*`` is about this Swift: it has no address, or logs in by Keystone."""
    url = _first(fields, "auth_url") or ""
    return not (fields.get("ip") or url) or _is_keystone(url) or (_first(fields, "auth_version") or "").startswith("3")


def _first(fields: Mapping[str, str], name: str) -> str | None:
    return next((fields[alias] for alias in _ALIASES[name] if fields.get(alias)), None)


def _is_keystone(url: str) -> bool:
    return url.rstrip("/").endswith("/v3")


def _legacy_url(fields: Mapping[str, str], where: str) -> str:
    """The address that pypx makes of ``ip`` and ``port``."""
    missing = [name for name in ("ip", "port") if not fields.get(name)]
    if missing:
        raise InputError(f"{where}: {' and '.join(missing)} missing (--swiftIP, --swiftPort, or OS_AUTH_URL)")
    host, port = parse_host(fields["ip"], f"{where}: ip"), parse_port(fields["port"], f"{where}: port")
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if port == 443 or fields.get("secure", "").lower() in ("true", "1", "yes") else "http"
    return f"{scheme}://{shown}:{port}/auth/v1.0"


def _check_url(url: str, where: str) -> None:
    if not url.lower().startswith(("http://", "https://")) or "@" in url:
        raise InputError(f"{where}: the address of the login must begin with http:// or https://, and hold no login")


def _v3_options(fields: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    options = {name: fields[name] for name in _V3_FIELDS if fields.get(name)}
    project = _first(fields, "project_name")
    if project:
        options["project_name"] = project
    return tuple(options.items())


def _s3(fields: Mapping[str, str], where: str) -> S3Target:
    endpoint, cacert = _first(fields, "endpoint"), _first(fields, "cacert")
    if endpoint:
        _check_url(endpoint, where)
    access, secret = _first(fields, "access_key"), _first(fields, "secret_key")
    if bool(access) != bool(secret):
        raise InputError(f"{where}: access_key and secret_key come together; without both, AWS_* variables count")
    return S3Target(
        bucket=_first(fields, "bucket") or DEFAULT_CONTAINER,
        endpoint=endpoint,
        region=_first(fields, "region"),
        access_key=access,
        secret_key=secret,
        cacert=Path(cacert) if cacert else None,
    )


def _folder(path: str, where: str) -> Path:
    if not path or not Path(path).is_absolute() or "\0" in path:
        raise InputError(f"{where}: {path[:80]!r} is no absolute path of a directory")
    return Path(path)
