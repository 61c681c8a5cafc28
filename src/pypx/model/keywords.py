"""DICOM keywords that px asks for or stores, per level of the query model (PS3.4 C.6.1, C.6.2)."""

from __future__ import annotations

from enum import Enum


class Level(str, Enum):
    """Query/Retrieve Level (0008,0052)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


class QueryModel(str, Enum):
    """Information model of a query or retrieve (PS3.4 C.6.1 and C.6.2)."""

    STUDY_ROOT = "study"
    PATIENT_ROOT = "patient"


PATIENT_KEYS = frozenset({
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientBirthTime", "PatientSex",
    "OtherPatientIDs", "OtherPatientNames", "EthnicGroup", "PatientComments", "ResponsiblePerson",
    "PatientSpeciesDescription", "PatientBreedDescription",
    "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances",
})  # fmt: skip

STUDY_KEYS = frozenset({
    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "IssuerOfAccessionNumberSequence", "StudyID",
    "ModalitiesInStudy", "SOPClassesInStudy", "AnatomicRegionsInStudyCodeSequence", "ReferringPhysicianName",
    "StudyDescription", "ProcedureCodeSequence", "NameOfPhysiciansReadingStudy", "PhysiciansOfRecord",
    "AdmittingDiagnosesDescription", "PatientAge", "PatientSize", "PatientWeight", "Occupation",
    "AdditionalPatientHistory", "OtherStudyNumbers", "StudyStatusID", "StudyPriorityID", "StudyComments",
    "RequestingPhysician", "RequestingService", "RequestedProcedureDescription", "AdmissionID",
    "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
})  # fmt: skip

IMAGE_KEYS = frozenset({
    "SOPInstanceUID", "SOPClassUID", "InstanceNumber", "NumberOfFrames", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "ContentDate", "ContentTime", "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime",
    "AcquisitionDateTime", "ImageType", "ImageComments", "SliceLocation", "SliceThickness", "ConceptNameCodeSequence",
    "CompletionFlag", "VerificationFlag", "DocumentTitle", "AvailableTransferSyntaxUID",
    "RelatedGeneralSOPClassUID",
})  # fmt: skip

STUDY_RETURN_KEYS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyDate", "StudyTime",
    "AccessionNumber", "StudyID", "StudyDescription", "ModalitiesInStudy", "StudyInstanceUID",
    "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances",
    "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
)  # fmt: skip
"""What a STUDY query asks for: keys that PS3.4 table C.6-5 defines there, and what pypx showed of them."""

SERIES_RETURN_KEYS = (
    "Modality", "SeriesNumber", "SeriesInstanceUID", "SeriesDescription", "SeriesDate", "ProtocolName",
    "PerformedStationAETitle", "NumberOfSeriesRelatedInstances",
)  # fmt: skip
"""What a SERIES query asks for besides the UID of its study (PS3.4 table C.6-6)."""

PATIENT_RETURN_KEYS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances",
)  # fmt: skip

IMAGE_RETURN_KEYS = ("SOPInstanceUID",)

UNIQUE_KEY = {
    Level.PATIENT: "PatientID",
    Level.STUDY: "StudyInstanceUID",
    Level.SERIES: "SeriesInstanceUID",
    Level.IMAGE: "SOPInstanceUID",
}
"""The unique key of each level (PS3.4 C.6.2.1)."""

LEGACY_KEYS = (
    "AccessionNumber", "AcquisitionProtocolDescription", "AcquisitionProtocolName", "InstanceNumber",
    "ModalitiesInStudy", "Modality", "NumberOfPatientRelatedInstances", "NumberOfPatientRelatedSeries",
    "NumberOfPatientRelatedStudies", "NumberOfSeriesRelatedInstances", "NumberOfStudyRelatedInstances",
    "NumberOfStudyRelatedSeries", "PatientAge", "PatientBirthDate", "PatientID", "PatientName", "PatientSex",
    "PerformedStationAETitle", "ProtocolName", "QueryRetrieveLevel", "SeriesDate", "SeriesDescription",
    "SeriesInstanceUID", "StudyDate", "StudyDescription", "StudyInstanceUID",
)  # fmt: skip
"""The keys pypx 3 sent at both levels, in its order."""

RECORDED_KEYS = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "PatientAge",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyDescription", "StudyID", "AccessionNumber",
    "ReferringPhysicianName", "InstitutionName", "PerformedStationAETitle",
    "SeriesInstanceUID", "SeriesNumber", "SeriesDate", "SeriesTime", "SeriesDescription", "Modality", "ProtocolName",
    "AcquisitionProtocolName", "AcquisitionProtocolDescription", "BodyPartExamined", "Laterality",
    "Manufacturer", "ManufacturerModelName", "StationName", "DeviceSerialNumber", "SoftwareVersions",
    "MagneticFieldStrength", "FrameOfReferenceUID", "SOPClassUID", "SOPInstanceUID", "InstanceNumber",
    "AcquisitionDate", "AcquisitionTime", "ContentDate", "Rows", "Columns", "NumberOfFrames",
)  # fmt: skip
"""What is read from each file's header and recorded once a series: enough to search by and to register with."""


def level_of(keyword: str) -> Level:
    """The level at which the model defines `keyword`; what belongs to no other level is taken as a series attribute."""
    if keyword in PATIENT_KEYS:
        return Level.PATIENT
    if keyword in STUDY_KEYS:
        return Level.STUDY
    if keyword in IMAGE_KEYS:
        return Level.IMAGE
    return Level.SERIES
