"""Orthanc, storescp, Swift and CUBE on free ports of 127.0.0.1, as the tests start them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import BenchError, environment, free_port, program, wait_for

from cube_contract import Cube, CubeServer, Dialect, ListingStore
from support.servers import Orthanc
from support.swift_server import SwiftServer

HOST = "127.0.0.1"
START_S = 20.0
"""For a server to answer; all do within a few."""
FLOOR_OPTIONS = ("--fork", "+B", "-pm", "+xa", "+uf", "-pdu", "131072")


@dataclass(frozen=True, slots=True)
class Storescp:
    """A raw storescp that writes what it gets to a flat folder."""

    folder: Path
    port: int
    pid: int


@contextmanager
def orthanc(folder: Path) -> Iterator[Orthanc]:
    """An empty Orthanc, with the settings of docs/snippets/orthanc.json and TCP_NODELAY=1."""
    program("Orthanc")
    server = Orthanc(folder)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def storescp_floor(folder: Path, *, aet: str = "PXBENCH", port: int | None = None) -> Iterator[Storescp]:
    """A raw storescp with the options of the budget."""
    folder.mkdir(parents=True)
    at = port or free_port()
    argv = [program("storescp"), *FLOOR_OPTIONS, "-aet", aet, "-od", str(folder), str(at)]
    with background(argv) as process:
        wait_for(lambda: answers(at, aet), f"storescp answers on port {at}", timeout_s=START_S)
        yield Storescp(folder, at, process.pid)


@contextmanager
def swift(folder: Path) -> Iterator[SwiftServer]:
    """An empty Swift, whose account has the container `users`."""
    program("swift-proxy-server")
    server = SwiftServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def cube(
    store: ListingStore, dialect: Dialect = "new", *, password_cost_s: float = 0, **options: Any
) -> Iterator[CubeServer]:
    """A CUBE over a store."""
    server = CubeServer(Cube(store, dialect, **options), password_cost_s=password_cost_s)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def background(argv: Sequence[str], *, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A command that stays; it is told to end with the block, and has to do so within a minute."""
    with subprocess.Popen(
        argv, env=env or environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
            if process.poll() is not None:
                raise BenchError(f"{argv[0]} ended by itself with {process.returncode}")
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()


def answers(port: int, aet: str) -> bool:
    """Whether the DICOM server on `port` answers a C-ECHO."""
    argv = [program("echoscu"), "-to", "2", "-ta", "5", "-aec", aet, HOST, str(port)]
    return subprocess.run(argv, env=environment(), check=False, capture_output=True).returncode == 0
