"""`gamekeeper profile`: show, compare, verify and announce profiles, and declare habits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from gamekeeper.replay.cli.declare import declare, print_habits, revoke
from gamekeeper.replay.cli.options import jobs_option
from gamekeeper.replay.cli.promising import beyond_option, print_later
from gamekeeper.schemas.text import printable
from gamekeeper.stream.cli.output import json_line, print_table, print_text, table_options, warn
from gamekeeper.stream.cli.progress import progress

if TYPE_CHECKING:
    from gamekeeper.detectors.engine import Profile
    from gamekeeper.replay.tune.calibration import Verification

BROKEN = 1
"""The exit code where a promise is broken."""


@click.group(epilog="Example: gamekeeper profile show digits.json")
def profile() -> None:
    """Look at profiles, and let the service take one.

    What decides, what is promised, and whether it holds.
    """


profile.add_command(declare)
profile.add_command(revoke)


@profile.command("show", epilog="Example: gamekeeper profile show digits.json")
@click.argument("path", metavar="[PROFILE]", required=False, type=click.Path(path_type=Path))
@table_options
def show(path: Path | None, form: str) -> None:
    """Show a profile: detectors, policy, declared habits, promise.

    Without PROFILE, it is the one that is used where none is given; `sample` is the one that ships.
    """
    from gamekeeper.replay.tune.calibration import (  # none of these is needed to print help
        document,
        open_profile,
        options,
        promised,
    )

    shown, _ = open_profile(path)
    if form == "json":
        click.echo(json_line(document(shown)))
        return
    print_text(printable(f"profile {shown.name} ({shown.hash}) for {_models(shown)}"))
    print_table(
        ("detector", "alarm above", "options"),
        [
            (
                each.detector,
                each.threshold,
                ", ".join(f"{name}={value}" for name, value in options(each).items()),
            )
            for each in shown.detectors
        ],
    )
    print_text(f"policy: {_policy(shown)}")
    print_habits(shown)
    for line in promised(shown.promise):
        print_text(printable(f"promise: {line}"))


def _models(shown: Profile) -> str:
    return "any model" if shown.model == "*" else f"model {shown.model}"


def _policy(shown: Profile) -> str:
    policy, days = _latch(shown), shown.policy.forget_after
    if days is None:
        return policy
    return f"{policy};\nwho sends nothing for {days / 86_400:g} days is forgotten"


def _latch(shown: Profile) -> str:
    if shown.policy.mode == "reset":
        return "reset: after each alarm the detector forgets everything and goes on"
    if shown.policy.close_after is None:
        return "latch: a finding stays open until an analyst closes it"
    return (
        "latch: a finding stays open until an analyst closes it,\nor after "
        f"{shown.policy.close_after:g} s without a statistic above the threshold"
    )


@profile.command("diff", epilog="Example: gamekeeper profile diff old.json new.json")
@click.argument("before", metavar="A", type=click.Path(path_type=Path))
@click.argument("after", metavar="B", type=click.Path(path_type=Path))
@table_options
def diff(before: Path, after: Path, form: str) -> None:
    """Show what changed from profile A to profile B."""
    from gamekeeper.replay.tune.calibration import differences, open_profile

    (old, _), (new, _) = open_profile(before), open_profile(after)
    found = differences(old, new)
    if form == "json":
        changes = [each._asdict() for each in found]
        click.echo(json_line({"before": old.hash, "after": new.hash, "changes": changes}))
    elif found:
        print_table(("what", f"A ({old.hash})", f"B ({new.hash})"), found)
    elif old.hash == new.hash:
        print_text(f"the same profile ({old.hash})")
    else:
        print_text(f"A ({old.hash}) and B ({new.hash}) only spell the same defaults differently")


@profile.command("verify", epilog="Example: gamekeeper profile verify digits.json june.parquet")
@click.argument("path", metavar="PROFILE", type=click.Path(path_type=Path))
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True)
@click.option("--exclude", metavar="ACCOUNT", multiple=True, help="Leave it out; repeatable.")
@click.option(
    "--exclude-kind", metavar="KIND", multiple=True, help="Leave out an attack's kind; repeatable."
)
@beyond_option
@jobs_option
@table_options
def verify(
    path: Path,
    traces: tuple[str, ...],
    exclude: tuple[str, ...],
    exclude_kind: tuple[str, ...],
    beyond: int | None,
    jobs: int | None,
    form: str,
) -> None:
    """Measure a profile's promise again, on other benign traces.

    Calibration must not have seen them.
    The exit code is 1 where the promise is broken: where the whole 95 % interval of the accounts
    that ever alarm, by any detector, is above the promised rate.
    """
    from gamekeeper.replay.tune.calibration import open_profile
    from gamekeeper.replay.tune.calibration import verify as run_verification
    from gamekeeper.replay.tune.calibration.false_alarms import overall
    from gamekeeper.replay.tune.evaluation import cores

    checked, networks = open_profile(path)
    with progress() as bar:
        task = bar.add_task("reading", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, description="accounts", completed=done, total=total)

        result = run_verification(
            traces,
            checked,
            networks=networks,
            exclude=exclude,
            exclude_kinds=exclude_kind,
            further=beyond,
            jobs=jobs or cores(),
            advance=advance,
        )
    _report(checked, traces, result, form)
    if overall(result.measured).judgement == "broken":
        raise click.exceptions.Exit(BROKEN)


@profile.command("announce", epilog="Example: gamekeeper profile announce digits.json")
@click.argument("path", metavar="PROFILE", type=click.Path(path_type=Path))
@table_options
def announce_command(path: Path, form: str) -> None:
    """Let all workers take a profile, while they run.

    Writes the profile and its networks to the profiles topic, then an order into each partition of
    the queries topic: what follows it there is judged by the profile. Give the same command again
    where it was interrupted; what was announced before may be announced again.
    """
    from gamekeeper.replay.tune.calibration import open_profile
    from gamekeeper.stream.announcing import announce
    from gamekeeper.stream.kafka import Settings

    announced, folder = open_profile(path)
    places = announce(Settings.from_env(os.environ), announced, folder)
    if form == "json":
        listed = [place._asdict() for place in places]
        click.echo(json_line({"profile": announced.hash, "places": listed}))
        return
    print_table(("partition", "rules after offset"), places)
    print_text(printable(f"profile {announced.name} ({announced.hash}) is announced"))


def _report(checked: Profile, traces: tuple[str, ...], result: Verification, form: str) -> None:
    from gamekeeper.replay.tune.calibration import document, false_alarms, promised
    from gamekeeper.replay.tune.calibration.benign_lives import naming
    from gamekeeper.replay.tune.calibration.false_alarms import HEADINGS, JUDGEMENTS, overall

    if result.short:
        names = naming([life.account for life in result.short])
        warn(
            f"left out: {len(result.short)} accounts do not reach {checked.promise.life} queries: "
            f"{names}"
        )
    if form == "json":
        click.echo(
            json_line(
                {
                    "schema": 1,
                    "traces": list(traces),
                    "profile": document(checked),
                    "promise": overall(result.measured).judgement,
                    "measured": [false_alarms.document(row) for row in result.measured],
                    "beyond": [msgspec.structs.asdict(row) for row in result.later],
                    "short": [life.account for life in result.short],
                }
            )
        )
        return
    print_table(HEADINGS, [false_alarms.cells(row) for row in result.measured])
    print_later(result.later)
    row = overall(result.measured)
    print_text(printable(f"profile {checked.name} ({checked.hash}); its promise: {row.judgement}"))
    print_text(f"{row.judgement}: {JUDGEMENTS[row.judgement]}")
    for line in promised(checked.promise):
        print_text(printable(f"promise: {line}"))
