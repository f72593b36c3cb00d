"""The four out-of-distribution scores are those of their papers, computed the obvious way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis
from scipy.special import expit, softmax
from torch import Tensor

from gamekeeper.detectors.networks import (
    ConvEncoder,
    MlpEncoder,
    OodMahalanobis,
    OodNetwork,
    build,
    dump,
    load,
    parse,
    plain,
)
from gamekeeper.schemas.errors import ProfileError

SHAPES = {"images": [8, 9], "vectors": [6]}
each_shape = pytest.mark.parametrize("rows", SHAPES)


def network(rows: str, kind: str, **options: Any) -> tuple[OodNetwork, dict[str, Any], Tensor]:
    """Make a network whose logits differ as trained ones do, its spec, and rows for it."""
    shape = SHAPES[rows]
    classes = {} if kind == "ood-binary" else {"classes": 5}
    narrow = {"channels": [4, 5], "hidden": 16, "dimensions": 8}
    spec = {"kind": kind, "shape": shape, **narrow, **classes, **options}
    torch.manual_seed(1)
    module = build(spec).eval()
    assert isinstance(module, OodNetwork)
    with torch.no_grad():
        module.head.weight.mul_(30)
    if isinstance(module.trunk, MlpEncoder):
        module.trunk.std.copy_(torch.rand(6) + 0.1)
    return module, spec, torch.rand(20, *([1, *shape] if rows == "images" else shape))


def logits(module: OodNetwork, x: Tensor) -> NDArray[np.float64]:
    """Give the classifier's logits."""
    with torch.no_grad():
        found: NDArray[np.float64] = module(x).double().numpy()
    return found


def scores(module: OodNetwork, spec: dict[str, Any], x: Tensor) -> NDArray[np.float32]:
    """Give the scores that detectors get, by way of the network's file."""
    found = load(dump(module, spec))(x.reshape(len(x), *spec["shape"]).numpy())
    assert found.shape == (len(x), 1)
    return found[:, 0]


@each_shape
def test_the_binary_score_is_the_log_odds_of_an_outlier(rows: str) -> None:
    """Its logistic function is the probability of the second class."""
    module, spec, x = network(rows, "ood-binary")
    expected = softmax(logits(module, x), axis=1)[:, 1]
    assert expit(scores(module, spec, x)) == pytest.approx(expected, rel=1e-4)


@each_shape
def test_msp_is_one_minus_the_largest_probability(rows: str) -> None:
    """And differs where the largest probability is 1 in float32."""
    module, spec, x = network(rows, "ood-msp")
    expected = 1 - softmax(logits(module, x), axis=1).max(1)
    assert scores(module, spec, x) == pytest.approx(expected, rel=1e-3, abs=1e-9)
    with torch.no_grad():
        module.head.weight.mul_(30)
    sure = scores(module, spec, x)
    assert (np.float32(1) - sure == 1).any()
    assert len(np.unique(sure)) == len(x)


@each_shape
@pytest.mark.parametrize(("temperature", "epsilon"), [(1000.0, 0.0014), (1.0, 0.0), (7.0, 0.05)])
def test_odin_is_the_softmax_at_a_temperature_after_a_step(
    rows: str, temperature: float, epsilon: float
) -> None:
    """The step is -epsilon sign(-grad log S), by autograd; scores fall where S(x'; T) rises."""
    module, spec, x = network(rows, "ood-odin", temperature=temperature, epsilon=epsilon)
    leaf = x.clone().requires_grad_()
    chosen = torch.softmax(module(leaf) / temperature, 1).max(1).values
    torch.log(chosen).sum().backward()
    assert leaf.grad is not None
    unit = module.trunk.std if isinstance(module.trunk, MlpEncoder) else 1
    stepped = x - epsilon * unit * torch.sign(-leaf.grad)
    largest = softmax(logits(module, stepped) / temperature, axis=1).max(1)
    found = scores(module, spec, x)
    assert found == pytest.approx(-temperature * np.log(5 * largest), rel=1e-3, abs=1e-3)
    # In the order of 1 - S, but for rows that rounding may swap.
    assert np.abs(np.argsort(found).argsort() - np.argsort(-largest).argsort()).max() <= 1


def test_odins_step_raises_the_probability() -> None:
    """Every row's score is lower after its step, and no gradient is left behind."""
    module, spec, x = network("images", "ood-odin", epsilon=0.0014)
    still = network("images", "ood-odin", epsilon=0.0)[1]
    assert (scores(module, spec, x) < scores(module, still, x)).all()
    assert all(each.grad is None for each in module.parameters())


@each_shape
def test_mahalanobis_is_the_nearest_class_of_equal_covariance(rows: str) -> None:
    """SciPy's distance, squared, to the nearest of the means."""
    module, spec, x = network(rows, "ood-mahalanobis")
    assert isinstance(module, OodMahalanobis)
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(30, 8))
    inverse = np.linalg.inv(spread.T @ spread / 30)
    means = rng.normal(size=(5, 8))
    module.means.copy_(torch.from_numpy(means))
    module.precision.copy_(torch.from_numpy(np.linalg.cholesky(inverse)))
    with torch.no_grad():
        features = module.trunk(x).double().numpy()
    expected = [min(mahalanobis(each, mean, inverse) for mean in means) ** 2 for each in features]
    assert scores(module, spec, x) == pytest.approx(expected, rel=1e-5)


def test_mahalanobis_bears_what_is_far_away() -> None:
    """A distance beyond float32 is the largest number."""
    module, _, x = network("images", "ood-mahalanobis")
    assert isinstance(module, OodMahalanobis)
    module.means.fill_(1e30)
    with torch.no_grad():
        assert module.features(x).isfinite().all()


def test_the_trunk_is_the_encoder_of_the_shape() -> None:
    """Images have the paper's convolutions, vectors the perceptron; four tails share them."""
    for score in ("binary", "msp", "odin", "mahalanobis"):
        assert isinstance(network("images", f"ood-{score}")[0].trunk, ConvEncoder)
        assert isinstance(network("vectors", f"ood-{score}")[0].trunk, MlpEncoder)
    spec = plain(parse({"kind": "ood-odin", "shape": [28, 28], "classes": 10}))
    assert (spec["channels"], spec["hidden"], spec["dimensions"]) == ([32, 64], 512, 256)
    assert (spec["temperature"], spec["epsilon"], spec["feature"]) == (1000.0, 0.0014, "ood")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "ood-msp", "shape": [8, 8]}, "classes"),
        ({"kind": "ood-msp", "shape": [8, 8], "classes": 1}, "classes"),
        ({"kind": "ood-binary", "shape": [8, 8], "classes": 3}, "classes"),
        ({"kind": "ood-odin", "shape": [8, 8], "classes": 3, "temperature": 0}, "temperature"),
        ({"kind": "ood-odin", "shape": [8, 8], "classes": 3, "epsilon": -1}, "epsilon"),
        ({"kind": "ood-odin", "shape": [7, 8], "classes": 3}, "sides of 8 to 64"),
        ({"kind": "ood-odin", "shape": [5000], "classes": 3}, "4096"),
        ({"kind": "ood-msp", "shape": [8, 8], "classes": 3, "feature": "embedding"}, "feature"),
    ],
)
def test_specs_that_mean_nothing_are_refused(spec: dict[str, Any], message: str) -> None:
    """A faulty spec raises `ProfileError` that names the fault."""
    with pytest.raises(ProfileError, match=message):
        build(spec)
