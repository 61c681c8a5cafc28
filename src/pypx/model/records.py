"""What DICOM objects are to px: references and header records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from pypx.model.dataclass import dataclass
from pypx.model.identifiers import UID


@dataclass(frozen=True, slots=True)
class SeriesRef:
    """A series by its two UIDs, and how many instances its PACS says it has (``None``: it did not say).

    `PatientID` is needed where a PACS is asked in the patient root model (PS3.4 C.6.1); ``""`` where nobody knows it.
    """

    StudyInstanceUID: UID
    SeriesInstanceUID: UID
    NumberOfSeriesRelatedInstances: int | None = None
    SeriesDescription: str = ""
    PatientID: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Element:
    r"""One attribute as a PACS answered it.

    `tag` is ``gggg,eeee`` in lower-case hexadecimal, `keyword` empty for an attribute the dictionary does not know;
    `value` is the decoded text, several values joined by ``\``, ``""`` where the attribute came without one.
    """

    tag: str
    keyword: str
    value: str


@dataclass(frozen=True, slots=True)
class Instance:
    """A SOP Instance as its file header describes it.

    `tags` maps a keyword to its text as the file has it (several values joined by a backslash); an absent attribute
    is an absent key, an empty one is ``""``.  Study and series UID and SOP Instance UID have been checked.
    """

    StudyInstanceUID: UID
    SeriesInstanceUID: UID
    SOPInstanceUID: UID
    SOPClassUID: str
    TransferSyntaxUID: str
    tags: Mapping[str, str]

    def tag(self, keyword: str, default: str = "") -> str:
        """The text of `keyword`, or `default` where the file has no such attribute."""
        return self.tags.get(keyword, default)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An instance as the BASEMOUNT has it.

    `file` is its path relative to the BASEMOUNT (POSIX), `size` in bytes, `received` in UTC (ISO 8601).
    """

    SOPInstanceUID: UID
    file: str
    size: int
    received: str
