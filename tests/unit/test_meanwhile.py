"""Questions that go on while a PACS sends."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import PeerRejectedError
from pypx.model.identifiers import AETitle
from pypx.model.peers import PacsNode
from pypx.services.dcmtk import Conversation
from pypx.workflows import meanwhile
from pypx.workflows.meanwhile import Meanwhile

TALK = Conversation(PacsNode("127.0.0.1", 1, AETitle("PACS"), AETitle("PX"), AETitle("PX")))


def test_a_refusal_is_raised_before_anything_is_retrieved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PeerRejectedError("no")

    monkeypatch.setattr(meanwhile, "expect", refused)
    with pytest.raises(PeerRejectedError), Meanwhile([], TALK, Database(Layout.of_basemount(tmp_path), None)):
        pytest.fail("the block has begun")


def test_the_block_runs_beside_the_questions_and_its_end_ends_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    def slow(*_: object, begun: Event, stop: Event, **_options: object) -> None:
        begun.set()
        ended.append(stop.wait(20))

    monkeypatch.setattr(meanwhile, "expect", slow)
    with Meanwhile([], TALK, Database(Layout.of_basemount(tmp_path), None)):
        assert ended == []
    assert ended == [True]
