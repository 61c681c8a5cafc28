"""The documents say what px does: every command, every option shown, every exit code, every help text."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from pypx import __version__, errors
from pypx.cli.main import px
from pypx.cli.verbs import COMMANDS
from pypx.services.dicomfile import keyword_info

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.rst"
PAGES = sorted(DOCS.rglob("*.rst"))
SHELL = {"|", "<", ">", ">>", "&", "&&", ";"}


def literal_lines(text: str) -> Iterator[str]:
    """Yield the lines of the literal blocks of a reStructuredText document."""
    for line in text.splitlines():
        if line.startswith("    ") and not line.strip().startswith(".. "):
            yield line.strip()


def literals(text: str) -> Iterator[str]:
    """Yield inline literals and the lines of literal blocks."""
    yield from re.findall(r"``([^`]+)``", text)
    yield from literal_lines(text)


def calls(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of px in a shell line."""
    line = re.sub(r"<\(([^)]*)\)", r"; \1", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    for is_shell, group in itertools.groupby(words, lambda word: word in SHELL):
        part = list(group)
        if part[:1] == ["$"]:
            part = part[1:]
        if not is_shell and part[:1] == ["px"] and len(part) > 1 and part[1] in COMMANDS:
            yield part[1:]


def shown_calls(path: Path) -> Iterator[list[str]]:
    """Yield each call of px that a document shows in a block."""
    for line in literal_lines(path.read_text(encoding="utf-8")):
        if re.match(r"(\$ |export |source |echo )?.*\bpx [a-z]+", line) and "--->" not in line and "-->" not in line:
            yield from calls(line)


def command_named(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that `words` call and the arguments left for it."""
    command: click.Command = px
    context = click.Context(px, info_name="px")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        below = command.get_command(context, words[0])
        if below is None:
            break
        command, context, words = below, click.Context(below, parent=context, info_name=words[0]), words[1:]
    return command, words


def generate_help() -> ModuleType:
    """Load docs/generate_help.py."""
    spec = importlib.util.spec_from_file_location("generate_help", DOCS / "generate_help.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_names_every_command_and_no_other() -> None:
    words = {word for literal in literals(README.read_text()) for word in re.findall(r"\bpx ([a-z]+)\b", literal)}
    assert words == set(COMMANDS)


def test_the_readme_shows_the_two_commands_on_its_first_screen() -> None:
    first_screen = README.read_text().splitlines()[:20]
    assert any(line.strip().startswith("./workflow.sh") for line in first_screen)
    assert any(line.strip().startswith("./tests/run.sh") for line in first_screen)


def test_local_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"<([^<>]+)>`_", README.read_text())
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_page_in_the_index(name: str) -> None:
    assert f"\n   {name}\n" in (DOCS / "commands" / "index.rst").read_text()
    assert f"_help/{name}.txt" in (DOCS / "commands" / f"{name}.rst").read_text()


def test_the_help_in_the_documents_is_that_of_the_commands() -> None:
    module = generate_help()
    assert module.differing(module.texts()) == [], "run: python docs/generate_help.py"


@pytest.mark.parametrize("path", [README, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_shown_exists(path: Path) -> None:
    for words in shown_calls(path):
        command, arguments = command_named(list(words))
        known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help", "-h"}
        for word in arguments:
            name = word.partition("=")[0]
            if not name.startswith("--") or name in known:
                continue
            assert words[0] in {"find", "smdb"}, f"{path.name}: px {shlex.join(words)}: no option {name}"
            assert keyword_info(name[2:]).keyword == name[2:]


def test_the_check_of_shown_options_sees_the_examples() -> None:
    shown = list(shown_calls(README))
    assert len(shown) > 15
    assert {words[0] for words in shown} == set(COMMANDS)


def exit_codes() -> set[int]:
    """Return the exit code of each error class of px."""
    classes = [errors.PxError]
    for known in classes:
        classes.extend(known.__subclasses__())
    return {known.exit_code for known in classes}


@pytest.mark.parametrize("path", [README, DOCS / "exit-codes.rst"], ids=lambda path: path.name)
def test_every_exit_code_is_documented(path: Path) -> None:
    rows = re.findall(r"^(\d[\d, ]*?)  +\S", path.read_text(), re.MULTILINE)
    documented = {int(code) for row in rows for code in row.split(",")}
    assert exit_codes() | {0, 70, 130} <= documented


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## {__version__} " in (ROOT / "CHANGELOG.md").read_text()
