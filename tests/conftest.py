"""Fixtures for all tests; what they are made of stands in tests/support."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.canary import canary, canary_images, canary_listener  # noqa: F401  fixtures
from support.corpus import Corpus, make_corpus
from support.listening import connect, listen  # noqa: F401  fixtures
from support.mounts import read_only, small_disk  # noqa: F401  fixtures
from support.ports import free_port as reserve_port
from support.ports import release_ports
from support.pxrun import PxRunner
from support.scripted_fixtures import scripted_pacs  # noqa: F401  a fixture
from support.sealed import SEAL
from support.servers import Dcmqrscp, Destination, Orthanc, StorescpSink
from support.storage_fixtures import cube_server, running_swift, swift  # noqa: F401  fixtures

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lies in tests/integration is an integration test."""
    for item in items:
        if item.path.is_relative_to(TESTS / "integration"):
            item.add_marker(pytest.mark.integration)


def pytest_sessionfinish() -> None:
    release_ports()


@pytest.fixture(autouse=True)
def _no_px_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("PX_") and not name.startswith("PX_TEST_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _sealed_unit_tests(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A unit test writes below its temporary directory only and reaches neither network nor programs."""
    if not request.path.is_relative_to(TESTS / "unit"):
        yield
        return
    base = tmp_path_factory.getbasetemp()
    home = base / "unit-home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    with SEAL.closed(base):
        yield


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The mixed made-up corpus; see support.corpus.  Do not change its files."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def golden_corpus() -> Path:
    """The 20 small CT images that the golden outputs were made from."""
    return TESTS / "golden" / "corpus"


@pytest.fixture(scope="session")
def empty_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """The Orthanc of the session before anything is in it; ask for `orthanc` instead."""
    server = Orthanc(tmp_path_factory.mktemp("orthanc"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def orthanc(empty_orthanc: Orthanc, corpus: Corpus) -> Orthanc:
    """A real Orthanc that holds the whole corpus, byte for byte.  Shared: remove what you add."""
    empty_orthanc.upload(file.path for file in corpus)
    missing = {file.SOPInstanceUID for file in corpus} - empty_orthanc.instances()
    assert not missing, f"Orthanc did not take {missing}"
    return empty_orthanc


@pytest.fixture(scope="session")
def dcmqrscp(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus) -> Iterator[Dcmqrscp]:
    """A real dcmqrscp holding what it takes of the corpus: `instances()` says what.  Shared: do not add to `aet`."""
    server = Dcmqrscp(tmp_path_factory.mktemp("dcmqrscp"))
    try:
        taken = server.upload(file.path for file in corpus)
        assert taken == server.instances(), "dcmqrscp holds something else than it said"
        plain = {file.SOPInstanceUID for file in corpus if file.kind != "compressed" and file.PatientID}
        assert plain <= taken, f"dcmqrscp did not take {plain - taken}\n{server.log()[-3000:]}"
        yield server
    finally:
        server.stop()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """`free_port()` reserves a port of 127.0.0.1."""
    return reserve_port


@pytest.fixture
def storescp_sink(tmp_path: Path) -> Iterator[Callable[..., StorescpSink]]:
    """`storescp_sink()` starts a raw storescp; `storescp_sink(dcmqrscp.destinations[0])` one at a known place."""
    sinks: list[StorescpSink] = []

    def start(destination: Destination | None = None, *options: str) -> StorescpSink:
        sink = StorescpSink(tmp_path, destination or Destination("SINK", reserve_port()), options)
        sinks.append(sink)
        return sink

    try:
        yield start
    finally:
        for sink in sinks:
            sink.stop()


@pytest.fixture
def basemount(tmp_path: Path) -> Path:
    """Where a BASEMOUNT may be made; nothing is there yet."""
    return tmp_path / "basemount"


@pytest.fixture
def px(tmp_path: Path) -> Iterator[PxRunner]:
    """`px(*args)` runs the installed command; `px.start(*args)` leaves it running until the test ends."""
    runner = PxRunner(tmp_path)
    try:
        yield runner
    finally:
        runner.stop_all()
