"""What several processes do to one BASEMOUNT at once; each function is run by `together`."""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Callable
from pathlib import Path

import filelock

from pypx.db import tables
from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.db.smdb import Database
from pypx.errors import DatabaseError
from pypx.model.identifiers import UID
from pypx.model.records import ImageRecord, Instance

PROCESSES = 8
IMAGE = "1.2.840.10008.5.1.4.1.1.2"


def together(work: Callable[[Path, int, int], None], place: Path, count: int, processes: int = PROCESSES) -> None:
    """Run ``work(place, number, count)`` in several processes that start at one moment; all must end well."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    running = [context.Process(target=_run, args=(work, barrier, place, number, count)) for number in range(processes)]
    for process in running:
        process.start()
    for process in running:
        process.join(90)
    codes = [process.exitcode for process in running]
    for process in running:
        if process.is_alive():
            process.kill()
    assert codes == [0] * processes, f"exit codes {codes}"


def _run(work: Callable[[Path, int, int], None], barrier: object, place: Path, number: int, count: int) -> None:
    barrier.wait(60)  # type: ignore[attr-defined]  # a Barrier of the context has no public type
    work(place, number, count)


def instance(image: str, series: str = "1.2.3", study: str = "1.2", **tags: str) -> Instance:
    """A made-up instance; `tags` are of the patient P1 unless they say otherwise."""
    values = {"PatientID": "P1", "PatientName": "DOE^JANE", "Modality": "CT", **tags}
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": image}
    return Instance(UID(study), UID(series), UID(image), IMAGE, "1.2.840.10008.1.2.1", {**values, **uids})


def record(image: str, folder: str = "data/a/b/c", number: int = 1) -> ImageRecord:
    """A record of a file of the default image template."""
    return ImageRecord(UID(image), f"{folder}/{number:04d}-{image}.dcm", 10, "2026-11-22T10:00:00.123456Z")


def count_up(place: Path, _number: int, count: int) -> None:
    """Add one to a number in a table, `count` times; a marker proves that nobody else is in between."""
    marker = place / "inside"

    def change(table: dict[str, object]) -> dict[str, object]:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        marker.unlink()
        return {"n": int(str(table.get("n", 0))) + 1}

    for _ in range(count):
        tables.update_table(place / "n.json", place / ".locks" / "n.lock", change, timeout_s=60)


def add_studies(place: Path, number: int, count: int) -> None:
    """Record `count` studies of one patient, as a listener that has just found the BASEMOUNT."""
    database = Database.open_or_create(Layout.of_basemount(place))
    for index in range(count):
        study = f"1.2.{number}.{index}"
        database.add_headers(instance(f"{study}.1.1", f"{study}.1", study), database.layout.data / "x")


def add_images_everywhere(place: Path, number: int, count: int) -> None:
    """Record images of one series, half of them the ones that every other process records, too."""
    database = Database.open_or_create(Layout.of_basemount(place))
    for index in range(count):
        own, common = f"1.9.{number}.{index}", f"1.8.{index}"
        batch = [(instance(image), record(image)) for image in (own, common)]
        new = database.add_images(batch)
        assert new in (1, 2), new
        assert {own, common} <= database.images(UID("1.2.3")).keys()


def set_fields_and_keys(place: Path, number: int, count: int) -> None:
    """Set a field of one series table and a service entry per round, each of its own name."""
    layout = Layout.of_basemount(place)
    database, keys = Database.open_or_create(layout), ServiceKeys(layout)
    for index in range(count):
        database.set_series_fields(UID("1.2.3"), "push", {f"{number}-{index}": index})
        keys.set("cube", {f"{number}-{index}": {"url": "http://127.0.0.1/"}})


def append_to_each_log(place: Path, number: int, count: int) -> None:
    """Append to each log of one series, two lines at once; the second says which the first was."""
    database = Database.open_or_create(Layout.of_basemount(place))
    for index in range(count):
        for name in ("ledger", "digests", "conflicts"):
            lines = [
                {"by": number, "n": index, "of": 2 * part, "SOPInstanceUID": f"{number}.{index}"} for part in (0, 1)
            ]
            database.append_log(UID("1.2.3"), name, lines)


def append_to_a_full_disk(place: Path, _number: int, count: int) -> None:
    """Append and replace where files may have no more than `count` bytes: the write is cut in its middle."""
    log, table = place / "full.jsonl", place / "full.json"
    tables.append_lines(log, ['{"a": 1}'])
    tables.write_file(table, b"old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))
    assert refused(lambda: tables.append_lines(log, ["x" * count]))
    assert refused(lambda: tables.write_file(table, b"y" * count * 2))


def use_without_permission(place: Path, _number: int, _count: int) -> None:
    """Read and write as a user who may do neither."""
    assert filelock.__version__, "must be imported before the rights to read it are gone"
    if os.geteuid() == 0:
        os.seteuid(65534)
    layout = Layout.of_basemount(place)
    for attempt in (
        lambda: Database.open(layout),
        lambda: Database.open_or_create(layout),
        lambda: ServiceKeys(layout).set("cube", {"a": {"url": "http://127.0.0.1/"}}),
        lambda: tables.read_table(layout.format_file),
    ):
        assert "Permission denied" in refused(attempt)


def refused(attempt: Callable[[], object]) -> str:
    """The message of the DatabaseError, one line; empty if there was none."""
    try:
        attempt()
    except DatabaseError as error:
        return str(error).replace("\n", "")
    return ""
