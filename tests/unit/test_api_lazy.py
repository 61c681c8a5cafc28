"""A document that is a dictionary at once and something to await."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pypx.compat.api_lazy import Result

DOCUMENT = {"status": "success", "data": [1, 2]}


class Work:
    """Counts how often it is done, and in which thread."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.threads: list[int] = []

    def __call__(self) -> dict[str, Any]:
        self.threads.append(threading.get_ident())
        time.sleep(self.seconds)
        return dict(DOCUMENT)


def test_without_a_loop_it_is_done_at_once() -> None:
    work = Work()
    result = Result(work)
    assert len(work.threads) == 1
    assert result == DOCUMENT
    assert isinstance(result, dict)
    assert json.loads(json.dumps(result)) == DOCUMENT


def test_asyncio_run_of_the_call() -> None:
    work = Work()
    document = asyncio.run(Result(work))
    assert type(document) is dict
    assert document == DOCUMENT
    assert len(work.threads) == 1


def test_await_does_not_block_the_loop() -> None:
    work = Work(seconds=0.3)

    async def main() -> tuple[dict[str, Any], int]:
        ticks = 0
        task = asyncio.ensure_future(Result(work))
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.01)
        return await task, ticks

    document, ticks = asyncio.run(main())
    assert document == DOCUMENT
    assert ticks > 5
    assert work.threads != [threading.get_ident()]


def test_several_at_once() -> None:
    barrier = threading.Barrier(3, timeout=10)

    def work() -> dict[str, Any]:
        barrier.wait()  # passes only if all three are under way
        return dict(DOCUMENT)

    async def main() -> list[dict[str, Any]]:
        return list(await asyncio.gather(Result(work), Result(work), Result(work)))

    assert asyncio.run(main()) == [DOCUMENT] * 3


def test_awaited_twice_is_done_once() -> None:
    work = Work()

    async def main() -> None:
        result = Result(work)
        assert work.threads == []
        assert await result == DOCUMENT
        assert await result == DOCUMENT
        assert result["status"] == "success"

    asyncio.run(main())
    assert len(work.threads) == 1


READERS: dict[str, Callable[[Any], Any]] = {
    "getitem": lambda d: d["status"] == "success",
    "get": lambda d: d.get("status") == "success",
    "contains": lambda d: "data" in d,
    "len": lambda d: len(d) == 2,
    "bool": bool,
    "iter": lambda d: list(d) == ["status", "data"],
    "reversed": lambda d: list(reversed(d)) == ["data", "status"],
    "keys": lambda d: list(d.keys()) == ["status", "data"],
    "values": lambda d: next(iter(d.values())) == "success",
    "items": lambda d: dict(d.items()) == DOCUMENT,
    "eq": lambda d: d == DOCUMENT,
    "ne": lambda d: d != {},
    "repr": lambda d: repr(d) == repr(DOCUMENT),
    "json": lambda d: json.loads(json.dumps(d)) == DOCUMENT,
    "json-indent": lambda d: json.loads(json.dumps(d, indent=4)) == DOCUMENT,
    "dict": lambda d: dict(d) == DOCUMENT,
    "unpack": lambda d: {**d} == DOCUMENT,
    "or": lambda d: d | {"x": 1} == {**DOCUMENT, "x": 1},
    "ror": lambda d: {"x": 1} | d == {"x": 1, **DOCUMENT},
    "copy": lambda d: d.copy() == DOCUMENT,
    "copy.copy": lambda d: copy.copy(d) == DOCUMENT,
    "deepcopy": lambda d: copy.deepcopy(d) == DOCUMENT,
    "pickle": lambda d: pickle.loads(pickle.dumps(d)) == DOCUMENT,
    "pop": lambda d: d.pop("status") == "success" and "status" not in d,
    "setitem": lambda d: d.__setitem__("x", 1) is None and d == {**DOCUMENT, "x": 1},
    "setdefault": lambda d: d.setdefault("status", 1) == "success",
    "update": lambda d: d.update(x=1) is None and d == {**DOCUMENT, "x": 1},
    "delitem": lambda d: d.__delitem__("data") is None and list(d) == ["status"],
    "clear": lambda d: d.clear() is None and d == {},
    "match": lambda d: isinstance(d, dict) and d["data"] == [1, 2],
}


@pytest.mark.parametrize("name", READERS)
def test_reading_without_awaiting_under_a_loop(name: str) -> None:
    """Code for 3.6.2 inside a server of today: ``d = pypx.find(opt)`` and then what one does with a dictionary."""

    async def main() -> bool:
        return bool(READERS[name](Result(Work())))

    assert asyncio.run(main())


def test_an_error_reaches_who_awaits() -> None:
    def work() -> dict[str, Any]:
        raise ValueError("no")

    async def main() -> None:
        with pytest.raises(ValueError, match="no"):
            await Result(work)

    asyncio.run(main())


def test_one_that_is_never_awaited_leaves_no_warning() -> None:
    async def main() -> None:
        Result(Work())

    asyncio.run(main())


def test_cancelled() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(Result(Work(seconds=0.2)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_time_limit() -> None:
    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(Result(Work(seconds=0.3)), 0.02)
        assert await asyncio.wait_for(Result(Work()), 5) == DOCUMENT

    asyncio.run(main())
