"""The Python interface of pypx 3: functions and classes that take an option dictionary and give a document.

None of them raises for what the PACS, a store or an option does: that stands in ``status`` of the document, as with
pypx.  None changes the dictionary it is given, looks anything up when imported, or has an address built in.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from pypx.compat.api_lazy import Result
from pypx.compat.api_output import coloured, emit
from pypx.compat.legacy_call import Call, Document
from pypx.compat.legacy_find import do as run_do
from pypx.compat.legacy_find import find as run_find
from pypx.compat.legacy_peer import echo as run_echo
from pypx.compat.legacy_peer import move as run_move
from pypx.compat.legacy_report import flagged_text, report_blocks, report_text
from pypx.compat.legacy_report import status as run_status
from pypx.compat.report_json import to_document as report_document
from pypx.errors import InputError, PeerFailedError, PxError

Options = Mapping[str, Any] | Namespace

DEFAULT_AET, DEFAULT_AEC = "CHRIS-AET", "CHRIS-AEC"
"""AE titles where none are given; on the command line pypx has others."""

_log = logging.getLogger("pypx")


def make_call(options: Options | None = None) -> Call:
    """The call that an option dictionary (or Namespace) stands for; what is ``None`` or empty counts as not given."""
    values = dict(vars(options)) if isinstance(options, Namespace) else dict(options or {})
    given = {name for name, value in values.items() if value not in (None, "")}
    return Call(values, given, show=emit, say=_log.warning, colour=coloured(), aet=DEFAULT_AET, aec=DEFAULT_AEC)


def document_of(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The find document that ``reportData`` (text or dictionary) or ``reportDataFile`` holds.

    Raises
    ------
    InputError : there is none, or it is none
    """
    from pathlib import Path  # noqa: PLC0415 - rarely needed

    from pypx.compat.find_read import parse_document  # noqa: PLC0415 - as above

    data, file = options.get("reportData"), options.get("reportDataFile")
    if isinstance(data, Mapping):
        return data
    if isinstance(data, str) and data.strip():
        return parse_document(data, "reportData")
    if not file:
        raise InputError("reportData: the document of a find is needed")
    try:
        return parse_document(Path(str(file)).read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise InputError(f"{file}: cannot be read: {why}") from None


def echo(opt: Options | None = None) -> Document:
    """Ask a PACS for a C-ECHO; the document of px-echo."""
    return run_echo(make_call(opt)).document


def move(opt: Options | None = None) -> Document:
    """Have a PACS send a series; the document of px-move."""
    return run_move(make_call(opt)).document


def find(opt: Options | None = None) -> Result:
    """Ask a PACS what it has, and run the verbs of ``then``; the document of px-find.

    ``d = find(opt)``, ``await find(opt)`` and ``asyncio.run(find(opt))`` all work; a running loop is never blocked.
    """
    call = make_call(opt)
    return Result(lambda: run_find(call).document)


def do(opt: Options | None = None) -> Result:
    """Run the verbs of ``then`` over the find document in ``reportData``; may be awaited, as `find`."""
    call = make_call(opt)
    return Result(lambda: _do(call))


def _do(call: Call) -> Document:
    try:
        document = document_of(call.options)
    except InputError as error:
        return {"do": False, "status": False, "error": str(error)}
    own = {name: value for name, value in call.options.items() if name not in {"reportData", "reportDataFile"}}
    return run_do(make_call(own), document).document


def status(opt: Options | None = None) -> Result:
    """How far a series has come, from the database alone; may be awaited, as `find`."""
    call = make_call(opt)
    return Result(lambda: run_status(_with_series(call)).document)


def _with_series(call: Call) -> Call:
    """The call with the UIDs of ``series``, an entry of a find document, where it has none of its own."""
    series = call.options.get("series")
    if not isinstance(series, Mapping):
        return call
    names = ("StudyInstanceUID", "SeriesInstanceUID")
    found = {name: str(series[name].get("value", "")) for name in names if isinstance(series.get(name), Mapping)}
    return make_call({**found, **{name: value for name, value in call.options.items() if name in call.given}})


def report(opt: Options | None = None) -> str | None:
    """Print a report of the find document in ``reportData``; with ``b_json`` return it as JSON text instead."""
    import json  # noqa: PLC0415 - as light as can be

    call = make_call(opt)
    try:
        document = document_of(call.options)
        if call.flag("b_json"):
            return json.dumps(report_document(report_blocks(call, document)), indent=4)
        emit(report_text(call, document))
    except PeerFailedError:
        emit(flagged_text(document, colour=coloured()))
    except PxError as error:
        _log.error("report: %s", error)
    return None


def push(opt: Options | None = None) -> Document:
    """Push the files of a directory; the document of px-push."""
    from pypx.compat.legacy_push import run  # noqa: PLC0415 - loads the clients of stores

    return run(make_call(opt)).document


def register(opt: Options | None = None) -> Document:
    """Register files with CUBE; the document of px-register."""
    from pypx.compat.legacy_register import run  # noqa: PLC0415 - loads the client of CUBE

    return run(make_call(opt)).document


def swiftStore(opt: Options | None = None) -> Document:
    """Do what ``do`` says in a store; the document of pfstorage."""
    from pypx.compat.legacy_pfstorage import run  # noqa: PLC0415 - loads the clients of stores

    return run(make_call(opt)).document


def listen(opt: Options | None = None) -> None:
    """Receive until the process is told to stop.

    Raises
    ------
    PxError : the port or the BASEMOUNT cannot be had
    """
    from pypx.compat.legacy_listen import run  # noqa: PLC0415 - only listeners need it

    run(make_call(opt), _log.warning)


# --- classes: made of options, run by .run()


class Base:
    """A verb with its options; ``.run()`` does it, with further options over the first."""

    does: Callable[[Options | None], Any]

    def __init__(self, arg: Options | None = None) -> None:
        self.arg = dict(vars(arg)) if isinstance(arg, Namespace) else dict(arg or {})

    def run(self, opt: Options | None = None) -> Any:
        """Do it; returns what the function of the same name returns."""
        more = dict(vars(opt)) if isinstance(opt, Namespace) else dict(opt or {})
        return type(self).does({**self.arg, **more})


class Echo(Base):
    """:func:`echo` as a class."""

    does = staticmethod(echo)


class Find(Base):
    """:func:`find` as a class."""

    does = staticmethod(find)


class Move(Base):
    """:func:`move` as a class."""

    does = staticmethod(move)


class Report(Base):
    """:func:`report` as a class."""

    does = staticmethod(report)


class Status(Base):
    """:func:`status` as a class."""

    does = staticmethod(status)


class Do(Base):
    """:func:`do` as a class."""

    does = staticmethod(do)


class Push(Base):
    """:func:`push` as a class."""

    does = staticmethod(push)


class Register(Base):
    """:func:`register` as a class; its options may be a Namespace."""

    does = staticmethod(register)


class Listen(Base):
    """:func:`listen` as a class."""

    does = staticmethod(listen)


class PfStorage(Base):
    """:func:`swiftStore` as a class."""

    does = staticmethod(swiftStore)


class swiftStorage(PfStorage):  # noqa: N801 - pypx's name
    """A store by address (``str_swiftIP`` and so on)."""


class fileStorage(PfStorage):  # noqa: N801 - pypx's name
    """A store in a directory (``str_storeBaseLocation``)."""


__all__ = [
    "Base", "Do", "Echo", "Find", "Listen", "Move", "PfStorage", "Push", "Register", "Report", "Status", "do", "echo",
    "fileStorage", "find", "listen", "move", "push", "register", "report", "status", "swiftStorage", "swiftStore",
]  # fmt: skip
