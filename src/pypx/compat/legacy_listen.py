"""px-listen and storescp.sh: both are ``px listen``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pypx.compat.legacy_call import Call
from pypx.db.layout import Layout
from pypx.model.identifiers import parse_port
from pypx.model.tls import TLS_FIELDS, tls_of
from pypx.services.dcmtk import Programs
from pypx.workflows.events import EventKind, ListenEvent
from pypx.workflows.listen import listen
from pypx.workflows.serving import ListenOptions

DEFAULT_PORT = "10402"


def run(call: Call, say: Callable[[str], None]) -> None:
    """Receive until told to stop.

    ``storescp.sh -D`` names the BASEMOUNT, px-listen its log and data directories.  There is no program per image, so
    ``-E`` has no meaning, and what is received waits in ``incoming/`` of the BASEMOUNT, not in ``-t``.

    Raises
    ------
    PxError : as :func:`pypx.workflows.listen.listen`
    """
    root = call.text("basemount")
    layout = Layout.of_basemount(Path(root).absolute()) if root else call.layout()
    storescp = call.text("executable")
    port = call.chosen("port") or call.environ.get("PX_LISTEN_PORT", "") or DEFAULT_PORT
    secured = {field: call.environ.get(f"PX_LISTEN_{field.upper()}", "") for field in TLS_FIELDS}
    options = ListenOptions(
        port=parse_port(port, "-p"),
        programs=Programs(storescp=storescp) if storescp else call.programs(),
        tls=tls_of(secured, {}, call.environ.get("PX_LISTEN_TLS_KEY_PASSWORD"), what="PX_LISTEN_TLS"),
    )
    if call.text("holding") or call.text("tmp_directory"):
        say(f"-t is not used: what is received waits in {layout.incoming} until it is filed")
    listen(layout, options, lambda event: _tell(event, say))


_TOLD = frozenset(kind for kind in EventKind) - {
    EventKind.ASSOCIATION_OPENED,
    EventKind.ASSOCIATION_ENDED,
    EventKind.SERIES,
}


def _tell(event: ListenEvent, say: Callable[[str], None]) -> None:
    if event.kind in _TOLD:
        fields = event.as_dict()
        say(" ".join([str(fields.pop("kind")), *(f"{name}={value}" for name, value in fields.items())]))
