"""`gamekeeper evaluate`: traces to scores, verdicts and a table of rates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gamekeeper.replay.cli.options import detector_option, jobs_option
from gamekeeper.replay.tune.drawing import undrawn
from gamekeeper.stream.cli.output import json_line, print_table, print_text, table_options, warn
from gamekeeper.stream.cli.progress import progress

if TYPE_CHECKING:
    import pyarrow as pa

    from gamekeeper.detectors.engine import Profile
    from gamekeeper.replay.tune.evaluation import LifeResult, Row

BRIEF = (
    *("detector", "traffic", "alarmed (95 % interval)", "chunk FPR"),
    *("to detection, median", "worst"),
)
SWEEP_BRIEF = (
    *("detector", "if false alarms are at most", "alarm above"),
    *("ever alarmed (95 % interval)", "caught", "to detection, median"),
)


class Swept(NamedTuple):
    """A sweep's table and the plots that were drawn of it."""

    table: pa.Table
    plots: list[Path]


@click.command(epilog="Example: gamekeeper evaluate sample --out results --sweep")
@click.argument("traces", metavar="TRACE...", nargs=-1, required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the tables that are written.",
)
@click.option("--profile", type=click.Path(path_type=Path), help="A profile (JSON).")
@detector_option
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME.OPTION=VALUE",
    help="Set a detector's option or `threshold`, or the `policy`'s mode; repeatable.",
)
@click.option(
    "--sweep", is_flag=True, help="Try every threshold, too: OUT/sweep.parquet and OUT/plots."
)
@jobs_option
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Queries scored at a time; results do not depend on it.",
)
@table_options
def evaluate(
    traces: tuple[str, ...],
    out: Path,
    profile: Path | None,
    detectors: tuple[str, ...],
    sets: tuple[str, ...],
    sweep: bool,
    jobs: int | None,
    batch: int,
    form: str,
) -> None:
    """Score recorded traces as the service would, and measure what its alarms are worth.

    TRACE is a Parquet file, a folder of them, or the word `sample`: the trace that ships with
    Gamekeeper. Scores and verdicts go to OUT/scores and OUT/verdicts, which `gamekeeper sql`
    reads. Without a profile, hardened PRADA runs with its defaults. --sweep shows what each
    threshold would have done to these accounts; to be promised a rate, use `gamekeeper calibrate`.
    """
    if not traces:
        raise click.UsageError("name a trace, or the word `sample` for the one that ships")
    from gamekeeper.detectors.engine import override  # none of these is needed to print help
    from gamekeeper.replay.tune.calibration import open_profile
    from gamekeeper.replay.tune.evaluation import cores
    from gamekeeper.replay.tune.evaluation.report import tabulate
    from gamekeeper.replay.tune.evaluation.sweep import check, clear

    opened, networks = open_profile(profile)
    chosen = override(opened, sets, detectors)
    if sweep:
        check(chosen)
    clear(out)
    results = _evaluate(traces, out, chosen, networks, jobs or cores(), batch)
    rows = tabulate(results)
    swept = _sweep(out, chosen) if sweep else None
    if swept and (reason := undrawn()):
        warn(reason)
    if form == "json":
        click.echo(json_line(_document(traces, out, chosen, rows, swept)))
    else:
        _print(chosen, rows, out)
        if swept:
            _print_sweep(swept, out)


def _evaluate(
    traces: tuple[str, ...], out: Path, profile: Profile, networks: Path, jobs: int, batch: int
) -> list[LifeResult]:
    from gamekeeper.replay.tune.evaluation import evaluate as run_evaluation

    with progress() as bar:
        task = bar.add_task("reading", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, description="queries", completed=done, total=total)

        return run_evaluation(
            traces, out, profile, networks=networks, jobs=jobs, batch=batch, advance=advance
        )


def _sweep(out: Path, profile: Profile) -> Swept:
    from gamekeeper.replay.tune.evaluation.sweep import sweep as run_sweep

    with progress() as bar:
        task = bar.add_task("thresholds", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        table = run_sweep(out, profile, advance)
        if undrawn():
            return Swept(table, [])
        bar.update(task, description="plots", total=None, completed=0)
        from gamekeeper.replay.tune.plots import plot  # Altair takes a while to load

        return Swept(table, plot(out, profile, table, advance))


def _document(
    traces: tuple[str, ...], out: Path, profile: Profile, rows: list[Row], swept: Swept | None
) -> dict[str, Any]:
    from gamekeeper.replay.tune.calibration import document
    from gamekeeper.replay.tune.evaluation import DEFINITIONS
    from gamekeeper.replay.tune.evaluation.sweep import COLUMNS, FILE, choices

    told: dict[str, Any] = {
        "schema": 1,
        "traces": list(traces),
        "out": str(out),
        "profile": document(profile),
        "results": rows,
        "definitions": DEFINITIONS,
    }
    if swept:
        told["sweep"] = {
            "file": str(out / FILE),
            "rows": len(swept.table),
            "columns": COLUMNS,
            "plots": list(map(str, swept.plots)),
            "choices": [choice.document() for choice in choices(swept.table)],
        }
    return told


def _print(profile: Profile, rows: list[Row], out: Path) -> None:
    from gamekeeper.replay.tune.evaluation import DEFINITIONS
    from gamekeeper.replay.tune.evaluation.report import HEADINGS, cells

    print_table(HEADINGS, [cells(row) for row in rows], brief=BRIEF)
    rules = [
        f"{each.detector} > {each.threshold:g}"
        for each in profile.detectors
        if each.threshold is not None
    ]
    print_text(f"profile {profile.name} ({profile.hash}), alarm when {', '.join(rules) or 'never'}")
    for each in profile.detectors:
        if each.threshold is None and each.detector in profile.read:
            print_text(f"{each.detector}: no alarm of its own: another detector reads it")
        elif each.threshold is None:
            print_text(
                f"{each.detector}: no alarm: no threshold; `gamekeeper calibrate` chooses one"
            )
    promise = profile.promise
    if promise.alpha is not None:
        print_text(
            f"its promise: at most {100 * promise.alpha:g} % of benign accounts ever alarm in "
            f"{promise.life} queries, calibrated on {promise.accounts} accounts"
        )
    for name in ("alarmed", "alarms_per_query", "chunk_fpr", "queries_to_detection"):
        print_text(f"{name.replace('_', ' ')}: {DEFINITIONS[name]}")
    warn(f"scores and verdicts are in {out}; look with: gamekeeper sql --data {out}")


def _print_sweep(swept: Swept, out: Path) -> None:
    from gamekeeper.replay.tune.evaluation.sweep import FILE, HEADINGS, PLOTS, cells, choices

    title = "\nother thresholds, on the same accounts"
    rows = [cells(each) for each in choices(swept.table)]
    print_table(HEADINGS, rows, title, brief=SWEEP_BRIEF)
    print_text(
        "chosen by the accounts they are measured on, these promise nothing: gamekeeper calibrate"
    )
    plots = f", plots (PNG and HTML) are in {out / PLOTS}" if swept.plots else ""
    warn(f"every threshold is in {out / FILE}{plots}")
