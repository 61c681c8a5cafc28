"""The outputs of a running program."""

from __future__ import annotations

import os
import time

from pypx.services.outputs import OutputReader


def test_more_is_let_come_until_the_program_ends() -> None:
    (out, out_end), (errors, errors_end) = os.pipe(), os.pipe()
    reader = OutputReader(os.fdopen(out, "rb", 0), os.fdopen(errors, "rb", 0))
    os.write(errors_end, b"one\ntwo")
    assert reader.read(20)
    began = time.monotonic()
    os.write(errors_end, b" and three\n")
    reader.gather(0.1)
    assert 0.09 < time.monotonic() - began < 10, "more that comes does not end it"
    os.close(out_end)
    os.close(errors_end)
    reader.gather(20)
    assert time.monotonic() - began < 10, "the end does"
    while reader.open:
        reader.read(20)
    reader.gather(0.001)
    assert reader.lines(last=True) == ["one", "two and three"]
    reader.close()
