"""The options of DICOM TLS: towards a PACS, and of the listener."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from pypx.cli.options import Command, F, given, record, typed

if TYPE_CHECKING:
    from pypx.model.pacs import TlsSettings

PASSWORD_VARIABLE = "PX_TLS_KEY_PASSWORD"  # noqa: S105 - the name of a variable
_LISTEN = "PX_LISTEN_"
_HELP = {
    "tls": "Talk to the PACS by TLS, its certificate checked",
    "tls_ca": "CA certificates its certificate is checked against",
    "tls_cert": "Our own certificate",
    "tls_key": "Its private key",
    "tls_key_password_file": "File that holds the passphrase of the key",
    "tls_name": "Host name in the certificate of the PACS, if it is another",
}
_DEFAULTS = {"tls_ca": "those of the system", "tls_key": "in the file of the certificate"}
_LISTEN_HELP = {
    "tls": "Take TLS connections only",
    "tls_ca": "Demand of every sender a certificate that is signed by one of these CAs",
    "tls_cert": _HELP["tls_cert"],
    "tls_key": _HELP["tls_key"],
    "tls_key_password_file": _HELP["tls_key_password_file"],
}
FIELDS = tuple(_HELP)
"""The options by the names that service entries have for them."""

_METAVARS = {"tls_name": "NAME"}


def _options(texts: Mapping[str, str], prefix: str | None) -> list[Callable[[Command], Command]]:
    """One option a field; with a `prefix` each has a variable."""
    made: list[Callable[[Command], Command]] = []
    for field, text in texts.items():
        name = field.replace("_", "-")
        variable = None if prefix is None else f"{prefix}{field.upper()}"
        known = "; ".join(word for word in (variable, _DEFAULTS.get(field) if texts is _HELP else None) if word)
        words = f"{text} ({known})." if known else f"{text}."
        if field == "tls":
            made.append(click.option("--tls/--no-tls", "tls", default=None, envvar=variable, help=words))
        else:
            metavar = _METAVARS.get(field, "FILE")
            made.append(click.option(f"--{name}", field, metavar=metavar, envvar=variable, help=words))
    return made


PEER = _options(_HELP, "PX_")
"""Of the PACS that is asked."""

TARGET = _options(_HELP, None)
"""Of a PACS that images are pushed to: the variables are about the one that is asked."""


def values(fields: Mapping[str, str] = _HELP) -> dict[str, str]:
    """What options and variables say, by field."""
    return {field: str(given(field)) for field in fields if given(field) is not None}


def listener(function: F) -> F:
    """Give the command ``tls``: how the listener secures its connections, ``None`` for not at all."""

    def make(_values: Mapping[str, Any]) -> TlsSettings | None:
        from pypx.model.tls import tls_of

        found = values(_LISTEN_HELP)
        said = {field: text for field, text in found.items() if typed(field)}
        return tls_of(found, said, os.environ.get(f"{_LISTEN}TLS_KEY_PASSWORD"))

    return record("tls", make, *_options(_LISTEN_HELP, _LISTEN))(function)
