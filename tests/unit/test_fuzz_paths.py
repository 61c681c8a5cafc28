"""No value and no template makes a path that leaves its place, and no two instances share one."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pypx.db.layout import Layout, encode_name
from pypx.db.smdb import Database
from pypx.errors import InputError
from pypx.model.fileoutcomes import FileState
from pypx.model.identifiers import UID
from pypx.model.packpath import DEFAULT_TEMPLATES, PYPX_TEMPLATES, Templates, legal_component, pack_path
from pypx.model.peers import FolderTarget
from pypx.model.records import SeriesRef
from pypx.services.dicomfile import read_instance
from pypx.services.folder import FolderStore
from pypx.services.storage import clean_folder, clean_name, file_md5
from pypx.workflows.pushplan import Wanted, make_plan
from pypx.workflows.repack import RepackOptions, repack
from support.limits import LONG, tree
from support.rawdicom import instance

HOSTILE = (
    "", ".", "..", "...", "/", "//", "\\", "../../../../../../tmp/x", "/etc/passwd", "..\\..\\x", "a/../../b", "\0", "a\0b",
    "\n", "a\r\nb", "\t", "\x1b[2J", "\x7f", "\x85", "\u2028", "~", "~root", "-rf", "--", "*", "?", "$HOME", "`id`", "%", "%2e%2e%2f",
    "CON", "NUL", "aux.dcm", ".hidden", ".lock", "format.json", "x.json", "x.reason.txt", ".px-1.part", "DICOMDIR",
    "x" * 300, "é" * 300, "汉" * 300, "𝟙" * 100, "e\u0301", "é", "\u212b", "å", "a\u030a", "ﬁ", "fi", "ẛ̣", "\u1e9b\u0323",
    "\u202egpj.exe", "\u2066x\u2069", "\u200b", "\ufeff", "\u0301", "\u0301" * 200, "İ", "ı", "ß", "ẞ", "Ω", "Ω", "\ud800",
    "\udcff", "\U0010ffff", "\ue000", "．．／", "\u2024\u2024\u2044", "∕etc∕passwd", "a,b", "a b ", " ", " .. ", "x.", "x ", "¼",
    "a" * 254 + "é", "a" * 250 + ".dcm", "0" * 64, "%PatientID", "%_md5|7_PatientID",
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE), max_size=3).map("".join),
    st.text(st.characters(exclude_categories=()), max_size=300),
)
KEYWORDS = (
    "PatientID",
    "PatientName",
    "StudyDescription",
    "SeriesNumber",
    "SeriesDescription",
    "InstanceNumber",
    "StudyDate",
)
TAGS = st.dictionaries(st.sampled_from(KEYWORDS), VALUES)
FUNCTIONS = (
    "",
    "_md5_",
    "_md5|4_",
    "_seahash|3_",
    "_strmsk|**/..*_",
    "_nospc|/_",
    "_nospc|.._",
    "_pad|9,/_",
    "_pad|255,._",
    "_name_",
)
TEMPLATE = st.lists(
    st.one_of(
        st.builds("%{}{}".format, st.sampled_from(FUNCTIONS), st.sampled_from(KEYWORDS)),
        st.sampled_from(("-", "/", "..", "../", ".", "\0", "é", "x" * 200)),
        st.text(st.characters(exclude_characters="%"), min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=4,
).map("".join)
TEMPLATES = st.one_of(
    st.sampled_from((DEFAULT_TEMPLATES, PYPX_TEMPLATES)), st.builds(Templates, TEMPLATE, TEMPLATE, TEMPLATE, TEMPLATE)
)
MANY = settings(max_examples=20_000 if LONG else 300, deadline=None, derandomize=not LONG)
FILED = settings(
    max_examples=400 if LONG else 25,
    deadline=None,
    derandomize=not LONG,
    phases=(Phase.explicit, Phase.generate),  # each example takes a tenth of a second: a failing one is small enough
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_count = itertools.count()


def check_component(name: str, longest: int = 255) -> None:
    raw = name.encode()  # no surrogates
    assert 0 < len(raw) <= longest
    assert name not in (".", "..")
    assert not any(character in "/\\\0,:*?\"'<>|" or (unicodedata.category(character)[:1] in "CZ" and unicodedata.category(character) != "Co") for character in name)  # fmt: skip
    assert unicodedata.normalize("NFC", name) == name


@MANY
@given(TEMPLATES, TAGS)
def test_every_part_of_a_path_is_one_plain_name(templates: Templates, tags: dict[str, str]) -> None:
    path = pack_path(templates, tags)
    for name, longest in zip(path.file.parts, (255, 255, 255, 250), strict=True):
        check_component(name, longest)
    assert clean_name(str(path.file)) == str(path.file)


@MANY
@given(VALUES, st.integers(32, 255), st.sampled_from(("", ".dcm")))
def test_a_component_is_legal_and_stays_what_it_is(text: str, limit: int, extension: str) -> None:
    name = legal_component(text, limit=limit, extension=extension)
    check_component(name, limit)
    assert legal_component(name, limit=limit, extension=extension) == name


@MANY
@given(VALUES, VALUES)
def test_tables_of_different_values_never_share_a_name(one: str, other: str) -> None:
    """Also on a file system that takes two Unicode spellings for one, since all names are ASCII."""
    first, second = encode_name(one), encode_name(other)
    assert (first == second) == (one == other)
    for name in (first, second):
        assert name.isascii()
        assert name.isprintable()
        assert 0 < len(name) <= 200
        assert "/" not in name
        assert not name.startswith(".")


@MANY
@given(VALUES, VALUES)
def test_every_table_lies_in_its_directory(one: str, other: str) -> None:
    layout = Layout.of_basemount(Path("/mount/base"))
    study = layout.study_series_dir(one)
    expected = {
        layout.patient_table(one): layout.patient_dir,
        layout.study_table(one): layout.study_dir,
        study: layout.study_dir,
        layout.study_series_table(one, other): study,
        layout.series_table(one, "meta"): layout.series_dir,
        layout.image_log(one): layout.series_dir,
        layout.image_dir(one): layout.series_dir,
        layout.lock("filing", one): layout.log / ".locks",
    }
    if (older := layout.pypx_patient_table(one)) is not None:
        expected[older] = layout.patient_dir
    for path, directory in expected.items():
        assert path.parent == directory
        assert path.name not in (".", "..")
        assert "\0" not in str(path)


@MANY
@given(VALUES)
def test_object_names_are_checked_where_they_enter(text: str) -> None:
    """A name of an object is refused, or stays below the root it is joined to."""
    for check in (clean_name, clean_folder):
        try:
            name = check(text)
        except InputError:
            continue
        parts = Path("/root", name).parts
        assert parts[:2] == ("/", "root")
        assert not {"..", "."} & set(name.split("/"))
        assert "\0" not in name
        name.encode()


def files(tags_of_each: list[dict[str, str]], folder: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """A file for each dictionary; two share a series, so that names can clash."""
    tags = {
        "PatientID": (0x0010_0020, b"LO"), "PatientName": (0x0010_0010, b"PN"), "StudyDescription": (0x0008_1030, b"LO"),
        "SeriesNumber": (0x0020_0011, b"IS"), "SeriesDescription": (0x0008_103E, b"LO"), "InstanceNumber": (0x0020_0013, b"IS"),
        "StudyDate": (0x0008_0020, b"DA"),
    }  # fmt: skip
    for number, values in enumerate(tags_of_each):
        uids = (f"1.2.{number // 4}", f"1.2.{number // 4}.{number // 2 % 2}", f"1.2.9.{number}")
        path = folder / f"{number}.dcm"
        path.write_bytes(instance(uids, {tags[name][0]: (tags[name][1], value) for name, value in values.items()}))
        yield path, uids


@FILED
@given(TEMPLATES, st.lists(TAGS, min_size=1, max_size=6))
def test_what_is_filed_stays_inside_and_apart(
    tmp_path: Path, templates: Templates, values: list[dict[str, str]]
) -> None:
    """Real files, really filed: nothing outside the BASEMOUNT, one file an instance, each with its own bytes."""
    here = tmp_path / f"case-{next(_count)}"
    sources = here / "sources"
    sources.mkdir(parents=True)
    base = here / "deep" / "mount"
    base.parent.mkdir()
    made = dict(files(values, sources))
    database = Database.open_or_create(Layout.of_basemount(base))
    before = tree(here, without=base)
    outcomes = list(repack([sources], database, RepackOptions(templates=templates)))
    assert tree(here, without=base) == before
    assert {outcome.state for outcome in outcomes} == {FileState.FILED}
    held = [path for path in (base / "data").rglob("*") if path.is_file()]
    assert len(held) == len(made)
    for source, (_, series, uid) in made.items():
        record = database.images(UID(series))[UID(uid)]
        file = database.layout.resolve(record.file)
        assert file.read_bytes() == source.read_bytes()
        assert file.resolve().is_relative_to((base / "data").resolve())


@FILED
@given(st.one_of(st.just(PYPX_TEMPLATES), TEMPLATES), st.lists(TAGS, min_size=2, max_size=4))
def test_objects_stay_below_their_root_and_apart(
    tmp_path: Path, templates: Templates, values: list[dict[str, str]]
) -> None:
    """Names for Swift, S3 and folders: one an instance, all in one folder; in a directory they lie below it."""
    here = tmp_path / f"case-{next(_count)}"
    sources, root = here / "sources", here / "deep" / "store"
    sources.mkdir(parents=True)
    root.parent.mkdir()
    made = list(files([values[0], *values[1:]][:2], sources))
    ref = SeriesRef(UID(made[0][1][0]), UID(made[0][1][1]))
    plan = make_plan(
        ref,
        [Wanted(path, UID(uids[2])) for path, uids in made],
        folder="",
        templates=templates,
        pacs_name="BCH",
        known={},
    )
    assert not plan.failures
    names = [item.name for item in plan.items]
    assert len(set(names)) == len(made)
    before = tree(here, without=root)
    store = FolderStore(FolderTarget(root))
    for item in plan.items:
        assert item.name == clean_name(item.name)
        assert item.name.startswith("SERVICES/PACS/BCH/")
        assert item.name.rpartition("/")[0] == plan.folder
        store.put(item.file, item.name, file_md5(item.file))
    assert tree(here, without=root) == before
    held = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert held == set(names)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("é", "e\u0301"),
        ("\u212b", "å"),
        ("Ω", "Ω"),
        ("a/b", "a_b"),
        ("A", "A\0"),
        ("x" * 300, "x" * 301),
        ("\ud800", "\udfff"),
    ],
)
def test_names_that_look_alike_keep_instances_apart(tmp_path: Path, one: str, other: str) -> None:
    """Two spellings of one name, or two names with one spelling, may share a folder; files never share a name."""
    sources = tmp_path / "sources"
    sources.mkdir()
    constant = Templates("%PatientID", "x", "x", "%PatientID.dcm")
    made = dict(files([{"PatientID": one}, {"PatientID": other}, {"PatientID": one}], sources))
    database = Database.open_or_create(Layout.of_basemount(tmp_path / "base"))
    assert [one.state for one in repack([sources], database, RepackOptions(templates=constant))] == [
        FileState.FILED
    ] * 3
    held = [path.read_bytes() for path in (tmp_path / "base" / "data").rglob("*.dcm")]
    assert sorted(held) == sorted(path.read_bytes() for path in made)
    for path in made:
        assert read_instance(path, frozenset({"PatientID"})).SOPInstanceUID == made[path][2]
