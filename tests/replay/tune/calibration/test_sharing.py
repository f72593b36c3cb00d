"""What detectors may alarm of, together, is what is promised; none gets what it has no use for."""

from __future__ import annotations

from fractions import Fraction

import pytest

from gamekeeper.detectors.engine import DetectorProfile
from gamekeeper.replay.tune.calibration.account_rule import accounts_needed, exact, rank
from gamekeeper.replay.tune.calibration.sharing import shares


def divided(alpha: float, accounts: int, *names: str) -> list[Fraction]:
    """Share alpha among detectors of these names."""
    detectors = [DetectorProfile(detector=name) for name in names]
    return list(shares(exact(alpha), accounts, detectors).values())


@pytest.mark.parametrize(
    ("accounts", "names", "expected"),
    [
        (199, ("prada", "similarity"), [1, 1]),
        (299, ("prada", "similarity"), [2, 1]),
        (399, ("prada", "similarity", "likelihood"), [2, 1, 1]),
        (399, ("prada", "steps"), [3, 1]),
        (999, ("steps", "prada", "similarity"), [1, 5, 4]),
        (999, ("steps",), [10]),
    ],
)
def test_accounts_are_shared(accounts: int, names: tuple[str, ...], expected: list[int]) -> None:
    """Whole ones; `steps`, whose threshold has a least value, takes no second one."""
    found = [each * (accounts + 1) for each in divided(0.01, accounts, *names)]
    assert found == expected


@pytest.mark.parametrize("names", [("prada",), ("prada", "steps"), ("prada", "similarity", "rate")])
@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.58])
def test_together_they_have_no_more_than_is_promised(alpha: float, names: tuple[str, ...]) -> None:
    """With as many accounts as are needed and more, each has a threshold."""
    least = accounts_needed(exact(alpha) / len(names))
    for accounts in range(least, least + 50):
        found = divided(alpha, accounts, *names)
        assert sum(found) <= exact(alpha)
        assert sum(found) > exact(alpha) - Fraction(1, accounts + 1)
        assert all(1 <= rank(each, accounts) <= accounts for each in found)


def test_with_too_few_accounts_shares_are_equal() -> None:
    """As is said of a promise that cannot be made, and of one from elsewhere."""
    assert divided(0.01, 100, "prada", "steps") == [Fraction(1, 200)] * 2
