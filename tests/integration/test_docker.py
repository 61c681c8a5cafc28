"""The image, built for real without a daemon and without a registry: buildah on a base that mmdebstrap made.

Takes about a minute and a half the first time, half of it after that (the base and the wheels are kept in
.pytest_cache). Needs root, for the chroot that the steps of the build run in.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.dicom import read
from support.ports import free_port, wait_until
from support.servers import Dcmqrscp, program

ROOT = Path(__file__).resolve().parents[2]
BASE = "docker.io/library/debian:bookworm-slim"
UID = 4321
HOME = "/home/dicom"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image without a daemon needs root here"),
]


def call(*argv: str | Path, env: Mapping[str, str] | None = None) -> str:
    """Run a tool of the host; its output if it succeeded, its last words in the failure if not."""
    words = [str(word) for word in argv]
    run = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{words} exited {run.returncode}:\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}"
    return run.stdout


@dataclass(frozen=True, slots=True)
class Builder:
    """buildah with a store of its own."""

    directory: Path

    def argv(self, *words: str | Path) -> list[str]:
        places = ["--root", self.directory / "store", "--runroot", self.directory / "run"]
        return [program("buildah"), *map(str, places), *map(str, words)]

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "http_proxy", "https_proxy") if name in os.environ}
        return {**kept, "HOME": str(self.directory), "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}

    def __call__(self, *words: str | Path) -> str:
        return call(*self.argv(*words), env=self.environment()).strip()

    def import_base(self, archive: Path) -> None:
        scratch = self("from", "scratch")
        self("add", "--quiet", scratch, archive, "/")
        self("commit", "--quiet", scratch, BASE)
        self("rm", scratch)


@dataclass(frozen=True, slots=True)
class Image:
    """The built image; calling it is `docker run --network host`."""

    builder: Builder
    container: str
    config: Mapping[str, Any]

    def argv(
        self, words: Sequence[str], volumes: Mapping[Path, str], environment: Mapping[str, str], *, bare: bool = False
    ) -> list[str]:
        options = ["--network", "host"]
        for path, inside in volumes.items():
            options += ["--volume", f"{path}:{inside}"]
        for name, value in environment.items():
            options += ["--env", f"{name}={value}"]
        entry = [] if bare else self.config["Entrypoint"]
        return self.builder.argv("run", *options, self.container, "--", *entry, *words)

    def __call__(
        self,
        *words: str,
        volumes: Mapping[Path, str] | None = None,
        environment: Mapping[str, str] | None = None,
        bare: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(words, volumes or {}, environment or {}, bare=bare),
            env=self.builder.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def base(request: pytest.FixtureRequest) -> Path:
    """What debian:bookworm-slim stands for, made from Debian's archive once and kept."""
    cache: pytest.Cache = request.config.cache
    archive = cache.mkdir("debian") / "bookworm.tar"
    if not archive.exists():
        fresh = archive.with_suffix(f".{os.getpid()}.tar")
        call(program("mmdebstrap"), "--variant=minbase", "--quiet", "bookworm", fresh)
        fresh.replace(archive)
    return archive


@pytest.fixture(scope="module")
def wheels(request: pytest.FixtureRequest) -> Path:
    """What docker/constraints.txt pins, fetched by the pip of this host, which knows its index and certificates."""
    pins = (ROOT / "docker" / "constraints.txt").read_bytes()
    cache: pytest.Cache = request.config.cache
    directory = cache.mkdir("wheels") / hashlib.sha256(pins).hexdigest()[:16]
    if not directory.exists():
        fresh = directory.with_suffix(f".{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        machine = platform.machine()
        platforms = [f"manylinux2014_{machine}", f"manylinux_2_28_{machine}", "any"]
        call(
            sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--no-deps",
            "--implementation", "cp", "--python-version", "3.11", *(word for name in platforms for word in ("--platform", name)),
            "--dest", fresh, "--requirement", ROOT / "docker" / "constraints.txt",
        )  # fmt: skip
        fresh.replace(directory)
    return directory


@pytest.fixture(scope="module")
def image(base: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """`docker build --build-arg UID=4321 -t local/pypx .`, from the root of the checkout."""
    directory = tmp_path_factory.mktemp("buildah")
    builder = Builder(directory)
    builder.import_base(base)
    settings = directory / "pip.conf"
    settings.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    builder(
        "bud", "--format", "docker", "--pull-never", "--network", "host", "--build-arg", f"UID={UID}",
        "--volume", f"{wheels}:/wheels:ro", "--volume", f"{settings}:/etc/pip.conf:ro", "-t", "local/pypx", ".",
    )  # fmt: skip
    described = json.loads(builder("inspect", "--type", "image", "localhost/local/pypx"))
    container = builder("from", "--pull-never", "localhost/local/pypx")
    # Docker lets --volume stand in for the image's VOLUME of that place; buildah mounts both, in either order.
    builder("config", "--volume", f"{HOME}-", container)
    try:
        yield Image(builder, container, described["Docker"]["config"])
    finally:
        builder("rm", container)
        shutil.rmtree(directory / "store", ignore_errors=True)


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A BASEMOUNT that belongs to the user of the image."""
    directory = tmp_path / "dicom"
    directory.mkdir(mode=0o750)
    os.chown(directory, UID, UID)
    for parent in tmp_path.parents:  # pytest's own are 0700
        if parent.is_relative_to(Path("/tmp")) and parent != Path("/tmp"):
            parent.chmod(0o711)
    tmp_path.chmod(0o711)
    return directory


def peer(dcmqrscp: Dcmqrscp, aet: str) -> list[str]:
    return ["--serverIP", dcmqrscp.host, "--serverPort", str(dcmqrscp.port), "--aec", dcmqrscp.aet, "--aet", aet]


def test_configuration(image: Image) -> None:
    config = image.config
    assert config["User"] == "px"
    assert config["ExposedPorts"] == {"11113/tcp": {}}
    assert config["Volumes"] == {HOME: {}}
    assert config["WorkingDir"] == HOME
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "python3", "/usr/local/lib/px/healthcheck.py"]
    assert not config.get("Cmd"), "without words the entry point starts the listener"
    environment = dict(line.split("=", 1) for line in config["Env"])
    assert environment["PX_BASEMOUNT"] == HOME
    assert environment["PX_LISTEN_PORT"] == "11113"
    assert not [name for name in environment if "proxy" in name.lower()]


def test_nobody_is_root_and_nothing_can_be_built(image: Image) -> None:
    ended = image(
        "sh", "-c",
        "id -u; stat -c '%U %a' /home/dicom; for tool in gcc cc make pip pip3 sudo su-exec git; do command -v $tool; done;"
        " find / -xdev -user px -not -path '/proc/*' -not -path '/home/*' 2>/dev/null; true",
    )  # fmt: skip
    assert ended.stdout.splitlines() == [str(UID), "px 750"], ended.stderr


def test_every_program_of_pypx_3_is_where_it_was(image: Image) -> None:
    names = sorted(path.name for path in (ROOT / "bin").iterdir())
    assert "px-find" in names
    ended = image(
        "sh", "-c", 'for name; do command -v "/usr/local/bin/$name"; done; command -v /dock/storescp.sh', "sh", *names
    )
    assert ended.stdout.splitlines() == [*(f"/usr/local/bin/{name}" for name in names), "/dock/storescp.sh"]


def test_echo_and_find_in_both_forms(image: Image, dcmqrscp: Dcmqrscp, mounted: Path) -> None:
    where = peer(dcmqrscp, "CHRIS")
    echo = image("px", "echo", *where)
    assert echo.returncode == 0, echo.stderr
    older = image("--px-find", *where, "--PatientID", "*", "--json", volumes={mounted: HOME})
    assert older.returncode == 0, older.stderr
    document = json.loads(older.stdout)
    assert document["status"] == "success"
    newer = image("find", *where, "--PatientID", "*", "--jsonl", volumes={mounted: HOME})
    series = {json.loads(line)["SeriesInstanceUID"] for line in newer.stdout.splitlines()}
    assert series == {entry["SeriesInstanceUID"]["value"] for study in document["data"] for entry in study["series"]}
    assert len(series) > 3
    assert list(mounted.iterdir()) == [], "a query wrote into the BASEMOUNT"


def test_exit_status_is_that_of_the_command(image: Image) -> None:
    refused = image(
        "--px-find", "--serverIP", "127.0.0.1", "--serverPort", str(free_port()), "--PatientID", "1", "--json"
    )
    assert (refused.returncode, json.loads(refused.stdout)["status"]) == (10, "error")
    assert image("px", "fnid").returncode == 2
    assert image("--px-re").returncode == 2


def test_repack_and_keys_as_users_of_pypx_3_type_them(image: Image, mounted: Path, golden_corpus: Path) -> None:
    files = golden_corpus / "p000" / "s000" / "r000"
    inbox = mounted.parent / "in"
    shutil.copytree(files, inbox)
    paths = ["--logdir", f"{HOME}/log", "--datadir", f"{HOME}/data"]
    volumes = {mounted: HOME, inbox: "/in"}
    ended = image("--px-repack", *paths, "--xcrdir", "/in", "--parseAllFilesWithSubStr", "dcm", volumes=volumes)
    assert ended.returncode == 0, ended.stderr
    packed = {read(path).SOPInstanceUID for path in (mounted / "data").rglob("*.dcm")}
    assert packed == {read(path).SOPInstanceUID for path in files.glob("*.dcm")}
    entry = '{\\"local\\":{\\"ip\\":\\"10.0.0.5\\",\\"port\\":\\"8080\\",\\"login\\":\\"chris:chris1234\\"}}'
    stored = image(
        "--px-smdb", "--logdir", f"{HOME}/log", "--action", "swift", "--actionArgs", entry, volumes={mounted: HOME}
    )
    assert stored.returncode == 0, stored.stderr
    kept = json.loads((mounted / "services" / "swift.json").read_text())
    assert kept["local"]["login"] == "chris:chris1234"
    assert {path.stat().st_uid for path in mounted.rglob("*")} == {UID}


LISTEN = """
"$@" &
listener=$!
until [ -e /home/dicom/told-to-stop ]; do sleep 0.1; kill -0 $listener || exit 9; done
python3 /usr/local/lib/px/healthcheck.py >/dev/null
echo "health $?"
kill -TERM $listener
wait $listener
echo "ended $?"
python3 /usr/local/lib/px/healthcheck.py
echo "without $?"
"""


def test_listener_by_default(image: Image, dcmqrscp: Dcmqrscp, mounted: Path, tmp_path: Path) -> None:
    destination = dcmqrscp.destinations[3]
    settings = {"PX_LISTEN_PORT": str(destination.port), "PX_AET": destination.aet}
    words = ["sh", "-c", LISTEN, "sh", *image.config["Entrypoint"]]
    log = tmp_path / "listener.log"
    with log.open("w") as output:
        running = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
             *image.argv(words, {mounted: HOME}, settings, bare=True)],
            env=image.builder.environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        where = peer(dcmqrscp, destination.aet)
        own = ["--serverIP", "127.0.0.1", "--serverPort", str(destination.port), "--aec", destination.aet]
        wait_until(lambda: image("px", "echo", *own).returncode == 0, f"a listener:\n{log.read_text()}", timeout=30)
        ended = image(
            "px", "find", *where, "--PatientID", "*", "--Modality", "MR", "--then", "retrieve,status", "--json",
            volumes={mounted: HOME},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        received = [read(path) for path in (mounted / "data").rglob("*.dcm")]
        assert received
        assert {str(dataset.SOPInstanceUID) for dataset in received} <= dcmqrscp.instances()
        assert {dataset.Modality for dataset in received} == {"MR"}
        (mounted / "told-to-stop").touch()
        running.wait(timeout=60)  # its status is buildah's own, which in a PID namespace stumbles after the end
    finally:
        running.kill()
        running.wait()
    assert [line for line in log.read_text().splitlines() if line.startswith(("health ", "ended ", "without "))] == [
        "health 0", "ended 0", "without 0",
    ]  # fmt: skip
