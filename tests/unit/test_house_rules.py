"""Rules that ruff does not know or that nobody may switch off with a comment."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import pypx
from pypx.services.dicomtags import TAGS

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYTHON = SOURCES + sorted(
    path
    for name in ("tests", "benchmarks", "docs")
    for path in (ROOT / name).rglob("*.py")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)  # environments, such as .pypx3
)
MAX_LINES = 400

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")


def complaints(source: str, *, of_package: bool) -> list[str]:
    """What a Python file does against the rules, a line each."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{node.lineno}: bare except")
        if isinstance(node, ast.keyword) and node.arg == "shell" and _truth(node.value) is not False:
            found.append(f"{node.value.lineno}: shell")
        if isinstance(node, ast.Call) and _name(node.func) in {"breakpoint", "set_trace", "eval", "exec"}:
            found.append(f"{node.lineno}: {_name(node.func)}()")
    if of_package:
        lines = source.splitlines()
        found += [f"{n}: unfinished: {line.strip()}" for n, line in enumerate(lines, 1) if UNFINISHED.search(line)]
        if len(lines) >= MAX_LINES:
            found.append(f"{len(lines)}: as long as a module may be is {MAX_LINES - 1} lines")
    return found


def _truth(node: ast.expr) -> bool | None:
    return bool(node.value) if isinstance(node, ast.Constant) else None


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_keeps_the_rules(path: Path) -> None:
    assert complaints(path.read_text(), of_package=path in SOURCES) == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("try:\n    pass\nexcept:\n    pass", "3: bare except"),
        ("run('id', shell=True)", "1: shell"),
        ("run('id', shell=flag)", "1: shell"),
        ("breakpoint()", "1: breakpoint()"),
        ("import pdb\npdb.set_trace()", "2: set_trace()"),
        ("eval('1')", "1: eval()"),
        ("x = 1  # TODO: finish", "1: unfinished: x = 1  # TODO: finish"),
        ("raise NotImplementedError", "1: unfinished: raise NotImplementedError"),
        ("x = 1\n" * 400, "400: as long as a module may be is 399 lines"),
    ],
)
def test_rules_see_what_is_wrong(source: str, complaint: str) -> None:
    assert complaints(source, of_package=True) == [complaint]


JOINS = {"Path", "PurePath", "PurePosixPath", "joinpath", "with_name", "with_stem"}
PATH_BUILDERS = {"db/layout.py", "model/packpath.py"}
"""What makes paths of values; all others get their paths from these."""
CHECKED_NAMES = {("workflows/filing.py", "SeriesInstanceUID")}
"""A UID of a header, which has been read only if it is one: digits and dots."""


def joined_values(source: str) -> list[str]:
    """Values of DICOM attributes and AE titles that a Python file joins to a path by itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = [node.right]
        elif isinstance(node, ast.Call) and _name(node.func) in JOINS:
            parts = list(node.args)
        else:
            continue
        parts = [part for part in parts if not _is_built(part)]
        words = {_word(inner) for part in parts for inner in ast.walk(part)}
        found += sorted(words & (TAGS.keys() | {"tags", "calling_aet", "called_aet"}))
    return found


def _is_built(part: ast.expr) -> bool:
    """Whether it is ``pack_path(…).file``."""
    inner = part.value if isinstance(part, ast.Attribute) else part
    return isinstance(inner, ast.Call) and _name(inner.func) == "pack_path"


def _word(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return _name(node) if isinstance(node, ast.expr) else ""


def test_one_place_builds_paths_from_values() -> None:
    """The second call site is the one that is forgotten when the first is made safe."""
    package = ROOT / "src" / "pypx"
    found = {
        (path.relative_to(package).as_posix(), word) for path in SOURCES for word in joined_values(path.read_text())
    }
    assert {place for place in found if place[0] not in PATH_BUILDERS} == CHECKED_NAMES


@pytest.mark.parametrize(
    "source",
    [
        "root / PatientID",
        "root / tags['PatientName']",
        "Path(root, instance.PatientID)",
        "root.joinpath(f'{study.StudyDescription}.json')",
        "path.with_name(request.calling_aet)",
        "root / legal_component(instance.tags[key])",
    ],
)
def test_a_second_place_would_be_seen(source: str) -> None:
    assert joined_values(source)
    assert joined_values("root / pack_path(templates, instance.tags).file") == []


def test_version_is_defined_once() -> None:
    definition = re.compile(r"""(?m)^\s*(__version__|VERSION|version)\s*(:\s*\w+\s*)?=\s*["']\d+\.""")
    places = [path.relative_to(ROOT) for path in SOURCES if definition.search(path.read_text())]
    assert places == [Path("src/pypx/__init__.py")]
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", pypx.__version__)
    settings = (ROOT / "pyproject.toml").read_text()
    assert not definition.search(settings)
    assert 'dynamic = ["version"]' in settings


def test_every_package_says_what_it_is_for() -> None:
    packages = sorted((ROOT / "src" / "pypx").rglob("__init__.py"))
    assert [str(path) for path in packages if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_public_names_stand_in_no_core_module() -> None:
    """A function pypx.find and a module pypx/find.py would hide each other; only re-exports of compat may be so."""
    for path in (ROOT / "src" / "pypx").glob("*.py"):
        if path.stem in {"__init__", "__main__", "errors"}:
            continue
        tree = ast.parse(path.read_text())
        code = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr))]
        assert code == [], f"{path.name} holds code; directly under pypx only re-exports may lie"
