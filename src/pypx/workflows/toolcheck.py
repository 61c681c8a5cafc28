"""What the installed DCMTK is, and whether its storescp does what px and its users rely on it not to do.

Distributions mend old versions, so a version number says little.  Each check does, on 127.0.0.1 and in a private
folder, what an attacker would do, and looks at what came of it.
"""

from __future__ import annotations

import socket
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pypx.errors import PxError, ToolFailedError, ToolMissingError
from pypx.services.children import Child, start
from pypx.services.dcmtk import Programs
from pypx.services.process import run

_LIMIT_S = 10.0
_SC_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.7"
_EXPLICIT_LE = "1.2.840.10008.1.2.1"
_UID = "1.2.826.0.1.3680043.8.498.1"

_HOOK = (
    "storescp hands AE titles of the sender to a shell when it runs a program of yours (-xcr, -xcs with #a or #c):"
    " anybody who reaches its port runs commands; px listen does not use it; update DCMTK, or leave #a and #c out"
)
_FILE_NAME = (
    "storescp hands the SOP Instance UID of the sender to a shell when it runs a program of yours (-xcr with #f):"
    " anybody who reaches its port runs commands; px listen does not use it; update DCMTK"
)
_OUTSIDE = (
    "storescp writes files outside its folder when a SOP Instance UID holds a path; px listen has storescp choose the"
    " names itself; update DCMTK"
)


def dcmtk_version(programs: Programs) -> str:
    """The build of DCMTK that is used, in its own words, such as ``dcmtk: echoscu v3.6.7 2022-04-22``.

    Raises
    ------
    ToolMissingError, ToolFailedError : echoscu is not there or cannot be started
    """
    answer = run([programs.echoscu, "--version"], idle_s=_LIMIT_S)
    return (answer.stdout or answer.stderr).partition("\n")[0].strip("$ ")


def require_storescp(programs: Programs) -> None:
    """Try out whether the storescp to be used is one of DCMTK; what it cannot do shows at the first association only.

    Raises
    ------
    ToolMissingError : it is not there, or is another program
    ToolFailedError : it cannot be started
    """
    answer = run([programs.storescp, "--version"], idle_s=_LIMIT_S)
    if not answer.stdout.startswith("$dcmtk: storescp "):
        raise ToolMissingError(
            f"{programs.storescp} is not DCMTK's storescp: it does not answer --version as that does;"
            " on Debian or Ubuntu: sudo apt-get install dcmtk"
        )


def unsafe_storescp(programs: Programs) -> tuple[str, ...]:
    """Known unsafe behaviours that the installed storescp shows, a sentence each; ``()`` is good news.

    References
    ----------
    CVE-2026-5663 (shell of the exec hooks), CVE-2022-2119 (path in a UID); storescp(1)

    Raises
    ------
    ToolMissingError, ToolFailedError : storescp or storescu is not there, or the check could not be made
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="px-check-") as name:
        folder = Path(name)
        if _provoked(programs, folder / "title", ["-xcr", "true #a #c", "-xs"], calling="$(touch A)"):
            found.append(_HOOK)
        if _provoked(programs, folder / "uid", ["-xcr", "true #f", "-xs"], instance="1.2$(touch\tA)"):
            found.append(_FILE_NAME)
        if _provoked(programs, folder / "path", [], instance="/../../A"):
            found.append(_OUTSIDE)
    return tuple(found)


def _provoked(
    programs: Programs, folder: Path, options: Sequence[str], *, calling: str = "PX", instance: str = _UID
) -> bool:
    """Send one image to a storescp of our own; whether a file named ``A`` came to be anywhere it should not."""
    received = folder / "in" / "received"
    received.mkdir(parents=True)
    image = folder / "image.dcm"
    image.write_bytes(_instance(instance))
    argv = [programs.storescp, "-id", *options, "-od", str(received)]
    with socket.create_server(("127.0.0.1", 0), backlog=1) as door:
        door.settimeout(_LIMIT_S)
        port = str(door.getsockname()[1])
        sender = start([programs.storescu, "-ta", "5", "-td", "5", "-aet", calling, "127.0.0.1", port, str(image)])
        receiver: Child | None = None
        try:
            connection, _ = door.accept()
            with connection:
                receiver = start(argv, stdin=connection.fileno(), stdout=connection.fileno(), cwd=received)
            _ended(sender)
            _ended(receiver)
        except TimeoutError:
            raise ToolFailedError("storescu did not send to the check of storescp within 10 s") from None
        finally:
            for child in (sender, receiver):
                if child is not None:
                    child.kill()
                    child.wait()
    stored = [path for path in folder.rglob("*") if path.is_file() and path != image]
    if not stored:
        raise ToolFailedError("storescp stored nothing when it was checked; its behaviour is unknown")
    return any(path.name == "A" or path.parent != received for path in stored)


def _ended(child: Child) -> None:
    if child.wait(_LIMIT_S) is None:
        raise ToolFailedError(f"{Path(child.argv[0]).name} did not end within 10 s when storescp was checked")


def _instance(uid: str) -> bytes:
    """The smallest Secondary Capture instance that storescu sends (PS3.10 7.1, explicit VR little endian)."""
    meta = b"".join((
        _element(0x0002, 0x0001, b"OB", b"\x00\x01"),
        _element(0x0002, 0x0002, b"UI", _text(_SC_IMAGE_STORAGE)),
        _element(0x0002, 0x0003, b"UI", _text(uid)),
        _element(0x0002, 0x0010, b"UI", _text(_EXPLICIT_LE)),
    ))  # fmt: skip
    dataset = b"".join((
        _element(0x0008, 0x0016, b"UI", _text(_SC_IMAGE_STORAGE)),
        _element(0x0008, 0x0018, b"UI", _text(uid)),
        _element(0x0020, 0x000D, b"UI", _text(f"{_UID}.1")),
        _element(0x0020, 0x000E, b"UI", _text(f"{_UID}.2")),
    ))  # fmt: skip
    return bytes(128) + b"DICM" + _element(0x0002, 0x0000, b"UL", struct.pack("<I", len(meta))) + meta + dataset


def _text(value: str) -> bytes:
    raw = value.encode("ascii")
    return raw + b"\0" * (len(raw) % 2)


def _element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    head = struct.pack("<HH", group, number) + vr
    if vr == b"OB":
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def report(programs: Programs) -> tuple[str, tuple[str, ...]]:
    """The DCMTK build, and the warnings about it; what could not be checked is a warning, not an error.

    Raises
    ------
    ToolMissingError, ToolFailedError : DCMTK is not installed
    """
    version = dcmtk_version(programs)
    try:
        return version, unsafe_storescp(programs)
    except (PxError, OSError) as error:
        return version, (f"storescp could not be checked: {error}",)
