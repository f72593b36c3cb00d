"""`gamekeeper victim`: models to attack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gamekeeper.replay.cli.options import text_option
from gamekeeper.replay.cli.reading import read_data
from gamekeeper.stream.cli.output import json_line, print_table, print_text, wide_option
from gamekeeper.stream.cli.progress import loading, progress

if TYPE_CHECKING:
    from gamekeeper.replay.theft.victims import VictimPlan, VictimReport


@click.group(epilog="Example: gamekeeper victim train sample --out victim.safetensors --epochs 5")
def victim() -> None:
    """Make models that `gamekeeper attack` steals from."""


@victim.command(
    epilog="Example: gamekeeper victim train mnist.parquet --out victim.safetensors --epochs 20"
)
@click.argument("data", metavar="DATA...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The victim's file (safetensors).",
)
@click.option(
    "--layers",
    type=click.Choice(["mnist", "gtsrb"]),
    default="mnist",
    show_default=True,
    help="The network of PRADA's MNIST or GTSRB model.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=100, show_default=True)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of the rows that is not trained on, but reported on.",
)
@click.option("--limit", type=click.IntRange(min=4), help="Use at most so many distinct rows.")
@click.option("--model", help="Use the rows of this model.  [default: the traces' only one]")
@click.option(
    "--group", metavar="COLUMN", help="Never split rows of one value of this Parquet column."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of all that is drawn.",
)
@text_option
@wide_option
def train(
    data: tuple[str, ...],
    out: Path,
    layers: str,
    epochs: int,
    held_out: float,
    limit: int | None,
    model: str | None,
    group: str | None,
    seed: int,
    form: str,
) -> None:
    """Train an image classifier as a victim, and report its accuracy.

    It is measured on rows held out. DATA are traces (or the word `sample`), of which the benign
    accounts' queries and the labels that they were answered are used, folders with one sub-folder
    of images per class, IDX files, npz with x and y, or Parquet with `label` and an encoded
    `image`.
    """
    with loading():  # none of these is needed to print help
        from gamekeeper.replay.theft.victims import (
            VictimPlan,
            train_victim,
            write_victim,
        )

    dataset = read_data(data, limit=limit, seed=seed, model=model, group=group)
    plan = VictimPlan(layers, epochs, held_out, seed)
    with progress() as bar:
        task = bar.add_task("epochs", total=epochs)
        trained, report = train_victim(dataset, plan, lambda done: bar.update(task, completed=done))
    write_victim(trained, out)
    if form == "json":
        click.echo(json_line(_document(out, plan, report)))
    else:
        _print(out, report)


def _document(out: Path, plan: VictimPlan, report: VictimReport) -> dict[str, Any]:
    return {
        "schema": 1,
        "out": str(out),
        "plan": plan._asdict(),
        **report._asdict(),
        "architecture": report.architecture._asdict(),
        "classes": [each._asdict() for each in report.classes],
    }


def _print(out: Path, report: VictimReport) -> None:
    print_table(
        ("class", "held out", "correct", "share"),
        [
            (each.name, each.rows, each.correct, f"{each.correct / each.rows:.1%}")
            for each in report.classes
            if each.rows
        ],
    )
    print_text(
        f"trained on {report.trained} rows; {report.accuracy:.1%} of {report.held_out} held out "
        f"({report.how}) are right"
    )
    print_text(f"the victim is {out}; steal it with:")
    click.echo(f"  gamekeeper attack papernot --victim {out} ...")  # to be copied: in one line
