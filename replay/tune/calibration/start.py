"""What calibration begins with: detectors with their options, networks, and no thresholds yet."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gamekeeper.detectors.base import LIKELIHOOD
from gamekeeper.detectors.catalog import DETECTORS, FITTED, options_of
from gamekeeper.detectors.engine import DetectorProfile, Profile, override
from gamekeeper.replay.tune.calibration.journal import SECRET
from gamekeeper.replay.tune.calibration.profiles import adopt, keep, open_profile
from gamekeeper.schemas.errors import ProfileError


class Start(NamedTuple):
    """What is calibrated, where its networks lie, and whose option in `FITTED` is chosen, too.

    `drawn` names the detectors whose secret was drawn.
    """

    profile: Profile
    networks: Path
    fitted: tuple[str, ...]
    drawn: tuple[str, ...] = ()


def start(
    out: Path,
    *,
    profile: Path | None = None,
    networks: Path | None = None,
    detectors: Sequence[str] = (),
    sets: Sequence[str] = (),
) -> Start:
    """Put together what the profile at `out` is to be made of.

    That is `profile` (default: the built-in one), or the detectors that read what the folder
    `networks` makes; the networks of either are copied beside `out`. `detectors` names those that
    run instead, `sets` sets options. Raises `ProfileError`.
    """
    for each in sets:
        if each.partition("=")[0].endswith(".threshold"):
            raise ProfileError(f"--set {each}: calibration chooses the thresholds; leave it out")
    if networks is None:
        base = _of_profile(profile, detectors, out)
    else:
        base = _with_networks(networks, detectors, out)
    begun = msgspec.structs.replace(base, detectors=tuple(map(_begin, base.detectors)))
    given = {each.partition("=")[0] for each in sets}
    fitted = tuple(
        each.detector
        for each in base.detectors
        if (own := FITTED.get(each.detector)) is not None
        and own.option not in each.options
        and f"{each.detector}.{own.option}" not in given
    )
    drawn = tuple(each.detector for each in base.detectors if _lacks_secret(each))
    return Start(override(begun, sets), out.parent, fitted, drawn)


def lacks_density(detectors: Sequence[str]) -> bool:
    """Say whether a density is all that these detectors need of networks.

    >>> lacks_density(["prada", "likelihood"]), lacks_density(["similarity", "likelihood"])
    (True, False)
    """
    return _features(detectors) == {LIKELIHOOD}


def _features(detectors: Iterable[str]) -> set[str]:
    """Name the features that an option of these detectors is fitted to; inputs are none."""
    return {DETECTORS[name].feature for name in detectors if name in FITTED} - {""}


def _of_profile(profile: Path | None, detectors: Sequence[str], out: Path) -> Profile:
    base, folder = open_profile(profile)
    known = {each.detector: each for each in base.detectors}
    chosen = [known.get(name, DetectorProfile(detector=name)) for name in detectors or known]
    features = {DETECTORS[each.detector].feature for each in chosen if each.detector in DETECTORS}
    read = [each for each in base.networks if each.feature in features]
    return msgspec.structs.replace(base, detectors=tuple(chosen), networks=keep(read, folder, out))


def _with_networks(networks: Path, detectors: Sequence[str], out: Path) -> Profile:
    chosen = detectors or ("prada", *_served(networks))
    return Profile(
        name=out.stem,
        detectors=tuple(DetectorProfile(detector=name) for name in chosen),
        networks=adopt(networks, out, _features(chosen)),
    )


def _begin(each: DetectorProfile) -> DetectorProfile:
    """Fill in what a detector cannot be built without, and draw its secret.

    One without options of its own becomes steady: what is promised then holds for longer lives.
    """
    kind = DETECTORS.get(each.detector)
    options: dict[str, Any] = dict(each.options or (kind.steady if kind else {}))
    fitted = FITTED.get(each.detector)
    if fitted is not None:
        options.setdefault(fitted.option, fitted.start)
    if _lacks_secret(each):
        options[SECRET] = secrets.randbits(63)
    return DetectorProfile(detector=each.detector, options=options)


def _lacks_secret(each: DetectorProfile) -> bool:
    return SECRET in options_of(each.detector) and not each.options.get(SECRET)


def _served(networks: Path) -> list[str]:
    """Name the detectors whose network is in the folder; `ProfileError` where there is none."""
    served = [
        name
        for name in FITTED
        for feature in _features([name])
        if (networks / f"{feature}.safetensors").is_file()
    ]
    if not served:
        raise ProfileError(f"{networks}: holds no network; `gamekeeper train` makes them")
    return served
