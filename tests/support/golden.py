"""The recorded outputs of pypx 3.6.2, and what has to be done to them before anything can be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "pypx-3.6.2"
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LINE_DRAWING = re.compile(r"\x1b\(0(.*?)\x1b\(B")
_VT100 = str.maketrans("lqkxmjwvtun", "┌─┐│└┘┬┴├┤┼")
_NO_VALUE = re.compile(r"no value provided for [0-9a-f]{4},[0-9a-f]{4}")


def text(name: str, places: Mapping[str, object] | None = None) -> str:
    """A recorded file; `places` fills placeholders such as ``<BASEMOUNT>``."""
    found = (GOLDEN / name).read_text()
    for place, value in (places or {}).items():
        found = found.replace(f"<{place}>", str(value))
    return found


def document(name: str, places: Mapping[str, object] | None = None) -> Any:
    """A recorded JSON document."""
    return json.loads(text(name, places))


def plain(recorded: str) -> str:
    """Without colours, and with lines drawn in Unicode instead of by switching the terminal's character set."""
    return _ANSI.sub("", _LINE_DRAWING.sub(lambda found: found[1].translate(_VT100), recorded))


def without_sentences(value: Any) -> Any:
    """A document with ``""`` where pypx wrote that no value was provided."""
    if isinstance(value, dict):
        return {key: without_sentences(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_sentences(item) for item in value]
    return "" if isinstance(value, str) and _NO_VALUE.fullmatch(value) else value


def make_basemount(root: Path) -> Path:
    """The BASEMOUNT that pypx left after its retrieve: its tables as recorded, its image files empty."""
    recorded = GOLDEN / "json-retrieve"
    for path in recorded.rglob("*.json"):
        target = root / path.relative_to(recorded)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text().replace("<BASEMOUNT>", str(root)))
    for line in tree("tree-retrieve.txt"):
        if line.endswith(".dcm"):
            image = root / line
            image.parent.mkdir(parents=True, exist_ok=True)
            image.touch()
    return root


def tree(name: str) -> list[str]:
    """A recorded tree: paths relative to the BASEMOUNT."""
    return [line.removeprefix("./") for line in text(name).splitlines()]
