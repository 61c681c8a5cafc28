#!/usr/bin/env python3
"""Write the made-up images of the tour: three patients, four studies, about forty DICOM files.

    make_corpus.py FOLDER           the images of the embedded PACS
    make_corpus.py --cd FOLDER      a small fourth patient, as if it came from a CD

No person, hospital or examination in here exists.  The same call always writes the same files: UIDs are made from
names, so a second run of the tour meets the instances of the first one again.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

SIZE = 128
STORAGE = {"CT": CTImageStorage, "MR": MRImageStorage, "OT": SecondaryCaptureImageStorage, "SR": EnhancedSRStorage}


@dataclass(frozen=True)
class Series:
    """One series: modality, number, description, how many instances."""

    Modality: str
    SeriesNumber: int
    SeriesDescription: str
    instances: int


@dataclass(frozen=True)
class Study:
    """One study of one patient."""

    PatientID: str
    PatientName: str
    PatientBirthDate: str
    PatientSex: str
    StudyDate: str
    StudyDescription: str
    AccessionNumber: str
    series: tuple[Series, ...]


PACS = (
    Study(
        "PX-1001", "Tour^Ada", "19800101", "F", "20240115", "Brain without contrast", "TOUR-1",
        (Series("MR", 1, "Localizer", 3), Series("MR", 2, "T1 SAG [fast]", 10), Series("MR", 3, "T2 AX", 8)),
    ),
    Study(
        "PX-1001", "Tour^Ada", "19800101", "F", "20240620", "Brain follow-up", "TOUR-2",
        (Series("MR", 1, "Localizer", 3), Series("MR", 2, "FLAIR AX", 5)),
    ),
    Study(
        "PX-1002", "Müller^Jörg", "19550731", "M", "20240301", "Thorax", "TOUR-3",
        (Series("CT", 2, "Lung 1.0 / sharp", 9), Series("SR", 99, "Report", 1)),
    ),
    Study(
        "PX-1003", "Tour^Grace", "20150209", "F", "20240611", "Ankle", "TOUR-4",
        (Series("OT", 1, "Photograph", 2),),
    ),
)  # fmt: skip

FOLDER = (
    Study(
        "PX-2001", "Folder^Alan", "19620623", "M", "20231108", "Knee from a CD", "TOUR-5",
        (Series("MR", 4, "PD SAG", 6),),
    ),
)  # fmt: skip


def made_uid(*names: object) -> str:
    """Return a UID below 2.25 (PS3.5 B.2) that depends on `names` alone."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(map(str, ('pypx-tour', *names)))).int}"


def pixels(number: int) -> bytes:
    """Return a 12-bit picture of rings, different for each `number`."""
    middle = SIZE // 2
    values = (
        ((row - middle) ** 2 + (column - middle) ** 2 + 97 * number) % 4096
        for row in range(SIZE)
        for column in range(SIZE)
    )
    return array("H", values).tobytes()


def instances(study: Study, series: Series) -> Iterator[Dataset]:
    """Yield the data sets of one series."""
    study_uid = made_uid(study.AccessionNumber)
    for number in range(1, series.instances + 1):
        dataset = Dataset()
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SOPClassUID = STORAGE[series.Modality]
        dataset.SOPInstanceUID = made_uid(study.AccessionNumber, series.SeriesNumber, number)
        dataset.StudyInstanceUID = study_uid
        dataset.SeriesInstanceUID = made_uid(study.AccessionNumber, series.SeriesNumber)
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"):
            setattr(dataset, keyword, getattr(study, keyword))
        for keyword in ("StudyDate", "StudyDescription", "AccessionNumber"):
            setattr(dataset, keyword, getattr(study, keyword))
        dataset.SeriesDate = study.StudyDate
        dataset.StudyTime = "101500"
        dataset.StudyID = study.AccessionNumber
        dataset.ReferringPhysicianName = ""
        dataset.Modality = series.Modality
        dataset.SeriesNumber = series.SeriesNumber
        dataset.SeriesDescription = series.SeriesDescription
        dataset.InstanceNumber = number
        if series.Modality == "SR":
            dataset.ValueType = "CONTAINER"
            dataset.ContinuityOfContent = "SEPARATE"
            dataset.CompletionFlag = "COMPLETE"
            dataset.VerificationFlag = "UNVERIFIED"
            dataset.ContentSequence = Sequence([])
        else:
            add_image(dataset, number)
        yield dataset


def add_image(dataset: Dataset, number: int) -> None:
    """Give `dataset` the image pixel module (PS3.3 C.7.6.3)."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = SIZE
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels(number)


def write(dataset: Dataset, path: Path) -> None:
    """Write `dataset` as a DICOM file (PS3.10)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)


def main() -> None:
    """Write the files asked for and say how many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write; made if absent")
    parser.add_argument("--cd", action="store_true", help="the patient from a CD instead of the PACS")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    studies = FOLDER if given.cd else PACS
    count, patients = 0, len({study.PatientID for study in studies})
    for study in studies:
        for series in study.series:
            for dataset in instances(study, series):
                count += 1
                write(dataset, given.folder / f"image{count:03d}.dcm")
    sys.stdout.write(f"{count} images of {patients} patients in {len(studies)} studies written to {given.folder}\n")


if __name__ == "__main__":
    main()
