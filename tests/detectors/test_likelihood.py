"""The likelihood statistic is the paper's, computed the obvious way, for any log-likelihoods."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.catalog import build
from gamekeeper.detectors.engine import DetectorProfile, Engine, Profile, resolve
from gamekeeper.detectors.likelihood import Likelihood
from gamekeeper.detectors.networks import build as build_network
from gamekeeper.detectors.networks import featurizer as featurizers
from gamekeeper.schemas.errors import ProfileError, StateError
from support.traces import arrival

Values = NDArray[np.float32]
few = settings(max_examples=40, deadline=None)
likelihoods = st.lists(
    st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -1.0, -1.5]), min_size=1, max_size=80
).map(lambda values: np.array(values, np.float32))
extreme = st.lists(
    st.floats(allow_nan=False, width=32) | st.just(0.0), min_size=1, max_size=60
).map(lambda values: np.array(values, np.float32))


def batch(first: int, values: Values | None, n: int = 0) -> Batch:
    """Make queries that matter by their log-likelihoods only."""
    n = n if values is None else len(values)
    features = {} if values is None else {"log_likelihood": values[:, None]}
    return Batch(first, np.zeros((n, 1)), np.zeros(n, np.int64), features=features)


def obvious(values: Values, tails: str, beta: float, center: float, warm_up: int) -> list[float]:
    """Take mean and sample standard deviation of all so far, anew for each query."""
    statistics = []
    for n in range(1, len(values) + 1):
        so_far = values[:n].astype(np.float64)
        if n < warm_up:
            statistics.append(math.nan)
            continue
        mean, interval = so_far.mean(), beta * so_far.std(ddof=1)
        below = center - (mean + interval)
        above = (mean - interval) - center
        statistics.append(below if tails == "lower" else max(below, above))
    return statistics


def feed(detector: Likelihood, values: Values, size: int) -> list[float]:
    """Feed in batches of `size`."""
    statistics: list[float] = []
    for at in range(0, len(values), size):
        statistics += detector.update(batch(at, values[at : at + size])).tolist()
    return statistics


@few
@given(
    values=likelihoods,
    tails=st.sampled_from(["lower", "both"]),
    beta=st.sampled_from([0.0, 0.4, 3.0]),
    center=st.floats(-10, 10),
    warm_up=st.integers(2, 60),
    size=st.integers(1, 80),
)
def test_statistics_are_the_obvious_ones(
    values: Values, tails: str, beta: float, center: float, warm_up: int, size: int
) -> None:
    """Both forms agree with means and deviations computed anew for each query."""
    detector = Likelihood(tails=tails, beta=beta, center=center, warm_up=warm_up)
    expected = obvious(values, tails, beta, center, warm_up)
    assert feed(detector, values, size) == pytest.approx(expected, rel=1e-6, abs=1e-3, nan_ok=True)


@pytest.mark.parametrize(("window", "half"), [(100, 50), (101, 51), (400, 200)])
@pytest.mark.parametrize("size", [1, 37, 300])
def test_a_window_forgets_by_weights(window: int, half: int, size: int) -> None:
    """Once `half` is seen, each value weighs 1 / half, and what was before it so much less."""
    rng = np.random.default_rng(0)
    values = (rng.normal(0, 1, 300) + np.linspace(0, 3, 300)).astype(np.float32)
    expected = []
    for n in range(1, 301):
        weights = np.full(min(n, half), 1 / min(n, half))
        for _ in range(half, n):
            weights = np.append(weights * (1 - 1 / half), 1 / half)
        told = values[:n].astype(np.float64)
        mean = weights @ told
        spread = (
            weights @ (told - mean) ** 2 * len(weights[:half]) / max(1, len(weights[:half]) - 1)
        )
        expected.append(-(mean + 0.5 * math.sqrt(spread)) if n >= 2 else math.nan)
    detector = Likelihood(beta=0.5, warm_up=2, window=window)
    assert feed(detector, values, size) == pytest.approx(expected, nan_ok=True)
    least = [each["query"] for each in detector.evidence(-1)["least_likely"]]
    assert len(least) == 5
    assert min(least) >= 300 - window


@pytest.mark.parametrize("window", [-1, 99, 2**31])
def test_a_window_that_says_nothing_is_refused(window: int) -> None:
    """Fewer queries than make a mean."""
    with pytest.raises(ProfileError, match=r"likelihood\.window"):
        Likelihood(window=window)


@few
@given(values=extreme, beta=st.sampled_from([0.0, 2.0]), tails=st.sampled_from(["lower", "both"]))
def test_anything_is_scored(values: Values, beta: float, tails: str) -> None:
    """Infinite and huge log-likelihoods give finite statistics, and evidence that is JSON."""
    detector = Likelihood(tails=tails, beta=beta, center=0.0, warm_up=2)
    found = detector.update(batch(0, values))
    assert np.isfinite(found[1:]).all()
    for row in range(len(values)):
        json.dumps(detector.evidence(row), allow_nan=False)


@few
@given(values=likelihoods, cut=st.integers(1, 79))
def test_any_batching_and_restoring_give_the_same_bits(values: Values, cut: int) -> None:
    """One batch, single queries, and a restored detector agree exactly, evidence included."""
    options = {"beta": 0.5, "warm_up": 3}
    whole, single, saved = (Likelihood(beta=0.5, warm_up=3) for _ in range(3))
    expected = feed(whole, values, len(values))
    assert np.array_equal(feed(single, values, 1), expected, equal_nan=True)
    feed(saved, values[:cut], 7)
    restored = build("likelihood", options)
    restored.load(saved.header(), [])
    rest = restored.update(batch(cut, values[cut:]))
    assert np.array_equal(rest, expected[cut:], equal_nan=True)
    assert single.evidence(-1) == whole.evidence(-1)
    if len(rest):
        assert restored.evidence(-1) == whole.evidence(-1)


def test_evidence_names_the_least_likely_as_of_the_row() -> None:
    """The five least likely queries so far, the oldest of equals first, with mean and deviation."""
    values = np.float32([-1, -9, -3, -9, -2, -5, -4, -7, 0])
    detector = Likelihood(center=-2.0)
    detector.update(batch(100, values))
    assert [each["query"] for each in detector.evidence(8)["least_likely"]] == [
        101,
        103,
        107,
        105,
        106,
    ]
    assert detector.evidence(2) == {
        "tails": "lower",
        "center": -2.0,
        "beta": 0.0,
        "mean": pytest.approx(-13 / 3),
        "std": pytest.approx(np.std([-1, -9, -3], ddof=1)),
        "count": 3,
        "least_likely": [
            {"query": 101, "log_likelihood": -9.0},
            {"query": 102, "log_likelihood": -3.0},
            {"query": 100, "log_likelihood": -1.0},
        ],
    }


def test_the_statistic_starts_after_fifty_queries() -> None:
    """By default, the 50th log-likelihood is the first that gives a statistic."""
    found = Likelihood().update(batch(0, np.full(60, -2, np.float32)))
    assert np.isnan(found[:49]).all()
    assert (found[49:] == 2).all()


def test_queries_without_a_likelihood_change_nothing() -> None:
    """They repeat the last statistic, and do not count towards the warm-up."""
    detector = Likelihood(warm_up=2)
    assert np.isnan(detector.update(batch(0, None, 5))).all()
    assert np.isnan(detector.update(batch(5, np.float32([-1])))).all()
    assert detector.update(batch(6, np.float32([-3]))).tolist() == [2.0]
    assert detector.update(batch(7, None, 3)).tolist() == [2.0, 2.0, 2.0]
    assert detector.evidence(2)["count"] == 2


def test_the_second_tail_sees_what_is_too_likely() -> None:
    """An account whose queries are likelier than benign ones is far on the upper side only."""
    values = np.full(50, -0.1, np.float32)
    lower = Likelihood(center=-1.0).update(batch(0, values))[-1]
    both = Likelihood(center=-1.0, tails="both").update(batch(0, values))[-1]
    assert lower == pytest.approx(-0.9)
    assert both == pytest.approx(0.9)


@pytest.mark.parametrize("beta", [0.0, 0.4])
def test_one_absurd_query_hides_an_account_only_behind_an_interval(beta: float) -> None:
    """What the docstring warns of: above beta 0, one outlier lowers the statistic for good."""
    plain = np.full(1000, -3, np.float32)
    hiding = plain.copy()
    hiding[0] = -1e6
    seen, hidden = (
        Likelihood(beta=beta).update(batch(0, values))[-1] for values in (plain, hiding)
    )
    assert (hidden < seen) == (beta > 0)


def test_no_threshold_is_made_up() -> None:
    """Log-likelihoods have their model's scale, so the detector has no threshold of its own."""
    assert math.isnan(Likelihood().threshold)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tails": "upper"}, "there are: lower, both"),
        ({"tails": "both"}, "center has to be given"),
        ({"beta": -0.1}, "beta"),
        ({"beta": math.inf}, "beta"),
        ({"beta": math.nan}, "beta"),
        ({"center": math.inf}, "center"),
        ({"warm_up": 1}, "warm_up"),
        ({"center": "x"}, "takes a value of type float"),
    ],
)
def test_unusable_options_are_refused(options: dict[str, object], message: str) -> None:
    """Options that mean nothing raise `ProfileError`, saying what to give."""
    with pytest.raises(ProfileError, match=message):
        build("likelihood", options)


def test_state_of_other_options_is_refused() -> None:
    """A header is of the options it was made with, and of none but these."""
    header = Likelihood().header()
    Likelihood().load(header, [])
    with pytest.raises(StateError, match="start the account afresh"):
        Likelihood(beta=1.0).load(header, [])


def density(digits: NDArray[np.float64]) -> featurizers.NetworkFeaturizer:
    """Fit a mixture to `(n, 64)` digits, as training does."""
    spec = {"kind": "gaussian-mixture", "shape": [64], "high": 16.0, "components": 4}
    module = build_network(spec)
    x = featurizers.prepare(digits, spec).double().numpy()
    std = np.where(x.std(0) > 0, x.std(0), 1)
    fitted = GaussianMixture(4, reg_covar=0.1, random_state=0).fit((x - x.mean(0)) / std)
    arrays = {
        "mean": x.mean(0),
        "std": std,
        "weights": fitted.weights_,
        "means": fitted.means_,
        "precisions": fitted.precisions_cholesky_,
    }
    module.load_state_dict({name: torch.from_numpy(each) for name, each in arrays.items()})
    return featurizers.load(featurizers.dump(module, spec))


def test_augmented_digits_alarm_and_natural_ones_do_not() -> None:
    """With a density of real digits, the engine tells an attacker's account from an honest one."""
    rng = np.random.default_rng(0)
    digits = rng.permutation(load_digits(return_X_y=True)[0])
    run = density(digits[:900])
    natural = digits[1300:]
    steps = 3.2 * rng.choice([-1, 1], natural.shape)
    crafted = np.concatenate([natural[:100], (natural + steps).clip(0, 16)])
    center = float(run(digits[900:1300]).mean())
    # Honest accounts of three draws reach 1.6, the crafted ones 110.
    each = DetectorProfile(detector="likelihood", options={"center": center}, threshold=10.0)
    engine = Engine(resolve(Profile(name="test", detectors=(each,))), [run])
    arrivals = [
        arrival(account, inputs) for account, inputs in (("honest", natural), ("thief", crafted))
    ]
    honest, thief = engine.process(arrivals)
    assert not honest.verdicts
    assert thief.verdicts[0].activity == "create"
    assert 100 < thief.verdicts[0].query < 120
