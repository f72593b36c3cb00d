"""`gamekeeper bench`: the papers' tables on one's own data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from gamekeeper.replay.cli.benching import Attacks, Habits, Work
from gamekeeper.replay.cli.options import GOES_ON, interruptible, jobs_option, text_option
from gamekeeper.replay.cli.reading import read_data
from gamekeeper.replay.honest.catalog import HABITS
from gamekeeper.replay.theft.attacks import ATTACKS
from gamekeeper.replay.theft.evasions import EVASIONS
from gamekeeper.replay.tune.drawing import undrawn
from gamekeeper.schemas.errors import SettingsError, TraceError
from gamekeeper.stream.cli.output import (
    is_wide,
    json_line,
    print_table,
    print_text,
    warn,
    wide_option,
)
from gamekeeper.stream.cli.progress import loading, progress

if TYPE_CHECKING:
    from gamekeeper.replay.tune.processes import Advance

BENCHES = {
    "prada": "PRADA at the papers' thresholds",
    "prada-evasion": "what it costs to evade PRADA with dummy queries",
    "similarity": "similar pairs, against blinding and filtering, too",
    "likelihood": "likelihood, against the same attacks",
    "extraction": "what each attack steals",
    "combined": "all detectors at one promise, every attack under every evasion",
    "honest": "who is called a thief among customers who are none",
}
"""The benches with their lines in the help, which does not wait for what they import."""
PLAIN, HONEST = "plain", "honest"
IMAGE_HABITS = [name for name, entry in HABITS.items() if entry.takes != "rows"]
QUICK = {"accounts": 399, "life": 150, "epochs": 3, "networks": "small", "network_epochs": 1}
"""As small as four detectors can be at 1 %: a minute's version."""
QUICK_BUDGET, QUICK_RUNS, QUICK_ROWS = 150, 1, 4000
BUDGET, RUNS = 1000, 3
ACCOUNTS, QUICK_ACCOUNTS = 20, 2
"""Of each habit."""
_HELP = "\n".join(f"{name:14} {line}" for name, line in BENCHES.items())


@click.command(
    help=f"""Attack a model made from DATA, and measure what is caught, how soon, and what it costs.

DATA are labelled images as `gamekeeper train` takes them. They are cut into parts: one trains
the victim and the networks, one calibrates, one measures false alarms, one is the thieves'.
Where rows have groups (--group, or a trace's accounts), each calibration account draws from a
third of its part's. An interrupted bench goes on when the same command is given again, and
another NAME with the same --out uses what is there.

\b
{_HELP}
""",
    epilog="Example: gamekeeper bench combined sample --quick --attack papernot --out results",
)
@click.argument("name", metavar="NAME", type=click.Choice(list(BENCHES)))
@click.argument("data", metavar="DATA...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the results, and of all that a restart goes on from.",
)
@click.option(
    "--pool",
    multiple=True,
    metavar="DATA",
    help="Natural images that anybody can get; repeatable.  [default: the thieves' part of DATA]",
)
@click.option("--group", metavar="COLUMN", help="Never split rows of one value of this column.")
@click.option("--limit", type=click.IntRange(min=100), help="Use at most so many images.")
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    metavar="NAME",
    type=click.Choice(list(ATTACKS)),
    help="Only this; repeatable.",
)
@click.option(
    "--evasion",
    "evasions",
    multiple=True,
    metavar="NAME",
    type=click.Choice([PLAIN, *EVASIONS]),
    help="Only this, or `plain`; repeatable.",
)
@click.option(
    "--habit",
    "habits",
    multiple=True,
    metavar="NAME",
    type=click.Choice(IMAGE_HABITS),
    help="Of `honest`: only this; repeatable.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    help=f"Per cell, and accounts per habit.  [default: {RUNS}, and {ACCOUNTS}]",
)
@click.option(
    "--budget",
    type=click.IntRange(min=50),
    help=f"Images per attack, and per honest account.  [default: {BUDGET}]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn.")
@click.option("--quick", is_flag=True, help="Small networks, short lives, one run: a minute.")
@click.option("--so-far", is_flag=True, help="Attack no more: report what is done.")
@jobs_option
@text_option
@wide_option
@interruptible(GOES_ON)
def bench(
    name: str,
    data: tuple[str, ...],
    out: Path,
    pool: tuple[str, ...],
    group: str | None,
    limit: int | None,
    attacks: tuple[str, ...],
    evasions: tuple[str, ...],
    habits: tuple[str, ...],
    runs: int | None,
    budget: int | None,
    seed: int,
    quick: bool,
    so_far: bool,
    jobs: int | None,
    form: str,
) -> None:
    """Measure, and print the report."""
    with loading():  # none of these is needed to print help
        from gamekeeper.replay.theft.bench.claim import claim
        from gamekeeper.replay.theft.bench.parts import Part
        from gamekeeper.replay.theft.bench.setting import Sizes, prepare
        from gamekeeper.replay.tune.datasets import pixels
        from gamekeeper.replay.tune.evaluation import cores

    _refuse(name, attacks or evasions or pool, habits)
    sizes = msgspec.convert({**(QUICK if quick else {}), "seed": seed}, Sizes)
    asked = budget or (QUICK_BUDGET if quick else BUDGET)
    if name == HONEST:
        work: Work = Habits(out, habits, runs or (QUICK_ACCOUNTS if quick else ACCOUNTS), asked)
    else:
        work = Attacks(out, name, attacks, evasions, runs or (QUICK_RUNS if quick else RUNS), asked)
    if so_far and not work.there():
        raise SettingsError(f"{out} has no cells of --budget {asked} yet: leave --so-far out")
    jobs = jobs or cores()
    rows = limit or (QUICK_ROWS if quick else None)
    dataset = read_data(data, limit=rows, seed=seed, group=group)
    others = read_data(pool, limit=rows, seed=seed) if pool else None
    public = Part(pixels(others.inputs), others.labels) if others else None
    if public and public.images.shape[1:] != pixels(dataset.inputs[:1]).shape[1:]:
        raise TraceError(
            f"--pool has images of shape {public.images.shape[1:]}, which DATA has not: give "
            "images of one shape"
        )
    claim(out, dataset, others, sizes)
    with progress() as bar:
        task = bar.add_task("victim and networks", total=None)

        def tell(what: str) -> Advance:
            return lambda done, all_: bar.update(task, description=what, completed=done, total=all_)

        setting = prepare(out, dataset, sizes, jobs, tell("honest accounts"))
        if not so_far:
            work.do(setting, public, jobs, tell(work.what))
    told, written = work.report(setting)
    if reason := undrawn():
        warn(reason)
    if form == "json":
        click.echo(json_line({**told, "files": written}))
    else:
        _print(written[0].read_text(encoding="utf-8"))
        print_text("written: " + ", ".join(str(each) for each in written))


def _refuse(name: str, attacking: Sequence[str], habits: Sequence[str]) -> None:
    """Raise `SettingsError` where an option is of another bench."""
    if name == HONEST and attacking:
        raise SettingsError("bench honest has no thief: leave --attack, --evasion and --pool out")
    if name != HONEST and habits:
        raise SettingsError(f"--habit is of bench honest; bench {name} takes --attack")


def _print(report: str) -> None:
    """Print a report: its Markdown with --wide, else its text and tables as the terminal is."""
    if is_wide():
        click.echo(report)
        return
    for tabular, lines in groupby(report.splitlines(), lambda line: line.startswith("| ")):
        if tabular:
            head, _, *rows = (line[2:-2].split(" | ") for line in lines)
            print_table(head, rows)
        else:
            print_text("\n".join(lines))
