"""The repository's pages and their fenced blocks.

A comment before a block says what the tests do with it: `<!-- runs -->` runs it to its end,
`<!-- runs beside -->` starts each of its lines and lets it run on until the page's end, and
`<!-- saves: model.py -->` writes it to that file.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "replay/sample/README.md"]
)

_BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<marker>runs|runs beside|saves: \S+) -->\n+(?P=indent))?"
    r"```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_MARKER = re.compile(r"^ *<!-- (?:runs|saves)", re.MULTILINE)
_ENDS = set("();<>|&")
_STANDS_FOR = {"NAME": "papernot", "HABIT": "retries"}
_WORDS = {"until", "do", "if", "then", "export", "$"}


class Block(NamedTuple):
    """A fenced block: its marker, if it has one, its language, its text."""

    marker: str
    language: str
    text: str


def text_of(page: str) -> str:
    """Read a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """Cut the fenced blocks out of a page."""
    found = [
        Block(block["marker"] or "", block["language"], block["text"])
        for block in _BLOCK.finditer(text_of(page))
    ]
    marked = sum(bool(block.marker) for block in found)
    assert marked == len(_MARKER.findall(text_of(page))), f"{page}: a marker stands before no block"
    return found


def command_lines(page: str) -> Iterator[list[str]]:
    """List the arguments of each `gamekeeper` command, in blocks and in running text."""
    lines = "".join(block.text for block in blocks(page) if block.language == "sh")
    prose = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    spans = [" ".join(each.split()) for each in re.findall(r"`(gamekeeper [^`]+)`", prose)]
    for line in [*lines.replace("\\\n", " ").splitlines(), *spans]:
        yield from _commands(line)


def _commands(line: str) -> Iterator[list[str]]:
    """Take a shell's line apart into the arguments of the `gamekeeper` commands in it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= _ENDS:
            if words[:1] == ["gamekeeper"]:
                yield [_STANDS_FOR.get(each, each) for each in words[1:] if each != "..."]
            words = []
        elif words or not (word in _WORDS or re.match(r"\w+=", word)):
            words.append(word)
