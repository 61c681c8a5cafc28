"""Fixtures of the stores that images are pushed to and of the CUBE that they are registered in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cube_contract import Cube, CubeServer, Dialect, ListingStore
from support.swift_server import SwiftServer


@pytest.fixture(scope="session")
def running_swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """The Swift of the session; ask for `swift`, which is empty."""
    server = SwiftServer(tmp_path_factory.mktemp("swift"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def swift(running_swift: SwiftServer) -> SwiftServer:
    """A real Swift whose container `users` is empty."""
    running_swift.empty()
    return running_swift


@pytest.fixture
def cube_server() -> Iterator[Callable[..., CubeServer]]:
    """`cube_server(store, "old")` starts a CUBE over a store; `looks` and `pause_s` shorten its count check."""
    servers: list[CubeServer] = []

    def start(
        store: ListingStore, dialect: Dialect = "new", *, password_cost_s: float = 0, **options: Any
    ) -> CubeServer:
        server = CubeServer(Cube(store, dialect, **options), password_cost_s=password_cost_s)
        server.start()
        servers.append(server)
        return server

    try:
        yield start
    finally:
        for server in servers:
            server.stop()
