"""The same work for many items, in several processes."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from pypx.services.tether import end_with

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 4
_SECRETS = (
    "PX_CUBE_PASSWORD", "PX_CUBE_TOKEN", "PX_SWIFT_KEY", "PX_TLS_KEY_PASSWORD", "PX_LISTEN_TLS_KEY_PASSWORD",
    "OS_PASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
)  # fmt: skip
_WARNINGS = "PYTHONWARNINGS"
_ENDING = {signal.SIGINT, signal.SIGHUP, signal.SIGTERM}


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

    with deaf(), _without_secrets(), _quiet():  # the process that cleans up would end by SIGHUP otherwise
        pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begun)
    with pool:

        def submit(items: list[T]) -> Iterator[Future[R]]:
            with deaf(), _without_secrets():
                return iter([pool.submit(work, item) for item in items])

        under_way = deque(submit(list(itertools.islice(rest, jobs * _AHEAD))))
        try:
            while under_way:
                result = under_way.popleft().result()
                under_way.extend(submit(list(itertools.islice(rest, 1))))
                yield result
        finally:
            for future in under_way:
                future.cancel()


def _begun() -> None:
    """In a worker, at its start: it heeds SIGTERM from now on, and gets one when its parent is killed."""
    from multiprocessing import parent_process  # noqa: PLC0415 - as above

    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    parent = parent_process()
    assert parent is not None  # noqa: S101  narrows the type
    end_with(parent.sentinel, os.getpid())
    if os.getppid() != parent.pid:  # it is gone already
        sys.exit(1)


@contextmanager
def _without_secrets() -> Iterator[None]:
    """Processes that are started meanwhile do not inherit passwords: they read files, of whoever made them."""
    taken = {name: os.environ.pop(name) for name in _SECRETS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


@contextmanager
def _quiet() -> Iterator[None]:
    """The process that cleans up behind us if we are ended at once, started meanwhile, tells nobody that it does."""
    before = {_WARNINGS: os.environ[_WARNINGS]} if _WARNINGS in os.environ else {}
    os.environ[_WARNINGS] = "ignore::UserWarning:multiprocessing.resource_tracker"
    try:
        yield
    finally:
        del os.environ[_WARNINGS]
        os.environ.update(before)


@contextmanager
def deaf() -> Iterator[None]:
    """Put off the signals that end us; processes that begin meanwhile never hear of ^C, which a terminal sends to all.

    A worker ends with its pool.  Where it ended on its own, or its start was broken off, it would show a traceback.
    The mask is what the workers inherit; it does not keep another thread from taking the signal.
    """
    late: list[int] = []
    ours = {number: signal.getsignal(number) for number in _ENDING} if _in_main_thread() else {}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    for number in (number for number, handler in ours.items() if callable(handler)):
        signal.signal(number, lambda number, _frame: late.append(number))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for caught in late[:1]:
            signal.raise_signal(caught)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
