"""`gamekeeper evaluate`: traces to scores, verdicts and a table of rates."""

from __future__ import annotations

import signal
from pathlib import Path

import click
import msgspec

from gamekeeper.detectors.profile import Profile, default_profile, load_profile, override
from gamekeeper.replay.evaluate import BATCH, LifeResult, cores
from gamekeeper.replay.evaluate import evaluate as run_evaluation
from gamekeeper.replay.output import json_line, print_table, progress, warn
from gamekeeper.replay.report import DEFINITIONS, HEADINGS, Row, cells, tabulate


@click.command(
    epilog="Example: gamekeeper evaluate sample --out results --set prada.threshold=0.03"
)
@click.argument("traces", metavar="TRACE...", nargs=-1, required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the tables that are written.",
)
@click.option("--profile", type=click.Path(path_type=Path), help="A profile (JSON).")
@click.option(
    "--detector", "detectors", metavar="NAME", multiple=True, help="Run only this; repeatable."
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME.OPTION=VALUE",
    help="Set a detector's option or `threshold`, or the `policy`'s mode; repeatable.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: all cores]")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=BATCH,
    show_default=True,
    help="Queries scored at a time; results do not depend on it.",
)
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", help="How to print."
)
def evaluate(
    traces: tuple[str, ...],
    out: Path,
    profile: Path | None,
    detectors: tuple[str, ...],
    sets: tuple[str, ...],
    jobs: int | None,
    batch: int,
    form: str,
) -> None:
    """Score recorded traces as the service would, and measure what its alarms are worth.

    TRACE is a Parquet file, a folder of them, or the word `sample`: the trace that ships with
    Gamekeeper. Scores and verdicts go to OUT/scores and OUT/verdicts, which `gamekeeper sql`
    reads. Without a profile, hardened PRADA runs with its defaults.
    """
    if not traces:
        raise click.UsageError("name a trace, or the word `sample` for the one that ships")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stop ends the processes, too
    chosen = override(load_profile(profile) if profile else default_profile(), sets, detectors)
    results = _evaluate(traces, out, chosen, jobs or cores(), batch)
    rows = tabulate(results)
    if form == "json":
        click.echo(json_line(_document(traces, out, chosen, rows)))
    else:
        _print(chosen, rows, out)


def _evaluate(
    traces: tuple[str, ...], out: Path, profile: Profile, jobs: int, batch: int
) -> list[LifeResult]:
    with progress() as bar:
        task = bar.add_task("reading", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, description="queries", completed=done, total=total)

        return run_evaluation(traces, out, profile, jobs=jobs, batch=batch, advance=advance)


def _document(
    traces: tuple[str, ...], out: Path, profile: Profile, rows: list[Row]
) -> dict[str, object]:
    return {
        "schema": 1,
        "traces": list(traces),
        "out": str(out),
        "profile": {"hash": profile.hash, **msgspec.structs.asdict(profile)},
        "results": rows,
        "definitions": DEFINITIONS,
    }


def _print(profile: Profile, rows: list[Row], out: Path) -> None:
    print_table(HEADINGS, [cells(row) for row in rows])
    thresholds = ", ".join(f"{each.detector} > {each.threshold:g}" for each in profile.detectors)
    click.echo(f"profile {profile.name} ({profile.hash}), alarm when {thresholds}")
    promise = profile.promise
    if promise.alpha is not None:
        click.echo(
            f"its promise: at most {100 * promise.alpha:g} % of benign accounts ever alarm in "
            f"{promise.life} queries, calibrated on {promise.accounts} accounts"
        )
    for name in ("alarmed", "alarms_per_query", "chunk_fpr", "queries_to_detection"):
        click.echo(f"{name.replace('_', ' ')}: {DEFINITIONS[name]}")
    warn(f"scores and verdicts are in {out}; look with: gamekeeper sql --data {out}")
