"""Data sets read for a command: with progress, and a word on what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.progress import TextColumn

from gamekeeper.replay.tune.datasets import Dataset, load_dataset
from gamekeeper.stream.cli.output import progress, warn


def read_data(paths: Sequence[str], **options: Any) -> Dataset:
    """Load data as `load_dataset` does, and warn of rows that were left out."""
    with progress(TextColumn("{task.completed} rows")) as bar:
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
