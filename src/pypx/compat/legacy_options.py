"""The options of the ``px-*`` commands: names, attribute names and defaults as pypx 3 has them.

The parsers are of argparse, as pypx's are: scripts rely on its unique-prefix abbreviations (``--db``), and
``pypx.find.parser_setup`` hands them out.  They belong to the shape that pypx gave its options, so they live here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pypx.model.templatetexts import PYPX_PUSH_TEXTS, PYPX_TEXTS, TemplateTexts

TMP_LOG = "/tmp/log"  # noqa: S108 - the database of whoever names none, guarded where it is opened
DEFAULT_AET, DEFAULT_AEC, DEFAULT_PORT = "CHRIS-ULTRON-AET", "CHRIS-ULTRON-AEC", "4242"

MATCHING = (
    "AccessionNumber", "PatientID", "PatientName", "PatientSex", "StudyDate", "ModalitiesInStudy", "Modality",
    "PerformedStationAETitle", "StudyDescription", "SeriesDescription", "SeriesInstanceUID", "StudyInstanceUID",
    "ProtocolName", "AcquisitionProtocolName", "AcquisitionProtocolDescription",
)  # fmt: skip
"""What px-find and px-smdb take as options of the same name."""


class Option(NamedTuple):  # no dataclass, as in legacy_parser: every px-* command would load the module for it
    """One option: its spellings, the attribute it sets, its default.  A default of ``False`` makes it a flag."""

    names: tuple[str, ...]
    dest: str
    default: Any = ""
    help: str = ""

    @property
    def flag(self) -> bool:
        """Whether it takes no value."""
        return self.default is False


def _option(names: str, dest: str = "", default: Any = "", help: str = "") -> Option:  # noqa: A002 - as argparse says
    spellings = tuple(names.split())
    return Option(spellings, dest or spellings[-1].lstrip("-"), default, help)


def _same(names: str) -> tuple[Option, ...]:
    return tuple(_option(f"--{name}") for name in names.split())


def _common(*, long: bool) -> tuple[Option, ...]:
    """The options every script has; `long` names the attributes as px-repack, px-register and px-smdb do."""
    prefix = "b_" if long else ""
    return (
        _option("-v --verbosity", default=1, help="0 prints no result; 2 and up tell details on stderr."),
        _option("-x --desc", f"{prefix}desc", default=False, help="Print a description and end."),
        _option("-y --synopsis", f"{prefix}synopsis", default=False, help="Print the synopsis and end."),
        _option("--version", "b_version", default=False, help="Print the version of this script and end."),
    )


_JSON_ARGS = _option("--JSONargs", "JSONargString", help="Options as a JSON object; those given besides go first.")
_JSON = _option("--json", default=False, help="Print the result.")
_DEBUG = _option("--debug", "b_debug", default=False, help="Print a traceback if something fails.")
_DEBUG_TO_DIR = _option("--debugToDir", "str_debugToDir", help="Accepted; logs go to stderr.")

_PEER = (
    _option("--PACS", help="A PACS named in services/pacs.json beside the database."),
    _option("--aet", default=DEFAULT_AET, help="AE title of ours; the PACS sends to it."),
    _option("--aec", default=DEFAULT_AEC, help="AE title of the PACS."),
    _option("--serverIP", help="Host of the PACS; there is no default."),
    _option("--serverPort", default=DEFAULT_PORT, help="Port of the PACS."),
)

_DATABASE = _option("--dblogbasepath", default=TMP_LOG, help="The log directory of the BASEMOUNT.")
_THEN = (
    _option("--withFeedBack", default=False, help="Print what is being done, and no JSON."),
    _option("--then", help="Verbs to run over what was found: retrieve,status,push,register,report."),
    _option("--thenArgs", help="A JSON object a verb, separated by semicolons."),
    _option("--intraSeriesRetrieveDelay", default="0", help="Seconds after each retrieve, or dynamic:N."),
    _option("--move", default=False, help="Accepted; every retrieve is a C-MOVE."),
)
_WAIT = _option("--waitForUserTerminate", "b_waitForUserTerminate", default=False, help="Wait for ENTER at the end.")
_REPORT_DATA = _same("reportData reportDataFile")


def _files(log: str, data: bool = False, directory: str = "") -> tuple[Option, ...]:
    places = (_option("-d --datadir", "str_dataDir", default="", help="Root of the packed files."),) if data else ()
    return (
        _option("-p --xcrdir", "str_xcrdir", default=directory, help="Directory of the file or files."),
        _option("-f --xcrfile", "str_xcrfile", help="The file in it."),
        _option("--xcrdirfile", "str_xcrdirfile", help="Both in one."),
        _option(log, "str_logDir", default=TMP_LOG, help="The log directory of the BASEMOUNT."),
        *places,
    )


def _templates(templates: TemplateTexts) -> tuple[Option, ...]:
    return (
        _option("--rootDirTemplate", "str_rootDirTemplate", default=templates.root),
        _option("--studyDirTemplate", "str_studyDirTemplate", default=templates.study),
        _option("--seriesDirTemplate", "str_seriesDirTemplate", default=templates.series),
        _option("--imageTemplate", "str_imageTemplate", default=templates.image),
    )


_SUBSTRING = _option("--parseAllFilesWithSubStr", "str_filesubstr", help="Only files with this in their name.")

OPTIONS: Mapping[str, tuple[Option, ...]] = {
    "find": (
        _JSON_ARGS,
        _option("--db", "dblogbasepath", TMP_LOG, "The log directory of the BASEMOUNT."),
        _PEER[0], *_same("CUBE swift"), *_PEER[1:],
        _option("--findscu", default="/usr/bin/findscu"), _option("--movescu", default="/usr/bin/movescu"),
        *(_option(f"--{name}", help=f"Match {name}.") for name in MATCHING),
        _option("--StudyOnly", default=False, help="Do not ask for series."),
        _option("--QueryReturnTags", help="Ask for these attributes instead of the usual ones."),
        *_THEN, _JSON, _WAIT, *_common(long=False),
    ),
    "do": (
        _option("--db", "dblogbasepath", TMP_LOG, "The log directory of the BASEMOUNT."),
        *_REPORT_DATA, *_THEN, _JSON, _WAIT, *_common(long=False),
    ),
    "echo": (*_PEER, _option("--echoscu", default="/usr/bin/echoscu"), *_common(long=False)),
    "move": (
        *_PEER, _option("--movescu", default="/usr/bin/movescu"), *_same("StudyInstanceUID SeriesInstanceUID"),
        *_common(long=False),
    ),
    "report": (
        *_REPORT_DATA, _DATABASE, *_same("colorize printReport"),
        _option("--csvPrintHeaders", default=False), _option("--csvPrettify", default=False),
        _option("--csvSummarize", default=False),
        _option("--csvSeparator", default="|"),
        _option("--reportLayout", "reportTags"),
        *_same("reportHeaderStudyTags reportHeaderSeriesTags reportBodySeriesTags seriesSpecial"),
        _option("--json", "b_json", default=False, help="No output."), *_common(long=False),
    ),
    "status": (
        _DATABASE, *_same("StudyInstanceUID SeriesInstanceUID"), _option("--verifySeriesInStudy", default=False),
        _JSON, *_common(long=False),
    ),
    "smdb": (
        _JSON_ARGS, _option("--action", "str_action"), _option("--actionArgs", "str_actionArgs"),
        *_files("-l --logdir"), *_same(" ".join(MATCHING)),
        _option("--cleanup", "b_cleanup", default=False), _DEBUG, *_common(long=True),
    ),
    "repack": (
        _JSON_ARGS, *_files("-l --logdir", data=True), _SUBSTRING, *_templates(PYPX_TEXTS),
        _option("--cleanup", "b_cleanup", default=False, help="Remove each source once it is filed and recorded."),
        _DEBUG, *_common(long=True),
    ),
    "push": (
        _JSON_ARGS, *_files("--db"), _SUBSTRING, _option("--swift", help="A store named in services/."),
        _option("--swiftIP", "str_swiftIP"), _option("--swiftPort", "str_swiftPort"),
        _option("--swiftLogin", "str_swiftLogin"), _option("--swiftServicesPACS", "str_swiftServicesPACS"),
        _option("--swiftPackEachDICOM", "b_swiftPackEachDICOM", default=False, help="Accepted; it is always done."),
        _option("--swiftBaseLocation", "str_swiftBaseLocation", help="Accepted, without effect."),
        _option("--storeBaseLocation", "str_storeBaseLocation", help="Copy below this directory instead."),
        *_templates(PYPX_PUSH_TEXTS), _JSON, *_common(long=False),
    ),
    "register": (
        _JSON_ARGS, *_files("--db"), _option("--upstreamFile", help="The JSON that px-push printed."),
        _option("--upstream", "reportData"), _SUBSTRING,
        Option(("--localFileList",), "localFileList", ()), Option(("--objectFileList",), "objectFileList", ()),
        _option("--PACS", "str_PACS", help="Accepted, without effect."),
        _option("--CUBE", help="A CUBE named in services/cube.json."), _option("--CUBEURL", "str_CUBEURL"),
        _option("--CUBEusername", "str_CUBEusername", default="chris"),
        _option("--CUBEuserpasswd", "str_CUBEuserpasswd"),
        _option("--swiftServicesPACS", "str_swiftServicesPACS"), *_templates(PYPX_PUSH_TEXTS),
        _option("--cleanup", "b_cleanup", default=False), _DEBUG, _JSON, *_common(long=True),
    ),
    "pfstorage": (
        _option("--do", help='What to do: {"action": "ls", "args": {"path": "SERVICES"}}.'),
        _option("--swiftIP", "str_swiftIP"), _option("--swiftPort", "str_swiftPort"),
        _option("--swiftLogin", "str_swiftLogin"), _option("--type", "str_type", default="swift"),
        _option("--storeBaseLocation", "str_storeBaseLocation"), _option("--upstreamFile"),
        _option("--upstream", "reportData"), _option("--action", "str_action"), _option("--args", "str_args"),
        _option("--test", "b_test", default=False), _DEBUG_TO_DIR, _JSON, *_common(long=False),
    ),
    "listen": (
        _option("-t --tmpdir", "tmp_directory", help="Accepted; what is received waits in incoming/."),
        _option("-l --logdir", "log_directory", default=TMP_LOG), _option("-d --datadir", "data_directory"),
        _option("-e --executable", "executable", help="The storescp to use."),
        _option("-p --port", "port", help="Port to listen on (PX_LISTEN_PORT; 10402)."),
        _DEBUG, *_common(long=False),
    ),
    "storescp": (
        _option("-p", "port", default="10402", help="Port to listen on."),
        _option("-E", "execroot", default="/usr/local/bin", help="Accepted; no program is run per image."),
        _option("-D", "basemount", default="/home/dicom", help="The BASEMOUNT."),
        _option("-t", "holding", default="", help="Accepted; what is received waits in incoming/."),
    ),
}  # fmt: skip
"""The options of each verb, in the order of its help."""

ALIASES: Mapping[str, Mapping[str, str]] = {
    "find": {"--dblogbasepath": "--db"},
    "do": {"--dblogbasepath": "--db"},
    "report": {"--csvSummarise": "--csvSummarize", "--db": "--dblogbasepath"},
    "status": {"--db": "--dblogbasepath"},
    "smdb": {"--db": "--logdir"},
    "repack": {"--db": "--logdir", "--imageFileTemplate": "--imageTemplate"},
    "push": {"--logdir": "--db", "--imageFileTemplate": "--imageTemplate"},
    "register": {"--logdir": "--db", "--imageFileTemplate": "--imageTemplate"},
}
"""Spellings that the help of pypx names, or that other scripts have; taken in full only, so that no abbreviation
becomes ambiguous."""

PASSED_OVER: Mapping[str, int] = {"--debugToDir": 1, "--executable": 1, "--ReportLineOverwrite": 0}
"""Options that the help of pypx names and no parser of it knew, and how many values they take."""

LATER = ("StudyOnly", "QueryReturnTags")
"""Options of px-find that 3.6.2 has not; they stand in ``args`` only where they are given."""
