"""Programs as children: limits, streaming, nothing left behind."""

from __future__ import annotations

import ast
import errno
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pypx.errors import ToolFailedError, ToolMissingError
from pypx.services import children, outputs, process


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has reaped does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def until(check: Callable[[], object], limit_s: float = 10) -> bool:
    deadline = time.monotonic() + limit_s
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_output_lines_and_exit_status() -> None:
    lines: list[str] = []
    code = "import sys; print('out'); sys.stderr.write('one\\r\\ntwo\\nthree'); sys.exit(3)"
    done = process.run(python(code), idle_s=20, on_line=lines.append)
    assert (done.returncode, done.stdout, done.timed_out) == (3, "out\n", False)
    assert lines == ["one", "two", "three"]
    assert done.stderr == "one\r\ntwo\nthree"


def test_captured_text_is_not_in_the_representation() -> None:
    done = process.run(python("import sys; n = 'DOE' + chr(94) + 'JANE'; print(n); sys.stderr.write(n)"), idle_s=20)
    assert (done.stdout, done.stderr) == ("DOE^JANE\n", "DOE^JANE")
    assert "JANE" not in repr(done).replace(repr(done.argv), "")


def test_lines_come_while_the_program_runs(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    code = (
        "import sys, time, pathlib\nprint('first', file=sys.stderr, flush=True)\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)\nprint('second', file=sys.stderr)"
    )
    lines = process.stream(python(code), idle_s=20)
    assert next(lines) == "first"
    gate.touch()
    assert list(lines) == ["second"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    lines: list[str] = []
    code = "import sys; sys.stderr.buffer.write(b'a\\0b\\xff\\n')"
    process.run(python(code), idle_s=20, on_line=lines.append)
    assert lines == ["a\0b\N{REPLACEMENT CHARACTER}"]


def test_only_the_tail_of_much_output_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "KEPT_BYTES", 1000)
    code = "import sys\nfor n in range(20000): print(n, file=sys.stderr)\nprint('x' * 500000)"
    counted: list[str] = []
    done = process.run(python(code), idle_s=20, on_line=counted.append)
    assert len(done.stderr) == len(done.stdout) == 1000
    assert done.stderr.endswith("19998\n19999\n")
    assert counted == [str(n) for n in range(20000)]


def test_a_line_without_end_is_cut() -> None:
    lines: list[str] = []
    process.run(python("import sys; sys.stderr.write('x' * 1_000_000)"), idle_s=20, on_line=lines.append)
    assert sum(map(len, lines)) == 1_000_000
    assert max(map(len, lines)) <= 128 * 1024


def test_silence_ends_the_program_and_its_group(tmp_path: Path) -> None:
    mark = tmp_path / "grandchild"
    code = (
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(mark)!r}).write_text(str(child.pid))\ntime.sleep(60)"
    )
    began = time.monotonic()
    done = process.run(python(code), idle_s=1.5)
    assert done.timed_out
    assert done.returncode < 0
    assert time.monotonic() - began < 15
    assert until(lambda: not alive(int(mark.read_text())))


def test_output_keeps_the_idle_limit_away_but_not_the_total_one() -> None:
    code = "import sys, time\nwhile True:\n    print('.', file=sys.stderr, flush=True)\n    time.sleep(0.1)"
    done = process.run(python(code), idle_s=5, total_s=1.5)
    assert done.timed_out
    assert done.seconds >= 1.5
    assert len(done.stderr) > 4


def test_a_program_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_GRACE_S", 0.2)
    code = "import signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('x', file=sys.stderr, flush=True)\ntime.sleep(60)"
    assert process.run(python(code), idle_s=0.5).returncode == -9


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_exception_of_the_consumer_ends_the_program(error: type[BaseException]) -> None:
    pids: list[int] = []

    def on_line(line: str) -> None:
        pids.append(int(line))
        raise error

    code = "import os, sys, time\nprint(os.getpid(), file=sys.stderr, flush=True)\ntime.sleep(60)"
    with pytest.raises(error):
        process.run(python(code), idle_s=20, on_line=on_line)
    assert len(pids) == 1
    assert not alive(pids[0])


def test_closing_the_stream_ends_the_program() -> None:
    lines = process.stream(
        python("import os, sys, time\nprint(os.getpid(), file=sys.stderr, flush=True)\ntime.sleep(60)"), idle_s=20
    )
    pid = int(next(lines))
    assert alive(pid)
    lines.close()
    assert not alive(pid)


def test_another_thread_can_end_it() -> None:
    stop = threading.Event()
    lines = process.stream(python("import time; time.sleep(60)"), idle_s=30, stop=stop)
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    with pytest.raises(StopIteration) as ended:
        next(lines)
    timer.join()
    assert ended.value.value.timed_out
    assert ended.value.value.seconds < 10


@pytest.mark.parametrize(("size", "returncode"), [(20, 0), (200, 1)])
def test_a_program_gets_so_much_memory_and_no_more(size: int, returncode: int) -> None:
    """The limit comes just after the start: the program asks for the memory when it has it."""
    code = (
        "import resource, time\nwhile resource.getrlimit(resource.RLIMIT_DATA)[0] < 0: time.sleep(0.01)\n"
        f"print(len(bytes({size} << 20)))"
    )
    done = process.run(python(code), idle_s=20, memory_bytes=100 << 20)
    assert done.returncode == returncode
    assert ("MemoryError" in done.stderr) == bool(returncode)


def test_limits_of_a_program_are_soft_and_it_leaves_no_core() -> None:
    child = children.start(python("import time; time.sleep(60)"))
    try:
        child.limit_memory(process.MEMORY_BYTES)
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        assert resource.prlimit(child.pid, resource.RLIMIT_DATA) == (process.MEMORY_BYTES, hard)
        assert resource.prlimit(child.pid, resource.RLIMIT_CORE)[0] == 0
    finally:
        child.kill()
        child.wait()
    child.limit_memory(process.MEMORY_BYTES)  # it is gone: nothing happens


def test_a_program_takes_the_processor_after_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others of its session, by its nice value, and of other sessions; that must not be said too often (EAGAIN)."""
    said: list[tuple[str, str]] = []
    busy = [BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))]

    def write_text(path: Path, text: str) -> None:
        if busy:
            raise busy.pop()
        said.append((str(path), text))

    monkeypatch.setattr(Path, "write_text", write_text)
    child = children.start(python("import time; time.sleep(60)"))
    try:
        assert not child.yield_to_others(), "not yet"
        assert child.yield_to_others()
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)
        assert said == [(f"/proc/{child.pid}/autogroup", "10")]
    finally:
        child.kill()
        child.wait()
    assert child.yield_to_others(), "it is gone: there is nothing left to do"


def test_what_a_program_leaves_behind_is_ended(tmp_path: Path) -> None:
    mark = tmp_path / "orphan"
    code = (
        "import subprocess, sys, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(mark)!r}).write_text(str(child.pid))"
    )
    done = process.run(python(code), idle_s=20)
    assert (done.returncode, done.timed_out) == (0, False)
    assert until(lambda: not alive(int(mark.read_text())))


OUTLIVED = """
import sys, threading, time
from pypx.services import process
child = "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); sys.stderr.write(str(p.pid) + chr(10)); sys.stderr.flush(); time.sleep(60)"
lines = process.stream([sys.executable, "-c", child], idle_s=60)
starter = threading.Thread(target=lambda: print(next(lines), flush=True))
starter.start()
starter.join()
time.sleep(60)
"""
"""It runs a program from a thread that ends, and the program another one, whose id comes out."""


def test_a_program_and_its_group_end_when_we_are_killed() -> None:
    """Not before: the end of the thread that started them is none of ours."""
    with subprocess.Popen([sys.executable, "-c", OUTLIVED], stdout=subprocess.PIPE, text=True) as we:
        assert we.stdout is not None
        grandchild = int(we.stdout.readline())
        child = int(Path(f"/proc/{grandchild}/stat").read_text().rsplit(")", 1)[1].split()[1])
        time.sleep(0.2)  # for a signal that must not come
        assert alive(child)
        assert alive(grandchild)
        we.kill()
        we.wait()
        assert until(lambda: not alive(child) and not alive(grandchild), 5)


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    nonsense = tmp_path / "tool"
    nonsense.write_bytes(b"\x7fELF nonsense")
    nonsense.chmod(0o755)
    before = descriptors()
    process.run(python("pass"), idle_s=20)
    with suppress(ToolFailedError):
        process.run([str(nonsense)], idle_s=20)
    lines = process.stream(
        python("import sys, time; print('', file=sys.stderr, flush=True); time.sleep(60)"), idle_s=20
    )
    next(lines)
    lines.close()
    assert descriptors() == before


def test_without_a_tether_it_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox may refuse what it is made of."""

    def refused(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr("fcntl.fcntl", refused)
    assert process.run(python("print(1)"), idle_s=20).stdout == "1\n"


def test_environment_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    monkeypatch.setenv("TCP_NODELAY", "0")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("DCMDICTPATH", "/a/dictionary")
    done = process.run(python("import os; print(sorted(os.environ.items()))"), idle_s=20)
    seen = dict(pairs_of(done.stdout))
    assert seen["TCP_NODELAY"] == "1"
    assert seen["LC_ALL"] == "C.UTF-8"
    assert seen["DCMDICTPATH"] == "/a/dictionary"
    assert seen["PATH"] == os.environ["PATH"]
    assert "SECRET_TOKEN" not in seen


@pytest.mark.parametrize(("own", "seen"), [(None, "/theirs"), ("/ours", "/ours")])
def test_variables_yield_to_those_that_px_was_given(
    monkeypatch: pytest.MonkeyPatch, own: str | None, seen: str
) -> None:
    monkeypatch.delenv("DCMDICTPATH", raising=False)
    if own is not None:
        monkeypatch.setenv("DCMDICTPATH", own)
    argv = python("import os; print(os.environ['DCMDICTPATH'])")
    assert process.run(argv, idle_s=20, defaults={"DCMDICTPATH": "/theirs"}).stdout == f"{seen}\n"


def pairs_of(text: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = ast.literal_eval(text)
    return pairs


def test_arguments_reach_the_program_as_they_are() -> None:
    odd = ["$(id)", "a b", "`id`", ";", "'\"", "*"]
    done = process.run([*python("import sys; print(sys.argv[1:])"), *odd], idle_s=20)
    assert done.stdout == f"{odd}\n"


def test_the_child_has_a_session_of_its_own_and_no_stdin() -> None:
    done = process.run(python("import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()))"), idle_s=20)
    assert done.stdout == "True ''\n"


def test_missing_program_says_how_to_install() -> None:
    with pytest.raises(ToolMissingError, match=r"^findscu-x is not installed .*sudo apt-get install dcmtk$"):
        process.run(["findscu-x"], idle_s=1)
    with pytest.raises(ToolMissingError):
        process.find_program("/nonexistent/findscu")


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / "tool"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)
    with pytest.raises(ToolFailedError, match="could not be started"):
        process.run([str(path)], idle_s=1)


def test_start_gives_a_child_that_can_be_watched(tmp_path: Path) -> None:
    code = "import os, pathlib, sys\npathlib.Path('made').touch()\nsys.stdin.read()\nsys.exit(7)"
    read_end, write_end = os.pipe()
    child = children.start(python(code), stdin=read_end, cwd=tmp_path, umask=0o077)
    os.close(read_end)
    assert child.poll() is None
    assert child.wait(0.05) is None
    os.close(write_end)
    assert child.wait(20) == 7
    assert child.poll() == 7
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600
    child.terminate()
    child.kill()


def test_a_started_child_can_be_ended() -> None:
    for act, status in ((children.Child.terminate, -15), (children.Child.kill, -9)):
        child = children.start(python("import time; time.sleep(60)"))
        descriptor = child.pidfd()
        os.close(descriptor)
        act(child)
        assert child.wait(20) == status
