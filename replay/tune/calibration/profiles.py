"""Profiles as files and as text: written, described, compared."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine import (
    DetectorProfile,
    NetworkRef,
    Profile,
    Promise,
    default_profile,
)
from gamekeeper.detectors.vectors import fingerprint
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.files import whole
from gamekeeper.stream.profile_files import load_profile, read_network

LONG = 64
"""Characters of an option that are shown."""
SHIPPED = Path(str(files("gamekeeper.replay.sample"))) / "profile.json"
"""The profile of the sample trace's model; its networks lie beside it."""


def open_profile(path: Path | None) -> tuple[Profile, Path]:
    """Read a profile; say the folder of its networks, too.

    No path is the built-in profile, `sample` the one that ships beside the sample trace. Raises
    `ProfileError`.
    """
    if path is None:
        return default_profile(), Path()
    if path == Path("sample"):
        path = SHIPPED
    if not path.exists():
        raise ProfileError(
            f"{path}: no such file; `gamekeeper calibrate --out` writes one, `sample` ships with "
            "the package"
        )
    return load_profile(path), path.parent


def write_profile(profile: Profile, path: Path) -> None:
    """Write a profile in one step; `ProfileError` where that is impossible.

    The file is the canonical JSON that the hash is of: `sha256sum` begins with the hash.
    """
    try:
        with whole(path) as temporary:
            temporary.write_bytes(profile.canonical)
    except OSError as error:
        raise ProfileError(f"{path}: cannot write the profile: {error.strerror}") from error


def adopt(networks: Path, out: Path, features: Collection[str]) -> tuple[NetworkRef, ...]:
    """Copy a folder's networks for these features beside the profile at `out`, named after it.

    Raises `ProfileError` where one is missing or cannot be written.
    """
    return tuple(
        _adopt(networks / f"{feature}.safetensors", out, feature) for feature in sorted(features)
    )


def _adopt(source: Path, out: Path, feature: str) -> NetworkRef:
    try:
        return _write_network(source.read_bytes(), out, feature)
    except OSError as error:
        raise ProfileError(
            f"{error.filename}: {error.strerror}; `gamekeeper train` writes {source.name}"
        ) from error


def keep(networks: Iterable[NetworkRef], folder: Path, out: Path) -> tuple[NetworkRef, ...]:
    """Copy a profile's networks, which lie in `folder`, beside the profile at `out`.

    Raises `ProfileError` where one is missing, is another one or cannot be written.
    """
    try:
        return tuple(
            _write_network(read_network(each, folder), out, each.feature) for each in networks
        )
    except OSError as error:
        raise ProfileError(f"{error.filename}: cannot be written: {error.strerror}") from error


def _write_network(data: bytes, out: Path, feature: str) -> NetworkRef:
    target = out.with_name(f"{out.stem}.{feature}.safetensors")
    target.write_bytes(data)
    return NetworkRef(feature=feature, file=target.name, sha256=sha256(data).hexdigest())


def options(each: DetectorProfile) -> dict[str, Any]:
    """Give all of a detector's options to look at: what the profile sets, and the defaults.

    >>> options(DetectorProfile(detector="prada-v1", options={"window": 50}))["window"]
    50
    """
    known = inspect.signature(DETECTORS[each.detector]).parameters
    given = shown({name: each.options.get(name, known[name].default) for name in known})
    return {name: _brief(value) for name, value in given.items()}


def _brief(value: Any) -> Any:
    """Put a hash in the place of a long text, which nobody reads."""
    if not isinstance(value, str) or len(value) <= LONG:
        return value
    digest = sha256(value.encode()).hexdigest()[:16]
    return f"{len(value):,} characters, SHA-256 {digest}..."


def shown(given: Mapping[str, Any]) -> dict[str, Any]:
    """Put the fingerprint in the place of a secret that was drawn; 0, the public one, stays.

    >>> shown({"delta": 0.5, "secret": 0})
    {'delta': 0.5, 'secret': 0}
    >>> shown({"delta": 0.5, "secret": 12345})["secret"]
    '87ced71f17f6f1c9'
    """
    secret = given.get("secret")
    return {**given, "secret": fingerprint(secret)} if secret else dict(given)


def document(profile: Profile) -> dict[str, Any]:
    """Lay a profile out in JSON's types, with its hash, and without its secrets."""
    detectors = [
        msgspec.structs.replace(each, options=shown(each.options)) for each in profile.detectors
    ]
    return {"hash": profile.hash, **msgspec.structs.asdict(profile), "detectors": detectors}


def flat(profile: Profile) -> dict[str, Any]:
    """Lay a profile out as one value per dotted name, in a fixed order.

    >>> from gamekeeper.detectors.engine.profile import default_profile
    >>> flat(default_profile())["prada.mode"]
    'hardened'
    """
    values: dict[str, Any] = {"name": profile.name, "model": profile.model}
    for each in profile.detectors:
        values[f"{each.detector}.threshold"] = each.threshold
        values |= {f"{each.detector}.{name}": value for name, value in options(each).items()}
    for habit in profile.habits:
        terms: dict[str, Any] = msgspec.to_builtins(habit)
        account = terms.pop("account")
        values |= {f"habits.{account}.{name}": value for name, value in terms.items()}
    values |= {f"networks.{each.feature}": each.sha256 for each in profile.networks}
    for group, part in (("policy", profile.policy), ("promise", profile.promise)):
        builtins: dict[str, Any] = msgspec.to_builtins(part)
        values |= {f"{group}.{name}": value for name, value in builtins.items()}
    return values


class Difference(NamedTuple):
    """A dotted name with its values in two profiles; None where one of them lacks it."""

    name: str
    before: Any
    after: Any


def differences(before: Profile, after: Profile) -> list[Difference]:
    """List what differs between two profiles; an option left out equals its default."""
    old, new = flat(before), flat(after)
    return [
        Difference(name, old.get(name), new.get(name))
        for name in [*old, *(name for name in new if name not in old)]
        if old.get(name) != new.get(name)
    ]


def promised(promise: Promise) -> list[str]:
    """Say a promise in plain words, one sentence a line."""
    if promise.alpha is None:
        return ["not calibrated: no false-alarm rate is promised"]
    lines = [
        f"at most {100 * promise.alpha:g} % of benign accounts ever alarm in their first "
        f"{promise.life} queries, by any of the detectors",
        f"calibrated on {promise.accounts} benign accounts of: {', '.join(promise.populations)}; "
        "it holds for accounts like these, and not for others",
    ]
    if promise.per_million is not None:
        lines.append(
            f"and, with 95 % confidence, at most {promise.per_million:g} first alarms per million "
            "queries after that"
        )
    if promise.feedback_honest or promise.feedback_left_out:
        lines.append(
            f"analysts' feedback: {promise.feedback_honest} accounts count as honest since their "
            f"findings were closed as harmless, {promise.feedback_left_out} were left out"
        )
    if promise.held_out_interval is None:
        return [*lines, "not measured: no account was held out"]
    low, high = (f"{100 * end:.3g}" for end in promise.held_out_interval)
    return [
        *lines,
        f"measured on accounts held out: {promise.held_out_alarms} of "
        f"{promise.held_out_accounts} ever alarmed, a rate of {low} to {high} % (95 % interval)",
        _later(promise),
    ]


def _later(promise: Promise) -> str:
    """Say what is known of queries after the promised life."""
    if promise.beyond_interval is None:
        return "nothing is known of longer lives: no account held out was seen beyond this one"
    low, high = (f"{end:.3g}" for end in promise.beyond_interval)
    return (
        f"beyond that life {promise.beyond_alarms} of them first alarmed in "
        f"{promise.beyond_queries:,} queries, {low} to {high} per million (95 % interval)"
    )
