"""The recorded command lines of pypx 3.6.2, run again with px's own px-* commands."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import golden
from support.pxrun import BIN, clean_environment


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a recorded command line."""

    name: str
    stdout: str
    stderr: str
    returncode: int


def replay(name: str, places: Mapping[str, object], home: Path, env: Mapping[str, str] | None = None) -> Replayed:
    """Run a recorded command line, pipes and quotes included, as a shell of a user's does; a traceback fails."""
    line = golden.text(f"{name}.cmd", {**places, "PXBIN": BIN})
    run = subprocess.run(
        ["sh", "-c", line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=clean_environment(home, env),
        cwd=home,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in run.stderr, f"{line}\n{run.stderr}"
    return Replayed(name, run.stdout, run.stderr, run.returncode)


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ; positions in lists are left out of the path."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {**ours, **theirs}:
            if key not in ours or key not in theirs:
                yield f"{path}.{key}".lstrip(".")
            else:
                yield from differences(ours[key], theirs[key], f"{path}.{key}".lstrip("."))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for one, other in zip(ours, theirs, strict=True):
            yield from differences(one, other, f"{path}[]")
    elif ours != theirs:
        yield path


def in_order(value: Any) -> Any:
    """A document whose lists stand in one order, since a PACS and a directory list in any."""
    if isinstance(value, dict):
        return {key: in_order(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((in_order(item) for item in value), key=_key)
    return value


def _key(value: Any) -> str:
    if isinstance(value, dict):
        found = value.get("StudyInstanceUID" if "series" in value else "SeriesInstanceUID")
        if isinstance(found, dict):
            return str(found.get("value"))
        return str(sorted(value))
    return str(value)
