"""^C, SIGTERM and kill -9 in the middle of every command: it ends at once, in one line, and leaves nothing half done."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from filelock import FileLock

from pypx.db.layout import Layout
from scripted_pacs import Drop, Fault, Script, ScriptedPacs, make_archive
from support.corpus import make_series
from support.ports import free_port, wait_until
from support.pxrun import clean_environment, installed
from support.servers import HOST
from support.silent import mute_peer

LONG = bool(os.environ.get("PX_TEST_LONG"))
MOST_S = 3.0
"""How long an interrupted command may take on a busy machine; on a quiet one it is under a second."""

MANY = 600
ARCHIVE = make_archive("interrupts", patients=1, studies=2, series=2, instances=4)
STUDY = ARCHIVE.studies()[0]
SERIES = STUDY.series[0]
LISTENER = "PXLISTEN"
Way = Literal["terminal", "SIGINT", "SIGTERM"]
WAYS: tuple[Way, ...] = ("terminal", "SIGINT", "SIGTERM")


@pytest.fixture(autouse=True, scope="module")
def _heed_interrupts() -> Iterator[None]:
    """Where the tests run in the background of a shell ^C is ignored, and so it would be by what we start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@dataclass
class Scene:
    """A command under way: its arguments, and how one sees that it is in the middle of its work."""

    argv: list[str]
    under_way: Callable[[Command], object]
    again: list[str] | None = None
    before_again: Callable[[], object] = lambda: None
    stdin: bytes = b""
    env: dict[str, str] = field(default_factory=dict)


class Command:
    """A running px in a process group of its own, as a shell starts it; its stdin stays open."""

    def __init__(self, scene: Scene, home: Path) -> None:
        self.home = home
        self._out, self._err = home.parent / "stdout", home.parent / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [installed("px"), *scene.argv], env=clean_environment(home, scene.env), cwd=home.parent,
                stdin=subprocess.PIPE, stdout=out, stderr=err, start_new_session=True,
            )  # fmt: skip
        assert self.process.stdin is not None
        self.stdin = self.process.stdin
        self.stdin.write(scene.stdin)
        self.stdin.flush()
        self.seen: set[int] = set()

    @property
    def stderr(self) -> str:
        return self._err.read_text(errors="replace")

    @property
    def stdout(self) -> str:
        return self._out.read_text(errors="replace")

    def children(self, name: str = "") -> set[int]:
        """Its children that run a program of this name."""
        found = set()
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found |= {int(child) for child in (task / "children").read_text().split()}
        self.seen |= found
        return {pid for pid in found if name in program_of(pid)}

    def unread(self) -> int:
        """Bytes that wait in its stdin."""
        return int(struct.unpack("i", fcntl.ioctl(self.stdin, termios.FIONREAD, b"\0" * 4))[0])

    def interrupt(self, way: Way) -> float:
        """Send the signal; seconds until it has ended."""
        self.children()
        began = time.monotonic()
        if way == "terminal":
            os.killpg(self.process.pid, signal.SIGINT)
        else:
            self.process.send_signal(signal.Signals[way])
        self.process.wait(30)
        return time.monotonic() - began

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        with suppress(OSError):
            self.stdin.close()


def program_of(pid: int) -> str:
    """Name of the program of a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def assert_ended(command: Command, way: Way, seconds: float) -> None:
    """At once, with the right status, in one line, and nothing is left."""
    said = command.stderr
    assert "Traceback" not in said, said
    assert "Exception ignored" not in said, said
    assert command.process.returncode == (143 if way == "SIGTERM" else 130), said
    assert seconds < MOST_S, f"it took {seconds:.1f} s"
    lines = [line for line in said.splitlines() if not line.startswith(("px listen: ready",))]
    assert len(lines) <= 1, said
    if way != "SIGTERM":
        assert [line.rpartition(": ")[2] for line in lines] == ["interrupted"], said
    wait_until(lambda: not any(map(program_of, command.seen)), f"the children {command.seen} are gone")
    assert not list((command.home / "tmp").iterdir()), "temporary files are left"


# --- what is going on


@dataclass
class Stage:
    """What scenes are made of."""

    folder: Path
    many: Path
    series: str
    filed: Path
    stack: ExitStack

    def pacs(self, *script: Script) -> ScriptedPacs:
        sink = {LISTENER: (HOST, free_port())}
        return self.stack.enter_context(ScriptedPacs(free_port(), "SCRIPTED", sink, ARCHIVE, *script))

    def mute(self) -> int:
        return self.stack.enter_context(mute_peer())

    def basemount(self) -> Path:
        """A BASEMOUNT of its own with many images."""
        copy = self.folder / "basemount"
        shutil.copytree(self.filed, copy, copy_function=os.link)
        return copy


def peer(port: int) -> list[str]:
    return ["--serverIP", HOST, "--serverPort", str(port), "--aec", "SCRIPTED", "--aet", "PX"]


def runs(program: str) -> Callable[[Command], object]:
    return lambda command: command.children(program)


def echo(stage: Stage) -> Scene:
    return Scene(["echo", *peer(stage.mute())], runs("echoscu"))


def find(stage: Stage) -> Scene:
    return Scene(["find", *peer(stage.mute())], runs("findscu"))


def find_in_threads(stage: Stage) -> Scene:
    pacs = stage.pacs(Script(faults=(Fault("silence", "C-FIND", level="SERIES"),)))
    return Scene(
        ["find", "--jobs", "2", *peer(pacs.port)],
        lambda command: len(command.children("findscu")) == 2 and len(pacs.journal().asked("C-FIND")) >= 3,
    )


def find_then(stage: Stage) -> Scene:
    pacs = stage.pacs(Script(faults=(Fault("silence", "C-MOVE"),)))
    argv = ["find", *peer(pacs.port), "--then", "retrieve,status", "--basemount", str(stage.folder / "basemount")]
    return Scene([*argv, "--move-destination", LISTENER], runs("movescu"))


def report(_stage: Stage) -> Scene:
    return Scene(["report"], lambda command: not command.unread() and sleeping(command), stdin=b'{"status": true,')


def do(_stage: Stage) -> Scene:
    return Scene(
        ["do", "--then", "status"],
        lambda command: not command.unread() and sleeping(command),
        stdin=b'{"status": true,',
    )


def sleeping(command: Command) -> bool:
    stat = Path(f"/proc/{command.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "S" and "pypx" not in stat


def move(stage: Stage) -> Scene:
    pacs = stage.pacs(Script(faults=(Fault("silence", "C-MOVE"),)))
    return Scene(["move", *peer(pacs.port), *uids(), "--move-destination", LISTENER, "--no-wait"], runs("movescu"))


def move_and_wait(stage: Stage) -> Scene:
    """The PACS says that it sent all; nothing has arrived."""
    lost = Drop(tuple(one.SOPInstanceUID for one in SERIES.instances))
    pacs = stage.pacs(Script(drops=(lost,)))
    argv = ["move", *peer(pacs.port), *uids(), "--move-destination", LISTENER]
    return Scene(
        [*argv, "--basemount", str(stage.basemount()), "--idle", "60"],
        lambda _: any(one.ending == "answered" for one in pacs.journal().asked("C-MOVE")),
    )


def uids() -> list[str]:
    return ["--StudyInstanceUID", STUDY.StudyInstanceUID, "--SeriesInstanceUID", SERIES.SeriesInstanceUID]


def repack(stage: Stage) -> Scene:
    target = stage.folder / "new"
    argv = ["repack", "--basemount", str(target), str(stage.many)]
    return Scene(argv, lambda _: len(list(target.rglob("*.dcm"))) > 5, again=argv)


def push_to_folder(stage: Stage) -> Scene:
    target = stage.folder / "store"
    argv = [*PUSH, "--xcrdir", str(stage.many), "--store-base-location", str(target)]
    return Scene(argv, lambda _: len(list(target.rglob("*.dcm"))) > 5, again=argv)


def push_to_swift(stage: Stage) -> Scene:
    """The store takes the connection and says nothing."""
    return Scene([*PUSH, "--xcrdir", str(stage.many), *swift_at(stage.mute())], connected, env=KEY)


def push_to_pacs(stage: Stage) -> Scene:
    return Scene(["push", "--xcrdir", str(stage.many), *peer(stage.mute())], runs("dcmsend"))


def register(stage: Stage) -> Scene:
    argv = ["register", "--basemount", str(stage.basemount()), "--cube-url", f"http://{HOST}:{stage.mute()}/api/v1/"]
    return Scene(
        [*argv, "--cube-username", "chris", "--SeriesInstanceUID", stage.series, "--partial"],
        connected,
        env={"PX_CUBE_PASSWORD": "chris1234"},
    )


def storage_put(stage: Stage) -> Scene:
    argv = ["storage", "put", str(stage.many), "to", *swift_at(stage.mute())]
    return Scene(argv, connected, env=KEY)


def storage_get(stage: Stage) -> Scene:
    return Scene(["storage", "get", "from", str(stage.folder / "got"), *swift_at(stage.mute())], connected, env=KEY)


PUSH = ("push", "--swift-services-pacs", "CLINIC")
KEY = {"PX_SWIFT_KEY": "testing"}


def swift_at(port: int) -> list[str]:
    return ["--swiftIP", HOST, "--swiftPort", str(port), "--swiftLogin", "chris:chris1234"]


def connected(command: Command) -> bool:
    """Whether it has a TCP connection."""
    mine = set()
    for descriptor in Path(f"/proc/{command.process.pid}/fd").iterdir():
        with suppress(OSError):
            mine.add(str(descriptor.readlink()))
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(f"socket:[{line.split()[9]}]" in mine for line in lines if line.split()[3] == "01")


def verify(stage: Stage) -> Scene:
    argv = ["smdb", "verify", "--deep", "--jobs", "2", "--basemount", str(stage.basemount())]
    return Scene(argv, runs("python"), again=argv)


def rebuild(stage: Stage) -> Scene:
    argv = ["smdb", "rebuild", "--jobs", "2", "--basemount", str(stage.basemount())]
    return Scene(argv, runs("python"), again=argv)


def waiting_for_a_lock(stage: Stage) -> Scene:
    base = stage.basemount()
    extra = make_series(stage.folder / "extra", 2, 16, 16, seed="extra", PatientID="PID-LOCK")
    argv = ["repack", "--basemount", str(base), str(extra.directory)]
    for number in range(256):
        stage.stack.enter_context(FileLock(Layout.of_basemount(base).log / ".locks" / f"series-{number:02x}.lock"))
    return Scene(argv, pauses)


def pauses(command: Command) -> bool:
    """Whether a thread of it sleeps, as one that looks at a lock again and again does."""
    places = [task / "wchan" for task in Path(f"/proc/{command.process.pid}/task").iterdir()]
    return any(place.read_text() == "hrtimer_nanosleep" for place in places)


def on_a_table(stage: Stage, *argv: str) -> Scene:
    """A command that reads the records of a series and gets nothing: a file server that hangs."""
    layout = Layout.of_basemount(stage.basemount())
    (table,) = layout.log.rglob(f"{stage.series}-img.jsonl")
    saved = table.with_suffix(".saved")
    table.rename(saved)
    os.mkfifo(table)
    words = [*argv, "--basemount", str(layout.base)]
    return Scene(words, in_open, again=words, before_again=lambda: saved.replace(table))


def in_open(command: Command) -> bool:
    """Whether it waits for the other end of a FIFO."""
    return Path(f"/proc/{command.process.pid}/wchan").read_text() in {"wait_for_partner", "fifo_open"}


def status(stage: Stage) -> Scene:
    return on_a_table(stage, "status", "--SeriesInstanceUID", stage.series)


def search(stage: Stage) -> Scene:
    return on_a_table(stage, "smdb", "search", "--level", "series")


SCENES: Mapping[str, Callable[[Stage], Scene]] = {
    one.__name__: one
    for one in (
        echo, find, find_in_threads, find_then, report, do, move, move_and_wait, repack, push_to_folder, push_to_swift,
        push_to_pacs, register, storage_put, storage_get, verify, rebuild, waiting_for_a_lock, status, search,
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several series, and a file with the UID of the first."""
    folder = tmp_path_factory.mktemp("many")
    made = [make_series(folder / "files" / str(n), MANY // 12, 16, 16, seed=n) for n in range(12)]
    (folder / "uid").write_text(made[0].files[0].SeriesInstanceUID)
    return folder / "files"


@pytest.fixture(scope="module")
def filed(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BASEMOUNT that holds them."""
    folder = tmp_path_factory.mktemp("filed")
    argv = [installed("px"), "repack", "--basemount", str(folder / "basemount"), str(many)]
    subprocess.run(argv, env=clean_environment(folder / "home"), check=True, capture_output=True)
    return folder / "basemount"


@pytest.fixture
def stage(tmp_path: Path, many: Path, filed: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(tmp_path, many, (many.parent / "uid").read_text(), filed, stack)


CASES = [(name, way) for name in SCENES for way in WAYS]
if not LONG:  # each command once, the ways in turn
    CASES = [(name, WAYS[number % len(WAYS)]) for number, name in enumerate(SCENES)]


@pytest.mark.parametrize(("name", "way"), CASES)
def test_it_ends_at_once(stage: Stage, name: str, way: Way) -> None:
    scene = SCENES[name](stage)
    command = Command(scene, stage.folder / "home")
    try:
        wait_until(lambda: command.process.poll() is not None or scene.under_way(command), f"{name} is under way")
        assert command.process.poll() is None, f"{name} ended before: {command.stderr}"
        seconds = command.interrupt(way)
    finally:
        command.kill()
    assert_ended(command, way, seconds)
    if scene.again is not None:
        scene.before_again()
        again = Command(Scene(scene.again, scene.under_way), stage.folder / "home")
        again.stdin.close()
        assert again.process.wait(60) == 0, again.stderr


# --- the processes that work for a command, and theirs

MARK = "PX_TEST_MARK"


def family(mark: str) -> set[int]:
    """All processes that inherited a variable, children or not."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in (place / "environ").read_bytes().split(b"\0"):
                found.add(int(place.name))
    return found


def semaphores(pids: set[int]) -> set[Path]:
    """Named semaphores (sem_overview(7)) that these processes have mapped and that have a name still."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                if "/dev/shm/sem." in line and not line.endswith("(deleted)"):
                    found.add(Path(line.split()[-1]))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("to_all", [False, True], ids=["alone", "terminal"])
def test_no_process_and_no_semaphore_is_left(stage: Stage, number: signal.Signals, to_all: bool) -> None:
    """Nor does any of them say something, as the one that removes semaphores would if it ended first."""
    mark = f"{os.getpid()}-{number}-{to_all}"
    argv = ["smdb", "verify", "--deep", "--jobs", "2", "--basemount", str(stage.basemount())]
    command = Command(Scene(argv, runs("python"), env={MARK: mark}), stage.folder / "home")
    try:
        wait_until(lambda: len(command.children("python")) >= 3, "workers begin", pause=0.001)
        found = wait_until(lambda: semaphores(family(mark)), "they have semaphores", pause=0.001)
        (os.killpg if to_all else os.kill)(command.process.pid, number)
        assert command.process.wait(30) == 128 + number, command.stderr
        wait_until(lambda: not family(mark), f"{family(mark)} are gone", timeout=MOST_S)
    finally:
        for pid in family(mark):
            os.kill(pid, signal.SIGKILL)
        command.kill()
    assert not [path for path in found if path.exists()]
    assert len(command.stderr.splitlines()) <= 1, command.stderr


# --- kill -9


def tied(pid: int) -> bool:
    """Whether a process is told of the end of px: by a signal, of a descriptor."""
    with suppress(OSError):
        for info in Path(f"/proc/{pid}/fdinfo").iterdir():
            if int(info.read_text().split("flags:")[1].split()[0], 8) & os.O_ASYNC:
                return True
    return False


def all_tied(command: Command, program: str) -> bool:
    """Whether its programs are tied, and no other is being started: in that moment px may leave one behind.

    Of processes of Python, which come and go, some end in other ways.
    """
    if program == "python":
        return any(map(tied, command.children(program)))
    before = command.children()
    time.sleep(0.1)
    found = command.children(program)
    return command.children() == before and bool(found) and all(map(tied, found))


KILLED = {
    "echo": "echoscu", "find": "findscu", "find_in_threads": "findscu", "find_then": "movescu", "move": "movescu",
    "push_to_pacs": "dcmsend", "verify": "python", "rebuild": "python",
}  # fmt: skip
"""Commands that have children, and which."""


@pytest.mark.parametrize("name", KILLED)
def test_nothing_outlives_kill_9(stage: Stage, name: str) -> None:
    """Nor is what was asked left behind for long: the next command removes it."""
    scene = SCENES[name](stage)
    command = Command(scene, stage.folder / "home")
    try:
        wait_until(lambda: command.process.poll() is not None or scene.under_way(command), f"{name} is under way")
        wait_until(lambda: all_tied(command, KILLED[name]), f"{name} is in the middle")
        command.process.kill()  # px alone
        assert command.process.wait(10) == -signal.SIGKILL
    finally:
        command.kill()
    wait_until(lambda: not any(map(program_of, command.seen)), f"the children {command.seen} are gone", timeout=MOST_S)
    nobody = Command(Scene(["find", *peer(free_port())], scene.under_way), stage.folder / "home")
    assert nobody.process.wait(60) == 10, nobody.stderr
    nobody.kill()
    left = (stage.folder / "home" / "tmp").iterdir()
    assert not [folder for folder in left if any(folder.iterdir())], "queries are left"  # one just made may be there


# --- the first moments


def begun(process: subprocess.Popen[bytes]) -> bool:
    """Whether Python's own start is over and px has taken SIGTERM; before, nobody but Python can say what ^C does."""
    with suppress(OSError):
        status = Path(f"/proc/{process.pid}/status").read_text()
        return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> (signal.SIGTERM - 1) & 1)
    return False


INSTANTS = [0.0, *(random.Random(130).uniform(0, 0.15) for _ in range(99 if LONG else 9))]
"""Seconds after px has begun."""


@pytest.mark.parametrize(("program", "words"), [("px", ["--help"]), ("px", ["find"]), ("px-find", [])])
def test_an_interrupt_while_it_starts(tmp_path: Path, program: str, words: list[str]) -> None:
    """And while it ends, for a command that has little to do."""
    said = set()
    with mute_peer() as port:
        argv = [installed(program), *words, *([] if words == ["--help"] else peer(port))]
        for instant in INSTANTS:
            with subprocess.Popen(
                argv, env=clean_environment(tmp_path / "home"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, start_new_session=True,
            ) as process:  # fmt: skip
                deadline = time.monotonic() + 30
                while not begun(process) and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.001)
                time.sleep(instant)
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=30)
            line = err.decode()
            if words == ["--help"] and process.returncode != 130:  # it was over, all but Python's own end
                assert (process.returncode in {0, -signal.SIGINT}, line) == (True, ""), (instant, line)
                assert b"Commands:" in out
                continue
            assert process.returncode == 130, (instant, line)
            assert line.endswith(": interrupted\n"), (instant, line)
            assert line.count("\n") == 1, (instant, line)
            said.add(line)
    assert "px: interrupted\n" in said, "at the first instant nothing is loaded"
