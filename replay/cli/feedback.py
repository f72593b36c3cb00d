"""What `calibrate` takes from analysts, and says of it: `--feedback`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gamekeeper.stream.cli.output import warn

if TYPE_CHECKING:
    from gamekeeper.replay.traces import Life
    from gamekeeper.replay.tune.calibration import Feedback, Heeded

feedback_option = click.option(
    "--feedback",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of tables; accounts are honest, or left out, as their findings were closed.",
)


def feedback_of(folder: Path | None) -> Feedback:
    """Read what analysts have said, if asked for, and say of what they cannot have known."""
    from gamekeeper.replay.tables.verdicts import lost
    from gamekeeper.replay.tune.calibration import Feedback, read_feedback

    if folder is None:
        return Feedback()
    found = read_feedback(folder)
    for each in lost(folder):
        warn(each)
    return found


def say_heeded(heeded: Heeded) -> None:
    """Name the accounts that count as honest, and those that were left out."""
    if heeded.honest:
        warn(
            f"feedback: {len(heeded.honest)} accounts whose findings were closed as false positive "
            f"or benign count as honest: {_naming(heeded.honest)}"
        )
    if heeded.thieves:
        warn(
            f"left out by feedback: {len(heeded.thieves)} accounts with a finding that was closed "
            f"as true positive: {_naming(heeded.thieves)}"
        )
    if heeded.open:
        warn(
            f"left out by feedback: {len(heeded.open)} accounts with a finding that is open, of "
            f"which no analyst has said that it is harmless: {_naming(heeded.open)}; the promise "
            "is not about accounts like these: close their findings with `gamekeeper verdicts "
            "close --disposition ...`, and calibrate again"
        )
    if heeded.absent:
        warn(f"feedback names {heeded.absent} accounts that are not in the traces")


def _naming(lives: Sequence[Life]) -> str:
    from gamekeeper.replay.tune.calibration.benign_lives import naming

    return naming([life.account for life in lives])


def document(heeded: Heeded) -> dict[str, object]:
    """Lay it out in JSON's types: the accounts' names, and a count."""
    return {
        name: each if isinstance(each, int) else [life.account for life in each]
        for name, each in heeded._asdict().items()
    }
