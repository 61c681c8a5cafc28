"""A peer that does what a test tells it: pynetdicom, for faults that no archive shows on demand."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pynetdicom import AE, evt
    from pynetdicom.presentation import build_context

VERIFICATION = "1.2.840.10008.1.1"
FIND = {"patient": "1.2.840.10008.5.1.4.1.2.1.1", "study": "1.2.840.10008.5.1.4.1.2.2.1"}
MOVE = {"patient": "1.2.840.10008.5.1.4.1.2.1.2", "study": "1.2.840.10008.5.1.4.1.2.2.2"}
CT = "1.2.840.10008.5.1.4.1.1.2"

Handler = Callable[[Any], Any]


@dataclass
class ScriptedPacs:
    """A running peer; `asked` are the identifiers it got, in order, and `associations` how many it accepted."""

    aet: str
    host: str = "127.0.0.1"
    port: int = 0
    asked: list[Dataset] = field(default_factory=list)
    associations: int = 0


@contextmanager
def scripted_pacs(
    *,
    find: Callable[[Dataset, Any], Iterator[Any]] | None = None,
    move: Callable[[Dataset, Any], Iterator[Any]] | None = None,
    echo: Callable[[Any], int] | None = None,
    abstract_syntaxes: tuple[str, ...] = (VERIFICATION, *FIND.values(), *MOVE.values()),
    called: bool = False,
    calling: tuple[str, ...] = (),
    most_associations: int = 20,
    transfer_syntaxes: tuple[str, ...] | None = None,
) -> Iterator[ScriptedPacs]:
    """Run a peer with the given handlers; each gets the identifier of the request and pynetdicom's event."""
    pacs = ScriptedPacs("SCRIPTED")
    entity = AE(ae_title=pacs.aet)
    entity.maximum_associations = most_associations
    entity.require_called_aet = called
    entity.require_calling_aet = list(calling)
    for syntax in abstract_syntaxes:
        entity.add_supported_context(syntax, transfer_syntaxes)

    def noted(handler: Callable[[Dataset, Any], Iterator[Any]]) -> Handler:
        def handle(event: Any) -> Iterator[Any]:
            identifier = event.identifier
            pacs.asked.append(identifier)
            yield from handler(identifier, event)

        return handle

    def accepted(_event: Any) -> None:
        pacs.associations += 1

    handlers: list[tuple[Any, Handler]] = [(evt.EVT_ACCEPTED, accepted)]
    if find is not None:
        handlers.append((evt.EVT_C_FIND, noted(find)))
    if move is not None:
        handlers.append((evt.EVT_C_MOVE, noted(move)))
    if echo is not None:
        handlers.append((evt.EVT_C_ECHO, echo))
    server = entity.start_server((pacs.host, 0), block=False, evt_handlers=handlers)
    pacs.port = server.server_address[1]
    try:
        yield pacs
    finally:
        server.shutdown()
        with warnings.catch_warnings():  # sockets of associations that broke off are left to the collector
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


def answer(**values: object) -> Dataset:
    """An answer to a query."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def ct_image(study: str, series: str, instance: str) -> Dataset:
    """A small CT instance to send."""
    dataset = answer(
        SOPClassUID=CT, SOPInstanceUID=instance, StudyInstanceUID=study, SeriesInstanceUID=series, PatientID="1"
    )
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def destination(host: str, port: int) -> tuple[str, int, dict[str, object]]:
    """What a C-MOVE handler yields first: where to send to."""
    return host, port, {"contexts": [build_context(CT)]}
