"""Mutated DICOM files through everything that reads them: a reason or a result, never a traceback, a hang or a flood."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import pytest

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import InvalidDicomError, PxError
from pypx.model.fileoutcomes import FileState
from pypx.model.identifiers import is_uid
from pypx.model.keywords import RECORDED_KEYS
from pypx.model.packpath import DEFAULT_TEMPLATES, PYPX_PUSH_TEMPLATES, pack_path
from pypx.services import dicomfile, dicomsource
from pypx.services.dicomfile import read_answer, read_instance, same_instance
from pypx.workflows.repack import RepackOptions, repack
from support.corpus import Corpus
from support.limits import LONG, cpu_limit, memory_limit, tree
from support.mutate import Mutator, sequence
from support.rawdicom import DEFLATED, element, identity, part10

KEYWORDS = frozenset(RECORDED_KEYS) | DEFAULT_TEMPLATES.keywords() | PYPX_PUSH_TEMPLATES.keywords() | {"ImageComments"}
CASES = 20_000 if LONG else 300
FILED = 20_000 if LONG else 250
CASE_S = 5.0
CASE_BYTES = 16 << 20


@pytest.fixture(scope="session")
def seeds(corpus: Corpus) -> list[bytes]:
    """A file of each kind: character sets, hostile values, transfer syntaxes, nested reports, many frames."""
    kinds = {(file.kind, file.charset, file.TransferSyntaxUID): file.path for file in corpus}
    return [path.read_bytes() for path in kinds.values()]


def mutated(seeds: list[bytes], label: str, number: int) -> bytes:
    mutator = Mutator(f"{label} {number}")
    return mutator.dicom(mutator.random.choice(seeds), seeds)


def check_line(reason: str | None) -> None:
    assert reason is not None
    assert "\n" not in reason
    assert 0 < len(reason) < 300


def use(path: Path) -> None:
    """Read a file in each way px has; what comes out keeps its promises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            instance = read_instance(path, KEYWORDS)
        except InvalidDicomError as error:
            check_line(str(error))
        else:
            assert all(map(is_uid, (instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.SOPInstanceUID)))
            assert all(len(value) <= 8 * dicomsource.MAX_VALUE for value in instance.tags.values())
            for templates in (DEFAULT_TEMPLATES, PYPX_PUSH_TEMPLATES):
                assert len(pack_path(templates, instance.tags).file.parts) == 4
            assert same_instance(path, path)
        try:
            answer = read_answer(path)
        except InvalidDicomError:
            return
        for element in answer:
            element.value.encode()


def test_mutated_files_are_read_or_refused(seeds: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "case.dcm"
    for number in range(CASES):
        path.write_bytes(mutated(seeds, "header", number))
        try:
            with cpu_limit(CASE_S):
                if number % 10 or not LONG:
                    use(path)
                else:
                    with memory_limit(CASE_BYTES):
                        use(path)
        except Exception as error:
            raise AssertionError(f"case {number}: {type(error).__name__}: {error}") from error


def test_mutated_files_need_little_memory(seeds: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "case.dcm"
    path.write_bytes(seeds[0])
    use(path)  # imports
    for number in range(40):
        path.write_bytes(mutated(seeds, "memory", number))
        with memory_limit(CASE_BYTES):
            use(path)


def test_mutated_files_are_filed_inside_the_basemount_or_named(seeds: list[bytes], tmp_path: Path) -> None:
    """What is filed is what came, below data/; all else is told, and nothing appears anywhere else."""
    sources = tmp_path / "sources"
    sources.mkdir()
    base = tmp_path / "mount" / "base"
    database = Database.open_or_create(Layout.of_basemount(base))
    for start in range(0, FILED, 250):
        for path in sources.iterdir():
            path.unlink()
        for number in range(start, start + 250):
            (sources / f"{number:05d}.dcm").write_bytes(mutated(seeds, "filed", number))
        before = tree(tmp_path, without=base)
        with cpu_limit(120):
            outcomes = list(repack([sources], database, RepackOptions()))
        assert sorted(outcome.source.name for outcome in outcomes) == sorted(path.name for path in sources.iterdir())
        for outcome in outcomes:
            if outcome.state is FileState.REJECTED:
                check_line(outcome.reason)
                continue
            assert outcome.file is not None
            assert outcome.file.resolve().is_relative_to(base.resolve())
            assert same_instance(outcome.source, outcome.file)
        assert tree(tmp_path, without=base) == before
        assert {path.name for path in base.iterdir()} <= {"data", "log", "services", "incoming"}
    depths = {len(path.relative_to(base / "data").parts) for path in (base / "data").rglob("*") if path.is_file()}
    assert depths == {4}


# What was found, each with the code it once got through.


def in_sequence(inner: bytes) -> bytes:
    """A sequence of one item that holds `inner`."""
    return element(0x0040_0275, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner)


FOUND = {
    "a number of three bytes": in_sequence(element(0x0028_0010, b"US", b"\1\0\1")),
    "text as a tag": in_sequence(element(0x0020_5000, b"AT", b"ISO_IR")),
    "an infinite integer string": in_sequence(element(0x0020_0013, b"IS", b"1e999 ")),
    "a decimal string that is none": in_sequence(element(0x0018_0050, b"DS", b"1,2,3 ")),
    "an unknown character set": in_sequence(element(8 << 16 | 5, b"CS", b"idna") + element(0x0010_0010, b"PN", b"\xff ")),
    "10,000 sequences in one another": sequence(10_000, known=True),
    "an item that ends behind its sequence": element(0x0040_0275, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFF_FFFE)),
    "a sequence that is cut": element(0x0040_0275, b"SQ", b"\xfe\xff\0\xe0"),
    "4 GiB inside an item": in_sequence(struct.pack("<HH2sHL", 9, 0x1001, b"OB", 0, 0xFFFF_FFF0)),
}  # fmt: skip


@pytest.mark.parametrize("dataset", FOUND.values(), ids=FOUND)
def test_sequences_of_an_answer_that_cannot_be_read_come_empty(dataset: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rsp0001.dcm"
    path.write_bytes(part10(identity() + dataset))
    with cpu_limit(CASE_S), memory_limit(CASE_BYTES):
        use(path)
        answer = {one.keyword: one.value for one in read_answer(path)}
    assert answer["StudyInstanceUID"] == "1.2.5"


def test_a_deflated_data_set_that_is_cut_in_its_padding(tmp_path: Path) -> None:
    """Padding has its limit here as in plain files; behind it nobody looked whether the deflated part has an end."""
    deflater = zlib.compressobj(wbits=-15)
    packed = deflater.compress(identity() + bytes(1 << 20)) + deflater.flush()
    path = tmp_path / "cut.dcm"
    path.write_bytes(part10(packed[: len(packed) // 2], DEFLATED))
    assert refused(path, 1) == "not a data set: what follows its last element is no element"


def test_an_answer_has_a_limit_of_size(tmp_path: Path) -> None:
    path = tmp_path / "rsp0001.dcm"
    size = dicomfile.MAX_ANSWER
    path.write_bytes(part10(identity() + struct.pack("<HH2sHL", 9, 0x1001, b"OB", 0, size)))
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size + size)
    with memory_limit(1 << 20), pytest.raises(InvalidDicomError, match=f"more than the {size}"):
        read_answer(path)


# Bombs: each limit is named, and nothing is held.


def bomb(path: Path, chunk: bytes, times: int, head: bytes = b"") -> Path:
    """A deflated file of which `times` times `chunk` comes."""
    deflater = zlib.compressobj(9, wbits=-15)
    with path.open("wb") as stream:
        stream.write(part10(deflater.compress(identity() + head), DEFLATED))
        for _ in range(times):
            stream.write(deflater.compress(chunk))
        stream.write(deflater.flush())
    return path


def refused(path: Path, seconds: float) -> str:
    with cpu_limit(seconds), memory_limit(4 << 20), pytest.raises(InvalidDicomError) as caught:
        read_instance(path, KEYWORDS)
    return str(caught.value)


def big(length: int) -> bytes:
    return struct.pack("<HH2sHL", 9, 0x1001, b"OB", 0, length)


def test_a_deflated_bomb_is_refused_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elements of 1 MiB zeros; the real limit of 4 GiB in the long run, a hundredth of it else."""
    limit = dicomsource.MAX_INFLATED if LONG else 40 << 20
    monkeypatch.setattr(dicomsource, "MAX_INFLATED", limit)
    chunk = big((1 << 20) - 12) + bytes((1 << 20) - 12)
    path = bomb(tmp_path / "bomb.dcm", chunk, 10_240 if LONG else 100)
    assert path.stat().st_size < 12 << 20
    assert refused(path, 60 if LONG else 5) == f"the deflated data set has more than {limit} bytes"


def test_a_deflated_element_beyond_the_limit_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.dcm", bytes(1 << 20), 50, big(0xFFFF_FFF0))
    assert refused(path, 1) == f"the deflated data set has more than {dicomsource.MAX_INFLATED} bytes"


def test_a_header_of_tiny_elements_is_refused_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 1_000_000 if LONG else 100_000
    monkeypatch.setattr("pypx.services.dicomstructure.MAX_ELEMENTS", limit)
    tiny = struct.pack("<HH2sH", 9, 0x1001, b"LO", 0) * 1024
    path = tmp_path / "header.dcm"
    with path.open("wb") as stream:
        stream.write(part10(identity()))
        for _ in range(limit // 1000):
            stream.write(tiny)
    assert refused(path, 60) == f"more than {limit} elements"


def test_a_header_of_one_gigabyte_is_skipped_not_read(tmp_path: Path) -> None:
    """An element of 1 GiB in front of the pixels is legal (a document may be as long), and costs nothing."""
    path = tmp_path / "header.dcm"
    path.write_bytes(part10(identity() + big(1 << 30)))
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size + (1 << 30))
        stream.write(element(0x7FE0_0010, b"OB", bytes(16)))
    with cpu_limit(1), memory_limit(1 << 20):
        assert read_instance(path, KEYWORDS).SOPInstanceUID == "1.2.4"


@pytest.mark.parametrize("depth", [65, 10_000])
def test_sequences_have_a_limit_of_depth(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "deep.dcm"
    path.write_bytes(part10(identity() + sequence(depth)))
    assert refused(path, 1) == "sequences are nested deeper than 64"


def test_a_hundred_thousand_items_are_walked(tmp_path: Path) -> None:
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 100_000
    path = tmp_path / "wide.dcm"
    path.write_bytes(
        part10(identity() + big(0).replace(b"OB", b"SQ")[:8] + b"\xff" * 4 + items + b"\xfe\xff\xdd\xe0\0\0\0\0")
    )
    with cpu_limit(5), memory_limit(4 << 20):
        assert read_instance(path, KEYWORDS).SOPInstanceUID == "1.2.4"


def test_a_length_of_four_gigabytes_in_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "long.dcm"
    path.write_bytes(part10(identity() + big(0xFFFF_FFFE)))
    assert refused(path, 1).startswith("cut short: an element should end at byte 42949")


def test_a_file_that_hurts_is_named_in_one_line(tmp_path: Path) -> None:
    """The file name is the user's, the reason ours: no value of the file gets into it."""
    path = tmp_path / "x.dcm"
    path.write_bytes(part10(identity() + element(0x0010_0010, b"PN", b"\x1b[2JSECRET") + big(5)))
    with pytest.raises(PxError) as caught:
        read_instance(path, KEYWORDS)
    assert "SECRET" not in str(caught.value)
