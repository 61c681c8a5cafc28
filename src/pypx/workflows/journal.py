"""The journal of a verification: which series an unfinished run found in order."""

from __future__ import annotations

import json
from contextlib import suppress

from pypx.db.files import open_to_append
from pypx.db.layout import Layout
from pypx.db.tables import make_dirs
from pypx.model.drift import SeriesDrift
from pypx.model.identifiers import UID


class Journal:
    """``log/.verify/journal.jsonl``, a line a series.

    Parameters
    ----------
    deep : whether checksums are compared; what another run only looked at then does not count
    resume : heed what an unfinished run wrote, instead of removing it
    write : whether to write; without, nothing is removed either
    """

    def __init__(self, layout: Layout, *, deep: bool, resume: bool, write: bool) -> None:
        self._path = layout.log / ".verify" / "journal.jsonl"
        self._write = write
        self._deep = deep
        self._known: set[str] = set()
        self._modes = layout.modes
        if resume:
            with suppress(OSError, ValueError):
                lines = [json.loads(line) for line in self._path.read_text().splitlines()]
                self._known = {line["series"] for line in lines if line["deep"] or not deep}
        elif write and self._path.exists():
            self._path.unlink()

    def knows(self, series: UID) -> bool:
        """Whether the unfinished run found this series in order."""
        return series in self._known

    def note(self, result: SeriesDrift) -> None:
        """Note a series that is in order."""
        if self._write and result.ok:
            make_dirs(self._path.parent, self._modes.directory)
            with open_to_append(self._path, self._modes.file) as stream:
                stream.write(json.dumps({"series": result.SeriesInstanceUID, "deep": self._deep}) + "\n")

    def end(self) -> None:
        """Forget the run: it is done."""
        if self._write:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
                self._path.parent.rmdir()
