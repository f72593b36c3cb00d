"""The site: it builds without a warning, and opens without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from repository import files, rewrite
from support.pages import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    strict = ["--quiet", "--fail-on-warning", "--nitpicky", "--keep-going"]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *strict, DOCS, folder], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_make_builds_it_in_the_same_way() -> None:
    """`make docs` asks for warnings as errors, too."""
    shown = subprocess.run(
        ["make", "--dry-run", "docs"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--fail-on-warning --nitpicky" in shown.stdout


def test_it_has_every_page_and_a_search(site: Path) -> None:
    """Each page of the folder is on the site; search works without a server."""
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert [page for page in pages if not (site / page).is_file()] == []
    assert (site / "searchindex.js").is_file()
    assert (site / "search.html").is_file()


def test_it_loads_nothing_from_a_network(site: Path) -> None:
    """Scripts, styles, fonts and pictures are all files of the site."""
    loads = re.compile(r"<(?:script|img|iframe|source)[^>]+src=\"(?:https?:)?//[^\"]+")
    styles = re.compile(r"<link[^>]+rel=\"stylesheet\"[^>]+href=\"(?:https?:)?//|@import|url\(http")
    for path in [*site.rglob("*.html"), *site.rglob("*.css"), *site.rglob("*.svg")]:
        text = path.read_text(encoding="utf-8")
        assert not loads.search(text), path
        assert not styles.search(text), path


def test_files_of_the_repository_are_pages() -> None:
    """The documents beside the code are on the site, and links to them lead to their pages."""
    pages = files(DOCS)
    assert {"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"} <= {path.name for path in pages}
    page = DOCS / "how-to/tap.md"
    assert rewrite("[a](../../SECURITY.md#b)", page, page, DOCS) == "[a](../project/security.md#b)"
    assert rewrite("[a](../../Makefile)", page, page, DOCS) == "a"
    assert rewrite("[a](serve.md)", page, page, DOCS) == "[a](serve.md)"
