"""Rules that ruff does not know or that nobody may switch off with a comment."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import pypx

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYTHON = SOURCES + sorted(path for name in ("tests", "benchmarks", "docs") for path in (ROOT / name).rglob("*.py"))
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
