"""^C, SIGTERM and SIGHUP: a command tidies up, for less than a second, and ends.

The handlers raise in the main thread, and what is under way ends by that.  Some things do not heed it: a thread that
waits for an answer of a store or for a lock of the BASEMOUNT, a look-up of a host name, a pipe that nobody reads.  So a
thread of ours, which the interpreter tells of each signal (:func:`signal.set_wakeup_fd`), ends the programs at once,
and the process a little later if it is still there.  Nothing is lost by that: the BASEMOUNT and the stores bear
``kill -9`` at any instant.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from types import FrameType

GRACE_S = 0.7
"""For so long an ended command may tidy up, seconds."""

_AGAIN_S = 0.02
_IMPORTING = "<frozen importlib._bootstrap>"
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_state: dict[str, int] = {}


def install(program: str) -> None:
    """Take the signals from now on, from :mod:`pypx.__main__` if it had them.

    Parameters
    ----------
    program : what the line on stderr begins with, such as ``px find``
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is in the background of a shell
        signal.signal(signal.SIGINT, _interrupted)
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
        signal.signal(signal.SIGHUP, _terminated)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    _thread.start_new_thread(_watch, (reader, program))  # threading would be loaded for this alone


def received() -> int | None:
    """The exit code of a command that such a signal ends: 130 for ^C; ``None`` if there was none."""
    number = _state.get("number")
    return None if number is None else 128 + number


def told() -> None:
    """The line on stderr has been written."""
    _state["told"] = 1


def over() -> None:
    """The command has done all it had to: a signal from now on changes nothing of that, and breaks off nothing.

    Python's own end takes a while yet.  If it hangs, the thread of ours ends it as ever.
    """
    for number in _ENDING:
        if callable(signal.getsignal(number)):
            signal.signal(number, lambda _number, _frame: None)  # no name of this module, which Python takes apart


def _interrupted(number: int, frame: FrameType | None) -> None:
    if _first(number, frame):
        raise KeyboardInterrupt


def _terminated(number: int, frame: FrameType | None) -> None:
    if _first(number, frame):
        sys.exit(128 + number)


def _first(number: int, frame: FrameType | None) -> bool:
    """Whether to raise: no signal came before, or a second one would break off the tidying up, which does not last.

    Nor within a callback of the import system, where Python would show the exception and drop it; the thread of ours
    sends the signal again.
    """
    _state.setdefault("number", number)
    if "raised" in _state or (frame is not None and frame.f_code.co_filename == _IMPORTING):
        return False
    _state["raised"] = 1
    return True


def _watch(reader: int, program: str) -> None:
    while (number := os.read(reader, 1)[0]) not in _ENDING:
        pass
    number = _state.setdefault("number", number)
    _end_programs()
    until = time.monotonic() + GRACE_S
    while (left := until - time.monotonic()) > 0:
        if "raised" not in _state:
            _thread.interrupt_main(signal.Signals(number))
        time.sleep(min(left, _AGAIN_S) if "raised" not in _state else left)
    if number == signal.SIGINT and "told" not in _state:
        os.write(2, f"{program}: interrupted\n".encode())  # the stream may be locked by whoever hangs
    os._exit(128 + number)


def _end_programs() -> None:
    """End the programs that run, if any was started: it is not loaded for this."""
    end = getattr(sys.modules.get("pypx.services.process"), "end_all", None)
    if end is not None:
        end()
