"""One call of the older interface: its options, and what they mean for the typed core."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypx.compat.legacy_options import DEFAULT_AEC, DEFAULT_AET, DEFAULT_PORT, TMP_LOG
from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.errors import InputError, PxError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import parse_ae_title, parse_host, parse_port
from pypx.model.packpath import Templates
from pypx.model.pacs import PacsNode, TlsSettings
from pypx.model.tls import TLS_FIELDS, tls_of

if TYPE_CHECKING:
    from pypx.services.dcmtk import Limits, Programs

Document = dict[str, Any]

_PEER = {"serverIP": "PX_SERVER_IP", "serverPort": "PX_SERVER_PORT", "aec": "PX_AEC", "aet": "PX_AET"}
_TEMPLATES = {
    "root": "str_rootDirTemplate", "study": "str_studyDirTemplate", "series": "str_seriesDirTemplate",
    "image": "str_imageTemplate",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to: the document of pypx, and the error that the exit code is of (``None``: all is well)."""

    document: Document
    trouble: PxError | None = None


def _nothing(_text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the older interface.

    `options` are all by pypx's attribute names; `given` names those that were given, the others are defaults.  `show`
    gets the lines of ``--withFeedBack``, `say` words for people, one line each.
    """

    options: Mapping[str, Any]
    given: Collection[str]
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    show: Callable[[str], None] = _nothing
    say: Callable[[str], None] = _nothing
    colour: bool = False
    aet: str = DEFAULT_AET
    aec: str = DEFAULT_AEC

    def text(self, name: str, default: str = "") -> str:
        """An option as text; ``default`` where it is absent or empty."""
        value = self.options.get(name)
        return default if value in (None, "") else str(value)

    def flag(self, name: str) -> bool:
        """Whether a flag is set."""
        return truth(self.options.get(name))

    def words(self, name: str) -> tuple[str, ...]:
        """The parts of a comma list."""
        return tuple(part.strip() for part in self.text(name).split(",") if part.strip())

    @property
    def verbosity(self) -> int:
        """How much to say; 1 where that is no number."""
        try:
            return int(self.text("verbosity", "1"))
        except ValueError:
            return 1

    def chosen(self, name: str) -> str:
        """An option as text if it was given, else ``""``."""
        return self.text(name) if name in self.given else ""

    # --- the PACS

    def node(self) -> PacsNode:
        """The PACS: option, ``PX_*`` variable, named PACS, default; of the address there is no default.

        Raises
        ------
        InputError : no address, an unknown name, or a value that cannot be used
        """
        values = {name: self.chosen(name) or self.environ.get(variable, "") for name, variable in _PEER.items()}
        key = self.chosen("PACS") or self.environ.get("PX_PACS", "")
        entry = self._named_pacs(key, needed=not all(values.values())) if key else {}
        values = {name: text or str(entry.get(name) or "") for name, text in values.items()}
        if not values["serverIP"]:
            raise InputError(
                "no PACS address: give --serverIP HOST and --serverPort PORT (PX_SERVER_IP, PX_SERVER_PORT), or name"
                " a PACS with --PACS KEY; px has no built-in one"
            )
        calling = parse_ae_title(values["aet"] or self.aet, "aet")
        return PacsNode(
            host=parse_host(values["serverIP"], "serverIP"),
            port=parse_port(values["serverPort"] or DEFAULT_PORT, "serverPort"),
            called_aet=parse_ae_title(values["aec"] or self.aec, "aec"),
            calling_aet=calling,
            move_destination=calling,
            tls=self._tls(entry),
        )

    def _named_pacs(self, key: str, *, needed: bool) -> Mapping[str, str]:
        """The entry of a named PACS; one that is not `needed` for an address may be unknown."""
        named = any(self.chosen(name) for name in ("dblogbasepath", "str_logDir", "log_directory"))
        if not needed and not (named or self.environ.get("PX_DB") or self.environ.get("PX_BASEMOUNT")):
            return {}
        keys = ServiceKeys(self.layout())
        return keys.pacs(key) if needed or key in keys.names("pacs") else {}

    def _tls(self, entry: Mapping[str, str]) -> TlsSettings | None:
        """TLS as variables and the entry of the PACS say: the commands of pypx have no options for it."""
        values = {field: self.environ.get(f"PX_{field.upper()}") or entry.get(field, "") for field in TLS_FIELDS}
        return tls_of(values, {}, self.environ.get("PX_TLS_KEY_PASSWORD"), what="PX_TLS")

    def programs(self) -> Programs:
        """The programs of DCMTK: as given, ``PX_FINDSCU`` and the like, else those on the path."""
        from pypx.services.dcmtk import Programs  # noqa: PLC0415 - px-repack, once an image, needs none

        names = ("echoscu", "findscu", "movescu", "storescp")
        found = {name: self.chosen(name) or self.environ.get(f"PX_{name.upper()}", "") for name in names}
        return Programs(**{name: text for name, text in found.items() if text})

    def limits(self) -> Limits:
        """Time limits; ``PX_TIMEOUT``, ``PX_ACSE_TIMEOUT`` and ``PX_DIMSE_TIMEOUT`` change them.

        Raises
        ------
        InputError : one of them is no number of seconds
        """
        from pypx.services.dcmtk import Limits  # noqa: PLC0415 - as above

        variables = {"connect_s": "PX_TIMEOUT", "acse_s": "PX_ACSE_TIMEOUT", "dimse_s": "PX_DIMSE_TIMEOUT"}
        return Limits(
            **{name: seconds(self.environ[key], key) for name, key in variables.items() if key in self.environ}
        )

    # --- the BASEMOUNT

    def layout(self) -> Layout:
        """Where the database is: the option, ``PX_DB``, ``PX_BASEMOUNT``; else ``/tmp/log``, with a warning.

        Raises
        ------
        InputError : ``/tmp/log`` would be taken, and is another user's
        """
        log = self.chosen("dblogbasepath") or self.chosen("str_logDir") or self.chosen("log_directory")
        data = self.chosen("str_dataDir") or self.chosen("data_directory") or self.environ.get("PX_DATADIR", "")
        root = Path(data).absolute() if data else None
        if not log and not self.environ.get("PX_DB") and self.environ.get("PX_BASEMOUNT"):
            found = Layout.of_basemount(Path(self.environ["PX_BASEMOUNT"]).absolute())
            return Layout.of_log(found.log, root) if root else found
        log = log or self.environ.get("PX_DB", "")
        if not log:
            log = shared_log()
            self.say(f"no database is named: {log} is taken, as pypx did; name one with --db DIR/log or PX_BASEMOUNT")
        return Layout.of_log(Path(log).absolute(), root)

    def templates(self, base: Templates) -> Templates | None:
        """The path templates that were given, over those of `base`; ``None`` if none was."""
        found = {part: self.chosen(name) for part, name in _TEMPLATES.items() if self.chosen(name)}
        if not found:
            return None
        return Templates(**{part: found.get(part) or str(getattr(base, part)) for part in _TEMPLATES})


def shared_log(path: str = TMP_LOG) -> str:
    """The database that pypx took where none was named, if it is ours or not there yet.

    Raises
    ------
    InputError : it, or a directory that goes with it, is someone else's or a link
    """
    for name in ("log", "data", "services", "incoming"):
        place = Path(path).parent / name
        try:
            found = place.lstat()
        except FileNotFoundError:
            continue
        if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
            raise InputError(f"{place} is another user's, or no directory: name the database with --db DIR/log (PX_DB)")
    return path


def seconds(text: str, what: str) -> float:
    """A positive number of seconds, up to a day.

    Raises
    ------
    InputError : it is none
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:
        raise InputError(f"{what}: {text[:40]!r} is no number of seconds, more than 0 to 86400")
    return value


def truth(value: object) -> bool:
    """Whether an option is set: ``"false"`` and the like, as JSON writers spell it, is not."""
    return value.strip().lower() not in {"", "false", "0", "none", "no"} if isinstance(value, str) else bool(value)
