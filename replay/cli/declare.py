"""`gamekeeper profile declare` and `revoke`: what people say of an account."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gamekeeper.schemas.text import printable
from gamekeeper.stream.cli.output import json_line, print_table, print_text, table_options, warn

if TYPE_CHECKING:
    from gamekeeper.detectors.engine import Profile

HABITS: Final = {
    "probe": "probe",
    "load-test": "load test",
    "explainer": "explainer",
    "other-camera": "other camera",
}
"""What can be declared: the words of the command line, and of the profile."""


def _written(command: Callable[..., None]) -> Callable[..., None]:
    """Add what both commands take: a profile, an account, and where the other one is written."""
    for add in (
        table_options,
        click.option(
            "--out",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Where the profile is written, its networks beside it.  [default: PROFILE]",
        ),
        click.option("--account", required=True, help="The account, or the API key's id: exactly."),
        click.argument("path", metavar="PROFILE", type=click.Path(path_type=Path)),
    ):
        command = add(command)
    return command


@click.command(
    "declare",
    epilog="Example: gamekeeper profile declare digits.json --account xai --habit explainer "
    "--owner 'Kim, fairness team' --until 2027-03-01 --budget 5000",
)
@_written
@click.option("--habit", type=click.Choice(list(HABITS)), required=True, help="What it does.")
@click.option("--owner", required=True, help="Who answers for it: a person or a team.")
@click.option(
    "--until",
    metavar="DATE",
    required=True,
    help="When it ends, by the events' clocks in UTC, such as 2027-03-01 or 2027-03-01T12:00:00Z.",
)
@click.option("--budget", type=int, required=True, help="Queries a day, at most.")
@click.option("--inputs", type=int, help="Of a probe: how many different inputs it has.")
def declare(
    path: Path,
    account: str,
    habit: str,
    owner: str,
    until: str,
    budget: int,
    inputs: int | None,
    out: Path | None,
    form: str,
) -> None:
    """Declare what an account does, to hold what that explains at low.

    Findings that the habit explains are of low severity, until the day that it ends, and for as
    many queries a day. An account that sends more, or a probe that varies, is a finding of its own.
    Theft is never lowered.
    What was declared of the account before is replaced.
    """
    from gamekeeper.detectors.engine import DeclaredHabit  # none of these is needed to print help
    from gamekeeper.replay.tune.calibration import declare as declared
    from gamekeeper.replay.tune.calibration import open_profile

    profile, folder = open_profile(path)
    said = DeclaredHabit(
        account=account, habit=HABITS[habit], owner=owner, until=until, budget=budget, inputs=inputs
    )
    _write(declared(profile, said), folder, path, out, form)


@click.command("revoke", epilog="Example: gamekeeper profile revoke digits.json --account xai")
@_written
def revoke(path: Path, account: str, out: Path | None, form: str) -> None:
    """Take back what is declared of an account.

    Its findings stay as they are, and those that were held at low rise.
    """
    from gamekeeper.replay.tune.calibration import open_profile
    from gamekeeper.replay.tune.calibration import revoke as revoked

    profile, folder = open_profile(path)
    _write(revoked(profile, account), folder, path, out, form)


def _write(profile: Profile, folder: Path, path: Path, out: Path | None, form: str) -> None:
    from gamekeeper.replay.tune.calibration import write_beside

    if out is None and path == Path("sample"):
        raise click.UsageError(f"{path} ships with the package: say --out")
    target = out or path
    write_beside(profile, folder, target)
    if form == "json":
        told = {"profile": profile.hash, "out": str(target), "habits": profile.habits}
        click.echo(json_line(told))
    else:
        print_text(printable(f"profile {profile.name} ({profile.hash}) is {target}"))
        print_habits(profile)
    warn(f"workers take it with: gamekeeper profile announce {printable(str(target))}")


def print_habits(profile: Profile) -> None:
    """List what a profile declares, and what of it has expired by this machine's clock."""
    now = time.time_ns() // 1000
    rows = [
        (
            *(each.account, each.habit, each.owner, each.until),
            *("expired" if each.ends <= now else "holds", each.budget, each.inputs),
        )
        for each in profile.habits
    ]
    if rows:
        head = ("account", "declared", "owner", "until", "now", "queries a day", "inputs")
        print_table(head, rows)
