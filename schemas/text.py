"""Text that is shown with care: what comes from outside, and what is secret."""

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


class Secret(str):
    """A text that is never shown: clients log their configuration with `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Hide the text, say only whether there is one."""
        return "'***'" if self else "''"
