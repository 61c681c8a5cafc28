"""What the options of the older interface mean: which PACS, which database, which store."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pypx.compat import legacy_call
from pypx.compat.legacy_call import Call, shared_log, truth
from pypx.compat.legacy_find import is_matching_key
from pypx.compat.legacy_push import _source, store_of
from pypx.errors import InputError
from pypx.model.packpath import PYPX_TEMPLATES
from pypx.model.peers import FolderTarget, SwiftTarget


def call(environ: dict[str, str] | None = None, **options: Any) -> Call:
    return Call(options, set(options), environ or {})


def test_no_pacs_address_is_built_in() -> None:
    with pytest.raises(InputError, match="no PACS address: give --serverIP"):
        call(aet="A").node()


def test_titles_have_defaults() -> None:
    node = call(serverIP="127.0.0.1").node()
    assert (node.port, node.calling_aet, node.called_aet) == (4242, "CHRIS-ULTRON-AET", "CHRIS-ULTRON-AEC")
    assert node.move_destination == node.calling_aet


def test_option_variable_named_pacs_default(tmp_path: Path) -> None:
    services = tmp_path / "services"
    services.mkdir(mode=0o700)
    entry = {"aet": "KEYAET", "aec": "KEYAEC", "serverIP": "127.0.0.3", "serverPort": "3"}
    (services / "pacs.json").write_text(json.dumps({"k": entry}))
    node = call({"PX_AEC": "VARAEC"}, PACS="k", dblogbasepath=str(tmp_path / "log"), serverPort="1").node()
    assert (node.host, node.port, node.called_aet, node.calling_aet) == ("127.0.0.3", 1, "VARAEC", "KEYAET")


def test_an_unknown_pacs_is_an_error_unless_all_is_said(tmp_path: Path) -> None:
    db = str(tmp_path / "log")
    with pytest.raises(InputError, match="'nosuch' is no entry"):
        call(PACS="nosuch", dblogbasepath=db, serverIP="127.0.0.1").node()
    assert call(PACS="nosuch", serverIP="127.0.0.1", serverPort="1", aet="A", aec="B").node().port == 1


def test_database_order(tmp_path: Path) -> None:
    environ = {"PX_DB": str(tmp_path / "v" / "log"), "PX_BASEMOUNT": str(tmp_path / "b")}
    assert call(environ, dblogbasepath=str(tmp_path / "o" / "log")).layout().base == tmp_path / "o"
    assert call(environ).layout().base == tmp_path / "v"
    del environ["PX_DB"]
    assert call(environ).layout().base == tmp_path / "b"
    assert call(environ, str_dataDir="/elsewhere").layout().data == Path("/elsewhere")


def test_nameless_database_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    monkeypatch.setattr(legacy_call, "shared_log", lambda: str(tmp_path / "log"))
    assert Call({}, set(), {}, say=said.append).layout().log == tmp_path / "log"
    assert len(said) == 1
    assert "no database is named" in said[0]


def test_shared_database_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    assert shared_log(str(log)) == str(log)
    log.mkdir()
    assert shared_log(str(log)) == str(log)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(InputError, match="is another user's"):
        shared_log(str(log))


@pytest.mark.parametrize("name", ["log", "data", "services", "incoming"])
def test_shared_database_may_be_no_link(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path)
    with pytest.raises(InputError, match="name the database"):
        shared_log(str(tmp_path / "log"))


def test_templates_only_where_given() -> None:
    assert call().templates(PYPX_TEMPLATES) is None
    found = call(str_imageTemplate="%SOPInstanceUID.dcm").templates(PYPX_TEMPLATES)
    assert found is not None
    assert (found.image, found.root) == ("%SOPInstanceUID.dcm", PYPX_TEMPLATES.root)


@pytest.mark.parametrize("value", ["false", "False", "0", "", None, False, 0])
def test_what_is_not_set(value: object) -> None:
    assert not truth(value)


@pytest.mark.parametrize("value", ["true", "1", "yes", True, 1])
def test_what_is_set(value: object) -> None:
    assert truth(value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("PatientID", True), ("PatientBirthDate", True), ("NumberOfSeriesRelatedInstances", True),
        ("BodyPartExamined", True), ("QueryReturnTags", False), ("StudyOnly", False), ("PACS", False), ("CUBE", False),
        ("QueryRetrieveLevel", False), ("json", False), ("dblogbasepath", False), ("Nonsense", False),
        ("aet_listener", False),
    ],
)  # fmt: skip
def test_matching_keys(name: str, expected: bool) -> None:
    assert is_matching_key(name) is expected


def test_push_has_no_default_source() -> None:
    """Defect S15."""
    with pytest.raises(InputError, match="nothing to push: give --xcrdir"):
        _source(Call({"str_xcrdir": "/tmp"}, set(), {}))
    assert _source(call(str_xcrdir="/a")) == Path("/a")


def test_stores(tmp_path: Path) -> None:
    folder = store_of(call(str_storeBaseLocation=str(tmp_path)), None)
    assert folder.target == FolderTarget(tmp_path)
    swift = store_of(call(str_swiftIP="127.0.0.1", str_swiftPort="8080", str_swiftLogin="chris:x"), None).target
    assert isinstance(swift, SwiftTarget)
    assert (swift.auth_url, swift.user) == ("http://127.0.0.1:8080/auth/v1.0", "chris:x")
    with pytest.raises(InputError, match="ip and port missing"):
        store_of(call(), None)


def test_bad_limit() -> None:
    with pytest.raises(InputError, match="PX_TIMEOUT"):
        call({"PX_TIMEOUT": "soon"}).limits()
    assert call({"PX_TIMEOUT": "2"}).limits().connect_s == 2
