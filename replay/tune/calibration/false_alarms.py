"""Lifetime false alarms: which benign accounts ever alarm, by detector and by population."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from gamekeeper.detectors.engine import Profile
from gamekeeper.replay.tune.calibration.account_rule import exact
from gamekeeper.replay.tune.calibration.maxima import Maxima
from gamekeeper.replay.tune.calibration.sharing import shares
from gamekeeper.replay.tune.evaluation import ANY, Interval, clopper_pearson

Judgement = Literal["kept", "open", "broken"]

JUDGEMENTS: dict[Judgement, str] = {
    "kept": "the whole interval is at or below the promised rate",
    "open": "the interval contains the promised rate: so many accounts neither prove nor refute it",
    "broken": "the whole interval is above the promised rate",
}


class FalseAlarms(msgspec.Struct, frozen=True):
    """How many of a population's accounts (None: of all) a detector ever flags.

    `detector` is `any` for all of the profile's together; `interval` is the rate's exact
    (Clopper-Pearson) 95 % interval, `alpha` the share of the promise that this detector has.
    """

    detector: str
    population: str | None
    accounts: int
    alarms: int
    interval: Interval
    alpha: float

    @property
    def judgement(self) -> Judgement:
        """Compare the interval with the promise."""
        if self.interval.low > self.alpha:
            return "broken"
        return "kept" if self.interval.high <= self.alpha else "open"


def count(profile: Profile, accounts: Sequence[Maxima], alpha: float) -> list[FalseAlarms]:
    """Count the accounts that ever alarm: by detector, together, then together by population.

    The row of all detectors and populations is the last one without a population. `alpha` is
    promised for all detectors together, of which each has a share. There must be accounts.
    """
    names = [each.detector for each in profile.judged]
    share = shares(exact(alpha), profile.promise.accounts, profile.judged)
    rows = [_row(profile, [name], None, accounts, float(share[name])) for name in names]
    if len(names) > 1:
        rows.append(_row(profile, names, None, accounts, alpha))
    populations = sorted({each.life.trace for each in accounts})
    if len(populations) > 1:
        for population in populations:
            own = [each for each in accounts if each.life.trace == population]
            rows.append(_row(profile, names, population, own, alpha))
    return rows


def overall(rows: Sequence[FalseAlarms]) -> FalseAlarms:
    """Find the row of all detectors and all populations."""
    return [row for row in rows if row.population is None][-1]


def _row(
    profile: Profile,
    names: Sequence[str],
    population: str | None,
    accounts: Sequence[Maxima],
    alpha: float,
) -> FalseAlarms:
    alarms = sum(alarmed(profile, each, names) for each in accounts)
    return FalseAlarms(
        detector=names[0] if len(names) == 1 else ANY,
        population=population,
        accounts=len(accounts),
        alarms=alarms,
        interval=clopper_pearson(alarms, len(accounts)),
        alpha=alpha,
    )


def alarmed(profile: Profile, account: Maxima, names: Sequence[str]) -> bool:
    """Say whether any of the named detectors has a maximum strictly above its threshold."""
    return any(
        account.maxima[each.detector] > each.threshold
        for each in profile.detectors
        if each.detector in names and each.threshold is not None
    )


HEADINGS = ("detector", "population", "ever alarmed", "95 % interval", "promised", "promise")


def cells(row: FalseAlarms) -> list[Any]:
    """Say a row in the words of `HEADINGS`."""
    low, high = (f"{100 * end:.3g}" for end in row.interval)
    return [
        row.detector,
        "all" if row.population is None else row.population,
        f"{row.alarms}/{row.accounts}",
        f"{low}-{high} %",
        f"{100 * row.alpha:.3g} %",
        row.judgement,
    ]


def document(row: FalseAlarms) -> dict[str, Any]:
    """Say a row in JSON's types."""
    return {**msgspec.structs.asdict(row), "judgement": row.judgement}
