"""The options of the px-* commands, against those of pypx 3.6.2 as its own parsers have them (options.json)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pypx.compat.legacy_help import VERSIONS
from pypx.compat.legacy_options import OPTIONS
from pypx.compat.legacy_parser import arguments_of, make_parser, parse
from pypx.errors import InputError
from support import golden

RECORDED: dict[str, dict[str, dict[str, Any]]] = json.loads(golden.text("options.json"))

OTHER_DEFAULT = {
    ("find", "serverIP"): "no PACS address is built in",
    ("echo", "serverIP"): "no PACS address is built in",
    ("move", "serverIP"): "no PACS address is built in",
    ("push", "str_xcrdir"): "defect S15: not all of /tmp",
    ("repack", "str_xcrdir"): "defect S11: not /tmp",
    ("smdb", "str_xcrdir"): "defect S11: not /tmp",
    ("repack", "str_dataDir"): "beside the database that is named",
    ("register", "str_CUBEURL"): "defect S7: no CUBE and no password is built in",
    ("register", "str_CUBEuserpasswd"): "defect S7: as above",
    ("pfstorage", "verbosity"): "a number, as everywhere",
}


@pytest.mark.parametrize("verb", RECORDED)
def test_every_option_of_pypx_is_there(verb: str) -> None:
    ours = {name: action for action in make_parser(verb)._actions for name in action.option_strings}
    for option in RECORDED[verb].values():
        for name in option["spellings"]:
            action = ours[name]
            assert (action.dest, action.nargs == 0) == (option["dest"], option["flag"]), name
            if (verb, action.dest) not in OTHER_DEFAULT:
                assert action.default == option["default"], name


def test_listed_defaults_differ() -> None:
    for verb, dest in OTHER_DEFAULT:
        theirs = {option["dest"]: option["default"] for option in RECORDED[verb].values()}
        assert make_parser(verb).get_default(dest) != theirs[dest]


def meanings(names: dict[str, str], prefix: str) -> set[str]:
    return {name for name in names if name.startswith(prefix)}


@pytest.mark.parametrize("verb", RECORDED)
def test_abbreviations_of_pypx_still_work(verb: str) -> None:
    theirs = {name: o["dest"] for o in RECORDED[verb].values() for name in o["spellings"] if name.startswith("--")}
    theirs["--help"] = "help"
    ours = {name: a.dest for a in make_parser(verb)._actions for name in a.option_strings if name.startswith("--")}
    for name, dest in theirs.items():
        for length in range(3, len(name) + 1):
            prefix = name[:length]
            if meanings(theirs, prefix) == {name}:
                found = {ours[one] for one in meanings(ours, prefix)}
                new = meanings(ours, prefix) - set(theirs)
                assert found == {dest} or new, f"{verb}: {prefix}"
                assert new <= {"--storeBaseLocation", "--StudyOnly", "--QueryReturnTags", "--PACS", "--port"}


def test_versions_are_those_of_the_scripts() -> None:
    assert VERSIONS["find"] == golden.text("01-version.out").split()[1]
    assert set(VERSIONS) == set(OPTIONS)


# --- parsing


def test_given_and_defaults() -> None:
    parsed = parse("find", ["--PatientID=42", "--serverP", "104", "--json", "-v", "2"])
    assert parsed.given == {"PatientID", "serverPort", "json", "verbosity"}
    assert parsed.values["serverPort"] == "104"
    assert parsed.values["verbosity"] == 2
    assert parsed.values["aet"] == "CHRIS-ULTRON-AET"


def test_value_that_begins_with_a_dash() -> None:
    assert parse("find", ["--PatientID=-x"]).values["PatientID"] == "-x"


def test_db_abbreviates() -> None:
    assert parse("status", ["--db", "/x/log"]).values["dblogbasepath"] == "/x/log"
    assert parse("report", ["--db=/x/log"]).values["dblogbasepath"] == "/x/log"
    assert parse("repack", ["--db", "/x/log"]).values["str_logDir"] == "/x/log"


@pytest.mark.parametrize("verb", sorted(set(OPTIONS) - {"repack"}))
def test_unknown_option_is_refused(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(verb, ["--no-such-option"])
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_repack_passes_over_what_it_does_not_know() -> None:
    parsed = parse("repack", ["--xcrdir", "/a", "--no-such-option", "1", "--cleanup"])
    assert parsed.values["str_xcrdir"] == "/a"
    assert parsed.values["b_cleanup"] is True


@pytest.mark.parametrize("verb", sorted(OPTIONS))
def test_options_that_only_the_help_of_pypx_knew(verb: str) -> None:
    """Defect I13."""
    assert parse(verb, ["--debugToDir", "/tmp/x"]).given <= {"str_debugToDir"}
    if verb == "push":
        assert parse(verb, ["--imageFileTemplate", "%SOPInstanceUID"]).given == {"str_imageTemplate"}


# --- JSONargs


def test_json_args() -> None:
    text = json.dumps({"PatientID": "7", "db": "/x/log", "json": True, "withFeedBack": False, "serverPort": 104})
    parsed = parse("find", ["--JSONargs", text])
    assert parsed.values["PatientID"] == "7"
    assert parsed.values["dblogbasepath"] == "/x/log"
    assert parsed.values["serverPort"] == "104"
    assert parsed.values["json"] is True
    assert parsed.values["JSONargString"] == ""


def test_options_given_besides_go_before_json_args() -> None:
    """Defect I2: pypx dropped them."""
    parsed = parse("find", ["--JSONargs", '{"PatientID": "7", "aet": "A"}', "--PatientID", "8", "--json"])
    assert (parsed.values["PatientID"], parsed.values["aet"], parsed.values["json"]) == ("8", "A", True)


@pytest.mark.parametrize(
    ("verb", "flag"), [("push", "swiftPackEachDICOM"), ("repack", "cleanup"), ("register", "json")]
)
def test_false_is_false(verb: str, flag: str) -> None:
    """Defect I3."""
    (dest,) = (option.dest for option in OPTIONS[verb] if f"--{flag}" in option.names)
    assert parse(verb, ["--JSONargs", json.dumps({flag: False})]).values[dest] is False
    assert parse(verb, ["--JSONargs", json.dumps({flag: True})]).values[dest] is True


@pytest.mark.parametrize("text", ["{", "[1]", "3", '"x"'])
def test_bad_json_args(text: str) -> None:
    with pytest.raises(InputError, match="--JSONargs"):
        parse("find", ["--JSONargs", text])


def test_arguments_of() -> None:
    assert arguments_of({"a": "x y", "b": True, "c": False, "d": None, "e": "-1", "f": ["p", "q"], "g": {"h": 1}}) == [
        "--a=x y", "--b", "--e=-1", "--f", "p", "q", '--g={"h": 1}',
    ]  # fmt: skip
