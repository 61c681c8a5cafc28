"""Made-up CT images, the same bytes for the same seed: 512x512 of 16 bit, or 64x64 under a long header."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ROOT_UID = "1.2.826.0.1.3680043.8.498.9"
BIG, SMALL = 512, 64
PRIVATE_GROUP = 0x0029
PRIVATE_ELEMENTS = 160
NUMBER = 1_000_000
"""Added to the number of an image, so that all numbers have as many digits and can be patched into one header."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series in a folder of its own."""

    folder: Path
    StudyInstanceUID: str
    SeriesInstanceUID: str
    images: int

    @property
    def files(self) -> tuple[Path, ...]:
        """Its files, in the order of their numbers."""
        return tuple(sorted(self.folder.iterdir()))


@dataclass(frozen=True, slots=True)
class Corpus:
    """Some series below one folder."""

    folder: Path
    series: tuple[Series, ...]

    @property
    def images(self) -> int:
        """How many there are."""
        return sum(one.images for one in self.series)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files."""
        return tuple(path for one in self.series for path in one.files)

    @property
    def studies(self) -> tuple[str, ...]:
        """StudyInstanceUIDs, each once."""
        return tuple(dict.fromkeys(one.StudyInstanceUID for one in self.series))


def make_corpus(
    folder: Path, images: int, *, size: int = BIG, series: int = 1, studies: int = 1, seed: int = 0
) -> Corpus:
    """Write `images` CT slices, split evenly over `series` series, and those over `studies` studies of one patient.

    Slices of 64x64 are "header-bound": 160 private elements and a sequence of 20 items stand before their pixels, as in
    what scanners write; those of 512x512 have a header of some 40 elements.
    """
    counts = [images // series + (number < images % series) for number in range(series)]
    made = [_make_series(folder, (n * studies // series, n), counts[n], size, seed) for n in range(series)]
    return Corpus(folder, tuple(made))


def _make_series(folder: Path, place: tuple[int, int], images: int, size: int, seed: int) -> Series:
    study, number = place
    StudyInstanceUID = f"{ROOT_UID}.{seed}.{study + 1}"
    SeriesInstanceUID = f"{StudyInstanceUID}.{number + 1}"
    stem = f"{SeriesInstanceUID}."
    dataset = _dataset(size, study, number, seed)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = StudyInstanceUID, SeriesInstanceUID
    dataset.SOPInstanceUID, dataset.InstanceNumber = f"{stem}{NUMBER}", NUMBER
    noise = random.Random(f"{seed}/{number}").randbytes(2 * size * size + 2 * images)
    header = _header(dataset, noise[: 2 * size * size])
    target = folder / f"series{number:05d}"
    target.mkdir(parents=True)
    for image in range(1, images + 1):
        head = header.replace(f"{stem}{NUMBER}".encode(), f"{stem}{NUMBER + image}".encode())
        head = head.replace(f"IS\x08\x00{NUMBER} ".encode(), f"IS\x08\x00{NUMBER + image} ".encode())
        pixels = noise[2 * image : 2 * image + 2 * size * size]
        (target / f"{image:05d}.dcm").write_bytes(head + pixels)
    return Series(target, StudyInstanceUID, SeriesInstanceUID, images)


def _dataset(size: int, study: int, series: int, seed: int) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = f"BENCH{seed}", "Bench^Mark", "19700101"
    dataset.PatientSex, dataset.PatientAge = "O", "054Y"
    dataset.StudyDate, dataset.StudyTime = f"{date(2014, 1, 1) + timedelta(days=17 * study):%Y%m%d}", "120000"
    dataset.StudyDescription = f"Benchmark {study + 1}"
    dataset.AccessionNumber, dataset.StudyID = f"B{study + 1}", str(study + 1)
    dataset.Modality, dataset.SeriesNumber, dataset.SeriesDescription = "CT", series + 1, f"Part {series + 1}"
    dataset.ProtocolName, dataset.BodyPartExamined, dataset.Manufacturer = "Bench", "HEAD", "Nobody"
    dataset.FrameOfReferenceUID = f"{ROOT_UID}.0"
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.5, 0.5], 1
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = size
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.WindowCenter, dataset.WindowWidth, dataset.RescaleIntercept, dataset.RescaleSlope = 40, 400, -1024, 1
    if size <= SMALL:
        _lengthen(dataset, seed)
    return dataset


def _lengthen(dataset: Dataset, seed: int) -> None:
    """Add what makes a header long: private elements and a sequence."""
    draw = random.Random(seed)
    block = dataset.private_block(PRIVATE_GROUP, "PX BENCH", create=True)
    for element in range(PRIVATE_ELEMENTS):
        block.add_new(element, "LO", f"value {draw.getrandbits(128):032x}")
    items = []
    for number in range(20):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, f"{ROOT_UID}.0.{number + 1}"
        items.append(item)
    dataset.ReferencedImageSequence = Sequence(items)


def _header(dataset: Dataset, pixels: bytes) -> bytes:
    """Everything before the pixels; the instance UID stands in it twice, the number once."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    dataset.PixelData = pixels
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    header = file.getvalue()[: -len(pixels)]
    if header.count(str(dataset.SOPInstanceUID).encode()) != 2 or header.count(b"IS\x08\x00") != 1:
        raise ValueError("the header does not hold the instance UID twice and one number of eight digits")
    return header
