"""The options that name the PACS."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from pypx.cli import console, tls_options
from pypx.cli.options import Command, F, given, named_layout, record, typed
from pypx.errors import InputError

if TYPE_CHECKING:
    from pypx.model.pacs import PacsNode

DEFAULT_AET = "CHRIS-ULTRON-AET"
DEFAULT_AEC = "CHRIS-ULTRON-AEC"
DEFAULT_PORT = 4242


class PeerOptions:
    """The PACS as options, variables and named service describe it; what is missing may come from elsewhere.

    `typed` are the values of the command line, `settings` those of the environment and of a PACS named there;
    `said` are those that stand there word for word, not by the name of a PACS.
    """

    __slots__ = ("destination", "said", "settings", "typed")

    def __init__(
        self,
        typed: Mapping[str, str],
        settings: Mapping[str, str],
        destination: str | None = None,
        *,
        said: Mapping[str, str] | None = None,
    ) -> None:
        self.typed = dict(typed)
        self.said = dict(said or {})
        self.settings = dict(settings)
        self.destination = destination

    def node(self, base: PacsNode | None = None) -> PacsNode:
        """Make the checked peer.

        Parameters
        ----------
        base : the PACS a document came from; it is asked again unless the command line says otherwise

        Raises
        ------
        InputError : no address, or a value that is none
        """
        from pypx.model.identifiers import parse_ae_title, parse_host, parse_port
        from pypx.model.pacs import PacsNode
        from pypx.model.tls import tls_of

        values = self.settings | _node_values(base) | self.typed
        if "serverIP" not in values:
            raise InputError(
                "no PACS address: give --serverIP HOST [--serverPort PORT] (PX_SERVER_IP, PX_SERVER_PORT),"
                " or name a PACS with --PACS KEY"
            )
        calling = parse_ae_title(values.get("aet", DEFAULT_AET), "--aet")
        usual = base.move_destination if base and "aet" not in self.typed else calling
        return PacsNode(
            host=parse_host(values["serverIP"], "--serverIP"),
            port=parse_port(values.get("serverPort", DEFAULT_PORT), "--serverPort"),
            called_aet=parse_ae_title(values.get("aec", DEFAULT_AEC), "--aec"),
            calling_aet=calling,
            move_destination=parse_ae_title(self.destination, "--move-destination") if self.destination else usual,
            tls=tls_of(values, self.said, os.environ.get(tls_options.PASSWORD_VARIABLE)),
        )


def _node_values(base: PacsNode | None) -> dict[str, str]:
    from pypx.model.tls import tls_fields

    if base is None:
        return {}
    return {
        "serverIP": base.host, "serverPort": str(base.port), "aec": base.called_aet, "aet": base.calling_aet,
        **tls_fields(base.tls),
    }  # fmt: skip


_PEER_FIELDS = {
    "serverIP": "server_ip", "serverPort": "server_port", "aec": "aec", "aet": "aet",
    **{field: field for field in tls_options.FIELDS},
}  # fmt: skip


def _peer_options(_values: Mapping[str, Any]) -> PeerOptions:
    values = {field: _text(given(name)) for field, name in _PEER_FIELDS.items() if given(name) is not None}
    spoken = said = {field: text for field, text in values.items() if typed(_PEER_FIELDS[field])}
    key = given("pacs")
    if key:
        entry = {field: text for field, text in _service(key).items() if field in _PEER_FIELDS and text}
        _warn_of_variables(key, entry, values, spoken)
        values = entry | values
        spoken = values if typed("pacs") else spoken
    return PeerOptions(spoken, values, given("move_destination"), said=said)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _warn_of_variables(
    key: str, entry: Mapping[str, str], values: Mapping[str, str], spoken: Mapping[str, str]
) -> None:
    """Variables go before a named service: say so where that changes which PACS is asked."""
    louder = [field for field, text in entry.items() if field not in spoken and values.get(field, text) != text]
    if louder and given("verbosity") != 0:
        names = ", ".join(f"PX_{_PEER_FIELDS[field].upper()}" for field in louder)
        console.say(f"note: {names} of the environment goes before what PACS {key!r} says")


def _service(key: str) -> dict[str, str]:
    from pypx.db.service_keys import ServiceKeys

    found = named_layout()
    if found is None:
        raise InputError(
            f"--PACS {key}: named PACS are kept in the BASEMOUNT;"
            " give --basemount DIR (PX_BASEMOUNT) or --db DIR/log (PX_DB)"
        )
    return {field: str(value) for field, value in ServiceKeys(found).pacs(key).items() if value is not None}


def _peer_decorators(move: bool) -> list[Callable[[Command], Command]]:
    options: list[Callable[[Command], Command]] = [
        click.option(
            "--serverIP", "--server-ip", "server_ip", metavar="HOST", envvar="PX_SERVER_IP",
            help="Host of the PACS (PX_SERVER_IP).",
        ),
        click.option(
            "--serverPort", "--server-port", "server_port", metavar="PORT", envvar="PX_SERVER_PORT",
            help=f"Its port (PX_SERVER_PORT; {DEFAULT_PORT}).",
        ),
        click.option("--aec", metavar="TITLE", envvar="PX_AEC", help=f"Its AE title (PX_AEC; {DEFAULT_AEC})."),
        click.option("--aet", metavar="TITLE", envvar="PX_AET", help=f"Our AE title (PX_AET; {DEFAULT_AET})."),
        click.option(
            "--PACS", "--pacs", "pacs", metavar="KEY", envvar="PX_PACS",
            help="A PACS named in the BASEMOUNT's services/pacs.json (PX_PACS).",
        ),
    ]  # fmt: skip
    options += tls_options.PEER
    if move:
        options.append(
            click.option(
                "--move-destination", "move_destination", metavar="TITLE", envvar="PX_MOVE_DESTINATION",
                help="AE title the PACS sends to (PX_MOVE_DESTINATION; that of --aet).",
            )
        )  # fmt: skip
    return options


def peer(*, move: bool = True) -> Callable[[F], F]:
    """Give the command ``node``: the PACS to talk to.

    Parameters
    ----------
    move : whether the command can have images sent
    """
    return record("node", lambda values: _peer_options(values).node(), *_peer_decorators(move))


def peer_overrides(function: F) -> F:
    """Give the command ``peer``: what of a PACS was given, to be completed from a document."""
    return record("peer", _peer_options, *_peer_decorators(move=True))(function)
