"""The floor of register: the same POSTs, one after the other over one kept connection, and nothing else.

    python benchmarks/posts.py URL USER PASSWORD BODIES.json

BODIES.json is a list of what `px register` sent, an object a file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import requests


def main(url: str, user: str, password: str, bodies: Path) -> None:
    with requests.Session() as session:
        session.auth = (user, password)
        session.headers["Accept"] = "application/json"
        for body in json.loads(bodies.read_text()):
            session.post(f"{url}pacsfiles/", json=body, timeout=60).raise_for_status()


if __name__ == "__main__":
    _, url, user, password, bodies = sys.argv
    main(url, user, password, Path(bodies))
