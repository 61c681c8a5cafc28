"""Healthy: the listener of this container answers a C-ECHO.  A container that runs another command has none to ask."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

REJECTED = 11
"""Exit code of px echo: a listener that may refuse us (--allow-calling, --allow-from) is alive."""


def processes() -> Iterator[list[str]]:
    """The argument lists of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        yield words[:-1]


def listener(commands: Iterator[list[str]]) -> Sequence[str] | None:
    """The arguments behind `px listen` of the process that listens."""
    for words in commands:
        for place, (program, verb) in enumerate(pairwise(words)):
            if Path(program).name == "px" and verb in {"listen", "--legacy"}:
                rest = words[place + 2 :]
                if verb == "listen" or rest[:1] in (["listen"], ["storescp"], ["storescp.sh"]):
                    return rest
    return None


def value(words: Sequence[str], names: tuple[str, ...], default: str) -> str:
    """What `--name VALUE` or `--name=VALUE` says, the last of them."""
    for place in range(len(words) - 1, -1, -1):
        name, equals, text = words[place].partition("=")
        if name in names and (equals or place + 1 < len(words)):
            return text if equals else words[place + 1]
    return default


def main() -> None:
    """Ask the listener; 0 if it answers, or if there is none to ask."""
    words = listener(processes())
    if words is None:
        sys.exit(0)
    port = value(words, ("--port", "-p"), os.environ.get("PX_LISTEN_PORT", "11113"))
    title = value(words, ("--aet",), os.environ.get("PX_AET", "HEALTHCHECK"))
    argv = ["px", "echo", "--serverIP", "127.0.0.1", "--serverPort", port, "--aec", title, "--aet", "HEALTHCHECK"]
    argv += ["--timeout", "5", "--acse-timeout", "5", "--dimse-timeout", "5"]
    asked = subprocess.call(argv)  # noqa: S603  an argument list, no shell
    sys.exit(0 if asked in {0, REJECTED} else 1)


if __name__ == "__main__":
    main()
