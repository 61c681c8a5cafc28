"""`px` and the other installed commands as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.ports import wait_until

BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class PxResult:
    """How a command ended."""

    args: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    def ok(self) -> PxResult:
        """Return itself if the command exited 0; fail showing what it said otherwise."""
        assert self.returncode == 0, f"{self.args} exited {self.returncode}:\n{self.stderr}\n{self.stdout[-2000:]}"
        return self


def installed(name: str) -> str:
    """Path of a command of the virtual environment that runs the tests."""
    path = BIN / name
    if not path.exists():
        pytest.fail(f"{path} is not installed; run ./tests/run.sh or pip install -e .[tests]")
    return str(path)


def clean_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without PX_* variables, with a home and temporary directory of the test's own."""
    home.mkdir(exist_ok=True)
    scratch = home / "tmp"
    scratch.mkdir(exist_ok=True)
    return {
        "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        **(extra or {}),
    }


class PxRunner:
    """Callable: `px("find", "--PatientID", "x")` runs it to its end; `px.start(...)` leaves it running."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        self._running: list[RunningPx] = []

    def __call__(
        self,
        *args: str | Path | int,
        input: str | bytes | None = None,  # noqa: A002  named as in subprocess.run
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
        command: str = "px",
        cwd: Path | None = None,
    ) -> PxResult:
        """Run `command` (px by default); a traceback on stderr fails the test."""
        words = tuple(str(word) for word in args)
        data = input.encode() if isinstance(input, str) else input
        run = subprocess.run(
            [installed(command), *words],
            input=data if data is not None else b"",
            capture_output=True,
            env=clean_environment(self.home, env),
            cwd=cwd or self.directory,
            timeout=timeout,
            check=False,
        )
        stderr = run.stderr.decode(errors="replace")
        assert "Traceback" not in stderr, f"{command} {' '.join(words)}:\n{stderr}"
        return PxResult((command, *words), run.returncode, run.stdout.decode(), stderr)

    def start(self, *args: str | Path | int, env: Mapping[str, str] | None = None, command: str = "px") -> RunningPx:
        """Start a command that stays, such as `px listen`; it is ended with the test."""
        running = RunningPx(
            [installed(command), *(str(word) for word in args)],
            clean_environment(self.home, env),
            self.directory,
            len(self._running),
        )
        self._running.append(running)
        return running

    def stop_all(self) -> None:
        for running in self._running:
            running.kill()


class RunningPx:
    """A command in a process group of its own; its output goes to files."""

    def __init__(self, argv: list[str], env: Mapping[str, str], directory: Path, number: int) -> None:
        self.args = tuple(argv)
        self._stdout = directory / f"running-{number}.stdout"
        self._stderr = directory / f"running-{number}.stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self.process = subprocess.Popen(
                argv, env=dict(env), cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    def stdout(self) -> str:
        return self._stdout.read_text(errors="replace")

    def stderr(self) -> str:
        return self._stderr.read_text(errors="replace")

    def wait_for(self, text: str, *, timeout: float = 20) -> None:
        """Return when `text` stands on stderr; fail if the command ends before."""
        wait_until(
            lambda: text in self.stderr() or self.process.poll() is not None,
            f"{text!r} on stderr of {self.args}",
            timeout=timeout,
        )
        assert text in self.stderr(), f"{self.args} ended with {self.process.returncode}:\n{self.stderr()}"

    def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout: float = 30) -> int:
        """Send a signal to the process alone, wait for its end and return its exit status; a traceback fails."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        returncode = self.process.wait(timeout=timeout)
        assert "Traceback" not in self.stderr(), f"{self.args}:\n{self.stderr()}"
        return returncode

    def kill(self) -> None:
        """SIGKILL to the whole group, if anything of it still lives."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)
