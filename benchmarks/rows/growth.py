"""How cost grows: with the images of a directory, the series of a study, the instances of a BASEMOUNT.

No floors and no budgets here, seconds only; how a find grows with the studies is among the rows of `find`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from bench import Case, Options, Row
from corpus import BIG, SMALL, make_corpus

from rows import repack, search, status

IMAGES = (100, 500, 2000)
LARGE_IMAGES = (100, 500)
SERIES = (1, 5, 20, 80)
SERIES_IMAGES = 100
INSTANCES = (10_000, 100_000, 1_000_000)
SHOWN = ("status", "patient", "wildcard")


def _less(count: int, options: Options) -> int:
    return max(1, count // 50) if options.quick else count


@contextmanager
def _repack(images: int, size: int, options: Options) -> Iterator[Case]:
    corpus = make_corpus(options.scratch / "corpus", _less(images, options), size=size)
    yield Case(repack.Bench(corpus, options.scratch).px)


@contextmanager
def _status(series: int, options: Options) -> Iterator[Case]:
    images = _less(SERIES_IMAGES, options)
    root = status.make_study(options.scratch / "basemount", series, images, 0)
    yield Case(partial(status.ask, root, series, images, options.scratch))


@contextmanager
def _search(question: tuple[str, ...], instances: int, options: Options, *, first: bool = False) -> Iterator[Case]:
    size = search.QUICK_SMALL if options.quick else instances
    search.basemount(size)
    yield Case(partial(search.ask_first if first else search.ask, question, size, options.scratch))


def _first(instances: int) -> Callable[[Options], AbstractContextManager[Case]]:
    return partial(_search, search.QUESTIONS["wildcard"][1], instances, first=True)


def _row(name: str, title: str, unit: str, opened: Callable[[Options], AbstractContextManager[Case]]) -> Row:
    return Row(name, title, unit, "none", "none", opened, None, "time")


ROWS = (
    *(
        _row(f"growth-{name}-{n}", f"repack, {n} images of {size}x{size}", "images", partial(_repack, n, size))
        for name, size, counts in (("large", BIG, LARGE_IMAGES), ("small", SMALL, IMAGES))
        for n in counts
    ),
    *(
        _row(f"growth-series-{n}", f"status, {n} series of {SERIES_IMAGES} images", "questions", partial(_status, n))
        for n in SERIES
    ),
    *(
        _row(f"growth-{key}-{n}", f"{title}, {n:,} instances", "questions", partial(_search, words, n))
        for key, (title, words) in search.QUESTIONS.items()
        if key in SHOWN
        for n in INSTANCES
    ),
    *(
        _row(f"growth-first-{n}", f"the first search of all, {n:,} instances", "questions", _first(n))
        for n in INSTANCES
    ),
)
