"""Options that commands share: one order (option, variable, named service, default), and one ready record each."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pypx.cli import options, tool_options
from pypx.cli.main import px
from pypx.cli.peer_options import PeerOptions, peer_overrides
from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.errors import InputError
from pypx.model.identifiers import AETitle
from pypx.model.outcomes import EchoOutcome
from pypx.model.packpath import DEFAULT_TEMPLATES
from pypx.model.peers import PacsNode

Asked = list[dict[str, Any]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What px echo asks for, one entry a call."""
    calls: Asked = []

    def echo(node: PacsNode, **values: Any) -> EchoOutcome:
        calls.append({"node": node, **values})
        return EchoOutcome(node, 0.012)

    monkeypatch.setattr("pypx.workflows.echo.echo", echo)
    return calls


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A BASEMOUNT that names the PACS ``clinic``."""
    base = tmp_path / "base"
    entry = {"serverIP": "10.9.9.9", "serverPort": "999", "aec": "CLINIC", "aet": "OURS"}
    ServiceKeys(Layout.of_basemount(base)).set("pacs", {"clinic": entry})
    return base


def node_of(asked: Asked, *args: str, env: dict[str, str] | None = None) -> PacsNode:
    result = CliRunner().invoke(px, ["echo", *args], env=env)
    assert result.exit_code == 0, result.stderr
    node = asked[-1]["node"]
    assert isinstance(node, PacsNode)
    return node


def failure(*args: str, env: dict[str, str] | None = None) -> str:
    result = CliRunner().invoke(px, list(args), env=env)
    assert result.exit_code == 2, (result.stdout, result.stderr)
    assert len(result.stderr.splitlines()) == 1
    return result.stderr


def test_defaults_of_a_pacs(asked: Asked) -> None:
    node = node_of(asked, "--serverIP", "pacs.example")
    assert node == PacsNode(
        "pacs.example", 4242, AETitle("CHRIS-ULTRON-AEC"), AETitle("CHRIS-ULTRON-AET"), AETitle("CHRIS-ULTRON-AET")
    )


@pytest.mark.parametrize("spelling", [("--serverIP", "--serverPort"), ("--server-ip", "--server-port")])
def test_both_spellings(spelling: tuple[str, str], asked: Asked) -> None:
    node = node_of(asked, spelling[0], "h", spelling[1], "104", "--aec", "A", "--aet", "B")
    assert (node.host, node.port, node.called_aet, node.calling_aet) == ("h", 104, "A", "B")


def test_no_address_says_how_to_give_one() -> None:
    text = failure("echo")
    assert text.startswith("px echo: no PACS address")
    for way in ("--serverIP", "PX_SERVER_IP", "--PACS"):
        assert way in text


def test_one_order_option_variable_service_default(asked: Asked, named: Path) -> None:
    env = {"PX_SERVER_PORT": "222", "PX_AET": "ENV"}
    args = ["--PACS", "clinic", "--basemount", str(named), "--aet", "TYPED"]
    assert node_of(asked, *args, env=env) == PacsNode(
        "10.9.9.9", 222, AETitle("CLINIC"), AETitle("TYPED"), AETitle("TYPED")
    )
    assert node_of(asked, env={"PX_PACS": "clinic", "PX_BASEMOUNT": str(named)}).calling_aet == "OURS"
    assert node_of(asked, "--pacs", "clinic", "--db", str(named / "log")).port == 999


def test_a_variable_that_outdoes_a_named_pacs_is_mentioned(asked: Asked, named: Path) -> None:
    args = ["echo", "--PACS", "clinic", "--basemount", str(named)]
    told = CliRunner().invoke(px, args, env={"PX_SERVER_IP": "elsewhere"})
    assert asked[-1]["node"].host == "elsewhere"
    assert "PX_SERVER_IP" in told.stderr
    assert CliRunner().invoke(px, [*args, "--serverIP", "typed"]).stderr == ""
    assert CliRunner().invoke(px, [*args, "-v0"], env={"PX_SERVER_IP": "elsewhere"}).stderr == ""


def test_empty_values_do_not_count(asked: Asked) -> None:
    node = node_of(asked, "--serverIP", "h", "--aec", "", env={"PX_AET": "", "PX_SERVER_PORT": ""})
    assert (node.port, node.called_aet, node.calling_aet) == (4242, "CHRIS-ULTRON-AEC", "CHRIS-ULTRON-AET")


def test_unknown_or_homeless_service_key(named: Path) -> None:
    assert "clinic" in failure("echo", "--PACS", "nowhere", "--basemount", str(named))
    assert "--basemount" in failure("echo", "--PACS", "clinic")


@pytest.mark.parametrize(
    "args",
    [
        ["--serverIP", "a b"], ["--serverIP", "-x"], ["--serverIP", "h", "--serverPort", "70000"],
        ["--serverIP", "h", "--aec", "x" * 17], ["--serverIP", "h", "--aet", "-oD"], ["--serverIP", "h;id"],
    ],
)  # fmt: skip
def test_impossible_peers_are_refused(args: list[str]) -> None:
    failure("echo", *args)


def test_limits_and_programs(asked: Asked) -> None:
    node_of(asked, "--serverIP", "h", "--timeout", "2.5", "--echoscu", "/opt/echoscu", env={"PX_DIMSE_TIMEOUT": "7"})
    assert (asked[-1]["limits"].connect_s, asked[-1]["limits"].dimse_s) == (2.5, 7)
    assert asked[-1]["limits"].acse_s == 30
    assert asked[-1]["programs"].echoscu == "/opt/echoscu"
    assert asked[-1]["programs"].findscu == "findscu"
    failure("echo", "--serverIP", "h", "--timeout", "0")


def run_with(decorate: Callable[[Any], Any], *args: str, env: dict[str, str] | None = None) -> Any:
    """What the decorated command gets."""
    seen: list[dict[str, Any]] = []

    @click.command(cls=options.PxCommand)
    @decorate
    def command(**values: Any) -> None:
        seen.append(values)

    result = CliRunner().invoke(command, list(args), env=env)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    (values,) = seen
    (value,) = values.values()
    return value


@pytest.mark.parametrize(
    ("args", "env", "log"),
    [
        ([], {}, None),
        (["--basemount", "/b"], {}, "/b/log"),
        (["--baseMount", "/b"], {"PX_DB": "/other/log"}, "/b/log"),
        (["--db", "/d/log"], {"PX_BASEMOUNT": "/b"}, "/d/log"),
        (["--dblogbasepath", "/d/x"], {}, "/d/x"),
        (["--logdir", "/d/log"], {}, "/d/log"),
        ([], {"PX_BASEMOUNT": "/b"}, "/b/log"),
        ([], {"PX_DB": "/d/log"}, "/d/log"),
        (["--basemount", "/b", "--db", "/b/log"], {}, "/b/log"),
    ],
)
def test_where_the_basemount_is(args: list[str], env: dict[str, str], log: str | None) -> None:
    found = run_with(options.layout(required=False), *args, env=env)
    assert (None if found is None else str(found.log)) == log


def test_data_elsewhere() -> None:
    found = run_with(options.layout(required=True, short=True), "-l", "/b/log", "-d", "/fast/data")
    assert (found.log, found.data) == (Path("/b/log"), Path("/fast/data"))
    found = run_with(options.layout(required=True), "--basemount", "/b", "--datadir", "/fast/data")
    assert (found.log, found.data) == (Path("/b/log"), Path("/fast/data"))


def test_two_different_basemounts_are_refused() -> None:
    with pytest.raises(InputError, match="different"):
        run_with(options.layout(required=True), "--basemount", "/b", "--db", "/c/log")


def test_a_missing_basemount_says_how_to_name_one() -> None:
    with pytest.raises(InputError, match="PX_BASEMOUNT"):
        run_with(options.layout(required=True))


def test_relative_basemounts_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_with(options.layout(required=True), "--basemount", "b").log == Path(os.getcwd(), "b", "log")  # noqa: PTH109


def document_peer() -> PacsNode:
    return PacsNode("10.0.0.1", 104, AETitle("DOC"), AETitle("DOCAET"), AETitle("DEST"))


@pytest.mark.parametrize(
    ("args", "env", "expected"),
    [
        ([], {}, ("10.0.0.1", 104, "DOC", "DOCAET", "DEST")),
        ([], {"PX_SERVER_IP": "env", "PX_AEC": "ENV"}, ("10.0.0.1", 104, "DOC", "DOCAET", "DEST")),
        (["--serverIP", "typed"], {}, ("typed", 104, "DOC", "DOCAET", "DEST")),
        (["--aet", "ME"], {}, ("10.0.0.1", 104, "DOC", "ME", "ME")),
        (["--move-destination", "THERE"], {}, ("10.0.0.1", 104, "DOC", "DOCAET", "THERE")),
    ],
)
def test_a_document_names_the_pacs_unless_the_command_line_does(
    args: list[str], env: dict[str, str], expected: tuple[object, ...]
) -> None:
    peer = run_with(peer_overrides, *args, env=env)
    assert isinstance(peer, PeerOptions)
    node = peer.node(document_peer())
    assert (node.host, node.port, node.called_aet, node.calling_aet, node.move_destination) == expected


def test_templates_over_those_of_the_basemount() -> None:
    given = run_with(tool_options.templates, "--imageTemplate", "%SOPInstanceUID.dcm", "--root-dir-template", "r")
    chosen = given.over(DEFAULT_TEMPLATES)
    assert (chosen.root, chosen.image) == ("r", "%SOPInstanceUID.dcm")
    assert (chosen.study, chosen.series) == (DEFAULT_TEMPLATES.study, DEFAULT_TEMPLATES.series)
    assert not run_with(tool_options.templates)


@pytest.mark.parametrize(
    ("text", "says"),
    [("%PatientIDx", "did you mean PatientID"), ("%_md5|7_PatientNme", "PatientName"), ("%Bogus", "'Bogus'")],
)
def test_templates_have_keywords_of_dicom(text: str, says: str) -> None:
    given = run_with(tool_options.templates, "--studyDirTemplate", f"%AgeInDays-{text}")
    with pytest.raises(InputError, match=r"--studyDirTemplate: .* is not a DICOM keyword") as caught:
        given.over(DEFAULT_TEMPLATES)
    assert says in str(caught.value)
    assert run_with(tool_options.templates, "--studyDirTemplate", "%AgeInDays-%KVP").over(DEFAULT_TEMPLATES)
