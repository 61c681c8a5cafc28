"""Import path of pypx 3: ``from pypx.push import Push, parser_setup``."""

from __future__ import annotations

from pypx.compat.api import Push
from pypx.compat.api_parsers import push_parser as parser_setup
from pypx.compat.legacy_parser import interpret as parser_interpret
from pypx.compat.legacy_parser import interpret_json as parser_JSONinterpret  # noqa: N812 - a name of pypx's

__all__ = ["Push", "parser_JSONinterpret", "parser_interpret", "parser_setup"]
