"""DIMSE status codes of C-FIND and C-MOVE in words, with what to do (PS3.4 C.4.1.1.4 and C.4.2.1.5, PS3.7 annex C)."""

from __future__ import annotations

SUCCESS = 0x0000
SUBOPERATIONS_WARNING = 0xB000
CANCELLED = 0xFE00
NOTHING_SENT = "Success, but not one image was sent; does the PACS (still) have the series?"

_TEXTS = {
    0x0000: "Success",
    0x0105: "the PACS does not know such an attribute",
    0x0106: "the PACS calls a value of the request invalid",
    0x0110: "processing failure in the PACS; try again, then ask its administrator",
    0x0112: "the PACS knows no such object",
    0x0122: "the PACS does not offer this service",
    0x0124: "the PACS does not allow it to us; ask its administrator",
    0x0210: "duplicate invocation",
    0x0211: "the PACS does not know this operation",
    0x0212: "the PACS calls the request mistyped",
    0x0213: "the PACS has too little resources; try again later",
    0xA700: "out of resources: the PACS stopped before it was done; ask for less at a time",
    0xA701: "out of resources: the PACS could not count the matches; ask for less at a time",
    0xA702: "out of resources: the PACS could not send the images; try again later, with a delay between requests",
    0xA801: "the PACS does not know our AE title as destination: ask its administrator to add it, with the address "
    "and port of the listener (--aet must be that title)",
    0xA900: "the PACS does not take these keys at this level; try fewer return keys (--QueryReturnTags)",
    0xB000: "some images could not be sent, or came with warnings; ask again for what is missing",
    0xFE00: "cancelled",
}
_MOVE_UNABLE = (
    "unable to process: the PACS does not know our AE title as destination, or cannot reach our listener, or does not "
    "have the series (Orthanc says the same to all three)"
)
_FIND_UNABLE = "unable to process: the PACS could not handle the query; its log says why"


def status_text(status: int, *, move: bool) -> str:
    """One line on a final status: its number, what it means, what to do.

    Parameters
    ----------
    status : DIMSE status, 0 to 0xFFFF
    move : the request was a C-MOVE, not a C-FIND
    """
    unable = _MOVE_UNABLE if move else _FIND_UNABLE
    text = _TEXTS.get(status, unable if 0xC000 <= status <= 0xCFFF else "a status that DICOM does not name")
    return f"status {status:04X}: {text}"
