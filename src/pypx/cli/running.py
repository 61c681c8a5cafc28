"""How a run of px begins and ends: streams and signals made ready, whatever goes wrong one line and an exit code.

Both the commands of px and those of pypx 3 end here.  The latter do not use click, so nothing here loads it.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pypx.cli import console, interrupts
from pypx.cli.verbs import COMMANDS, program_of, spread_verbosity, verb_of
from pypx.errors import PxError

EXIT_PIPE = 141
"""Exit code where the reader of stdout went away, as SIGPIPE would have it."""

_EXIT_ABORT = 130
_EXIT_BUG = 70
_ENVIRONMENT = frozenset({
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE,
    errno.ENAMETOOLONG,
})  # fmt: skip


def run(work: Callable[[], Any]) -> None:
    """Do `work`, which ends the process, with stdout, stderr and signals as px has them."""
    console.prepare()
    try:
        interrupts.install(program_of(sys.argv[1:]))
        work()
    except KeyboardInterrupt:  # no command was at work yet, or none any more
        interrupts.told()
        console.say(f"{program_of(sys.argv[1:])}: interrupted")
        sys.exit(_EXIT_ABORT)
    finally:
        interrupts.over()
        if interrupts.received() is not None:
            console.finish()  # here, where a pipe that nobody reads cannot hold it up for long


def guarded(work: Callable[[], Any], argv: Sequence[str]) -> int:
    """Do `work` and turn whatever it raises into one line on stderr and an exit code.

    Parameters
    ----------
    work : returns the exit code, or anything else for success
    argv : what the user typed, to know the verb, ``--json`` and ``--debug``
    """
    console.begin()
    try:
        result = work()
    except BrokenPipeError:
        console.discard()
        return EXIT_PIPE
    except KeyboardInterrupt:
        return _fail(argv, _EXIT_ABORT, "interrupted")
    except PxError as error:
        return _fail(argv, error.exit_code, told(error, argv))
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug is named as one, never as a traceback
        return _unexpected(argv, error)
    return result if isinstance(result, int) else 0


def _unexpected(argv: Sequence[str], error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in _ENVIRONMENT:
        return _fail(argv, PxError.exit_code, f"{os.strerror(error.errno)}{_place(error, argv)}")
    text = f"a bug in px: {type(error).__name__} at {_line_of(error)}"
    if _wordy(argv):  # it may hold the value that made the trouble, so a patient's
        text += f": {error}"
    return _fail(argv, _EXIT_BUG, f"{text[:400]} (run again with --debug and report what it prints)")


def told(error: PxError, argv: Sequence[str], option: str = "-v") -> str:
    """The line of an error: all of it for who asked for details by `option`, else without what tells of a patient."""
    if error.detail in ("", str(error)):
        return str(error)
    return error.detail if _wordy(argv) else f"{error} ({option} shows all)"


def _place(error: OSError, argv: Sequence[str]) -> str:
    if not error.filename:
        return ""
    from pypx.db.files import shown

    whole = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    return f": {whole if _wordy(argv) else shown(whole)}"


def _line_of(error: Exception) -> str:
    trace, where = error.__traceback__, "an unknown place"
    while trace is not None:
        where = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"  # noqa: PTH119 - no path
        trace = trace.tb_next
    return where


def _wordy(argv: Sequence[str]) -> bool:
    """Whether details are wanted: ``--debug``, or ``-v``."""
    given = [word.partition("=")[2] for word in spread_verbosity(argv) if word.startswith("--verbosity=")]
    return "--debug" in argv or (bool(given) and given[-1].isdigit() and int(given[-1]) > 1)


def _fail(argv: Sequence[str], code: int, line: str) -> int:
    ended = interrupts.received()
    if ended is not None:  # whatever failed on the way out
        code, line = ended, "interrupted"
    interrupts.told()
    if "--debug" in argv:
        import traceback

        traceback.print_exc()
    verb = COMMANDS.get(verb_of(argv))
    try:
        console.failure(
            program_of(argv), line, code, document="--json" in argv, program_result=verb is not None and verb.program
        )
    except BrokenPipeError:
        console.discard()
    return code
