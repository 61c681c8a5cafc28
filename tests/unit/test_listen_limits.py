"""What limits a listener: who is known, how long a request is, room, and what storescp's errors mean."""

from __future__ import annotations

import os
import selectors
from pathlib import Path

import pytest

from pypx.db.layout import Layout
from pypx.services.dcmtk import storescp_log_config
from pypx.workflows import spool
from pypx.workflows.association import AccessRules, AssociationRequest, Caller, Rejection, request_size
from pypx.workflows.room import Room
from pypx.workflows.words import Refused, Words

HEAD = b"\1\0" + (200).to_bytes(4, "big") + bytes(68)


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (HEAD, 206),
        (HEAD[:6], 206),
        (HEAD[:5], None),
        (b"", None),
        (b"\2" + HEAD[1:], None),
        (b"GET / HTTP/1.1", None),
        (b"\1\0" + (67).to_bytes(4, "big"), None),
        (b"\1\0" + (68).to_bytes(4, "big"), 74),
        (b"\1\0" + (1 << 18).to_bytes(4, "big"), (1 << 18) + 6),
        (b"\1\0" + ((1 << 18) + 1).to_bytes(4, "big"), None),
    ],
)
def test_size_of_a_request(head: bytes, size: int | None) -> None:
    assert request_size(head) == size


@pytest.mark.parametrize(
    ("title", "address", "rejection"),
    [
        ("PACS", "10.0.0.5", None),
        ("PACS", "10.0.0.6", Rejection.ADDRESS),
        ("CT1", "10.0.0.6", None),
        ("pacs", "10.0.0.5", Rejection.CALLING_AE),
        ("", "10.0.0.5", Rejection.CALLING_AE),
    ],
)
def test_known_callers_come_from_their_own_address(title: str, address: str, rejection: Rejection | None) -> None:
    rules = AccessRules(known=frozenset({Caller("PACS", "10.0.0.5"), Caller("CT1", "10.0.0.6")}))
    assert rules.judge(AssociationRequest(title, "ANY", address)) is rejection


def test_nobody_is_known() -> None:
    request = AssociationRequest("PACS", "ANY", "10.0.0.5")
    assert AccessRules(known=frozenset()).judge(request) is Rejection.CALLING_AE


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout.of_basemount(tmp_path / "basemount")
    for path in (layout.log, layout.data, layout.incoming):
        path.mkdir(parents=True)
    return layout


def test_room(layout: Layout) -> None:
    free = Room(layout, layout.incoming, 0, 10).free()
    assert free > 0
    assert Room(layout, layout.incoming, 0, 10).why_pause() is None
    much = Room(layout, layout.incoming, 1 << 60, 10)
    assert much.floor == 1 << 59
    assert "are free" in (much.why_pause() or "")
    assert Room(layout, layout.incoming, 0, 10).floor == 1 << 20, "however little is asked for"
    layout.incoming.rmdir()
    assert Room(layout, layout.incoming, 0, 10).free() == 0, "what cannot be told is no room"


def test_the_nearer_the_floor_the_sooner_room_is_looked_at_again(layout: Layout) -> None:
    room = Room(layout, layout.incoming, 2 << 30, 10)
    times = [room.look_again_s(free) for free in (0, 1 << 30, (1 << 30) + (100 << 20), 10 << 30)]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (0.01, 0.25)


def test_what_storescp_says(tmp_path: Path) -> None:
    words = Words(tmp_path)
    try:
        assert (tmp_path / spool.ERRORS).read_text() == storescp_log_config(words.writer)
        with selectors.DefaultSelector() as selector:
            selector.register(words, selectors.EVENT_READ)
            assert selector.select(0) == []
        os.write(
            words.writer, b"12 Store SCP Failed: 0006:020a DIMSE receiveDataSetInFile: Cannot write to file\n13 Sto"
        )
        assert list(words.heard()) == [(12, Refused.WRITE)]
        os.write(
            words.writer, b"re SCP Failed: 0006:020a DIMSE_storeProvider: Cannot create file: /x/y\n14 other\n\xff\n"
        )
        assert list(words.heard()) == [(13, Refused.CREATE)]
        os.write(
            words.writer, b"15 DIMSE failure (aborting association): 0006:020d\n15 0000:0002 Virtual Memory exhausted\n"
        )
        assert list(words.heard()) == [(15, Refused.MEMORY)]
        os.write(words.writer, b"x" * 60_000)
        assert list(words.heard()) == []
        assert len(words._rest) < 10_000, "what never ends is cut"
    finally:
        words.close()
    assert list(tmp_path.iterdir()) == []


def test_files_that_may_be_unfinished(tmp_path: Path) -> None:
    folder, lock = spool.create_association(spool.create_listener(tmp_path)[0], 1)
    os.close(lock)
    sizes = {"whole-blocks": 8192, "older": 4096, "odd": 5000, "empty": 0}
    for name, size in sizes.items():
        (folder / name).write_bytes(bytes(size))
        seconds = 100 if name == "older" else 200
        os.utime(folder / name, (seconds, seconds))
    assert {name for name in sizes if spool.maybe_unfinished(folder / name)} == {"whole-blocks", "empty"}
    assert spool.ended_well(folder) is None
    spool.mark_ended(folder, well=True)
    assert spool.ended_well(folder) is True
    spool.mark_ended(folder, well=False)
    assert spool.ended_well(folder) is False
    spool.mark_ended(tmp_path / "gone", well=True)
