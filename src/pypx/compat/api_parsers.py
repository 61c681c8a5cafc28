"""``parser_setup`` of the modules of pypx 3: the parser of each px-* command."""

from __future__ import annotations

from argparse import ArgumentParser

from pypx.compat.legacy_parser import make_parser


def find_parser(str_desc: str = "") -> ArgumentParser:
    """The parser of px-find."""
    return make_parser("find", str_desc)


def do_parser(str_desc: str = "") -> ArgumentParser:
    """The parser of px-do."""
    return make_parser("do", str_desc)


def push_parser(str_desc: str = "") -> ArgumentParser:
    """The parser of px-push."""
    return make_parser("push", str_desc)


def register_parser(str_desc: str = "") -> ArgumentParser:
    """The parser of px-register."""
    return make_parser("register", str_desc)


def repack_parser(str_desc: str = "") -> ArgumentParser:
    """The parser of px-repack."""
    return make_parser("repack", str_desc)


def smdb_parser(str_desc: str = "") -> ArgumentParser:
    """The parser of px-smdb."""
    return make_parser("smdb", str_desc)
