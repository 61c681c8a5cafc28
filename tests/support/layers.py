"""Which module of pypx may import what; read from the source, nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

RANK = {"cli": 5, "compat": 4, "workflows": 3, "services": 2, "db": 2, "model": 1, "errors": 0}
"""Imports go from a higher rank to a lower one or stay in their package; services and db share a rank, so neither
imports the other."""

CONFINED = {
    "subprocess": ("services/process.py",),
    "pydicom": ("services/dicomfile.py", "services/dicomstructure.py"),
    "click": ("cli/",),
    "rich": ("cli/",),
    "filelock": ("db/files.py",),
    "socket": (
        *(f"workflows/{name}.py" for name in ("listen", "door", "supervisor", "worker", "toolcheck", "knownpacs")),
        *(f"workflows/{name}.py" for name in ("tlsdoor", "tlsterminal", "serving", "pace")),
        *(f"services/{name}.py" for name in ("tlspump", "tlsrelay")),
        "workflows/ahead.py",  # hands open files from process to process
    ),
    "ssl": (
        *(f"services/{name}.py" for name in ("tlscontext", "tlspump", "tlsrelay")),
        "workflows/tlsterminal.py",
    ),
    "shelve": (),
    "pickle": (),
    "pty": (),
    "pynetdicom": (),
    "pytest": (),
}
"""Modules that only the named files (or a whole package, with a slash) may import."""

PROCESS_STARTERS = {"system", "popen", "fork", "posix_spawn", "posix_spawnp", "execv", "execve", "execvp", "execvpe"}
CONSOLE = "cli/console.py"
STDOUT = (CONSOLE, "compat/api_output.py")
"""What may write to stdout: the command line, and the Python functions of pypx 3 that print."""


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name, absolute, and where it stands."""

    name: str
    line: int


def imports(tree: ast.Module, path: PurePosixPath) -> Iterator[Import]:
    """Every import of a module, at its top or inside a function, also those by importlib with a plain text."""
    package = ("pypx", *path.parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield from (Import(f"{module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            yield from (
                Import(argument.value, node.lineno)
                for argument in node.args[:1]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            )


def violations(source: str, path: PurePosixPath) -> list[str]:
    """What a module, its path relative to src/pypx, does that its layer may not; a line each."""
    tree = ast.parse(source)
    found = []
    for item in imports(tree, path):
        parts = item.name.split(".")
        reason = _refused_own(parts, path) if parts[0] == "pypx" else _refused_foreign(parts[0], path)
        if reason:
            found.append(f"{path}:{item.line}: {reason}")
    return found + [f"{path}:{line}: {reason}" for line, reason in _refused_calls(tree, path)]


def _layer(path: PurePosixPath) -> str:
    """The package of a module; one directly under pypx is `errors` or part of the public skin."""
    return path.parts[0] if len(path.parts) > 1 else path.stem


def _refused_own(parts: list[str], path: PurePosixPath) -> str:
    importer = _layer(path)
    if importer == "__main__":
        importer = "cli"
    imported = parts[1] if len(parts) > 1 else ""
    if imported not in RANK:
        allowed = importer == "cli" and imported == "__version__"
        return "" if allowed else f"{importer} imports {'.'.join(parts)}, which belongs to the public skin"
    if importer not in RANK:  # pypx/__init__.py and older import paths re-export; the command line is not for them
        return f"{importer} imports the command line" if imported == "cli" else ""
    if importer == imported or RANK[importer] > RANK[imported]:
        return ""
    direction = "sideways" if RANK[importer] == RANK[imported] else "upwards"
    return f"{importer} imports {direction}: {'.'.join(parts)}"


def _refused_foreign(module: str, path: PurePosixPath) -> str:
    places = CONFINED.get(module)
    if places is None or any(
        str(path) == place or (place.endswith("/") and str(path).startswith(place)) for place in places
    ):
        return ""
    return f"imports {module}, which only {' and '.join(places) or 'no module of px'} may"


def _refused_calls(tree: ast.Module, path: PurePosixPath) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            if str(path) != CONSOLE:
                yield node.lineno, f"print() outside {CONSOLE}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "sys" and node.attr in {"stdout", "__stdout__"} and str(path) not in STDOUT:
                yield node.lineno, f"sys.{node.attr} outside {CONSOLE}"
            if node.value.id == "os" and node.attr in PROCESS_STARTERS:
                yield node.lineno, f"os.{node.attr} starts a program outside services/process.py"


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""
