"""Which files of a series are to be pushed, and under which names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pypx.db.smdb import Database
from pypx.errors import InputError, InvalidDicomError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID, is_uid
from pypx.model.outcomes import FailedFile
from pypx.model.packpath import (
    DEFAULT_TEMPLATES,
    MAX_FILE_BYTES,
    Templates,
    legal_component,
    pack_path,
)
from pypx.model.records import Instance, SeriesRef
from pypx.services.dicomfile import read_instance, same_instance
from pypx.workflows.pushlog import PACS_ROOT, PushRecord

_PACS_NAME = re.compile(r"(?!\.{1,2}$)[^/,\x00-\x1f\x7f]{1,100}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to push; `uid` and `size` are what its record says (``None``: it has no record)."""

    file: Path
    uid: UID | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A whole file with the name its object is to have."""

    file: Path
    uid: UID
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done for a series: `twins` are files with the very content of an item, by the name of that item."""

    folder: str
    items: tuple[Item, ...]
    twins: tuple[Item, ...]
    failures: tuple[FailedFile, ...]


def check_pacs_name(name: str) -> str:
    """Check the name of a PACS as folder of CUBE's storage, ``SERVICES/PACS/<name>``.

    Raises
    ------
    InputError : empty, ``.`` or ``..``, or with a slash, a comma or a control character
    """
    cleaned = name.strip()
    if not _PACS_NAME.fullmatch(cleaned):
        raise InputError(
            f"{name[:40]!r} cannot name a PACS in storage (--swiftServicesPACS); 1 to 100 characters, no slash or comma"
        )
    return cleaned


def templates_for(database: Database | None) -> Templates:
    """The templates of object names: those of the BASEMOUNT; of those that pypx made, those that px-push had."""
    return DEFAULT_TEMPLATES if database is None else database.push_templates


def recorded_folder(records: Sequence[PushRecord], pacs_name: str) -> str:
    """The folder that a series was pushed to before under this PACS name, ``""`` if it was not.

    What was uploaded once is found there again, whatever the templates say now.
    """
    root = f"{PACS_ROOT}/{pacs_name}/"
    return next((record.folder for record in records if record.folder.startswith(root)), "")


def make_plan(
    ref: SeriesRef,
    wanted: Sequence[Wanted],
    *,
    folder: str,
    templates: Templates,
    pacs_name: str,
    known: Mapping[str, str],
) -> Plan:
    """Read the header of each file and name its object.

    All objects of a series go into one folder, since CUBE takes a series by its folder: `folder` if given, else where
    the first whole file belongs.

    Parameters
    ----------
    wanted : the files, in an order that does not change from one push to the next
    folder : of the objects; ``""`` to make it by `templates`
    known : file to object name, of an earlier push: names are kept
    """
    items: dict[str, Item] = {}
    twins: list[Item] = []
    failures: list[FailedFile] = []
    for one in wanted:
        try:
            instance = read_whole(one, ref, templates.keywords())
            path = pack_path(templates, instance.tags)
            folder = folder or f"{PACS_ROOT}/{pacs_name}/{path.directory}"
            kept = known.get(str(one.file), "")
            image = kept.rpartition("/")[2] if kept.startswith(f"{folder}/") else path.image
            item = _named(Item(one.file, instance.SOPInstanceUID, f"{folder}/{image}"), items)
        except InvalidDicomError as error:
            failures.append(FailedFile(one.file, str(error)))
            continue
        if item.name in items:
            twins.append(item)
        else:
            items[item.name] = item
    return Plan(folder, tuple(items.values()), tuple(twins), tuple(failures))


def read_whole(wanted: Wanted, ref: SeriesRef, keywords: Collection[str]) -> Instance:
    """The header of a file that is whole and what its record says.

    Raises
    ------
    InvalidDicomError : it is not; the text is the reason alone
    """
    try:
        size = wanted.file.stat().st_size
        if wanted.size is not None and size != wanted.size:
            raise InvalidDicomError(f"it has {size} bytes, but {wanted.size} were recorded: corrupt; retrieve it again")
        instance = read_instance(wanted.file, frozenset(keywords))
    except FileNotFoundError:
        raise InvalidDicomError("it is gone; retrieve it again") from None
    except OSError as error:
        raise InvalidDicomError(f"cannot be read: {error.strerror or error}") from error
    expected = wanted.uid if wanted.uid is not None and is_uid(wanted.uid) else instance.SOPInstanceUID
    if (instance.SeriesInstanceUID, instance.SOPInstanceUID) != (ref.SeriesInstanceUID, expected):
        raise InvalidDicomError("it is another image than its record says: corrupt; retrieve it again")
    return instance


def _named(item: Item, taken: Mapping[str, Item]) -> Item:
    """The item under a name that no other instance has; the name of its twin if it has one.

    Raises
    ------
    InvalidDicomError : the same instance is there with other content
    """
    other = taken.get(item.name)
    if other is None:
        return item
    if other.uid == item.uid:
        if same_instance(other.file, item.file):
            return item
        raise InvalidDicomError(f"{other.file.name} has the same SOP Instance UID and other content; push one of them")
    folder, _, image = item.name.rpartition("/")
    extension = ".dcm" if image.endswith(".dcm") else ""
    image = f"{image.removesuffix(extension)}-{item.uid}{extension}"
    apart = f"{folder}/{legal_component(image, limit=MAX_FILE_BYTES, extension=extension)}"
    if apart == item.name:
        raise InvalidDicomError(f"{other.file.name} takes the same object name; use another image template")
    return _named(Item(item.file, item.uid, apart), taken)
