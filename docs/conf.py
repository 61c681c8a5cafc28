"""Sphinx configuration; `sphinx-build -W docs docs/_build` must stay silent."""

from __future__ import annotations

from pypx import __version__

project = "px"
author = "The pypx developers"
copyright = author
version = release = __version__
extensions: list[str] = []
exclude_patterns = ["_build", "snippets", "tour"]
html_theme = "alabaster"
html_theme_options = {"description": "From a PACS to your disk", "fixed_sidebar": True}
nitpicky = True
