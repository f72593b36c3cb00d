"""Calibration: benign traces to a profile whose thresholds carry a lifetime false-alarm promise.

`account_rule` states the rule, `sharing` how several detectors share alpha.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine import Profile, Promise
from gamekeeper.replay.traces import Life, TraceStore, open_trace
from gamekeeper.replay.tune.calibration.account_rule import (
    exact,
    rank,
    split,
    threshold,
)
from gamekeeper.replay.tune.calibration.benign_lives import benign_lives, not_excluded, reaching
from gamekeeper.replay.tune.calibration.beyond import Beyond, beyond, further_queries
from gamekeeper.replay.tune.calibration.carrying import check_carried
from gamekeeper.replay.tune.calibration.contamination import Suspect, suspects
from gamekeeper.replay.tune.calibration.exchangeability import Unlike, unlike
from gamekeeper.replay.tune.calibration.false_alarms import FalseAlarms, count, overall
from gamekeeper.replay.tune.calibration.feedback import NO_FEEDBACK, Feedback, Heeded, heed
from gamekeeper.replay.tune.calibration.fitting import fit
from gamekeeper.replay.tune.calibration.habits import learn, learns, teaching
from gamekeeper.replay.tune.calibration.journal import Journal
from gamekeeper.replay.tune.calibration.lasting import lasting
from gamekeeper.replay.tune.calibration.maxima import Maxima, measure
from gamekeeper.replay.tune.calibration.plan import Plan
from gamekeeper.replay.tune.calibration.sharing import shares
from gamekeeper.schemas.errors import ProfileError


class Calibration(msgspec.Struct, frozen=True):
    """A calibrated profile and what it was made from.

    `ranks` are the places of the detectors' thresholds among the calibration accounts' maxima,
    counted from the smallest; `measured` is empty where nothing was held out, `later` also where
    no account held out is longer than the life. `short` accounts did not reach the life; the names
    in `repeated` belong to accounts of several traces. `heeded` is what analysts' feedback did;
    whom they called honest is no suspect. `unlike` are the populations that differ from the rest,
    `taught` the accounts that taught `novelty` habits.
    """

    profile: Profile
    ranks: dict[str, int]
    calibration: list[Maxima]
    held_out: list[Maxima]
    measured: list[FalseAlarms]
    later: list[Beyond]
    suspects: list[Suspect]
    unlike: list[Unlike]
    short: list[Life]
    repeated: list[str]
    heeded: Heeded
    taught: list[Life]


def calibrate(
    paths: Iterable[Path | str],
    base: Profile,
    plan: Plan,
    *,
    name: str,
    networks: Path = Path(),
    feedback: Feedback = NO_FEEDBACK,
    jobs: int = 1,
    journal: Journal | None = None,
    stage: Callable[[str], None] = lambda what: None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Calibration:
    """Choose thresholds for `base`'s detectors, as they are set there; `name` the new profile.

    Accounts that `feedback` does not allow are left out. `networks` is the folder of the files that
    `base` names. What `journal` has is not done again, and it is told the rest. `stage` is told
    what begins, `advance` the accounts done in it so far and in all. Raises `TraceError`
    for faulty traces, for attacks that are not excluded and for accounts that are too few or too
    short, with the numbers that would do, and `ProfileError` for a model that is not watched or
    ambiguous.
    """
    paths = list(paths)
    with open_trace(paths) as store:
        model = _model(store.lives, base, plan)
        known = [life for life in store.lives if life.model == model]
        excluded = ((*plan.exclude, *plan.trained), plan.exclude_kinds)
        lives = benign_lives(known, *excluded, feedback)
        chosen = reaching(lives, plan.life)
        heeded = heed(feedback, known, not_excluded(known, *excluded), chosen)
        roles = _roles(chosen, base, plan)
        check_carried(lives, chosen, len(roles.judging), plan, base)
        if journal:
            journal.open(paths, base, plan, roles)
        if plan.fitted or roles.teaching:
            base = _fit(base, plan, store, roles, networks, jobs, journal, stage, advance)
        stage("accounts")
        calibration, measuring = _measure(
            store,
            roles,
            base,
            plan,
            networks=networks,
            jobs=jobs,
            journal=journal,
            advance=advance,
        )
    profile = _profile(base, calibration, plan, heeded, name, model)
    if plan.per_million is not None:
        profile = lasting(profile, calibration, plan.per_million)
    measured = count(profile, measuring, plan.alpha) if measuring else []
    later = beyond(profile, measuring)
    return Calibration(
        profile=_with_measurement(profile, measured, later),
        ranks={
            name: rank(share, len(calibration))
            for name, share in shares(exact(plan.alpha), len(calibration), base.judged).items()
        },
        calibration=calibration,
        held_out=measuring,
        measured=measured,
        later=later,
        suspects=[
            each for each in suspects([*calibration, *measuring]) if each.life not in heeded.honest
        ],
        unlike=unlike([*calibration, *measuring]),
        short=[life for life in lives if life.queries < plan.life],
        repeated=_repeated(chosen),
        heeded=heeded,
        taught=roles.teaching,
    )


class _Roles(NamedTuple):
    """Which accounts teach `novelty` habits, which choose thresholds, and which measure."""

    teaching: list[Life]
    judging: list[Life]
    held_out: list[Life]


def _roles(chosen: Sequence[Life], base: Profile, plan: Plan) -> _Roles:
    sides = split(chosen, exact(plan.held_out), plan.seed)
    calibrating = [life for life, out in zip(chosen, sides, strict=True) if not out]
    held = [life for life, out in zip(chosen, sides, strict=True) if out]
    if not learns(base):
        return _Roles([], calibrating, held)
    teach = teaching(calibrating, plan.seed)
    return _Roles(
        [life for life, taught in zip(calibrating, teach, strict=True) if taught],
        [life for life, taught in zip(calibrating, teach, strict=True) if not taught],
        held,
    )


def _fit(
    base: Profile,
    plan: Plan,
    store: TraceStore,
    roles: _Roles,
    networks: Path,
    jobs: int,
    journal: Journal | None,
    stage: Callable[[str], None],
    advance: Callable[[int, int], None],
) -> Profile:
    """Fit what an earlier run has not fitted, and learn habits where some accounts teach."""
    if journal and (known := journal.fitted()):
        return known
    lives = roles.teaching or roles.judging
    if plan.fitted:
        stage("fitting")
        base = fit(
            base,
            plan.fitted,
            store,
            lives,
            plan.life,
            networks=networks,
            jobs=jobs,
            advance=advance,
        )
    if roles.teaching:
        stage("habits")
        base = learn(base, store, lives, plan.life, networks=networks, jobs=jobs, advance=advance)
    if journal:
        journal.keep_fitted(base)
    return base


def _measure(
    store: TraceStore,
    roles: _Roles,
    base: Profile,
    plan: Plan,
    *,
    networks: Path,
    jobs: int,
    journal: Journal | None,
    advance: Callable[[int, int], None],
) -> tuple[list[Maxima], list[Maxima]]:
    """Measure the accounts that calibrate, and those held out, these beyond the life as well."""
    found: list[list[Maxima]] = []
    done, total = 0, len(roles.judging) + len(roles.held_out)
    after = further_queries(plan.beyond)
    judging = 0 if plan.per_million is None else after
    for lives, further in ((roles.judging, judging), (roles.held_out, after)):

        def tell(count: int, _: int, before: int = done) -> None:
            advance(before + count, total)

        found.append(
            measure(
                store,
                lives,
                base,
                plan.life,
                beyond=further,
                networks=networks,
                jobs=jobs,
                journal=journal,
                advance=tell,
            )
        )
        done += len(lives)
    return found[0], found[1]


def _model(lives: Sequence[Life], base: Profile, plan: Plan) -> str:
    """Find the one model that is calibrated for: the plan's, the profile's or the traces' only."""
    models = sorted({life.model for life in lives})
    watched = [each for each in models if base.watches(each) and plan.model in (None, each)]
    if not watched:
        raise ProfileError(
            f"the traces are of {', '.join(models)}, not of {plan.model or base.model}; a profile "
            "is calibrated on traffic of its own model"
        )
    if len(watched) > 1:
        raise ProfileError(
            f"the traces are of {len(watched)} models; choose with --model: {', '.join(watched)}"
        )
    return watched[0]


def _repeated(lives: Sequence[Life]) -> list[str]:
    seen: dict[str, int] = {}
    for life in lives:
        seen[life.account] = seen.get(life.account, 0) + 1
    return sorted(account for account, times in seen.items() if times > 1)


def _profile(
    base: Profile,
    calibration: Sequence[Maxima],
    plan: Plan,
    heeded: Heeded,
    name: str,
    model: str,
) -> Profile:
    share = shares(exact(plan.alpha), len(calibration), base.judged)
    detectors = []
    for each in base.detectors:
        if each.detector not in share:
            detectors.append(each)
            continue
        maxima = [account.maxima[each.detector] for account in calibration]
        chosen = threshold(maxima, share[each.detector])
        if math.isinf(chosen):
            never = sum(map(math.isinf, maxima))
            raise ProfileError(
                f"{each.detector} is never ready in {plan.life} queries for {never} of "
                f"{len(maxima)} calibration accounts, so no threshold can be chosen; use a longer "
                "--life, or leave it out with --detector"
            )
        least = DETECTORS[each.detector].least
        detectors.append(msgspec.structs.replace(each, threshold=max(chosen, least)))
    return msgspec.structs.replace(
        base,
        name=name,
        model=model,
        detectors=tuple(detectors),
        promise=Promise(
            alpha=plan.alpha,
            accounts=len(calibration),
            life=plan.life,
            populations=tuple(sorted({account.life.trace for account in calibration})),
            feedback_honest=len(heeded.honest),
            feedback_left_out=len(heeded.thieves) + len(heeded.open),
        ),
    )


def _with_measurement(
    profile: Profile, measured: Sequence[FalseAlarms], later: Sequence[Beyond]
) -> Profile:
    if not measured:
        return profile
    row = overall(measured)
    changes: dict[str, Any] = {
        "held_out_accounts": row.accounts,
        "held_out_alarms": row.alarms,
        "held_out_interval": tuple(row.interval),
    }
    if later:
        changes["beyond_queries"] = later[-1].queries
        changes["beyond_alarms"] = later[-1].alarms
        changes["beyond_interval"] = tuple(later[-1].interval)
    return msgspec.structs.replace(
        profile, promise=msgspec.structs.replace(profile.promise, **changes)
    )
