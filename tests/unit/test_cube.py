"""The client of CUBE without a CUBE: fields, errors, addresses, and one exchange after the other by script."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.errors import CubeError, InputError
from pypx.model.peers import CubeTarget
from pypx.services.cube import CubeClient, Dialect
from pypx.services.cubeaddress import CubeLimits, checked_root, same_server
from pypx.services.cubeerrors import (
    CubeDeniedError,
    CubeRefusedError,
    CubeUncertainError,
    CubeUnreachableError,
    error_text,
)
from pypx.services.cubefields import age_days, check_path, checked_pacs_name, descriptors, iso_date
from pypx.workflows.cubetarget import CubeWords, resolve_cube

ROOT = "https://cube.example/api/v1/"
TAGS = {"PatientID": "77", "StudyDate": "20240301", "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3"}

# --- fields


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("20240229", "2024-02-29"),
        ("2024.02.29", "2024-02-29"),
        ("2024-02-29", "2024-02-29"),
        (" 20240229\0", "2024-02-29"),
        ("20230229", None),
        ("00000101", None),
        ("2024-0229", None),
        ("202402", None),
        ("", None),
        ("20240229-", None),
        ("２０２４0229", None),
    ],
)
def test_dates(text: str, date: str | None) -> None:
    assert iso_date(text) == date


@pytest.mark.parametrize(
    ("text", "study", "birth", "days"),
    [
        ("045Y", None, None, 45 * 365),
        ("012M", None, None, 360),
        ("003W", None, None, 21),
        ("005D", None, None, 5),
        ("5y", None, None, 1825),
        ("45", None, None, 45 * 365),
        ("000D", None, None, 0),
        ("xxY", "2024-03-01", "2024-02-01", None),
        ("-01Y", None, None, None),
        ("1234Y", None, None, None),
        ("045?", None, None, None),
        ("", "2024-03-01", "1980-02-29", 16072),
        ("", "2024-03-01", None, None),
        ("", "2024-03-01", "2024-03-02", None),
        ("", "2024-03-01", "2024-03-01", 0),
    ],
)
def test_ages(text: str, study: str | None, birth: str | None, days: int | None) -> None:
    assert age_days(text, study, birth) == days


def test_least_and_most() -> None:
    assert descriptors(TAGS) == {**TAGS, "StudyDate": "2024-03-01"}
    full = {
        **TAGS,
        "PatientName": "X" * 149 + " Y",
        "PatientSex": "m ",
        "PatientBirthDate": "19800229",
        "AccessionNumber": "A" * 101,
        "Modality": "M" * 16,
        "ProtocolName": "P" * 65,
        "StudyDescription": "S" * 401,
        "SeriesDescription": " a\0b, c ",
        "Unknown": "left out",
    }
    fields = descriptors(full)
    assert fields == {
        **TAGS,
        "StudyDate": "2024-03-01",
        "PatientName": "X" * 149,
        "PatientSex": "M",
        "PatientBirthDate": "1980-02-29",
        "PatientAge": 16072,
        "AccessionNumber": "A" * 100,
        "Modality": "M" * 15,
        "ProtocolName": "P" * 64,
        "StudyDescription": "S" * 400,
        "SeriesDescription": "ab, c",
    }


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientSex", "U"),
        ("PatientSex", ""),
        ("PatientBirthDate", "junk"),
        ("PatientAge", "junk"),
        ("Modality", " \0 "),
    ],
)
def test_junk_is_left_out(keyword: str, value: str) -> None:
    assert keyword not in descriptors({**TAGS, keyword: value})


def test_half_a_character_is_replaced() -> None:
    assert descriptors({**TAGS, "PatientName": "A\ud800B"})["PatientName"] == "A\ufffdB"


@pytest.mark.parametrize("keyword", ["PatientID", "StudyDate", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [None, "", " \0"])
def test_what_cube_requires_is_named(keyword: str, value: str | None) -> None:
    tags = {name: text for name, text in TAGS.items() if name != keyword}
    with pytest.raises(CubeError, match=f"^{keyword} is absent or empty"):
        descriptors(tags if value is None else {**tags, keyword: value})


def test_study_date_that_is_none() -> None:
    with pytest.raises(CubeError, match="StudyDate has no usable value"):
        descriptors({**TAGS, "StudyDate": "20241301"})


@pytest.mark.parametrize("name", ["x" * 20, " CLINIC ", "Ünïcödé", "a.b"])
def test_good_pacs_names(name: str) -> None:
    assert checked_pacs_name(name) == name.strip()


@pytest.mark.parametrize("name", ["x" * 21, "A,B", "A/B", "", " ", ".", "..", "a\nb", "a\0b"])
def test_bad_pacs_names(name: str) -> None:
    with pytest.raises(InputError, match="21 characters, CUBE takes at most 20" if len(name) > 20 else "PACS"):
        checked_pacs_name(name)


@pytest.mark.parametrize(
    ("path", "per_series", "said"),
    [
        ("SERVICES/PACS/CLINIC/a/b", True, ""),
        ("SERVICES/PACS/CLINIC/a/b,c.dcm", False, ""),
        ("SERVICES/PACS/CLINIC/a/b,c", True, "comma"),
        ("SERVICES/PACS/CLINIC2/a/b", True, "does not lie in"),
        ("SERVICES/PACS/CLINIC", True, "does not lie in"),
        ("/SERVICES/PACS/CLINIC/a", True, "does not lie in"),
        ("SERVICES/PACS/CLINIC/a//b", True, "empty part"),
        ("SERVICES/PACS/CLINIC/../b", True, "empty part"),
        ("SERVICES/PACS/CLINIC/a\nb", False, "control"),
        ("SERVICES/PACS/CLINIC/" + "a" * 491, False, ""),
        ("SERVICES/PACS/CLINIC/" + "a" * 492, False, "513 characters, CUBE takes 512"),
        ("SERVICES/PACS/CLINIC/" + "a" * 1003, True, ""),
        ("SERVICES/PACS/CLINIC/" + "a" * 1004, True, "1025 characters, CUBE takes 1024"),
    ],
)
def test_paths(path: str, per_series: bool, said: str) -> None:
    if not said:
        check_path(path, "CLINIC", per_series=per_series)
        return
    with pytest.raises(CubeError, match=said):
        check_path(path, "CLINIC", per_series=per_series)


# --- errors and addresses


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"path": ["This field is required."], "ndicom": ["a", "b"]}, "path: This field is required.; ndicom: a; b"),
        ({"non_field_errors": ["Unable to log in."]}, "Unable to log in."),
        (["A series already registered"], "A series already registered"),
        ({"detail": "Invalid token."}, "Invalid token."),
        ({"error": "Internal server error"}, "Internal server error"),
        (
            {"collection": {"error": {"message": '{"path": ["Could not find this path."]}'}}},
            "path: Could not find this path.",
        ),
        ({"collection": {"error": {"message": '["registered"]'}}}, "registered"),
        ({"collection": {"error": {"message": "Not found."}}}, "Not found."),
        ({"collection": {}}, "no reason given"),
        ({"detail": "two\nlines\tof  it"}, "two lines of it"),
        ({}, "no reason given"),
        (7, "no reason given"),
        ("x" * 1000, "x" * 400),
    ],
)
def test_every_shape_of_error_is_one_line(data: object, text: str) -> None:
    assert error_text(data) == text


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://cube:8000/api/v1", "http://cube:8000/api/v1/"),
        (" https://cube/api/v1/?format=json#x", "https://cube/api/v1/"),
        ("cube:8000/api/v1/", ""),
        ("ftp://cube/", ""),
        ("http:///api/v1/", ""),
        ("http://cube:port/", ""),
        ("http://chris:secret@cube/api/v1/", ""),
    ],
)
def test_root(url: str, root: str) -> None:
    if root:
        assert checked_root(url) == root
        return
    with pytest.raises(InputError) as refused:
        checked_root(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("https://cube.example/api/v1/pacsfiles/", "https://cube.example/api/v1/pacsfiles/"),
        ("https://CUBE.example:443/a/", "https://CUBE.example:443/a/"),
        ("http://cube.example/a/", "https://cube.example/a/"),
        ("/api/v1/a/", "https://cube.example/api/v1/a/"),
        ("https://evil.example/api/v1/a/", ""),
        ("https://cube.example.evil.example/a/", ""),
        ("https://cube.example:444/a/", ""),
        ("https://cube.example@evil.example/a/", ""),
        ("//evil.example/a/", ""),
        ("file:///etc/passwd", ""),
        ("https://[/", ""),
    ],
)
def test_links_stay_on_the_server(link: str, url: str) -> None:
    if url:
        assert same_server(ROOT, link) == url
        return
    with pytest.raises(CubeError):
        same_server(ROOT, link)


# --- one exchange after the other


@dataclass(slots=True)
class Said:
    """One answer of the script; headers are those of a JSON answer."""

    status: int
    data: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, request: requests.PreparedRequest) -> requests.Response:
        body = self.data if isinstance(self.data, bytes) else json.dumps(self.data).encode()
        response = requests.Response()
        response.status_code = self.status
        response.headers.update(self.headers)
        response.url = str(request.url)
        response.request = request
        response.raw = HTTPResponse(body=io.BytesIO(body), preload_content=False)
        return response


NOT_CONNECTED = requests.ConnectionError(
    MaxRetryError(None, "/", NewConnectionError(None, "refused"))  # type: ignore[arg-type]
)
RESET = requests.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError(104, "reset")))
SILENT = requests.ReadTimeout("silent")
TOKEN = Said(200, {"token": "a" * 40})
LINKS = Said(200, {"collection_links": {"pacsfiles": f"{ROOT}pacsfiles/"}})
LIST = Said(
    200,
    {"count": 0, "results": [], "queries": [{"href": f"{ROOT}pacsfiles/search/", "rel": "search"}]},
    {"Allow": "GET, POST"},
)
EMPTY = Said(200, {"count": 0, "results": []})
MADE = Said(201, {"url": f"{ROOT}pacsfiles/1/", "id": 1, "fname": "SERVICES/PACS/C/a.dcm"})


class Script(BaseAdapter):
    """Answers in the order of the script; `asked` is what came."""

    def __init__(self, *answers: Said | Exception) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[requests.PreparedRequest] = []
        self.timeouts: list[Any] = []
        self.verified: list[Any] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        self.asked.append(request)
        self.timeouts.append(options.get("timeout"))
        self.verified.append(options.get("verify"))
        assert self.answers, f"one request too many: {request.method} {request.url}"
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer.response(request)

    def close(self) -> None:
        """Nothing is open."""

    @property
    def lines(self) -> list[str]:
        return [f"{request.method} {str(request.url).removeprefix(ROOT).partition('?')[0]}" for request in self.asked]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client would have slept."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def client(script: Script, **login: Any) -> CubeClient:
    target = replace(CubeTarget(ROOT, "chris", password="secret"), **login)
    made = CubeClient(target, limits=CubeLimits(settle_s=0, check_s=0, pause_s=0.5))
    made._session._session.mount("https://", script)
    return made


def test_login_search_and_registration() -> None:
    script = Script(LINKS, TOKEN, LIST, MADE)
    cube = client(script)
    assert cube.dialect() is Dialect.FILES
    assert cube.register_file("SERVICES/PACS/C/a.dcm", "C", {"PatientID": "7"}) == MADE.data
    assert script.lines == ["GET ", "POST auth-token/", "GET pacsfiles/", "POST pacsfiles/"]
    assert [request.headers.get("Authorization") for request in script.asked] == [None, None] + [
        f"Token {'a' * 40}"
    ] * 2
    assert {request.headers["Accept"] for request in script.asked} == {"application/json"}
    body = script.asked[3].body
    assert isinstance(body, str | bytes)
    assert json.loads(body) == {
        "PatientID": "7", "pacs_name": "C", "path": "SERVICES/PACS/C/a.dcm",
    }  # fmt: skip
    assert "secret" not in repr(cube._session.target)


def test_series_has_time() -> None:
    links = Said(200, {"collection_links": {"pacsseries": f"{ROOT}pacs/series/", "pacsfiles": f"{ROOT}pacs/files/"}})
    script = Script(links, TOKEN, LIST, MADE)
    client(script).register_series("SERVICES/PACS/C/a", 100, "C", {"SeriesInstanceUID": "1.2.3"})
    assert script.lines[-1] == "POST pacs/series/"
    assert script.timeouts[-1] == (10.0, 80.0)
    assert script.timeouts[0] == (10.0, 30.0)


def test_certificate_is_the_one_that_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    for bundle, expected in (("", True), ("/all.pem", "/all.pem")):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
        script = Script(LINKS, LIST)
        client(script, token="b" * 40).dialect()
        assert script.verified == [expected] * 2
    script = Script(LINKS, LIST)
    client(script, token="b" * 40, cacert=tmp_path / "own.pem").dialect()
    assert script.verified == [str(tmp_path / "own.pem")] * 2


def test_netrc_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine cube.example login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    script = Script(LINKS, LIST)
    client(script, token="b" * 40).dialect()
    assert [request.headers.get("Authorization") for request in script.asked] == [None, f"Token {'b' * 40}"]


@pytest.mark.parametrize(
    ("links", "allow", "data", "said"),
    [
        ({"pacsseries": "pacs/series/"}, "GET, POST", {}, Dialect.SERIES),
        ({"pacsseries": "pacs/series/"}, "", {"template": {"data": []}}, Dialect.SERIES),
        ({"pacsseries": "pacs/series/"}, "", {}, "v6.3.0-beta.1"),
        ({"pacsseries": "pacs/series/"}, "GET", {"template": {"data": []}}, "v6.3.0-beta.1"),
        ({"pacsfiles": "pacsfiles/"}, "GET, POST", {}, Dialect.FILES),
        ({"files": "files/"}, "", {}, "neither"),
    ],
)
def test_dialects(links: dict[str, str], allow: str, data: dict[str, Any], said: Dialect | str) -> None:
    root = Said(200, {"collection_links": {name: ROOT + at for name, at in links.items()}})
    cube = client(
        Script(root, TOKEN, Said(200, {"count": 0, "results": [], **data}, {"Allow": allow} if allow else {}))
    )
    if isinstance(said, Dialect):
        assert cube.dialect() is said
        return
    with pytest.raises(CubeError, match=said):
        cube.dialect()


@pytest.mark.parametrize("place", ["link", "search"])
def test_hostile_links_get_no_login(place: str) -> None:
    evil = "https://evil.example/api/v1/pacsfiles/"
    links = Said(200, {"collection_links": {"pacsfiles": evil if place == "link" else f"{ROOT}pacsfiles/"}})
    listed = Said(200, {"count": 0, "results": [], "queries": [{"href": evil}]}, {"Allow": "GET, POST"})
    script = Script(links, TOKEN, listed)
    with pytest.raises(CubeError, match="another server"):
        client(script).dialect()
    assert not [request for request in script.asked if "evil" in str(request.url)]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_redirects_are_not_followed(status: int, method: str) -> None:
    moved = Said(status, b"", {"Location": "https://u:secret@other.example/api/v1/"})
    script = Script(moved) if method == "GET" else Script(LINKS, TOKEN, LIST, moved)
    cube = client(script)
    with pytest.raises(CubeError, match=r"sends on to https://other\.example/api/v1/") as refused:
        cube.dialect() if method == "GET" else cube.register_file("SERVICES/PACS/C/a", "C", {})
    assert "secret" not in str(refused.value)
    assert not script.answers


def test_redirect_to_nowhere() -> None:
    with pytest.raises(CubeError, match="not understood"):
        client(Script(Said(301, b"", {"Location": "http://["}))).dialect()


def test_get_is_repeated(pauses: list[float]) -> None:
    busy = Said(429, {"detail": "slow down"}, {"Retry-After": "7"})
    script = Script(NOT_CONNECTED, RESET, busy, LINKS, TOKEN, Said(503, b""), LIST)
    assert client(script).dialect() is Dialect.FILES
    assert pauses == [0.5, 1.0, 7.0, 0.5]


def test_get_is_not_repeated_for_ever() -> None:
    script = Script(*[NOT_CONNECTED] * 4)
    with pytest.raises(CubeUnreachableError, match="cannot be reached"):
        client(script).dialect()
    script = Script(*[Said(500, {"error": "Internal server error"})] * 4)
    with pytest.raises(CubeError, match="500: Internal server error"):
        client(script).dialect()
    with pytest.raises(CubeUnreachableError, match="gives no answer"):
        client(Script(SILENT)).dialect()


@pytest.mark.parametrize(
    ("trouble", "found", "asked"),
    [
        ([NOT_CONNECTED, MADE], True, ["POST pacsfiles/", "POST pacsfiles/"]),
        ([Said(429, {"detail": "slow"}), MADE], True, ["POST pacsfiles/", "POST pacsfiles/"]),
        ([RESET, Said(200, {"count": 1, "results": [MADE.data]})], True, ["POST pacsfiles/", "GET pacsfiles/search/"]),
        ([SILENT, Said(200, {"count": 1, "results": [MADE.data]})], True, ["POST pacsfiles/", "GET pacsfiles/search/"]),
        ([Said(500, b"<html>"), EMPTY, MADE], True, ["POST pacsfiles/", "GET pacsfiles/search/", "POST pacsfiles/"]),
        ([Said(201, b"<html>"), Said(200, {"count": 1, "results": [MADE.data]})], True, ["POST pacsfiles/", "GET pacsfiles/search/"]),
        ([SILENT, EMPTY], False, ["POST pacsfiles/", "GET pacsfiles/search/"]),
        ([Said(502, b""), EMPTY, RESET, EMPTY], False, ["POST pacsfiles/", "GET pacsfiles/search/"] * 2),
    ],
)  # fmt: skip
def test_registration_without_a_clear_answer(trouble: list[Any], found: bool, asked: list[str]) -> None:
    script = Script(LINKS, TOKEN, LIST, *trouble)
    cube = client(script)
    if found:
        assert cube.register_file("SERVICES/PACS/C/a.dcm", "C", {}) == MADE.data
    else:
        with pytest.raises(CubeUncertainError, match="does not list the file"):
            cube.register_file("SERVICES/PACS/C/a.dcm", "C", {})
    assert script.lines[3:] == asked
    assert not script.answers


def test_registered_before() -> None:
    for data in (
        {"path": ["File has already been registered."]},
        {"path": ["File has already been registered."], "x": ["y"]},
    ):
        assert client(Script(LINKS, TOKEN, LIST, Said(400, data))).register_file("SERVICES/PACS/C/a", "C", {}) is None
    with pytest.raises(CubeRefusedError, match="400, path: Could not find this path"):
        client(Script(LINKS, TOKEN, LIST, Said(400, {"path": ["Could not find this path."]}))).register_file(
            "a", "C", {}
        )


def test_expired_token_is_renewed_once() -> None:
    expired, fresh = Said(401, {"detail": "Invalid token."}), Said(200, {"token": "c" * 40})
    script = Script(LINKS, TOKEN, expired, fresh, LIST)
    assert client(script).dialect() is Dialect.FILES
    script = Script(LINKS, TOKEN, expired, fresh, expired)
    with pytest.raises(CubeDeniedError, match="user 'chris'"):
        client(script).dialect()
    script = Script(LINKS, expired)
    with pytest.raises(CubeDeniedError, match="this token"):
        client(script, token="b" * 40, password="secret").dialect()


def test_logins_that_fail() -> None:
    wrong = Said(400, {"non_field_errors": ["Unable to log in with provided credentials."]})
    with pytest.raises(CubeDeniedError, match="Unable to log in") as denied:
        client(Script(LINKS, wrong)).dialect()
    assert "secret" not in str(denied.value)
    with pytest.raises(InputError, match="no password and no token"):
        client(Script(LINKS), password=None).dialect()
    with pytest.raises(InputError, match="token") as refused:
        client(Script(), token="abc\r\nX-Evil: 1")
    assert "Evil" not in str(refused.value)
    with pytest.raises(CubeError, match="no token"):
        client(Script(LINKS, Said(200, {"token": 7}))).dialect()


@pytest.mark.parametrize(
    ("item", "trusted"),
    [
        ({"SeriesInstanceUID": "1.2.3", "pacs_identifier": "C"}, True),
        ({"SeriesInstanceUID": "1.2.4", "pacs_identifier": "C"}, False),
        ({"SeriesInstanceUID": "1.2.3", "pacs_identifier": "D"}, False),
        ({}, False),
    ],
)
def test_what_a_search_finds_is_looked_at(item: dict[str, str], trusted: bool) -> None:
    """An unknown filter matches everything in CUBE."""
    links = Said(200, {"collection_links": {"pacsseries": f"{ROOT}pacs/series/"}})
    cube = client(Script(links, TOKEN, LIST, Said(200, {"count": 1, "results": [item]})))
    if trusted:
        assert cube.find_series("C", "1.2.3") == item
        return
    with pytest.raises(CubeError, match="finds something else"):
        cube.find_series("C", "1.2.3")


def test_files_are_listed_page_by_page() -> None:
    def page(*numbers: int) -> Said:
        items = [{"fname": f"f{n}", "pacs_identifier": "C", "SeriesInstanceUID": "1"} for n in numbers]
        return Said(200, {"count": 3, "results": items})

    script = Script(LINKS, TOKEN, LIST, page(), page(1, 2), page(3))
    assert list(client(script).files_of_series("C", "1")) == ["f1", "f2", "f3"]
    assert "offset=2" in str(script.asked[-1].url)
    script = Script(LINKS, TOKEN, LIST, EMPTY)
    assert client(script).files_of_series("C", "1") == {}


@pytest.mark.parametrize("data", [b"<html>hello</html>", [], {"count": 1}, {"collection_links": []}])
def test_what_is_no_cube(data: Any) -> None:
    with pytest.raises(CubeError, match="URL"):
        client(Script(Said(200, data))).dialect()


# --- which CUBE


@pytest.fixture
def keys(tmp_path: Path) -> ServiceKeys:
    made = ServiceKeys(Layout.of_basemount(tmp_path))
    made.set("cube", {"local": {"url": "http://key:8000/api/v1/", "username": "bob", "password": "from-key"}})
    return made


def test_one_order(keys: ServiceKeys) -> None:
    def found(said: CubeWords, key: str | None = None, **environ: str) -> tuple[str, str, str | None, str | None]:
        target = resolve_cube(said, key=key, keys=keys, environ=environ)
        return target.url, target.username, target.password, target.token

    key_url, other = "http://key:8000/api/v1/", "http://env/api/v1/"
    assert found(CubeWords(), "local") == (key_url, "bob", "from-key", None)
    assert found(CubeWords(), PX_CUBE="local") == (key_url, "bob", "from-key", None)
    assert found(CubeWords(username="eve"), "local", PX_CUBE_PASSWORD="env") == (key_url, "eve", "env", None)
    assert found(CubeWords(password="typed"), "local", PX_CUBE_TOKEN="abc") == (key_url, "bob", "typed", None)
    assert found(CubeWords(), PX_CUBE_URL=other, PX_CUBE_TOKEN="abc") == (other, "chris", None, "abc")
    assert (
        found(CubeWords(url="http://typed/api/v1"), PX_CUBE_URL=other, PX_CUBE_TOKEN="abc")[0] == "http://typed/api/v1/"
    )


def test_what_is_missing_is_named(keys: ServiceKeys, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--CUBEURL"):
        resolve_cube(CubeWords(), environ={})
    with pytest.raises(InputError, match="PX_CUBE_PASSWORD"):
        resolve_cube(CubeWords(url=ROOT), environ={})
    with pytest.raises(InputError, match="local"):
        resolve_cube(CubeWords(), key="other", keys=keys, environ={})
    with pytest.raises(InputError, match="BASEMOUNT"):
        resolve_cube(CubeWords(), key="local", environ={})
    words = CubeWords(url=ROOT, token="abc", cacert=str(tmp_path / "none.pem"))
    with pytest.raises(InputError, match="no such certificate"):
        resolve_cube(words, environ={})
    assert "abc" not in repr(CubeWords(token="abc", password="abc"))
