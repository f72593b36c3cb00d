"""A promise per time: the threshold that carries it, against Poisson's distribution itself."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner

from gamekeeper.detectors import catalog
from gamekeeper.detectors.engine import DetectorProfile, Profile, Promise, resolve
from gamekeeper.replay.cli.calibrate import calibrate as command
from gamekeeper.replay.tune.calibration import Plan, calibrate, promised
from gamekeeper.replay.tune.calibration.lasting import lasting
from gamekeeper.replay.tune.calibration.maxima import Later, Maxima
from gamekeeper.schemas.errors import TraceError
from gamekeeper.stream.profile_files import load_profile
from support.toys import Echo, Echo2, life, random_values, write_values

LIFE = 100


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile of two detectors that repeat what is sent."""
    for kind in (Echo, Echo2):
        monkeypatch.setitem(catalog.DETECTORS, kind.name, kind)
    return profile(Echo.name, Echo2.name)


def profile(*names: str, threshold: float | None = 0.5) -> Profile:
    """Make a profile of these detectors, with a threshold that a promise about lives has given."""
    detectors = tuple(DetectorProfile(detector=name, threshold=threshold) for name in names)
    promise = Promise(alpha=0.1, accounts=9, life=LIFE)
    return resolve(Profile(name="toys", detectors=detectors, promise=promise))


def account(values: np.ndarray, number: int = 0, names: tuple[str, ...] = ("echo",)) -> Maxima:
    """Make an account of these statistics after its life, in which there were none."""
    largest = np.maximum.accumulate(values)
    rises = [0, *(np.flatnonzero(np.diff(largest)) + 1).tolist()]
    records = [(at, float(largest[at])) for at in rises]
    later = Later(len(values), dict.fromkeys(names, records))
    return Maxima(life(f"a-{number}"), dict.fromkeys(names, 0.0), later)


def drawn(seed: int, accounts: int = 40, queries: int = 2000) -> list[Maxima]:
    """Draw accounts whose every query has a statistic from 0 to 1, whatever came before."""
    random = np.random.default_rng(seed)
    return [account(random.random(queries), number) for number in range(accounts)]


def bound(accounts: list[Maxima], threshold: float, doubt: float) -> float:
    """Bound first alarms a million queries: the rate at which so few are as seldom as doubt."""
    alarms = exposure = 0
    for each in accounts:
        assert each.later is not None
        first = each.later.first_above("echo", threshold)
        alarms += first is not None
        exposure += each.later.queries if first is None else first + 1
    rates = np.linspace(0, 2000, 200_001)
    unlikely = scipy.stats.poisson.cdf(alarms, rates * exposure / 1e6) <= doubt
    return float(rates[unlikely.argmax()])


@pytest.mark.parametrize("per_million", [60.0, 200.0, 900.0])
def test_it_is_the_lowest_threshold_that_is_sure_enough(toys: Profile, per_million: float) -> None:
    """By Poisson's distribution: at it the bound is kept, at the next lower one it is not."""
    accounts = drawn(0)
    [found] = lasting(profile("echo"), accounts, per_million).detectors
    assert found.threshold is not None
    assert bound(accounts, found.threshold, 0.05) <= per_million + 0.02
    reached = {value for each in accounts for _, value in each.later.records["echo"]}  # type: ignore[union-attr]
    below = max((value for value in reached if value < found.threshold), default=None)
    assert below is None or bound(accounts, below, 0.05) > per_million


def test_it_is_kept_as_often_as_it_says(toys: Profile) -> None:
    """Of 200 draws, the true rate is above what is promised in hardly more than 5 %."""
    above = 0
    for seed in range(200):
        [found] = lasting(profile("echo"), drawn(seed, 20, 1000), 500.0).detectors
        assert found.threshold is not None
        above += 1e6 * (1 - found.threshold) > 500.0
    assert above <= scipy.stats.binom.ppf(0.999, 200, 0.05)


def test_the_promise_about_lives_is_kept(toys: Profile) -> None:
    """A threshold is raised, never lowered."""
    quiet = [account(np.full(100_000, 0.1))]
    [found] = lasting(profile("echo"), quiet, 100.0).detectors
    assert found.threshold == 0.5


def test_detectors_share_rate_and_doubt(toys: Profile) -> None:
    """Each has half of both: 0 alarms in 73,778 queries carry 50 per million at 2.5 %."""
    names = (Echo.name, Echo2.name)
    lasting(toys, [account(np.zeros(73_778), names=names)], 100.0)
    with pytest.raises(TraceError) as refused:
        lasting(toys, [account(np.zeros(73_777), names=names)], 100.0)
    assert "sent 73,777 queries after the promised life; 50 first alarms" in str(refused.value)
    assert "take 73,778 without an alarm: record for longer" in str(refused.value)


def test_the_profile_says_what_is_promised_per_time(toys: Profile, tmp_path: Path) -> None:
    """In words and in its content; one without it has the content and hash that it had."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 40}, queries=200))
    plain = calibrate([path], toys, Plan(alpha=0.2, life=LIFE), name="x").profile
    assert "per_million" not in plain.promise.content
    made = calibrate([path], toys, Plan(alpha=0.2, life=LIFE, per_million=9e4), name="x")
    assert made.profile.promise.per_million == 9e4
    for before, after in zip(plain.detectors, made.profile.detectors, strict=True):
        assert before.threshold is not None
        assert after.threshold is not None
        assert after.threshold >= before.threshold
    assert (
        "and, with 95 % confidence, at most 90000 first alarms per million queries after that"
        in promised(made.profile.promise)
    )


def test_command_says_which_threshold_is_for_later(toys: Profile, tmp_path: Path) -> None:
    """The table names it, and the file carries the promise."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 40}, queries=400))
    out = tmp_path / "x.json"
    options = ["--detector", "echo", "--alpha", "0.5", "--life", "100", "--jobs", "1"]
    common = [str(path), "--out", str(out), *options]
    done = CliRunner().invoke(command, [*common, "--per-million", "1000"])
    assert done.exit_code == 0, done.output
    assert "of 20, for what comes after the life" in " ".join(done.stdout.split())
    written = load_profile(out)
    assert written.promise.per_million == 1000
    assert hashlib.sha256(out.read_bytes()).hexdigest()[:16] == written.hash
    said = json.loads(
        CliRunner().invoke(command, [*common, "--per-million", "1000", "--format", "json"]).stdout
    )
    assert said["plan"]["per_million"] == 1000
    refused = CliRunner().invoke(command, [*common, "--per-million", "10"])
    assert "or a higher --per-million" in str(refused.exception)
