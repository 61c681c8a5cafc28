from __future__ import annotations

import pytest

from pypx.model.seahash import seahash


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0xC920CA43256FDCB9),
        (b"a", 0x29C401B26A16E94D),
        (b"4412364", 0x4F4D0FEF24D42865),
        (b"6", 0x7A14D3D1DB8478B),
        (b"18", 0xBC256B7EE50B475),
        (b"1.2.3.100.1", 0x3390AAAFFCE30DA0),
        (b"to be or not to be", 1988685042348123509),  # the worked example of the Rust crate
    ],
)
def test_reference_values(data: bytes, expected: int) -> None:
    assert seahash(data) == expected


@pytest.mark.parametrize("length", [7, 8, 9, 31, 32, 33, 40, 64, 65])
def test_every_byte_and_the_length_count(length: int) -> None:
    data = bytes(range(length))
    changed = {seahash(data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :]) for at in range(length)}
    assert len(changed | {seahash(data), seahash(data + b"\0"), seahash(data[:-1])}) == length + 3


def test_words_of_different_lanes_do_not_commute() -> None:
    first, second = b"AAAAAAAA", b"BBBBBBBB"
    assert seahash(first + second) != seahash(second + first)
