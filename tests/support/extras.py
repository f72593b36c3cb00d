"""What an extra brings, and an interpreter that has only that."""

from __future__ import annotations

import importlib.metadata
import re
import sys

from packaging.requirements import Requirement

HIDING = """
import sys

class Blind:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, *places):
        hidden = name.partition(".")[0] in {hidden}
        return None if hidden else self.finder.find_spec(name, *places)

sys.meta_path[:] = map(Blind, sys.meta_path)
"""


def name_of(requirement: str) -> str:
    """Cut a requirement down to its normalised distribution name."""
    name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def brought_by(*extras: str) -> set[str]:
    """Name all distributions that `pip install 'gamekeeper[EXTRAS]'` brings."""
    brought: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [("gamekeeper", frozenset(extras))]
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        name, wanted = each
        for requirement in map(Requirement, importlib.metadata.requires(name) or []):
            marker = requirement.marker
            if any(not marker or marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
                brought.add(name_of(requirement.name))
                waiting.append((requirement.name, frozenset(requirement.extras)))
    return brought - {"gamekeeper"}


def only(*extras: str) -> str:
    """Give code that hides from an interpreter every module that these extras do not bring."""
    there = brought_by(*extras)
    hidden = [
        module
        for module, distributions in importlib.metadata.packages_distributions().items()
        if module != "gamekeeper"
        and module not in sys.stdlib_module_names
        and not there & {name_of(each) for each in distributions}
    ]
    return HIDING.format(hidden=sorted(hidden))
