"""The names of pypx 3 for programs: where they are, what importing them does not do, and what they leave alone."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import pypx
from pypx.compat.legacy_parser import make_parser
from support import golden

FUNCTIONS = ("echo", "find", "listen", "move", "report", "do", "status", "push", "register", "swiftStore")
CLASSES = (
    "Echo", "Find", "Listen", "Move", "Report", "Status", "Do", "Push", "Register", "PfStorage", "swiftStorage",
    "fileStorage",
)  # fmt: skip
MODULES = ("smdb", "repack", "pfstorage", "utils", "base", "api", "errors")
PARSERS = ("find", "do", "push", "register", "repack", "smdb")
FOUND = json.loads(golden.text("08-find-pid.out", {"PACSPORT": 4242, "BASEMOUNT": "/nonexistent"}))


def python(code: str, *args: str, **environ: str) -> str:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args], capture_output=True, text=True, timeout=30, env=environ, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_name_is_there(name: str) -> None:
    found = getattr(pypx, name)
    assert callable(found)
    assert not isinstance(found, ModuleType)
    assert name in dir(pypx)
    assert name in pypx.__all__


@pytest.mark.parametrize("name", MODULES)
def test_module_stays_a_module(name: str) -> None:
    assert isinstance(getattr(pypx, name), ModuleType)


def test_no_other_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        pypx.nosuch  # noqa: B018
    assert not hasattr(pypx, "ns")


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "swiftStore"])
@pytest.mark.parametrize("order", ["module first", "function first", "import module"])
def test_functions_hide_modules_of_the_same_name(name: str, order: str) -> None:
    class_name = name.capitalize()
    lines = {
        "module first": [f"from pypx.{name} import {class_name}", "import pypx"],
        "function first": ["import pypx", f"pypx.{name}", f"from pypx.{name} import {class_name}"],
        "import module": [f"import pypx.{name}", f"import sys; {class_name} = sys.modules['pypx.{name}'].{class_name}"],
    }[order]
    code = "\n".join([*lines, f"print(type(pypx.{name}).__name__, {class_name} is pypx.{class_name})"])
    assert python(code) == "function True"


def test_star_import() -> None:
    assert python("from pypx import *\nprint(callable(find), callable(Register))") == "True True"


def test_import_is_light_and_reaches_nothing() -> None:
    """Defects I16, I17, I24: no command line, no name look-up, no network, logging untouched."""
    code = """
import logging, sys
def hook(event, args):
    assert not event.startswith("socket."), (event, args)
    assert not event.startswith("subprocess."), (event, args)
sys.addaudithook(hook)
import pypx
light = sorted({name.partition(".")[0] for name in sys.modules} & {"pydicom", "requests", "swiftclient", "rich", "click", "asyncio"})
import pypx.find, pypx.do, pypx.push, pypx.register, pypx.repack, pypx.smdb, pypx.report, pypx.status, pypx.pfstorage
pypx.find; pypx.Register
print(light, logging.root.manager.disable, "XDG_CONFIG_HOME" in __import__("os").environ)
"""
    assert python(code, "--bogus", "--JSONargs", "{") == "[] 0 False"


# --- parsers


@pytest.mark.parametrize("name", PARSERS)
def test_parsers_of_the_modules(name: str) -> None:
    module = importlib.import_module(f"pypx.{name}")
    parser = module.parser_setup("what it is for: 100 %")
    assert isinstance(parser, argparse.ArgumentParser)
    answer = module.parser_interpret(parser, ["-v", "3"])
    if name == "repack":
        answer, unknown = module.parser_interpret(parser, ["-v", "3", "--unknown"])
        assert unknown == ["--unknown"]
    assert answer.verbosity == 3
    assert set(vars(answer)) == set(vars(make_parser(name).parse_args([])))
    answer = module.parser_JSONinterpret(parser, {"verbosity": 2})
    assert (answer[0] if name == "repack" else answer).verbosity == 2
    parser.format_help()


# --- functions without a server


def test_no_exception_leaves_the_functions(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    for name in ("find", "echo", "move"):
        document = getattr(pypx, name)({})
        assert document["status"] == "error"
        assert "no PACS address" in document["data"]
    assert pypx.status({"dblogbasepath": log})["status"] is False
    assert pypx.do({"then": "status"})["status"] is False
    assert pypx.push({"str_logDir": log})["status"] is False
    assert pypx.register(argparse.Namespace(str_logDir=log))["status"] is False
    assert pypx.swiftStore({"do": "{}"})["status"] is False
    assert list(tmp_path.iterdir()) == []


def test_find_without_options_reads_no_default_address() -> None:
    assert pypx.find()["status"] == "error"


OPTIONS: dict[str, Any] = {"aet": "A", "json": True, "withFeedBack": True, "then": "status", "PatientID": "1"}


@pytest.mark.parametrize("name", ["find", "do", "status", "push", "move", "echo"])
def test_the_dictionary_of_the_caller_is_left_alone(name: str, tmp_path: Path) -> None:
    """Defect I18."""
    options = {**OPTIONS, "dblogbasepath": str(tmp_path / "log"), "reportData": FOUND}
    before = json.dumps(options)
    getattr(pypx, name)(options)
    assert json.dumps(options) == before


def test_do_with_options_over_those_of_the_document(tmp_path: Path) -> None:
    options = {
        "reportData": FOUND, "then": "status", "thenArgs": "", "dblogbasepath": str(tmp_path / "log"),
        "withFeedBack": False,
    }  # fmt: skip
    document = pypx.do(options)
    assert list(document) == ["do", "00-status"]
    assert json.loads(json.dumps(document)) == dict(document)


def test_feedback_goes_to_stdout_as_pypx_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pypx.do({"reportData": FOUND, "then": "report", "dblogbasepath": str(tmp_path / "log"), "withFeedBack": True})
    shown = capsys.readouterr().out
    assert shown.count("[ STUDY report ]") == 2
    assert "\x1b" not in shown


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert pypx.report({"reportData": FOUND, "printReport": "csv", "csvSeparator": ";"}) is None
    assert capsys.readouterr().out.count("\n") == 3
    text = pypx.report({"reportData": FOUND, "b_json": True})
    assert text is not None
    assert [len(study["body"]) for study in json.loads(text)] == [1, 2]
    assert capsys.readouterr().out == ""
    assert pypx.Report({"reportData": json.dumps(FOUND)}).run({"printReport": "rawText"}) is None
    assert "AccessionNumber" in capsys.readouterr().out


def test_classes_run_with_options_over_their_own(tmp_path: Path) -> None:
    status = pypx.Status({"dblogbasepath": str(tmp_path / "log"), "StudyInstanceUID": "1.2"})
    document = status.run({"SeriesInstanceUID": "1.2.3", "verifySeriesInStudy": True})
    assert document["error"] == "Study not found"


def test_status_with_the_entry_of_a_find(tmp_path: Path) -> None:
    """The later releases hand over the series as find found it."""
    series = FOUND["data"][0]["series"][0]
    document = pypx.status({"dblogbasepath": str(tmp_path / "log"), "series": series, "CUBE": "local"})
    assert document["error"] == "Series not found"


# --- the typed interface


def test_typed_names_are_all_there() -> None:
    api = importlib.import_module("pypx.api")
    assert [name for name in api.__all__ if not hasattr(api, name)] == []
    names = {name for name in vars(api) if not name.startswith("_") and name != "annotations"}
    assert names == set(api.__all__)


def test_every_error_is_among_the_typed_names() -> None:
    api = importlib.import_module("pypx.api")
    kinds = {
        name for name, value in vars(pypx.errors).items() if isinstance(value, type) and issubclass(value, Exception)
    }
    assert kinds <= set(api.__all__)
