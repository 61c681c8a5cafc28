"""Fixture of the scripted PACS, which misbehaves on request; tests/scripted_pacs says how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from scripted_pacs import Archive, Script, ScriptedPacs
from support.ports import free_port
from support.servers import HOST, Destination, StorescpSink


@pytest.fixture
def scripted_pacs() -> Iterator[Callable[..., ScriptedPacs]]:
    """`scripted_pacs(archive, script, [sink])` starts one that sends to that sink; `play` gives it another script."""
    running: list[ScriptedPacs] = []

    def start(
        archive: Archive,
        script: Script | None = None,
        destinations: Iterable[Destination | StorescpSink] = (),
        aet: str = "SCRIPTED",
    ) -> ScriptedPacs:
        known = {one.aet: (HOST, one.port) for one in destinations}
        pacs = ScriptedPacs(free_port(), aet, known, archive, script).start()
        running.append(pacs)
        return pacs

    try:
        yield start
    finally:
        for pacs in running:
            pacs.stop()
