from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pypx.db.logs import Mark, append_lines, read_lines, read_since
from pypx.errors import DatabaseError

LINES = [json.dumps({"n": number, "text": "ü" * number}) for number in range(4)]


def test_lines_come_back_with_the_offset_behind_them(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    assert read_lines(path) == ([], 0)
    append_lines(path, LINES[:2])
    values, offset = read_lines(path)
    assert values == [json.loads(line) for line in LINES[:2]]
    assert offset == path.stat().st_size
    append_lines(path, LINES[2:])
    assert [value["n"] for value in read_lines(path, offset)[0]] == [2, 3]


def test_no_lines_touch_nothing(tmp_path: Path) -> None:
    append_lines(tmp_path / "l.jsonl", [])
    assert list(tmp_path.iterdir()) == []


def test_cut_at_every_byte_of_the_last_line_it_heals(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    append_lines(path, LINES)
    whole, kept = path.read_bytes(), len("".join(f"{line}\n" for line in LINES[:3]).encode())
    for size in range(kept, len(whole)):
        path.write_bytes(whole[:size])
        values, offset = read_lines(path)
        assert ([value["n"] for value in values], offset) == ([0, 1, 2], kept), size
        assert path.stat().st_size == size, "reading repairs nothing"
        append_lines(path, ['{"n": 9}'])
        assert [value["n"] for value in read_lines(path)[0]] == [0, 1, 2, 9], size


def test_a_file_without_any_newline_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_bytes(b"x" * 600_000)
    assert read_lines(path) == ([], 0)
    append_lines(path, LINES[:1])
    assert path.read_text() == LINES[0] + "\n"


def test_a_long_torn_line_is_cut_to_the_last_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_bytes(b'{"n": 1}\n' + b"x" * 600_000)
    append_lines(path, ['{"n": 2}'])
    assert path.read_text() == '{"n": 1}\n{"n": 2}\n'


@pytest.mark.parametrize("bad", ["{", "[1]", "null", "1", '{"a": 1}{"b": 2}', '{"a": 1},{"b": 2}', "\0\0", '{"a": '])
def test_a_bad_complete_line_is_named(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text(f"{LINES[0]}\n{LINES[1]}\n{bad}\n{LINES[2]}\n")
    with pytest.raises(DatabaseError, match=r"l\.jsonl, line 3: not a JSON object"):
        read_lines(path)
    with pytest.raises(DatabaseError, match=r"l\.jsonl, line 3: not a JSON object"):
        read_lines(path, len(LINES[0]) + 1)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "\xff"}\n')
    with pytest.raises(DatabaseError, match=r"l\.jsonl, line 2"):
        read_lines(path)


def test_reading_on_sees_only_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    assert read_since(path, None) == ([], None, True)
    append_lines(path, LINES[:3])
    first, mark, _ = read_since(path, None)
    assert len(first) == 3
    assert read_since(path, mark) == ([], mark, True)
    append_lines(path, LINES[3:])
    values, mark, continued = read_since(path, mark)
    assert ([value["n"] for value in values], continued) == ([3], True)
    path.unlink()
    assert read_since(path, mark) == ([], None, False)


def test_another_file_of_the_name_is_read_from_its_beginning(tmp_path: Path) -> None:
    path, other = tmp_path / "l.jsonl", tmp_path / "other"
    append_lines(path, LINES[:2])
    _, mark, _ = read_since(path, None)
    append_lines(other, ['{"n": 7}', *LINES])
    other.replace(path)
    values, _, continued = read_since(path, mark)
    assert ([value["n"] for value in values], continued) == ([7, 0, 1, 2, 3], False)


def test_a_file_rewritten_in_place_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    append_lines(path, LINES[:2])
    _, mark, _ = read_since(path, None)
    path.write_text('{"n": 5}\n' * 40)
    values, _, continued = read_since(path, mark)
    assert (len(values), continued) == (40, False)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.lists(st.integers(0, 99), max_size=4), st.binary(max_size=5)), max_size=8))
def test_steps_of_any_size_with_crashes_between_give_every_line_once(
    tmp_path: Path, steps: list[tuple[list[int], bytes]]
) -> None:
    path = tmp_path / "l.jsonl"
    path.unlink(missing_ok=True)
    mark: Mark | None = None
    seen: list[int] = []
    written: list[int] = []
    for numbers, torn in steps:
        append_lines(path, [json.dumps({"n": number}) for number in numbers])
        written += numbers
        if path.exists():
            with path.open("ab") as stream:
                stream.write(torn.replace(b"\n", b"-"))
        values, mark, continued = read_since(path, mark)
        assert continued or mark is None or not seen
        seen += [value["n"] for value in values]
    assert seen == written


@pytest.mark.parametrize("line", [' {"a": 1}', '{"a": 1}\t ', '\r{"a": 1}\r', "{}", '{"a": "\\n"}'])
def test_a_line_is_what_json_says_it_is(tmp_path: Path, line: str) -> None:
    path = tmp_path / "l.jsonl"
    path.write_bytes(f'{{"n": 0}}\n{line}\n\n{{"n": 2}}\n'.encode())
    assert read_lines(path)[0] == [{"n": 0}, json.loads(line), {"n": 2}]


@pytest.mark.parametrize(
    ("text", "number"),
    [('{"a": 1} {"b": 2}\n', 1), ('{"a": 1},{"b": 2}\n', 1), ('{}\n{"a":\n1}\n', 2), ("{}\n[1]\n", 2), ("{}\n \n", 2)],
)
def test_a_line_is_one_object(tmp_path: Path, text: str, number: int) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text(text)
    with pytest.raises(DatabaseError, match=f"line {number}: not a JSON object"):
        read_lines(path)
