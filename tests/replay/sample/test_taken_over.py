"""The sample's thieves, each with an account that was declared: what that is worth to them."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import pytest

from gamekeeper.detectors.engine import (
    Account,
    DeclaredHabit,
    Profile,
    Stretch,
    override,
    resolve,
    score,
)
from gamekeeper.detectors.engine.declared import NAME
from gamekeeper.replay.traces import open_trace
from gamekeeper.replay.tune.calibration import SHIPPED
from gamekeeper.schemas.verdict import Verdict
from gamekeeper.stream.profile_files import load_profile

QUERIES = 320
BUDGET = 200
WATCHING = override(load_profile(SHIPPED), [], ["prada", "steps"])
THIEVES = {"papernot", "t-rnd", "jb-topk", "jb-self", "tramer"}


class Thief(NamedTuple):
    """What a thief sends first, and what the profile says of it where nothing is declared."""

    stretch: Stretch
    verdicts: list[Verdict]


@pytest.fixture(scope="module")
def thieves() -> list[Thief]:
    """The sample's five."""
    found = []
    with open_trace([SHIPPED.with_name("digits.parquet")]) as store:
        for life in store.lives:
            if life.kind in THIEVES:
                stretch = next(iter(store.stretches(life, QUERIES)))
                found.append(Thief(stretch, judged(WATCHING, stretch)))
    return found


def judged(profile: Profile, stretch: Stretch) -> list[Verdict]:
    """Judge an account's first queries."""
    scored = score(profile, Account(profile), stretch)
    return [verdict for verdicts in scored.verdicts for verdict in verdicts]


def declared(habit: str, thief: Thief) -> list[Verdict]:
    """Judge a thief whose account is declared."""
    terms = {"owner": "Kim", "until": "2100-01-01", "budget": BUDGET}
    said = DeclaredHabit(account=thief.stretch.key[0], habit=habit, **terms)
    return judged(resolve(msgspec.structs.replace(WATCHING, habits=(said,))), thief.stretch)


def grades(verdicts: list[Verdict]) -> dict[str, str]:
    """Give how severe each detector's finding is at last."""
    return {each.detector: each.severity for each in verdicts}


def opened(verdicts: list[Verdict]) -> set[tuple[str, int]]:
    """Give which detectors have opened a finding at which query."""
    return {(each.detector, each.query) for each in verdicts if each.activity == "create"}


def test_a_thief_gains_no_more_than_the_budget(thieves: list[Thief]) -> None:
    """As an explainer he is found as soon, at low; beyond the budget he is as severe as anybody."""
    held = 0
    assert len(thieves) == len(THIEVES)
    for thief in thieves:
        found = declared("explainer", thief)
        assert opened(found) == opened(thief.verdicts) | {(NAME, BUDGET)}
        assert grades(found) == grades(thief.verdicts) | {NAME: "medium"}
        low = [each for each in found if each.severity == "low"]
        assert all(each.query < BUDGET and each.kind == "variants" for each in low)
        held += len(low)
    assert held >= 3


def test_a_thief_with_a_probes_account_is_found_at_once(thieves: list[Thief]) -> None:
    """His twenty-first image is one too many, before any detector has anything to say."""
    for thief in thieves:
        [first, *rest] = sorted(declared("probe", thief), key=lambda each: each.query)
        assert (first.detector, first.query) == (NAME, 20)
        assert all(each.severity != "low" for each in rest)
        assert grades(rest) == grades(thief.verdicts)
