"""`gamekeeper train`: benign data to the networks of a profile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gamekeeper.replay.cli.options import GOES_ON, interruptible, text_option
from gamekeeper.replay.cli.reading import read_data
from gamekeeper.stream.cli.output import json_line, print_table, print_text, wide_option
from gamekeeper.stream.cli.progress import Count, loading, progress

if TYPE_CHECKING:
    from gamekeeper.replay.tune.datasets import Dataset
    from gamekeeper.replay.tune.training import (
        Feature,
        Report,
        Score,
        Size,
        Step,
        Trained,
        TrainPlan,
    )

FEATURES: tuple[Feature, ...] = ("embedding", "log_likelihood", "ood")
SCORES: tuple[Score, ...] = ("binary", "msp", "odin", "mahalanobis")


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
    default="paper",
    show_default=True,
    help="The paper's widths, or small ones, some 2 MiB for 28x28 pixels.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="At most so many for each phase.",
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.15,
    show_default=True,
    help="Share of the rows that ends the training and is reported on.",
)
@click.option(
    "--outliers",
    metavar="DATA",
    multiple=True,
    help="Images of other sets, to tell the data from; also trains ood; repeatable.",
)
@click.option(
    "--ood-score",
    type=click.Choice(SCORES),
    help="How ood is scored; all but binary take no outliers.  [default: binary]",
)
@click.option("--hardened", is_flag=True, help="Also train against small steps of an attack.")
@click.option("--limit", type=click.IntRange(min=4), help="Use at most so many distinct rows.")
@click.option("--model", help="Use the rows of this model.  [default: the traces' only one]")
@click.option(
    "--group", metavar="COLUMN", help="Never split rows of one value of this Parquet column."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads of one core each.  [default: all cores]"
)
@click.option("--restart", is_flag=True, help="Discard an interrupted training in the folder.")
@text_option
@wide_option
@interruptible(GOES_ON)
def train(
    data: tuple[str, ...],
    out: Path,
    only: Feature | None,
    size: Size,
    epochs: int,
    held_out: float,
    outliers: tuple[str, ...],
    ood_score: Score | None,
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

    With --outliers, --ood-score or --only ood, that of the ood detector, too. DATA, and the
    outliers, are traces (or the word `sample`), of which the benign accounts are used, folders with
    one sub-folder of images per class, IDX files, npz with x and y, or Parquet with `label` and an
    encoded `image` or numbers. Images have sides of 8 to 64 pixels. An interrupted training goes
    on when the same command is given again.
    """
    ood = bool(outliers or ood_score)
    if ood and only not in (None, "ood"):
        raise click.UsageError(f"--outliers and --ood-score are for ood, not for --only {only}")
    with loading():  # none of these is needed to print help
        import torch

        from gamekeeper.replay.tune.training import TrainPlan

    usual = TrainPlan()
    plan = TrainPlan(
        features=(only,) if only else FEATURES if ood else usual.features,
        size=size,
        epochs=epochs,
        held_out=held_out,
        hardened=hardened,
        ood_score=ood_score or usual.ood_score,
        seed=seed,
    )
    if threads:
        torch.set_num_threads(threads)
    dataset = read_data(data, limit=limit, seed=seed, model=model, group=group)
    others = read_data(outliers, limit=limit, seed=seed, model=model) if outliers else None
    report = _train(dataset, others, plan, out, restart)
    if form == "json":
        click.echo(json_line(report))
    else:
        _print(out, report)


def _train(
    dataset: Dataset, outliers: Dataset | None, plan: TrainPlan, out: Path, restart: bool
) -> Report:
    from gamekeeper.replay.tune.training import train as run_training

    columns = BarColumn(), Count(), TimeElapsedColumn(), TimeRemainingColumn()
    with progress(*columns, TextColumn("{task.fields[loss]}")) as bar:
        task = bar.add_task("epochs", total=plan.epochs, loss="")

        def advance(step: Step) -> None:
            bar.update(
                task,
                description=step.phase,
                completed=step.done,
                total=step.total,
                loss=f"held-out loss {step.loss:.4g}",
            )

        return run_training(dataset, plan, out, advance, outliers=outliers, restart=restart)


def _print(out: Path, report: Report) -> None:
    from gamekeeper.replay.tune.training import LEVELS, REPORT

    parts = report.split
    print_text(
        f"trained on {parts['train']} rows, measured on {parts['held_out']} held out\n"
        f"({parts['how']}); {parts['seen']}"
    )
    for network in report.networks:
        print_text(f"{out / network.file}, {network.size:,} bytes:")
        print_table(("held out", "value"), _values(network))
        print_table(("quantiles of", *map(str, LEVELS)), _quantiles(network))
    print_text(f"all figures are in {out / REPORT}")


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
