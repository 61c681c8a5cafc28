"""Where an instance belongs: four path templates and the tags of the instance, to a relative path.

Whatever the values are, a component comes out as a plain file name, so that a path joined under a root stays under it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pypx.errors import InputError
from pypx.model.dataclass import dataclass
from pypx.model.template import Template, parse_template
from pypx.model.templatefunc import is_kept
from pypx.model.templatetexts import PYPX_PUSH_TEXTS, PYPX_TEXTS

MAX_FOLDER_BYTES = 255
"""Longest name of a folder, bytes of UTF-8: the limit of the usual file systems."""

MAX_FILE_BYTES = 250
"""Longest name of an image file, bytes of UTF-8: ``<name>.json`` must be legal too (image records of format 3)."""

_UNFIT = re.compile(r"[^A-Za-z0-9.-]+")
_SEVERAL = re.compile(r"_{2,}")
_EXTENSION = re.compile(r"(\.[A-Za-z0-9]{1,8})?")


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates of the three folders and of the file name; compiled, hence checked, when made.

    Raises
    ------
    InputError : one of them is no template (:func:`pypx.model.template.parse_template`)
    """

    root: str
    study: str
    series: str
    image: str

    def __post_init__(self) -> None:
        for part, text in (("root", self.root), ("study", self.study), ("series", self.series), ("image", self.image)):
            _check(part, text)

    def keywords(self) -> frozenset[str]:
        """Every DICOM keyword that the four need; ``AgeInDays`` is none, the dates it is computed from are."""
        return frozenset().union(
            *(parse_template(text).keywords() for text in (self.root, self.study, self.series, self.image))
        )


def _check(part: str, text: str) -> None:
    try:
        parse_template(text)
    except InputError as error:
        raise InputError(f"{part}: {error}") from None


PYPX_TEMPLATES = Templates(*PYPX_TEXTS)
"""What px-repack 3.6.2 uses."""

DEFAULT_TEMPLATES = Templates(
    root=PYPX_TEMPLATES.root,
    study=PYPX_TEMPLATES.study,
    series="%_pad|5,0_SeriesNumber-%SeriesDescription-%_md5|7_SeriesInstanceUID",
    image=PYPX_TEMPLATES.image,
)
"""What a new BASEMOUNT uses: as px-repack 3.6.2, with a folder of its own for each series."""

PYPX_PUSH_TEMPLATES = Templates(*PYPX_PUSH_TEXTS)
"""What px-push 3.6.2 uses for the names of objects."""


@dataclass(frozen=True, slots=True)
class PackPath:
    """Where one instance goes: three folders and a file name, each a legal component."""

    root: str
    study: str
    series: str
    image: str

    @property
    def directory(self) -> PurePosixPath:
        """The folder of the series, relative."""
        return PurePosixPath(self.root, self.study, self.series)

    @property
    def file(self) -> PurePosixPath:
        """The file, relative."""
        return PurePosixPath(self.root, self.study, self.series, self.image)

    def under(self, root: Path) -> Path:
        """The file, below a directory."""
        return _joined(root, self.root, self.study, self.series) / self.image


@lru_cache(maxsize=1024)
def _joined(root: Path, *folders: str) -> Path:
    return root.joinpath(*folders)


def pack_path(templates: Templates, tags: Mapping[str, str]) -> PackPath:
    """Where an instance goes.

    Pure: the same templates and tags always give the same path.  It is not injective: what the templates leave out
    and :func:`legal_component` merges cannot tell two instances apart, so the caller checks whether the place is taken.

    Parameters
    ----------
    templates : of the four parts
    tags : keyword to text; absent and empty tags differ (``_Keyword`` against nothing)
    """
    return PackPath(
        _folder(templates.root, tags),
        _folder(templates.study, tags),
        _folder(templates.series, tags),
        _component(parse_template(templates.image), tags, MAX_FILE_BYTES),
    )


def _component(template: Template, tags: Mapping[str, str], limit: int) -> str:
    return legal_component(template.render(tags), limit=limit, extension=template.extension)


def _folder(template: str, tags: Mapping[str, str]) -> str:
    """The component of a folder, which most files share with the one before; so it is made of the same values once."""
    return _remembered(template, tuple(map(tags.get, _keywords(template))))


@lru_cache(maxsize=256)
def _remembered(template: str, values: tuple[str | None, ...]) -> str:
    tags = {keyword: value for keyword, value in zip(_keywords(template), values, strict=True) if value is not None}
    return _component(parse_template(template), tags, MAX_FOLDER_BYTES)


@lru_cache(maxsize=256)
def _keywords(template: str) -> tuple[str, ...]:
    return tuple(parse_template(template).keywords())


def legal_component(text: str, *, limit: int = MAX_FOLDER_BYTES, extension: str = "") -> str:
    """Make any text one path component.

    ASCII text comes out as in pypx 3: every run of other characters than ``A-Z a-z 0-9 . -`` is one ``_``.  Letters,
    marks and digits of every other script stay (in normal form C); the rest of Unicode joins the runs.  They stay
    because two names in such a script must not share a folder that reads ``_``, and a hash in their place would part
    them but leave a tree that nobody can read.  UTF-8 names are legal in the file systems, Swift, S3 and CUBE that
    receive them, and what those forbid (slashes, commas, control characters) never comes out.

    An empty text and the names ``.`` and ``..`` get a ``_`` in front.  A text that is too long is cut between
    characters and ends with ``-`` and 16 hexadecimal digits of SHA-256 of the whole: long names stay distinct.

    Parameters
    ----------
    text : anything, of any length
    limit : longest result, bytes of UTF-8, 32 to 255
    extension : an ending that survives the cut if `text` has it: a dot and 1 to 8 of ``A-Z a-z 0-9``, such as ``.dcm``

    Raises
    ------
    ValueError : `limit` or `extension` is out of range
    """
    if not 32 <= limit <= MAX_FOLDER_BYTES or _EXTENSION.fullmatch(extension) is None:
        raise ValueError(f"legal_component: limit {limit} or extension {extension!r} out of range")
    name = _sanitised(text)
    if name in {"", ".", ".."}:
        return "_" + name
    encoded = name.encode("utf-8")
    if len(encoded) <= limit:
        return name
    ending = extension if name.endswith(extension) else ""
    import hashlib  # noqa: PLC0415 - OpenSSL, for long names only

    ending = f"-{hashlib.sha256(encoded).hexdigest()[:16]}{ending}"
    return encoded[: limit - len(ending)].decode("utf-8", "ignore") + ending


def _sanitised(text: str) -> str:
    if text.isascii():
        return _UNFIT.sub("_", text)
    normal = unicodedata.normalize("NFC", text)
    plain = "".join(character if (character in ".-" or is_kept(character)) else "_" for character in normal)
    return _SEVERAL.sub("_", plain)


__all__ = [
    "DEFAULT_TEMPLATES",
    "MAX_FILE_BYTES",
    "MAX_FOLDER_BYTES",
    "PYPX_PUSH_TEMPLATES",
    "PYPX_TEMPLATES",
    "PackPath",
    "Template",
    "Templates",
    "legal_component",
    "pack_path",
    "parse_template",
]
