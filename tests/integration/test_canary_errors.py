"""Lines of error say what is wrong and where, and by default nothing of the patient whose values are wrong; -v does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.canary import BIRTH, IDENTITY, NAME, NAMED, SERIES, check_people
from support.limits import LONG
from support.pxrun import PxRunner
from support.servers import StorescpSink

GIVEN_NAME = NAME.partition("^")[2]
PACS = ("--serverIP", "127.0.0.1", "--serverPort", "1", "--aec", "NOBODY", "--aet", "PXCANARY")
TO_CUBE = ("--CUBEURL", "http://127.0.0.1:1/api/v1/", "--CUBEusername", "chris")


class Told:
    """Runs px where it is to fail, told as little as by default and, when called, a second time with ``-v``."""

    def __init__(self, px: PxRunner) -> None:
        self._px = px

    def brief(self, *words: str | Path | int, says: str, input: str = "") -> int:  # noqa: A002  as of PxRunner
        """Check that the error `says` something, and nothing of the patient; its exit code."""
        run = self._px(*words, input=input, env={"PX_CUBE_PASSWORD": "none"})
        assert run.returncode != 0, run.stderr
        assert says in run.stderr, f"{words} said {run.stderr}"
        check_people([run.stderr])
        if "--json" in words:
            assert says in json.loads(run.stdout)["error"]
            check_people([run.stdout])
        return run.returncode

    def __call__(self, *words: str | Path | int, says: str, shows: str, input: str = "") -> None:  # noqa: A002  as above
        """Check that the same error `shows` the patient, too, in its last line, to who asks for that."""
        code = self.brief(*words, says=says, input=input)
        whole = self._px("-v", *words, input=input, env={"PX_CUBE_PASSWORD": "none"})
        assert whole.returncode == code, whole.stderr
        assert shows in whole.stderr.splitlines()[-1], f"-v {words} said {whole.stderr}"


@pytest.fixture
def told(px: PxRunner) -> Told:
    return Told(px)


# --- keys and documents that are hidden in files


@pytest.mark.parametrize(
    ("text", "says", "shows"),
    [
        (f"PatientBirthDate={BIRTH}x\n", "line 1: PatientBirthDate: the value is no date (20240131)", f"{BIRTH}x"),
        (f"#\nPatientBirthDate={BIRTH[:4]}3141\n", "line 2: PatientBirthDate: the value is not a day", BIRTH[:4]),
        (f"PatientBirthDate={BIRTH}-{BIRTH[:6]}01", "PatientBirthDate: the value is a range that ends before", BIRTH),
        (f"PatientBirthTime={BIRTH}", "PatientBirthTime: the value is no time (hhmmss)", BIRTH),
        (f"PatientName={NAME}\x01\n", "line 1: PatientName: the value holds control characters", NAME),
        (f"\nPatientID {IDENTITY}\n", "--query-file -, line 2: KEYWORD=VALUE is expected", IDENTITY),
        (f"StudyInstanceUID={IDENTITY}", "StudyInstanceUID: the value is not a UID (digits and dots", IDENTITY),
        (f"{IDENTITY}=PatientID", "line 1: the key is not a DICOM keyword", IDENTITY),
        (f"{GIVEN_NAME}ID=1", "line 1: the key is not a DICOM keyword", GIVEN_NAME),
        (f'"{IDENTITY}"', "line 1: KEYWORD=VALUE is expected", IDENTITY),
        (json.dumps({"PatientID": {"x": IDENTITY}}), "key 1: PatientID: a text or a list of texts", IDENTITY),
        (json.dumps({"Modality": "CT", "PatientID": [True, IDENTITY]}), "key 2: PatientID: a text or a list", "True"),
        (json.dumps({IDENTITY: "PatientID"}), "--query-file -, key 1: the key is not a DICOM keyword", IDENTITY),
        (f'{{"{IDENTITY}": "1", "{IDENTITY}": "2"}}', "a key stands twice in one object", IDENTITY),
        (f'{{"PatientID": "{IDENTITY}", "PatientID": "2"}}', "the key 'PatientID' stands twice", "'PatientID'"),
        (f'{{"PatientID": {BIRTH}e999}}', "a number is too large", f"{BIRTH}e999"),
        (f"[{IDENTITY}]", "not JSON where a query was expected: Expecting value, line 1 column 2", "column 2"),
    ],
)
def test_keys_in_a_file(told: Told, text: str, says: str, shows: str) -> None:
    told("find", *PACS, "--query-file", "-", "--json", input=text, says=says, shows=shows)


def test_a_keyword_in_a_file_is_still_spelled_for_whoever_errs(told: Told) -> None:
    told(
        "find", *PACS, "--query-file", "-", input=f"PatientIDD={IDENTITY}", shows="'PatientIDD'",
        says="the key is not a DICOM keyword; did you mean PatientID",
    )  # fmt: skip


def find_document(study: dict[str, object]) -> str:
    return json.dumps({"data": [{"StudyInstanceUID": {"value": "1.2"}, **study}]})


DOCUMENTS = {
    "text as data": (json.dumps({"data": f"{IDENTITY} {NAME}"}), "'data' of the document is a text", NAME),
    "bad study UID": (
        find_document({"StudyInstanceUID": {"value": IDENTITY}}),
        "data[0].StudyInstanceUID of the document: the value is not a UID",
        IDENTITY,
    ),
    "bad series UID": (
        find_document({"series": [{"SeriesInstanceUID": {"value": IDENTITY}}]}),
        "data[0].series[0].SeriesInstanceUID of the document: the value is not a UID",
        IDENTITY,
    ),
    "bad study of a series": (
        find_document({"series": [{"StudyInstanceUID": {"value": NAME}, "SeriesInstanceUID": {"value": "1.3"}}]}),
        "data[0].series[0].StudyInstanceUID: the value is not a UID",
        NAME,
    ),
    "list as value": (
        find_document({IDENTITY: {"value": [NAME]}}),
        "data[0] of the document has a list where a text is expected",
        IDENTITY,
    ),
    "key twice": (f'{{"data": [], "{IDENTITY}": 1, "{IDENTITY}": 2}}', "a key stands twice in one object", IDENTITY),
    "no data": (json.dumps({IDENTITY: NAME}), "the document has no 'data'", IDENTITY),
    "failed find": (
        json.dumps({"status": False, "data": f"{IDENTITY} is not here"}),
        "the document reports a failed find",
        IDENTITY,
    ),
}
READERS: dict[str, tuple[str, ...]] = {
    "report": ("report",),
    "status": ("status",),
    "push": ("push", "--storeBaseLocation", "store", *NAMED),
    "register": ("register", "--storeBaseLocation", "store", *NAMED, *TO_CUBE),
    "move": ("move", *PACS),
    "do": ("do", *PACS, "--then", "status"),
}


@pytest.mark.parametrize("reader", READERS)
def test_documents(told: Told, px: PxRunner, tmp_path: Path, reader: str) -> None:
    verb, *words = READERS[reader]
    if reader != "report":
        base = tmp_path / "basemount"
        px("smdb", "init", "--basemount", base).ok()
        words += ["--basemount", str(base)]
    for text, says, shows in list(DOCUMENTS.values())[:: 1 if reader == "report" or LONG else 2]:
        if reader == "report" or LONG:
            told(verb, *words, input=text, says=says, shows=shows)
        else:
            told.brief(verb, *words, input=text, says=says)


def test_documents_of_a_push(told: Told, basemount: Path) -> None:
    """Register reads these too."""
    text = json.dumps({"localFileList": [], "objectFileList": [], "msg": f"{IDENTITY} is not here"})
    words = READERS["register"]
    told(*words, "--basemount", basemount, input=text, says="nothing was pushed; that push told why", shows=IDENTITY)


# --- what was typed, and may be in a log


@pytest.mark.parametrize(
    ("words", "says", "shows"),
    [
        (("find", *PACS, NAME), "Got unexpected extra argument (see: px find --help)", NAME),
        (("status", NAME, IDENTITY), "Got unexpected extra arguments (see: px status --help)", NAME),
        (("find", *PACS, "--PatientBirthDate", f"{BIRTH}x"), "PatientBirthDate: the value is no date", BIRTH),
        (("find", *PACS, "--key", IDENTITY), "--key: KEYWORD=VALUE is expected", IDENTITY),
        (("find", *PACS, "--SeriesInstanceUID", IDENTITY), "SeriesInstanceUID: the value is not a UID", IDENTITY),
        (("find", *PACS, "--PatientName", f"{NAME}\x02"), "PatientName: the value holds control", NAME),
        (("smdb", "search", f"PatientBirthDate={BIRTH}x"), "PatientBirthDate: the value is no date", BIRTH),
        (("smdb", "search", IDENTITY), "search: the value is not of the form Keyword=value", IDENTITY),
        (("push", "--SeriesInstanceUID", IDENTITY), "SeriesInstanceUID: the value is not a UID", IDENTITY),
        (("status", "--StudyInstanceUID", IDENTITY), "StudyInstanceUID: the value is not a UID", IDENTITY),
    ],
)
def test_what_was_typed(
    told: Told, px: PxRunner, basemount: Path, words: tuple[str, ...], says: str, shows: str
) -> None:
    px("smdb", "init", "--basemount", basemount).ok()
    told(*words, *(() if words[0] == "find" else ("--basemount", basemount)), says=says, shows=shows)


@pytest.mark.parametrize(
    ("command", "words", "says"),
    [
        ("px-find", (NAME,), "unrecognized arguments, without an option before them"),
        ("px-find", ("--PatientBirthDate", BIRTH), "unrecognized arguments: --PatientBirthDate\n"),
        ("px-find", (f"--Patient={IDENTITY}",), "ambiguous option: --Patient could match --PatientID"),
        ("px-find", ("--StudyInstanceUID", IDENTITY), "StudyInstanceUID: the value is not a UID"),
        ("px-smdb", ("--action", "imageDirsSeriesInstanceUID", "--actionArgs", IDENTITY), "the value is not a UID"),
    ],
)  # fmt: skip
def test_what_was_typed_for_pypx(px: PxRunner, command: str, words: tuple[str, ...], says: str) -> None:
    run = px(*words, *(PACS if command == "px-find" else ()), command=command)
    assert run.returncode == 2
    assert says in run.stderr
    check_people([run.stderr])


def test_a_command_of_pypx_shows_all_to_who_asks(px: PxRunner) -> None:
    words = ("--StudyInstanceUID", IDENTITY, *PACS)
    assert (
        "the value is not a UID (digits and dots, at most 64 characters) (-v 2 shows all)"
        in px(*words, command="px-find").stderr
    )
    for option in (("-v", "2"), ("--verbosity", "2"), ("--verbosity=2",)):
        assert f"'{IDENTITY}' is not a UID" in px(*words, *option, command="px-find").stderr


# --- files whose names are made of the patient's values


@pytest.fixture
def packed(px: PxRunner, basemount: Path, canary_images: list[Path]) -> list[Path]:
    """The images filed, in the order of their numbers."""
    px("repack", "--basemount", basemount, canary_images[0].parent).ok()
    files = sorted((basemount / "data").rglob("*.dcm"))
    assert IDENTITY in str(files[0]), "the patient's values are in no name: nothing is tested here"
    return files


def pushed(told: Told, basemount: Path, *target: str | Path | int, says: str) -> None:
    """Push the series, partly or in vain; the last line names the file as those before it do."""
    words = ("push", "--basemount", basemount, "--SeriesInstanceUID", SERIES, "--partial", *target)
    told(*words, says=f"not pushed: {basemount}/data/…: {says}", shows=IDENTITY)


def test_a_push_of_a_file_that_is_gone(told: Told, basemount: Path, packed: list[Path], tmp_path: Path) -> None:
    packed[0].unlink()
    pushed(told, basemount, "--storeBaseLocation", tmp_path / "store", *NAMED, says="it is gone")


def test_a_push_of_a_file_that_cannot_be_read(told: Told, basemount: Path, packed: list[Path], tmp_path: Path) -> None:
    make_unreadable(packed[0])
    pushed(told, basemount, "--storeBaseLocation", tmp_path / "store", *NAMED, says="cannot be read: Too many levels")


def test_a_push_into_a_folder_that_cannot_be_written(
    told: Told, basemount: Path, packed: list[Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    (store / "SERVICES").parent.mkdir()
    (store / "SERVICES").write_text("in the way")
    pushed(told, basemount, "--storeBaseLocation", store, *NAMED, says=f"folder {store}: writing …/")


def test_a_push_to_a_pacs_that_drops_the_association(
    told: Told, basemount: Path, packed: list[Path], storescp_sink: Callable[..., StorescpSink]
) -> None:
    sink = storescp_sink(None, "--abort-after")
    place = ("--serverIP", "127.0.0.1", "--serverPort", sink.port, "--aec", sink.aet, "--aet", "PXCANARY")
    pushed(told, basemount, *place, says="not sent, the association broke off")


def test_a_push_of_files_that_are_no_dicom(told: Told, basemount: Path, packed: list[Path], tmp_path: Path) -> None:
    packed[0].write_text("no DICOM")
    words = (
        "push",
        "--basemount",
        basemount,
        "--xcrdir",
        basemount / "data",
        "--storeBaseLocation",
        tmp_path / "store",
    )
    told(*words, *NAMED, says=f"are no whole DICOM files: {basemount}/data/…: ", shows=IDENTITY)


def make_unreadable(path: Path) -> None:
    """Put a link to itself in its place, which root cannot follow either."""
    path.rename(path.with_name("away"))
    path.symlink_to(path.name)


@pytest.mark.parametrize("what", ["file", "directory", "patient"])
def test_verify_of_what_cannot_be_read(px: PxRunner, basemount: Path, packed: list[Path], what: str) -> None:
    place = {"file": packed[0], "directory": packed[0].parent, "patient": next((basemount / "data").iterdir())}[what]
    make_unreadable(place)
    for verb in (("verify",), ("verify", "--deep"), ("verify", "--set-aside"), ("rebuild",)):
        run = px("smdb", *verb, "--basemount", basemount)
        check_people([run.stderr])
        assert verb == ("rebuild",) or f"{basemount}/data/…" in run.stderr, run.stderr
    assert IDENTITY in px("-v", "smdb", "verify", "--basemount", basemount).stderr


def test_repack_where_nothing_can_be_made(
    told: Told, px: PxRunner, packed: list[Path], basemount: Path, canary_images: list[Path], tmp_path: Path
) -> None:
    images = canary_images[0].parent
    cannot = "…: cannot create the directory"
    told("repack", "--basemount", "/proc/x", images, says=f"/proc/x/data/{cannot}", shows=IDENTITY)
    words = ("repack", "--basemount", tmp_path / "new", "--datadir", "/proc/zzz", images)
    told(*words, says=f"/proc/zzz/{cannot}", shows=IDENTITY)
    fresh = tmp_path / "fresh"
    (fresh / "data").mkdir(parents=True)
    (fresh / "data" / next((basemount / "data").iterdir()).name).write_text("in the way")
    told("repack", "--basemount", fresh, images, says=f"{fresh}/data/{cannot}", shows=IDENTITY)
