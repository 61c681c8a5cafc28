"""The command ``px``, also as ``python -m pypx``: takes the signals, and only then loads the rest.

Loading takes longer than a hand needs for a ^C, which Python would show as a traceback from the middle of it.  So
nothing is imported up here that Python's own start has not loaded; before that start is over nobody can help.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # built in, but typeshed has no stub; signal itself would load enum
import os
import sys

_ENDING = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)
_NEW_OBJECTS = 50_000
"""So many are made before Python looks for unreachable ones.

By itself it does so after 700, some hundred times while a command is loaded, and twice when it ends: 20 ms of 110, for
nothing, as what is loaded stays.
"""


def run() -> None:
    """Entry point of the installed program ``px``."""
    for number in _ENDING:
        if _signal.getsignal(number) != _signal.SIG_IGN:  # as under nohup, and ^C in the background of a shell
            _signal.signal(number, _end)
    import gc

    gc.set_threshold(_NEW_OBJECTS)
    try:
        if sys.argv[1:2] == ["--legacy"]:  # px-find and its like, which need no click
            from pypx.cli.legacy import run as run_command
        else:
            from pypx.cli.main import run as run_command
        run_command()
    finally:
        gc.freeze()


def _end(number: int, _frame: object) -> None:
    """End at once: nothing has begun, and an exception could come out of anything that is being loaded."""
    if number == _signal.SIGINT and sys.stderr is not None:
        os.write(2, b"px: interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    run()
