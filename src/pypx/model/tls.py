"""What options, variables and service entries say of DICOM TLS, joined to one record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pypx.errors import InputError
from pypx.model.pacs import TlsSettings

TLS_FIELDS = ("tls", "tls_ca", "tls_cert", "tls_key", "tls_key_password_file", "tls_name")
"""The fields of a service entry, and of the ``args`` of a find document."""

_ON = frozenset({"1", "true", "t", "yes", "y", "on"})
_OFF = frozenset({"", "0", "false", "f", "no", "n", "off"})


def option_name(field: str) -> str:
    """The option of a field: ``tls_ca`` is ``--tls-ca``."""
    return f"--{field.replace('_', '-')}"


def is_on(value: object, what: str = "tls") -> bool:
    """Whether a field ``tls`` asks for TLS.

    Raises
    ------
    InputError : it says neither yes nor no
    """
    text = str(value).strip().lower()
    if text not in _ON | _OFF:
        raise InputError(f"{what}: {str(value)[:40]!r} is neither true nor false")
    return text in _ON


def tls_of(
    values: Mapping[str, str], said: Mapping[str, str], password: str | None = None, *, what: str = "--tls"
) -> TlsSettings | None:
    """The settings, or ``None`` if TLS is not wanted.

    Parameters
    ----------
    values : what holds, by the names of `TLS_FIELDS`; a path is taken as seen from the working directory
    said : those that stand on the command line: to give one of them without TLS is a mistake
    password : passphrase of the key
    what : how an error names the switch

    Raises
    ------
    InputError : the values do not go together
    """
    if not is_on(values.get("tls", ""), what):
        idle = [field for field in TLS_FIELDS[1:] if said.get(field)]
        if idle:
            raise InputError(f"{option_name(idle[0])} is about TLS, which is not switched on: give {what} as well")
        return None
    paths = {name: _path(values.get(f"tls_{name}", "")) for name in ("ca", "cert", "key", "key_password_file")}
    if paths["key"] and not paths["cert"]:
        raise InputError("--tls-key is the key of a certificate: give --tls-cert FILE as well")
    return TlsSettings(
        ca=paths["ca"],
        cert=paths["cert"],
        key=paths["key"],
        password_file=paths["key_password_file"],
        password=password or None,
        name=values.get("tls_name") or None,
    )


def tls_fields(settings: TlsSettings | None) -> dict[str, str]:
    """The inverse of :func:`tls_of`, without the passphrase; ``{}`` for no TLS."""
    if settings is None:
        return {}
    fields = {
        "tls_ca": settings.ca,
        "tls_cert": settings.cert,
        "tls_key": settings.key,
        "tls_key_password_file": settings.password_file,
        "tls_name": settings.name,
    }
    return {"tls": "true", **{field: str(value) for field, value in fields.items() if value is not None}}


def check_tls_entry(fields: Mapping[str, str], where: str) -> None:
    """Check the fields of a service entry.

    Raises
    ------
    InputError : other fields without ``tls``, so that one might think the connection were secured; a relative path
    """
    on = is_on(fields.get("tls", ""), f"{where}: tls")
    others = [field for field in TLS_FIELDS[1:] if fields.get(field)]
    if others and "tls" not in fields:
        raise InputError(f'{where}: {others[0]} without "tls": true; say true or false')
    for field in others:
        if field != "tls_name" and not Path(fields[field]).is_absolute():
            raise InputError(f"{where}: {field} must be an absolute path")
    if on and fields.get("tls_key") and not fields.get("tls_cert"):
        raise InputError(f"{where}: tls_key without tls_cert")


def _path(text: str) -> Path | None:
    return Path(text).absolute() if text else None
