"""Registering in a CUBE of both dialects, over a real Swift and a real folder; asserted on what CUBE has afterwards."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cube_contract import Cube, CubeServer, FolderStore, SwiftStore
from cube_contract.items import Dialect
from pypx.compat.register_json import to_document
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import CubeError, InputError, PartialError
from pypx.model.identifiers import UID
from pypx.model.outcomes import RegisterOutcome
from pypx.model.peers import CubeTarget, FolderTarget, SwiftTarget
from pypx.model.records import SeriesRef
from pypx.services.cube import CubeClient
from pypx.services.cubeaddress import CubeLimits
from pypx.services.cubeerrors import CubeDeniedError, CubeUnreachableError
from pypx.services.storage import ObjectStore
from pypx.workflows.push import PushOptions, push_files, push_series
from pypx.workflows.register import RegisterOptions, check, register, register_files
from pypx.workflows.repack import repack
from pypx.workflows.status import series_status
from pypx.workflows.targets import carrier_to, open_store
from support.corpus import Corpus
from support.swift_server import SwiftServer

QUICK = CubeLimits(read_s=1.0, series_s=1.0, settle_s=3.0, check_s=3.0, tries=3, pause_s=0.05)
TARGET = CubeTarget("", "chris", password="chris1234")
DIALECTS: tuple[Dialect, ...] = ("old", "new")

Servers = Callable[..., CubeServer]


@dataclass(slots=True)
class Place:
    """A store as px sees it (`store`, `target`), and as CUBE sees it (`below`); `put` and `remove` go by neither."""

    target: SwiftTarget | FolderTarget
    store: ObjectStore
    below: FolderStore | SwiftStore

    def names(self) -> list[str]:
        return self.below.listing("SERVICES/PACS")

    def put(self, name: str) -> None:
        if isinstance(self.below, SwiftStore):
            self.below.account.put(self.below.container, name, b"x")
        else:
            path = self.below.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")


@dataclass(slots=True)
class Site:
    """A BASEMOUNT with the corpus in it, a place for objects, and a CUBE over it."""

    database: Database
    place: Place
    server: CubeServer
    corpus: Corpus
    limits: CubeLimits = QUICK
    target: CubeTarget = TARGET
    clients: list[CubeClient] = field(default_factory=list)

    def client(self, **login: Any) -> CubeClient:
        client = CubeClient(replace(self.target, url=self.server.url, **login), limits=self.limits)
        self.clients.append(client)
        return client

    def ref(self, SeriesInstanceUID: str, expected: int | None = -1) -> SeriesRef:
        files = self.corpus.of_series(SeriesInstanceUID)
        count = len(files) if expected == -1 else expected
        return SeriesRef(UID(files[0].StudyInstanceUID), UID(SeriesInstanceUID), count)

    def push(self, *refs: SeriesRef, partial: bool = False) -> None:
        carrier = carrier_to(self.place.target, store=self.place.store)
        options = PushOptions(pacs_name="CLINIC", partial=partial)
        for outcome in push_series(refs, carrier, self.database, options):
            assert outcome.ok, outcome.error

    def register(self, *refs: SeriesRef, client: CubeClient | None = None, **options: Any) -> list[RegisterOutcome]:
        options.setdefault("pacs_name", "CLINIC")
        asked = RegisterOptions(**options)
        return list(register(refs, self.database, client or self.client(), asked, store=self.place.store))

    def record(self, ref: SeriesRef) -> dict[str, Any]:
        return self.database.series_fields(ref.SeriesInstanceUID, "register")

    def counted(self, ref: SeriesRef) -> int:
        return next(series_status([ref], self.database)).registered

    def registered(self) -> list[str]:
        return sorted(row["fname"] for row in self.server.cube.data.files.values())


@pytest.fixture(params=["folder", "swift"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        root = tmp_path / "media"
        folder = FolderTarget(root)
        return Place(folder, open_store(folder), FolderStore(root))
    server: SwiftServer = request.getfixturevalue("swift")
    target = SwiftTarget(server.auth_url, server.user, server.key)
    return Place(target, open_store(target), SwiftStore(server.account))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus) -> Path:
    """A BASEMOUNT with the whole corpus; to be copied."""
    root = tmp_path_factory.mktemp("packed") / "basemount"
    list(repack([corpus.directory], Database.open_or_create(Layout.of_basemount(root))))
    return root


@pytest.fixture
def make_site(
    place: Place, packed: Path, tmp_path: Path, corpus: Corpus, cube_server: Servers
) -> Iterator[Callable[[Dialect], Site]]:
    """`make_site("old")`; in the end no request may have been against CUBE's own description."""
    sites: list[Site] = []

    def make(dialect: Dialect, **options: Any) -> Site:
        root = tmp_path / f"basemount-{len(sites)}"
        shutil.copytree(packed, root)
        server = cube_server(place.below, dialect, looks=3, pause_s=0.05, **options)
        sites.append(Site(Database.open_or_create(Layout.of_basemount(root)), place, server, corpus))
        return sites[-1]

    yield make
    for site in sites:
        for client in site.clients:
            client.close()
        assert site.server.violations == []


@pytest.fixture
def big(corpus: Corpus) -> str:
    """A series of six."""
    (uid,) = [uid for uid in corpus.series() if len(corpus.of_series(uid)) == 6]
    return uid


@pytest.mark.parametrize("dialect", DIALECTS)
def test_after_push_and_twice(make_site: Callable[..., Site], dialect: Dialect, corpus: Corpus) -> None:
    site = make_site(dialect)
    refs = [site.ref(uid) for uid in corpus.series(corpus.files[0].StudyInstanceUID)]
    site.push(*refs)
    first = site.register(*refs)
    assert [(outcome.ok, outcome.registered, outcome.new) for outcome in first] == [(True, 6, 6), (True, 1, 1)]
    assert site.registered() == site.place.names()
    posts = site.server.statuses()
    assert set(posts) == {201}

    second = site.register(*refs)
    assert [(outcome.ok, outcome.registered, outcome.new) for outcome in second] == [(True, 6, 0), (True, 1, 0)]
    assert site.server.statuses() == posts, "nothing was sent again"
    assert [site.counted(ref) for ref in refs] == [6, 1]
    assert {seen.scheme for seen in site.server.seen if seen.path != "/api/v1/"} <= {"Token", ""}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_record_and_document(make_site: Callable[..., Site], dialect: Dialect, big: str) -> None:
    site = make_site(dialect)
    ref = site.ref(big)
    site.push(ref)
    outcomes = site.register(ref)
    record = site.record(ref)
    assert record["objectCounter"] == {"current": 6, "total": 6}
    assert record["CUBE"] == {"url": site.server.url, "username": "chris"}
    assert not [keyword for keyword in record["info"] if keyword.startswith("Patient")]
    assert record["info"]["pacs_identifier"] == "CLINIC"
    assert record["info"].keys().isdisjoint({"id", "creation_date", "fname", "fsize", "msg"})
    assert "chris1234" not in str(record)

    document = to_document(outcomes)
    assert document["status"] is True
    assert len(document["run"]) == 6
    entry = document["run"][0]["d_DICOMfile_register"]
    assert entry["d_DICOMfile_read"]["inputFileName"].endswith(".dcm")
    assert entry["d_CUBE_register_pacs_file"]["PatientAge"] == 60 * 365


def test_whole_corpus_fits(make_site: Callable[..., Site], corpus: Corpus) -> None:
    """Every series of the corpus, hostile and odd ones too, is registered or refused by name of the field."""
    refused = {}
    for dialect in DIALECTS:
        site = make_site(dialect)
        refs = [site.ref(uid) for uid in corpus.series()]
        site.push(*refs)
        outcomes = site.register(*refs)
        assert not [seen for seen in site.server.seen if seen.status >= 400]
        by_uid = {outcome.series.SeriesInstanceUID: outcome for outcome in outcomes}
        refused[dialect] = {uid: outcome.error or "" for uid, outcome in by_uid.items() if not outcome.ok}
        for uid, error in refused[dialect].items():
            file = corpus.of_series(uid)[0]
            missing = "StudyDate" if not file.tags.get("StudyDate") else "PatientID"
            assert missing in error
            assert not file.tags.get(missing)
    assert refused["old"].keys() == refused["new"].keys()
    assert len(refused["old"]) == 3


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("store_at_hand", [True, False])
def test_missing_object(make_site: Callable[..., Site], dialect: Dialect, big: str, store_at_hand: bool) -> None:
    site = make_site(dialect)
    ref = site.ref(big)
    site.push(ref)
    gone = site.place.names()[2]
    site.place.below.delete(gone)
    store = site.place.store if store_at_hand else None
    options = RegisterOptions("CLINIC")
    (outcome,) = list(register([ref], site.database, site.client(), options, store=store))
    assert not outcome.ok
    assert outcome.error
    name = gone.rpartition("/")[2]
    if dialect == "old":
        assert (outcome.registered, outcome.expected) == (5, 6)
        assert [file.name for file in outcome.failed] == [gone]
        assert name in outcome.error
        assert "Could not find this path" in outcome.error
        assert site.counted(ref) == 5
    else:
        assert outcome.registered == 0 == site.counted(ref)
        assert (name in outcome.error) if store_at_hand else ("different from the ndicom(6)" in outcome.error)
        assert "PID-1001" not in outcome.error
    with pytest.raises(PartialError if dialect == "old" else CubeError):
        check([outcome])

    site.push(ref)
    (again,) = site.register(ref)
    assert (again.ok, again.registered) == (True, 6)
    assert site.registered() == site.place.names()


def test_extra_object(make_site: Callable[..., Site], big: str) -> None:
    site = make_site("new")
    ref = site.ref(big)
    site.push(ref)
    folder = site.place.names()[0].rpartition("/")[0]
    site.place.put(f"{folder}/notes.txt")
    (outcome,) = site.register(ref)
    assert not outcome.ok
    assert "notes.txt" in (outcome.error or "")
    assert not site.server.statuses()
    site.place.below.delete(f"{folder}/notes.txt")
    (outcome,) = site.register(ref)
    assert outcome.ok


def test_sibling_that_begins_alike(make_site: Callable[..., Site], place: Place, big: str) -> None:
    site = make_site("new")
    ref = site.ref(big)
    site.push(ref)
    folder = site.place.names()[0].rpartition("/")[0]
    site.place.put(f"{folder}0/0001-1.dcm")
    (outcome,) = site.register(ref)
    if isinstance(place.target, SwiftTarget):
        assert not outcome.ok
        assert f"{folder.rpartition('/')[2]}0" in (outcome.error or "")
        assert not site.server.statuses()
    else:
        assert outcome.ok


@pytest.mark.parametrize("dialect", DIALECTS)
def test_wrong_password_and_wrong_user(make_site: Callable[..., Site], dialect: Dialect, big: str) -> None:
    site = make_site(dialect)
    ref = site.ref(big)
    site.push(ref)
    with pytest.raises(CubeDeniedError, match=r"user 'chris'.*Unable to log in") as wrong:
        site.register(ref, client=site.client(password="nonsense"))
    assert "nonsense" not in str(wrong.value)
    for user in ("boss", "outsider", "member"):
        with pytest.raises(CubeDeniedError, match="'chris'"):
            site.register(ref, client=site.client(username=user, password=f"{user}1234"))
    with pytest.raises(CubeDeniedError, match="token"):
        site.register(ref, client=site.client(password=None, token="0" * 40))
    assert 201 not in site.server.statuses()
    assert sum(site.server.statuses().values()) <= 8 * 3, "a refusal stops what was to follow"
    assert not site.record(ref)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ["x" * 21, "A,B", "A/B", "..", "", " \n"])
def test_bad_pacs_names_are_refused_before_any_call(
    make_site: Callable[..., Site], dialect: Dialect, big: str, name: str
) -> None:
    site = make_site(dialect)
    with pytest.raises(InputError, match="20" if len(name) > 20 else "PACS"):
        site.register(site.ref(big), pacs_name=name)
    assert [seen.method for seen in site.server.seen if seen.method == "POST" and "token" not in seen.path] == []


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("trouble", ["crash", "crash_after", "cut"])
def test_500_and_broken_answers(make_site: Callable[..., Site], dialect: Dialect, big: str, trouble: Any) -> None:
    site = make_site(dialect)
    ref = site.ref(big)
    site.push(ref)
    site.server.faults.on_post(1 if dialect == "new" else 3, trouble)
    (outcome,) = site.register(ref)
    if dialect == "new" and trouble == "crash":
        assert not outcome.ok
        assert "Internal server error" in (outcome.error or "")
        assert sum(site.server.statuses().values()) == 1, "never sent twice"
        (outcome,) = site.register(ref)
    assert (outcome.ok, outcome.registered) == (True, 6)
    assert site.registered() == site.place.names()
    assert site.counted(ref) == 6


@pytest.mark.parametrize("dialect", DIALECTS)
def test_hang(make_site: Callable[..., Site], dialect: Dialect, big: str) -> None:
    """CUBE answers after px gave up; px asks and finds what was registered."""
    site = make_site(dialect)
    ref = site.ref(big)
    site.push(ref)
    site.server.faults.on_post(1, "hang", 2.0)
    (outcome,) = site.register(ref)
    assert (outcome.ok, outcome.registered, outcome.new) == (True, 6, 6)
    assert len(site.server.cube.data.series) == (1 if dialect == "new" else 0)
    assert site.registered() == site.place.names()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_hang_for_good(make_site: Callable[..., Site], dialect: Dialect, big: str) -> None:
    site = make_site(dialect)
    site.limits = replace(QUICK, read_s=0.5, series_s=0.5, per_file_s=0, settle_s=0.3)
    ref = site.ref(big)
    site.push(ref)
    site.server.faults.on_post(1, "hang", 60)
    (outcome,) = site.register(ref)
    assert not outcome.ok
    assert "gave no answer in time" in (outcome.error or "")
    assert outcome.registered == (5 if dialect == "old" else 0) == site.counted(ref)
    (again,) = site.register(ref)
    assert (again.ok, again.registered) == (True, 6)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_token_that_expires(make_site: Callable[..., Site], dialect: Dialect, big: str) -> None:
    site = make_site(dialect)
    ref = site.ref(big)
    site.push(ref)
    client = site.client()
    site.server.expire_token_after(2)
    (outcome,) = site.register(ref, client=client)
    assert (outcome.ok, outcome.registered) == (True, 6)
    logins = [seen for seen in site.server.seen if seen.path.endswith("/auth-token/")]
    assert len(logins) == 2
    site.server.expire_token_after(0)
    given = site.client(password=None, token=client._session._token)
    with pytest.raises(CubeDeniedError, match="token"):
        site.register(ref, client=given)


def test_another_count_is_an_error_that_names_both(make_site: Callable[..., Site], big: str) -> None:
    """A series that was registered before it was whole: CUBE never takes the rest."""
    site = make_site("new")
    ref = site.ref(big)
    site.push(ref)
    site.place.below.delete(site.place.names()[0])
    (partial,) = site.register(ref, partial=True)
    assert not partial.ok
    assert not site.server.statuses()
    (partial,) = site.register(ref, partial=True, really_partial=True)
    assert (partial.ok, partial.registered) == (True, 5)
    site.push(ref)
    (outcome,) = site.register(ref)
    assert not outcome.ok
    assert "5 files instead of 6" in (outcome.error or "")
    assert site.counted(ref) == 5
    assert sum(site.server.statuses().values()) == 1


@pytest.mark.parametrize(
    ("expected", "said"), [(7, "6 of 7 images have been received"), (None, "never told"), (5, "6 of 5")]
)
def test_series_that_is_not_complete(make_site: Callable[..., Site], big: str, expected: int | None, said: str) -> None:
    site = make_site("new")
    ref = site.ref(big, expected)
    site.push(ref, partial=True)
    for partial in (False, True):
        (outcome,) = site.register(ref, partial=partial)
        assert not outcome.ok
        assert said in (outcome.error or "")
    assert not site.server.statuses()
    (outcome,) = site.register(ref, partial=True, really_partial=True)
    assert (outcome.ok, outcome.registered) == (True, 6)


def test_part_of_a_series_file_by_file(make_site: Callable[..., Site], big: str) -> None:
    """Nothing is lost for ever there: what is pushed is registered, and said to be a part."""
    site = make_site("old")
    ref = site.ref(big, 7)
    site.push(ref, partial=True)
    (outcome,) = site.register(ref)
    assert (outcome.ok, outcome.registered, outcome.expected) == (False, 6, 7)
    assert "6 of 7" in (outcome.error or "")
    (outcome,) = site.register(ref, partial=True)
    assert (outcome.ok, outcome.registered, outcome.expected) == (True, 6, 7)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_not_pushed(make_site: Callable[..., Site], dialect: Dialect, big: str) -> None:
    site = make_site(dialect)
    (outcome,) = site.register(site.ref(big))
    assert not outcome.ok
    assert outcome.registered == 0
    assert not site.registered()
    assert site.counted(site.ref(big)) == 0
    assert "PID-1001" not in (outcome.error or "")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_files_by_name(make_site: Callable[..., Site], dialect: Dialect, corpus: Corpus, big: str) -> None:
    """As px-register --xcrdir does it, with files that no BASEMOUNT knows; one of them is none."""
    site = make_site(dialect)
    site.database = Database.open_or_create(Layout.of_basemount(site.database.layout.base / "fresh"))
    files = [file.path for file in corpus.of_series(big)]
    carrier = carrier_to(site.place.target, store=site.place.store)
    assert all(outcome.ok for outcome in push_files(files, carrier, site.database, PushOptions(pacs_name="CLINIC")))
    text = site.database.layout.base / "notes.txt"
    text.write_text("no image")
    options = RegisterOptions("CLINIC")
    bad, good = register_files([text, *files], site.database, site.client(), options, store=site.place.store)
    assert not bad.ok
    assert "notes.txt" in (bad.error or "")
    assert (good.ok, good.registered) == (True, 6)
    assert site.registered() == site.place.names()
    document = to_document([bad, good])
    assert document["status"] is False
    assert [entry["status"] for entry in document["run"]] == [False] + [True] * 6


@pytest.mark.parametrize("dialect", DIALECTS)
def test_names_of_an_earlier_push(make_site: Callable[..., Site], dialect: Dialect, corpus: Corpus, big: str) -> None:
    """As px-register --upstreamFile does it; a file store named objects by absolute paths there."""
    site = make_site(dialect)
    files = [file.path for file in corpus.of_series(big)]
    names = {}
    for number, file in enumerate(files):
        name = f"SERVICES/PACS/CLINIC/a/b/c/{number:04d}.dcm"
        site.place.put(name)
        names[file] = f"/store/{name}"
    options = RegisterOptions("CLINIC")
    (outcome,) = register_files(files, site.database, site.client(), options, store=site.place.store, names=names)
    assert outcome.ok, outcome.error
    assert site.registered() == site.place.names()


@pytest.mark.parametrize("dialect", ["gap", "none"])
def test_cube_that_takes_nothing(make_site: Callable[..., Site], dialect: Dialect, big: str) -> None:
    site = make_site(dialect)
    with pytest.raises(CubeError, match="v6.3.0-beta.1" if dialect == "gap" else "neither"):
        site.register(site.ref(big))


def test_no_cube(make_site: Callable[..., Site], big: str) -> None:
    site = make_site("old")
    ref = site.ref(big)
    site.push(ref)
    with pytest.raises(CubeError, match="without JSON"):
        site.register(ref, client=CubeClient(replace(TARGET, url=site.server.url + "nothing/"), limits=QUICK))
    assert site.server.violations == ["GET /api/v1/nothing/: no such path or method"]
    site.server.violations.clear()
    site.server.stop()
    with pytest.raises(CubeError, match="cannot be reached"):
        site.register(ref)


def test_many_at_once_over_few_connections(make_site: Callable[..., Site], corpus: Corpus) -> None:
    site = make_site("old", password_cost_s=0.3)
    refs = [site.ref(uid) for uid in corpus.series(corpus.files[0].StudyInstanceUID)]
    site.push(*refs)
    site.register(*refs, jobs=4)
    assert 1 <= site.server.most_at_once <= 4
    assert len({seen.connection for seen in site.server.seen}) <= 5
    assert "Basic" not in {seen.scheme for seen in site.server.seen}


def test_two_runs_at_the_same_moment(make_site: Callable[..., Site], big: str) -> None:
    site = make_site("old")
    ref = site.ref(big)
    site.push(ref)
    results: list[RegisterOutcome] = []
    threads = [threading.Thread(target=lambda: results.extend(site.register(ref))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [(outcome.ok, outcome.registered) for outcome in results] == [(True, 6)] * 3
    assert sum(outcome.new for outcome in results) == 6


@pytest.mark.parametrize("dialect", DIALECTS)
def test_two_series_in_one_folder(
    make_site: Callable[..., Site], dialect: Dialect, corpus: Corpus, tmp_path: Path
) -> None:
    """As pypx packs and pushes: such series can be registered file by file only."""
    site = make_site(dialect)
    twins = list(dict.fromkeys(file.SeriesInstanceUID for file in corpus.of_kind("twin")))
    site.database = Database.create(Layout.of_basemount(tmp_path / "pypx"), format=3)
    list(repack([file.path for file in corpus.of_kind("twin")], site.database))
    refs = [site.ref(uid) for uid in twins]
    site.push(*refs)
    assert len({name.rpartition("/")[0] for name in site.place.names()}) == 1
    outcomes = site.register(*refs)
    if dialect == "old":
        assert [(outcome.ok, outcome.registered) for outcome in outcomes] == [(True, 3), (True, 2)]
        assert site.registered() == site.place.names()
    else:
        assert [outcome.ok for outcome in outcomes] == [False, False]
        assert "holds 2 objects that do not belong to it" in (outcomes[0].error or "")
        assert not site.server.statuses()


def test_certificate(tmp_path: Path) -> None:
    """CUBE behind TLS that gives its links as http: verified, and asked by https only."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate),
        ],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = CubeServer(Cube(FolderStore(tmp_path / "media"), "old"))
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    server.start()
    try:
        target = replace(TARGET, url=server.url.replace("http:", "https:"))
        with (
            CubeClient(target, limits=QUICK) as stranger,
            pytest.raises(CubeUnreachableError, match="certificate cannot be verified"),
        ):
            stranger.dialect()
        assert server.seen == []
        with CubeClient(replace(target, cacert=certificate), limits=QUICK) as client:
            assert client.find_file("SERVICES/PACS/CLINIC/a.dcm") is None
    finally:
        server.stop()


def test_interrupted_run_goes_on(make_site: Callable[..., Site], big: str) -> None:
    site = make_site("old")
    ref = site.ref(big)
    site.push(ref)

    def stop_at_two(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.register(ref, jobs=1, progress=stop_at_two)
    assert site.counted(ref) == 2
    assert len(site.registered()) < 6
    (outcome,) = site.register(ref)
    assert (outcome.ok, outcome.registered) == (True, 6)
    assert 400 not in site.server.statuses(), "what was registered is not sent again"


def test_object_gone_after_registration(make_site: Callable[..., Site], big: str) -> None:
    """CUBE fails each list that has the file in it; the others are still counted, the one that is gone is named."""
    site = make_site("old")
    ref = site.ref(big)
    site.push(ref)
    site.register(ref)
    gone = site.place.names()[0]
    site.place.below.delete(gone)
    (outcome,) = site.register(ref)
    assert (outcome.ok, outcome.registered) == (False, 5)
    assert [file.name for file in outcome.failed] == [gone]
