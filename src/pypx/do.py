"""Import path of pypx 3: ``from pypx.do import Do, parser_setup``."""

from __future__ import annotations

from pypx.compat.api import Do
from pypx.compat.api_parsers import do_parser as parser_setup
from pypx.compat.legacy_parser import interpret as parser_interpret
from pypx.compat.legacy_parser import interpret_json as parser_JSONinterpret  # noqa: N812 - a name of pypx's

__all__ = ["Do", "parser_JSONinterpret", "parser_interpret", "parser_setup"]
