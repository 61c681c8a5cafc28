"""The first words of an association: who calls whom, and how to say no.

An A-ASSOCIATE-RQ is read by peeking, so that the program that serves the association still finds the whole of it on
the socket.  Its titles count; of its items only whether storescp could answer it: to one that it cannot read it says
nothing, and waits.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from pypx.errors import InputError
from pypx.model.dataclass import dataclass
from pypx.model.identifiers import AETitle

HEAD_BYTES = 74
"""How much of an A-ASSOCIATE-RQ has fixed fields (PS3.8 table 9-11)."""

_HEADER_BYTES = 6
_ASSOCIATE_RQ = 0x01
_ASSOCIATE_RJ = 0x03
_MAX_PDU = 1 << 18
_PADDING = b" \0"
_AE_TITLE = re.compile(rb"[\x20-\x5b\x5d-\x7e]{1,16}")
_ITEM = struct.Struct(">BxH")
_CONTEXT, _USER = 0x20, 0x50
_TRANSFER_SYNTAX = 0x40
_NAMES = {_CONTEXT: (0x30, _TRANSFER_SYNTAX), _USER: (0x52, 0x55)}
_MAX_NAME = 64
"""Bytes of the syntaxes, and of UID and name of the implementation; storescp reads no longer ones."""


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """The titles of an A-ASSOCIATE-RQ, the address it came from, and the subject of the peer's certificate, if any.

    `flaw`: why it cannot be accepted, whoever it is from.
    """

    calling_aet: str
    called_aet: str
    address: str
    certificate: str | None = None
    flaw: Rejection | None = None


class Caller(NamedTuple):
    """An AE title and the address it has to come from."""

    calling_aet: str
    address: str


class Rejection(Enum):
    """Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21), and what it means here."""

    CALLED_AE = (1, 1, 7, "called AE title not recognized")
    CALLING_AE = (1, 1, 3, "calling AE title not recognized")
    ADDRESS = (1, 1, 3, "calling address not allowed")
    MALFORMED = (1, 2, 1, "the request is not as PS3.8 9.3.2 has it, or asks for nothing")
    LOCAL_LIMIT = (2, 3, 2, "local limit exceeded: too many associations")
    NO_ROOM = (2, 3, 1, "temporary congestion: the listener is waiting for room")
    STOPPING = (2, 3, 1, "temporary congestion: the listener is stopping")
    NO_SERVICE = (2, 3, 1, "temporary congestion: the association could not be served")

    @property
    def text(self) -> str:
        """What it means, in the words of the standard where it has some."""
        return self.value[3]

    def pdu(self) -> bytes:
        """The PDU that says so (PS3.8 9.3.4)."""
        result, source, reason, _ = self.value
        return struct.pack(">BBLBBBB", _ASSOCIATE_RJ, 0, 4, 0, result, source, reason)


def request_size(head: bytes) -> int | None:
    """How many bytes an A-ASSOCIATE-RQ has that begins with `head` (6 bytes or more).

    Returns
    -------
    ``None`` if this is none: another PDU, another protocol, too short for one, or longer than 256 KiB
    """
    if len(head) < _HEADER_BYTES or head[0] != _ASSOCIATE_RQ:
        return None
    length = int(struct.unpack(">L", head[2:6])[0])
    return length + _HEADER_BYTES if HEAD_BYTES - _HEADER_BYTES <= length <= _MAX_PDU else None


def parse_request(head: bytes, address: str) -> AssociationRequest | None:
    """Read an A-ASSOCIATE-RQ.

    Parameters
    ----------
    head : the first 74 bytes of the connection or more; its items are looked at when all of it is there
    address : of the peer

    Returns
    -------
    ``None`` if this is none: another PDU, another protocol, cut short, or longer than 256 KiB

    References
    ----------
    PS3.8 9.3.2; PS3.5 6.2, VR AE: blanks around a title do not count (nor do NULs, which some send), one of blanks
    alone is none, nor is one with a backslash or a control character
    """
    size = request_size(head)
    if len(head) < HEAD_BYTES or size is None:
        return None
    called, calling = (field.strip(_PADDING) for field in (head[10:26], head[26:42]))
    flaw = None
    if not _AE_TITLE.fullmatch(called):
        flaw = Rejection.CALLED_AE
    elif not _AE_TITLE.fullmatch(calling):
        flaw = Rejection.CALLING_AE
    elif len(head) >= size and not _well_formed(head[HEAD_BYTES:size]):
        flaw = Rejection.MALFORMED
    return AssociationRequest(_title(calling), _title(called), address, flaw=flaw)


def _well_formed(items: bytes) -> bool:
    """Whether storescp answers a request of these items (tried with DCMTK 3.6.7)."""
    contexts = 0
    try:
        for kind, value in _items(items):
            if kind not in _NAMES:
                continue
            parts = list(_items(value[4:] if kind == _CONTEXT else value))
            if any(part in _NAMES[kind] and len(name) > _MAX_NAME for part, name in parts):
                return False
            if kind == _CONTEXT:
                contexts += 1
                if not any(part == _TRANSFER_SYNTAX for part, _ in parts):
                    return False
    except ValueError:
        return False
    return contexts > 0


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of the items that fill `data` (PS3.8 9.3.1).

    Raises
    ------
    ValueError : they do not
    """
    at = 0
    while at < len(data):
        if len(data) - at < _ITEM.size:
            raise ValueError("an item is cut short")
        kind, length = _ITEM.unpack_from(data, at)
        at += _ITEM.size
        if len(data) - at < length:
            raise ValueError("an item is cut short")
        yield kind, data[at : at + length]
        at += length


def _title(field: bytes) -> str:
    """An AE title; characters that none has come out as ``?``."""
    text = field.decode("ascii", "replace")
    return "".join(character if " " <= character <= "~" else "?" for character in text)


@dataclass(frozen=True, slots=True)
class AccessRules:
    """Who may send.

    `aet` is the title a sender has to call (``None``: any); `calling_aets` are those it may have, `networks` where it
    may be (empty: any).  With `known`, it has to be one of those, by title and address together (``None``: anybody).
    """

    aet: AETitle | None = None
    calling_aets: frozenset[AETitle] = frozenset()
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    known: frozenset[Caller] | None = None

    def judge(self, request: AssociationRequest) -> Rejection | None:
        """Why a request is refused, or ``None``."""
        if not self.lets_in(request.address):
            return Rejection.ADDRESS
        if request.flaw is not None:
            return request.flaw
        if self.aet is not None and request.called_aet != self.aet:
            return Rejection.CALLED_AE
        if self.calling_aets and request.calling_aet not in self.calling_aets:
            return Rejection.CALLING_AE
        if self.known is not None and Caller(request.calling_aet, request.address) not in self.known:
            named = any(request.calling_aet == caller.calling_aet for caller in self.known)
            return Rejection.ADDRESS if named else Rejection.CALLING_AE
        return None

    def lets_in(self, address: str) -> bool:
        """Whether a peer at this address may say who it is."""
        if not self.networks:
            return True
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)


def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """An address or a network such as ``10.1.2.0/24``.

    Raises
    ------
    InputError : neither
    """
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise InputError(f"{text[:80]!r} is neither an address nor a network such as 10.1.2.0/24") from error
