"""What stands in the tables: pypx 3's shapes, made of an instance and read back; pure functions."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from pypx.model.identifiers import UID, is_uid
from pypx.model.keywords import RECORDED_KEYS
from pypx.model.records import ImageRecord, Instance

NOT_DEFINED = "Not defined"
"""What the patient, study and series tables hold for an attribute that the file lacks."""

_PATIENT_KEYS = ("PatientID", "PatientName", "PatientAge", "PatientSex", "PatientBirthDate")
_STUDY_KEYS = ("PatientID", "StudyDescription", "StudyDate", "StudyInstanceUID", "PerformedStationAETitle")
_SERIES_KEYS = (
    "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "SeriesDate", "Modality",
)  # fmt: skip
_STAT_KEYS = ("blksize", "blocks", "ctime", "dev", "gid", "ino", "mode", "mtime", "nlink", "rdev", "size", "uid")
_DEFAULT_IMAGE_NAME = re.compile(r"(?:-?[0-9]{1,12}|_InstanceNumber|None)?-(?P<uid>[0-9.]+)\.dcm", re.ASCII)


def text_of(value: object) -> str:
    """A recorded value; ``""`` where the table says that the file had no such attribute."""
    return "" if value is None or value == NOT_DEFINED else str(value)


def patient_id(instance: Instance) -> str:
    """The key of the patient table."""
    return instance.tag("PatientID", NOT_DEFINED)


def patient_entry(instance: Instance) -> dict[str, Any]:
    """A patient with the one study of `instance`."""
    return {**_values(instance, _PATIENT_KEYS), "StudyList": [instance.StudyInstanceUID]}


def study_entry(instance: Instance) -> dict[str, Any]:
    """The study of `instance`."""
    return _values(instance, _STUDY_KEYS)


def series_entry(instance: Instance) -> dict[str, Any]:
    """The series of `instance`."""
    return _values(instance, _SERIES_KEYS)


def study_series_entry(instance: Instance, base_dir: str) -> dict[str, Any]:
    """The series of `instance` within its study, with the recorded part of its header.

    `base_dir` is the directory of its files, as the format of the BASEMOUNT names files.
    """
    known = (keyword for keyword in RECORDED_KEYS if keyword in instance.tags)
    return {
        "SeriesInstanceUID": instance.SeriesInstanceUID,
        "SeriesBaseDir": base_dir,
        "DICOM": {keyword: {"value": instance.tags[keyword], "label": keyword} for keyword in known},
    }


def _values(instance: Instance, keywords: tuple[str, ...]) -> dict[str, Any]:
    return {**{keyword: instance.tag(keyword, NOT_DEFINED) for keyword in keywords}, **_uids(instance, keywords)}


def _uids(instance: Instance, keywords: tuple[str, ...]) -> dict[str, str]:
    checked = {"StudyInstanceUID": instance.StudyInstanceUID, "SeriesInstanceUID": instance.SeriesInstanceUID}
    return {keyword: uid for keyword, uid in checked.items() if keyword in keywords}


def image_table(instance: Instance, name: str, file: Path, status: os.stat_result) -> dict[str, Any]:
    """The image record of format 3.

    Where the name does not tell the SOP Instance UID (see `uid_of_name`), a key of px, unknown to pypx, says it.

    Parameters
    ----------
    instance : the image
    name : that of the file; pypx looks the image up by the name of the record without ``.json``
    file : where it is, an absolute path
    status : of that file
    """
    entry: dict[str, Any] = {
        **series_entry(instance),
        "outputFile": name,
        "imageObj": {name: {**_status(status), "FSlocation": str(file)}},
    }
    if uid_of_name(name, instance.StudyInstanceUID, instance.SeriesInstanceUID) != instance.SOPInstanceUID:
        entry["SOPInstanceUID"] = instance.SOPInstanceUID
    return {instance.SeriesInstanceUID: entry}


def _status(status: os.stat_result) -> dict[str, Any]:
    values: dict[str, Any] = {"atime": _local(status.st_atime)}
    for key in _STAT_KEYS:
        value = getattr(status, f"st_{key}")
        values[key] = _local(value) if key.endswith("time") else value
    return values


def _local(seconds: float) -> str:
    return str(datetime.fromtimestamp(seconds))  # noqa: DTZ006 - pypx writes local time without a zone


def image_record(table: Mapping[str, Any]) -> ImageRecord:
    """Read an image record of format 3.

    Returns
    -------
    The record, `file` as it stands in the table.  Its SOP Instance UID comes from px's key or from a file name that the
    default image template made; if there is neither, the name of the file stands in for it.

    Raises
    ------
    ValueError : not the shape of an image record
    """
    try:
        ((series, entry),) = table.items()
        name = str(entry.get("outputFile") or next(iter(entry["imageObj"])))
        details = entry["imageObj"][name]
        file, size, received = str(details["FSlocation"]), int(details["size"]), _utc(str(details.get("ctime", "")))
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError):
        raise ValueError("not an image record") from None
    return ImageRecord(UID(_uid_of(series, entry, name) or name), file, size, received)


def tells_uid(table: Mapping[str, Any]) -> bool:
    """Whether an image record of format 3 (one that `image_record` takes) tells its SOP Instance UID."""
    ((series, entry),) = table.items()
    return _uid_of(series, entry, str(entry.get("outputFile") or next(iter(entry["imageObj"])))) != ""


def _uid_of(series: str, entry: Mapping[str, Any], name: str) -> str:
    told = str(entry.get("SOPInstanceUID") or "")
    return told or uid_of_name(name, str(entry.get("StudyInstanceUID")), str(series))


def uid_of_name(name: str, StudyInstanceUID: str, SeriesInstanceUID: str) -> str:
    """The SOP Instance UID in a file name of the default image template (``0001-<uid>.dcm``), ``""`` if it is another.

    The UID of the study or series in that place is what another template put there.
    """
    found = _DEFAULT_IMAGE_NAME.fullmatch(PurePosixPath(name).name if "/" in name else name)
    uid = found["uid"] if found else ""
    return uid if is_uid(uid) and uid not in (StudyInstanceUID, SeriesInstanceUID) else ""


def _utc(local: str) -> str:
    try:
        return datetime.fromisoformat(local).astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""
