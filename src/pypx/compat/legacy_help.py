"""What the ``px-*`` commands say of themselves: ``--version``, ``-y`` and ``-x``."""

from __future__ import annotations

from collections.abc import Mapping

from pypx.compat.legacy_options import OPTIONS, Option

VERSIONS: Mapping[str, str] = {
    "find": "3.2.2", "do": "3.2.8", "echo": "3.0.0", "move": "3.0.0", "push": "3.2.6", "register": "3.2.12",
    "repack": "3.2.4", "report": "3.2.26", "smdb": "3.2.32", "status": "3.0.2", "listen": "1.2.0",
    "pfstorage": "3.2.6", "storescp": "1.0.0",
}  # fmt: skip
"""The numbers that the scripts of pypx 3.6.2 print: scripts compare them."""

SUMMARIES: Mapping[str, str] = {
    "find": "Ask a PACS which studies and series it has, and run further steps over them.",
    "do": "Run further steps over what px-find --json printed.",
    "echo": "Check that a PACS answers.",
    "move": "Have a PACS send a series.",
    "push": "Push a directory of DICOM files to Swift or into a directory.",
    "register": "Register with CUBE what was pushed.",
    "repack": "File received DICOM files in the BASEMOUNT.",
    "report": "Show what px-find --json printed.",
    "smdb": "Look into the database of a BASEMOUNT, and name services in it.",
    "status": "Say how much of a series has arrived.",
    "listen": "Receive what a PACS sends, and file it.",
    "pfstorage": "List, store, fetch and remove objects of a store.",
    "storescp": "Receive what a PACS sends, and file it.",
}

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "find": (
        "px-find --serverIP 10.0.0.5 --aec ORTHANC --PatientID 1234567 --json | px-report --printReport csv",
        "px-find --PACS orthanc --db /home/dicom/log --PatientID 1234567 --then retrieve,status --withFeedBack",
    ),
    "do": ("px-find --PatientID 1234567 --json | px-do --db /home/dicom/log --then retrieve,status --json",),
    "echo": ("px-echo --serverIP 10.0.0.5 --serverPort 4242 --aec ORTHANC --aet CHRIS",),
    "move": ("px-move --serverIP 10.0.0.5 --aec ORTHANC --StudyInstanceUID 1.2.3 --SeriesInstanceUID 1.2.3.4",),
    "push": ("px-push --db /home/dicom/log --swift local --swiftServicesPACS BCH --xcrdir /home/dicom/data/A --json",),
    "register": ("px-register --db /home/dicom/log --CUBE local --swiftServicesPACS BCH --upstreamFile push.json",),
    "repack": ("px-repack --xcrdir /tmp/in --xcrfile 1.dcm --logdir /home/dicom/log --datadir /home/dicom/data",),
    "report": ("px-find --PatientID 1234567 --json | px-report --printReport tabular --colorize dark",),
    "smdb": ("px-smdb --logdir /home/dicom/log --action imageDirsPatientID --actionArgs 1234567",),
    "status": ("px-status --db /home/dicom/log --StudyInstanceUID 1.2.3 --SeriesInstanceUID 1.2.3.4 --json",),
    "listen": ("px-listen -l /home/dicom/log -d /home/dicom/data -p 11113",),
    "pfstorage": ("""pfstorage --swiftIP 10.0.0.2 --swiftPort 8080 --swiftLogin chris:chris1234 --json \
--do '{"action": "ls", "args": {"path": "SERVICES"}}'""",),
    "storescp": ("storescp.sh -p 11113 -D /home/dicom",),
}  # fmt: skip

_WHITE_ON_BLUE, _WHITE, _GREEN, _RESET = "\x1b[44m\x1b[1;37m", "\x1b[1;37m", "\x1b[1;32m", "\x1b[0m"
_WIDTH = 78


def program(verb: str) -> str:
    """The name under which a verb is installed."""
    return {"pfstorage": "pfstorage", "storescp": "storescp.sh"}.get(verb, f"px-{verb}")


def version_text(verb: str) -> str:
    """What ``--version`` prints."""
    return f"Version: {VERSIONS[verb]}\n"


def synopsis(verb: str, *, colour: bool = False) -> str:
    """What ``-y`` prints: name and options."""
    usage = " ".join(_usage(option) for option in OPTIONS[verb])
    return f"{_heading('NAME', verb, colour)}  {program(verb)} - {SUMMARIES[verb]}\n\n" + _section(
        "SYNOPSIS", _wrapped(f"{program(verb)} {usage}"), colour
    )


def description(verb: str, *, colour: bool = False) -> str:
    """What ``-x`` prints: the synopsis, each option, and examples."""
    rows = []
    for option in OPTIONS[verb]:
        rows.append(f"  {_coloured(', '.join(option.names), _GREEN, colour)}")
        default = "" if option.flag or option.default in ("", ()) else f" [{option.default}]"
        text = f"{option.help}{default}".strip()
        rows += [f"      {text}"] if text else []
    examples = "\n".join(f"  {line}" for line in EXAMPLES[verb])
    return synopsis(verb, colour=colour) + _section("ARGS", "\n".join(rows), colour) + _section(
        "EXAMPLES", examples, colour
    )  # fmt: skip


def _usage(option: Option) -> str:
    name = option.names[-1]
    return f"[{name}]" if option.flag else f"[{name} <{option.dest}>]"


def _wrapped(text: str) -> str:
    lines, line = [], " "
    for word in text.replace(" <", "\0<").split(" "):
        if len(line) + len(word) + 1 > _WIDTH:
            lines.append(line)
            line = "     "
        line += f" {word.replace(chr(0), ' ')}"
    return "\n".join([*lines, line])


def _heading(title: str, verb: str, colour: bool) -> str:
    banner = f"[ {program(verb)} {VERSIONS[verb]} ]"
    return f"{_coloured(banner, _WHITE_ON_BLUE, colour)}\n\n{_coloured(title, _WHITE, colour)}\n"


def _section(title: str, body: str, colour: bool) -> str:
    return f"{_coloured(title, _WHITE, colour)}\n{body}\n\n"


def _coloured(text: str, start: str, colour: bool) -> str:
    return f"{start}{text}{_RESET}" if colour else text
