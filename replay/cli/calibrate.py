"""`gamekeeper calibrate`: benign traces to a profile whose thresholds carry a promise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.progress import TimeElapsedColumn

from gamekeeper.replay.cli.feedback import document as heeded_document
from gamekeeper.replay.cli.feedback import feedback_of, feedback_option, say_heeded
from gamekeeper.replay.cli.options import GOES_ON, detector_option, interruptible, jobs_option
from gamekeeper.replay.cli.promising import beyond_option, print_later
from gamekeeper.schemas.text import printable
from gamekeeper.stream.cli.output import json_line, print_table, print_text, table_options, warn
from gamekeeper.stream.cli.progress import Count, progress

if TYPE_CHECKING:
    from gamekeeper.detectors.engine import DetectorProfile
    from gamekeeper.replay.tune.calibration import Calibration, Feedback, Maxima, Plan

NAMED = 10
"""Accounts that look contaminated which are named one by one."""


@click.command(
    epilog="Example: gamekeeper calibrate may.parquet --networks nets --out digits.json --life 2000"
)
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The profile that is written (JSON); it is named after the file.",
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="Take detectors, options, networks and policy from it.",
)
@click.option(
    "--networks",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder that `gamekeeper train` wrote; similarity, likelihood and ood use its networks.",
)
@detector_option
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME.OPTION=VALUE",
    help="Set a detector's option, or the `policy`'s mode; repeatable.",
)
@click.option("--model", help="The model to calibrate for.  [default: the traces' only one]")
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="Share of benign accounts that may ever alarm, by all detectors together.",
)
@click.option(
    "--life",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Queries over which the promise holds; shorter accounts are left out.",
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of the accounts that measures the promise instead of making it.",
)
@beyond_option
@click.option(
    "--per-million",
    type=click.FloatRange(0, min_open=True),
    help="First alarms that there may be per million queries after that life.  [default: any]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split.")
@click.option("--exclude", metavar="ACCOUNT", multiple=True, help="Leave it out; repeatable.")
@click.option(
    "--exclude-kind", metavar="KIND", multiple=True, help="Leave out an attack's kind; repeatable."
)
@feedback_option
@jobs_option
@table_options
@interruptible(GOES_ON)
def calibrate(
    traces: tuple[str, ...],
    out: Path,
    profile: Path | None,
    networks: Path | None,
    detectors: tuple[str, ...],
    sets: tuple[str, ...],
    model: str | None,
    alpha: float,
    life: int,
    held_out: float,
    beyond: int | None,
    per_million: float | None,
    seed: int,
    exclude: tuple[str, ...],
    exclude_kind: tuple[str, ...],
    feedback: Path | None,
    jobs: int | None,
    form: str,
) -> None:
    """Choose thresholds on benign traffic, and say what false-alarm rate they promise.

    TRACE is a Parquet file, a folder of them, or the word `sample`; accounts of no stated kind are
    taken for benign. Each account gives the largest statistic of its first LIFE queries; the
    threshold is high enough among those that at most ALPHA of such accounts ever alarm. What too
    few or too short accounts cannot carry is refused. Accounts held out then measure the rate,
    and how often they alarm after these queries. Interrupted, the same command goes on.
    `--detector likelihood` fits its density to a fifth of the accounts where inputs are vectors and
    no --networks are given.
    """
    if networks and profile:
        raise click.UsageError("give --networks or --profile, not both")
    from gamekeeper.replay.tune.calibration import (  # none of these is needed to print help
        Journal,
        Plan,
        lacks_density,
        start,
        write_profile,
    )
    from gamekeeper.replay.tune.calibration import calibrate as run_calibration
    from gamekeeper.replay.tune.evaluation import cores

    heard = feedback_of(feedback)
    trained: tuple[str, ...] = ()
    with TemporaryDirectory(prefix="gamekeeper-density-") as folder:
        if not networks and not profile and lacks_density(detectors):
            networks = Path(folder)
            trained = _density(traces, networks, model, life, exclude, exclude_kind, heard, seed)
        begun = start(out, profile=profile, networks=networks, detectors=detectors, sets=sets)
    plan = Plan(
        alpha=alpha,
        life=life,
        held_out=held_out,
        beyond=beyond,
        per_million=per_million,
        seed=seed,
        model=model,
        exclude=exclude,
        exclude_kinds=exclude_kind,
        fitted=begun.fitted,
        trained=trained,
    )
    journal = Journal(out, begun.drawn)
    with progress() as bar:
        task = bar.add_task("reading", total=None)

        def stage(what: str) -> None:
            bar.reset(task, description=what, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        result = run_calibration(
            traces,
            begun.profile,
            plan,
            name=out.stem,
            networks=begun.networks,
            feedback=heard,
            jobs=jobs or cores(),
            journal=journal,
            stage=stage,
            advance=advance,
        )
    write_profile(result.profile, out)
    journal.close()
    if journal.recalled:
        warn(f"went on: an earlier run of this command had scored {journal.recalled} accounts")
    _warn(result, plan)
    if form == "json":
        click.echo(json_line(_document(traces, out, plan, result)))
    else:
        _print(out, result)


def _density(
    traces: Sequence[str],
    out: Path,
    model: str | None,
    life: int,
    exclude: Sequence[str],
    exclude_kinds: Sequence[str],
    feedback: Feedback,
    seed: int,
) -> tuple[str, ...]:
    """Fit a density to some accounts' vectors; name them, and say what they are for."""
    from gamekeeper.replay.tune.calibration.benign_lives import naming
    from gamekeeper.schemas.errors import ProfileError

    with progress(Count(), TimeElapsedColumn()) as bar:
        bar.add_task("fitting a density", total=None)
        try:
            from gamekeeper.replay.tune.training import fit_own_density  # brings torch

            accounts = fit_own_density(
                traces,
                out,
                model=model,
                life=life,
                exclude=exclude,
                exclude_kinds=exclude_kinds,
                feedback=feedback,
                seed=seed,
            )
        except ImportError as error:
            raise ProfileError(
                f"likelihood without --networks fits a density, which takes {error.name}: "
                "pip install 'gamekeeper[train]'"
            ) from error
    warn(
        f"no --networks: a density was fitted to {len(accounts)} accounts, which calibrate nothing "
        f"more: {naming(accounts)}"
    )
    return accounts


def _warn(result: Calibration, plan: Plan) -> None:
    from gamekeeper.replay.tune.calibration import contamination, exchangeability
    from gamekeeper.replay.tune.calibration.benign_lives import naming

    say_heeded(result.heeded)
    if result.short:
        names = naming([life.account for life in result.short])
        warn(
            f"left out: {len(result.short)} accounts do not reach {plan.life} queries and say "
            f"nothing about such a life: {names}"
        )
    if result.repeated:
        warn(
            f"in several traces, where each counts as an account of its own: "
            f"{naming(result.repeated)}; if they are the same customers, fewer independent "
            "accounts carry the promise than it says"
        )
    for each in result.suspects[:NAMED]:
        account = printable(each.life.account)
        warn(
            f"looks contaminated: account {account} of {printable(each.life.trace)}: its largest "
            f"{each.detector} is {each.maximum:.4g}, the median of its peers {each.median:.4g} "
            f"({each.deviations:.1f} robust standard deviations); it was used; look into it, and "
            f"leave it out with --exclude {account} if it is no honest one"
        )
    if len(result.suspects) > NAMED:
        others = len(result.suspects) - NAMED
        warn(
            f"{others} more look contaminated, less so (--format json has all): so many are hardly "
            "thieves; where accounts have unlike habits, give each kind a trace of its own"
        )
    if result.suspects:
        warn(f"the rule: {contamination.RULE}")
    if result.taught:
        read = ", ".join(sorted(result.profile.read))
        warn(
            f"{len(result.taught)} accounts taught novelty's habits and calibrate nothing more; "
            f"{read} carry no threshold of their own, as novelty reads them"
        )
    for different in result.unlike:
        warn(
            f"population {printable(different.population)} is unlike the others: the median of its "
            f"{different.detector} is {_median(different.median)}, theirs "
            f"{_median(different.others)} (probability {different.probability:.2g} if they were "
            "alike); the promise is about this mix of accounts, and of its share: by itself it "
            "alarms at another rate, which the figures by population measure"
        )
    if result.unlike:
        warn(f"the rule: {exchangeability.RULE}")
    if not result.measured:
        warn("no account was held out: the promise is not measured")


def _median(maximum: float) -> str:
    return "none (never ready)" if math.isinf(maximum) else f"{maximum:.4g}"


def _document(
    traces: tuple[str, ...], out: Path, plan: Plan, result: Calibration
) -> dict[str, object]:
    from gamekeeper.replay.tune.calibration import (
        contamination,
        document,
        exchangeability,
        false_alarms,
    )

    return {
        "schema": 1,
        "traces": list(traces),
        "out": str(out),
        "plan": msgspec.structs.asdict(plan),
        "profile": document(result.profile),
        "ranks": result.ranks,
        "measured": [false_alarms.document(row) for row in result.measured],
        "beyond": [msgspec.structs.asdict(row) for row in result.later],
        "suspects": [
            {"account": each.life.account, "population": each.life.trace}
            | {key: value for key, value in each._asdict().items() if key != "life"}
            for each in result.suspects
        ],
        "suspicion": contamination.RULE,
        "unlike": [each._asdict() for each in result.unlike],
        "likeness": exchangeability.RULE,
        "short": [life.account for life in result.short],
        "repeated": result.repeated,
        "taught": [life.account for life in result.taught],
        "feedback": heeded_document(result.heeded),
        "accounts": _accounts(result.calibration, "calibration")
        + _accounts(result.held_out, "held out"),
    }


def _accounts(accounts: list[Maxima], side: str) -> list[dict[str, Any]]:
    """List each account's maxima; minus infinity, never ready, becomes null."""
    return [
        {
            "account": each.life.account,
            "population": each.life.trace,
            "side": side,
            "queries": each.life.queries,
            "maxima": each.maxima,
        }
        for each in accounts
    ]


def _which(result: Calibration, detector: DetectorProfile) -> str:
    name = detector.detector
    place, accounts = result.ranks[name], len(result.calibration)
    maximum = sorted(each.maxima[name] for each in result.calibration)[place - 1]
    if detector.threshold is not None and detector.threshold > max(maximum, _least(name)):
        return f"above maximum {place} of {accounts}, for what comes after the life"
    if detector.threshold != maximum:
        return f"its least, above maximum {place} of {accounts}"
    return f"maximum {place} of {accounts}, from the least"


def _least(detector: str) -> float:
    from gamekeeper.detectors.catalog import DETECTORS

    return DETECTORS[detector].least


def _print(out: Path, result: Calibration) -> None:
    from gamekeeper.replay.tune.calibration import promised
    from gamekeeper.replay.tune.calibration.false_alarms import HEADINGS, JUDGEMENTS, cells

    profile = result.profile
    print_table(
        ("detector", "threshold", "which is"),
        [(each.detector, each.threshold, _which(result, each)) for each in profile.judged],
    )
    if result.measured:
        print_table(HEADINGS, [cells(row) for row in result.measured], "on accounts held out")
        for judgement, meaning in JUDGEMENTS.items():
            if any(row.judgement == judgement for row in result.measured):
                print_text(f"{judgement}: {meaning}")
    print_later(result.later)
    print_text(f"profile {profile.name} ({profile.hash}) for model {profile.model} is in {out}")
    for line in promised(profile.promise):
        print_text(printable(line))
