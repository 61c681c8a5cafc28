"""What every row of the benchmarks is made of: cases, measured runs in pairs, and the arithmetic over them."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from processes import Watch

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PX = str(BIN / "px")
DEADLINE_S = 120.0
PYPX_RUNS = 3
"""How often pypx is run at most, as it is slow; px and the floor run as often as asked for."""

sys.path.insert(0, str(ROOT / "tests"))
from support.ports import free_port as free_port  # noqa: E402, PLC0414  the path is set above; rows take it from here
from support.ports import wait_until  # noqa: E402  the same
from support.pxrun import clean_environment  # noqa: E402  the same


class BenchError(Exception):
    """A benchmark cannot go on; one line says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    `quick` asks for tiny numbers: it shows that a row works, not how fast px is.  `scratch` is a folder of the row's
    own, removed afterwards.
    """

    pairs: int
    quick: bool
    with_pypx: bool
    scratch: Path


@dataclass(frozen=True, slots=True)
class Measured:
    """One run.

    Attributes
    ----------
    seconds : wall time
    work : how much was done, in the unit of the row, to make a rate
    peak_rss_bytes : most resident memory at once, summed over the process tree; pages that processes share count once
        for each, so it is an upper bound.  0 if not sampled
    processes : most processes of px at once (those that run Python), as sampled every 25 ms
    programs : most other programs at once, such as storescp
    cpu_s : user and system time of the process and all its children, if known
    startup_s : how much of `seconds` is start-up, measured apart, where the budget allows for it
    """

    seconds: float
    work: float
    peak_rss_bytes: int = 0
    processes: int = 0
    programs: int = 0
    cpu_s: float = 0.0
    startup_s: float = 0.0

    @property
    def rate(self) -> float:
        """Work a second."""
        return self.work / self.seconds


@dataclass(frozen=True, slots=True)
class Case:
    """What one row measures.

    Every callable does one run, cleans up after itself outside the timed part, and returns what it measured.
    `floor` is `None` where the row has an absolute budget; `pypx` is called with --with-pypx only, and may do less.
    """

    px: Callable[[], Measured]
    floor: Callable[[], Measured] | None = None
    pypx: Callable[[], Measured] | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of some values."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        held = list(values)
        return cls(statistics.median(held), min(held), max(held))


@dataclass(frozen=True, slots=True)
class Run:
    """One pair: the floor, px, and pypx where asked for, measured one after the other."""

    floor: Measured | None
    px: Measured
    pypx: Measured | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What the pairs of a row come to."""

    runs: tuple[Run, ...]

    @property
    def px_s(self) -> Spread:
        """Seconds of px."""
        return Spread.of(run.px.seconds for run in self.runs)

    @property
    def speed(self) -> Spread | None:
        """How fast px is as a multiple of the floor, pair by pair: 0.8 is slower.  `None` without a floor."""
        return self._over_pairs(lambda px, floor: px.rate / floor.rate)

    @property
    def time(self) -> Spread | None:
        """How long px takes as a multiple of the floor for the same work, pair by pair: 2 is slower."""
        return self._over_pairs(lambda px, floor: floor.rate / px.rate)

    @property
    def time_after_startup(self) -> Spread | None:
        """The same, without the start-up of px."""
        return self._over_pairs(lambda px, floor: (px.seconds - px.startup_s) / px.work * floor.rate)

    @property
    def added_s(self) -> Spread | None:
        """Seconds of px above those of the floor, pair by pair."""
        return self._over_pairs(lambda px, floor: px.seconds - floor.seconds)

    @property
    def times_pypx(self) -> Spread | None:
        """How fast px is as a multiple of pypx 3.6.2; `None` if that did not run."""
        ratios = [run.px.rate / run.pypx.rate for run in self.runs if run.pypx]
        return Spread.of(ratios) if ratios else None

    def most(self, value: Literal["peak_rss_bytes", "processes", "programs"]) -> int:
        """The greatest value of px over all runs."""
        return max(int(getattr(run.px, value)) for run in self.runs)

    def _over_pairs(self, combine: Callable[[Measured, Measured], float]) -> Spread | None:
        values = [combine(run.px, run.floor) for run in self.runs if run.floor]
        return Spread.of(values) if values else None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    name : what run.sh is called with; the name of the file selects all its rows
    title : what is measured, for people
    unit : of the work, such as "images"
    budget : what is to be reached, in words
    floor_is : what the floor is, one line
    open : makes corpus and servers, yields the case, removes all
    passes : whether the budget is met; `None` if the row has none
    ratio_of : whether `ratio` compares rates (more is better) or times (less is better), as the budget does
    """

    name: str
    title: str
    unit: str
    budget: str
    floor_is: str
    open: Callable[[Options], AbstractContextManager[Case]]
    passes: Callable[[Summary], bool] | None
    ratio_of: Literal["speed", "time", "time after start-up"] = "speed"

    def ratio(self, summary: Summary) -> Spread | None:
        """px against its floor in the terms of the budget."""
        if self.ratio_of == "speed":
            return summary.speed
        return summary.time if self.ratio_of == "time" else summary.time_after_startup


def alternate(case: Case, options: Options) -> Summary:
    """Measure floor, px, floor, px …, so that whatever else the machine does hits both alike.

    One run of each before them is not counted.
    """
    if case.floor:
        case.floor()
    case.px()
    runs = []
    for number in range(options.pairs):
        floor = case.floor() if case.floor else None
        px = case.px()
        theirs = case.pypx and options.with_pypx and number < PYPX_RUNS
        runs.append(Run(floor, px, case.pypx() if case.pypx and theirs else None))
    return Summary(tuple(runs))


def run(
    argv: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    *,
    work: float = 1.0,
    stdin: Path | None = None,
    stdout: Path | None = None,
    codes: Iterable[int] = (0,),
) -> Measured:
    """Run a command to its end and sample its process tree meanwhile.

    Parameters
    ----------
    env : all of its environment; `None` takes the one of `environment`
    stdin, stdout : files; without, nothing is given and what is printed is thrown away
    codes : exit statuses that are expected

    Raises
    ------
    BenchError : any other exit status, with the end of stderr
    """
    words = [str(word) for word in argv]
    with tempfile.TemporaryFile() as errors, _reading(stdin) as given, _writing(stdout) as printed:
        start = time.perf_counter()
        process = subprocess.Popen(words, env=env or environment(), stdin=given, stdout=printed, stderr=errors)
        try:
            with Watch(process.pid, starting=True) as watch:
                _, status, used = os.wait4(process.pid, 0)
                seconds = time.perf_counter() - start
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            errors.seek(0)
            said = errors.read()[-1000:].decode(errors="replace").strip()
            raise BenchError(f"{' '.join(words)[:300]}: exit status {process.returncode}: {said}")
    cpu_s = used.ru_utime + used.ru_stime
    return Measured(seconds, work, watch.peak_rss_bytes, watch.processes, watch.programs, cpu_s)


def _reading(path: Path | None) -> IO[bytes]:
    return (path or Path(os.devnull)).open("rb")


def _writing(path: Path | None) -> IO[bytes]:
    return (path or Path(os.devnull)).open("wb")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of px and of floors: no PX_* variable, a home of its own, TCP_NODELAY for DCMTK.

    No TMPDIR: with one px would keep the answers of a PACS there, on the disk that is measured, and not in memory.
    """
    home = Path(tempfile.gettempdir()) / "home"
    clean = clean_environment(home)
    del clean["TMPDIR"]
    return {**clean, "TCP_NODELAY": "1", **(extra or {})}


def program(name: str) -> str:
    """Path of a program; the virtual environment comes last, as pynetdicom puts programs of DCMTK's names there.

    Raises
    ------
    BenchError : it is not installed
    """
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if Path(folder) != BIN]
    found = shutil.which(name, path=os.pathsep.join([*folders, "/usr/sbin", "/usr/bin", str(BIN)]))
    if found is None:
        raise BenchError(f"{name} is not installed; ./tests/run.sh installs what the benchmarks need")
    return found


def wait_for(done: Callable[[], bool], what: str, *, poll_s: float = 0.005, timeout_s: float = DEADLINE_S) -> None:
    """Return as soon as `done` says so; AssertionError after `timeout_s`."""
    wait_until(done, what, timeout=timeout_s, pause=poll_s)


def sync(folder: Path) -> None:
    """Have everything of the file system of `folder` on disk: `sync -f`, as a floor ends."""
    subprocess.run([program("sync"), "-f", str(folder)], check=True)


def remove(folder: Path) -> None:
    """Give back the room that a folder takes, and its name, and have that on disk, so that the next run pays nothing.

    The emptied files go with the scratch folder, when all is measured: to make a file, a file system without a journal
    (ext4) passes over every inode that was freed in the last minutes, one by one.  A run after one whose 500 files were
    removed took a multiple of the time, floors and px alike.
    """
    if folder.exists():
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.truncate(path, 0)
        folder.rename(Path(tempfile.mkdtemp(prefix="removed-", dir=folder.parent)) / folder.name)
    sync(folder.parent)


def machine() -> str:
    """One line on where the figures come from."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = f"{os.cpu_count()} cores ({_cpu()})"
    return f"{platform.system()} {platform.release()}, {cores}, {memory:.0f} GiB, {_filesystem()}"


def _filesystem() -> str:
    """On which file system the runs write; TMPDIR chooses it."""
    device = Path(tempfile.gettempdir()).stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kind, source = next((words[-3], words[-2]) for words in reversed(mounts) if words[2] == name)
    journal = any(Path("/proc/fs/jbd2").glob(f"{Path(source).name}-*"))
    return f"{kind} without a journal" if kind == "ext4" and not journal else kind


def _cpu() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()
