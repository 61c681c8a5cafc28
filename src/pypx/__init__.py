"""pypx: query, retrieve, file and hand on DICOM images from a PACS.

The functions and classes of pypx 3 are here (``pypx.find(options)``), loaded when they are asked for; programs that are
written anew use :mod:`pypx.api`, typed records and functions.
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False  # that of typing is ten milliseconds away, in which px would not be master of its ^C yet

__version__ = "4.0.0"

_MODULES = frozenset({"api", "base", "errors", "pfstorage", "repack", "smdb", "utils"})
_NAMES = frozenset({
    "Do", "Echo", "Find", "Listen", "Move", "PfStorage", "Push", "Register", "Report", "Status", "do", "echo",
    "fileStorage", "find", "listen", "move", "push", "register", "report", "status", "swiftStorage", "swiftStore",
})  # fmt: skip

if TYPE_CHECKING:
    from typing import Any

    from pypx.compat.api import (
        Do,
        Echo,
        Find,
        Listen,
        Move,
        PfStorage,
        Push,
        Register,
        Report,
        Status,
        do,
        echo,
        fileStorage,
        find,
        listen,
        move,
        push,
        register,
        report,
        status,
        swiftStorage,
        swiftStore,
    )

__all__ = [
    "Do", "Echo", "Find", "Listen", "Move", "PfStorage", "Push", "Register", "Report", "Status", "__version__", "do",
    "echo", "fileStorage", "find", "listen", "move", "push", "register", "report", "status", "swiftStorage",
    "swiftStore",
]  # fmt: skip


class _Package(ModuleType):
    """The package: importing ``pypx.find``, the module, leaves ``pypx.find``, the function, where it is."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _NAMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    import importlib  # noqa: PLC0415 - not needed by px

    if name in _NAMES:
        found = getattr(importlib.import_module("pypx.compat.api"), name)
        globals()[name] = found
        return found
    if name in _MODULES:
        return importlib.import_module(f"pypx.{name}")
    raise AttributeError(f"module 'pypx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_MODULES})


sys.modules[__name__].__class__ = _Package
