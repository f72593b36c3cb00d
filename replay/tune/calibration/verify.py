"""A profile's promise measured again, on any benign traces."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import msgspec

from gamekeeper.detectors.engine import Profile
from gamekeeper.replay.traces import Life, open_trace
from gamekeeper.replay.tune.calibration.benign_lives import benign_lives, reaching
from gamekeeper.replay.tune.calibration.beyond import Beyond, beyond, further_queries
from gamekeeper.replay.tune.calibration.false_alarms import FalseAlarms, count
from gamekeeper.replay.tune.calibration.maxima import measure
from gamekeeper.replay.tune.evaluation import watched
from gamekeeper.schemas.errors import ProfileError, TraceError


class Verification(msgspec.Struct, frozen=True):
    """The measured false alarms, in the life and beyond it, and accounts too short to count."""

    measured: list[FalseAlarms]
    later: list[Beyond]
    short: list[Life]


def verify(
    paths: Iterable[Path | str],
    profile: Profile,
    *,
    networks: Path = Path(),
    exclude: Collection[str] = (),
    exclude_kinds: Collection[str] = (),
    further: int | None = None,
    jobs: int = 1,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Count the benign accounts that ever alarm in the promised life, and those that later do.

    `further` is the most queries that are looked at after the life (None: all).
    `networks` is the folder where the files of the profile's networks lie. `advance` is told the
    accounts scored so far and in all. Raises `ProfileError` for a profile that promises nothing or
    watches another model, `TraceError` for faulty traces, for attacks that are not excluded and
    where no account reaches the life.
    """
    alpha, queries = profile.promise.alpha, profile.promise.life
    if alpha is None or queries is None:
        raise ProfileError(
            f"profile {profile.name!r} promises nothing to verify; make one that does with "
            "`gamekeeper calibrate`, or measure with `gamekeeper evaluate`"
        )
    with open_trace(paths) as store:
        lives = watched(store.lives, profile)
        lives = benign_lives(lives, exclude, exclude_kinds)
        chosen = reaching(lives, queries)
        if not chosen:
            longest = max(life.queries for life in lives)
            raise TraceError(
                f"no account reaches the {queries} queries that the promise is about; the longest "
                f"of {len(lives)} has {longest}: record for longer, or calibrate with --life "
                f"{longest}"
            )
        accounts = measure(
            store,
            chosen,
            profile,
            queries,
            beyond=further_queries(further),
            networks=networks,
            jobs=jobs,
            advance=advance,
        )
    return Verification(
        measured=count(profile, accounts, alpha),
        later=beyond(profile, accounts),
        short=[life for life in lives if life.queries < queries],
    )
