"""`gamekeeper habit`: accounts of honest customers, recorded as a trace."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gamekeeper.replay.cli.entries import Catalogue
from gamekeeper.replay.cli.options import interruptible
from gamekeeper.replay.cli.reading import read_data
from gamekeeper.replay.honest.catalog import FAMILIES, HABITS, Entry
from gamekeeper.replay.honest.catalog import habit as find_habit
from gamekeeper.replay.theft.options import describe
from gamekeeper.schemas.errors import SettingsError
from gamekeeper.schemas.event import DEFAULT_LIMITS
from gamekeeper.stream.cli.output import json_line, print_table, print_text, table_options, warn
from gamekeeper.stream.cli.progress import loading, progress

if TYPE_CHECKING:
    from gamekeeper.replay.honest import Own
    from gamekeeper.replay.honest.record import Plan
    from gamekeeper.replay.theft import Victim
    from gamekeeper.replay.theft.recording import Asked

EXAMPLE = (
    "Example: gamekeeper habit {} --victim victim.safetensors --data sample --accounts 2 "
    "--queries 100 --out honest.parquet"
)
OPTIONS: list[click.Parameter] = [
    click.Option(
        ["--victim"],
        metavar="V",
        required=True,
        help="The model that answers: a file of `gamekeeper victim train`, or package.module:name, "
        "as `gamekeeper attack` takes it; a function may take rows as well as images. The module "
        "is imported, from the working directory, too.",
    ),
    click.Option(
        ["--data"],
        metavar="DATA",
        multiple=True,
        required=True,
        help="What customers have, with labels, as `gamekeeper train` takes it; repeatable.",
    ),
    click.Option(
        ["--accounts"], type=click.IntRange(min=1), default=20, show_default=True, help="How many."
    ),
    click.Option(
        ["--queries"],
        type=click.IntRange(min=1),
        default=1000,
        show_default=True,
        help="Of each account.",
    ),
    click.Option(
        ["--out"],
        type=click.Path(path_type=Path, dir_okay=False),
        required=True,
        help="The trace (Parquet).",
    ),
    click.Option(
        ["--pause"],
        type=click.FloatRange(min=0.0),
        default=1.0,
        show_default=True,
        help="Seconds between two of an account's queries, in the mean.",
    ),
    click.Option(
        ["--set", "sets"],
        metavar="OPTION=VALUE",
        multiple=True,
        help="Set an option of the habit; repeatable.",
    ),
    click.Option(
        ["--seed"],
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Of all that is drawn.",
    ),
    click.Option(
        ["--model"],
        help="The model's name in the trace.  [default: that of its file or object]",
    ),
    click.Option(
        ["--rows"],
        type=click.IntRange(1, DEFAULT_LIMITS.max_rows),
        default=16,
        show_default=True,
        help="Rows of an event at most.",
    ),
    click.Option(
        ["--format", "form"],
        type=click.Choice(["text", "json"]),
        default="text",
        help="How to print.",
    ),
]


def _command(name: str) -> click.Command:
    """Make the command of one; raises `UnknownNameError`."""
    if name not in HABITS:
        find_habit(name)  # raises, with the names that there are
    entry = HABITS[name]
    return click.Command(
        name,
        callback=partial(_record, name),
        params=OPTIONS,
        help=_help(entry),
        short_help=entry.listed.summary,
        epilog=EXAMPLE.format(name),
    )


@click.group(
    cls=Catalogue,
    summaries={name: entry.listed.summary for name, entry in HABITS.items()},
    make=_command,
    subcommand_metavar="HABIT [ARGS]...",
    epilog="Example: gamekeeper habit retries --victim victim.safetensors --data sample "
    "--accounts 2 --queries 100 --out honest.parquet",
)
def habit() -> None:
    """Do what honest customers do who may look like thieves, and record it as a trace.

    Whoever calibrates with such traces, or verifies a profile with them, learns what it says of
    these customers. `gamekeeper habit HABIT --help` shows a habit's own options.
    """


@habit.command("list", epilog="Example: gamekeeper habit list --format json")
@table_options
def list_habits(form: str) -> None:
    """List the habits, with their families, the data that they take, and options."""
    rows = [
        (name, each.listed.summary, each.family, each.takes, _defaults(each))
        for name, each in HABITS.items()
    ]
    if form == "json":
        keys = ("habit", "summary", "family", "takes", "options")
        click.echo(json_line([dict(zip(keys, row, strict=True)) for row in rows]))
        return
    print_table(
        ("habit", "what it does", "family", "takes", "options"),
        [(*row, ", ".join(f"{name}={text}" for name, text in own.items())) for *row, own in rows],
        brief=("habit", "what it does", "family"),
    )


def _defaults(entry: Entry) -> dict[str, str]:
    options = describe(entry.listed).options
    return {name: option.default for name, option in options.items()}


def _help(entry: Entry) -> str:
    """Write a habit's help: its docstring, its family, and its own options."""
    lines = [f"{name}={default}" for name, default in _defaults(entry).items()]
    own = f"Its options, for --set: {', '.join(lines)}." if lines else "It has no options to --set."
    family = f"Its family: {entry.family}, {FAMILIES[entry.family]}."
    return "\n\n".join([describe(entry.listed).doc, family, own])


@interruptible("nothing is written; give the same command again")
def _record(
    name: str,
    *,
    victim: str,
    data: tuple[str, ...],
    accounts: int,
    queries: int,
    out: Path,
    pause: float,
    sets: tuple[str, ...],
    seed: int,
    model: str | None,
    rows: int,
    form: str,
) -> None:
    with loading():  # none of these is needed to print help
        import torch

        from gamekeeper.replay.honest import Own
        from gamekeeper.replay.honest.record import Plan, check
        from gamekeeper.replay.honest.record import describe as told
        from gamekeeper.replay.theft.recording import tabulate
        from gamekeeper.replay.theft.victims import victim as find_victim
        from gamekeeper.replay.tune.datasets import pixels
        from gamekeeper.schemas.tables import write_parquet

    torch.set_num_threads(1)  # sums in another order are other bits
    plan = Plan(name, accounts, queries, seed, pause, rows, dict(map(_option, sets)))
    answering = find_victim(victim)
    had = read_data(data, seed=seed)
    own = Own(had.inputs if had.inputs.ndim == 2 else pixels(had.inputs), had.labels)
    check(plan, own)
    events = _asked(plan, own, answering, out.stem)
    own_name = Path(victim).stem if Path(victim).exists() else victim.rpartition(":")[2]
    write_parquet(tabulate(events, model or own_name), out)
    if form == "json":
        click.echo(json_line({"schema": 1, **told(plan), "out": str(out)}))
    else:
        print_text(f"{name}: {accounts} accounts of {queries} queries each, all of them honest")
    warn(f"the trace is {out}; who is called a thief: gamekeeper evaluate {out} --out results")


def _asked(plan: Plan, own: Own, answering: Victim, trace: str) -> list[Asked]:
    from gamekeeper.replay.honest.record import asked

    events: list[Asked] = []
    with progress() as bar:
        task = bar.add_task("accounts", total=plan.accounts)
        for number in range(plan.accounts):
            events += asked(plan, own, answering, number, trace)
            bar.update(task, completed=number + 1)
    return events


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise SettingsError(f"--set {text}: write OPTION=VALUE")
    return name, value
