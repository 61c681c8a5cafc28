"""The first and the last moments of px: signals find it ready before the rest is loaded, and after the work is done."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

STUB = """
import os, signal, sys, types
{prepare}
main = types.ModuleType("pypx.cli.main")
main.run = lambda: (os.kill(os.getpid(), {number}), sys.exit(7))
sys.modules["pypx.cli.main"] = main
from pypx.__main__ import run
run()
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)


def test_nothing_is_loaded_before_the_signals_are_taken() -> None:
    """Each module is a millisecond or ten in which ^C shows a traceback."""
    code = (
        "import _signal, os, sys\nbefore = set(sys.modules)\n"
        "def spy(*_): os.write(1, ' '.join(sys.modules.keys() - before).encode()); os._exit(0)\n"
        "_signal.signal = spy\nfrom pypx.__main__ import run\nrun()"
    )
    loaded = set(python(code).stdout.split())
    assert loaded >= {"pypx", "pypx.__main__"}
    assert loaded <= {"pypx", "pypx.__main__", "__future__", "types"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_rest_is_loaded(number: signal.Signals) -> None:
    ended = python(STUB.format(prepare="", number=int(number)))
    assert ended.returncode == 128 + number
    assert ended.stderr == ("px: interrupted\n" if number is signal.SIGINT else "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_was_ignored_stays_ignored(number: signal.Signals) -> None:
    """^C in the background of a shell without jobs, and nohup."""
    ended = python(STUB.format(prepare=f"signal.signal({int(number)}, signal.SIG_IGN)", number=int(number)))
    assert (ended.returncode, ended.stderr) == (7, "")


def test_nothing_is_written_where_stderr_is_closed() -> None:
    """Its number may be that of a file that is being loaded."""
    prepare = "os.close(2); sys.stderr = None; assert os.open('/dev/null', os.O_RDWR) == 2; os.dup2(1, 2)"
    ended = python(STUB.format(prepare=prepare, number=int(signal.SIGINT)))
    assert (ended.returncode, ended.stdout) == (130, "")


RUN = """
import atexit, os, signal, sys
from pypx.cli import running
sys.argv = ["px", "find"]
{before}
def work():
    {work}
running.run(work)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_after_the_work_is_done_is_too_late(number: signal.Signals) -> None:
    late = f"atexit.register(os.kill, os.getpid(), {int(number)})"
    ended = python(RUN.format(before=late, work="sys.exit(3)"))
    assert (ended.returncode, ended.stderr) == (3, "")


def test_an_interrupt_between_two_steps_is_one_line() -> None:
    ended = python(RUN.format(before="", work="os.kill(os.getpid(), signal.SIGINT); signal.pause()"))
    assert (ended.returncode, ended.stderr) == (130, "px find: interrupted\n")


def test_an_interrupt_within_the_import_system_is_not_lost() -> None:
    """In a callback of its locks Python would print the exception and go on."""
    inside = "compile('os.kill(os.getpid(), signal.SIGINT); [n for n in range(99)]', '<frozen importlib._bootstrap>', 'exec')"
    before = f"import time\nclass Lock:\n    def __del__(self): exec({inside})"
    ended = python(RUN.format(before=before, work="Lock(); time.sleep(0.5); sys.exit(7)"))
    assert (ended.returncode, ended.stderr) == (130, "px find: interrupted\n")


def test_an_end_that_hangs_is_ended() -> None:
    """A signal that comes too late for the command still ends a process that does not come to its end."""
    late = f"import time; atexit.register(lambda: (os.kill(os.getpid(), {int(signal.SIGTERM)}), time.sleep(60)))"
    ended = python(RUN.format(before=late, work="sys.exit(0)"))
    assert ended.returncode == 143
