"""``px --legacy <verb>``: the ``px-*`` commands, their options, output and documents as pypx 3 has them.

Nothing slow is imported before a verb is known, and then only what that verb needs: px-repack may run once an image.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pypx.cli import console, running
from pypx.errors import InputError, PxError

if TYPE_CHECKING:
    from pypx.compat.legacy_call import Answer, Call

VERBS = (
    "find", "do", "echo", "move", "report", "status", "smdb", "repack", "push", "register", "pfstorage", "listen",
    "storescp",
)  # fmt: skip

_ALWAYS_ZERO = "PX_LEGACY_EXIT"


def run() -> None:
    """Run the command that the process was started with: ``px --legacy <verb> …``, as px-find and its like start px."""
    argv = sys.argv[1:]
    running.run(lambda: sys.exit(running.guarded(lambda: main(argv[1:]), argv)))


def main(argv: Sequence[str]) -> int:
    """Run one command of pypx 3.

    Parameters
    ----------
    argv : the verb (``find``, ``px-find``, ``storescp.sh``) and its options

    Returns
    -------
    The exit code: that of the error, 0 otherwise; with ``PX_LEGACY_EXIT=0`` in the environment 0 for every error of
    the PACS, a store or the data, as pypx ended.  Wrong usage ends the process with 2.

    Raises
    ------
    InputError : no such command
    """
    verb = _verb(argv)
    from pypx.compat.legacy_help import description, program, synopsis, version_text
    from pypx.compat.legacy_parser import parse

    try:
        options = parse(verb, argv[1:])
        values = options.values
        if values.get("b_version"):
            console.write(version_text(verb))
            return 0
        for name, text in (("desc", description), ("synopsis", synopsis)):
            if values.get(name) or values.get(f"b_{name}"):
                console.write(text(verb, colour=_colours()))
                return 0
        answer = _run(verb, _call(options.values, options.given))
        trouble = answer.trouble
    except PxError as error:
        trouble = error
    console.flush()
    if trouble is None:
        return 0
    console.say(f"{program(verb)}: {running.told(trouble, argv, '-v 2')}")
    return 0 if os.environ.get(_ALWAYS_ZERO) == "0" else trouble.exit_code


def _verb(argv: Sequence[str]) -> str:
    word = argv[0] if argv else ""
    verb = word.removeprefix("px-").removesuffix(".sh")
    if verb not in VERBS:
        raise InputError(f"--legacy: {word!r} is no command of pypx; there are {', '.join(VERBS)}")
    return verb


def _call(values: Mapping[str, Any], given: frozenset[str]) -> Call:
    from pypx.compat.legacy_call import Call

    quiet = str(values.get("verbosity", 1)) == "0"
    return Call(
        dict(values), given, os.environ, show=console.write if not quiet else _nothing, say=console.say,
        colour=_colours(),
    )  # fmt: skip


def _nothing(_text: str) -> None:
    """Show nothing."""


def _colours() -> bool:
    """Whether to colour, as pypx always did: on a terminal, or where it is asked for."""
    return console.colours() or bool(os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE"))


def _run(verb: str, call: Call) -> Answer:
    runner: Callable[[Call], Answer] = _RUNNERS.get(verb) or _plain(verb)
    return runner(call)


def _work(module: str, name: str) -> Callable[..., Any]:
    """A function of compat, loaded when it is needed."""
    found: Callable[..., Any] = getattr(import_module(f"pypx.compat.{module}"), name)
    return found


def _print(document: Mapping[str, Any]) -> None:
    import json  # a status that nobody wants printed needs none

    console.write(json.dumps(document, indent=4) + "\n")


# --- verbs


def _find(call: Call) -> Answer:
    answer: Answer = _work("legacy_find", "find")(call)
    if call.flag("json") and not call.flag("withFeedBack") and call.verbosity:
        _print(answer.document)
    _linger(call)
    return answer


def _document(call: Call) -> dict[str, Any]:
    """The document of a find: an option, a file, or stdin."""
    from pypx.cli.inputs import DocumentSource

    return DocumentSource(call.text("reportData") or None, call.text("reportDataFile") or None).read()


def _do(call: Call) -> Answer:
    document = _document(call)
    answer: Answer = _work("legacy_find", "do")(call, document)
    if call.flag("json") and not call.flag("withFeedBack") and call.verbosity:
        _print(answer.document)
    _linger(call)
    return answer


def _python_literal(answer: Answer) -> Answer:
    """Print what pypx printed of an echo and a move: the dictionary as Python writes it, which scripts parse."""
    console.write(f"{answer.document!r}\n")
    return answer


def _echo(call: Call) -> Answer:
    return _python_literal(_work("legacy_peer", "echo")(call))


def _move(call: Call) -> Answer:
    return _python_literal(_work("legacy_peer", "move")(call))


def _report(call: Call) -> Answer:
    from pypx.compat.legacy_call import Answer
    from pypx.errors import PeerFailedError

    document = _document(call)
    try:
        text = _work("legacy_report", "report_text")(call, document)
    except PeerFailedError as error:
        console.write(_work("legacy_report", "flagged_text")(document, colour=_colours()))
        return Answer(document, error)
    show = console.write_lines if call.text("printReport") == "csv" else console.write
    show(text if not call.flag("b_json") else "")
    return Answer(document)


def _status(call: Call) -> Answer:
    answer: Answer = _work("legacy_report", "status")(call)
    if call.flag("json") and call.verbosity:
        _print(answer.document)
    return answer


def _plain(verb: str) -> Callable[[Call], Answer]:
    """A verb that prints its document wherever it is asked for, or always."""

    def run(call: Call) -> Answer:
        answer: Answer = _work(f"legacy_{verb}", "run")(call)
        if (call.flag("json") or verb in _ALWAYS_PRINT) and call.verbosity:
            _print(answer.document)
        return answer

    return run


_ALWAYS_PRINT = frozenset({"smdb", "repack", "register"})


def _listen(call: Call) -> Answer:
    """Receive in the foreground.

    Under inetd stdout and stderr are a socket whose other end soon goes away; what cannot be told is not.
    """
    from pypx.compat.legacy_call import Answer

    def say(text: str) -> None:
        with contextlib.suppress(OSError):
            console.say(text)

    _work("legacy_listen", "run")(call, say)
    return Answer({})


_RUNNERS: Mapping[str, Callable[[Call], Answer]] = {
    "find": _find, "do": _do, "echo": _echo, "move": _move, "report": _report, "status": _status, "listen": _listen,
    "storescp": _listen,
}  # fmt: skip


def _linger(call: Call) -> None:
    """Wait for ENTER if ``--waitForUserTerminate`` asks for it and somebody is there."""
    if not call.flag("b_waitForUserTerminate"):
        return
    from pypx.cli.inputs import stdin_is_terminal

    if stdin_is_terminal():
        console.say("Images may still be on their way. Hit ENTER now to exit.")
        input()
