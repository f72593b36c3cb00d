"""Whether accounts carry a promise, and what would do where they do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from gamekeeper.detectors.engine import Profile
from gamekeeper.replay.traces import Life
from gamekeeper.replay.tune.calibration.account_rule import (
    accounts_needed,
    exact,
    held_out,
    total_needed,
)
from gamekeeper.replay.tune.calibration.benign_lives import longest_reached, reaching
from gamekeeper.replay.tune.calibration.habits import TEACHING, learns, read_by_novelty
from gamekeeper.replay.tune.calibration.plan import Plan
from gamekeeper.schemas.errors import TraceError


def check_carried(
    lives: Sequence[Life], chosen: Sequence[Life], calibration: int, plan: Plan, base: Profile
) -> None:
    """Refuse an alpha that the accounts cannot carry, and say what would do.

    `calibration` of those chosen choose thresholds.
    """
    detectors, taught = _judged(base), TEACHING if learns(base) else Fraction(0)
    needed = accounts_needed(exact(plan.alpha) / detectors)
    if calibration >= needed:
        return
    total = total_needed(total_needed(needed, taught), exact(plan.held_out))
    text = (
        f"{len(chosen)} of {len(lives)} accounts reach {plan.life} queries, which leaves "
        f"{calibration} for calibration; alpha {plan.alpha:g}"
        + (f" over {detectors} detectors" if detectors > 1 else "")
        + f" takes {needed}, so {total} in all with --held-out {plan.held_out:g}"
        + (", as novelty's habits take half of the others. " if taught else ". ")
    )
    if len(lives) >= total:
        longest = longest_reached(lives, total)
        if longest < plan.life:
            raise TraceError(
                f"{text}The longest life that {total} accounts reach is {longest}: use --life "
                f"{longest}, or record for longer"
            )
    raise TraceError(text + _carried(lives, chosen, calibration, plan, detectors, taught))


def _judged(base: Profile) -> int:
    """Count the detectors that are to have a threshold."""
    return len(base.detectors) - len(read_by_novelty(base)) if learns(base) else len(base.judged)


def _carried(
    lives: Sequence[Life],
    chosen: Sequence[Life],
    calibration: int,
    plan: Plan,
    detectors: int,
    taught: Fraction,
) -> str:
    """Say the smallest alpha that there are accounts for, at the life of most if none reaches."""
    life = ""
    if not chosen:
        # A life that the longer half of the accounts reaches.
        longest = longest_reached(lives, (len(lives) + 1) // 2)
        chosen = reaching(lives, longest)
        left = len(chosen) - held_out(len(chosen), exact(plan.held_out))
        calibration = left - held_out(left, taught)
        life = f" with --life {longest}, which {len(chosen)} reach,"
    smallest = Fraction(detectors, calibration + 1)
    if smallest >= 1:
        return "Record more accounts"
    # Rounded up, so that what is advised is carried.
    advised = math.ceil(smallest * 10_000) / 10_000
    return (
        f"Record more accounts, or promise less:{life} {calibration} calibration accounts carry no "
        f"alpha below {advised:g}"
    )
