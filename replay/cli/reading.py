"""Data sets read for a command: with progress, and a word on what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.progress import TextColumn, TimeElapsedColumn

from gamekeeper.stream.cli.output import warn
from gamekeeper.stream.cli.progress import Count, progress

if TYPE_CHECKING:
    from gamekeeper.replay.tune.datasets import Dataset


def read_data(paths: Sequence[str], **options: Any) -> Dataset:
    """Load data as `load_dataset` does, and warn of rows that were left out."""
    from gamekeeper.replay.tune.datasets import load_dataset  # not needed to print help

    with progress(Count(), TextColumn("rows"), TimeElapsedColumn()) as bar:
        task = bar.add_task("reading", total=None)
        dataset = load_dataset(
            paths, **options, advance=lambda rows: bar.update(task, completed=rows)
        )
    if dataset.skipped:
        kinds = ", ".join(f"{kind} ({rows})" for kind, rows in sorted(dataset.skipped.items()))
        warn(f"left out: rows of accounts that are not benign: {kinds}")
    if dataset.repeated:
        warn(f"left out: {dataset.repeated} rows that repeat others")
    return dataset
