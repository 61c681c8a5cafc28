"""The options that say what to ask for: any DICOM keyword, by option, by ``--key`` or from a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from pypx.cli import inputs
from pypx.cli.options import F, PxCommand, given, record
from pypx.cli.verbs import spread_verbosity
from pypx.errors import InputError

if TYPE_CHECKING:
    from pypx.model.query import Query

MATCHING = {
    "PatientID": "patient-id", "PatientName": "patient-name", "PatientSex": "patient-sex",
    "AccessionNumber": "accession-number", "StudyDate": "study-date", "ModalitiesInStudy": "modalities-in-study",
    "Modality": "modality", "PerformedStationAETitle": "performed-station-ae-title",
    "StudyDescription": "study-description", "SeriesDescription": "series-description",
    "StudyInstanceUID": "study-instance-uid", "SeriesInstanceUID": "series-instance-uid",
    "ProtocolName": "protocol-name", "AcquisitionProtocolName": "acquisition-protocol-name",
    "AcquisitionProtocolDescription": "acquisition-protocol-description",
}  # fmt: skip
"""The matching keys that have an option of their own, and its kebab-case alias."""

_EXTRA = "pypx.query.keywords"


def matching_options(names: Iterable[str] = MATCHING) -> list[Any]:
    """Click's decorators for the matching keys `names`."""
    return [
        click.option(
            f"--{name}", f"--{MATCHING[name]}", name, multiple=True, metavar="VALUE",
            help=_HELP.get(name, f"Match {name}."),
        )
        for name in names
    ]  # fmt: skip


_HELP = {
    "PatientName": "Match PatientName; * and ? are wildcards.",
    "StudyDate": "Match a date (20240131) or a range (20240101-20240131, 20240101-, -20240131).",
    "StudyInstanceUID": "Match one UID, or several with commas.",
    "SeriesInstanceUID": "Match one UID, or several with commas.",
}


class QueryCommand(PxCommand):
    """A command that takes every DICOM keyword as an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take out the options that are not of the command: they have to be DICOM keywords."""
        if ctx.resilient_parsing:  # a shell asks what could come next
            return super().parse_args(ctx, args)
        known = {name: param for param in self.get_params(ctx) for name in (*param.opts, *param.secondary_opts)}
        rest, pairs = _split(spread_verbosity(args), known)
        ctx.meta[_EXTRA] = pairs
        return super().parse_args(ctx, rest)


def _split(args: list[str], known: Mapping[str, click.Parameter]) -> tuple[list[str], list[tuple[str, str]]]:
    rest: list[str] = []
    pairs: list[tuple[str, str]] = []
    index = 0
    while index < len(args):
        word = args[index]
        name, equals, value = word.partition("=")
        index += 1
        if word == "--":
            rest += args[index - 1 :]
            break
        if not word.startswith("--") or name in known:
            rest.append(word)
            if name in known and not equals and index < len(args) and _takes_value(known[name]):
                rest.append(args[index])
                index += 1
            continue
        if not equals and index < len(args) and not args[index].startswith("--"):
            value, equals = args[index], "="
            index += 1
        pairs.append((_keyword(name[2:], known), value))
        if not equals:
            raise click.UsageError(f"{name} needs a value")
    return rest, pairs


def _takes_value(param: click.Parameter) -> bool:
    return isinstance(param, click.Option) and not param.is_flag and not param.count


def _keyword(name: str, known: Mapping[str, click.Parameter]) -> str:
    """The keyword that an option names: as DICOM spells it, or as the options of px are spelled, patient-birth-date."""
    from pypx.services.dicomfile import keyword_info, keyword_spelled

    try:
        return keyword_info(name).keyword
    except InputError as error:
        if name[:1].isupper():
            raise
        spelled = keyword_spelled(name.replace("-", "")) if name.islower() else None
        if spelled:
            return spelled
        import difflib

        near = difflib.get_close_matches(f"--{name}", known, 1, 0.75)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise click.UsageError(f"no option --{name}, and no DICOM keyword either{hint}") from error


def query(function: F) -> F:
    """Give the command ``query``: what to ask the PACS for."""
    return record(
        "query",
        lambda _values: build(_collect()),
        *matching_options(),
        click.option(
            "--key", "key", multiple=True, metavar="KEYWORD=VALUE",
            help="Match any DICOM keyword (so does --KEYWORD VALUE); an empty value asks for it to be shown.",
        ),
        click.option(
            "--query-file", "query_file", metavar="FILE",
            help="Read matching keys from FILE (- for stdin): a JSON object, or lines KEYWORD=VALUE. "
            "Keeps patients' names out of the list of processes.",
        ),
        click.option("--StudyOnly", "--study-only", "study_only", is_flag=True, help="Do not ask for series."),
        click.option(
            "--QueryReturnTags", "--return-keys", "return_keys", metavar="A,B,...",
            help="Ask for these attributes instead of the usual ones.",
        ),
        click.option("--patient-root", "patient_root", is_flag=True, help="Use the patient root model."),
        click.option(
            "--query-charset", "query_charset", metavar="TERM",
            help="Character set of values beyond ASCII (ISO_IR 192).",
        ),
    )(function)  # fmt: skip


def build(match: Mapping[str, str]) -> Query:
    """Make the query of this command's options from what is to be matched."""
    from pypx.cli.query_checks import check_match
    from pypx.model.keywords import QueryModel
    from pypx.workflows.find import build_query

    check_match(match)
    extra: dict[str, Any] = {}
    if given("query_charset"):
        extra["charset"] = given("query_charset")
    listed = given("return_keys")
    return build_query(
        match,
        return_keys=tuple(part.strip() for part in listed.split(",") if part.strip()) if listed else None,
        study_only=bool(given("study_only")),
        model=QueryModel.PATIENT_ROOT if given("patient_root") else QueryModel.STUDY_ROOT,
        **extra,
    )


def _collect() -> dict[str, str]:
    """All matching keys of the command line and the query file; the same one twice is an error."""
    match: dict[str, str] = {}
    named = [(name, value) for name in MATCHING for value in given(name) or () if value]
    typed = click.get_current_context().meta.get(_EXTRA, [])
    pairs = [_pair(text, "--key") for text in given("key") or ()]
    source = given("query_file")
    listed = read_query_file(source) if source else []
    for keyword, value in (*named, *typed, *pairs, *listed):
        if match.setdefault(keyword, value) != value:
            raise InputError(f"{keyword}: given twice with different values")
    return match


def _pair(text: str, where: str) -> tuple[str, str]:
    keyword, equals, value = text.partition("=")
    if not equals or not keyword.strip():
        raise InputError(f"{where}: KEYWORD=VALUE is expected", detail=f"{where}: {text[:60]!r} is not KEYWORD=VALUE")
    return keyword.strip(), value


def _line_pair(line: str, where: str) -> tuple[str, str]:
    keyword, value = _pair(line, where)
    return _checked(keyword, value.strip(), where)


def read_query_file(source: str) -> list[tuple[str, str]]:
    r"""Read matching keys from a file, or from stdin for ``-``.

    A JSON object maps keywords to a text, a number, or a list of them (joined by ``\``); otherwise each line is
    ``Keyword=value``, with or without blanks around each; empty lines and those that begin with ``#`` do not count.

    Raises
    ------
    InputError : unreadable, empty, of neither form, or a key that cannot be matched.  Such a file is to hide what is in
        it, so the text names the line and the keyword, and `detail` alone what stands there
    """
    text = inputs.read_text(source, "query file")
    name = "--query-file -" if source == "-" else f"--query-file {source}"
    if text.lstrip().startswith(("{", "[")):
        listed = enumerate(inputs.parse_object(text, name, "query").items(), start=1)
        return [_checked(*pair, f"{name}, key {number}") for number, pair in listed]
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    pairs = [_line_pair(line, f"{name}, line {number}") for number, line in lines if line and not line.startswith("#")]
    if not pairs:
        raise InputError(f"{name}: no matching key in it")
    return pairs


def _checked(keyword: str, value: object, where: str) -> tuple[str, str]:
    from pypx.cli.query_checks import check_match
    from pypx.model.query import MatchingKey
    from pypx.services.dicomfile import keyword_info

    try:
        vr = keyword_info(keyword).VR
    except InputError as error:
        _, problem, hint = str(error).rpartition(" is not a DICOM keyword")
        raise InputError(f"{where}: the key{problem}{hint}", detail=f"{where}: {error}") from None
    try:
        text = _value(keyword, value)
        check_match({keyword: text})
        MatchingKey(keyword, vr, text)
    except InputError as error:
        raise error.at(where) from None
    return keyword, text


def _value(keyword: str, value: object) -> str:
    if isinstance(value, list):
        return "\\".join(_value(keyword, part) for part in value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        problem = f"{keyword}: a text or a list of texts was expected"
        raise InputError(problem, detail=f"{problem}, not {str(value)[:60]}")
    return str(value)
