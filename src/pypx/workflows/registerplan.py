"""What of a series is to be registered, from where in storage, and whether it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pypx.db.entries import text_of
from pypx.db.smdb import Database
from pypx.errors import CubeError, InvalidDicomError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID
from pypx.model.outcomes import SeriesState
from pypx.model.packpath import Templates
from pypx.model.records import SeriesRef
from pypx.services.cubefields import DESCRIPTOR_KEYS, SPACE, Fields, check_path, checked_pacs_name, descriptors
from pypx.services.dicomfile import read_instance
from pypx.services.folder import FolderStore
from pypx.services.storage import ObjectStore
from pypx.workflows.pushlog import PushRecord, push_records
from pypx.workflows.pushplan import Wanted, make_plan, templates_for
from pypx.workflows.status import series_status
from pypx.workflows.walking import is_gone

_DICOM_SUFFIX = ".dcm"
"""What CUBE counts: names that end so, in lower case."""


@dataclass(frozen=True, slots=True)
class Source:
    """A series to register; `files` are those named by the user (``None``: all on record), `names` their objects."""

    ref: SeriesRef
    files: tuple[Path, ...] | None = None
    names: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An object to register; `file` is its local file (``None``: it is gone)."""

    name: str
    file: Path | None


@dataclass(frozen=True, slots=True)
class RegisterPlan:
    """What is to be registered of a series.

    `expected` is how many images it should have (``None``: unknown); `problem` says why it is not known to be complete
    and pushed whole (``""``: it is); `unusable` are files that have no object, each with the reason.
    """

    ref: SeriesRef
    pacs_name: str
    entries: tuple[Entry, ...]
    expected: int | None
    problem: str = ""
    unusable: tuple[tuple[Path, str], ...] = ()

    @property
    def folder(self) -> str:
        """The folder of the objects.

        Raises
        ------
        CubeError : they lie in several
        """
        folders = {entry.name.rpartition("/")[0] for entry in self.entries}
        if len(folders) != 1:
            raise CubeError(f"its objects lie in {len(folders)} folders, and CUBE takes a series by one; push it again")
        return folders.pop()


def make_register_plan(
    source: Source, database: Database, pacs_name: str, templates: Templates | None, *, store_at_hand: bool
) -> RegisterPlan:
    """Find the objects of a series: by the record of its push, else by the templates that a push would use.

    Raises
    ------
    CubeError : there is nothing to register
    DatabaseError : a record cannot be read
    InputError : the name of the PACS is missing or one that CUBE does not take
    """
    series = source.ref.SeriesInstanceUID
    record = _record_of(push_records(database, series), pacs_name)
    if not pacs_name and record is not None:
        pacs_name = record.folder.split("/")[2]
    pacs_name = checked_pacs_name(pacs_name)
    entries, unusable = _entries(source, database, record, pacs_name, templates)
    if not entries:
        reason = "no image of it is on record; retrieve or repack it, and push it"
        raise CubeError(unusable[0][1] if unusable else reason)
    proven = store_at_hand or bool(source.names) or (record is not None and record.status)
    expected, problem = _judge(source, database, record, entries, proven=proven)
    return RegisterPlan(source.ref, pacs_name, tuple(entries), expected, problem, tuple(unusable))


def _entries(
    source: Source, database: Database, record: PushRecord | None, pacs_name: str, templates: Templates | None
) -> tuple[list[Entry], list[tuple[Path, str]]]:
    """The objects of a series, each once, and the files that have none, with the reason."""
    wanted = _wanted(source, database)
    known = {**(record.names if record is not None and record.objects is not None else {}), **(source.names or {})}
    if not wanted and source.files is None and record is not None:  # pushed by file names, never filed here
        wanted = [Wanted(Path(file)) for file in record.names]
    unusable: list[tuple[Path, str]] = []
    if wanted and all(str(one.file) in known for one in wanted):
        entries = [Entry(known[str(one.file)], None if is_gone(one.file) else one.file) for one in wanted]
    else:
        plan = make_plan(
            source.ref,
            wanted,
            folder=record.folder if record is not None else "",
            templates=templates or templates_for(database),
            pacs_name=pacs_name,
            known=known,
        )
        entries = [Entry(item.name, item.file) for item in plan.items]
        gone = [failure.file for failure in plan.failures if str(failure.file) in known]
        entries += [Entry(known[str(file)], None) for file in gone]
        unusable = [(failure.file, failure.reason) for failure in plan.failures if str(failure.file) not in known]
    return list({entry.name: entry for entry in entries}.values()), unusable


def _record_of(records: Iterable[PushRecord], pacs_name: str) -> PushRecord | None:
    """The latest push into a store, under this name of the PACS if there is one."""
    root = f"{SPACE}/{pacs_name}/" if pacs_name else f"{SPACE}/"
    return next((record for record in records if record.folder.startswith(root)), None)


def _wanted(source: Source, database: Database) -> list[Wanted]:
    if source.files is not None:
        return [Wanted(Path(absolute(file))) for file in source.files]
    images = database.images(source.ref.SeriesInstanceUID).values()
    found = [Wanted(database.layout.resolve(image.file), image.SOPInstanceUID, image.size) for image in images]
    return sorted(found, key=lambda one: (one.file.name, str(one.file)))


def absolute(file: Path) -> str:
    """A file as the record of a push names it."""
    return os.path.abspath(file)  # noqa: PTH100 - resolve() would change the names that are recorded


def _judge(
    source: Source, database: Database, record: PushRecord | None, entries: Sequence[Entry], *, proven: bool
) -> tuple[int | None, str]:
    """How many images the series should have, and why it is not whole; ``""`` if it is."""
    status = next(series_status([source.ref], database))
    expected = source.ref.NumberOfSeriesRelatedInstances
    expected = status.expected if expected is None else expected
    if expected is None and source.files is not None:
        expected = max(len(entries), status.received)  # who names the files says what belongs to the series
    if expected is None:
        return None, "px was never told how many images its PACS has of it; retrieve it by px, or name its files"
    if status.received != expected and (source.files is None or status.state is not SeriesState.NOT_RECORDED):
        return expected, f"{status.received} of {expected} images have been received"
    if len(entries) != expected:
        return expected, f"{len(entries)} of {expected} images are to be registered"
    pushed = len(entries) if record is None or record.objects is None else record.objects
    if pushed != expected:
        return expected, f"{pushed} of {expected} images have been pushed"
    unproven = "there is no record of a successful push; push it, or name the store so that px can look"
    return expected, (status.short if source.files is None else "") or ("" if proven else unproven)


def check_folder(plan: RegisterPlan, store: ObjectStore | None, *, partial: bool) -> tuple[str, ...]:
    """Make sure that the folder of a series holds the series and nothing else; CUBE takes what is in it, for ever.

    Parameters
    ----------
    plan : what should be in the folder
    store : where to look; ``None`` trusts the record of the push
    partial : objects may be missing

    Returns
    -------
    The names of the objects that are there

    Raises
    ------
    CubeError : something is missing, or there that does not belong to the series; names it
    StorageError : the store does not say
    """
    folder = plan.folder
    check_path(folder, plan.pacs_name, per_series=True)
    for entry in plan.entries:
        check_path(entry.name, plan.pacs_name, per_series=True)
        if not entry.name.endswith(_DICOM_SUFFIX):
            raise CubeError(f"{_last(entry.name)}: CUBE counts names ending in {_DICOM_SUFFIX} only; push it as such")
    names = [entry.name for entry in plan.entries]
    if store is None:
        return tuple(names)
    inside = _alone(folder, names, store)
    present = [name for name in names if name in inside or store.head(name) is not None]
    if len(present) != len(names) and not (partial and present):
        missing = next(name for name in names if name not in set(present))
        raise CubeError(
            f"{len(names) - len(present)} of its {len(names)} objects are not in {store}, such as {_last(missing)};"
            " push it again"
        )
    return tuple(present)


def _alone(folder: str, names: Sequence[str], store: ObjectStore) -> frozenset[str]:
    """What a folder holds, if nothing is in it, or taken for in it, but `names`."""
    by_prefix = not isinstance(store, FolderStore)  # Swift and S3 list by the beginning of names, so CUBE does there
    listed = {found.name for found in store.walk(folder.rpartition("/")[0] if by_prefix else folder)}
    inside = {name for name in listed if name.startswith(f"{folder}/")}
    extra = sorted(inside.difference(names))
    if extra:
        raise CubeError(
            f"its folder in {store} holds {len(extra)} objects that do not belong to it, such as {_last(extra[0])}:"
            " CUBE would take them in for ever; remove them"
        )
    beside = sorted(name for name in listed - inside if name.startswith(folder))
    if beside:
        other = beside[0][len(folder) - len(_last(folder)) :]
        raise CubeError(
            f"beside its folder {_last(folder)} in {store} lies {other}, which"
            " begins with the same name: CUBE would take both; push to a folder that ends in something unique"
        )
    return frozenset(inside)


def _last(name: str) -> str:
    return name.rpartition("/")[2][:120]


def fields_of(file: Path | None, plan: RegisterPlan, database: Database) -> Fields:
    """What CUBE is told of a file: by its header, or by what is recorded of the series if the file is gone.

    Raises
    ------
    CubeError : CUBE requires a field that has no value
    InvalidDicomError : there is neither header nor record, or the file is of another series
    """
    ref = plan.ref
    if file is not None:
        instance = read_instance(file, DESCRIPTOR_KEYS)
        if instance.SeriesInstanceUID != ref.SeriesInstanceUID:
            raise InvalidDicomError("it is of another series than its record says; retrieve it again")
        uids = {"StudyInstanceUID": instance.StudyInstanceUID, "SeriesInstanceUID": instance.SeriesInstanceUID}
        return descriptors({**instance.tags, **uids})
    recorded = _recorded_tags(database, ref)
    if not recorded:
        raise InvalidDicomError("its file is gone and nothing is recorded of its series; retrieve it again")
    return descriptors(
        {**recorded, "StudyInstanceUID": ref.StudyInstanceUID, "SeriesInstanceUID": ref.SeriesInstanceUID}
    )


def _recorded_tags(database: Database, ref: SeriesRef) -> dict[str, str]:
    block = (database.study_series(ref.StudyInstanceUID, ref.SeriesInstanceUID) or {}).get("DICOM")
    if not isinstance(block, dict):
        return {}
    values = {name: entry.get("value") for name, entry in block.items() if isinstance(entry, dict)}
    return {name: text_of(values[name]) for name in DESCRIPTOR_KEYS if name in values}


def group_files(files: Iterable[Path]) -> tuple[list[tuple[SeriesRef, tuple[Path, ...]]], list[tuple[Path, str]]]:
    """Files by their series, in order of appearance; and those that are no DICOM files, each with the reason."""
    groups: dict[UID, list[Path]] = {}
    studies: dict[UID, UID] = {}
    bad: list[tuple[Path, str]] = []
    for file in files:
        try:
            instance = read_instance(file, frozenset())
        except InvalidDicomError as error:
            bad.append((file, str(error)))
            continue
        studies.setdefault(instance.SeriesInstanceUID, instance.StudyInstanceUID)
        groups.setdefault(instance.SeriesInstanceUID, []).append(file)
    return [(SeriesRef(studies[uid], uid), tuple(members)) for uid, members in groups.items()], bad
