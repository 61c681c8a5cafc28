"""Import path of pypx 3: ``from pypx import smdb``, ``smdb.SMDB(args)``."""

from __future__ import annotations

from pypx.compat.api_parsers import smdb_parser as parser_setup
from pypx.compat.api_smdb import SMDB
from pypx.compat.legacy_parser import interpret as parser_interpret
from pypx.compat.legacy_parser import interpret_json as parser_JSONinterpret  # noqa: N812 - a name of pypx's

__all__ = ["SMDB", "parser_JSONinterpret", "parser_interpret", "parser_setup"]
