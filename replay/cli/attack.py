"""`gamekeeper attack`: an attack against a victim, recorded as a trace."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gamekeeper.replay.cli.entries import Catalogue, print_entries
from gamekeeper.replay.cli.options import GOES_ON, interruptible
from gamekeeper.replay.cli.reading import read_data
from gamekeeper.replay.theft import Listed
from gamekeeper.replay.theft.attacks import ATTACKS
from gamekeeper.replay.theft.attacks import attack as find_attack
from gamekeeper.replay.theft.options import describe
from gamekeeper.schemas.errors import SettingsError
from gamekeeper.schemas.event import DEFAULT_LIMITS
from gamekeeper.stream.cli.output import json_line, table_options, warn
from gamekeeper.stream.cli.progress import loading, progress

if TYPE_CHECKING:
    from gamekeeper.replay.theft import Start, Victim
    from gamekeeper.replay.theft.recording import Naming, Plan, Run

EXAMPLE = (
    "Example: gamekeeper attack {} --victim victim.safetensors --data sample --budget 500 "
    "--out stolen.parquet"
)
OPTIONS: list[click.Parameter] = [
    click.Option(
        ["--victim"],
        metavar="V",
        required=True,
        help="A file of `gamekeeper victim train`, or package.module:name: a torch module, which "
        "gets images as 0..1 with channels first, or a function of uint8 images that gives "
        "probabilities. The module is imported, from the working directory, too.",
    ),
    click.Option(
        ["--data"],
        metavar="DATA",
        multiple=True,
        required=True,
        help="Images like the victim's, with labels, as `gamekeeper victim train` takes them; "
        "repeatable.",
    ),
    click.Option(
        ["--pool"],
        metavar="DATA",
        multiple=True,
        help="Public images of the same shape; repeatable.  [default: the rest of --data]",
    ),
    click.Option(
        ["--budget"], type=click.IntRange(min=1), required=True, help="Queries of the attack."
    ),
    click.Option(
        ["--out"],
        type=click.Path(path_type=Path, dir_okay=False),
        required=True,
        help="The trace (Parquet). Beside it, until the end, what an interrupted run goes on from.",
    ),
    click.Option(
        ["--seeds"],
        type=click.IntRange(min=1),
        default=10,
        show_default=True,
        help="Natural images of each class that the thief starts with.",
    ),
    click.Option(
        ["--evasion", "evasions"],
        metavar="NAME",
        multiple=True,
        help="Hide in this way, see `gamekeeper evasion list`; repeatable, the outermost first.",
    ),
    click.Option(
        ["--set", "sets"],
        metavar="OPTION=VALUE",
        multiple=True,
        help="Set an option of the attack, or EVASION.OPTION=VALUE of an evasion; repeatable.",
    ),
    click.Option(
        ["--seed"],
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Of all that is drawn.",
    ),
    click.Option(
        ["--account"], default="thief", show_default=True, help="The thief's account in the trace."
    ),
    click.Option(
        ["--model"], help="The victim's name in the trace.  [default: that of its file or object]"
    ),
    click.Option(
        ["--rows"],
        type=click.IntRange(1, DEFAULT_LIMITS.max_rows),
        default=16,
        show_default=True,
        help="Rows of an event at most.",
    ),
    click.Option(
        ["--loot"],
        type=click.Path(path_type=Path, dir_okay=False),
        help="Also write what the thief has (npz): images, labels, probabilities, paid.",
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
    if name not in ATTACKS:
        find_attack(name)  # raises, with the names that there are
    entry = ATTACKS[name]
    return click.Command(
        name,
        callback=partial(_steal, name),
        params=OPTIONS,
        help=_help(entry),
        short_help=entry.summary,
        epilog=EXAMPLE.format(name),
    )


@click.group(
    cls=Catalogue,
    summaries={name: entry.summary for name, entry in ATTACKS.items()},
    make=_command,
    subcommand_metavar="NAME [ARGS]...",
    epilog="Example: gamekeeper attack papernot --victim victim.safetensors --data sample "
    "--budget 500 --out stolen.parquet",
)
def attack() -> None:
    """Steal from a victim as the papers' attackers do, and record it as a trace.

    `gamekeeper attack NAME --help` shows an attack's own options.
    """


@attack.command("list", epilog="Example: gamekeeper attack list --format json")
@table_options
def list_attacks(form: str) -> None:
    """List the attacks, with the papers' sections and options."""
    print_entries("attack", ATTACKS, form)


def _help(entry: Listed) -> str:
    """Write an attack's help: its docstring, where it is from, and its own options."""
    told = describe(entry)
    lines = [f"{name}={each.default}  {each.help}" for name, each in told.options.items()]
    own = (
        "\n\n".join(["Its options, for --set:", *lines]) if lines else "It has no options to --set."
    )
    going_on = "An interrupted attack goes on when the same command is given again."
    return "\n\n".join([told.doc, f"From {entry.paper}.", own, going_on])


@interruptible(GOES_ON)
def _steal(
    name: str,
    *,
    victim: str,
    data: tuple[str, ...],
    pool: tuple[str, ...],
    budget: int,
    out: Path,
    seeds: int,
    evasions: tuple[str, ...],
    sets: tuple[str, ...],
    seed: int,
    account: str,
    model: str | None,
    rows: int,
    loot: Path | None,
    form: str,
) -> None:
    with loading():  # none of these is needed to print help
        import numpy as np
        import torch

        from gamekeeper.replay.theft.recording import (
            Naming,
            Plan,
            asked,
            draw_start,
            tabulate,
            write_loot,
        )
        from gamekeeper.replay.theft.victims import classes_of, identity
        from gamekeeper.replay.theft.victims import victim as find_victim
        from gamekeeper.replay.tune.datasets import pixels
        from gamekeeper.schemas.tables import write_parquet

    torch.set_num_threads(1)  # sums are then added in one order, which going on depends on
    options = _options(sets)
    target = find_victim(victim)
    natural = read_data(data, seed=seed)
    public = read_data(pool, seed=seed) if pool else None
    classes = classes_of(target, pixels(natural.inputs[:1]))
    start = draw_start(natural, classes, seeds, np.random.default_rng(seed), public)
    digests = tuple(each.digest() for each in (natural, public) if each)
    plan = Plan(name, evasions, options, budget, seeds, seed, identity(victim), digests)
    journal = out.with_name(f"{out.name}.journal")
    run = _run(plan, target, start, journal)
    naming = Naming(account, out.stem, plan.kind)
    own = Path(victim).stem if Path(victim).exists() else victim.rpartition(":")[2]
    write_parquet(tabulate(asked(run.seen, naming, rows), model or own), out)
    if loot:
        write_loot(run.loot, loot)
    journal.unlink()
    told = _told(plan, run, naming)
    click.echo(json_line({"schema": 1, **told, "out": str(out)}) if form == "json" else _text(told))
    warn(f"the trace is {out}; what is caught of it: gamekeeper evaluate {out} --out results")


def _run(plan: Plan, target: Victim, start: Start, journal: Path) -> Run:
    from gamekeeper.replay.theft.recording import record

    if journal.exists():
        warn(f"going on with an interrupted attack, from {journal}")
    with progress() as bar:
        task = bar.add_task("queries", total=plan.budget)
        return record(plan, target, start, journal, lambda sent: bar.update(task, completed=sent))


def _options(sets: tuple[str, ...]) -> dict[str, str]:
    options = {}
    for each in sets:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise SettingsError(f"--set {each}: write OPTION=VALUE, or EVASION.OPTION=VALUE")
        options[name] = value
    return options


def _told(plan: Plan, run: Run, naming: Naming) -> dict[str, Any]:
    """Say what was sent and what the thief has."""
    requests = [each.request for each in run.seen]
    return {
        "kind": plan.kind,
        "plan": plan._asdict(),
        "queries": sum(len(each.images) for each in requests),
        "synthetic": sum(len(each.images) for each in requests if each.synthetic),
        "rounds": max((each.round for each in requests), default=0),
        "accounts": sorted({naming.of(each.account) for each in requests}),
        "labelled": len(run.loot.labels),
        "classes_seen": len(set(run.loot.labels.tolist())),
        "ended_early": run.over,
    }


def _text(told: dict[str, Any]) -> str:
    from gamekeeper.replay.tune.calibration.benign_lives import naming as listing

    lines = [
        f"{told['kind']}: {told['queries']} queries, {told['synthetic']} of them synthetic, in "
        f"{told['rounds']} rounds after the first, by {listing(told['accounts'])}",
        f"the thief has {told['labelled']} labelled images of {told['classes_seen']} classes",
    ]
    if told["ended_early"]:
        lines.append(f"he ended early: {told['ended_early']}")
    return "\n".join(lines)
