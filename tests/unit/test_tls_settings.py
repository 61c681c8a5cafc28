"""What options, variables and service entries say of TLS, and that it is the same wherever it is said."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pypx.cli.peer_options import peer
from pypx.cli.tls_options import listener
from pypx.compat.find_args import find_args, peer_of
from pypx.compat.legacy_call import Call
from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.errors import InputError
from pypx.model.identifiers import AETitle
from pypx.model.outcomes import FindResult
from pypx.model.peers import PacsNode, TlsSettings
from pypx.model.query import Query
from pypx.model.tls import TLS_FIELDS, check_tls_entry, is_on, tls_fields, tls_of
from pypx.services.tlscontext import client_context, why_no_tls, why_refused
from pypx.workflows.pushtarget import Destination, TargetWords, resolve_destination
from pypx.workflows.tlsdoor import packed, unpacked

FULL = {
    "tls": "true", "tls_ca": "/etc/ca.pem", "tls_cert": "/etc/own.crt", "tls_key": "/etc/own.key",
    "tls_key_password_file": "/etc/own.pass", "tls_name": "pacs.example.org",
}  # fmt: skip
SETTINGS = TlsSettings(
    ca=Path("/etc/ca.pem"),
    cert=Path("/etc/own.crt"),
    key=Path("/etc/own.key"),
    password_file=Path("/etc/own.pass"),
    name="pacs.example.org",
)
ENTRY = {"aet": "PX", "aec": "PACS", "serverIP": "127.0.0.1", "serverPort": "2762"}


def test_there_and_back() -> None:
    assert tls_of(FULL, {}) == SETTINGS
    assert tls_fields(SETTINGS) == FULL
    assert tls_fields(None) == {}
    assert tuple(FULL) == TLS_FIELDS
    assert "secret" not in repr(tls_of(FULL, {}, "secret"))
    assert unpacked(packed(TlsSettings(SETTINGS.ca, SETTINGS.cert, password="secret"), 8.0)) == (
        TlsSettings(SETTINGS.ca, SETTINGS.cert, password="secret"),
        8.0,
    )


@pytest.mark.parametrize("text", ["1", "true", "True", "yes", "on", " ON "])
def test_on(text: str) -> None:
    assert is_on(text)
    assert tls_of({"tls": text}, {}) == TlsSettings()


@pytest.mark.parametrize("text", ["", "0", "false", "No", "off"])
def test_off(text: str) -> None:
    assert tls_of(FULL | {"tls": text}, {}) is None


@pytest.mark.parametrize(
    ("values", "said", "text"),
    [
        ({"tls": "perhaps"}, {}, "neither true nor false"),
        ({"tls_ca": "/a"}, {"tls_ca": "/a"}, "--tls-ca is about TLS"),
        ({"tls": "false", "tls_name": "a"}, {"tls_name": "a"}, "--tls-name is about TLS"),
        ({"tls": "1", "tls_key": "/a"}, {}, "--tls-cert"),
    ],
)
def test_what_does_not_go_together(values: Mapping[str, str], said: Mapping[str, str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        tls_of(values, said)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"tls_ca": "/a"}, "say true or false"),
        ({"tls": "x"}, "neither true nor false"),
        ({"tls": "true", "tls_ca": "ca.pem"}, "absolute path"),
        ({"tls": "true", "tls_key": "/a"}, "without tls_cert"),
    ],
)
def test_entries_that_are_refused(fields: Mapping[str, str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        check_tls_entry(fields, "pacs entry 'x'")


@pytest.fixture
def keys(tmp_path: Path) -> ServiceKeys:
    return ServiceKeys(Layout.of_basemount(tmp_path / "basemount"))


def test_a_service_entry(keys: ServiceKeys) -> None:
    keys.set("pacs", {"x": {**ENTRY, **FULL, "tls": True}, "plain": {**ENTRY, "tls": False}})
    fields = keys.pacs("x")
    assert {name: fields[name] for name in TLS_FIELDS} == FULL
    assert keys.pacs("plain")["tls"] == "false"
    assert keys.masked("pacs")["x"]["tls_key"] == "/etc/own.key"
    with pytest.raises(InputError, match="say true or false"):
        keys.set("pacs", {"x": {**ENTRY, "tls_ca": "/a"}})


def test_an_entry_written_by_hand_does_not_fall_back_to_plain(keys: ServiceKeys) -> None:
    keys.set("pacs", {"x": ENTRY})
    keys.path("pacs").write_text(json.dumps({"x": {**ENTRY, "tls_ca": "/a"}}))
    with pytest.raises(InputError, match="say true or false"):
        keys.pacs("x")


def resolved(arguments: list[str], environ: Mapping[str, str] | None = None) -> PacsNode | str:
    """The node a command gets, or what it says instead."""
    seen: list[PacsNode] = []

    @click.command()
    @click.option("--basemount", envvar="PX_BASEMOUNT")
    @peer()
    def command(basemount: str, node: PacsNode) -> None:
        seen.append(node)

    result = CliRunner().invoke(command, arguments, env=dict(environ or {}))
    if seen:
        return seen[0]
    return str(result.exception) + result.output


ADDRESS = ["--serverIP", "127.0.0.1", "--serverPort", "2762"]


def tls_in(found: PacsNode | str) -> TlsSettings | None:
    assert isinstance(found, PacsNode), found
    return found.tls


def test_options_variables_and_entries_in_their_order(keys: ServiceKeys, tmp_path: Path) -> None:
    keys.set("pacs", {"x": {**ENTRY, "tls": True, "tls_ca": "/entry", "tls_name": "entry"}})
    entry = ["--PACS", "x", "--basemount", str(tmp_path / "basemount")]
    assert tls_in(resolved(ADDRESS)) is None
    assert tls_in(resolved([*ADDRESS, "--tls"])) == TlsSettings()
    assert tls_in(resolved(ADDRESS, {"PX_TLS": "1", "PX_TLS_CA": "/variable"})) == TlsSettings(ca=Path("/variable"))
    assert tls_in(resolved([*ADDRESS, "--no-tls"], {"PX_TLS": "1", "PX_TLS_CA": "/variable"})) is None
    assert tls_in(resolved(ADDRESS, {"PX_TLS_CA": "/variable"})) is None
    assert tls_in(resolved(entry)) == TlsSettings(ca=Path("/entry"), name="entry")
    assert tls_in(resolved(entry, {"PX_TLS_CA": "/variable"})) == TlsSettings(ca=Path("/variable"), name="entry")
    assert tls_in(resolved([*entry, "--tls-ca", "/said"], {"PX_TLS_CA": "/variable"})) == TlsSettings(
        ca=Path("/said"), name="entry"
    )
    assert tls_in(resolved([*entry, "--no-tls"])) is None
    secret = tls_in(resolved([*ADDRESS, "--tls"], {"PX_TLS_KEY_PASSWORD": "secret"}))
    assert secret == TlsSettings(password="secret")


def test_an_option_about_tls_without_tls() -> None:
    assert "--tls-ca is about TLS" in str(resolved([*ADDRESS, "--tls-ca", "/a"]))
    assert "--tls-ca is about TLS" in str(resolved([*ADDRESS, "--tls-ca", "/a"], {"PX_TLS": "0"}))


def test_the_listener_has_variables_of_its_own() -> None:
    seen: list[TlsSettings | None] = []

    @click.command()
    @listener
    def command(tls: TlsSettings | None) -> None:
        seen.append(tls)

    for arguments, environ in (
        ([], {"PX_TLS": "1", "PX_TLS_CA": "/a"}),
        (["--tls", "--tls-cert", "/c"], {}),
        ([], {"PX_LISTEN_TLS": "1", "PX_LISTEN_TLS_CERT": "/c", "PX_LISTEN_TLS_KEY_PASSWORD": "secret"}),
    ):
        CliRunner().invoke(command, arguments, env=environ, catch_exceptions=False)
    own = Path("/c")
    assert seen == [None, TlsSettings(cert=own), TlsSettings(cert=own, password="secret")]


def test_a_find_document_carries_it_and_no_passphrase() -> None:
    node = PacsNode("127.0.0.1", 2762, AETitle("PACS"), AETitle("PX"), AETitle("PX"), tls_of(FULL, {}, "secret"))
    args = find_args(FindResult(node, Query(), ()))
    assert {name: args[name] for name in TLS_FIELDS} == FULL
    assert "secret" not in json.dumps(args)
    again = peer_of(args, "secret")
    assert again == node
    plain = PacsNode("127.0.0.1", 2762, AETitle("PACS"), AETitle("PX"), AETitle("PX"))
    assert TLS_FIELDS[0] not in find_args(FindResult(plain, Query(), ()))


def test_the_older_interface(keys: ServiceKeys, tmp_path: Path) -> None:
    keys.set("pacs", {"x": {**ENTRY, "tls": True, "tls_ca": "/entry"}})
    mount = {"PX_BASEMOUNT": str(tmp_path / "basemount")}

    def node(options: Mapping[str, Any], environ: Mapping[str, str]) -> PacsNode:
        return Call(options, set(options), environ).node()

    address = {"serverIP": "127.0.0.1", "serverPort": "1", "aec": "A", "aet": "B"}
    assert node(address, {}).tls is None
    assert node(address, {"PX_TLS": "1", "PX_TLS_KEY_PASSWORD": "s"}).tls == TlsSettings(password="s")
    assert node({"PACS": "x"}, mount).tls == TlsSettings(ca=Path("/entry"))
    assert node({**address, "PACS": "x"}, mount).tls == TlsSettings(ca=Path("/entry"))
    assert node({**address, "PACS": "unknown"}, mount).tls is None


def test_a_pacs_to_push_to(keys: ServiceKeys) -> None:
    keys.set("pacs", {"x": {**ENTRY, "tls": True, "tls_ca": "/entry"}})

    def target(said: TargetWords, environ: Mapping[str, str] | None = None) -> TlsSettings | None:
        found: Destination = resolve_destination(said, keys, environ or {}, calling_aet="PX")
        assert isinstance(found.target, PacsNode)
        return found.target.tls

    direct = TargetWords(host="127.0.0.1", host_port="1", called_aet="A")
    assert target(TargetWords(pacs="x")) == TlsSettings(ca=Path("/entry"))
    assert target(TargetWords(pacs="x", tls=(("tls_ca", "/said"),))) == TlsSettings(ca=Path("/said"))
    assert target(TargetWords(pacs="x", tls=(("tls", "False"),))) is None
    assert target(direct, {"PX_TLS": "1"}) is None
    assert target(replace(direct, tls=(("tls", "True"),))) == TlsSettings()
    with pytest.raises(InputError, match="--tls-ca is about TLS"):
        target(replace(direct, tls=(("tls_ca", "/said"),)))
    with pytest.raises(InputError, match="--tls is about a PACS"):
        target(TargetWords(folder="/x", tls=(("tls", "True"),)))


def test_only_the_suites_of_the_profile() -> None:
    context = client_context(TlsSettings())
    suites = {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.2"}
    assert suites == {
        f"{exchange}-{cipher}"
        for exchange in ("ECDHE-RSA", "ECDHE-ECDSA", "DHE-RSA")
        for cipher in ("AES256-GCM-SHA384", "AES128-GCM-SHA256")
    }
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_words() -> None:
    def failure(reason: str) -> ssl.SSLError:
        error = ssl.SSLError(1, reason)
        error.reason = reason
        return error

    own = TlsSettings(cert=Path("/own"))
    assert "client certificate" in why_no_tls(failure("TLSV13_ALERT_CERTIFICATE_REQUIRED"), TlsSettings(), "x")
    assert "has been revoked" in why_no_tls(failure("SSLV3_ALERT_CERTIFICATE_REVOKED"), own, "x")
    assert why_no_tls(failure("SOMETHING_ELSE"), own, "x") == "TLS failed: something else"
    assert why_refused(failure("UNEXPECTED_EOF_WHILE_READING")) is None
    assert why_refused(failure("HTTP_REQUEST")) == "it does not speak TLS"
    assert why_refused(ConnectionResetError()) is None
