#!/usr/bin/env python3
"""Write `docs/commands/_help/<command>.txt`: what `px <command> --help` prints at 100 columns.

generate_help.py            write the files
generate_help.py --check    write nothing; exit 1 and name the files that differ
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pypx.cli.main import px

FOLDER = Path(__file__).parent / "commands" / "_help"
WIDTH = 100


def helps(command: click.Command, words: str, parent: click.Context | None = None) -> Iterator[str]:
    """Yield the help of `command` and of the commands below it, each after the line one would type."""
    context = click.Context(command, parent=parent, info_name=words.rpartition(" ")[2])
    yield f"$ {words} --help\n{command.get_help(context)}\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from helps(below, f"{words} {name}", context)


def texts() -> dict[str, str]:
    """Return file name to content, for px itself and each of its commands."""
    settings = {**px.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    root = click.Context(px, info_name="px", **settings)
    result = {"px.txt": f"$ px --help\n{px.get_help(root)}\n"}
    for name in px.list_commands(root):
        command = px.get_command(root, name)
        if command is not None:
            result[f"{name}.txt"] = "\n".join(helps(command, f"px {name}", root))
    return {name: "\n".join(line.rstrip() for line in text.split("\n")) for name, text in result.items()}


def differing(wanted: dict[str, str]) -> list[str]:
    """Return the names of files that are missing, other, or of no command."""
    present = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.txt")}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def main() -> int:
    """Write the files, or check them."""
    wanted = texts()
    stale = differing(wanted)
    if "--check" in sys.argv:
        sys.stdout.writelines(f"differs: docs/commands/_help/{name}\n" for name in stale)
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
