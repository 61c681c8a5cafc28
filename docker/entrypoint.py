"""What a container of px runs: `px find …`, the older `--px-find …`, or its listener if nothing is said."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

USAGE = """\
docker run … local/pypx                        the listener: port PX_LISTEN_PORT (11113), BASEMOUNT /home/dicom
docker run … local/pypx px find --PatientID 1  any px command; `px` may be left out
docker run … local/pypx px-find --PatientID 1  any program of pypx 3: px-find, px-report, …, pfstorage, storescp.sh
docker run … local/pypx --px-find …            the same, as pypx 3 had it; one of
    --px-do --px-echo --px-find --px-move --px-push --px-register --px-repack --px-report --px-status --pfstorage
    --px-smdb; without any, options go to px-find
docker run -it … local/pypx bash               a shell

The exit status is that of the command. Only the listener listens. `px --help` explains the commands.
"""

PROGRAMS = (
    "px-do", "px-echo", "px-find", "px-move", "px-push", "px-register", "px-repack", "px-report", "px-status",
    "pfstorage", "px-smdb",
)  # fmt: skip
"""What `--<program>` may name; of several the last in this order runs."""

NAMED = frozenset(PROGRAMS) | {"px", "px-listen", "storescp.sh", "bash", "sh", "python", "python3"}
"""What runs under its own name; any other word is a command of px."""

_OPTION_WITH_VALUE = re.compile(r"--?[A-Za-z][\w-]*\s")
_ESCAPED = re.compile(r"""\\(?=[\s"'\\$`*?\[\](){}<>|&;#!~])""")


def command(words: Sequence[str]) -> list[str]:
    """The program and its arguments for what follows the image in `docker run`.

    Raises
    ------
    ValueError : an abbreviated flag fits several programs, or quotes do not match
    """
    if not words:
        return ["px", "listen"]
    if not words[0].startswith("-"):
        name = os.path.basename(words[0])  # noqa: PTH119  /dock/storescp.sh and /usr/local/bin/px-find are known by name
        return [name, *words[1:]] if name in NAMED else ["px", *words]
    chosen = [program for word in words if (program := _program(word))]
    if not chosen and {"-h", "--help"}.intersection(words):
        return []
    program = max(chosen, key=PROGRAMS.index, default="px-find")
    return [program, *(plain for word in words if not _program(word) for plain in as_typed(word))]


def _program(word: str) -> str | None:
    """The program that `--px-find`, or an unambiguous beginning of it, names."""
    if not word.startswith(("--px-", "--pf")):
        return None
    fitting = [program for program in PROGRAMS if f"--{program}".startswith(word)]
    if len(fitting) > 1:
        raise ValueError(f"{word} may be any of {', '.join(f'--{program}' for program in fitting)}")
    return fitting[0] if fitting else None


def as_typed(word: str) -> list[str]:
    r"""Take back the quoting that the shell inside the container of pypx 3 needed, where it is unmistakable.

    There the arguments were joined and read by a shell once more, so users wrote ``{\"a\":1}`` and ``"'DOE JANE'"``.
    What needs nothing taken back stays as it is: JSON that can be read, ``O'NEIL``, ``CT\MR``, ``a b``.
    """
    if _is_json(word):
        return [word]
    if _OPTION_WITH_VALUE.match(word):
        return shlex.split(word)
    if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
        inner = _split(word)
        if len(inner) == 1:
            return inner
    return [_ESCAPED.sub("", word)]


def _split(word: str) -> list[str]:
    try:
        return shlex.split(word)
    except ValueError:
        return []


def _is_json(text: str) -> bool:
    """Whether it is a JSON object or array, or several of them with semicolons between."""
    rest = text.strip()
    if not rest.startswith(("{", "[")):
        return False
    decoder = json.JSONDecoder()
    while rest:
        try:
            _, end = decoder.raw_decode(rest)
        except ValueError:
            return False
        rest = rest[end:].lstrip()
        if rest and rest[0] != ";":
            return False
        rest = rest[1:].lstrip()
    return True


def main() -> NoReturn:
    """Become the program; its exit status is that of the container."""
    try:
        argv = command(sys.argv[1:])
    except ValueError as error:
        sys.exit(_complain(f"{error} (--help lists what there is)", 2))
    if not argv:
        sys.stdout.write(USAGE)
        sys.exit(0)
    try:
        os.execvp(argv[0], argv)  # noqa: S606  an argument list, no shell
    except OSError as error:
        sys.exit(_complain(f"{argv[0]}: {error.strerror}", 127))


def _complain(line: str, status: int) -> int:
    sys.stderr.write(f"{line}\n")
    return status


if __name__ == "__main__":
    main()
