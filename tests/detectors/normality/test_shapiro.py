"""W and its coefficients against SciPy, and the sorted sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from gamekeeper.detectors.normality import Sample, shapiro
from support import oracle
from support.coefficients import forget_coefficients

SIZES = [*range(6, 60), 99, 100, 101, 299, 300, 301, 302, 303, 999, 2345, 5000, 5001, 10_000]
SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed": lambda rng, n: rng.gamma(2, size=n),
    "ties": lambda rng, n: rng.integers(0, 4, n).astype(float),
    "outlier": lambda rng, n: np.append(rng.normal(size=n - 1), 1e9),
    "offset": lambda rng, n: 1e6 + rng.normal(size=n),
    "tiny": lambda rng, n: 1e-140 * rng.gamma(2, size=n),
    "huge": lambda rng, n: 1e102 * rng.gamma(2, size=n),
}


def w(values: NDArray[np.float64]) -> float:
    """Compute W of all of a sample."""
    sample = Sample(len(values))
    sample.fill(values)
    return sample.test(sigmas=1e9).w


@pytest.mark.parametrize("shape", SHAPES)
def test_w_is_scipys(shape: str) -> None:
    """W agrees with SciPy's to 1e-10 for every size and shape of sample."""
    rng = np.random.default_rng(0)
    for n in SIZES:
        values = np.sort(SHAPES[shape](rng, n))
        assert w(values) == pytest.approx(oracle.shapiro_wilk(values), abs=1e-10)


def test_equal_values_have_w_1() -> None:
    """W of equal values is 1, as SciPy has it."""
    assert w(np.full(50, 3.7)) == 1.0
    assert w(np.zeros(50)) == 1.0


def test_the_series_agrees_with_the_quantiles() -> None:
    """Scores from the Taylor series are those computed directly, but for AS 111's own jump."""
    for n in range(shapiro.SERIES_FROM, 10_001, 379):
        p = (np.arange(n // 2) + 0.625) / (n + 0.25)
        direct = shapiro._quantiles(p)
        assert np.allclose(direct, stats.norm.ppf(p), rtol=0, atol=5e-6)
        assert np.allclose(shapiro._scores(n), direct, rtol=0, atol=1e-8)


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coefficients beyond the bound are computed and not kept, and are the same."""
    kept = shapiro.coefficients(4321)
    forget_coefficients()
    monkeypatch.setattr(shapiro, "CACHE_BYTES", 1000)
    again = [shapiro.coefficients(n) for n in (100, 200, 4321, 4321)]
    assert len(shapiro._cache) == 1
    assert np.array_equal(again[-1].half, kept.half)
    forget_coefficients()


finite = st.floats(0, 1e6, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=20, max_size=60), st.integers(6, 19))
def test_a_sample_stays_sorted(values: list[float], window: int) -> None:
    """Inserting and replacing leave what sorting the last values gives, bit for bit."""
    sample, expected = Sample(window), Sample(window)
    for i, value in enumerate(values):
        if len(sample) < window:
            sample.insert(value)
        else:
            sample.replace(values[i - window], value)
        last = np.array(values[max(0, i + 1 - window) : i + 1])
        expected.fill(last)
        assert len(sample) == len(last)
        if len(last) >= 6:
            assert sample.test(3.0) == expected.test(3.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(100, 300), st.sampled_from(sorted(SHAPES)))
def test_outliers_are_left_out(seed: int, n: int, shape: str) -> None:
    """What is kept, its W and the moments are those of the obvious computation."""
    values: NDArray[np.float64] = SHAPES[shape](np.random.default_rng(seed), n)
    sample = Sample(n)
    sample.fill(values)
    result = sample.test(3.0 * (1 + 1e-9))
    kept = oracle.trimmed(values, strict=False)
    assert result.kept == len(kept)
    assert result.w == pytest.approx(oracle.shapiro_wilk(kept), abs=1e-10)
    assert result.mean == pytest.approx(values.mean(), rel=1e-9)
    assert result.std == pytest.approx(values.std(), rel=1e-6)


def test_too_many_outliers_stay() -> None:
    """Nothing is left out where that would be more than the given share."""
    values = np.append(np.random.default_rng(0).normal(10, 0.1, 93), np.zeros(7))
    sample = Sample(100)
    sample.fill(values)
    assert sample.test(3.0).kept < 100
    assert sample.test(3.0, most=0.05).kept == 100
