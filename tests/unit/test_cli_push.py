"""px push, register and storage: argv becomes a target and one workflow call; outcomes become output and exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pypx.cli.main import px
from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.errors import CubeError, InputError
from pypx.model.identifiers import UID
from pypx.model.outcomes import FailedFile, PushedFile, PushOutcome, RegisteredFile, RegisterOutcome
from pypx.model.peers import FolderTarget, PacsNode, S3Target, SwiftTarget
from pypx.model.records import SeriesRef
from pypx.services.storage import StorageUnreachableError
from pypx.workflows.cubetarget import CubeWords
from pypx.workflows.pushtarget import TargetWords, resolve_destination, resolve_store

ENTRIES = {
    "swift": {"storagetype": "swift", "ip": "10.0.0.2", "port": "8080", "login": "chris:one", "key": "canary"},
    "folder": {"storagetype": "fs", "storepath": "/mnt/store"},
    "bucket": {"storagetype": "s3", "endpoint": "https://s3.example.org", "access_key": "a", "secret_key": "canary"},
}
TO_PACS = ("--serverIP", "10.0.0.9", "--serverPort", "104", "--aec", "ARCHIVE")
JSON, JSONL = ("--json",), ("--jsonl",)
FORMS: tuple[tuple[str, ...], ...] = ((), JSON, JSONL)
SERVICE = ("--swiftServicesPACS", "CLINIC")
FOUND = json.dumps({
    "status": "success",
    "data": [{
        "StudyInstanceUID": {"tag": "0020,000d", "value": "1.2", "label": "x"},
        "series": [{
            "SeriesInstanceUID": {"tag": "0020,000e", "value": "1.2.3", "label": "x"},
            "NumberOfSeriesRelatedInstances": {"tag": "0020,1209", "value": "2", "label": "x"},
        }],
    }],
})  # fmt: skip


def run(*args: object, **extra: Any) -> Result:
    return CliRunner().invoke(px, [str(arg) for arg in args], **extra)


@pytest.fixture
def keys(tmp_path: Path) -> ServiceKeys:
    found = ServiceKeys(Layout.of_basemount(tmp_path / "base"))
    found.set("storage", ENTRIES)
    found.set("pacs", {"archive": {"serverIP": "10.0.0.9", "serverPort": "104", "aec": "ARCHIVE"}})
    found.set("cube", {"cube": {"url": "https://cube.example.org/api/v1/", "username": "chris", "password": "canary"}})
    return found


# --- which target


@pytest.mark.parametrize(
    ("said", "environ", "kind"),
    [
        (TargetWords(key="swift"), {}, SwiftTarget),
        (TargetWords(key="folder"), {"PX_STORAGE": "swift"}, FolderTarget),
        (TargetWords(key="bucket"), {}, S3Target),
        (TargetWords(folder="/mnt"), {"PX_SWIFT_IP": "10.0.0.2"}, FolderTarget),
        (TargetWords(ip="10.0.0.2", port="8080", login="a:b"), {"PX_STORAGE": "folder"}, SwiftTarget),
        (TargetWords(ip="10.0.0.2"), {"PX_SWIFT_PORT": "8080", "PX_SWIFT_LOGIN": "a:b"}, SwiftTarget),
        (TargetWords(), {"PX_STORAGE": "folder"}, FolderTarget),
        (TargetWords(), {"PX_SWIFT_IP": "10.0.0.2", "PX_SWIFT_PORT": "8080", "PX_SWIFT_LOGIN": "a:b"}, SwiftTarget),
        (TargetWords(), {"OS_AUTH_URL": "http://h:5000/v3", "OS_USERNAME": "u", "OS_PASSWORD": "p"}, SwiftTarget),
        (TargetWords(pacs="archive"), {"PX_STORAGE": "folder"}, PacsNode),
        (TargetWords(host="10.0.0.9", host_port="104", called_aet="ARCHIVE"), {}, PacsNode),
    ],
)
def test_the_target_is_what_was_named(
    said: TargetWords, environ: dict[str, str], kind: type, keys: ServiceKeys
) -> None:
    found = resolve_destination(said, keys, environ, calling_aet="OURS")
    assert isinstance(found.target, kind)
    assert "canary" not in repr(found) + str(found.target)


@pytest.mark.parametrize(
    ("said", "environ", "says"),
    [
        (TargetWords(), {}, "no target is named"),
        (TargetWords(calling_aet="OURS"), {}, "no target is named"),
        (TargetWords(), {"PX_SERVER_IP": "10.0.0.5", "PX_AEC": "ORTHANC", "PX_PACS": "archive"}, "no target is named"),
        (TargetWords(key="swift", folder="/mnt"), {}, "several targets are named: --swift KEY and --storeBaseLocation"),
        (TargetWords(key="swift", host="10.0.0.9"), {}, "several targets"),
        (TargetWords(ip="10.0.0.2", pacs="archive"), {}, "several targets"),
        (TargetWords(), {"PX_STORAGE": "folder", "PX_SWIFT_IP": "10.0.0.2"}, "PX_STORAGE and PX_SWIFT_IP"),
        (TargetWords(key="nobody"), {}, "'nobody' is no entry"),
        (TargetWords(host="10.0.0.9"), {"PX_AEC": "X", "PX_SERVER_PORT": "1"}, "needs --serverPort, --aec as well"),
        (TargetWords(folder="/mnt", container="x"), {}, "a directory has none"),
        (TargetWords(pacs="archive", container="x"), {}, "a PACS has none"),
        (TargetWords(key="swift", container="a/b"), {}, "no slash"),
        (TargetWords(container="x"), {}, "of which store"),
        (TargetWords(ip="10.0.0.2", port="8080"), {}, "there is no login"),
        (TargetWords(folder="mnt"), {}, "no absolute path"),
    ],
)
def test_a_target_that_is_not_one(said: TargetWords, environ: dict[str, str], says: str, keys: ServiceKeys) -> None:
    with pytest.raises(InputError, match=says):
        resolve_destination(said, keys, environ, calling_aet="OURS")


def test_container_and_names_that_need_a_basemount(keys: ServiceKeys) -> None:
    for key in ("swift", "bucket"):
        found = resolve_store(TargetWords(key=key, container="other"), keys, {})
        assert found is not None
        assert "other" in str(found.target)
    for said in (TargetWords(key="swift"), TargetWords(pacs="archive")):
        with pytest.raises(InputError, match="give --basemount"):
            resolve_destination(said, None, {}, calling_aet="OURS")
    assert resolve_store(TargetWords(), keys, {}) is None
    assert "chris" not in repr(TargetWords(login="chris:one"))


# --- push


class Pusher:
    """Stands for the push workflow: remembers what it was asked for, answers with `outcomes`, then raises `error`."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.outcomes: list[PushOutcome] = [outcome("1.2.3", 2)]
        self.error: Exception | None = None

    def carrier(self, target: Any, careful: Any, **values: Any) -> Any:
        self.calls.append({"target": target, "careful": careful, **values})
        return SimpleNamespace(target=SimpleNamespace(where=str(target)))

    def files(self, sources: Any, _carrier: Any, database: Any, options: Any, **values: Any) -> Iterator[PushOutcome]:
        return self._answer(sources=tuple(sources), database=database, options=options, **values)

    def series(self, refs: Any, _carrier: Any, database: Any, options: Any, _progress: Any) -> Iterator[PushOutcome]:
        return self._answer(refs=tuple(refs), database=database, options=options)

    def _answer(self, **asked: Any) -> Iterator[PushOutcome]:
        self.calls[-1] |= asked
        yield from self.outcomes
        if self.error is not None:
            raise self.error


def outcome(uid: str, good: int, bad: int = 0) -> PushOutcome:
    done = tuple(PushedFile(Path(f"/d/{n}.dcm"), f"S/{n}.dcm", 10, "0", sent=bool(n)) for n in range(good))
    failures = tuple(FailedFile(Path(f"/d/bad{n}.dcm"), "refused") for n in range(bad))
    error = f"{bad} of {good + bad} files not pushed" if bad or not good else None
    ref = SeriesRef(UID("1.2"), UID(uid), good + bad)
    return PushOutcome(ref, "place", good + bad, good + bad, done, failures, "S", 0.5, error)


@pytest.fixture
def pusher(monkeypatch: pytest.MonkeyPatch) -> Pusher:
    fake = Pusher()
    monkeypatch.setattr("pypx.workflows.targets.carrier_to", fake.carrier)
    monkeypatch.setattr("pypx.workflows.push.push_files", fake.files)
    monkeypatch.setattr("pypx.workflows.push.push_series", fake.series)
    return fake


def test_push_of_a_directory_needs_no_basemount(pusher: Pusher, tmp_path: Path) -> None:
    result = run("push", "--xcrdir", tmp_path, "--parseAllFilesWithSubStr", "dcm", "--storeBaseLocation", "/mnt",
                 *SERVICE, "--jobs", 3, "--link", "--read-back", "--swiftPackEachDICOM")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    (call,) = pusher.calls
    assert (call["target"], call["sources"]) == (FolderTarget(Path("/mnt")), (tmp_path,))
    assert (call["substring"], call["database"], call["jobs"], call["link"]) == ("dcm", None, 3, True)
    assert (call["careful"].read_back, call["careful"].replace) == (True, False)
    assert (call["options"].pacs_name, call["options"].templates, call["options"].partial) == ("CLINIC", None, False)


@pytest.mark.parametrize(("args", "text"), [(["--SeriesInstanceUID", "1.2.3"], ""), ([], FOUND)])
def test_push_of_series(args: list[str], text: str, pusher: Pusher, keys: ServiceKeys, tmp_path: Path) -> None:
    where = ("--swift", "swift", *SERVICE, "--basemount", tmp_path / "base", "--partial")
    result = run("push", *args, *where, "--imageTemplate", "%SOPInstanceUID.dcm", input=text)
    assert result.exit_code == 0, result.stderr
    assert "canary" not in result.output
    (call,) = pusher.calls
    assert [ref.SeriesInstanceUID for ref in call["refs"]] == ["1.2.3"]
    assert call["options"].partial
    assert call["options"].templates.image == "%SOPInstanceUID.dcm"


def test_push_to_a_pacs_takes_no_address_of_the_environment(pusher: Pusher, tmp_path: Path) -> None:
    env = {"PX_SERVER_IP": "10.0.0.5", "PX_SERVER_PORT": "4242", "PX_AEC": "SOURCE", "PX_AET": "OURS"}
    assert run("push", "--xcrdir", tmp_path, *TO_PACS, env=env).exit_code == 0
    assert str(pusher.calls[0]["target"]) == "ARCHIVE@10.0.0.9:104"
    assert pusher.calls[0]["target"].calling_aet == "OURS"
    assert run("push", "--xcrdir", tmp_path, env=env).exit_code == 2


@pytest.mark.parametrize(
    ("outcomes", "error", "code"),
    [
        ([outcome("1.2.3", 2), outcome("1.2.4", 1)], None, 0),
        ([outcome("1.2.3", 2), outcome("1.2.4", 0, 1)], None, 3),
        ([outcome("1.2.3", 1, 1)], None, 3),
        ([outcome("1.2.3", 0, 2)], None, 30),
        ([outcome("1.2.3", 0)], None, 30),
        ([outcome("1.2.3", 2)], StorageUnreachableError("gone"), 30),
        ([], StorageUnreachableError("gone"), 30),
        ([], InputError("no files"), 2),
    ],
)
def test_exit_code_and_output_of_push(
    outcomes: list[PushOutcome], error: Exception | None, code: int, pusher: Pusher, tmp_path: Path
) -> None:
    pusher.outcomes, pusher.error = outcomes, error
    args = ("push", "--xcrdir", tmp_path, "--storeBaseLocation", "/mnt", *SERVICE)
    results = {form: run(*args, *form) for form in FORMS}
    assert {result.exit_code for result in results.values()} == {code}
    document = json.loads(results[JSON].stdout)
    assert document["status"] is (code == 0)
    assert len(document["localFileList"]) == len(document["objectFileList"]) == sum(len(one.done) for one in outcomes)
    records = [json.loads(line) for line in results[JSONL].stdout.splitlines()]
    assert [record["SeriesInstanceUID"] for record in records] == [one.series.SeriesInstanceUID for one in outcomes]
    rows = results[()].stdout.splitlines()[1:]
    assert len(rows) == len(outcomes)


@pytest.mark.parametrize(
    ("args", "text", "says"),
    [
        (["--storeBaseLocation", "/m", *SERVICE, "--basemount", "none"], "", "stdin is empty"),
        (["--xcrdir", "/d", "--SeriesInstanceUID", "1.2", "--storeBaseLocation", "/m"], "", "named twice"),
        (["--SeriesInstanceUID", "1.2", "--storeBaseLocation", "/m"], "", "no BASEMOUNT"),
        (["--xcrdir", "/d", "--storeBaseLocation", "/m"], "", "--swiftServicesPACS"),
        (["--xcrdir", "/d", "--storeBaseLocation", "/m", "--swiftServicesPACS", "a/b"], "", "no slash"),
        (["--xcrdir", "/d"], "", "no target is named"),
        (["--xcrdir", "/d", *TO_PACS, "--link"], "", "--link"),
        (["--xcrdir", "/d", *TO_PACS, "--swift", "x"], "", "several targets"),
        (["--parseAllFilesWithSubStr", "dcm", *TO_PACS], "", "give --xcrdir"),
        (["--StudyInstanceUID", "1.2", *TO_PACS, "--basemount", "none"], "", "has no study 1.2"),
        ([*TO_PACS, "--basemount", "none"], '{"status": "success", "data": []}', "holds no series"),
    ],
)
def test_what_cannot_be_pushed(args: list[str], text: str, says: str, pusher: Pusher) -> None:
    result = run("push", *args, input=text)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not any("options" in call for call in pusher.calls)


@pytest.mark.parametrize("verb", ["push", "register"])
def test_nothing_named_and_nothing_piped_in(verb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pypx.cli.inputs.stdin_has_input", lambda: False)
    result = run(verb, "--basemount", tmp_path, "--storeBaseLocation", "/m")
    assert result.exit_code == 2
    assert f"nothing to {verb}: give --xcrdir" in result.stderr


# --- register


class Registrar:
    """Stands for CUBE and the register workflow."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.outcomes = [registered(2)]
        self.error: Exception | None = None

    def __enter__(self) -> Registrar:  # noqa: PYI034 - typing.Self is not in Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def client(self, target: Any, **_values: Any) -> Registrar:
        self.calls.append({"target": target})
        return self

    def register(self, what: Any, _database: Any, _cube: Any, options: Any, **more: Any) -> Iterator[RegisterOutcome]:
        self.calls[-1] |= {"what": list(what), "options": options, **more}
        yield from self.outcomes
        if self.error is not None:
            raise self.error


def registered(good: int, bad: int = 0) -> RegisterOutcome:
    files = [RegisteredFile(f"S/{n}.dcm", Path(f"/d/{n}.dcm"), {"PatientID": "1"}, new=True) for n in range(good)]
    files += [RegisteredFile(f"S/b{n}.dcm", Path(f"/d/b{n}.dcm"), {}, error="refused") for n in range(bad)]
    ref, error = SeriesRef(UID("1.2"), UID("1.2.3"), good + bad), f"{bad} not registered" if bad else None
    return RegisterOutcome(ref, "per-file", "CLINIC", "S", good + bad, good, tuple(files), 0.5, error)


@pytest.fixture
def registrar(monkeypatch: pytest.MonkeyPatch) -> Registrar:
    fake = Registrar()
    monkeypatch.setattr("pypx.services.cube.CubeClient", fake.client)
    monkeypatch.setattr("pypx.workflows.register.register", fake.register)
    monkeypatch.setattr("pypx.workflows.register.register_files", fake.register)
    return fake


def test_register_of_a_series(registrar: Registrar, keys: ServiceKeys, tmp_path: Path) -> None:
    base = ("--basemount", tmp_path / "base", "--SeriesInstanceUID", "1.2.3")
    result = run("register", *base, "--CUBE", "cube", "--swift", "folder", *SERVICE, "--jobs", 2, "--partial")
    assert result.exit_code == 0, result.stderr
    (call,) = registrar.calls
    assert (call["target"].url, call["target"].username) == ("https://cube.example.org/api/v1/", "chris")
    assert call["what"][0].SeriesInstanceUID == "1.2.3"
    options = call["options"]
    assert (options.pacs_name, options.jobs, options.partial, options.really_partial) == ("CLINIC", 2, True, False)
    assert str(call["store"]) == "folder /mnt/store"
    assert "canary" not in result.output
    run("register", *base, "--CUBE", "cube", "--partial", "--partial")
    assert registrar.calls[1]["options"].really_partial
    assert registrar.calls[1]["store"] is None


@pytest.mark.parametrize("how", ["file", "pipe", "dash"])
def test_register_of_what_was_pushed(how: str, registrar: Registrar, keys: ServiceKeys, tmp_path: Path) -> None:
    document = json.dumps({"status": True, "localFileList": ["/d/1.dcm"], "objectFileList": ["S/1.dcm"]})
    file = tmp_path / "pushed.json"
    file.write_text(document)
    ways = {"file": ["--upstreamFile", str(file)], "pipe": [], "dash": ["--upstreamFile", "-"]}
    args = ways[how]
    base = ("register", *args, "--basemount", tmp_path / "base", "--CUBE", "cube")
    assert run(*base, input=document if how != "file" else "").exit_code == 0
    assert registrar.calls[0]["what"] == [Path("/d/1.dcm")]
    assert registrar.calls[0]["names"] == {Path("/d/1.dcm"): "S/1.dcm"}


@pytest.mark.parametrize(
    ("outcomes", "error", "code"),
    [
        ([registered(2)], None, 0),
        ([registered(1, 1)], None, 3),
        ([registered(0, 2)], None, 31),
        ([], CubeError("no answer"), 31),
        ([registered(2)], CubeError("no answer"), 31),
    ],
)
def test_exit_code_and_output_of_register(
    outcomes: list[RegisterOutcome], error: Exception | None, code: int, registrar: Registrar, keys: ServiceKeys,
    tmp_path: Path,
) -> None:  # fmt: skip
    registrar.outcomes, registrar.error = outcomes, error
    args = ("register", "--basemount", tmp_path / "base", "--CUBE", "cube", "--SeriesInstanceUID", "1.2.3")
    results = {form: run(*args, *form) for form in FORMS}
    assert {result.exit_code for result in results.values()} == {code}
    document = json.loads(results[JSON].stdout)
    assert (document["status"], len(document["run"])) == (code == 0, sum(len(one.files) for one in outcomes))
    records = [json.loads(line) for line in results[JSONL].stdout.splitlines()]
    assert [record["registered"] for record in records] == [one.registered for one in outcomes]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--SeriesInstanceUID", "1.2.3"], "no CUBE"),
        (["--SeriesInstanceUID", "1.2.3", "--CUBE", "nobody"], "'nobody' is no entry"),
        (["--SeriesInstanceUID", "1.2.3", "--CUBEURL", "http://c/api/v1/"], "no login"),
        (["--CUBE", "cube"], "stdin is empty"),
        (["--CUBE", "cube", "--upstreamFile", "x", "--xcrdir", "y"], "named twice"),
        (["--CUBE", "cube", "--upstreamFile", "/nowhere/x"], "cannot read"),
        (["--CUBE", "cube", "--SeriesInstanceUID", "1.2.3", *SERVICE, "--storeBaseLocation", "/m", "--swift", "x"], "several"),
    ],
)  # fmt: skip
def test_what_cannot_be_registered(
    args: list[str], says: str, registrar: Registrar, keys: ServiceKeys, tmp_path: Path
) -> None:
    result = run("register", *args, "--basemount", tmp_path / "base")
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_password_may_be_spelled_as_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[CubeWords] = []

    def resolve(words: CubeWords, **_values: Any) -> None:
        said.append(words)
        raise InputError("enough")

    monkeypatch.setattr("pypx.workflows.cubetarget.resolve_cube", resolve)
    args = ("--CUBEURL", "http://c/", "--CUBEusername", "chris", "--CUBEuserpasswd", "canary", "--cacert", "ca.pem")
    result = run("register", "--SeriesInstanceUID", "1.2.3", *args, "--basemount", tmp_path)
    assert said == [CubeWords("http://c/", "chris", "canary", None, "ca.pem")]
    assert "canary" not in result.output


# --- storage


def test_storage_on_a_directory(tmp_path: Path) -> None:
    place = ("--storeBaseLocation", tmp_path / "store")
    file = tmp_path / "a.txt"
    file.write_text("one")
    assert run("storage", *place, "put", file, "s1/a.txt").exit_code == 0
    assert run("storage", "put", file, "s10/", *place).exit_code == 0
    assert json.loads(run("storage", "ls", "s1", *place, "--jsonl").stdout)["name"] == "s1/a.txt"
    document = json.loads(run("storage", "get", "s1/a.txt", tmp_path / "b.txt", *place, "--json").stdout)
    assert (document["status"], document["objectFileList"]) == (True, ["s1/a.txt"])
    assert (tmp_path / "b.txt").read_text() == "one"
    assert run("storage", "exists", "s1/a.txt", *place).exit_code == 0
    assert run("storage", "exists", "s1/none", *place).exit_code == 1
    assert json.loads(run("storage", "exists", "s1/none", *place, "--json").stdout) == {
        "status": True,
        "objExists": False,
    }
    assert run("storage", "rm", "s1", *place).exit_code == 2
    assert run("storage", "rm", "-r", "s1", *place).exit_code == 0
    assert run("storage", "ls", *place).stdout.splitlines()[1:][0].endswith("s10/a.txt")


def test_storage_as_pfstorage(tmp_path: Path) -> None:
    place = ("--storeBaseLocation", tmp_path / "store")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("one")

    def do(action: str, **args: object) -> Result:
        return run("storage", *place, "--do", json.dumps({"action": action, "args": args}))

    put = do("objPut", localpath=str(tmp_path / "in"), mapLocationOver=str(tmp_path / "in"), toLocation="up")
    assert (put.exit_code, json.loads(put.stdout)["objectFileList"]) == (0, ["up/a.txt"])
    assert json.loads(do("ls", path="up", retSpec=["name"]).stdout) == {"status": True, "ls": [{"name": "up/a.txt"}]}
    assert json.loads(do("objExists", path="up/a.txt").stdout)["objExists"] is True
    assert json.loads(do("rmtree", path="up").stdout)["dellist"] == ["up/a.txt"]
    assert do("rmtree", path="up").exit_code == 30
    assert do("rmtree", path="/").exit_code == 2
    assert do("nonsense").exit_code == 2
    assert do("objPut", localpath="x", packEachDICOM=True).exit_code == 2


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "nothing to do"),
        (["ls"], "no target is named"),
        (["ls", "--swift", "x"], "give --basemount"),
        (["put", "/nowhere/a", "b", "--storeBaseLocation", "/m"], "no such file"),
        (["--do", "{"], "--do: not JSON"),
    ],
)
def test_what_storage_cannot_do(args: list[str], says: str) -> None:
    result = run("storage", *args)
    assert result.exit_code == 2
    assert says in result.stderr


# --- named services


def test_a_named_store_is_checked(tmp_path: Path) -> None:
    base = ("--basemount", tmp_path / "base")
    entry = json.dumps({"storagetype": "fs", "storepath": str(tmp_path / "store")})
    assert run("smdb", "service", "storage", "set", "disk", entry, *base).exit_code == 0
    result = run("smdb", "service", "storage", "check", "disk", *base, "--json")
    assert result.exit_code == 0, result.stderr
    assert "it holds no object" in json.loads(result.stdout)["message"]
    assert run("smdb", "service", "swift", "check", "disk", *base).exit_code == 2
    assert run("smdb", "service", "storage", "check", "none", *base).exit_code == 2
