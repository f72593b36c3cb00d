"""`gamekeeper train`: benign data to the networks of a profile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from gamekeeper.replay.datasets.load import Dataset, load_dataset
from gamekeeper.replay.output import json_line, print_table, progress, warn
from gamekeeper.replay.training.figures import LEVELS
from gamekeeper.replay.training.loop import Step
from gamekeeper.replay.training.networks import FEATURES, Feature, Size
from gamekeeper.replay.training.train import REPORT, Report, Trained, TrainPlan
from gamekeeper.replay.training.train import train as run_training


@click.command(
    epilog="Example: gamekeeper train may.parquet --out networks --size small --limit 20000"
)
@click.argument("data", metavar="DATA...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the networks, their report and, until the end, what a restart needs.",
)
@click.option(
    "--only", type=click.Choice(FEATURES), help="Train only the network that makes this feature."
)
@click.option(
    "--size",
    type=click.Choice(["paper", "small"]),
    default=TrainPlan().size,
    show_default=True,
    help="The paper's widths, or small ones, some 2 MiB for 28x28 pixels.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=TrainPlan().epochs,
    show_default=True,
    help="At most so many for each phase.",
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=TrainPlan().held_out,
    show_default=True,
    help="Share of the rows that ends the training and is reported on.",
)
@click.option("--hardened", is_flag=True, help="Also train against small steps of an attack.")
@click.option("--limit", type=click.IntRange(min=4), help="Use at most so many distinct rows.")
@click.option("--model", help="Use the rows of this model.  [default: the traces' only one]")
@click.option(
    "--group", metavar="COLUMN", help="Never split rows of one value of this Parquet column."
)
@click.option(
    "--seed", type=int, default=TrainPlan().seed, show_default=True, help="Of all that is drawn."
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads of one core each.  [default: all cores]"
)
@click.option("--restart", is_flag=True, help="Discard an interrupted training in the folder.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print."
)
def train(
    data: tuple[str, ...],
    out: Path,
    only: Feature | None,
    size: Size,
    epochs: int,
    held_out: float,
    hardened: bool,
    limit: int | None,
    model: str | None,
    group: str | None,
    seed: int,
    threads: int | None,
    restart: bool,
    form: str,
) -> None:
    """Train the networks of the similarity and the likelihood detector on benign data.

    DATA are traces (or the word `sample`), of which the benign accounts are used, folders with one
    sub-folder of images per class, IDX files, npz with x and y, or Parquet with `label` and an
    encoded `image` or numbers. Images have sides of 8 to 64 pixels. An interrupted training goes
    on when the same command is given again.
    """
    plan = TrainPlan(
        features=(only,) if only else FEATURES,
        size=size,
        epochs=epochs,
        held_out=held_out,
        hardened=hardened,
        seed=seed,
    )
    if threads:
        torch.set_num_threads(threads)
    dataset = _load(data, limit=limit, seed=seed, model=model, group=group)
    _warn(dataset)
    report = _train(dataset, plan, out, restart)
    if form == "json":
        click.echo(json_line(report))
    else:
        _print(out, report)


def _load(data: Sequence[str], **options: Any) -> Dataset:
    with progress(TextColumn("{task.completed} rows")) as bar:
        task = bar.add_task("reading", total=None)
        return load_dataset(data, **options, advance=lambda rows: bar.update(task, completed=rows))


def _warn(dataset: Dataset) -> None:
    if dataset.skipped:
        kinds = ", ".join(f"{kind} ({rows})" for kind, rows in sorted(dataset.skipped.items()))
        warn(f"left out: rows of accounts that are not benign: {kinds}")
    if dataset.repeated:
        warn(f"left out: {dataset.repeated} rows that repeat others")


def _train(dataset: Dataset, plan: TrainPlan, out: Path, restart: bool) -> Report:
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with progress(*columns, TextColumn("held-out loss {task.fields[loss]}")) as bar:
        task = bar.add_task("epochs", total=plan.epochs, loss="")

        def advance(step: Step) -> None:
            bar.update(
                task,
                description=step.phase,
                completed=step.done,
                total=step.total,
                loss=f"{step.loss:.4g}",
            )

        return run_training(dataset, plan, out, advance, restart=restart)


def _print(out: Path, report: Report) -> None:
    parts = report.split
    click.echo(
        f"trained on {parts['train']} rows, measured on {parts['held_out']} held out "
        f"({parts['how']}); {parts['seen']}"
    )
    for network in report.networks:
        click.echo(f"{out / network.file}, {network.size:,} bytes:")
        print_table(("held out", "value"), _values(network))
        print_table(("quantiles of", *map(str, LEVELS)), _quantiles(network))
    click.echo(f"all figures are in {out / REPORT}")


def _values(network: Trained) -> Iterator[tuple[str, Any]]:
    for phase, losses in network.losses.items():
        yield f"epochs of phase {phase}", len(losses)
    for name, value in network.figures.items():
        words = name.replace("_", " ")
        if not isinstance(value, dict):
            yield words, value
        elif name == "near":
            yield from ((f"{words}, {key}", each) for key, each in value.items())


def _quantiles(network: Trained) -> Iterator[tuple[Any, ...]]:
    for name, value in network.figures.items():
        if isinstance(value, dict) and name != "near":
            yield name.replace("_", " "), *value.values()
