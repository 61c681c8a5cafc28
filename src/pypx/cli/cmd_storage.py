"""``px storage``: objects of a store by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from pypx.cli import options, store_options
from pypx.cli.console import Console
from pypx.cli.verbs import spread_verbosity
from pypx.errors import InputError, PxError, StorageError
from pypx.model.plain import brief

if TYPE_CHECKING:
    from pypx.db.layout import Layout
    from pypx.workflows.objects import Moved
    from pypx.workflows.pushtarget import TargetWords

F = TypeVar("F", bound=Callable[..., object])

_CODES = (0, 2)
_EPILOG = options.epilog(
    """
    px storage ls SERVICES/PACS --swift chris
    px storage put report.pdf notes/report.pdf --swift chris
    px storage get SERVICES/PACS/HOSPITAL copy/ --storeBaseLocation /mnt/store
    px storage rm notes -r --swift chris
    px storage --swift chris --do '{"action": "ls", "args": {"path": "SERVICES/PACS"}}'
    """,
    *_CODES,
    _1="px storage exists: there is no such object",
    _3="some objects failed, the others are done",
    _30="the store cannot be used, or all failed",
)  # fmt: skip


class StorageGroup(click.Group):
    """The group ``px storage``, which also takes pfstorage's ``--do``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let ``-v`` stand with or without its number."""
        return super().parse_args(ctx, spread_verbosity(args))


def _places(function: F) -> F:
    """Give the command ``said`` and ``layout``: which store, and where named ones are kept."""
    return store_options.store(options.layout(required=False)(function))


@click.group("storage", cls=StorageGroup, invoke_without_command=True, epilog=_EPILOG)
@click.option("--do", "do", metavar="JSON", help='pfstorage\'s form: {"action": NAME, "args": {...}}.')
@_places
@options.output(jsonl=False)
@click.pass_context
def command(ctx: click.Context, /, *, do: str | None, said: TargetWords, layout: Layout | None, out: Console) -> int:
    """List, put, get and remove objects of a store: Swift, S3, or a directory.

    Names have no leading slash. A folder is a name and all below it, part by part: s1 is never s10. pfstorage's form
    (--do) prints pfstorage's documents: ls, objPut, objPull, rmtree, objExists.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    if not do:
        raise InputError("nothing to do: px storage --help names the sub-commands")
    from pypx.compat.storage_json import parse_action, run_action

    action = parse_action(do)
    if action.is_push:
        raise InputError("--do: objPut with packEachDICOM is a push; px push does it, and pfstorage as it was")
    document = run_action(action, store_options.opened_store(said, layout, out))
    out.document(document)
    if document.get("status") or ("ls" in document and "lsError" not in document):
        return 0
    out.note(str(next((document[key] for key in ("error", "lsError") if document.get(key)), "nothing was done")))
    return StorageError.exit_code


@command.command(
    "ls",
    cls=options.PxCommand,
    short_help="List objects.",
    epilog=options.epilog("px storage ls SERVICES/PACS/HOSPITAL --swift chris --jsonl", *_CODES, _30="no answer"),
)
@click.argument("path", default="", metavar="[PATH]")
@click.option("--substr", "substring", default="", metavar="TEXT", help="Only objects with this text in their name.")
@_places
@options.output()
def ls(path: str, substring: str, said: TargetWords, layout: Layout | None, out: Console) -> None:
    """List the object PATH and all objects below it; without PATH all there are."""
    from dataclasses import asdict

    from pypx.workflows.objects import list_objects

    found = map(asdict, list_objects(store_options.opened_store(said, layout, out), path, substring))
    if out.json:
        objects = list(found)
        out.document({"status": bool(objects), "ls": objects})
    elif out.jsonl:
        for item in found:
            out.record(item)
    else:
        objects = list(found)
        out.table(["bytes", "last_modified", "name"], ([i["bytes"], i["last_modified"], i["name"]] for i in objects))
        if not objects:
            out.note(f"there is nothing at {brief(path) or '/'}")


_jobs = click.option(
    "--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="How many objects at once."
)


@command.command(
    "put",
    cls=options.PxCommand,
    short_help="Store files.",
    epilog=options.epilog(
        "px storage put photos/ archive/photos --swift chris", *_CODES, _3="some failed", _30="all failed"
    ),
)
@click.argument("local", type=click.Path(path_type=Path))
@click.argument("name")
@_jobs
@_places
@options.output()
def put(local: Path, name: str, *, jobs: int, said: TargetWords, layout: Layout | None, out: Console) -> None:
    """Store the file LOCAL as NAME (NAME/: in it), or all files of the directory LOCAL below NAME.

    What is there and equal is not sent again.
    """
    from pypx.workflows.objects import put_objects, put_pairs

    target = f"{name}{local.name}" if name.endswith("/") and not local.is_dir() else name
    pairs = put_pairs(local, target)
    store = store_options.opened_store(said, layout, out, jobs=jobs)
    _show(out.each(put_objects(store, pairs, jobs=jobs), "files", len(pairs)), str(local), "stored", out)


@command.command(
    "get",
    cls=options.PxCommand,
    short_help="Fetch objects.",
    epilog=options.epilog(
        "px storage get SERVICES/PACS/HOSPITAL copy/ --swift chris", *_CODES, _3="some failed", _30="all failed"
    ),
)
@click.argument("name")
@click.argument("local", type=click.Path(path_type=Path))
@_jobs
@_places
@options.output()
def get(name: str, local: Path, *, jobs: int, said: TargetWords, layout: Layout | None, out: Console) -> None:
    """Fetch the object NAME as the file LOCAL, or all objects below NAME into the directory LOCAL.

    Each file appears whole, by rename, after its checksum was compared.
    """
    from pypx.workflows.objects import get_objects

    store = store_options.opened_store(said, layout, out, jobs=jobs)
    _show(out.each(get_objects(store, name, local, jobs=jobs), "files"), str(local), "fetched", out)


@command.command(
    "rm",
    cls=options.PxCommand,
    short_help="Remove objects.",
    epilog=options.epilog("px storage rm notes -r --swift chris", *_CODES, _3="some failed", _30="all failed"),
)
@click.argument("name")
@click.option("-r", "--recursive", "recursive", is_flag=True, help="Also all objects below it, part by part.")
@_jobs
@_places
@options.output()
def rm(name: str, *, recursive: bool, jobs: int, said: TargetWords, layout: Layout | None, out: Console) -> None:
    """Remove the object NAME; with -r also all objects below it. With s1 never what is in s10."""
    from pypx.services.storage import clean_name
    from pypx.workflows.objects import Moved, object_exists, remove_objects

    store = store_options.opened_store(said, layout, out, jobs=jobs)
    if recursive:
        removed = list(out.each(remove_objects(store, name, jobs=jobs), "objects"))
        if not removed:
            raise InputError(f"{store}: there is nothing at {brief(name)}")
    else:
        if not object_exists(store, name):
            below = next(iter(store.walk(clean_name(name))), None)
            raise InputError(f"{store}: {brief(name)} is {'a folder; rm -r removes it' if below else 'no object'}")
        store.delete(clean_name(name))
        removed = [Moved(Path(), clean_name(name), sent=True)]
    _show(removed, "", "removed", out)


@command.command(
    "exists",
    cls=options.PxCommand,
    short_help="Say whether there is an object of this name.",
    epilog=options.epilog("px storage exists notes/a.txt --swift chris", *_CODES, _1="it does not", _30="no answer"),
)
@click.argument("name")
@_places
@options.output(jsonl=False)
def exists(name: str, said: TargetWords, layout: Layout | None, out: Console) -> int:
    """Say whether there is an object of exactly this NAME; a folder is none."""
    from pypx.workflows.objects import object_exists

    store = store_options.opened_store(said, layout, out)
    found = object_exists(store, name)
    if out.json:
        out.document({"status": True, "objExists": found})
    else:
        out.line(f"{name}: {'there' if found else 'not there'}")
    return 0 if found else PxError.exit_code


def _show(moved: Iterable[Moved], local: str, word: str, out: Console) -> None:
    """Show what became of each object; raise if not all is well."""
    from pypx.cli.store_records import moved_record
    from pypx.compat.storage_json import moved_document
    from pypx.workflows.objects import check_moved

    results: list[Moved] = []
    with out.failing(PxError, lambda _error: moved_document(results, local) | {"status": False}):
        for one in moved:
            results.append(one)
            if out.jsonl:
                out.record(moved_record(one))
            elif not out.json and one.error is None:
                out.line(one.name if one.sent else f"{one.name} (was there, and equal)")
            if one.error is not None:
                out.note(one.error)
        check_moved(results)
    if out.json:
        out.document(moved_document(results, local))
    out.note(f"{sum(1 for one in results if one.sent)} of {len(results)} objects {word}")
