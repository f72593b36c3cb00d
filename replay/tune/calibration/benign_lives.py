"""Which lives of a trace may speak for benign accounts, and which reach a stated life."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gamekeeper.replay.traces import Life
from gamekeeper.replay.tune.calibration.feedback import NO_FEEDBACK, Feedback
from gamekeeper.replay.tune.evaluation import BENIGN
from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.text import printable

_NAMED = 10  # accounts that a message names; of the others it says how many there are


def benign_lives(
    lives: Sequence[Life],
    accounts: Collection[str] = (),
    kinds: Collection[str] = (),
    feedback: Feedback = NO_FEEDBACK,
) -> list[Life]:
    """Leave out excluded accounts and kinds, and what `feedback` does not allow.

    All others must be benign or unlabelled: raises `TraceError` where others are left, naming them,
    where an exclusion fits nothing, and where nothing is left.
    """
    left = [life for life in not_excluded(lives, accounts, kinds) if feedback.allows(life)]
    attacks = [life for life in left if life.kind not in (None, BENIGN)]
    if attacks:
        named = [f"{life.account} ({life.kind})" for life in attacks]
        options = " ".join(
            f"--exclude-kind {kind}" for kind in sorted({x.kind or "" for x in attacks})
        )
        raise TraceError(
            f"only benign or unlabelled traffic can speak for benign accounts; these are neither: "
            f"{naming(named)}; leave them out with {printable(options)}"
        )
    if not left:
        raise TraceError("every account is excluded; nothing is left to measure")
    return left


def not_excluded(
    lives: Sequence[Life], accounts: Collection[str], kinds: Collection[str]
) -> list[Life]:
    """Leave out accounts and kinds; raises `TraceError` where one of them fits nothing."""
    _check_known("--exclude", accounts, {life.account for life in lives})
    _check_known("--exclude-kind", kinds, {life.kind for life in lives if life.kind})
    return [life for life in lives if life.account not in accounts and life.kind not in kinds]


def _check_known(option: str, given: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise TraceError(f"{option} {printable(unknown[0])}: the traces hold no such")


def naming(names: Sequence[str]) -> str:
    """Join names for a message, as many as one reads.

    >>> naming(["a", "b"]), naming([str(i) for i in range(12)])
    ('a, b', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more')
    """
    text = printable(", ".join(names[:_NAMED]))
    return text if len(names) <= _NAMED else f"{text} and {len(names) - _NAMED} more"


def reaching(lives: Sequence[Life], queries: int) -> list[Life]:
    """Keep the lives of at least so many queries: shorter ones cannot speak for a whole life."""
    return [life for life in lives if life.queries >= queries]


def longest_reached(lives: Sequence[Life], accounts: int) -> int:
    """Say the longest life that so many of the accounts reach; there must be as many.

    >>> lives = [Life("t", "a", "m", None, 0, queries) for queries in (5, 900, 400)]
    >>> longest_reached(lives, 2)
    400
    """
    return sorted((life.queries for life in lives), reverse=True)[accounts - 1]
