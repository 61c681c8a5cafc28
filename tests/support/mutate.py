"""Made-up attacks: DICOM files, JSON documents and logs that are almost right.

Everything is drawn from one `random.Random`, so a seed names a case for ever.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

UNDEFINED = 0xFFFF_FFFF
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_VRS = (
    *_LONG, b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
    b"SS", b"ST", b"TM", b"UI", b"UL", b"US", b"\0\0", b"??", b"ZZ", b"ob", b"\xff\xff",
)  # fmt: skip
_SYNTAXES = (
    b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99",
    b"1.2.840.10008.1.2.4.70", b"1.2.840.113619.5.2", b"1.2.840.10008.1.2.4.95", b"", b"..", b"1.2.\xff", b"9" * 70,
)  # fmt: skip
_CHARSETS = (
    b"ISO_IR 192", b"ISO_IR 100", b"\\ISO 2022 IR 87", b"ISO 2022 IR 13\\ISO 2022 IR 87", b"\\ISO 2022 IR 149",
    b"\\ISO 2022 IR 58", b"GB18030", b"GBK", b"ISO_IR 999", b"\\\\\\", b"idna", b"ISO 2022 IR 6\\ISO 2022 IR 159",
    b"", b"\xff\xfe", b"utf_16", b"ISO_IR 192\\ISO 2022 IR 126",
)  # fmt: skip
_TAGS = (
    0x0008_0005, 0x0008_0016, 0x0008_0018, 0x0008_0020, 0x0010_0010, 0x0010_0020, 0x0010_0030, 0x0010_1010,
    0x0020_000D, 0x0020_000E, 0x0020_0011, 0x0020_0013, 0x0002_0010, 0x0000_0000, 0xFFFE_E000, 0xFFFE_E00D,
    0xFFFE_E0DD, 0x7FE0_0010, 0x0040_0275, 0xFFFC_FFFC, 0x0009_0010, 0xFFFF_FFFF, 0x0008_0061, 0x0008_1140,
)  # fmt: skip
_TEXTS = (
    b"", b"\0", b"..", b"../../../../etc/cron.d/x", b"/etc/passwd", b"a/b\\c/d", b"x" * 300, b"\x1b]0;owned\x07\x1b[2J",
    b"$(id)`id`;|&", b"%s%n%PatientID", b"\xff\xfe\xfd", b"\x1b$B\x1b", b"\x1b$)C\x1b(B\x1b(J\xa4", b"\x1b" * 200,
    "a\u202egnp.\u0301\u0301".encode(), b"\xed\xa0\x80", b"1.2\n3", b"9" * 5000, b"00000000", b"20240230", b"\\" * 999,
    "𝟙٣²".encode(), b"1e999", b"-1", b"NaN", b"2024" * 20_000, b" \0 \0", "ﬁ\u1e9b\u0323e\u0301".encode(),
    b"CON", b".", b"....", b"\n\r\t\v", b"=" * 200, b"^=^=^=", b"1." * 40, b"1.2.3/../../x",
)  # fmt: skip
"""Values that readers and path builders trip over."""
_LENGTHS = (0, 1, 2, 3, 7, 8, 0xFF, 0xFFFE, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, UNDEFINED)


@dataclass(frozen=True, slots=True)
class _Span:
    """An element of a file: where its header begins, its value, and its end."""

    begin: int
    value: int
    end: int


class Mutator:
    """Cases of one seed, one after the other."""

    def __init__(self, seed: int | str) -> None:
        self.random = random.Random(seed)

    # DICOM files

    def dicom(self, data: bytes, others: Sequence[bytes] = ()) -> bytes:
        """A file with one to four things wrong with it; `others` are files that parts may come from."""
        actions: tuple[Callable[[bytes], bytes], ...] = (
            self._retagged, self._other_vr, self._other_length, self._other_value, self._other_value, self._doubled,
            self._removed, self._moved, self._nested, self._other_charset, self._other_syntax, self._cut, self._flipped,
            self._noise, self._redeflated, self._grown_item,
        )  # fmt: skip
        for _ in range(self.random.choice((1, 1, 1, 2, 3, 4))):
            if others and self.random.random() < 0.08:
                data = self._spliced(data, self.random.choice(others))
            else:
                data = self.random.choice(actions)(data)
        return data

    def _span(self, data: bytes) -> _Span:
        spans = elements(data)
        if not spans:
            return _Span(0, min(8, len(data)), len(data))
        return self.random.choice(spans)

    def _retagged(self, data: bytes) -> bytes:
        span = self._span(data)
        tag = self.random.choice((*_TAGS, self.random.getrandbits(32)))
        return data[: span.begin] + struct.pack("<HH", tag >> 16, tag & 0xFFFF) + data[span.begin + 4 :]

    def _other_vr(self, data: bytes) -> bytes:
        at = self._span(data).begin + 4
        return data[:at] + self.random.choice(_VRS) + data[at + 2 :]

    def _other_length(self, data: bytes) -> bytes:
        span = self._span(data)
        known = span.end - span.value
        length = self.random.choice((*_LENGTHS, known + 1, max(0, known - 1), known + 8, self.random.getrandbits(32)))
        if data[span.begin + 4 : span.begin + 6] in _LONG:
            return data[: span.begin + 8] + struct.pack("<L", length & UNDEFINED) + data[span.begin + 12 :]
        if self.random.random() < 0.8:
            return data[: span.begin + 6] + struct.pack("<H", length & 0xFFFF) + data[span.begin + 8 :]
        return data[: span.begin + 4] + struct.pack("<L", length & UNDEFINED) + data[span.begin + 8 :]

    def _other_value(self, data: bytes) -> bytes:
        """Another value, with the length that belongs to it."""
        span = self._span(data)
        value = self.random.choice((*_TEXTS, self.random.randbytes(self.random.randrange(64))))
        if self.random.random() < 0.9:
            value += b" " * (len(value) % 2)
        vr = data[span.begin + 4 : span.begin + 6]
        if not vr.isalpha():
            return data[: span.begin + 4] + struct.pack("<L", len(value)) + value + data[span.end :]
        if vr in _LONG:
            return data[: span.begin + 8] + struct.pack("<L", len(value)) + value + data[span.end :]
        value = value[:0xFFFE]
        return data[: span.begin + 6] + struct.pack("<H", len(value)) + value + data[span.end :]

    def _doubled(self, data: bytes) -> bytes:
        span = self._span(data)
        times = self.random.choice((1, 1, 2, 50, 2000))
        part = data[span.begin : span.end][:4096]
        return data[: span.end] + part * times + data[span.end :]

    def _removed(self, data: bytes) -> bytes:
        span = self._span(data)
        return data[: span.begin] + data[span.end :]

    def _moved(self, data: bytes) -> bytes:
        span, other = self._span(data), self._span(data)
        part = data[span.begin : span.end]
        return self._removed(data)[: other.begin] + part + data[other.begin :]

    def _nested(self, data: bytes) -> bytes:
        """A sequence somewhere: of known or unknown length, closed or not, deep or wide."""
        span = self._span(data)
        depth = self.random.choice((1, 2, 5, 63, 64, 65, 200, 1500))
        return data[: span.begin] + sequence(depth, known=self.random.random() < 0.4, closed=self.random.random() < 0.8,
                                             vr=self.random.choice((b"SQ", b"SQ", b"UN", b"OB", b""))) + data[span.begin :]  # fmt: skip

    def _other_charset(self, data: bytes) -> bytes:
        name = self.random.choice(_CHARSETS)
        name += b" " * (len(name) % 2)
        element = struct.pack("<HH2sH", 0x0008, 0x0005, b"CS", len(name)) + name
        return self._data_set_with(data, element)

    def _data_set_with(self, data: bytes, element: bytes) -> bytes:
        """`element` as the first of the data set, whatever VR form that has."""
        spans = [span for span in elements(data) if data[span.begin : span.begin + 2] != b"\x02\0"]
        at = spans[0].begin if spans else len(data)
        return data[:at] + element + data[at:]

    def _other_syntax(self, data: bytes) -> bytes:
        at = data.find(b"\x02\x00\x10\x00UI")
        if at < 0 or at + 8 > len(data):
            return self._flipped(data)
        length = struct.unpack_from("<H", data, at + 6)[0]
        name = self.random.choice(_SYNTAXES)
        name += b"\0" * (len(name) % 2)
        return data[: at + 6] + struct.pack("<H", len(name)) + name + data[at + 8 + length :]

    def _cut(self, data: bytes) -> bytes:
        if self.random.random() < 0.3:
            span = self._span(data)
            return data[: self.random.choice((span.begin, span.value, span.end, span.begin + 5))]
        return data[: self.random.randrange(len(data) + 1)]

    def _flipped(self, data: bytes) -> bytes:
        changed = bytearray(data or b"\0")
        head = min(len(changed), 2048)
        for _ in range(self.random.choice((1, 1, 2, 8, 40))):
            at = self.random.randrange(head if self.random.random() < 0.8 else len(changed))
            changed[at] ^= 1 << self.random.randrange(8)
        return bytes(changed)

    def _noise(self, data: bytes) -> bytes:
        at = self.random.randrange(len(data) + 1)
        count = self.random.choice((0, 1, 2, 8, 5000))
        return data[:at] + self.random.randbytes(count) + data[at + self.random.choice((0, 0, 1, 4, 100)) :]

    def _spliced(self, data: bytes, other: bytes) -> bytes:
        one, two = self._span(data), self._span(other)
        return data[: one.begin] + other[two.begin :]

    def _redeflated(self, data: bytes) -> bytes:
        """The data set deflated, whole, cut or with something behind it, whatever the meta information says."""
        spans = [span for span in elements(data) if data[span.begin : span.begin + 2] != b"\x02\0"]
        at = spans[0].begin if spans else len(data)
        bomb = bytes(self.random.choice((0, 0, 1 << 20)))
        deflater = zlib.compressobj(wbits=self.random.choice((-15, -15, 15, 31)))
        packed = deflater.compress(data[at:] + bomb) + deflater.flush()
        packed = self.random.choice((packed, packed[: len(packed) // 2], packed + b"\0\0", packed + b"x" * 9))
        return self._other_syntax(data[:at]) + packed

    def _grown_item(self, data: bytes) -> bytes:
        span = self._span(data)
        tag = self.random.choice((0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD))
        length = self.random.choice(_LENGTHS)
        part = struct.pack("<HHL", tag >> 16, tag & 0xFFFF, length)
        return data[: span.value] + part * self.random.choice((1, 2, 3000)) + data[span.value :]

    # JSON documents

    def json(self, document: Any) -> bytes:
        """A document with something wrong: a value, a key, or the text itself."""
        text = json.dumps(document)
        for _ in range(self.random.choice((1, 1, 2, 3))):
            text = self.random.choice((self._json_value, self._json_value, self._json_value, self._json_text))(text)
        data = text.encode("utf-8", "surrogatepass")
        if self.random.random() < 0.1:
            data = self._flipped(data)
        if self.random.random() < 0.05:
            data = self.random.choice(
                (b"\xef\xbb\xbf" + data, data.decode("latin_1").encode("utf-16"), b"\0" * 100, b"")
            )
        return data

    def _json_value(self, text: str) -> str:
        """One node replaced, removed, wrapped or repeated; nodes are counted in the order of the text."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return self._json_text(text)
        places = _places(document)
        if not places:
            return self._json_text(text)
        holder, key = self.random.choice(places)
        action = self.random.randrange(6)
        if action == 0:
            del holder[key]
        elif action == 1:
            holder[key] = [holder[key]]
        elif action == 2 and isinstance(holder, dict):
            holder[self.random.choice(("", "__class__", "a\nb", "\ud800", "x" * 300, "series", "data"))] = holder.pop(
                key
            )
        elif action == 3 and isinstance(holder, list):
            holder.extend([holder[key]] * 3)
        else:
            holder[key] = self.random.choice(JSON_VALUES)
        return json.dumps(document)

    def _json_text(self, text: str) -> str:
        at = self.random.randrange(len(text) + 1)
        part = self.random.choice(_JSON_PARTS)
        if self.random.random() < 0.3:
            return text[:at]
        if self.random.random() < 0.3:
            return text.replace("{", self.random.choice(('{"status": 1, ', "{{", '{"data": [], ')), 1)
        return text[:at] + part + text[at + self.random.choice((0, 0, 1, 5)) :]

    # logs

    def log(self, lines: Sequence[str]) -> list[str]:
        """Lines of a log, some of them changed, missing, twice, or never written by any program."""
        out = list(lines)
        for _ in range(self.random.choice((1, 2, 5, 20))):
            at = self.random.randrange(len(out) + 1)
            line = self.random.choice(out) if out else ""
            action = self.random.randrange(6)
            if action == 0:
                del out[at : at + self.random.randrange(4)]
            elif action == 1:
                out.insert(at, line)
            elif action == 2:
                where = self.random.randrange(len(line) + 1)
                out.insert(at, line[:where] + self.random.choice(_LOG_PARTS) + line[where:])
            elif action == 3:
                out.insert(at, self.random.randbytes(30).decode("utf-8", "replace"))
            elif action == 4 and at < len(out):
                out[at] = out[at].replace(": ", f": {self.random.choice(_LOG_PARTS)}")
            else:
                self.random.shuffle(out)
        return out

    # associations

    def request(self, request: bytes) -> bytes:
        """An A-ASSOCIATE-RQ with something wrong in its head, its items or its lengths."""
        changed = bytearray(request)
        action = self.random.randrange(7)
        if action == 0:
            return bytes(changed[: self.random.randrange(len(changed))])
        if action == 1:
            changed[2:6] = struct.pack(">L", self.random.choice((0, 1, 68, 69, 1 << 20, UNDEFINED, len(request))))
        elif action == 2:
            at = self.random.choice((10, 26))
            changed[at : at + 16] = self.random.choice(_TEXTS)[:16].ljust(16, b"\0")
        elif action == 3:
            at = self.random.randrange(74, len(changed) - 4)
            changed[at + 2 : at + 4] = struct.pack(">H", self.random.choice((0, 1, 0xFFFF, 0x7FFF)))
        elif action == 4:
            at = self.random.randrange(74, len(changed))
            changed[at:at] = changed[74:] * self.random.choice((1, 3, 300))
            changed[2:6] = struct.pack(">L", len(changed) - 6)
        elif action == 5:
            changed[self.random.randrange(6)] = self.random.randrange(256)
        else:
            for _ in range(self.random.choice((1, 4, 16))):
                changed[self.random.randrange(len(changed))] = self.random.randrange(256)
        return bytes(changed)


def elements(data: bytes) -> list[_Span]:
    """The top-level elements that can be told apart, of explicit and implicit little endian files."""
    spans = []
    at = 132
    while at + 8 <= len(data):
        vr = data[at + 4 : at + 6]
        if vr in _LONG:
            value, length = at + 12, int.from_bytes(data[at + 8 : at + 12], "little")
        elif vr.isalpha() and vr.isupper():
            value, length = at + 8, int.from_bytes(data[at + 6 : at + 8], "little")
        else:
            value, length = at + 8, int.from_bytes(data[at + 4 : at + 8], "little")
        end = value + length if length != UNDEFINED and value + length <= len(data) else len(data)
        spans.append(_Span(at, value, end))
        at = max(end, at + 8)
    return spans


def sequence(
    depth: int, *, known: bool = False, closed: bool = True, vr: bytes = b"SQ", tag: int = 0x0040_0275
) -> bytes:
    """Sequences inside one another, `depth` deep; `vr` empty for implicit VR.  Of unknown length unless `known`."""

    def head(length: int) -> bytes:
        start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        if not vr:
            return start + struct.pack("<L", length)
        return start + vr + struct.pack("<HL", 0, length)

    if known:
        inner = b""
        for _ in range(depth):
            item = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
            inner = head(len(item)) + item
        return inner
    opening = head(UNDEFINED) + struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)
    closing = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return opening * depth + (closing * depth if closed else b"")


def deep(depth: int) -> list[Any]:
    """Lists inside one another."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**30, 10**400, 1e308, "", " ", "\0", "a\0b", "\n", "\x1b]0;owned\x07\x1b[2J", "\ud800",
    "x" * 70_000, "../../../etc/passwd", "/dev/zero", "1.2.3", "1" * 65, "-aec", "$(id)", "\u202e", [], {}, [[]], [{}],
    {"value": {"value": {}}}, {"tag": 0, "value": [1]}, {"value": None}, {"tag": [], "value": {}}, deep(40), deep(400),
    "65536", "NaN", "1e999", "127.0.0.1; id", float("nan"), float("inf"), {"status": "error"}, "999999999999999999999",
)  # fmt: skip
"""What stands where something else is expected."""

_JSON_PARTS = (
    "NaN", "-Infinity", "9" * 5000, "[" * 20_000, '{"a":' * 5000, "\\ud800", '"\\udfff"', ",", "}", "]", "\0", '"',
    '"data": 1,', "\ufeff", "1e99999", "-", "/* */", "'", "\t", "nul", "tru", "\u2028",
)  # fmt: skip

_LOG_PARTS = (
    "\0", "\x1b[2J", "x" * 200_000, "[", "]", "0xA700", "0x", "99999999999999999999", "²", "٣", "-1", "I: ", "D: ",
    "E: ", "F: ", "Rejected Permanent", "0006:0317 ", "\u2028", "=" * 30, "DIMSE Status : 0x0000", "\r",
)  # fmt: skip


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every place in a document that holds a value: its object or list, and the key there."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            waiting.append(holder[key])
    return found
