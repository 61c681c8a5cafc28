"""The outputs of a running program."""

from __future__ import annotations

import subprocess
import time

from pypx.services.outputs import OutputReader

PIPE = subprocess.PIPE


def test_more_is_let_come_until_the_program_ends() -> None:
    with subprocess.Popen(
        ["sh", "-c", "echo one >&2; read x; echo two >&2"], stdin=PIPE, stdout=PIPE, stderr=PIPE
    ) as child:
        reader = OutputReader(child.stdout, child.stderr)
        assert reader.read(20)
        began = time.monotonic()
        reader.gather(0.1)
        assert 0.09 < time.monotonic() - began < 10, "it lives, and says nothing"
        assert child.stdin is not None
        child.stdin.close()
        reader.gather(20)
        assert time.monotonic() - began < 10, "it has ended"
        while reader.open:
            reader.read(20)
        reader.gather(0.001)
        assert reader.lines(last=True) == ["one", "two"]
        reader.close()
