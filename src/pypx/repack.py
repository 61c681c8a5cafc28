"""Import path of pypx 3: ``from pypx import repack``, ``repack.Process(args)``."""

from __future__ import annotations

from pypx.compat.api_parsers import repack_parser as parser_setup
from pypx.compat.api_repack import Process, args_impedanceMatch
from pypx.compat.legacy_parser import interpret_known as parser_interpret
from pypx.compat.legacy_parser import interpret_known_json as parser_JSONinterpret  # noqa: N812 - a name of pypx's

__all__ = ["Process", "args_impedanceMatch", "parser_JSONinterpret", "parser_interpret", "parser_setup"]
