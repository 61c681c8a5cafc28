"""``pypx.utils``: the paths of px-listen's own layout."""

from __future__ import annotations

from pathlib import PurePath


def sanitize(value: object) -> str:
    """Text of letters and digits; anything else becomes a dot, nothing becomes ``no value provided``."""
    text = "".join(character if character.isalnum() else "." for character in str(value).strip())
    return text or "no value provided"


def patientPath(data_directory: str, patient_id: object, patient_name: object) -> str:
    """The directory of a patient."""
    return str(PurePath(data_directory, f"{sanitize(patient_id)}-{sanitize(patient_name)}"))


def studyPath(patient_directory: str, study_description: object, study_date: object, study_uid: object) -> str:
    """The directory of a study."""
    return str(PurePath(patient_directory, "-".join(map(sanitize, (study_description, study_date, study_uid)))))


def seriesPath(study_directory: str, series_description: object, series_date: object, series_uid: object) -> str:
    """The directory of a series."""
    return str(PurePath(study_directory, "-".join(map(sanitize, (series_description, series_date, series_uid)))))


def dataPath(series_directory: str, image_instance_number: object, image_uid: object) -> str:
    """The file of an image."""
    return str(PurePath(series_directory, f"{sanitize(image_instance_number):0>5}-{sanitize(image_uid)}.dcm"))
