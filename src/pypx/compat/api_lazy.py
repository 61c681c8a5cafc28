"""A document that serves both ages of pypx: a dictionary at once, as in 3.6.2, and something to await, as since 3.10.

Without a running event loop the work is done when the call is made.  Under one it is not, for that would stop the loop:
``await`` does it in a thread; whoever reads the dictionary without awaiting it has it done there and then.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Coroutine, Generator, ItemsView, Iterator, KeysView, ValuesView
from typing import Any

_WAITING = "status"


class Result(dict[str, Any], Coroutine[Any, Any, dict[str, Any]]):
    """The document of a call.

    It takes the place of a coroutine too: ``asyncio.run(find(opt))``, ``asyncio.gather(find(a), find(b))`` and
    ``loop.create_task(find(opt))`` work; each hands out a plain ``dict``.
    """

    def __init__(self, work: Callable[[], dict[str, Any]]) -> None:
        super().__init__({_WAITING: None})  # not empty: json looks at the size before it asks for the items
        self._work: Callable[[], dict[str, Any]] | None = work
        self._lock = threading.Lock()
        self._coroutine: Coroutine[Any, Any, dict[str, Any]] | None = None
        if not _loop_runs():
            self.load()

    def load(self) -> dict[str, Any]:
        """Do the work, once, and return the document."""
        with self._lock:
            if self._work is not None:
                document = self._work()
                super().clear()
                super().update(document)
                self._work = None
        return dict(super().items())

    # --- as a coroutine

    async def _awaited(self) -> dict[str, Any]:
        if self._work is None:
            return self.load()
        import asyncio  # noqa: PLC0415 - slow, and loaded already where there is something to await

        return await asyncio.to_thread(self.load)

    def _drive(self) -> Coroutine[Any, Any, dict[str, Any]]:
        if self._coroutine is None:
            self._coroutine = self._awaited()
        return self._coroutine

    def __await__(self) -> Generator[Any, Any, dict[str, Any]]:
        return self._awaited().__await__()

    def send(self, value: Any) -> Any:
        """Step of a coroutine."""
        return self._drive().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise in the coroutine."""
        return self._drive().throw(*error)

    def close(self) -> None:
        """End the coroutine; the document can still be read."""
        if self._coroutine is not None:
            self._coroutine.close()

    # --- as a dictionary: whatever reads it, loads it

    def __getitem__(self, key: str) -> Any:
        self.load()
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.load()
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self.load()
        super().__delitem__(key)

    def __contains__(self, key: object) -> bool:
        self.load()
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self.load()
        return super().__iter__()

    def __reversed__(self) -> Iterator[str]:
        self.load()
        return super().__reversed__()

    def __len__(self) -> int:
        self.load()
        return super().__len__()

    def __bool__(self) -> bool:
        return len(self) > 0

    def __eq__(self, other: object) -> bool:
        self.load()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        self.load()
        return super().__ne__(other)

    __hash__ = object.__hash__  # type: ignore[assignment]  # asyncio.gather keeps what it awaits in a dictionary

    def __or__(self, other: Any) -> Any:
        return self.load() | other

    def __ror__(self, other: Any) -> Any:
        return other | self.load()

    def __repr__(self) -> str:
        return repr(self.load())

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.load(),)

    def get(self, key: str, default: Any = None) -> Any:
        """As ``dict.get``."""
        self.load()
        return super().get(key, default)

    def keys(self) -> KeysView[str]:  # type: ignore[override]  # dict_keys is one
        """As ``dict.keys``."""
        self.load()
        return super().keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]  # dict_values is one
        """As ``dict.values``."""
        self.load()
        return super().values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # dict_items is one
        """As ``dict.items``."""
        self.load()
        return super().items()

    def copy(self) -> dict[str, Any]:
        """A plain dictionary of the same content."""
        return self.load()

    def pop(self, *args: Any) -> Any:
        """As ``dict.pop``."""
        self.load()
        return super().pop(*args)

    def popitem(self) -> tuple[str, Any]:
        """As ``dict.popitem``."""
        self.load()
        return super().popitem()

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As ``dict.setdefault``."""
        self.load()
        return super().setdefault(key, default)

    def update(self, *args: Any, **values: Any) -> None:
        """As ``dict.update``."""
        self.load()
        super().update(*args, **values)

    def clear(self) -> None:
        """As ``dict.clear``."""
        self.load()
        super().clear()


def _loop_runs() -> bool:
    """Whether this thread is inside an event loop; without asyncio loaded there is none."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001 - get_running_loop would raise
