"""The directive `generated`: a page's tables, made from the code when the site is built."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from facts import FACTS


class Generated(SphinxDirective):
    """Put one of `FACTS` in place, such as `settings` or `detector similarity`."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the Markdown that the fact is."""
        name, *rest = self.arguments
        if name not in FACTS:
            raise self.error(f"no fact {name!r}; there are: {', '.join(FACTS)}")
        return self.parse_text_to_nodes(FACTS[name](*rest))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the directive."""
    app.add_directive("generated", Generated)
    return {"parallel_read_safe": True}
