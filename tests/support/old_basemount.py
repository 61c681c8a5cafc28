"""BASEMOUNTs as pypx 3 leaves them, with real images, and all that px says of one."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.model.keywords import Level
from pypx.model.packpath import PYPX_TEMPLATES
from pypx.workflows.migrate import Migration
from pypx.workflows.pushjobs import recorded_job
from pypx.workflows.pushlog import push_records
from pypx.workflows.pushplan import make_plan, recorded_folder, templates_for
from pypx.workflows.repack import repack
from pypx.workflows.search import search
from pypx.workflows.status import ref_of_series, series_status
from support.dicom import read
from support.golden import make_basemount

PACS = "BCH"
_CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod"}


def golden_tree(root: Path, images: Path) -> Layout:
    """The tables that pypx 3.6.2 made, and at their places the images they are of."""
    make_basemount(root)
    files = {str(read(path).SOPInstanceUID): path for path in images.rglob("*.dcm")}
    for image in (root / "data").rglob("*.dcm"):
        image.write_bytes(files[image.stem.partition("-")[2]].read_bytes())
    for path in (root / "log").rglob("*.dcm.json"):
        table = json.loads(path.read_text())
        for details in next(iter(table.values()))["imageObj"].values():
            details["size"] = Path(details["FSlocation"]).stat().st_size
        path.write_text(json.dumps(table, indent=4))
    return Layout.of_basemount(root)


def repacked_tree(root: Path, images: Path) -> Layout:
    """What px makes in format 3, as pypx would: without format.json."""
    layout = Layout.of_basemount(root)
    for _ in repack([images], Database.create(layout, format=3)):
        pass
    layout.format_file.unlink()
    return layout


def nameless_tree(root: Path, images: Path) -> Layout:
    """One whose records do not tell the UIDs of the images: pypx with another image template."""
    layout = Layout.of_basemount(root)
    templates = replace(PYPX_TEMPLATES, image="%_pad|4,0_InstanceNumber.dcm")
    for _ in repack([images], Database.create(layout, format=3, templates=templates)):
        pass
    for path in layout.series_dir.glob("*-img/*.json"):
        table = json.loads(path.read_text())
        del next(iter(table.values()))["SOPInstanceUID"]
        path.write_text(json.dumps(table, indent=4))
    return layout


def answers(layout: Layout) -> dict[str, Any]:
    """What status, search and a push (which names, in which order) say of a BASEMOUNT; a stand-in for a UID is masked."""
    database = Database.open(layout)
    said: dict[str, Any] = {"patients": list(database.patients()), "studies": list(database.studies())}
    said["search"] = list(search(database, {}, Level.SERIES))
    for series in database.series_uids():
        ref = ref_of_series(database, series)
        (status,) = series_status([ref], database)
        plan = make_plan(
            ref,
            recorded_job(status, database, partial=True).wanted,
            folder=recorded_folder(push_records(database, series), PACS),
            templates=templates_for(database),
            pacs_name=PACS,
            known={},
        )
        assert not plan.failures
        names = [(item.file.relative_to(layout.base), item.uid, item.name) for item in plan.items]
        said[series] = (asdict(status), names)
    return said


def migrate_all(root: Path) -> None:
    """Migrate to the end; run by another process."""
    for _ in Migration(Layout.of_basemount(root)).run():
        pass


def migrate_until(root: Path, steps: int) -> None:
    """Migrate, and be killed before the change number `steps` to the file system."""
    count = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event not in _CHANGES or (event == "open" and not _writes(arguments, root)):
            return
        count += 1
        if count == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    migrate_all(root)


def _writes(arguments: tuple[object, ...], root: Path) -> bool:
    path, _, flags = arguments
    written = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
    return written and str(path).startswith(str(root)) and ".locks" not in str(path)


TREES: dict[str, Callable[[Path, Path], Layout]] = {
    "golden": golden_tree, "repacked": repacked_tree, "nameless": nameless_tree,
}  # fmt: skip
