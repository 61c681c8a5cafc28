"""The path templates that pypx 3.6.2 has as defaults, as text.

They stand in options and their help, where nothing of the template language has to be loaded.
"""

from __future__ import annotations

from typing import NamedTuple


class TemplateTexts(NamedTuple):
    """Templates of the three folders and of the file name."""

    root: str
    study: str
    series: str
    image: str


PYPX_TEXTS = TemplateTexts(
    root="%PatientID-%PatientName-%PatientBirthDate",
    study="%StudyDescription-%AccessionNumber-%StudyDate",
    series="%_pad|5,0_SeriesNumber-%SeriesDescription",
    image="%_pad|4,0_InstanceNumber-%SOPInstanceUID.dcm",
)
"""What px-repack uses."""

PYPX_PUSH_TEXTS = PYPX_TEXTS._replace(study="%StudyDescription-%AccessionNumber-%StudyDate-%PatientAge-%AgeInDays")
"""What px-push uses for the names of objects."""
