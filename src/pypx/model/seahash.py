"""SeaHash, the 64-bit hash that pypx 3.12 put into the names of series folders."""

from __future__ import annotations

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_PRIME = 0x6EED_0E9D_A4D9_4A4F
_SEEDS = (0x16F1_1FE8_9B0D_677C, 0xB480_A793_D8E6_C86C, 0x6FE2_E5AA_F078_EBC9, 0x14F9_94A4_C525_9381)


def seahash(data: bytes) -> int:
    """Hash bytes with SeaHash and its default seeds.

    Fast and well spread, but no protection: whoever wants two inputs of one hash finds them.

    Parameters
    ----------
    data : any bytes, also none

    Returns
    -------
    0 to 2**64 - 1

    References
    ----------
    ``reference.rs`` of the Rust crate seahash 4: little-endian words of 8 bytes, the last one short, go in turn to four
    lanes; the lanes and the length are mixed at the end.
    """
    lanes = list(_SEEDS)
    for number, start in enumerate(range(0, len(data), 8)):
        lane = number & 3
        lanes[lane] = _diffuse(lanes[lane] ^ int.from_bytes(data[start : start + 8], "little"))
    return _diffuse(lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3] ^ len(data))


def _diffuse(word: int) -> int:
    word = word * _PRIME & _MASK
    word ^= (word >> 32) >> (word >> 60)
    return word * _PRIME & _MASK
