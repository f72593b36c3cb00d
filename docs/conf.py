"""The documentation site: `make docs` builds it."""

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Gamekeeper"
copyright = "the Gamekeeper authors, Apache-2.0"  # noqa: A001
version = release = importlib.metadata.version("gamekeeper")

extensions = ["myst_parser", "sphinx_click", "commands", "generated", "repository"]
exclude_patterns = ["_ext", "tools"]
myst_heading_anchors = 4
highlight_language = "text"
smartquotes = False  # an option begins with two dashes
default_role = "code"  # in the helps of commands, which sphinx-click reads as reStructuredText

html_theme = "furo"
html_title = f"Gamekeeper {version}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
