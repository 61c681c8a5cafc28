"""DICOM files byte by byte, for what no library would write."""

from __future__ import annotations

import struct
from collections.abc import Mapping

EXPLICIT, DEFLATED = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.1.99"


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """One element of explicit VR little endian, its value as it is."""
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def text(tag: int, vr: bytes, value: str) -> bytes:
    """An element of UTF-8 text, padded; surrogates go as they are."""
    raw = value.encode("utf-8", "surrogatepass")[:0xFFFE]
    return element(tag, vr, raw + (b"\0" if vr == b"UI" else b" ") * (len(raw) % 2))


def part10(dataset: bytes, syntax: bytes = EXPLICIT) -> bytes:
    """A data set with preamble and the least meta information."""
    syntax += b"\0" * (len(syntax) % 2)
    meta = element(0x0002_0010, b"UI", syntax)
    return bytes(128) + b"DICM" + element(0x0002_0000, b"UL", struct.pack("<L", len(meta))) + meta + dataset


def identity(study: str = "1.2.5", series: str = "1.2.6", instance: str = "1.2.4") -> bytes:
    """The UIDs that a file must have."""
    uids = {0x0008_0016: "1.2.3", 0x0008_0018: instance, 0x0020_000D: study, 0x0020_000E: series}
    return b"".join(text(tag, b"UI", value) for tag, value in uids.items())


def instance(uids: tuple[str, str, str], values: Mapping[int, tuple[bytes, str]]) -> bytes:
    """A file of study, series and SOP Instance UID, and of values by tag, in UTF-8."""
    parts = {0x0008_0005: element(0x0008_0005, b"CS", b"ISO_IR 192")}
    parts |= {0x0008_0016: text(0x0008_0016, b"UI", "1.2.3"), 0x0008_0018: text(0x0008_0018, b"UI", uids[2])}
    parts |= {0x0020_000D: text(0x0020_000D, b"UI", uids[0]), 0x0020_000E: text(0x0020_000E, b"UI", uids[1])}
    parts |= {tag: text(tag, vr, value) for tag, (vr, value) in values.items()}
    return part10(b"".join(parts[tag] for tag in sorted(parts)))
