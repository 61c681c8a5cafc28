"""The commands of ``px`` as they are known before one is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Verb(NamedTuple):
    """A command as the group knows it before it is loaded.

    `program` tells whether its ``--json`` document is of the kind that wraps a DCMTK program: ``"status": "error"``
    with ``data``, ``command`` and ``returncode`` where the others say ``"status": false``.
    """

    module: str
    summary: str
    program: bool = False


COMMANDS = {
    "echo": Verb("cmd_echo", "Check that a PACS answers.", program=True),
    "find": Verb("cmd_find", "Ask a PACS which studies and series it has.", program=True),
    "report": Verb("cmd_report", "Show what px find found as table, text, CSV or JSON."),
    "move": Verb("cmd_move", "Have a PACS send series to a listener.", program=True),
    "listen": Verb("cmd_listen", "Receive what a PACS sends and file it."),
    "repack": Verb("cmd_repack", "File DICOM files that are on disk already."),
    "push": Verb("cmd_push", "Push images to Swift, S3, a directory or a PACS."),
    "register": Verb("cmd_register", "Tell CUBE of images in its storage."),
    "storage": Verb("cmd_storage", "List, put, get and remove objects of a store."),
    "status": Verb("cmd_status", "Say how much of which series has arrived."),
    "do": Verb("cmd_do", "Run further steps over what px find found."),
    "smdb": Verb("cmd_smdb", "Look into the database, and name PACS and stores."),
    "completion": Verb("cmd_completion", "Print the completion script for your shell."),
}


def verb_of(argv: Sequence[str]) -> str:
    """The command that a command line names; ``""`` if it names none."""
    return next((word for word in argv if word in COMMANDS), "")


def program_of(argv: Sequence[str]) -> str:
    """What a message begins with: ``px find``, or ``px`` where no command is named."""
    return f"px {verb_of(argv)}".strip()


def spread_verbosity(args: Sequence[str]) -> list[str]:
    """Write ``-v``, ``-v N`` and ``-vN`` as ``--verbosity=N``, so that the number may be left out.

    ``-v`` alone is 2: one more than when nothing is said.
    """
    result: list[str] = []
    words = iter(range(len(args)))
    for index in words:
        word = args[index]
        if word == "--":
            return result + list(args[index:])
        joined = re.fullmatch(r"-v=?(\d{1,2})", word)
        if joined:
            result.append(f"--verbosity={joined.group(1)}")
        elif word in {"-v", "--verbosity"}:
            given = index + 1 < len(args) and re.fullmatch(r"\d{1,2}", args[index + 1])
            result.append(f"--verbosity={args[index + 1] if given else 2}")
            if given:
                next(words)
        else:
            result.append(word)
    return result
