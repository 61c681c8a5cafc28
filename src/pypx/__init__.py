"""pypx: query, retrieve, file and hand on DICOM images from a PACS."""

__version__ = "4.0.0"
