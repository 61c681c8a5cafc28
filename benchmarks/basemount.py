"""Make a BASEMOUNT of any size without an image in it: the tables and image records that px would have written.

Names and contents come from px's own functions; only the writing is different, for here nothing is locked or synced:
a million instances take seconds instead of hours.  `tests/integration/test_benchmark_basemount.py` compares a small one
with what `px repack` makes of the same images, byte for byte.

    python benchmarks/basemount.py DIR [--instances 1000000] [--seed 1] [--files]
"""

from __future__ import annotations

import argparse
import json
import random
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from pypx.db.entries import patient_entry, series_entry, study_entry, study_series_entry
from pypx.db.images import line_of
from pypx.db.layout import DIR_MODE, FILE_MODE, Layout
from pypx.db.smdb import Database
from pypx.db.tables import dump
from pypx.model.identifiers import UID
from pypx.model.packpath import DEFAULT_TEMPLATES, pack_path
from pypx.model.records import ImageRecord, Instance
from pypx.workflows.digests import LOG as DIGESTS

ROOT = "1.2.826.0.1.3680043.8.498"
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
BEGIN = datetime(2024, 1, 1, tzinfo=timezone.utc)
LEAST, MOST = 50, 500

BODY = ("Brain", "Thorax", "Abdomen", "Pelvis", "Cervical Spine", "Lumbar Spine", "Knee", "Shoulder")
KIND = ("Routine", "with Contrast", "w/o Contrast", "Angiography", "Follow-up")
PLANE = ("AX", "COR", "SAG")
WEIGHT = ("T1", "T2", "FLAIR", "DWI b1000", "SWI", "STIR", "Localizer", "ADC", "MPRAGE 1.0 iso")
FAMILY = ("DOE", "MILLER", "GARCIA", "NGUYEN", "ROSSI", "KOWALSKI", "SATO", "OKAFOR", "DUPONT", "HANSEN")
GIVEN = ("JANE", "JOHN", "ANA", "MINH", "LUCA", "EWA", "YUKI", "ADA", "LEA", "NILS")

PROBE_PATIENT = "PROBE-4711"
PROBE_STUDY = UID(f"{ROOT}.4711")
PROBE_DESCRIPTION = "Wanted T2 needle"
PROBE_SERIES = 4
PROBE_IMAGES = 250

_STUDY = {
    "PatientID": PROBE_PATIENT, "PatientName": "PROBE^PAT", "PatientBirthDate": "19700101", "PatientSex": "F",
    "PatientAge": "054Y", "StudyDate": "20240229", "StudyTime": "101500", "StudyDescription": "MR Brain Routine",
    "StudyID": "1", "AccessionNumber": "A4711", "BodyPartExamined": "BRAIN",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """A series to be: its first image and how many there are; the others differ in their number and UID."""

    first: Instance
    images: int

    def image(self, number: int) -> Instance:
        """The image with an Instance Number from 1 on."""
        uid = UID(f"{self.first.SeriesInstanceUID}.{number}")
        return replace(
            self.first,
            SOPInstanceUID=uid,
            tags={**self.first.tags, "SOPInstanceUID": uid, "InstanceNumber": str(number)},
        )


def plan(instances: int, seed: int = 1) -> Iterator[Series]:
    """What a BASEMOUNT of so many instances holds: patients of 1 to 4 studies of 2 to 12 series of 50 to 500 images.

    One patient is in all of 2,000 instances or more, half-way through: `PROBE_PATIENT`, with `PROBE_SERIES` series of
    `PROBE_IMAGES` images in the study `PROBE_STUDY`.  So a question has the same answer in a small and in a large one.

    Parameters
    ----------
    instances : how many, >= 1; exactly so many come out
    seed : the same number gives the same plan
    """
    chance = random.Random(seed)
    probe = PROBE_SERIES * PROBE_IMAGES
    has_probe = instances >= 2 * probe
    left = instances - probe if has_probe else instances
    half = left // 2
    number = 0
    while left > 0:
        if has_probe and left <= half:
            has_probe = False
            yield from _probe()
        number += 1
        for series in _patient(chance, number, seed):
            images = min(series.images, left)
            left -= images
            if images:
                yield replace(series, images=images)
    if has_probe:
        yield from _probe()


def _patient(chance: random.Random, number: int, seed: int) -> Iterator[Series]:
    age = chance.randint(1, 90)
    tags = {
        "PatientID": f"{seed}{number:07d}",
        "PatientName": f"{chance.choice(FAMILY)}^{chance.choice(GIVEN)}",
        "PatientBirthDate": f"{2024 - age}{chance.randint(1, 12):02d}{chance.randint(1, 28):02d}",
        "PatientSex": chance.choice("FM"),
        "PatientAge": f"{age:03d}Y",
    }
    for study in range(chance.randint(1, 4)):
        body = chance.choice(BODY)
        day = BEGIN + timedelta(days=chance.randint(0, 600), seconds=chance.randint(25_000, 65_000))
        in_study = {
            "StudyInstanceUID": f"{ROOT}.{seed}.{number}.{chance.randint(10**15, 10**16)}",
            "StudyDate": f"{day:%Y%m%d}",
            "StudyTime": f"{day:%H%M%S}",
            "StudyDescription": f"MR {body} {chance.choice(KIND)}",
            "StudyID": str(study + 1),
            "AccessionNumber": f"A{chance.randint(10**7, 10**8 - 1)}",
            "BodyPartExamined": body.upper(),
        }
        for series in range(1, chance.randint(2, 12) + 1):
            description = f"{chance.choice(PLANE)} {chance.choice(WEIGHT)}"
            yield _series({**tags, **in_study}, series, description, chance.randint(LEAST, MOST))


def _probe() -> Iterator[Series]:
    tags = {**_STUDY, "StudyInstanceUID": PROBE_STUDY}
    for series in range(1, PROBE_SERIES + 1):
        yield _series(tags, series, PROBE_DESCRIPTION, PROBE_IMAGES)


def one_study(series: int, images: int, study: str = f"{ROOT}.20") -> Iterator[Series]:
    """A single study of `series` series of `images` images each."""
    tags = {**_STUDY, "StudyInstanceUID": study, "PatientID": "PROBE-20"}
    for number in range(1, series + 1):
        yield _series(tags, number, f"AX T1 {number}", images)


def _series(tags: dict[str, str], number: int, description: str, images: int) -> Series:
    uid = UID(f"{tags['StudyInstanceUID']}.{number}")
    first = UID(f"{uid}.1")
    own = {
        "ReferringPhysicianName": "HOUSE^G", "InstitutionName": "General Hospital", "PerformedStationAETitle": "MR1",
        "SeriesInstanceUID": uid, "SeriesNumber": str(number), "SeriesDate": tags["StudyDate"],
        "SeriesTime": tags["StudyTime"], "SeriesDescription": description, "Modality": "MR",
        "ProtocolName": description, "Manufacturer": "Maker", "ManufacturerModelName": "Model 3",
        "StationName": "MRROOM1", "DeviceSerialNumber": "4711", "SoftwareVersions": "syngo\\E11",
        "MagneticFieldStrength": "3", "FrameOfReferenceUID": f"{uid}.0", "SOPClassUID": CT, "SOPInstanceUID": first,
        "InstanceNumber": "1", "AcquisitionDate": tags["StudyDate"], "AcquisitionTime": tags["StudyTime"],
        "ContentDate": tags["StudyDate"], "Rows": "512", "Columns": "512",
    }  # fmt: skip
    return Series(Instance(UID(tags["StudyInstanceUID"]), uid, first, CT, EXPLICIT_LITTLE, {**tags, **own}), images)


class Writer:
    """Writes the tables of one series after the other into a fresh BASEMOUNT of format 4."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout.of_basemount(root)
        Database.create(self.layout)
        self._patients: dict[str, tuple[Instance, list[str]]] = {}
        self._second = BEGIN

    def write(self, series: Series, *, files: bool = False) -> None:
        """Write all that px records of a series; with `files`, an empty file stands for each image."""
        layout, first = self.layout, series.first
        study, uid = first.StudyInstanceUID, first.SeriesInstanceUID
        folder = layout.relative(layout.data / pack_path(DEFAULT_TEMPLATES, first.tags).directory)
        _, studies = self._patients.setdefault(first.tag("PatientID"), (first, []))
        if study not in studies:
            studies.append(study)
            layout.study_series_dir(study).mkdir(DIR_MODE)
            _write(layout.study_table(study), dump({study: study_entry(first)}))
        _write(layout.study_series_table(study, uid), dump({study: study_series_entry(first, folder)}))
        _write(layout.series_table(uid, "meta"), dump({uid: series_entry(first)}))
        _write(layout.series_table(uid, "pack"), dump({"seriesPack": True}))
        records = list(self._records(series, folder))
        lines = [json.dumps(line_of(record)) for record in records]
        _write(layout.image_log(uid), "".join(f"{line}\n" for line in lines).encode())
        sums = (f'{line[:-1]}, "crc32": "{zlib.crc32(line.encode()):08x}"}}\n' for line in lines)
        _write(layout.series_log(uid, DIGESTS), "".join(sums).encode())
        for record in records if files else ():
            file = layout.base / record.file
            file.parent.mkdir(DIR_MODE, parents=True, exist_ok=True)
            file.touch(FILE_MODE)

    def finish(self) -> None:
        """Write what is known only in the end."""
        for key, (first, studies) in self._patients.items():
            entry = {**patient_entry(first), "StudyList": studies}
            _write(self.layout.patient_table(key), dump({key: entry}))

    def _records(self, series: Series, folder: str) -> Iterator[ImageRecord]:
        uid, prefix = series.first.SeriesInstanceUID, f"{self._second:%Y-%m-%dT%H:%M:%S}"
        self._second += timedelta(seconds=1)
        for number in range(1, series.images + 1):
            image = UID(f"{uid}.{number}")
            received = f"{prefix}.{number * 1000:06d}Z"
            yield ImageRecord(image, f"{folder}/{number:04d}-{image}.dcm", 526_336, received)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(FILE_MODE)


def make_basemount(root: Path, series: Iterable[Series], *, files: bool = False) -> int:
    """Make a BASEMOUNT at `root` that holds `series`; with `files`, an empty file stands for each image.

    Returns
    -------
    How many instances it holds
    """
    writer, instances = Writer(root), 0
    for one in series:
        writer.write(one, files=files)
        instances += one.images
    writer.finish()
    return instances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="where; must not exist or be empty")
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", action="store_true", help="an empty file for each image, besides")
    given = parser.parse_args()
    if given.directory.is_dir() and any(given.directory.iterdir()):
        parser.error(f"{given.directory} is not empty")
    start = time.perf_counter()
    count = make_basemount(given.directory, plan(given.instances, given.seed), files=given.files)
    print(f"{given.directory}: {count} instances in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
