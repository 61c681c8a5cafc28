"""OpenStack Swift as real processes on free ports of 127.0.0.1: TempAuth, one replica, and S3 on the same port."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import socket
import subprocess
import textwrap
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest

from support.ports import free_port, listens, wait_until
from support.servers import HOST, Server, program
from support.swift_client import SwiftAccount, ask

DAEMONS = ("account", "container", "object")
HASH_PREFIX, HASH_SUFFIX = b"px", b"test"
PART_POWER = 4

# Swift's programs read /etc/swift/swift.conf whatever their own file says; this lets them read ours.
RUN_WITH_OUR_SWIFT_CONF = """
import runpy, sys
from swift.common import utils
utils.set_swift_dir(sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# The commands of swift-ring-builder, one a line, in one interpreter: it takes half a second to start.
RUN_RING_BUILDER = """
import sys
from swift.cli.ringbuilder import main
for line in sys.stdin:
    try:
        main(["swift-ring-builder", *line.split()])
    except SystemExit as end:
        if end.code not in (None, 0, 1):
            sys.exit(f"{line}: {end.code}")
"""

SWIFT_CONF = """
[swift-hash]
swift_hash_path_prefix = {prefix}
swift_hash_path_suffix = {suffix}

[swift-constraints]
{constraints}

[storage-policy:0]
name = only
default = yes
"""

COMMON = """
[DEFAULT]
bind_ip = {host}
bind_port = {port}
workers = 0
user = {user}
swift_dir = {directory}
devices = {directory}/devices
mount_check = false
disable_fallocate = true
log_udp_host = {host}
log_udp_port = {log_port}
"""

BACKEND = """
[pipeline:main]
pipeline = {name}-server

[app:{name}-server]
use = egg:swift#{name}
"""

# Order of the pipeline: the proxy-server.conf-sample of Swift, with what large objects and S3 need.
PROXY = """
account_autocreate = true

[pipeline:main]
pipeline = catch_errors gatekeeper proxy-logging cache listing_formats bulk s3api tempauth copy slo dlo versioned_writes symlink proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
error_suppression_limit = 1000000

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:proxy-logging]
use = egg:swift#proxy_logging
log_msg_template = REQUEST {{method}} {{path}} {{status_int}}

[filter:cache]
use = egg:swift#memcache
memcache_servers = {host}:{memcached}

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:bulk]
use = egg:swift#bulk

[filter:s3api]
use = egg:swift#s3api
location = us-east-1

[filter:tempauth]
use = egg:swift#tempauth
{users}

[filter:copy]
use = egg:swift#copy

[filter:slo]
use = egg:swift#slo

[filter:dlo]
use = egg:swift#dlo

[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true

[filter:symlink]
use = egg:swift#symlink
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the proxy answered; `path` is quoted and begins with /v1/ or, for S3, with the bucket."""

    method: str
    path: str
    status: int


def has_user_xattrs(directory: Path) -> bool:
    """Whether Swift can keep its metadata there (tmpfs of older kernels and some overlays cannot)."""
    try:
        os.setxattr(directory, "user.px", b"x")
        os.removexattr(directory, "user.px")
    except OSError:
        return False
    return True


class SwiftServer:
    """A real Swift in `directory`, with container `users` made, as CUBE makes it.

    The same port speaks S3: endpoint `s3_url`, access key `user`, secret `key`, bucket = container, path style.
    `constraints` are those of swift.conf, such as ``{"max_file_size": 1 << 20}``.
    """

    user = "chris:chris1234"
    key = "testing"
    container = "users"

    def __init__(self, directory: Path, constraints: Mapping[str, int] | None = None) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        if not has_user_xattrs(directory):
            message = f"{directory}: its filesystem has no user xattrs, which Swift needs; see pytest --basetemp"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)
        self.constraints = {"max_file_size": 5 * 1024**3 + 2, **(constraints or {})}
        self.ports = {name: free_port() for name in (*DAEMONS, "proxy", "memcached")}
        self.servers: dict[str, Server] = {}
        self._log_sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # syslog messages end here, unread
        self.account = SwiftAccount(self.auth_url, self.user, self.key)

    @property
    def port(self) -> int:
        return self.ports["proxy"]

    @property
    def auth_url(self) -> str:
        return f"http://{HOST}:{self.port}/auth/v1.0"

    @property
    def s3_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Start all five processes and return when an object could be stored."""
        self._log_sink.bind((HOST, 0))
        self._write_configuration()
        try:
            self._start_memcached()
            for name in DAEMONS:
                self._start_daemon(name)
            self._build_rings()
            self._start_daemon("proxy")
            for name in ("memcached", *DAEMONS, "proxy"):
                self.servers[name].wait_ready(self.ports[name])
            wait_until(self._answers, f"Swift gives out tokens\n{self.log()[-3000:]}")
            self.account.make_container(self.container)
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        with suppress(OSError):
            return ask("GET", self.auth_url, {"X-Auth-User": self.user, "X-Auth-Key": self.key}).status == 200
        return False

    def stop(self) -> None:
        """End every process that was started."""
        for server in reversed(self.servers.values()):
            server.stop()
        self.servers.clear()
        self._log_sink.close()

    def log(self) -> str:
        """What the proxy said."""
        return self.servers["proxy"].log()

    def requests(self) -> list[Request]:
        """Every request that the proxy has answered so far, but those that this question needed."""
        marker = f"/marker-{uuid.uuid4().hex}"
        ask("GET", f"{self.s3_url}{marker}")
        wait_until(lambda: marker in self.log(), "the proxy has written its log")
        found = re.findall(r"REQUEST ([A-Z]+) (\S+) (\d+)", self.log())
        answered = [Request(method, unquote(path), int(status)) for method, path, status in found]
        return [request for request in answered if not request.path.startswith("/marker-")]

    def names(self, prefix: str = "") -> list[str]:
        """Names of the objects in `users`, as the container lists them."""
        return self.account.names(self.container, prefix)

    def empty(self) -> None:
        """Remove all objects, and all containers but `users`, such as those of segments."""
        self.account.empty(self.container)
        for name in set(self.account.containers()) - {self.container}:
            self.account.remove_container(name)

    # Behind Swift's back

    def object_file(self, name: str, container: str | None = None) -> Path:
        """The file that holds the bytes of an object."""
        account = self.account.login()[0].rsplit("/", 1)[1]
        path = f"/{account}/{container or self.container}/{name}".encode()
        digest = hashlib.md5(HASH_PREFIX + path + HASH_SUFFIX, usedforsecurity=False).hexdigest()
        part = int(digest[:8], 16) >> (32 - PART_POWER)
        folder = self.directory / "devices" / "d1" / "objects" / str(part) / digest[-3:] / digest
        files = sorted(folder.glob("*.data")) if folder.is_dir() else []
        assert files, f"Swift holds no object {name!r}"
        return files[-1]

    def corrupt(self, name: str, container: str | None = None) -> None:
        """Change one byte in the middle of an object on disk; size, listing and ETag stay as they were."""
        path = self.object_file(name, container)
        size = path.stat().st_size
        assert size, f"{name!r} is empty"
        with path.open("r+b") as file:
            file.seek(size // 2)
            byte = file.read(1)
            file.seek(size // 2)
            file.write(bytes([byte[0] ^ 0xFF]))

    def lose(self, name: str, container: str | None = None) -> None:
        """Delete an object on disk: the container still lists it, HEAD and GET say 404."""
        path = self.object_file(name, container)
        for file in path.parent.iterdir():
            file.unlink()

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Be without one of the processes: `down("object")` makes each PUT and GET a 503, `down("proxy")` refuses."""
        self.servers.pop(name).stop()
        wait_until(lambda: not listens(self.ports[name]), f"nobody listens on the port of the {name} server")
        try:
            yield
        finally:
            self._start_daemon(name)
            self.servers[name].wait_ready(self.ports[name])

    # Configuration and processes

    def _write_configuration(self) -> None:
        (self.directory / "devices" / "d1").mkdir(parents=True)
        values: dict[str, object] = {
            "host": HOST,
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "directory": self.directory,
            "log_port": self._log_sink.getsockname()[1],
        }
        for name in DAEMONS:
            text = (COMMON + BACKEND).format(name=name, port=self.ports[name], **values)
            (self.directory / f"{name}-server.conf").write_text(text)
        users = f"user_{self.user.replace(':', '_')} = {self.key} .admin"
        text = (COMMON + PROXY).format(port=self.port, memcached=self.ports["memcached"], users=users, **values)
        (self.directory / "proxy-server.conf").write_text(text)
        constraints = "\n".join(f"{name} = {value}" for name, value in self.constraints.items())
        text = SWIFT_CONF.format(prefix=HASH_PREFIX.decode(), suffix=HASH_SUFFIX.decode(), constraints=constraints)
        (self.directory / "swift.conf").write_text(text)

    def _build_rings(self) -> None:
        lines = []
        for name in DAEMONS:
            device = f"--region 1 --zone 1 --ip {HOST} --port {self.ports[name]} --device d1 --weight 1"
            builder = self.directory / f"{name}.builder"
            lines += [f"{builder} create {PART_POWER} 1 1", f"{builder} add {device}", f"{builder} rebalance"]
        run = subprocess.run(
            [_interpreter("swift-ring-builder"), "-c", RUN_RING_BUILDER],
            input="\n".join(lines), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        rings = [self.directory / f"{name}.ring.gz" for name in DAEMONS]
        assert run.returncode == 0, f"swift-ring-builder: {run.stdout} {run.stderr}"
        assert all(ring.exists() for ring in rings), f"swift-ring-builder: {run.stdout} {run.stderr}"

    def _start_daemon(self, name: str) -> None:
        script = program(f"swift-{name}-server")
        argv = [
            _interpreter(f"swift-{name}-server"), "-c", RUN_WITH_OUR_SWIFT_CONF,
            str(self.directory), script, str(self.directory / f"{name}-server.conf"), "-v",
        ]  # fmt: skip
        self.servers[name] = Server(argv, self.directory, name)

    def _start_memcached(self) -> None:
        user = pwd.getpwuid(os.geteuid()).pw_name
        argv = [program("memcached"), "-l", HOST, "-p", str(self.ports["memcached"]), "-U", "0", "-u", user, "-m", "32"]
        self.servers["memcached"] = Server(argv, self.directory, "memcached")


def _interpreter(name: str) -> str:
    """The Python that a program of Swift says it runs under; Debian's is not the one that runs the tests."""
    first = textwrap.dedent(Path(program(name)).read_text()).splitlines()[0]
    assert first.startswith("#!"), f"{program(name)} is no script"
    return first[2:].strip().split()[0]
