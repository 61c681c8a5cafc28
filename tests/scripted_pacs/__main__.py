"""The process of the PACS: one JSON document a line in, one a line out, over the socket it has as standard input."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from scripted_pacs.archive import Archive
from scripted_pacs.listener import Listener
from scripted_pacs.plain import from_plain
from scripted_pacs.play import Play
from scripted_pacs.script import Script
from scripted_pacs.sending import Stage


def _start(order: dict[str, Any]) -> Listener:
    play = Play(from_plain(Archive, order["archive"]), from_plain(Script, order["script"]))
    destinations = {aet: (host, port) for aet, (host, port) in order["destinations"].items()}
    return Listener(order["port"], Stage(order["aet"], destinations, play))


def _obey(listener: Listener, order: dict[str, Any]) -> dict[str, Any]:
    stage = listener.stage
    if "script" in order:
        archive = from_plain(Archive, order["archive"]) if "archive" in order else stage.play.archive
        listener.play(Play(archive, from_plain(Script, order["script"])))
    if "destinations" in order:
        stage.destinations = {aet: (host, port) for aet, (host, port) in order["destinations"].items()}
    if order.get("forget"):
        stage.book.forget()
    answer: dict[str, Any] = {"quiet": stage.book.quiet(), "bugs": stage.book.bugs}
    if order.get("journal"):
        answer["records"] = stage.book.plain()
    return answer


def main() -> None:
    """Serve until the other end of the control socket is closed, which the end of the tests does."""
    with socket.socket(fileno=0) as control, control.makefile("rw", encoding="utf-8") as lines:
        listener = _start(json.loads(lines.readline()))
        print(json.dumps({}), file=lines, flush=True)
        for line in lines:
            print(json.dumps(_obey(listener, json.loads(line))), file=lines, flush=True)
        os._exit(0)


main()
