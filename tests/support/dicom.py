"""Reading DICOM files without the package under test."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pydicom
from pydicom import config
from pydicom.dataset import Dataset


def dataset_bytes(path: Path) -> tuple[str, bytes]:
    """Transfer syntax UID and the data set behind the file meta information (PS3.10 7.1), read by hand."""
    data = path.read_bytes()
    assert data[128:132] == b"DICM", f"{path} is not a DICOM file"
    assert data[132:140] == b"\x02\x00\x00\x00UL\x04\x00", f"{path} does not start with the group length"
    end = 144 + struct.unpack("<L", data[140:144])[0]
    return _transfer_syntax(data[144:end], path), data[end:]


def _transfer_syntax(meta: bytes, path: Path) -> str:
    position = 0
    while position + 8 <= len(meta):
        group, element, vr, length = struct.unpack("<HH2sH", meta[position : position + 8])
        start = position + 8
        if vr in (b"OB", b"UN", b"UT", b"SQ"):
            length = struct.unpack("<L", meta[start : start + 4])[0]
            start += 4
        if (group, element) == (2, 0x10):
            return meta[start : start + length].rstrip(b"\0 ").decode("ascii")
        position = start + length
    raise AssertionError(f"{path} names no transfer syntax")


def read(path: Path, *, pixels: bool = False) -> Dataset:
    """The data set, values as they stand, without pydicom's warnings about odd ones."""
    with config.disable_value_validation():
        return pydicom.dcmread(path, stop_before_pixels=not pixels)


def values(dataset: Dataset) -> dict[str, Any]:
    """Every element by tag, for comparing files that were re-encoded on their way; pixel and group length apart."""
    return {
        str(element.tag): (element.VR if element.VR != "UN" else None, element.value)
        for element in dataset
        if element.tag.element != 0
    }
