"""Splitting: the queries of one attack come from several accounts, in turn or stage by stage.

PRADA "analyses samples queried by a single client" and "can be circumvented" by several (PRADA
version 2, section V-C). The paper names no number and no way to split.
"""

from __future__ import annotations

from itertools import count

import numpy as np

from gamekeeper.replay.theft import Labels, Oracle, Reply, Request, Start
from gamekeeper.replay.theft.evasions.base import together

ACCOUNTS = 10
"""Accounts unless told otherwise; the papers name no number: one per class of MNIST and CIFAR."""


def round_robin(
    oracle: Oracle, start: Start, rng: np.random.Generator, *, accounts: int = ACCOUNTS
) -> Oracle:
    """Send image after image from the next of `accounts` accounts."""
    turn = count()

    def split(request: Request) -> Reply:
        turns = np.array([next(turn) for _ in request.images], np.int64)
        return from_accounts(oracle, request, turns % accounts, accounts, start.classes)

    return split


def by_stage(
    oracle: Oracle, start: Start, rng: np.random.Generator, *, accounts: int = ACCOUNTS
) -> Oracle:
    """Send each round of the attack from the next of `accounts` accounts.

    No account sees both a seed and what was made of it in the next round.
    """

    def split(request: Request) -> Reply:
        stage = np.full(len(request.images), request.round % accounts, np.int64)
        return from_accounts(oracle, request, stage, accounts, start.classes)

    return split


def from_accounts(
    oracle: Oracle, request: Request, chosen: Labels, accounts: int, classes: int
) -> Reply:
    """Send each row from the account `(n,)` chosen of `accounts`, in the order of the rows.

    Rows of one account that follow each other go in one request.
    """
    parts = []
    for rows in np.split(np.arange(len(chosen)), np.flatnonzero(np.diff(chosen)) + 1):
        if len(rows):
            own = request.account * accounts + int(chosen[rows[0]])
            part = request._replace(images=request.images[rows], account=own)
            parts.append((rows, oracle(part)))
    return together(len(chosen), parts, classes)
