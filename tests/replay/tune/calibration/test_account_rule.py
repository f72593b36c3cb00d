"""The account rule and the split against the same written the obvious way, and against chance."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.replay.tune.calibration import account_rule
from support.toys import life

ALPHAS = st.integers(1, 99).map(lambda percent: percent / 100)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), ALPHAS)
def test_threshold_is_the_smallest_that_carries_alpha(maxima: list[float], alpha: float) -> None:
    """Put at any rank among the N + 1, the next account is above it in at most alpha of them."""
    exact, total = Fraction(str(alpha)), len(maxima) + 1
    # Were the next account one of N + 1 equally likely ones, so many of them would be above.
    carried = [
        value for value in maxima if (sum(other > value for other in maxima) + 1) <= exact * total
    ]
    if not carried:
        with pytest.raises(ValueError, match="carry no alpha"):
            account_rule.threshold(maxima, account_rule.exact(alpha))
        assert len(maxima) < account_rule.accounts_needed(account_rule.exact(alpha))
    else:
        assert account_rule.threshold(maxima, account_rule.exact(alpha)) == min(carried)
        assert len(maxima) >= account_rule.accounts_needed(account_rule.exact(alpha))


def test_shares_are_exact() -> None:
    """A rank that floating point would round up is the true one."""
    assert math.ceil((1 - 0.58) * 50) == 22
    assert account_rule.rank(account_rule.exact(0.58), 49) == 21


@pytest.mark.parametrize(("accounts", "alpha"), [(19, 0.1), (19, 0.05), (50, 0.3)])
def test_promise_holds_on_exchangeable_maxima(accounts: int, alpha: float) -> None:
    """Over many draws, a further account alarms as often as its rank says, and within alpha.

    20,000 draws: the tolerance is four standard deviations of the binomial share.
    """
    random, draws = np.random.default_rng(7), 20_000
    maxima = random.gumbel(size=(draws, accounts + 1))
    share = account_rule.exact(alpha)
    alarms = sum(row[-1] > account_rule.threshold(row[:-1].tolist(), share) for row in maxima)
    expected = 1 - Fraction(account_rule.rank(share, accounts), accounts + 1)
    tolerance = 4 * math.sqrt(alpha * (1 - alpha) / draws)
    assert expected <= share
    assert alarms / draws == pytest.approx(float(expected), abs=tolerance)


@pytest.mark.parametrize("dependence", [0.0, 0.7, 1.0])
def test_promise_holds_for_several_detectors_with_ties(dependence: float) -> None:
    """Shared alpha holds for two detectors together, dependent or not, also with many ties."""
    random, draws, alpha = np.random.default_rng(8), 5_000, 0.2
    common = random.random((draws, 20, 1))
    own = random.random((draws, 20, 2))
    maxima = np.round(dependence * common + (1 - dependence) * own, 1)
    share = account_rule.exact(alpha) / 2
    alarms = sum(
        any(
            row[-1, place] > account_rule.threshold(row[:-1, place].tolist(), share)
            for place in (0, 1)
        )
        for row in maxima
    )
    assert alarms / draws <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / draws)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 12), min_size=1),
    st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.9]),
    st.integers(0, 5),
)
def test_split_gives_each_population_its_share(
    sizes: dict[str, int], share: float, seed: int
) -> None:
    """The held-out count is the share of all rounded down, and of each population within one."""
    lives = [life(f"{name}{i}", name) for name, size in sizes.items() for i in range(size)]
    sides = account_rule.split(lives, account_rule.exact(share), seed)
    assert sum(sides) == math.floor(len(lives) * account_rule.exact(share))
    held = Counter(each.trace for each, out in zip(lives, sides, strict=True) if out)
    assert all(abs(held[name] - size * share) < 1 for name, size in sizes.items())


def test_split_depends_on_names_and_seed_alone() -> None:
    """Any order of the lives gives the same sides, another seed others, one name one side."""
    lives = [life(f"{i}", name) for name in "ab" for i in range(30)]
    lives += [life(f"own-{i}", "c") for i in range(10)]
    sides = dict(zip(lives, account_rule.split(lives, Fraction(1, 2), 0), strict=True))
    back = lives[::-1]
    assert dict(zip(back, account_rule.split(back, Fraction(1, 2), 0), strict=True)) == sides
    assert account_rule.split(lives, Fraction(1, 2), 1) != list(sides.values())
    assert all(sides[life(f"{i}", "a")] == sides[life(f"{i}", "b")] for i in range(30))
    assert all(len({sides[x] for x in lives if x.trace == name}) == 2 for name in "abc")
