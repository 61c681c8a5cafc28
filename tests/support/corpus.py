"""A made-up corpus, the same bytes for the same seed."""

from __future__ import annotations

import hashlib
import random
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pydicom import config, uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite

SEED = 4
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
SR = "1.2.840.10008.5.1.4.1.1.88.11"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.7.2"
SOP_CLASS = {
    "ct": CT, "mr": MR, "sr": SR, "enhanced": ENHANCED_CT, "multiframe": MULTI_FRAME, "compressed": SECONDARY_CAPTURE,
}  # fmt: skip
MODALITY = {"ct": "CT", "mr": "MR", "sr": "SR", "enhanced": "CT", "multiframe": "OT", "compressed": "OT"}

NAMES = {
    "": ("Adams^John Q", "Head without contrast"),
    "ISO_IR 100": ("Müller^Jörg", "Schädel nativ, Übersicht"),
    "ISO_IR 101": ("Kovács^Győző", "Koponya felvétel, műtét után"),
    "ISO_IR 109": ("Ġorġ^Borġ", "Ħarsa ġenerali"),
    "ISO_IR 110": ("Bērziņš^Jānis", "Galvas smadzeņu izmeklēšana"),
    "ISO_IR 144": ("Люкceмбypг^Роза", "Голова без контраста"),
    "ISO_IR 127": ("قباني^لنزار", "تصوير الرأس"),
    "ISO_IR 126": ("Διονυσιος^Αννα", "Κεφαλή χωρίς σκιαγραφικό"),
    "ISO_IR 138": ("שרון^דבורה", "בדיקת ראש"),
    "ISO_IR 148": ("Çavuşoğlu^Şükrü", "Baş ağrısı, kontrastsız"),
    "ISO_IR 166": ("นามสกุล^สมชาย", "ตรวจศีรษะ"),
    "ISO_IR 192": ("王^小东=Wang^XiaoDong", "頭部 голова κεφαλή"),
    "GB18030": ("王^小东", "头部平扫"),
    "GBK": ("张^伟", "胸部扫描"),
    "\\ISO 2022 IR 87": ("Yamada^Tarou=山田^太郎=やまだ^たろう", "頭部単純"),
    "ISO 2022 IR 13\\ISO 2022 IR 87": ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "ｱﾀﾏ"),
    "\\ISO 2022 IR 149": ("Hong^Gildong=洪^吉洞=홍^길동", "두부 검사"),
    "\\ISO 2022 IR 58": ("Zhang^XiaoDong=张^小东", "头部"),
}
"""PatientName and StudyDescription for each SpecificCharacterSet (PS3.3 C.12.1.1.2, names after PS3.5 annexes H to K)."""

HOSTILE = (
    "T1 SAG [fast]", 'the "best" of \'both\'', "$(id)", "`id`", "../../x", "/etc/passwd", "a;b|c&d", "x" * 64,
    "left\\right", "%PatientID %_md5|7_SeriesInstanceUID", "..", "*?", "-x --help", "no value provided for 0008,103e",
)  # fmt: skip
"""Descriptions that shells, path builders, templates and log parsers trip over; all are legal LO values."""

TRANSFER_SYNTAXES = {
    "ct": uid.ExplicitVRLittleEndian,
    "mr": uid.ImplicitVRLittleEndian,
    "big-endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "jpeg-baseline": uid.JPEGBaseline8Bit,
    "jpeg-lossless": uid.JPEGLosslessSV1,
    "jpeg-ls": uid.JPEGLSLossless,
    "jpeg-2000-lossless": uid.JPEG2000Lossless,
    "jpeg-2000": uid.JPEG2000,
    "rle": uid.RLELossless,
}


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """One file and what it says of itself; `tags` are decoded values by keyword, absent tags absent."""

    path: Path
    kind: str
    charset: str
    TransferSyntaxUID: str
    SOPClassUID: str
    PatientID: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Files under one directory, in the order in which they were made."""

    directory: Path
    files: tuple[CorpusFile, ...]

    def __iter__(self) -> Iterator[CorpusFile]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def of_kind(self, *kinds: str) -> tuple[CorpusFile, ...]:
        found = tuple(file for file in self.files if file.kind in kinds)
        assert found, f"the corpus has no files of kind {kinds}"
        return found

    def of_study(self, StudyInstanceUID: str) -> tuple[CorpusFile, ...]:
        return tuple(file for file in self.files if file.StudyInstanceUID == StudyInstanceUID)

    def of_series(self, SeriesInstanceUID: str) -> tuple[CorpusFile, ...]:
        return tuple(file for file in self.files if file.SeriesInstanceUID == SeriesInstanceUID)

    def studies(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(file.StudyInstanceUID for file in self.files))

    def series(self, StudyInstanceUID: str | None = None) -> tuple[str, ...]:
        files = self.files if StudyInstanceUID is None else self.of_study(StudyInstanceUID)
        return tuple(dict.fromkeys(file.SeriesInstanceUID for file in files))

    def patients(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(file.PatientID for file in self.files))


def made_uid(*parts: object) -> str:
    """A UID under 2.25 (PS3.5 B.2), the same for the same parts."""
    digest = hashlib.sha256("/".join(map(str, (SEED, *parts))).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


@dataclass
class _Maker:
    directory: Path
    files: list[CorpusFile] = field(default_factory=list)

    def series(
        self,
        patient: str,
        study: str,
        series: str,
        *,
        kind: str = "ct",
        n: int = 2,
        syntax: str = "",
        charset: str = "ISO_IR 100",
        label: str = "",
        without: Iterable[str] = (),
        **tags: str | None,
    ) -> None:
        """`n` files of one series; a tag given as None is absent, as "" empty."""
        for number in range(1, n + 1):
            dataset = _dataset(kind, patient, study, series, number, charset)
            for keyword, value in tags.items():
                if value is None:
                    delattr(dataset, keyword)
                else:
                    setattr(dataset, keyword, value)
            for keyword in without:
                delattr(dataset, keyword)
            transfer_syntax = TRANSFER_SYNTAXES[syntax or ("mr" if kind == "mr" else "ct")]
            path = self.directory / study / series / f"{number:04d}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            described = _described(dataset)
            if charset.endswith("IR 58"):
                _escape_gb2312(dataset)
            _write(path, dataset, transfer_syntax)
            self.files.append(
                CorpusFile(
                    path=path,
                    kind=label or kind,
                    charset=charset,
                    TransferSyntaxUID=str(transfer_syntax),
                    SOPClassUID=str(dataset.SOPClassUID),
                    PatientID=str(dataset.PatientID),
                    StudyInstanceUID=str(dataset.StudyInstanceUID),
                    SeriesInstanceUID=str(dataset.SeriesInstanceUID),
                    SOPInstanceUID=str(dataset.SOPInstanceUID),
                    tags=MappingProxyType(described),
                )
            )


def make_corpus(directory: Path) -> Corpus:
    """Write the mixed corpus: see the kinds below."""
    maker = _Maker(directory)
    with config.disable_value_validation():
        _ordinary(maker)
        _character_sets(maker)
        _hostile(maker)
        _incomplete(maker)
        _compressed(maker)
    return Corpus(directory, tuple(maker.files))


def _ordinary(maker: _Maker) -> None:
    """One patient with three studies (CT, MR, a report), another with two series of one number and description."""
    maker.series("PID-1001", "ct-study", "thin", n=6, SeriesNumber="2", SeriesDescription="Thin slices 1.0 mm")
    maker.series("PID-1001", "ct-study", "scout", n=1, SeriesNumber="1", SeriesDescription="Scout")
    maker.series(
        "PID-1001", "mr-study", "t1", kind="mr", n=4, StudyDate="20210317", SeriesDescription="T1 SAG [fast]",
        StudyDescription="Brain MR",
    )  # fmt: skip
    maker.series("PID-1001", "sr-study", "report", kind="sr", n=2, StudyDate="20210318", StudyDescription="Report")
    maker.series("PID-1002", "twin-study", "first", n=3, SeriesNumber="5", SeriesDescription="Axial", label="twin")
    maker.series("PID-1002", "twin-study", "second", n=2, SeriesNumber="5", SeriesDescription="Axial", label="twin")
    maker.series("PID-1003", "frames-study", "cine", kind="multiframe", n=2, StudyDate="20200229")
    maker.series("PID-1003", "frames-study", "volume", kind="enhanced", n=1, StudyDate="20200229")


def _character_sets(maker: _Maker) -> None:
    for number, (charset, (name, description)) in enumerate(NAMES.items()):
        maker.series(
            f"CHARSET-{number:02d}", f"charset-{number:02d}", "series", n=1, charset=charset, label="charset",
            PatientName=name, StudyDescription=description, SeriesDescription=description,
        )  # fmt: skip


def _hostile(maker: _Maker) -> None:
    for number, value in enumerate(HOSTILE):
        maker.series(
            f"HOSTILE-{number:02d}", f"hostile-{number:02d}", "series", n=1, label="hostile", charset="ISO_IR 192",
            StudyDescription=value, SeriesDescription=value, ProtocolName=value,
            ImageComments="C:\\temp\\x",
        )  # fmt: skip
    for number, value in enumerate(("../../x", "$(id);a/b", ".. ")):
        maker.series(value, f"hostile-id-{number}", "series", n=1, label="hostile-id", PatientName='O\'Neil^"Q" $(id)')


def _incomplete(maker: _Maker) -> None:
    for keyword in ("SeriesNumber", "AccessionNumber", "StudyDescription", "SeriesDescription", "StudyDate"):
        name = f"without-{keyword}"
        maker.series(name, name, "series", n=1, label="incomplete", without=(keyword,))
    for keyword in ("PatientBirthDate", "PatientName", "StudyDate", "Modality"):
        name = f"empty-{keyword}"
        maker.series(name, name, "series", n=1, label="incomplete", **{keyword: ""})
    maker.series("", "empty-PatientID", "series", n=1, label="incomplete")


def _compressed(maker: _Maker) -> None:
    for syntax in list(TRANSFER_SYNTAXES)[2:]:
        maker.series(
            "PID-2001", "syntax-study", syntax, kind="compressed", n=2, syntax=syntax, SeriesDescription=syntax
        )


def _dataset(kind: str, patient: str, study: str, series: str, number: int, charset: str) -> Dataset:
    dataset = Dataset()
    if charset:
        dataset.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
    dataset.SOPClassUID = SOP_CLASS[kind]
    dataset.SOPInstanceUID = made_uid(study, series, number)
    dataset.StudyDate = "20210316"
    dataset.SeriesDate = "20210316"
    dataset.StudyTime = "101500"
    dataset.AccessionNumber = f"A{int(made_uid(study)[5:]) % 10**8:08d}"
    dataset.Modality = MODALITY[kind]
    dataset.Manufacturer = "Made Up"
    dataset.InstitutionName = "Nowhere"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Made up study"
    dataset.SeriesDescription = f"{MODALITY[kind]} series"
    dataset.PatientName = "Doe^Jane"
    dataset.PatientID = patient
    dataset.PatientBirthDate = "19610102"
    dataset.PatientSex = "F"
    dataset.PatientAge = "060Y"
    dataset.ProtocolName = "Protocol 1"
    dataset.StudyInstanceUID = made_uid(study)
    dataset.SeriesInstanceUID = made_uid(study, series)
    dataset.StudyID = "1"
    dataset.SeriesNumber = "3"
    dataset.InstanceNumber = str(number)
    if kind == "sr":
        dataset.CompletionFlag = "COMPLETE"
        dataset.VerificationFlag = "UNVERIFIED"
        dataset.ValueType = "CONTAINER"
        dataset.ContinuityOfContent = "SEPARATE"
        dataset.ContentSequence = [_finding(f"Finding {number}: nothing to see.")]
    else:
        _add_pixels(dataset, frames=3 if kind in ("multiframe", "enhanced") else 1)
    return dataset


def _finding(text: str) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "TEXT"
    item.TextValue = text
    return item


def _add_pixels(dataset: Dataset, *, frames: int) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    if frames > 1:
        dataset.NumberOfFrames = str(frames)
    dataset.Rows = dataset.Columns = 16
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    generator = random.Random(dataset.SOPInstanceUID)
    dataset.PixelData = b"".join(struct.pack("<H", generator.getrandbits(12)) for _ in range(256 * frames))
    dataset["PixelData"].VR = "OW"


def _described(dataset: Dataset) -> dict[str, str]:
    """Text of every plain element, several values joined by a backslash, as PS3.5 6.4 writes them."""
    described = {}
    for element in dataset:
        if element.VR in ("SQ", "OW", "OB"):
            continue
        value = element.value
        described[element.keyword] = (
            "\\".join(map(str, value)) if isinstance(value, (list, tuple)) or element.VM > 1 else str(value)
        )
    return described


def _escape_gb2312(dataset: Dataset) -> None:
    """Encode by hand: pydicom 3.0 leaves out the escape sequence in front of each component (PS3.5 annex K)."""
    for keyword in ("PatientName", "StudyDescription", "SeriesDescription"):
        parts = re.split(r"([=^])", str(dataset[keyword].value))
        encoded = b"".join(p.encode() if p.isascii() else b"\x1b$)A" + p.encode("gb2312") for p in parts)
        dataset[keyword].value = encoded


def _write(path: Path, dataset: Dataset, transfer_syntax: uid.UID) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = uid.UID(made_uid("implementation"))
    if transfer_syntax == uid.ExplicitVRBigEndian:
        words = dataset.PixelData
        dataset.PixelData = struct.pack(f">{len(words) // 2}H", *struct.unpack(f"<{len(words) // 2}H", words))
    elif transfer_syntax.is_encapsulated:
        dataset.PixelData = encapsulate([_frame(transfer_syntax, dataset.PixelData)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    dataset.file_meta = meta
    dcmwrite(path, dataset, enforce_file_format=True)


def _frame(transfer_syntax: uid.UID, pixels: bytes) -> bytes:
    """A real RLE frame (PS3.5 G, literal runs only); else made-up bytes between the codec's start and end markers."""
    if transfer_syntax == uid.RLELossless:
        segments = [_literal_runs(pixels[1::2]), _literal_runs(pixels[0::2])]
        offsets = (2, 64, 64 + len(segments[0]), *[0] * 13)
        return struct.pack("<16L", *offsets) + b"".join(segments)
    body = bytes(byte % 255 for byte in pixels[:200])  # no 0xff, so no marker inside
    start = b"\xff\x4f\xff\x51" if "2000" in transfer_syntax.name else b"\xff\xd8\xff\xc3"
    return start + body + b"\xff\xd9"


def _literal_runs(data: bytes) -> bytes:
    runs = b"".join(bytes([len(data[i : i + 128]) - 1]) + data[i : i + 128] for i in range(0, len(data), 128))
    return runs + b"\0" * (len(runs) % 2)


def make_series(
    directory: Path,
    n: int,
    rows: int = 512,
    cols: int = 512,
    seed: int | str = 0,
    *,
    PatientID: str = "PID-5000",
    study: str | None = None,
) -> Corpus:
    """A CT series of `n` explicit little endian files, rows x cols of 16 bits, each with pixels of its own.

    The header is encoded once; SOPInstanceUID and InstanceNumber, of fixed length, are patched into it.  The same
    `study` puts several series into one study; by default each has its own.
    """
    assert n < 100_000
    label = made_uid("series", seed)
    stem = label[:40]
    dataset = _dataset("ct", PatientID, study or f"study of {label}", label, 1, "ISO_IR 100")
    dataset.SeriesDescription = f"Series of {n}"
    dataset.Rows, dataset.Columns = rows, cols
    dataset.SOPInstanceUID = f"{stem}.100000"
    dataset.InstanceNumber = "100000"
    dataset.PixelData = b"\0" * (rows * cols * 2)
    size = rows * cols * 2
    directory.mkdir(parents=True, exist_ok=True)
    template = directory / "template.dcm"
    tags = _described(dataset)
    _write(template, dataset, uid.ExplicitVRLittleEndian)
    header = template.read_bytes()[:-size]
    template.unlink()
    assert header.count(f"{stem}.100000".encode()) == 2, "the instance UID stands in the meta information and once more"
    assert header.count(b"IS\x06\x00100000") == 1
    pixels = random.Random(f"{seed}").randbytes(size + 2 * n)
    files = []
    for number in range(1, n + 1):
        SOPInstanceUID = f"{stem}.{100000 + number}"
        head = header.replace(f"{stem}.100000".encode(), SOPInstanceUID.encode())
        head = head.replace(b"IS\x06\x00100000", b"IS\x06\x00" + f"{number:6d}".encode())
        path = directory / f"{number:05d}.dcm"
        with path.open("wb") as out:
            out.write(head)
            out.write(pixels[2 * number : 2 * number + size])
        files.append(
            CorpusFile(
                path=path,
                kind="ct",
                charset="ISO_IR 100",
                TransferSyntaxUID=str(uid.ExplicitVRLittleEndian),
                SOPClassUID=CT,
                PatientID=PatientID,
                StudyInstanceUID=str(dataset.StudyInstanceUID),
                SeriesInstanceUID=str(dataset.SeriesInstanceUID),
                SOPInstanceUID=SOPInstanceUID,
                tags=MappingProxyType({**tags, "SOPInstanceUID": SOPInstanceUID, "InstanceNumber": str(number)}),
            )
        )
    return Corpus(directory, tuple(files))
