"""The same work for many items, in several processes."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 4


def default_jobs() -> int:
    """How many processes to use unless told: one a processor that this one may run on, at most eight."""
    return min(8, len(os.sched_getaffinity(0)))


def run_all(work: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[R]:
    """Results of `work` for each item, in order; few items are under way at a time, however many there are.

    Parameters
    ----------
    work : a function of a module, for other processes import it
    items : may be endless
    jobs : processes; 1 does the work here, and so does a single item
    """
    rest = iter(items)
    first = list(itertools.islice(rest, 2))
    rest = itertools.chain(first, rest)
    if jobs <= 1 or len(first) < 2:
        yield from map(work, rest)
        return
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415 - kept out of start-up
    from multiprocessing import get_context  # noqa: PLC0415 - as above

    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        under_way = deque(pool.submit(work, item) for item in itertools.islice(rest, jobs * _AHEAD))
        try:
            while under_way:
                result = under_way.popleft().result()
                under_way.extend(pool.submit(work, item) for item in itertools.islice(rest, 1))
                yield result
        finally:
            for future in under_way:
                future.cancel()
