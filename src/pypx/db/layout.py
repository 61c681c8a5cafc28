"""Where each file of a BASEMOUNT is; builds paths, opens none.

::

    <BASEMOUNT>/data/        packed files
    <BASEMOUNT>/log/         the smdb: patientData/ studyData/ seriesData/, format.json, .locks/
    <BASEMOUNT>/services/    named PACS, storage and CUBE entries
    <BASEMOUNT>/incoming/    spool of listeners; conflicts/ and rejected/ in it

Names and places of the tables are those of pypx 3, so that both can work on one BASEMOUNT.
"""

from __future__ import annotations

import os
import re
from dataclasses import field
from enum import Enum
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pypx.errors import DatabaseError
from pypx.model.dataclass import dataclass

DIR_MODE = 0o750
FILE_MODE = 0o640

SERIES_TABLES = ("meta", "retrieve", "pack", "push", "register")
"""The tables a series can have under ``seriesData/``, as in ``<SeriesInstanceUID>-<table>.json``."""


class Share(str, Enum):
    """Whom the directories and files of a BASEMOUNT are made for; services/ is for its owner, always."""

    OWNER = "owner"
    GROUP = "group"
    GROUP_WRITE = "group-write"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Modes:
    """Permissions of new directories and files, whatever the umask."""

    directory: int = DIR_MODE
    file: int = FILE_MODE

    @classmethod
    def of(cls, share: Share) -> Modes:
        """Those for `share`; what a group writes together hands its group down (set-group-ID)."""
        return _MODES[share]


_MODES = {
    Share.OWNER: Modes(0o700, 0o600),
    Share.GROUP: Modes(DIR_MODE, FILE_MODE),
    Share.GROUP_WRITE: Modes(0o2770, 0o660),
    Share.ALL: Modes(0o755, 0o644),
}
SECRET = Modes(0o700, 0o600)
"""Of the files that hold passwords, and of their directory."""

_PLAIN = re.compile(r"(?!\.)[ -$&-.0-\[\]-~]{1,200}")
_PLAIN_CHARACTER = re.compile(r"[ -$&-.0-\[\]-~]")
_MAX_NAME = 200
_MAX_FILE_NAME = 250  # with .json, what Linux file systems take
_DIGEST = 32


def encode_name(value: str) -> str:
    r"""Make one file name of a value; different values give different names.

    Parameters
    ----------
    value : any text, such as a PatientID

    Returns
    -------
    `value` itself where it is a plain file name: printable ASCII without ``/``, ``\`` and ``%``, not beginning with a
    dot.  Other characters are percent-encoded (UTF-8), the empty text is ``%``.  At most 200 bytes, all ASCII: a longer
    name is cut and ends in ``%-`` and 32 digits of the SHA-256 of the value.
    """
    if _PLAIN.fullmatch(value):
        return value
    if not value:
        return "%"
    encoded = "".join(
        character if _PLAIN_CHARACTER.match(character) and (position or character != ".") else _percent(character)
        for position, character in enumerate(value)
    )
    if len(encoded) <= _MAX_NAME:
        return encoded
    import hashlib  # noqa: PLC0415 - OpenSSL takes longer than the rest, for long names only

    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    kept = re.sub(r"%[0-9A-F]?$", "", encoded[: _MAX_NAME - _DIGEST - 2])
    return f"{kept}%-{digest}"


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=64)
def _inside(log: Path) -> str:
    """What the paths in the BASEMOUNT of a log directory begin with."""
    base = log.parent
    return f"{base}{os.sep}" if base != base.parent else os.sep


@dataclass(frozen=True, slots=True)
class Layout:
    """The directories of one BASEMOUNT, as absolute paths; `modes` are those of what is made in them."""

    log: Path
    data: Path
    services: Path
    incoming: Path
    modes: Modes = field(default=Modes(), compare=False)

    @classmethod
    def of_basemount(cls, root: Path) -> Layout:
        """The layout of a BASEMOUNT at `root`."""
        return cls.of_log(root / "log")

    @classmethod
    def of_log(cls, log: Path, data: Path | None = None) -> Layout:
        """The layout around a log directory: services and incoming lie beside it, and data too unless given."""
        log = Path(os.path.abspath(log))  # noqa: PTH100 - resolve() would follow symbolic links
        base = log.parent
        data = base / "data" if data is None else Path(os.path.abspath(data))  # noqa: PTH100 - as above
        return cls(log=log, data=data, services=base / "services", incoming=base / "incoming")

    @property
    def base(self) -> Path:
        """The BASEMOUNT itself; paths in image records are relative to it."""
        return self.log.parent

    @property
    def patient_dir(self) -> Path:
        """Where the patient tables are."""
        return self.log / "patientData"

    @property
    def study_dir(self) -> Path:
        """Where the study tables are, and a directory of series tables per study."""
        return self.log / "studyData"

    @property
    def series_dir(self) -> Path:
        """Where the series tables and image records are."""
        return self.log / "seriesData"

    @property
    def format_file(self) -> Path:
        """What says the format and the path templates of this BASEMOUNT; absent in one that pypx made."""
        return self.log / "format.json"

    @property
    def index_file(self) -> Path:
        """What the tables of all series said when they were last read: a cache for searches, which may be absent."""
        return self.log / ".index.jsonl"

    @property
    def format3(self) -> Path:
        """Where a migration puts what only format 3 needs, under the names it had below ``log/``."""
        return self.log / ".format3"

    @property
    def peers_file(self) -> Path:
        """What was learned of each PACS, such as a level it refuses."""
        return self.log / "peers.json"

    def patient_table(self, PatientID: str) -> Path:
        """The table of a patient, ``patientData/<PatientID>.json``."""
        return self.patient_dir / f"{encode_name(PatientID)}.json"

    def pypx_patient_table(self, PatientID: str) -> Path | None:
        """Where pypx 3 keeps the table of a patient whose name px encodes; ``None`` where it cannot or is the same."""
        if PatientID == encode_name(PatientID) or not PatientID.isprintable() or "/" in PatientID:
            return None
        try:
            too_long = len(os.fsencode(PatientID)) > _MAX_FILE_NAME
        except UnicodeEncodeError:  # the encoding of file names here has no such characters
            return None
        return None if too_long else self.patient_dir / f"{PatientID}.json"

    def study_table(self, StudyInstanceUID: str) -> Path:
        """The table of a study."""
        return self.study_dir / f"{encode_name(StudyInstanceUID)}-meta.json"

    def study_series_dir(self, StudyInstanceUID: str) -> Path:
        """The directory that lists the series of a study, a table each."""
        return self.study_dir / f"{encode_name(StudyInstanceUID)}-series"

    def study_series_table(self, StudyInstanceUID: str, SeriesInstanceUID: str) -> Path:
        """The table of a series within its study; holds the recorded header of its first file."""
        return self.study_series_dir(StudyInstanceUID) / f"{encode_name(SeriesInstanceUID)}-meta.json"

    def series_table(self, SeriesInstanceUID: str, name: str) -> Path:
        """A table of a series; `name` is one of `SERIES_TABLES`."""
        return self.series_dir / f"{encode_name(SeriesInstanceUID)}-{name}.json"

    def series_log(self, SeriesInstanceUID: str, name: str) -> Path:
        """An append-only file of a series, a JSON object a line; `name` is ``img``, ``ledger`` and the like."""
        return self.series_dir / f"{encode_name(SeriesInstanceUID)}-{name}.jsonl"

    def image_dir(self, SeriesInstanceUID: str) -> Path:
        """The image records of a series in format 3, a file each."""
        return self.series_dir / f"{encode_name(SeriesInstanceUID)}-img"

    def image_log(self, SeriesInstanceUID: str) -> Path:
        """The image records of a series in format 4, a line each."""
        return self.series_log(SeriesInstanceUID, "img")

    def lock(self, kind: str, key: str) -> Path:
        """The lock file of `key`; keys share at most 256 lock files a kind, which are never removed."""
        import hashlib  # noqa: PLC0415 - as above: who only reads locks nothing

        stripe = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:2]
        return self.log / ".locks" / f"{encode_name(kind)}-{stripe}.lock"

    def relative(self, path: Path | str) -> str:
        """How records name a file: relative to the BASEMOUNT (POSIX) if inside it, else absolute."""
        absolute = os.path.abspath(path)  # noqa: PTH100 - resolve() would follow symbolic links
        prefix = _inside(self.log)
        return absolute[len(prefix) :].replace(os.sep, "/") if absolute.startswith(prefix) else absolute

    def relative_of(self, text: str) -> str:
        """How records name the file that an older record names in some other way.

        Raises
        ------
        DatabaseError : see `resolve`
        """
        prefix = f"{self.base}{os.sep}"
        plain = text.startswith(prefix) and "\0" not in text and os.path.normpath(text) == text
        return text[len(prefix) :].replace(os.sep, "/") if plain else self.relative(self.resolve(text))

    def resolve(self, text: str) -> Path:
        """The file that a record names; the inverse of `relative`.

        Raises
        ------
        DatabaseError : empty, holds a NUL, or a relative path that leaves the BASEMOUNT by ``..``
        """
        path = PurePosixPath(text)
        if not text or "\0" in text or (not path.is_absolute() and ".." in path.parts):
            what = "which is no path in a BASEMOUNT"
            raise DatabaseError(
                f"{self.log}: a record names a file, {what}",
                detail=f"{self.log}: a record names the file {text!r}, {what}",
            )
        return self.base / path
