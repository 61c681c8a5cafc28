"""DICOM files: whole or not, values, queries, answers."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword

from pypx.errors import InputError, InvalidDicomError
from pypx.model import keywords
from pypx.model.keywords import RECORDED_KEYS, Level
from pypx.services import dicomsource, dicomstructure
from pypx.services.dcmtk import SMALL_DICTIONARY
from pypx.services.dicomfile import keyword_info, read_answer, read_instance, same_instance, write_query
from pypx.services.dicomtags import TAGS, are_listed
from support.corpus import NAMES, Corpus, CorpusFile
from support.dicom import dataset_bytes, read

WANTED = frozenset(RECORDED_KEYS) | {"ImageComments", "ReferringPhysicianName"}
EXPLICIT, IMPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in (".1", "", ".2", ".1.99"))
JPEG = "1.2.840.10008.1.2.4.70"
UNDEFINED = 0xFFFF_FFFF
LONG = ("OB", "OW", "SQ", "UN", "UT")


def element(tag: int, vr: str, value: bytes, *, length: int | None = None, order: str = "<") -> bytes:
    """One element of explicit VR, or implicit VR where `vr` is empty."""
    size = len(value) if length is None else length
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if not vr:
        return head + struct.pack(order + "L", size) + value
    if vr in LONG:
        return head + vr.encode() + struct.pack(order + "HL", 0, size) + value
    return head + vr.encode() + struct.pack(order + "H", size) + value


def item(value: bytes, *, length: int | None = None) -> bytes:
    return element(0xFFFE_E000, "", value, length=length)


def compressed(data: bytes, wbits: int = -15) -> bytes:
    """Deflated; with `wbits` 31 as gzip does it."""
    deflater = zlib.compressobj(wbits=wbits)
    return deflater.compress(data) + deflater.flush()


ITEM_END = element(0xFFFE_E00D, "", b"")
SEQUENCE_END = element(0xFFFE_E0DD, "", b"")


def identity(*, vr: bool = True, order: str = "<") -> bytes:
    values = (
        (0x0008_0016, b"1.2.3\0"),
        (0x0008_0018, b"1.2.4\0"),
        (0x0020_000D, b"1.2.5\0"),
        (0x0020_000E, b"1.2.6\0"),
    )
    return b"".join(element(tag, "UI" if vr else "", value, order=order) for tag, value in values)


def pixels(size: int = 64) -> bytes:
    return element(0x7FE0_0010, "OW", bytes(size))


def part10(dataset: bytes, syntax: str = EXPLICIT) -> bytes:
    name = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = element(0x0002_0010, "UI", name)
    return bytes(128) + b"DICM" + element(0x0002_0000, "UL", struct.pack("<L", len(meta))) + meta + dataset


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def make(data: bytes) -> Path:
        path = tmp_path / "file.dcm"
        path.write_bytes(data)
        return path

    return make


def reason(path: Path) -> str:
    with pytest.raises(InvalidDicomError) as caught:
        read_instance(path, WANTED)
    assert str(path) not in str(caught.value)
    return str(caught.value)


def refusal(path: Path) -> str | None:
    """Why a file is refused, by reading it in both ways."""
    try:
        read_instance(path, WANTED)
        read_answer(path)
    except InvalidDicomError as error:
        return str(error)
    return None


# headers


def test_headers_of_the_corpus(corpus: Corpus) -> None:
    for file in corpus:
        instance = read_instance(file.path, WANTED)
        assert instance.StudyInstanceUID == file.StudyInstanceUID
        assert instance.SeriesInstanceUID == file.SeriesInstanceUID
        assert instance.SOPInstanceUID == file.SOPInstanceUID
        assert instance.SOPClassUID == file.SOPClassUID
        assert instance.TransferSyntaxUID == file.TransferSyntaxUID
        expected = {keyword: text.rstrip(" ") for keyword, text in file.tags.items() if keyword in WANTED}
        assert dict(instance.tags) == expected, file.path


def test_every_cut_of_every_kind_of_file_is_seen(corpus: Corpus, tmp_path: Path) -> None:
    """A file that ends anywhere but at its end is refused, unless the cut is between two elements of the data set."""
    chosen: dict[str, CorpusFile] = {f"{file.kind} {file.TransferSyntaxUID}": file for file in corpus}
    generator = random.Random(4)
    for name, file in chosen.items():
        data = file.path.read_bytes()
        cuts = {len(data) - 1, len(data) - 2, len(data) - 8, *generator.sample(range(len(data)), 20)}
        path = tmp_path / "cut.dcm"
        for cut in cuts:
            path.write_bytes(data[:cut])
            if refusal(path) is not None:
                continue
            assert cut < len(data) - 8, f"{name}: cut at {cut} of {len(data)}"
            assert "PixelData" not in read(path, pixels=True), f"{name}: cut at {cut} of {len(data)}"


def test_only_the_wanted_keywords_are_returned(corpus: Corpus) -> None:
    instance = read_instance(corpus.files[0].path, frozenset({"PatientID", "EchoTime"}))
    assert dict(instance.tags) == {"PatientID": "PID-1001"}


def test_an_empty_attribute_is_not_an_absent_one(corpus: Corpus) -> None:
    (empty,) = (file for file in corpus.of_kind("incomplete") if file.tags.get("PatientBirthDate") == "")
    (absent,) = (file for file in corpus.of_kind("incomplete") if "SeriesNumber" not in file.tags)
    assert read_instance(empty.path, WANTED).tags["PatientBirthDate"] == ""
    assert "SeriesNumber" not in read_instance(absent.path, WANTED).tags


def test_reading_ordinary_files_does_not_load_pydicom(corpus: Corpus) -> None:
    paths = [str(file.path) for file in corpus if "2022" not in file.charset][:40]
    code = (
        "import sys\nfrom pathlib import Path\nfrom pypx.model.keywords import RECORDED_KEYS\n"
        "from pypx.services.dicomfile import read_instance\n"
        "for path in sys.argv[1:]: read_instance(Path(path), frozenset(RECORDED_KEYS))\n"
        "sys.exit('pydicom' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, *paths], check=False, timeout=30).returncode == 0


WRONG: list[tuple[str, bytes, str]] = [
    ("empty", b"", "empty"),
    ("text", b"hello world" * 100, "not a DICOM file"),
    ("preamble only", bytes(128) + b"DICM", "no transfer syntax"),
    ("no syntax", bytes(128) + b"DICM" + element(0x0002_0003, "UI", b"1.2\0") + identity(), "no transfer syntax"),
    ("no UIDs", part10(element(0x0010_0020, "LO", b"DOE^JANE")), "it has no StudyInstanceUID"),
    ("path as UID", part10(identity().replace(b"1.2.6\0", b"../../")), "its SeriesInstanceUID is not a UID"),
    ("dots as UID", part10(identity().replace(b"1.2.4\0", b"..    ")), "its SOPInstanceUID is not a UID"),
    ("empty UID", part10(identity().replace(b"1.2.5\0", b"\0\0\0\0\0\0")), "it has no StudyInstanceUID"),
    ("value cut", part10(identity() + pixels())[:-1], "cut short"),
    ("header cut", part10(identity() + pixels())[:-70], "cut short"),
    ("value cut in header", part10(identity())[:-3], "cut short"),
    ("huge length", part10(identity() + element(0x7FE0_0010, "OW", b"", length=0xFFFF_FFFE)), "cut short"),
    ("huge wanted value", part10(identity() + element(0x0010_4000, "UT", b"", length=0x7FFF_FFFE)), "cut short"),
    ("text behind the end", part10(identity() + pixels()) + b"garbage behind it", "no VR"),
    ("other bytes behind the end", part10(identity() + pixels()) + b"\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "no VR"),
    ("much padding", part10(identity() + pixels()) + bytes(5000), "no element"),
    ("item at the top", part10(identity() + item(b"")), "no element"),
    ("no VR", part10(identity() + element(0x0020_0010, "", b"abcd")), "no VR"),
    ("fragments without end", part10(identity() + element(0x7FE0_0010, "OB", item(b"") + item(b"abcd"), length=UNDEFINED), JPEG), "delimiter"),
    ("fragment without length", part10(identity() + element(0x7FE0_0010, "OB", item(b"", length=UNDEFINED), length=UNDEFINED), JPEG), "fragment"),
    ("fragment cut", part10(identity() + element(0x7FE0_0010, "OB", item(b"ab", length=4000), length=UNDEFINED), JPEG), "cut short"),
    ("no item in a sequence", part10(identity() + element(0x0040_0275, "SQ", element(0x0010_0020, "LO", b"ab"), length=UNDEFINED)), "no item"),
    ("sequence without end", part10(identity() + element(0x0040_0275, "SQ", item(b"", length=UNDEFINED) + ITEM_END, length=UNDEFINED)), "delimiter"),
    ("text of undefined length", part10(identity() + element(0x0010_4000, "UT", b"abcd", length=UNDEFINED)), "undefined length"),
    ("deflated, damaged", part10(b"\xff" * 200, DEFLATED), "damaged"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "text"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_refused_and_why(write: Callable[[bytes], Path], data: bytes, text: str) -> None:
    said = reason(write(data))
    assert text in said
    assert "DOE" not in said
    assert len(said) < 120


RIGHT: list[tuple[str, bytes]] = [
    ("explicit", part10(identity() + pixels())),
    ("no pixels", part10(identity())),
    ("implicit", part10(identity(vr=False) + element(0x7FE0_0010, "", bytes(40)), IMPLICIT)),
    ("big endian", part10(identity(order=">") + element(0x7FE0_0010, "OW", bytes(40), order=">"), BIG)),
    ("explicit that is implicit", part10(identity(vr=False))),
    ("implicit that is explicit", part10(identity(), IMPLICIT)),
    ("padded to a block", part10(identity() + pixels()) + bytes(300)),
    ("padded by a byte", part10(identity() + pixels()) + b"\0"),
    ("trailing padding element", part10(identity() + pixels() + element(0xFFFC_FFFC, "OB", bytes(10)))),
    ("fragments", part10(identity() + element(0x7FE0_0010, "OB", item(b"") + item(b"abcd") + SEQUENCE_END, length=UNDEFINED), JPEG)),
    ("sequence of known length, odd inside", part10(identity() + element(0x0040_0275, "SQ", b"whatever"))),
    ("nested, all undefined", part10(identity() + element(0x0040_0275, "SQ", item(element(0x0040_0008, "SQ", item(element(0x0008_0100, "SH", b"ab") + ITEM_END, length=UNDEFINED) + SEQUENCE_END, length=UNDEFINED) + ITEM_END, length=UNDEFINED) + item(b"") + SEQUENCE_END, length=UNDEFINED) + pixels())),
    ("icon before another undefined item", part10(identity() + element(0x0088_0200, "SQ", item(element(0x7FE0_0010, "OB", item(b"ab") + SEQUENCE_END, length=UNDEFINED) + ITEM_END, length=UNDEFINED) + item(ITEM_END, length=UNDEFINED) + SEQUENCE_END, length=UNDEFINED), JPEG)),
    ("UN of undefined length is implicit", part10(identity() + element(0x0041_1010, "UN", item(element(0x0010_0020, "", b"abcd") + ITEM_END, length=UNDEFINED) + SEQUENCE_END, length=UNDEFINED) + pixels())),
    ("deflated", part10(compressed(identity() + pixels(100_000), -15), DEFLATED)),
    ("deflated, with the trailer of gzip", part10(compressed(identity() + pixels(100_000), 31)[10:], DEFLATED)),
]  # fmt: skip


@pytest.mark.parametrize("data", [case[1] for case in RIGHT], ids=[case[0] for case in RIGHT])
def test_what_is_taken(write: Callable[[bytes], Path], data: bytes) -> None:
    instance = read_instance(write(data), WANTED)
    assert (instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.SOPInstanceUID) == (
        "1.2.5",
        "1.2.6",
        "1.2.4",
    )


@pytest.mark.parametrize("data", [case[1] for case in RIGHT if "padded" not in case[0] and "gzip" not in case[0]])
def test_every_cut_of_a_small_file(write: Callable[[bytes], Path], data: bytes) -> None:
    """Only cuts between two top-level elements may pass; there are at most as many as elements behind the UIDs."""
    whole = [cut for cut in range(132, len(data)) if refusal(write(data[:cut])) is None]
    assert len(whole) <= 2


def test_deep_nesting_is_refused_without_recursion(write: Callable[[bytes], Path]) -> None:
    depth = 5000
    inner = b"".join(element(0x0040_0275, "SQ", item(b"", length=UNDEFINED), length=UNDEFINED) for _ in range(depth))
    assert "nested deeper" in reason(write(part10(identity() + inner)))
    fine = dicomstructure.MAX_DEPTH
    inner = b"".join(element(0x0040_0275, "SQ", item(b"", length=UNDEFINED), length=UNDEFINED) for _ in range(fine))
    read_instance(write(part10(identity() + inner + (ITEM_END + SEQUENCE_END) * fine)), WANTED)


def test_too_many_elements_are_refused(write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomstructure, "MAX_ELEMENTS", 1000)
    assert "more than 1000 elements" in reason(write(part10(identity() + element(0x0040_0275, "SQ", item(b"") * 2000 + SEQUENCE_END, length=UNDEFINED))))  # fmt: skip


def test_a_deflate_bomb_is_refused(write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomsource, "MAX_INFLATED", 1_000_000)
    bomb = compressed(identity() + pixels(50_000_000), -15)
    assert "more than 1000000 bytes" in reason(write(part10(bomb, DEFLATED)))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    size = 64 * 1024 * 1024
    plain, deflated = tmp_path / "plain.dcm", tmp_path / "deflated.dcm"
    with plain.open("wb") as out:
        out.write(part10(identity() + element(0x7FE0_0010, "OW", b"", length=size)))
        out.truncate(out.tell() + size)
    deflated.write_bytes(part10(compressed(identity() + pixels(size), -15), DEFLATED))
    for path in (plain, deflated):
        tracemalloc.start()
        read_instance(path, WANTED)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2_000_000


@pytest.mark.parametrize("kind", ["directory", "fifo", "nothing", "forbidden"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "forbidden":
        path.write_bytes(part10(identity()))
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("whoever runs this may read everything")
    assert reason(path)


def test_random_damage_ends_in_an_answer(corpus: Corpus, tmp_path: Path) -> None:
    """Whatever the bytes, reading ends in an Instance or in InvalidDicomError."""
    generator = random.Random(7)
    files = [file.path.read_bytes() for file in corpus.files[::5]]
    path = tmp_path / "damaged.dcm"
    for _ in range(400):
        data = bytearray(generator.choice(files))
        for _ in range(generator.randint(1, 12)):
            data[generator.randrange(132, len(data))] = generator.choice((0, 0xFF, generator.randrange(256)))
        path.write_bytes(data)
        refusal(path)


# values


@pytest.mark.parametrize("charset", NAMES)
def test_answers_keep_every_character_set(tmp_path: Path, charset: str, corpus: Corpus) -> None:
    (file,) = (one for one in corpus.of_kind("charset") if one.charset == charset)
    answer = {element.keyword: element.value for element in read_answer(file.path)}
    assert (answer["PatientName"], answer["StudyDescription"]) == NAMES[charset]
    assert answer.get("SpecificCharacterSet", "") == charset


def test_answers_keep_every_character(corpus: Corpus) -> None:
    for file in corpus.of_kind("hostile"):
        answer = {element.keyword: element.value for element in read_answer(file.path)}
        assert answer["SeriesDescription"] == file.tags["SeriesDescription"].rstrip(" ")
        assert answer["ImageComments"] == "C:\\temp\\x"


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        (b"", "Müller".encode(), "Müller"),
        (b"", "Müller".encode("latin-1"), "Müller"),
        (b"ISO_IR 192", b"M\xfcller", "M\N{REPLACEMENT CHARACTER}ller"),
        (b"ISO_IR 100", b"M\xfcller", "Müller"),
        (b"ISO-IR 100", b"M\xfcller", "Müller"),
        (b"NO SUCH SET ", b"Mueller", "Mueller"),
        (b"\\ISO 2022 IR 100 ", b"M\xfcller", "Müller"),
        (b"GB18030 ", "王^小东".encode("gb18030"), "王^小东"),
        (b"GBK ", "镕\\俊".encode("gbk"), "镕\\俊"),
    ],
)  # fmt: skip
def test_decoding(write: Callable[[bytes], Path], charset: bytes, raw: bytes, text: str) -> None:
    elements = element(0x0008_0005, "CS", charset) if charset else b""
    path = write(part10(elements + identity() + element(0x0010_0020, "LO", raw)))
    assert read_instance(path, WANTED).tags["PatientID"] == text


def test_a_second_byte_that_looks_like_a_backslash_splits_nothing(write: Callable[[bytes], Path]) -> None:
    """In GBK and GB18030 the second byte of a character may be 0x5C, the code of the backslash."""
    text = next(chr(code) for code in range(0x4E00, 0x9FFF) if chr(code).encode("gbk", "replace")[-1] == 0x5C)
    raw = f"{text} {text}".encode("gbk")
    path = write(part10(element(0x0008_0005, "CS", b"GBK ") + identity() + element(0x0010_0020, "LO", raw)))
    assert read_instance(path, WANTED).tags["PatientID"] == f"{text} {text}"


@pytest.mark.parametrize(
    ("keyword", "vr", "raw", "text"),
    [
        ("PatientName", "PN", b"Doe^Jane= = ", "Doe^Jane= "),
        ("PatientName", "PN", b"Doe^Jane==", "Doe^Jane"),
        ("PatientID", "LO", b" 42 ", " 42"),
        ("SeriesNumber", "IS", b" 5 ", "5"),
        ("InstanceNumber", "IS", b"007\0", "007"),
        ("SeriesDescription", "LO", b"A \\B\\ C ", "A\\B\\ C"),
        ("ImageComments", "LT", b"a\\b \\c  ", "a\\b \\c"),
        ("Rows", "US", b"\x00\x02", "512"),
        ("MagneticFieldStrength", "DS", b"1.5 ", "1.5"),
        ("Modality", "UN", b"CT", "CT"),
        ("StudyTime", "TM", b"101500.25 ", "101500.25"),
        ("SOPClassUID", "UI", b"1.2.3\0", "1.2.3"),
    ],
)
def test_text_of_values(write: Callable[[bytes], Path], keyword: str, vr: str, raw: bytes, text: str) -> None:
    tag = TAGS[keyword][0]
    others = identity() if keyword != "SOPClassUID" else identity()[14:]
    path = write(part10(others + element(tag, vr, raw)))
    assert read_instance(path, WANTED).tags[keyword] == text


def test_long_values_are_cut(write: Callable[[bytes], Path]) -> None:
    path = write(part10(identity() + element(0x0020_4000, "UT", b"x" * 200_000) + pixels()))
    assert read_instance(path, WANTED).tags["ImageComments"] == "x" * 65536


def test_answers_name_private_and_unknown_attributes_by_tag(write: Callable[[bytes], Path]) -> None:
    data = (
        element(0x0008_0000, "UL", b"\0\0\0\0")
        + element(0x0008_0054, "AE", b"PACS")
        + element(0x0009_0010, "LO", b"MINE")
    )
    data += element(0x0018_5100, "CS", b"HFS ") + element(0x0020_1200, "IS", b"")
    answer = [(one.tag, one.keyword, one.value) for one in read_answer(write(part10(data)))]
    assert answer == [
        ("0008,0054", "RetrieveAETitle", "PACS"),
        ("0009,0010", "", "MINE"),
        ("0018,5100", "PatientPosition", "HFS"),
        ("0020,1200", "NumberOfPatientRelatedStudies", ""),
    ]


def test_sequences_in_answers_are_json(write: Callable[[bytes], Path]) -> None:
    code = element(0x0008_0100, "SH", b"T-A0100 ")
    path = write(part10(element(0x0008_1032, "SQ", item(code))))
    (one,) = read_answer(path)
    assert one.keyword == "ProcedureCodeSequence"
    assert one.value == '[{"00080100": {"vr": "SH", "Value": ["T-A0100"]}}]'


# queries


def query(path: Path, keys: dict[str, str], charset: str = "ISO_IR 192", level: Level = Level.STUDY) -> pydicom.Dataset:
    write_query(path, level, keys, charset)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return pydicom.dcmread(path)


def test_query_file(tmp_path: Path) -> None:
    keys = {"StudyInstanceUID": "", "PatientName": "DOE*", "StudyDate": "20240101-", "NumberOfStudyRelatedSeries": ""}
    dataset = query(tmp_path / "q.dcm", keys)
    assert dataset.file_meta.TransferSyntaxUID == EXPLICIT
    assert [one.keyword for one in dataset] == [
        "StudyDate", "QueryRetrieveLevel", "PatientName", "StudyInstanceUID", "NumberOfStudyRelatedSeries",
    ]  # fmt: skip
    assert (dataset.QueryRetrieveLevel, dataset.PatientName, dataset.StudyDate) == ("STUDY", "DOE*", "20240101-")
    assert "SpecificCharacterSet" not in dataset
    assert {one.VR for one in dataset} == {"DA", "CS", "PN", "UI", "IS"}


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 192", "王^小东"), ("ISO_IR 100", "Müller"), ("GB18030", "王^小东"), ("\\ISO 2022 IR 149", "Hong=홍")],
)
def test_query_beyond_ascii_names_its_character_set(tmp_path: Path, charset: str, name: str) -> None:
    write_query(tmp_path / "q.dcm", Level.STUDY, {"PatientName": name}, charset)
    answer = {one.keyword: one.value for one in read_answer(tmp_path / "q.dcm")}
    assert answer == {"SpecificCharacterSet": charset, "QueryRetrieveLevel": "STUDY", "PatientName": name}


def test_query_uids_and_numbers(tmp_path: Path) -> None:
    dataset = query(tmp_path / "q.dcm", {"SeriesInstanceUID": "1.2\\1.2.3", "Rows": "512\\64"}, level=Level.SERIES)
    assert list(dataset.SeriesInstanceUID) == ["1.2", "1.2.3"]
    assert list(dataset.Rows) == [512, 64]
    assert dataset.QueryRetrieveLevel == "SERIES"


def test_query_sequence_is_asked_for_empty(tmp_path: Path) -> None:
    assert len(query(tmp_path / "q.dcm", {"ProcedureCodeSequence": ""}).ProcedureCodeSequence) == 0


@pytest.mark.parametrize(
    ("keys", "charset", "text"),
    [
        ({"PatientName": "王"}, "ISO_IR 100", "PatientName: the value has characters that the character set"),
        ({"PatientName": "Müller"}, "", "PatientName: the value has characters that the character set"),
        ({"PatientName": "Müller"}, "\\ISO 2022 IR 149", "PatientName: the value has characters that"),
        ({"Modality": "Ü"}, "ISO_IR 192", "Modality: the value has characters that"),
        ({"PatientName": "a\udcff"}, "ISO_IR 192", "PatientName: the value has characters that"),
        ({"PatientNam": "x"}, "ISO_IR 192", "'PatientNam' is not a DICOM keyword"),
        ({"TransferSyntaxUID": "1.2"}, "ISO_IR 192", "TransferSyntaxUID: not an attribute of a query"),
        ({"Rows": "many"}, "ISO_IR 192", "Rows: the value is no number"),
        ({"ProcedureCodeSequence": "x"}, "ISO_IR 192", "ProcedureCodeSequence: attributes of value representation SQ"),
    ],
)
def test_queries_that_cannot_be(tmp_path: Path, keys: dict[str, str], charset: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        write_query(tmp_path / "q.dcm", Level.STUDY, keys, charset)
    assert str(caught.value).startswith(text)


# the dictionary


def test_table_agrees_with_the_dictionary() -> None:
    for keyword, (tag, vr) in TAGS.items():
        assert tag == tag_for_keyword(keyword), keyword
        assert vr == dictionary_VR(tag), keyword


def test_what_dcmtk_gets_is_that_table_and_what_every_conversation_needs() -> None:
    lines = Path(SMALL_DICTIONARY["DCMDICTPATH"]).read_text("ascii").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    plain = {keyword: (int(tag[1:5] + tag[6:10], 16), vr) for tag, vr, keyword, _, _ in rows if "-" not in tag}
    assert len(plain) == sum("-" not in row[0] for row in rows), "a keyword is there twice"
    others = {keyword: found for keyword, found in plain.items() if keyword not in TAGS}
    assert {keyword: found for keyword, found in plain.items() if keyword in TAGS} == TAGS
    assert {tag >> 16 for tag, _ in others.values()} == {0x0000, 0x0002, 0xFFFE}
    assert all(dictionary_VR(tag) == vr for tag, vr in others.values() if tag >> 16 == 0x0002)


@pytest.mark.parametrize(
    ("keywords", "listed"),
    [
        (["PatientID", "StudyDate"], True),
        ([], True),
        (["PatientID", "PatientMotherBirthName"], False),
        (["RequestAttributesSequence"], False),
    ],
)
def test_are_listed(keywords: list[str], listed: bool) -> None:
    assert are_listed(keywords) is listed


def test_table_has_what_px_asks_for() -> None:
    listed = {
        name for group in (keywords.STUDY_RETURN_KEYS, keywords.SERIES_RETURN_KEYS, RECORDED_KEYS) for name in group
    }
    assert listed <= TAGS.keys()


def test_keyword_info() -> None:
    info = keyword_info("PatientName")
    assert (info.keyword, info.tag, info.VR) == ("PatientName", "0010,0010", "PN")
    assert keyword_info("PatientPosition").tag == "0018,5100"
    assert keyword_info("TubeAngle").VR == "FD"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("patientname", "PatientName"),
        ("PatientNmae", "PatientName"),
        ("SeriesInstanceUid", "SeriesInstanceUID"),
        ("StudyDte", "StudyDate"),
        ("Patient Name", "PatientName"),
    ],
)
def test_wrong_keyword_names_the_right_one(wrong: str, right: str) -> None:
    with pytest.raises(InputError) as caught:
        keyword_info(wrong)
    assert str(caught.value).startswith(f"'{wrong}' is not a DICOM keyword; did you mean {right}")


def test_a_keyword_like_no_other() -> None:
    with pytest.raises(InputError, match=r"^'qqqqqqq' is not a DICOM keyword$"):
        keyword_info("qqqqqqq")


# comparing


def test_same_instance(tmp_path: Path) -> None:
    first, second = tmp_path / "1.dcm", tmp_path / "2.dcm"
    data = identity() + pixels(3_000_000)
    first.write_bytes(part10(data))
    meta = element(0x0002_0010, "UI", EXPLICIT.encode() + b"\0") + element(0x0002_0013, "SH", b"OTHER ")
    other_meta = bytes(128) + b"DICM" + element(0x0002_0000, "UL", struct.pack("<L", len(meta))) + meta
    for content, same in (
        (part10(data), True),
        (other_meta + data, True),
        (part10(data[:-1] + b"x"), False),
        (part10(data + element(0xFFFC_FFFC, "OB", b"")), False),
        (part10(data, JPEG), False),
    ):
        second.write_bytes(content)
        assert same_instance(first, second) is same
        assert same_instance(second, first) is same
    second.write_bytes(b"text")
    with pytest.raises(InvalidDicomError):
        same_instance(first, second)


def test_same_instance_agrees_with_the_bytes(corpus: Corpus) -> None:
    files = [corpus.files[0].path, corpus.files[1].path, corpus.of_kind("sr")[0].path]
    for one in files:
        for other in files:
            assert same_instance(one, other) is (dataset_bytes(one) == dataset_bytes(other))
