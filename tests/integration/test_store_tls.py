"""Swift, S3, Keystone and CUBE over TLS: the right authority works; another one, an old certificate, another name do not."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from cube_contract import CubeServer, FolderStore
from pypx.model.peers import SwiftTarget
from pypx.services.storage import StorageUnreachableError
from pypx.services.swift import SwiftStore
from pypx.workflows.targets import swift_store
from support.corpus import make_series
from support.fault_proxy import FaultProxy, fault_proxy
from support.pxrun import PxResult, PxRunner
from support.servers import HOST
from support.swift_server import SwiftServer


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority of the test's own, and another one that signed nothing."""

    ca: trustme.CA
    file: Path
    wrong: Path

    def context(self, case: str) -> ssl.SSLContext:
        """What a server shows: ``good``, ``expired`` or ``other-name``."""
        until = datetime.now(timezone.utc) + timedelta(days=-1 if case == "expired" else 1)
        begin = until - timedelta(days=9)
        name = "elsewhere.example" if case == "other-name" else HOST
        certificate = self.ca.issue_cert(name, not_before=begin, not_after=until)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "wrong.pem"))
    return Authority(ca, folder / "ca.pem", folder / "wrong.pem")


CASES = ["good", "wrong-ca", "expired", "other-name", "no-ca"]


def trusted(authority: Authority, case: str) -> Path | None:
    return None if case == "no-ca" else authority.wrong if case == "wrong-ca" else authority.file


def check(result: PxResult, case: str, code: int) -> None:
    """The right certificate works, any other is refused in one line that says what is wrong."""
    if case == "good":
        result.ok()
        return
    assert result.returncode == code, result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert "certificate" in line or "TLS" in line
    assert len(line) < 500


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_series(tmp_path / "source", 1, rows=8, cols=8).files[0].path


@pytest.fixture(params=CASES)
def front(request: pytest.FixtureRequest, authority: Authority) -> Iterator[tuple[str, Callable[[int], FaultProxy]]]:
    """The case, and `front(port)`, a TLS front before a server."""
    case: str = request.param
    with ExitStack() as stack:
        yield case, lambda port: stack.enter_context(fault_proxy(port, tls=authority.context(case)))


Front = tuple[str, Callable[[int], FaultProxy]]


@pytest.mark.parametrize("by", ["option", "variable"])
def test_swift(front: Front, by: str, swift: SwiftServer, authority: Authority, image: Path, px: PxRunner) -> None:
    case, start = front
    ca = trusted(authority, case)
    if by == "variable" and case != "good":
        pytest.skip("the option is seen to be heeded in each case")
    proxy = start(swift.port)
    env = {"PX_SWIFT_KEY": swift.key, **({"PX_STORE_CACERT": str(ca)} if ca and by == "variable" else {})}
    words = ["--swiftIP", HOST, "--swiftPort", str(proxy.port), "--swiftLogin", swift.user]
    if ca is None:
        env |= {"OS_AUTH_URL": f"https://{HOST}:{proxy.port}/auth/v1.0", "OS_USERNAME": swift.user}
        words = []
    words += ["--store-cacert", str(ca)] if ca and by == "option" else []
    result = px("push", "--xcrdir", image.parent, "--swiftServicesPACS", "CLINIC", *words, env=env)
    check(result, case, 30)
    assert len(swift.names()) == (1 if case == "good" else 0)
    assert bool(proxy.seen) is (case == "good"), "a login went to a server that nobody knows"


def test_s3(front: Front, swift: SwiftServer, authority: Authority, image: Path, px: PxRunner, basemount: Path) -> None:
    case, start = front
    proxy, ca = start(swift.port), trusted(authority, case)
    entry = {
        "storagetype": "s3", "endpoint": f"https://{HOST}:{proxy.port}", "access_key": swift.user,
        "secret_key": swift.key, **({"cacert": str(ca)} if ca else {}),
    }  # fmt: skip
    file = basemount / "services" / "storage.json"
    file.parent.mkdir(mode=0o700, parents=True)
    file.write_text(json.dumps({"far": entry}))
    file.chmod(0o600)
    words = ["--swift", "far", "--swiftServicesPACS", "CLINIC"]
    check(px("push", "--xcrdir", image.parent, *words, "--basemount", basemount), case, 30)
    assert len(swift.names()) == (1 if case == "good" else 0)


def test_cube(
    front: Front,
    cube_server: Callable[..., CubeServer],
    authority: Authority,
    image: Path,
    px: PxRunner,
    basemount: Path,
) -> None:
    case, start = front
    media = basemount.parent / "media"
    server = cube_server(FolderStore(media), "old")
    proxy, ca = start(server.port), trusted(authority, case)
    store = ["--storeBaseLocation", str(media), "--swiftServicesPACS", "CLINIC", "--basemount", str(basemount)]
    px("repack", "--xcrdir", image.parent, "--basemount", basemount).ok()
    px("push", "--xcrdir", image.parent, *store).ok()
    url = f"https://{HOST}:{proxy.port}/api/v1/"
    words = ["--xcrdir", str(image.parent), "--CUBEURL", url, *(["--cacert", str(ca)] if ca else [])]
    check(px("register", *words, *store, env={"PX_CUBE_PASSWORD": "chris1234"}), case, 31)
    assert len(server.cube.data.files) == (1 if case == "good" else 0)
    assert bool(proxy.seen) is (case == "good")


def test_missing_file_of_certificates_is_named(px: PxRunner, image: Path, tmp_path: Path) -> None:
    words = ["--swiftIP", HOST, "--swiftPort", "1", "--swiftLogin", "a:b", "--store-cacert", str(tmp_path / "none.pem")]
    result = px("push", "--xcrdir", image.parent, "--swiftServicesPACS", "CLINIC", *words)
    assert result.returncode == 2
    assert "none.pem" in result.stderr


@contextmanager
def keystone(storage_url: str, context: ssl.SSLContext) -> Iterator[str]:
    """A Keystone over TLS that sends everybody to `storage_url`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            endpoint = {"interface": "public", "region": "r", "region_id": "r", "url": storage_url}
            catalog = [{"type": "object-store", "endpoints": [endpoint]}]
            answer = json.dumps({"token": {"catalog": catalog}}).encode()
            self.send_response(201)
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("X-Subject-Token", "token")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients hang up: that is the test
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"https://{HOST}:{server.server_port}/v3"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("case", CASES)
def test_keystone(case: str, authority: Authority) -> None:
    with keystone("http://objects.invalid/v1/a", authority.context(case)) as url:
        ca = trusted(authority, case)
        environ = {
            "OS_AUTH_URL": url,
            "OS_USERNAME": "px",
            "OS_PASSWORD": "secret",
            **({"OS_CACERT": str(ca)} if ca else {}),
        }
        target = swift_store({}, environ).target
        assert isinstance(target, SwiftTarget)
        said = "in the clear|anybody on the way can read" if case == "good" else "TLS failed"
        with pytest.raises(StorageUnreachableError, match=said):
            SwiftStore(target, timeout_s=3, retries=0).check()
