"""A `docker` (or `podman`) on PATH that runs the entry point of docker/ on this machine instead of in a container.

`python container.py RECORD IMAGES run --rm -v A:B IMAGE words…`: RECORD gets a JSON line a call, IMAGES is a comma
list of what `image inspect` knows. A path below a container's directory of a volume becomes the one on this side.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENTRYPOINT = ROOT / "docker" / "entrypoint.py"
FLAGS = {"--rm", "-t", "-i", "-ti", "-it", "--tty", "--interactive"}


@dataclass(frozen=True, slots=True)
class StandIn:
    """A directory for PATH, and what was called."""

    directory: Path
    record: Path

    def calls(self) -> list[dict[str, Any]]:
        """Every `run` so far: `options`, `volumes`, `environment`, `image` and `words`."""
        return [json.loads(line) for line in self.record.read_text().splitlines()] if self.record.exists() else []


def make_stand_in(directory: Path, name: str = "docker", images: str = "local/pypx") -> StandIn:
    """Write the program `name` into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    record = directory.parent / f"{name}.jsonl"
    program = directory / name
    words = [sys.executable, str(Path(__file__).resolve()), str(record), images]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o755)
    return StandIn(directory, record)


def _read_run(words: list[str]) -> dict[str, Any]:
    call: dict[str, Any] = {"options": [], "volumes": [], "environment": {}}
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if name not in FLAGS and not equals:
            value = rest.pop(0)
        if name in {"-v", "--volume"}:
            call["volumes"].append(value.split(":")[:2])
        elif name in {"-e", "--env"}:
            variable, given, text = value.partition("=")
            call["environment"][variable] = text if given else os.environ[variable]
        else:
            call["options"].append(f"{name}={value}" if value else name)
    call["image"], *call["words"] = rest
    return call


def main(record: str, images: str, words: list[str]) -> int:
    """Do what `docker` would do with these words."""
    if words[:2] == ["image", "inspect"]:
        return 0 if words[2] in images.split(",") else 1
    if words[0] == "build":
        return 0 if (Path(words[-1]) / "Dockerfile").is_file() else 1
    call = _read_run(words[1:])
    with Path(record).open("a") as log:
        log.write(json.dumps(call) + "\n")

    def outside(text: str) -> str:
        for host, inside in call["volumes"]:
            if host != inside:
                text = text.replace(inside, host)
        return text

    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": os.environ["HOME"],
        "LANG": "C.UTF-8",
        "PX_BASEMOUNT": outside("/home/dicom"),
        "PX_LISTEN_PORT": "11113",
        **call["environment"],
    }
    argv = [sys.executable, "-I", str(ENTRYPOINT), *map(outside, call["words"])]
    return subprocess.run(argv, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
