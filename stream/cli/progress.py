"""How far a command is, on stderr: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from gamekeeper.schemas.text import printable
from gamekeeper.stream.cli.output import warn

EVERY: Final = 10.0
"""Seconds between two lines of progress, where stderr is no terminal."""


def progress(*columns: ProgressColumn) -> Display:
    """Make a progress display on stderr; without columns it has a bar, a count and times."""
    usual = BarColumn(), Count(), TimeElapsedColumn(), TimeRemainingColumn()
    return Display(
        TextColumn("{task.description}"),
        *(columns or usual),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


@contextmanager
def loading() -> Iterator[None]:
    """Show that libraries are being loaded: PyTorch takes seconds."""
    with progress(TimeElapsedColumn()) as bar:
        bar.add_task("loading", total=None)
        yield


class Count(ProgressColumn):
    """How many of how many, as far as either is known."""

    def render(self, task: Task) -> Text:
        """Say it."""
        if task.total is None:
            return Text(f"{task.completed:.0f}" if task.completed else "")
        return Text(f"{task.completed:.0f} of {task.total:.0f}")


class Display(Progress):
    """Progress that is drawn on a terminal, and elsewhere told by a line every ten seconds.

    The lines come from a thread: what takes long may be one call that tells nothing.
    """

    def start(self) -> None:
        """Begin to show it."""
        super().start()
        self._ended = threading.Event()
        self._teller = threading.Thread(target=self._tell, daemon=True)
        if self.disable:
            self._teller.start()

    def stop(self) -> None:
        """Show it no longer."""
        self._ended.set()
        if self._teller.is_alive():
            self._teller.join()
        super().stop()

    def _tell(self) -> None:
        while not self._ended.wait(EVERY):
            for line in self.lines():
                warn(line)

    def lines(self) -> Iterator[str]:
        """Say in words where each task stands."""
        for task in self.tasks:
            told = [each for each in self.columns if isinstance(each, Count | TextColumn)]
            words = " ".join(filter(None, (str(each(task)) for each in told)))
            left = task.time_remaining
            soon = f", some {left:.0f} s left" if left else ""
            yield printable(f"{words}, {task.elapsed or 0:.0f} s{soon}")
