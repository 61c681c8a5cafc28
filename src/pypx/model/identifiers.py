"""UIDs, AE titles, hosts and ports: checked once, on the way in.

Everything that names something (and may end up in an argument list or a file name) passes one of these functions first.
"""

from __future__ import annotations

import re
from typing import NewType

from pypx.errors import InputError

UID = NewType("UID", str)
AETitle = NewType("AETitle", str)

_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
_HOST = re.compile(r"[A-Za-z0-9:]([A-Za-z0-9._:%-]{0,252}[A-Za-z0-9.:])?", re.ASCII)


def is_uid(text: str) -> bool:
    """Whether `text` is a usable UID: digits and single dots, at most 64 characters (PS3.5 9.1).

    Components with leading zeros break the rule of the standard but occur and are harmless; they are taken.
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def parse_uid(text: str, what: str = "UID") -> UID:
    """Check a UID from outside.

    Parameters
    ----------
    text : the UID; blanks and the NUL of DICOM padding around it are dropped
    what : how the error names it, such as ``SeriesInstanceUID``

    Raises
    ------
    InputError : not a UID (PS3.5 9.1)
    """
    cleaned = text.strip(" \0")
    if not is_uid(cleaned):
        raise InputError.of_value(what, text, "is not a UID (digits and dots, at most 64 characters)")
    return UID(cleaned)


def parse_ae_title(text: str, what: str = "AE title") -> AETitle:
    r"""Check an AE title: 1 to 16 printable ASCII characters, no backslash, not only blanks (PS3.5 6.2, VR AE).

    A leading ``-`` is refused as well: DCMTK would read it as an option.

    Raises
    ------
    InputError : not an AE title
    """
    cleaned = text.strip(" ")
    if not _AE_TITLE.fullmatch(cleaned) or cleaned.startswith("-"):
        raise InputError(f"{what}: {text[:40]!r} is not an AE title (1 to 16 printable ASCII characters, no backslash)")
    return AETitle(cleaned)


def parse_port(text: str | int, what: str = "port") -> int:
    """Check a TCP port, 1 to 65535.

    Raises
    ------
    InputError : not a port number
    """
    digits = str(text).strip()
    port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 5 else 0
    if not 1 <= port <= 65535:
        raise InputError(f"{what}: {str(text)[:40]!r} is not a TCP port (1 to 65535)")
    return port


def parse_host(text: str, what: str = "host") -> str:
    """Check a host name or an IP address by its characters; nothing is looked up.

    Raises
    ------
    InputError : empty, or not made of the characters of host names and addresses
    """
    cleaned = text.strip()
    if not _HOST.fullmatch(cleaned):
        raise InputError(f"{what}: {text[:80]!r} is not a host name or an IP address")
    return cleaned
