"""Parsers of the ``px-*`` commands, and ``--JSONargs``."""

from __future__ import annotations

import argparse
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from pypx.compat.legacy_help import SUMMARIES, program
from pypx.compat.legacy_options import ALIASES, OPTIONS, PASSED_OVER, Option
from pypx.errors import InputError
from pypx.model.plain import plain, shortened

_NOT_GIVEN = object()


class Parsed(NamedTuple):
    """Options by attribute name: all of them with defaults filled in, and the names of those that were given."""

    values: dict[str, Any]
    given: frozenset[str]


class _Parser(ArgumentParser):
    """As argparse has it, but what it repeats of a command line is options, not their values: these may be a patient's.

    Nor does it move a terminal's cursor, or fill it.
    """

    def error(self, message: str) -> NoReturn:
        super().error(shortened(plain(_without_values(message))))


def _without_values(message: str) -> str:
    words, colon, rest = message.partition(": ")
    if words == "unrecognized arguments":
        names = [word.partition("=")[0] for word in rest.split() if re.match("--?[A-Za-z]", word)]
        return f"{words}{colon}{' '.join(names)}" if names else f"{words}, without an option before them"
    return re.sub("^(ambiguous option: [^= ]*)=.*( could match )", r"\1\2", message, flags=re.DOTALL)


def make_parser(verb: str, description: str = "") -> ArgumentParser:
    """The parser of a verb, with pypx's defaults.

    Parameters
    ----------
    verb : ``find`` for px-find and so on
    description : shown by ``--help``
    """
    parser = _Parser(
        prog=program(verb),
        description=(description or SUMMARIES[verb]).replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option in OPTIONS[verb]:
        _add(parser, option)
    return parser


def _add(parser: ArgumentParser, option: Option) -> None:
    text = option.help.replace("%", "%%") or None
    if option.flag:
        parser.add_argument(*option.names, dest=option.dest, default=False, action="store_true", help=text)
    elif isinstance(option.default, tuple):
        parser.add_argument(*option.names, dest=option.dest, default=list(option.default), nargs="*", help=text)
    else:
        kind = type(option.default) if isinstance(option.default, int) else str
        parser.add_argument(
            *option.names, dest=option.dest, default=option.default, type=kind, metavar=option.dest, help=text
        )


def parse(verb: str, argv: Sequence[str]) -> Parsed:
    """Parse a command line; ``--JSONargs`` gives options too, and those given besides go first.

    Wrong usage ends the process with exit code 2 and the usage on stderr, as argparse does; px-repack passes over what
    it does not know.

    Raises
    ------
    InputError : ``--JSONargs`` is no JSON object of options
    """
    own = _parse_list(verb, argv)
    text = own.pop("JSONargString", _NOT_GIVEN)
    if isinstance(text, str) and text.strip():
        own = {**_parse_list(verb, arguments_of(_json_object(text))), **own}
    return Parsed({**_defaults(verb), **own}, frozenset(own))


def _defaults(verb: str) -> dict[str, Any]:
    """What the parser makes of an empty command line."""
    return {
        option.dest: list(option.default) if isinstance(option.default, tuple) else option.default
        for option in OPTIONS[verb]
    }


def _parse_list(verb: str, argv: Sequence[str]) -> dict[str, Any]:
    """Only what was given, by attribute name."""
    space = Namespace(**{option.dest: _NOT_GIVEN for option in OPTIONS[verb]})
    parser = make_parser(verb)
    words = _usual_spelling(verb, argv)
    if verb == "repack":
        parser.parse_known_args(words, space)
    else:
        parser.parse_args(words, space)
    return {name: value for name, value in vars(space).items() if value is not _NOT_GIVEN}


def _usual_spelling(verb: str, argv: Sequence[str]) -> list[str]:
    """The command line with other names of options replaced, and without those that never existed."""
    aliases = ALIASES.get(verb, {})
    known = {name for option in OPTIONS[verb] for name in option.names}
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in PASSED_OVER and name not in known:
            for _ in range(0 if equals else PASSED_OVER[name]):
                next(rest, None)
            continue
        words.append(f"{aliases.get(name, name)}{equals}{value}")
    return words


def _json_object(text: str) -> Mapping[str, Any]:
    from pypx.model.jsontext import JsonTextError, parse_json  # noqa: PLC0415 - for --JSONargs only

    try:
        found = parse_json(text)
    except JsonTextError as error:
        raise InputError(f"--JSONargs is not JSON ({error}); give an object of option names and values") from None
    if not isinstance(found, dict):
        raise InputError("--JSONargs: an object of option names and values is expected")
    return found


def arguments_of(values: Mapping[str, Any]) -> list[str]:
    """The command line that an object of options stands for; a flag is given by ``true`` and left out by ``false``."""
    import json  # noqa: PLC0415 - for --JSONargs only

    words = []
    for name, value in values.items():
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, Mapping):
            words.append(f"--{name}={json.dumps(value)}")
        elif isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        elif value is not False and value is not None:
            words.append(f"--{name}={value}")
    return words


def interpret(parser: ArgumentParser, *args: Sequence[str]) -> Namespace:
    """``parser_interpret``: parse the list given, or the command line of this process if none is."""
    return parser.parse_args(list(args[0]) if args else None)


def interpret_json(parser: ArgumentParser, d_JSONargs: Mapping[str, Any]) -> Namespace:
    """``parser_JSONinterpret``: parse an object of options."""
    return parser.parse_args(arguments_of(d_JSONargs))


def interpret_known(parser: ArgumentParser, *args: Sequence[str]) -> tuple[Namespace, list[str]]:
    """As :func:`interpret`, for px-repack: what it does not know comes back in a list."""
    return parser.parse_known_args(list(args[0]) if args else None)


def interpret_known_json(parser: ArgumentParser, d_JSONargs: Mapping[str, Any]) -> tuple[Namespace, list[str]]:
    """As :func:`interpret_json`, for px-repack."""
    return parser.parse_known_args(arguments_of(d_JSONargs))
