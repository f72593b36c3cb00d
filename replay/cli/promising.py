"""What `calibrate` and `profile verify` share: alarms beyond the life that is promised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gamekeeper.stream.cli.output import print_table

if TYPE_CHECKING:
    from gamekeeper.replay.tune.calibration.beyond import Beyond

beyond_option = click.option(
    "--beyond",
    type=click.IntRange(min=0),
    help="Queries after that life in which first alarms are counted.  [default: all]",
)


def print_later(rows: Sequence[Beyond]) -> None:
    """Print what was seen after the promised life, if anything was."""
    from gamekeeper.replay.tune.calibration.beyond import HEADINGS, cells

    if rows:
        print_table(HEADINGS, [cells(row) for row in rows], "beyond that life")
