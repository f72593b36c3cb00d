"""What a calibration is to promise."""

from __future__ import annotations

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be promised, and of which accounts.

    `alpha` for all detectors together, over the first `life` queries; `held_out` is the share of
    the accounts that only measures; `exclude` names accounts, `exclude_kinds` kinds of traffic.
    In `beyond` queries of the accounts held out that come after the life, first alarms are counted
    (None: in all); `per_million` is how many of them there may be per million queries (None: any).
    `fitted` names the detectors whose option in `FITTED` is chosen, too, `trained`
    the accounts that a network was trained on, which are left out.
    """

    alpha: float = 0.01
    life: int = 10_000
    held_out: float = 0.5
    beyond: int | None = None
    per_million: float | None = None
    seed: int = 0
    model: str | None = None
    exclude: tuple[str, ...] = ()
    exclude_kinds: tuple[str, ...] = ()
    fitted: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
