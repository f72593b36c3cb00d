"""Text from outside as people may read it: names are whatever an account sent."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Escape what a terminal would act upon.

    >>> printable("café \x1b[2J")
    'café \\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
