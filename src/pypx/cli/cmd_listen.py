"""``px listen``: receive what a PACS sends, and file it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pypx.cli import console, options, tls_options, tool_options
from pypx.cli.console import Console
from pypx.errors import InputError

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.model.identifiers import AETitle
    from pypx.model.pacs import TlsSettings
    from pypx.services.dcmtk import Programs
    from pypx.workflows.events import ListenEvent

_EPILOG = options.epilog(
    """
    px listen --basemount /data/dicom --port 11113 --aet CHRIS
    px listen --basemount /data/dicom --port 11113 --aet CHRIS --allow-calling ORTHANC --min-free 20G
    px listen --basemount /data/dicom --port 11113 --jsonl > events.jsonl
    px listen --basemount /data/dicom --port 2762 --aet CHRIS --tls --tls-cert chris.pem --tls-ca hospital-ca.pem
    """,
    2, 20, 40,
    _0="told to stop (SIGTERM, SIGHUP, ^C), and all that was received is filed",
    _1="the port cannot be had, or received files could not be filed",
    _3="stopped; files that an earlier px listen received still wait for the next one",
)  # fmt: skip

_LEAST_STALL_S = 60.0  # as long as storescp waits for the rest of a message
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _bytes(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    found = re.fullmatch(r"(\d{1,12})\s*([KMGT]?)(i?B)?", value.strip(), re.IGNORECASE)
    if found is None:
        raise click.BadParameter(f"{value!r} is no size, such as 500M or 20G")
    return int(found[1]) * _UNITS[found[2].upper()]


def _some_bytes(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """As :func:`_bytes`; 0 is refused, for it would let nothing through, or seem to switch the limit off."""
    size = _bytes(ctx, param, value)
    if not size:
        raise click.BadParameter(f"{value!r} is no size of more than 0, such as 500M or 20G")
    return size


def _titles(texts: tuple[str, ...]) -> frozenset[AETitle]:
    """The AE titles named; an option without one is refused, as nobody named would mean anybody."""
    from pypx.model.identifiers import parse_ae_title

    for text in texts:
        if not text.strip(" ,"):
            raise InputError(f"--allow-calling: {text[:40]!r} names no AE title")
    names = (name for text in texts for name in text.split(",") if name.strip())
    return frozenset(parse_ae_title(name, "--allow-calling") for name in names)


def _networks(texts: tuple[str, ...]) -> tuple[Any, ...]:
    from ipaddress import ip_network

    try:
        return tuple(ip_network(word.strip(), strict=False) for text in texts for word in text.split(","))
    except ValueError as error:
        raise InputError(f"--allow-from: {error}") from None


@click.command("listen", cls=options.PxCommand, epilog=_EPILOG)
@options.layout(required=True, short=True)
@click.option(
    "--port",
    required=True,
    type=click.IntRange(0, 65535),
    envvar="PX_LISTEN_PORT",
    metavar="PORT",
    help="Port to listen on; 0 takes a free one (PX_LISTEN_PORT).",
)
@click.option("--bind", default="", metavar="ADDRESS", help="Address to listen on (all).")
@click.option(
    "--aet",
    envvar="PX_AET",
    metavar="TITLE",
    help="Our AE title: associations to another one are rejected (PX_AET; any title is taken).",
)
@click.option(
    "--allow-calling",
    "calling",
    multiple=True,
    metavar="TITLE,...",
    help="Take images from these AE titles only.",
)
@click.option(
    "--allow-from",
    "networks",
    multiple=True,
    metavar="NETWORK,...",
    help="Take images from these addresses only, such as 10.0.0.5 or 10.0.0.0/24.",
)
@click.option(
    "--known-pacs-only",
    is_flag=True,
    help="Take images from the PACS of services/pacs.json only: their AE titles, each from its address.",
)
@click.option(
    "--max-associations",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    metavar="N",
    help="Reject more than these at once.",
)
@click.option(
    "--max-backlog",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    metavar="N",
    help="Let senders wait while so many files are not filed yet.",
)
@click.option(
    "--min-free",
    default="1G",
    show_default=True,
    callback=_bytes,
    metavar="SIZE",
    help="Let senders wait while less is free on the disk; below half of it refuse objects (out of resources).",
)
@click.option(
    "--max-object-size",
    "max_object",
    default="4G",
    show_default=True,
    callback=_some_bytes,
    metavar="SIZE",
    help="Refuse larger objects (out of resources).",
)
@click.option(
    "--drain",
    type=tool_options.Seconds(zero=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="When told to stop, let running associations go on for so long.",
)
@click.option(
    "--acse-timeout",
    type=tool_options.Seconds(),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="For a peer to ask for an association and to release it.",
)
@click.option(
    "--dimse-timeout",
    type=tool_options.Seconds(),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two messages of an association, and for one that hardly comes on (at least 60).",
)
@tls_options.listener
@tool_options.programs("storescp")
@options.output(json_help="The same as --jsonl: a listener has no end to print a document at.")
def command(
    *,
    layout: Layout,
    port: int,
    bind: str,
    aet: str | None,
    calling: tuple[str, ...],
    networks: tuple[str, ...],
    known_pacs_only: bool,
    max_associations: int,
    max_backlog: int,
    min_free: int,
    max_object: int,
    drain: float,
    acse_timeout: float,
    dimse_timeout: float,
    tls: TlsSettings | None,
    programs: Programs,
    out: Console,
) -> None:
    """Receive what a PACS sends, file it in the BASEMOUNT and record it; stay in the foreground.

    One line on stderr says when it is ready. SIGTERM, SIGHUP or ^C ends it: what is under way is received and filed
    first; the second time it ends at once, and the next px listen files what was left.
    """
    from pypx.model.identifiers import parse_ae_title
    from pypx.workflows.knownpacs import known_callers
    from pypx.workflows.listen import listen
    from pypx.workflows.serving import ListenOptions

    listen(
        layout,
        ListenOptions(
            port=port,
            bind=bind,
            aet=None if aet is None else parse_ae_title(aet, "--aet"),
            calling_aets=_titles(calling),
            networks=_networks(networks),
            known=known_callers(layout) if known_pacs_only else None,
            max_associations=max_associations,
            max_backlog=max_backlog,
            min_free_bytes=min_free,
            max_object_bytes=max_object,
            acse_s=acse_timeout,
            dimse_s=dimse_timeout,
            stall_s=max(dimse_timeout, _LEAST_STALL_S),
            drain_s=drain,
            programs=programs,
            debug="--debug" in sys.argv,
            tls=tls,
        ),
        _teller(out),
    )


def _teller(out: Console) -> Callable[[ListenEvent], None]:
    """Tell each event: as a line of JSON with ``--jsonl`` or ``--json``, in words on stderr."""
    from pypx.workflows.events import EventKind

    usual = {
        EventKind.ASSOCIATION_OPENED, EventKind.ASSOCIATION_ENDED, EventKind.SERIES,
    }  # fmt: skip
    records = out.json or out.jsonl

    def tell(event: ListenEvent) -> None:
        nonlocal records
        (out.detail if event.kind in usual else out.note)(_words(event))
        if records:
            try:
                out.record(event.as_dict())
            except BrokenPipeError:
                records = False
                console.discard()
                out.note("px listen: nobody reads the events any more; it goes on without")

    return tell


def _words(event: ListenEvent) -> str:
    fields = event.as_dict()
    kind = fields.pop("kind")
    if kind == "ready":
        title = fields.get("aet") or "any AE title"
        return f"px listen: ready: {title} on {fields['address']}:{fields['port']}, files go to {fields['basemount']}"
    reason = fields.pop("reason", "")
    words = " ".join([kind, *(f"{name}={value}" for name, value in fields.items())])
    return f"px listen: {words}: {reason}" if reason else f"px listen: {words}"
