"""Pages that are files of the repository, and links to files that are no pages.

A page whose source is `<!-- file: ../SECURITY.md -->` is that file. Links are written so that they
lead somewhere in the repository, too; on the site, those to such files lead to their pages, and
those to other files outside the documentation become plain text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

_FILE = re.compile(r"\A<!-- file: (\S+) -->\s*\Z")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def files(docs: Path) -> dict[Path, Path]:
    """Find the pages that are files of the repository: file -> page."""
    found = {}
    for page in docs.rglob("*.md"):
        named = _FILE.match(page.read_text())
        if named:
            found[(page.parent / named[1]).resolve()] = page
    return found


def rewrite(text: str, source: Path, page: Path, docs: Path) -> str:
    """Turn the links of `source`, shown as `page`, into links of the site."""
    pages = files(docs)

    def replaced(link: re.Match[str]) -> str:
        label, target, anchor = link[1], (source.parent / link[2]).resolve(), link[3] or ""
        target = pages.get(target, target)
        if target.is_relative_to(docs) or not target.exists():
            return f"[{label}]({os.path.relpath(target, page.parent)}{anchor})"
        return label

    return _LINK.sub(replaced, text)


def read(app: Sphinx, docname: str, content: list[str]) -> None:
    """Put the file in place of its page, and mend the links."""
    docs = Path(app.srcdir).resolve()
    page = source = Path(app.env.doc2path(docname)).resolve()
    named = _FILE.match(content[0])
    if named:
        source = (page.parent / named[1]).resolve()
        app.env.note_dependency(str(source))
        content[0] = source.read_text()
    content[0] = rewrite(content[0], source, page, docs)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Listen for sources."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
