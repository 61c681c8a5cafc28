from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypx.db.layout import Layout, encode_name
from pypx.errors import DatabaseError

ANY_TEXT = st.text(st.characters(), max_size=300)


@pytest.mark.parametrize(
    "value", ["PID00000", "42", "A^B", "a b", "1.2.840", "x" * 64, "$(id)", "a;b", "-rf", "a.", "*?"]
)
def test_plain_values_keep_the_name_pypx_gives_them(value: str) -> None:
    assert encode_name(value) == value


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("", "%"),
        (".", "%2E"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("../../x", "%2E.%2F..%2Fx"),
        ("/etc/passwd", "%2Fetc%2Fpasswd"),
        ("a\nb", "a%0Ab"),
        ("a\0b", "a%00b"),
        ("50%", "50%25"),
        ("left\\right", "left%5Cright"),
        ("Müller", "M%C3%BCller"),
        ("\udcff", "%ED%B3%BF"),
    ],
)
def test_other_values_are_percent_encoded(value: str, name: str) -> None:
    assert encode_name(value) == name


def test_a_long_value_is_cut_and_told_apart_by_its_digest() -> None:
    first, second = encode_name("x" * 300), encode_name("x" * 299 + "y")
    assert first != second
    assert len(first) == len(second) == 200
    assert first.startswith("x" * 100)
    assert len(encode_name("ü" * 100)) <= 200


@given(ANY_TEXT)
def test_a_name_is_one_short_ascii_component(value: str) -> None:
    name = encode_name(value)
    assert 1 <= len(name) <= 200
    assert name.isascii()
    assert name.isprintable()
    assert "/" not in name
    assert not name.startswith(".")


@given(ANY_TEXT, ANY_TEXT)
def test_different_values_have_different_names(first: str, second: str) -> None:
    assert (encode_name(first) == encode_name(second)) == (first == second)


@given(ANY_TEXT, ANY_TEXT)
def test_no_value_leaves_the_directory_it_belongs_to(first: str, second: str) -> None:
    layout = Layout.of_basemount(Path("/base"))
    assert layout.patient_table(first).parent == layout.patient_dir
    assert layout.study_table(first).parent == layout.study_dir
    assert layout.study_series_table(first, second).parent == layout.study_series_dir(first)
    assert layout.study_series_dir(first).parent == layout.study_dir
    assert layout.series_table(first, "meta").parent == layout.series_dir
    assert layout.image_dir(first).parent == layout.image_log(second).parent == layout.series_dir
    assert layout.lock(first, second).parent == layout.log / ".locks"
    theirs = layout.pypx_patient_table(first)
    assert theirs is None or theirs.parent == layout.patient_dir


def test_places_are_those_of_pypx(tmp_path: Path) -> None:
    layout = Layout.of_basemount(tmp_path)
    places = {
        layout.patient_table("42"): "log/patientData/42.json",
        layout.study_table("1.2"): "log/studyData/1.2-meta.json",
        layout.study_series_table("1.2", "1.2.3"): "log/studyData/1.2-series/1.2.3-meta.json",
        layout.series_table("1.2.3", "retrieve"): "log/seriesData/1.2.3-retrieve.json",
        layout.image_dir("1.2.3"): "log/seriesData/1.2.3-img",
        layout.image_log("1.2.3"): "log/seriesData/1.2.3-img.jsonl",
        layout.format_file: "log/format.json",
        layout.data: "data",
        layout.services: "services",
        layout.incoming: "incoming",
    }
    assert {path.relative_to(tmp_path).as_posix(): text for path, text in places.items()} == {
        text: text for text in places.values()
    }


def test_a_log_directory_of_another_name_has_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    layout = Layout.of_log(Path("db"), Path("../elsewhere"))
    assert layout.log == tmp_path / "db"
    assert layout.services == tmp_path / "services"
    assert layout.data == tmp_path.parent / "elsewhere"
    assert layout.relative(layout.data / "x") == str(tmp_path.parent / "elsewhere" / "x")


def test_files_in_the_basemount_are_named_relative_to_it(tmp_path: Path) -> None:
    layout = Layout.of_basemount(tmp_path)
    assert layout.relative(tmp_path / "data" / "a" / "1.dcm") == "data/a/1.dcm"
    assert layout.resolve("data/a/1.dcm") == tmp_path / "data" / "a" / "1.dcm"
    assert layout.relative(f"{tmp_path}-other/1.dcm") == f"{tmp_path}-other/1.dcm"
    assert layout.resolve("/elsewhere/1.dcm") == Path("/elsewhere/1.dcm")


@pytest.mark.parametrize("text", ["", "..", "../x", "data/../../x", "data/\0"])
def test_a_record_cannot_name_a_file_outside(tmp_path: Path, text: str) -> None:
    with pytest.raises(DatabaseError, match="no path in a BASEMOUNT"):
        Layout.of_basemount(tmp_path).resolve(text)


def test_lock_files_are_few() -> None:
    layout = Layout.of_basemount(Path("/base"))
    locks = {layout.lock("series", f"1.2.{number}") for number in range(5000)}
    assert len(locks) == 256
    assert layout.lock("patient", "1.2.1") not in locks


@pytest.mark.parametrize(
    "text",
    [
        "{base}/data/a/1.dcm", "{base}/data//a/1.dcm", "{base}/data/./a/1.dcm", "{base}/data/b/../a/1.dcm", "{base}x/1.dcm",
        "/elsewhere/1.dcm", "data/a/1.dcm", "{base}/a/", "{base}/../a", "{base}",
    ],
)  # fmt: skip
def test_relative_of_is_relative_of_resolve(tmp_path: Path, text: str) -> None:
    layout = Layout.of_basemount(tmp_path / "base")
    told = text.format(base=layout.base)
    assert layout.relative_of(told) == layout.relative(layout.resolve(told))


@pytest.mark.parametrize("text", ["", "{base}/a\0b", "../a"])
def test_relative_of_refuses_what_resolve_refuses(tmp_path: Path, text: str) -> None:
    layout = Layout.of_basemount(tmp_path / "base")
    with pytest.raises(DatabaseError, match="no path"):
        layout.relative_of(text.format(base=layout.base))
