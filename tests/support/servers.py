"""Orthanc, dcmqrscp and storescp as real processes on free ports of 127.0.0.1."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.dicom import read
from support.ports import free_port, listens, wait_until

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]
SNIPPETS = ROOT / "docs" / "snippets"
DESTINATIONS = 4
"""Lines of the HostTable in docs/snippets/dcmqrscp.cfg, so move destinations of the dcmqrscp fixture."""

ORTHANC_GARBLES = frozenset({"ISO 2022 IR 13\\ISO 2022 IR 87"})
"""Character sets in which Orthanc 1.10.1 does not give values back as they were stored; all others it does."""


def program(name: str) -> str:
    """Path of a server program; without it a test fails in CI and is skipped elsewhere."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if found is None:
        message = f"{name} is not installed; ./tests/run.sh installs what the tests need"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def run_tool(*argv: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a DCMTK tool of the tests' own, such as echoscu, and return what it said."""
    return subprocess.run(
        [program(argv[0]), *argv[1:]],
        env=_environment(),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TCP_NODELAY": "1"}


class Server:
    """One server process in a process group of its own, with its log in a file."""

    def __init__(self, argv: Sequence[str], directory: Path, name: str) -> None:
        self.name = name
        self.log_path = directory / f"{name}.log"
        die_with_us = [shutil.which("setpriv") or "", "--pdeathsig", "KILL"]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*(die_with_us if die_with_us[0] else []), *argv],
                cwd=directory,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_ready(self, port: int) -> None:
        """Return when somebody listens on the port; fail with the log if the process ends first."""
        wait_until(lambda: listens(port) or not self.alive(), f"{self.name} listens on port {port}")
        assert self.alive(), f"{self.name} ended with {self.process.returncode}:\n{self.log()}"

    def stop(self) -> None:
        """End the process and what it forked: terminate, wait, kill."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        self._signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


@dataclass(frozen=True, slots=True)
class Destination:
    """An AE title and port that a PACS knows as move destination; start a listener there."""

    aet: str
    port: int


class Pacs:
    """What both archives have in common: an address, an AE title and a log."""

    host = HOST
    port: int
    aet: str
    server: Server

    def log(self) -> str:
        return self.server.log()

    def wait_for_echo(self) -> None:
        """Return when a C-ECHO is answered."""
        self.server.wait_ready(self.port)
        wait_until(lambda: self.echo().returncode == 0, f"{self.server.name} answers C-ECHO\n{self.log()}")

    def echo(self) -> subprocess.CompletedProcess[str]:
        return run_tool("echoscu", "-to", "5", "-ta", "5", "-td", "5", "-aec", self.aet, self.host, str(self.port))


class Orthanc(Pacs):
    """A real Orthanc, configured by docs/snippets/orthanc.json and what is `more`.

    `knows` makes it accept a move destination.
    """

    def __init__(self, directory: Path, more: Mapping[str, object] | None = None) -> None:
        orthanc = program("Orthanc")
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.http_port = free_port()
        configuration = orthanc_configuration(
            StorageDirectory=str(directory / "db"),
            IndexDirectory=str(directory / "db"),
            DicomPort=self.port,
            HttpPort=self.http_port,
            DicomModalities={},
        )
        self.aet = str(configuration["DicomAet"])
        path = directory / "orthanc.json"
        path.write_text(json.dumps({**configuration, **(more or {})}, indent=2))
        self.server = Server([orthanc, "--verbose", str(path)], directory, "orthanc")
        self.server.wait_ready(self.http_port)
        self._http: http.client.HTTPConnection | None = None
        self.rest("GET", "/system")
        self.wait_for_echo()

    def stop(self) -> None:
        if self._http is not None:
            self._http.close()
        self.server.stop()

    def rest(self, method: str, path: str, body: bytes | object | None = None) -> Any:
        """One REST call over a kept connection; bytes go as they are, anything else as JSON.  Fails unless 2xx."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kept = self._http is not None
        if self._http is None:
            self._http = http.client.HTTPConnection(self.host, self.http_port, timeout=60)
        try:
            self._http.request(method, path, data)
            answer = self._http.getresponse()
            content = answer.read()
        except (http.client.HTTPException, ConnectionError):
            self._http.close()
            self._http = None
            if kept:  # Orthanc closes connections that were idle for a while
                return self.rest(method, path, body)
            raise
        assert answer.status < 300, f"Orthanc: {method} {path}: {answer.status} {content[:500]!r}"
        try:
            return json.loads(content)
        except ValueError:
            return content

    def knows(self, aet: str, port: int, **more: object) -> None:
        """Register a modality, so that C-MOVE can send to it."""
        self.rest("PUT", f"/modalities/{aet}", {"AET": aet, "Host": HOST, "Port": port, **more})

    def forgets(self, aet: str) -> None:
        self.rest("DELETE", f"/modalities/{aet}")

    def upload(self, files: Iterable[Path]) -> None:
        """Store files byte for byte (POST /instances)."""
        for path in files:
            answer = self.rest("POST", "/instances", path.read_bytes())
            assert answer["Status"] in {"Success", "AlreadyStored"}, f"{path}: {answer}"

    def delete(self, uid: str) -> None:
        """Remove the patient, study, series or instance with this DICOM identifier."""
        found = self.rest("POST", "/tools/lookup", uid.encode())
        assert found, f"Orthanc holds nothing with identifier {uid}"
        self.rest("DELETE", found[0]["Path"])

    def instances(self) -> frozenset[str]:
        """SOP Instance UIDs held."""
        return frozenset(item["MainDicomTags"]["SOPInstanceUID"] for item in self.rest("GET", "/instances?expand"))

    def file_bytes(self, SOPInstanceUID: str) -> bytes:
        """The file as stored."""
        found = self.rest("POST", "/tools/lookup", SOPInstanceUID.encode())
        assert found, f"Orthanc does not hold {SOPInstanceUID}"
        content: bytes = self.rest("GET", f"{found[0]['Path']}/file")
        return content


def orthanc_configuration(**values: object) -> dict[str, object]:
    """docs/snippets/orthanc.json with other values; every key must stand there."""
    configuration: dict[str, object] = json.loads((SNIPPETS / "orthanc.json").read_text())
    unknown = values.keys() - configuration.keys()
    assert not unknown, f"docs/snippets/orthanc.json does not have {sorted(unknown)}"
    return {**configuration, **values}


class Dcmqrscp(Pacs):
    """A real dcmqrscp, configured by docs/snippets/dcmqrscp.cfg, but for the number of associations if given.

    It answers to two titles with a storage area each (`aet`, `second_aet`) and sends to `destinations` only, ports
    reserved at start: a destination is used by one listener at a time.
    """

    def __init__(self, directory: Path, *, most_associations: int | None = None) -> None:
        dcmqrscp = program("dcmqrscp")
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.directory = directory
        ports = [free_port() for _ in range(DESTINATIONS)]
        text = dcmqrscp_configuration(self.port, ports, directory)
        if most_associations is not None:
            text = re.sub(r"(?m)^(MaxAssociations\s*=\s*)\d+$", rf"\g<1>{most_associations}", text)
        path = directory / "dcmqrscp.cfg"
        path.write_text(text)
        self.destinations = tuple(Destination(aet, int(port)) for aet, port in _host_lines(text))
        self.aet, self.second_aet = _storage_areas(text)
        for area in _storage_areas(text).values():
            Path(area).mkdir()
        self.server = Server([dcmqrscp, "-v", "--config", str(path)], directory, "dcmqrscp")
        self.wait_for_echo()

    def stop(self) -> None:
        self.server.stop()

    def upload(self, files: Iterable[Path], *, aet: str | None = None) -> frozenset[str]:
        """C-STORE files with dcmsend (uncompressed ones arrive as explicit little endian); the UIDs it took."""
        report = self.directory / "dcmsend-report.txt"
        report.unlink(missing_ok=True)
        paths = [str(path) for path in files]
        run = run_tool(
            "dcmsend", "--no-halt", "--create-report-file", str(report),
            "-aec", aet or self.aet, self.host, str(self.port), *paths,
        )  # fmt: skip
        assert report.exists(), f"dcmsend: {run.returncode} {run.stderr}"
        return frozenset(sent_instances(report.read_text()))

    def instances(self, *, aet: str | None = None) -> frozenset[str]:
        """SOP Instance UIDs held."""
        area = Path(_storage_areas((self.directory / "dcmqrscp.cfg").read_text())[aet or self.aet])
        return frozenset(str(read(path).SOPInstanceUID) for path in area.iterdir() if path.name != "index.dat")


def dcmqrscp_configuration(port: int, destinations: Sequence[int], directory: Path) -> str:
    """docs/snippets/dcmqrscp.cfg with other ports and folders, all else as it stands."""
    text = (SNIPPETS / "dcmqrscp.cfg").read_text()
    ports = iter(destinations)
    text = re.sub(r"(?m)^(NetworkTCPPort\s*=\s*)\d+$", rf"\g<1>{port}", text)
    text = re.sub(r"(?m)^(listener\d.*, )\d+\)$", lambda line: f"{line[1]}{next(ports)})", text)
    return re.sub(r"/var/lib/dcmqrscp\b", str(directory), text)


def _host_lines(configuration: str) -> list[tuple[str, str]]:
    return re.findall(r"(?m)^\w+ = \((\w+), [\d.]+, (\d+)\)$", configuration)


def _storage_areas(configuration: str) -> dict[str, str]:
    table = configuration.split("AETable BEGIN")[1]
    return dict(re.findall(r"(?m)^(\w+)\s+(/\S+)\s+RW", table))


def sent_instances(report: str) -> list[str]:
    """SOP Instance UIDs that a report of dcmsend lists with status Success."""
    blocks = [dict(re.findall(r"(?m)^(\w[\w .]*?) *: (.*)$", block)) for block in report.split("\n\n")]
    return [block["SOP Instance"] for block in blocks if block.get("DIMSE Status", "").startswith("0x0000")]


class StorescpSink:
    """A raw DCMTK storescp, keeping what arrives bit for bit in `directory`."""

    host = HOST

    def __init__(self, directory: Path, destination: Destination, options: Sequence[str] = ()) -> None:
        self.aet = destination.aet
        self.port = destination.port
        self.directory = directory / f"received-{destination.port}"
        self.directory.mkdir(parents=True)
        argv = [
            program("storescp"), "--fork", "+B", "-pm", "+xa", "+uf", "-pdu", "131072", *options,
            "-aet", self.aet, "-od", str(self.directory), str(self.port),
        ]  # fmt: skip
        self.server = Server(argv, directory, f"storescp-{self.port}")
        self.server.wait_ready(self.port)

    def files(self) -> list[Path]:
        return sorted(path for path in self.directory.iterdir() if path.is_file())

    def instances(self) -> Mapping[str, Path]:
        """Files by SOP Instance UID; one received twice fails."""
        found: dict[str, Path] = {}
        for path in self.files():
            SOPInstanceUID = str(read(path).SOPInstanceUID)
            assert SOPInstanceUID not in found, f"{SOPInstanceUID} arrived twice"
            found[SOPInstanceUID] = path
        return found

    def log(self) -> str:
        return self.server.log()

    def stop(self) -> None:
        """End it; its forked children hold the listening socket until they too are gone."""
        self.server.stop()
        wait_until(lambda: not listens(self.port), f"port {self.port} is free again")
