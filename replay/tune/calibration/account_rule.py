"""The account-level rule: which threshold carries which promise, and how accounts are split.

A benign account ever alarms in its life if its maximum statistic is above the threshold. Let N
benign accounts be drawn as the watched ones are (exchangeable). With the threshold at the
ceil((1 - alpha) (N + 1))-th smallest of their maxima, another such account alarms with a
probability of at most alpha: its maximum is as likely to have any rank among the N + 1. The
probability is over the draw of the N accounts too; for accounts once drawn the true rate is spread
around its mean, so it is also measured, on accounts that the rule never saw.

**Ties** cost no false alarm: an alarm is strictly above the threshold, so an account that ties with
it is silent, and the rate can only be lower. **Never ready** (a maximum of minus infinity) is the
smallest maximum there is: such an account is one that never alarms, and counts as that.

Shares are exact fractions: in floating point, ceil((1 - 0.58) * 50) is 22, and the promise off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from hashlib import blake2b

from gamekeeper.replay.traces import Life


def exact(share: float) -> Fraction:
    """Take a share as the decimal that was written.

    >>> exact(0.01)
    Fraction(1, 100)
    """
    return Fraction(repr(share))


def rank(alpha: Fraction, accounts: int) -> int:
    """Say which of the maxima, counted from the smallest as 1, is the threshold.

    A rank beyond `accounts` is none: so few accounts cannot carry alpha.

    >>> rank(exact(0.01), 99), rank(exact(0.01), 98), rank(exact(0.2), 7)
    (99, 99, 7)
    """
    return math.ceil((1 - alpha) * (accounts + 1))


def accounts_needed(alpha: Fraction) -> int:
    """Count the accounts without which alpha cannot be promised.

    >>> accounts_needed(exact(0.01)), accounts_needed(exact(0.01) / 2), accounts_needed(exact(0.3))
    (99, 199, 3)
    """
    return math.ceil(1 / alpha) - 1


def threshold(maxima: Sequence[float], alpha: Fraction) -> float:
    """Choose the smallest threshold that carries alpha; `ValueError` where accounts are too few.

    >>> threshold([0.3, 0.1, 0.2, 0.4], exact(0.25))
    0.4
    >>> threshold([0.3, 0.1, 0.2, 0.4], exact(0.4))
    0.3
    """
    place = rank(alpha, len(maxima))
    if place > len(maxima):
        raise ValueError(f"{len(maxima)} accounts carry no alpha of {float(alpha):g}")
    return sorted(maxima)[place - 1]


def held_out(total: int, share: Fraction) -> int:
    """Count the accounts of `total` that are held out: the share, rounded down.

    >>> held_out(13, exact(0.5))
    6
    """
    return math.floor(total * share)


def total_needed(calibration: int, share: Fraction) -> int:
    """Count the accounts of which `calibration` are left when the share is held out.

    >>> total_needed(99, exact(0.5)), total_needed(99, exact(0.3)), total_needed(99, exact(0.0))
    (197, 141, 99)
    """
    total = calibration
    while total - held_out(total, share) < calibration:
        total += calibration - (total - held_out(total, share))
    return total


def split(lives: Sequence[Life], share: Fraction, seed: int) -> list[bool]:
    """Say of each life whether it is held out.

    Accounts are laid out population by population, within one in an order that hashes of the seed
    and their names give, and every so-manieth is held out: each population gives its share, to
    within one account. The split depends on seed, share and names alone, not on files' order or on
    what the accounts did. Lives of the same account name lie on the same side.
    """
    populations: dict[str, set[str]] = {}
    for life in lives:
        populations.setdefault(life.account, set()).add(life.trace)
    order = sorted(
        populations,
        key=lambda account: (
            _shuffled(seed, *sorted(populations[account])),
            _shuffled(seed, account),
        ),
    )
    chosen = {
        account
        for place, account in enumerate(order)
        if held_out(place + 1, share) > held_out(place, share)
    }
    return [life.account in chosen for life in lives]


def _shuffled(seed: int, *names: str) -> bytes:
    text = repr((seed, names)).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=16).digest()
