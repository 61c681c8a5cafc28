"""The images that are sent: real CT data sets, 16 x 16, explicit VR little endian."""

from __future__ import annotations

import random
import struct

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from scripted_pacs.archive import Entry
from scripted_pacs.storing import CT


def image(entry: Entry, *, other_content: bool = False) -> Dataset:
    """The data set of an instance, always the same; `other_content` differs in its pixels and its comment."""
    patient, study, series, instance = entry.patient, entry.study, entry.series, entry.instance
    assert study is not None
    assert series is not None
    assert instance is not None
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = CT
    dataset.SOPInstanceUID = instance.SOPInstanceUID
    dataset.StudyDate = dataset.SeriesDate = study.StudyDate
    dataset.StudyTime = study.StudyTime
    dataset.AccessionNumber = study.AccessionNumber
    dataset.Modality = series.Modality
    dataset.Manufacturer = "Made Up"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = study.StudyDescription
    dataset.SeriesDescription = series.SeriesDescription
    dataset.PatientName = patient.PatientName
    dataset.PatientID = patient.PatientID
    dataset.PatientBirthDate = patient.PatientBirthDate
    dataset.PatientSex = patient.PatientSex
    dataset.StudyInstanceUID = study.StudyInstanceUID
    dataset.SeriesInstanceUID = series.SeriesInstanceUID
    dataset.StudyID = "1"
    dataset.SeriesNumber = series.SeriesNumber
    dataset.InstanceNumber = instance.InstanceNumber
    if other_content:
        dataset.ImageComments = "another image under the same UID"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = 16
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    pixels = random.Random(f"{instance.SOPInstanceUID}/{other_content}")
    dataset.PixelData = struct.pack("<256H", *(pixels.getrandbits(12) for _ in range(256)))
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset
