"""Which format a BASEMOUNT has, and the path templates that belong to it: ``log/format.json``.

Format 4 is px's own.  Format 3 is that of pypx 3: tables under ``log/`` without a ``format.json``, or one that says so.
"""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pypx.db.files import locked, make_dirs, os_errors, read_bytes, write_file
from pypx.db.layout import SECRET, Layout, Modes, Share
from pypx.db.tables import dump, read_table
from pypx.errors import DatabaseError, InputError
from pypx.model.dataclass import dataclass
from pypx.model.packpath import DEFAULT_TEMPLATES, PYPX_PUSH_TEMPLATES, PYPX_TEMPLATES, Templates


@dataclass(frozen=True, slots=True)
class Format:
    """The number of the format, 3 or 4, and the four path templates of a BASEMOUNT.

    `push_templates` make the names of objects: those of px-push where pypx made the BASEMOUNT, also when migrated.
    `share`: whom new directories and files are made for.
    """

    number: int
    templates: Templates
    push_templates: Templates
    share: Share = Share.GROUP

    @property
    def modes(self) -> Modes:
        """Permissions of new directories and files."""
        return Modes.of(self.share)


FRESH = Format(4, DEFAULT_TEMPLATES, DEFAULT_TEMPLATES)
"""What a BASEMOUNT becomes unless somebody asks for something else."""


def read_format(layout: Layout) -> Format | None:
    """The format of an existing BASEMOUNT, ``None`` if there is none yet (pypx's empty directories are none).

    Raises
    ------
    DatabaseError : unreadable, or of a format that this px does not know
    """
    table = read_table(layout.format_file)
    if table is not None:
        return _parsed(layout.format_file, table)
    if any(map(_holds_tables, (layout.patient_dir, layout.study_dir, layout.series_dir))):
        return Format(3, PYPX_TEMPLATES, PYPX_PUSH_TEMPLATES)
    return None


def _parsed(path: Path, table: dict[str, Any]) -> Format:
    number = table.get("format")
    if type(number) is not int or number not in (3, 4):
        raise DatabaseError(f"{path}: format {number!r} is unknown to this px (3 and 4 are); update px")
    try:
        templates = _templates(table.get("templates", asdict(default_templates(number))))
        pushed = table.get("push_templates")
        pushing = push_templates(number, templates) if pushed is None else _templates(pushed)
    except (AttributeError, InputError, TypeError) as error:
        raise DatabaseError(f"{path}: the templates cannot be used ({error}); restore this file") from None
    try:
        return Format(number, templates, pushing, Share(table.get("share", Share.GROUP.value)))
    except ValueError:
        words = ", ".join(share.value for share in Share)
        raise DatabaseError(f"{path}: its share is none of {words}; restore this file") from None


def _templates(table: dict[str, Any]) -> Templates:
    return Templates(**{part: str(text) for part, text in table.items()})


def default_templates(number: int) -> Templates:
    """The templates of a new BASEMOUNT of format 3 or 4."""
    return PYPX_TEMPLATES if number == 3 else DEFAULT_TEMPLATES


def push_templates(number: int, templates: Templates) -> Templates:
    """The templates of object names in a BASEMOUNT of format 3 or 4 whose own are `templates`."""
    return PYPX_PUSH_TEMPLATES if number == 3 else templates


def _holds_tables(directory: Path) -> bool:
    with os_errors("read", directory):
        try:
            with os.scandir(directory) as entries:
                return any(not entry.name.startswith(".") for entry in entries)
        except FileNotFoundError:
            return False


def make_format(layout: Layout, wanted: Format) -> Format:
    """Make a BASEMOUNT of the format `wanted`, unless it exists.

    Returns
    -------
    The format it has now, which an existing one keeps

    Raises
    ------
    DatabaseError : it cannot be created, or may not be written to
    """
    found = read_format(layout)
    if found is None:
        modes = wanted.modes
        with locked(layout.lock("format", ""), modes=modes):
            found = read_format(layout)
            if found is None:
                for directory in (layout.patient_dir, layout.study_dir, layout.series_dir, layout.data):
                    make_dirs(directory, modes.directory)
                make_dirs(layout.services, SECRET.directory)
                table = {"format": wanted.number, "templates": asdict(wanted.templates)}
                if wanted.share is not Share.GROUP:
                    table["share"] = wanted.share.value
                write_file(layout.format_file, dump(table), modes.file)
                return wanted
    check_writable(layout)
    return found


def set_share(layout: Layout, share: Share) -> Format:
    """Let what is made in an existing BASEMOUNT from now on be for `share`; what is there stays as it is.

    A process that has opened the BASEMOUNT before, such as a listener, goes on as before until it is started again.

    Returns
    -------
    The format it has now

    Raises
    ------
    DatabaseError : it cannot be read or written
    """
    modes = Modes.of(share)
    with locked(layout.lock("format", ""), modes=modes):
        found = read_format(layout) or FRESH
        table = read_table(layout.format_file) or {"format": found.number, "templates": asdict(found.templates)}
        write_file(layout.format_file, dump({**table, "share": share.value}), modes.file)
        return replace(found, share=share)


def lift_format(layout: Layout) -> Format:
    """Make a BASEMOUNT of format 3 one of format 4 that keeps its templates; its image records are lifted before.

    What ``format.json`` said before, if there was one, is kept in ``log/.format3/``.

    Returns
    -------
    The format it has now

    Raises
    ------
    DatabaseError : it cannot be written
    """
    with locked(layout.lock("format", ""), modes=layout.modes):
        found = read_format(layout) or FRESH
        if found.number == 3:
            before = read_bytes(layout.format_file)
            if before is not None:
                make_dirs(layout.format3, layout.modes.directory)
                write_file(layout.format3 / layout.format_file.name, before, layout.modes.file)
            found = replace(found, number=4)
            templates = {"templates": asdict(found.templates), "push_templates": asdict(found.push_templates)}
            others = read_table(layout.format_file) or {}
            write_file(layout.format_file, dump({**others, "format": found.number, **templates}), layout.modes.file)
        return found


def check_writable(layout: Layout) -> None:
    """Raise a DatabaseError if this user may not write to the tables."""
    for directory in (layout.log, layout.patient_dir, layout.study_dir, layout.series_dir):
        if os.path.isdir(directory) and not os.access(directory, os.W_OK | os.X_OK):  # noqa: PTH112 - see make_dirs
            raise DatabaseError(
                f"{directory}: may not be written to; run px as the owner of the BASEMOUNT, or mount it for writing"
            )
