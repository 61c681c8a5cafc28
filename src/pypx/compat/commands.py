"""The DCMTK command lines that pypx 3 printed beside its results.

They are texts for people and scripts that read ``command``: px starts its programs as argument lists with the keys in
files and never runs these lines.
"""

from __future__ import annotations

from pypx.model.identifiers import UID
from pypx.model.keywords import LEGACY_KEYS, Level
from pypx.model.pacs import PacsNode
from pypx.model.query import Query
from pypx.model.records import SeriesRef

FINDSCU = "/usr/bin/findscu"
MOVESCU = "/usr/bin/movescu"
ECHOSCU = "/usr/bin/echoscu"
_TIMEOUT = "--timeout 5"


def _suffix(node: PacsNode) -> str:
    return f" -aec {node.called_aet} -aet {node.calling_aet} {node.host} {node.port}"


def find_command(query: Query, node: PacsNode, *, study: UID | None = None, program: str = FINDSCU) -> str:
    """The findscu line of a query.

    Parameters
    ----------
    query : what was asked
    node : whom
    study : ``None`` for the first pass (STUDY level), else the study whose series the second pass asked for
    program : path of findscu as it stands at the front of the line
    """
    level = Level.STUDY if study is None else Level.SERIES
    asked = LEGACY_KEYS if query.return_keys is None else query.return_keys
    not_sent = "SeriesInstanceUID" if study is None else ""
    keys = dict.fromkeys(asked, "")
    keys.update({key.keyword: key.value for key in query.match if key.keyword != not_sent})
    if study is not None:
        keys["StudyInstanceUID"] = study
    keys["QueryRetrieveLevel"] = level.value
    words = " ".join(f'-k "{name}={value}"' if value else f"-k {name}" for name, value in sorted(keys.items()))
    return f"{program} -xi -S  {words} {_suffix(node)}"


def move_command(series: SeriesRef, node: PacsNode, *, program: str = MOVESCU, series_first: bool = False) -> str:
    """The movescu line of a series; `series_first` is the order of keys that ``--then retrieve`` had."""
    study_key = f"-k StudyInstanceUID={series.StudyInstanceUID}"
    series_key = f"-k SeriesInstanceUID={series.SeriesInstanceUID}"
    keys = f"{series_key} {study_key}" if series_first else f"{study_key} {series_key}"
    return f"{program} -S --move {node.move_destination} {_TIMEOUT} -k QueryRetrieveLevel=SERIES {keys} {_suffix(node)}"


def echo_command(node: PacsNode, *, program: str = ECHOSCU) -> str:
    """The echoscu line of a verification."""
    return f"{program}  {_TIMEOUT} -v  {_suffix(node)}"
