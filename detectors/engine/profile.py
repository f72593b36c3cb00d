"""A profile: which detectors watch a model, their thresholds, the alarm policy and the promise.

Profiles are immutable and identified by a content hash, which every verdict carries.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, get_args

import msgspec

from gamekeeper.detectors.catalog import DETECTORS, build
from gamekeeper.detectors.engine.habits import DeclaredHabit, checked
from gamekeeper.schemas.errors import ProfileError

Mode = Literal["latch", "reset"]
MODES: tuple[str, ...] = get_args(Mode)
FORGET_AFTER = 90 * 24 * 3600.0
"""Seconds: longer than a customer who comes once a month is away."""
LONG = 256
"""Characters of an option from which on an account keeps its hash instead."""
LEAST_FORGET_AFTER = 24 * 3600.0
"""Seconds: what is shorter than a day, a thief would wait out."""


class DetectorProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One detector's options and threshold; an alarm is a statistic strictly above it.

    A threshold left out is the one that the detector documents for its options, if it has one.
    """

    detector: str
    options: dict[str, Any] = {}
    threshold: float | None = None


class NetworkRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network that makes a feature: a file beside the profile's, and its SHA-256 in hex."""

    feature: str
    file: str
    sha256: str


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens at and after an alarm.

    `latch`: the finding stays open until an analyst closes it, or until `close_after` seconds of
    event time (0 or more) have passed without a statistic above the threshold. `reset`: as in the
    papers, the detector forgets everything and goes on, so that each alarm is a finding of its own.
    An account without an open finding that has sent no query for `forget_after` seconds of event
    time (a day or more; None: for ever) is forgotten: its next query is that of a new account.
    """

    mode: Mode = "latch"
    close_after: float | None = None
    forget_after: float | None = FORGET_AFTER


class Promise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lifetime false-alarm rate that the thresholds carry, and what it rests on.

    `alpha` is None where thresholds were not calibrated: then nothing is promised. What was
    measured on benign accounts that calibration never saw stands beside it: `held_out_alarms` of
    `held_out_accounts` ever alarmed, by any detector; with the exact 95 % interval of the rate.
    After that life, at most `per_million` first alarms per million queries are promised, with 95 %
    confidence (None: no number is), and `beyond_alarms` of these accounts alarmed first in
    `beyond_queries` queries, with the exact 95 % interval of such alarms per million queries; None:
    none of them was longer.
    Of the accounts that calibrated or measured, `feedback_honest` have findings that analysts
    closed as harmless; `feedback_left_out` others were left out for theirs.
    """

    alpha: float | None = None
    accounts: int = 0
    life: int | None = None
    populations: tuple[str, ...] = ()
    held_out_accounts: int = 0
    held_out_alarms: int = 0
    held_out_interval: tuple[float, float] | None = None
    beyond_queries: int = 0
    beyond_alarms: int = 0
    beyond_interval: tuple[float, float] | None = None
    per_million: float | None = None
    feedback_honest: int = 0
    feedback_left_out: int = 0

    @property
    def content(self) -> dict[str, Any]:
        """Give it in JSON's types, without what was added since where that says nothing."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        if self.beyond_interval is None:
            for name in ("beyond_queries", "beyond_alarms", "beyond_interval"):
                del content[name]
        if self.per_million is None:
            del content["per_million"]
        if not self.feedback_honest and not self.feedback_left_out:
            del content["feedback_honest"], content["feedback_left_out"]
        return content


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Everything that decides verdicts for one model (`*`: for every model)."""

    schema: int = 1
    name: str
    model: str = "*"
    detectors: tuple[DetectorProfile, ...]
    networks: tuple[NetworkRef, ...] = ()
    policy: Policy = Policy()
    promise: Promise = Promise()
    habits: tuple[DeclaredHabit, ...] = ()

    @cached_property
    def canonical(self) -> bytes:
        """Give the content as canonical JSON.

        What was added to profiles since is left out where it is as if it were not there: older
        profiles keep their hashes.
        """
        content = msgspec.to_builtins(self) | {"promise": self.promise.content}
        if self.policy.forget_after == FORGET_AFTER:
            del content["policy"]["forget_after"]
        if not self.habits:
            del content["habits"]
        return msgspec.json.encode(content, order="sorted")

    @cached_property
    def hash(self) -> str:
        """Identify the content: the first 16 hex digits of its canonical JSON's SHA-256."""
        return hashlib.sha256(self.canonical).hexdigest()[:16]

    @cached_property
    def declared(self) -> dict[str, DeclaredHabit]:
        """Give what is declared, by account."""
        return {each.account: each for each in self.habits}

    def watches(self, model: str) -> bool:
        """Say whether the profile is meant for this model."""
        return self.model in ("*", model)

    @property
    def features(self) -> frozenset[str]:
        """Name the features that its detectors read."""
        return frozenset(DETECTORS[each.detector].feature for each in self.detectors) - {""}

    @cached_property
    def read(self) -> frozenset[str]:
        """Name the detectors whose statistics another one reads."""
        built = (build(each.detector, each.options) for each in self.detectors)
        return frozenset(name for each in built for name in each.reads)

    @property
    def judged(self) -> tuple[DetectorProfile, ...]:
        """Give the detectors that can alarm, or are to: all but those that are only read."""
        return tuple(
            each
            for each in self.detectors
            if each.threshold is not None or each.detector not in self.read
        )

    def setup(self, each: DetectorProfile) -> str:
        """Name what a detector's state depends on: options and network, never the threshold.

        Long options by their hash: every account keeps it.
        """
        feature = DETECTORS[each.detector].feature
        networks = [ref.sha256 for ref in self.networks if ref.feature == feature]
        options = {name: _short(value) for name, value in each.options.items()}
        return msgspec.json.encode([options, *networks], order="sorted").decode()


def default_profile() -> Profile:
    """Return the profile used where none is given: hardened PRADA, uncalibrated."""
    return resolve(Profile(name="default", detectors=(DetectorProfile(detector="prada"),)))


def override(profile: Profile, sets: Iterable[str], detectors: Sequence[str] = ()) -> Profile:
    """Apply `--detector NAME` and `--set NAME.option=value` to a profile.

    `detectors`, where given, names those that run; one that the profile lacks runs with its
    defaults. `NAME` is a detector or `policy`; values are JSON, or else taken as text.
    """
    known = {each.detector: each for each in profile.detectors}
    chosen = {
        name: known.get(name, DetectorProfile(detector=name)) for name in detectors or tuple(known)
    }
    policy = profile.policy
    for text in sets:
        name, option, value = _parse(text)
        if name == "policy":
            policy = _change_policy(policy, option, value)
        elif name not in chosen:
            raise ProfileError(f"--set {text}: no detector {name!r} runs; add --detector {name}")
        elif option == "secret":
            raise ProfileError(
                f"--set {name}.secret: arguments are seen by every user of the machine; leave it "
                "out: `gamekeeper calibrate` draws one into the profile"
            )
        elif option == "threshold":
            chosen[name] = msgspec.structs.replace(chosen[name], threshold=_number(text, value))
        else:
            # An option may move the detector's own default threshold, so it is resolved anew.
            options = {**chosen[name].options, option: value}
            chosen[name] = DetectorProfile(detector=name, options=options)
    changed = msgspec.structs.replace(profile, detectors=tuple(chosen.values()), policy=policy)
    _check_learned(known, chosen)
    if changed.detectors != profile.detectors:
        changed = msgspec.structs.replace(changed, promise=Promise())
    return resolve(changed)


def _check_learned(
    before: Mapping[str, DetectorProfile], after: Mapping[str, DetectorProfile]
) -> None:
    """Refuse other options for a detector that is read by one that has learned of it as it was."""
    for each in after.values():
        if each == before.get(each.detector):
            for name in build(each.detector, each.options).reads:
                if name in after and after[name].options != before[name].options:
                    raise ProfileError(
                        f"{each.detector} has learned what {name} says as it is set; calibrate "
                        f"again without what {each.detector} has learned to set {name} otherwise"
                    )


def resolve(profile: Profile) -> Profile:
    """Fill in the detectors' own thresholds; `ProfileError` on what cannot be meant.

    A detector that has none is left without: it scores, and never alarms.
    """
    if not profile.detectors:
        raise ProfileError(f"profile {profile.name!r} names no detector")
    names = [each.detector for each in profile.detectors]
    if len(set(names)) < len(names):
        raise ProfileError(f"profile {profile.name!r} names a detector twice: {', '.join(names)}")
    for option, least, never in (
        ("close_after", 0.0, "leave findings open"),
        ("forget_after", LEAST_FORGET_AFTER, "remember accounts for ever"),
    ):
        patience = getattr(profile.policy, option)
        if patience is not None and not least <= patience < math.inf:
            raise ProfileError(
                f"profile {profile.name!r} has policy.{option} {patience:g}; give {least:g} "
                f"seconds or more, or null to {never}"
            )
    _check_reading(profile)
    detectors = (
        each if each.detector in profile.read else _with_threshold(each)
        for each in profile.detectors
    )
    habits = checked(profile.name, profile.habits)
    return msgspec.structs.replace(profile, detectors=tuple(detectors), habits=habits)


def _check_reading(profile: Profile) -> None:
    """Refuse a detector that reads what is not there, or what alarms would take from it."""
    missing = profile.read.difference(each.detector for each in profile.detectors)
    if missing:
        raise ProfileError(
            f"profile {profile.name!r} lacks what one of its detectors reads: "
            f"{', '.join(sorted(missing))}; add them, or calibrate again without"
        )
    if profile.read and profile.policy.mode == "reset":
        raise ProfileError(
            f"profile {profile.name!r}: under the policy `reset` alarms make detectors forget, "
            "whose statistics another one reads; use policy.mode=latch"
        )


def check_thresholds(profile: Profile) -> Profile:
    """Give the profile back if each detector can alarm, or is read; else raise `ProfileError`."""
    for each in profile.detectors:
        if each.threshold is None and each.detector not in profile.read:
            raise ProfileError(
                f"profile {profile.name!r}: {each.detector} has no threshold of its own: "
                "`gamekeeper calibrate` chooses one, or give it with "
                f"--set {each.detector}.threshold=..."
            )
    return profile


def _short(value: Any) -> Any:
    """Put a hash in the place of a long text."""
    if isinstance(value, str) and len(value) > LONG:
        return hashlib.sha256(value.encode()).hexdigest()
    return value


def _with_threshold(each: DetectorProfile) -> DetectorProfile:
    detector = build(each.detector, each.options)
    if each.threshold is not None:
        return each
    if math.isnan(detector.threshold):
        return each
    return msgspec.structs.replace(each, threshold=float(detector.threshold))


def _parse(text: str) -> tuple[str, str, Any]:
    target, equals, value = text.partition("=")
    name, dot, option = target.rpartition(".")
    if not (equals and dot and name and option):
        raise ProfileError(f"--set {text}: write NAME.option=value, such as prada.mode=paper")
    try:
        return name, option, json.loads(value)
    except ValueError:
        return name, option, value


def _number(text: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProfileError(f"--set {text}: a threshold is a number")
    return float(value)


def _change_policy(policy: Policy, option: str, value: Any) -> Policy:
    seconds = "give seconds, or null"
    valid = {
        "mode": f"there are: {', '.join(MODES)}",
        "close_after": seconds,
        "forget_after": seconds,
    }
    if option not in valid:
        raise ProfileError(f"policy has no option {option!r}; it has: {', '.join(valid)}")
    try:
        return msgspec.convert({**msgspec.structs.asdict(policy), option: value}, Policy)
    except msgspec.ValidationError as error:
        said = value if isinstance(value, str) else json.dumps(value)
        raise ProfileError(f"--set policy.{option}={said}: {valid[option]}") from error
