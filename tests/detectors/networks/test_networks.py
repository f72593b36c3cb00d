"""The networks are what their specs say, of any size, and compute what their formulas say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture as Fitted
from torch import Tensor, nn

from gamekeeper.detectors.networks import ConvEncoder, GaussianMixture, VqVae, build, parse, plain
from gamekeeper.detectors.networks.vq_vae import Codebook
from gamekeeper.schemas.errors import ProfileError

SMALL_VAE = {"kind": "vq-vae", "hidden": 8, "residual": 4, "codes": 16, "code": 5}
SMALL_ENCODER = {"kind": "conv-encoder", "channels": [3, 4], "hidden": 9, "dimensions": 6}


def layers(module: nn.Module) -> list[tuple[str, int, int]]:
    """List the layers with weights: their kind and widths."""
    found = []
    for each in module.modules():
        if isinstance(each, nn.Conv2d):
            found.append((f"conv{each.kernel_size[0]}", each.in_channels, each.out_channels))
        if isinstance(each, nn.Linear):
            found.append(("linear", each.in_features, each.out_features))
        if isinstance(each, nn.MaxPool2d):
            found.append(("pool", 0, 0))
    return found


def test_the_encoder_is_the_papers() -> None:
    """Without widths of its own, a spec means the paper's layers."""
    assert layers(build({"kind": "conv-encoder", "shape": [32, 32, 3]})) == [
        ("conv3", 3, 32),
        ("conv3", 32, 32),
        ("pool", 0, 0),
        ("conv3", 32, 64),
        ("conv3", 64, 64),
        ("pool", 0, 0),
        ("linear", 64 * 8 * 8, 512),
        ("linear", 512, 256),
    ]


def test_the_vq_vae_is_the_papers() -> None:
    """Without widths of its own, a spec means the paper's numbers."""
    spec = plain(parse({"kind": "vq-vae", "shape": [28, 28]}))
    numbers = {name: spec[name] for name in ("hidden", "layers", "residual", "codes", "code")}
    assert numbers == {"hidden": 128, "layers": 2, "residual": 32, "codes": 512, "code": 64}
    assert (spec["beta"], spec["decay"], spec["feature"]) == (0.25, 0.99, "log_likelihood")


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 8), (4, 30, 31), (2, 64, 64), (3, 10, 63)])
def test_images_of_any_size(shape: tuple[int, ...]) -> None:
    """Encoders and auto-encoders take any size; reconstructions are as large as the images."""
    x = torch.rand(2, *shape)
    assert build({**SMALL_ENCODER, "shape": shape})(x).shape == (2, 6)
    vae = build({**SMALL_VAE, "shape": shape})
    assert vae(x).reconstruction.shape == x.shape
    assert vae.features(x).shape == (2, 1)


def test_log_likelihood_is_the_scaled_error() -> None:
    """An image's log-likelihood is minus its mean squared error over the data's variance."""
    vae = build({**SMALL_VAE, "shape": [12, 12]}).eval()
    assert isinstance(vae, VqVae)
    vae.variance.fill_(0.25)
    x = torch.rand(5, 1, 12, 12)
    error = (vae(x).reconstruction - x).detach().numpy()
    expected = [-np.square(each).mean() / 0.25 for each in error]
    assert vae.log_likelihood(x).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_nearest_codes_are_those_of_the_obvious_search(scale: float) -> None:
    """Each vector gets the code at the least Euclidean distance."""
    book = Codebook(40, 6, decay=0.99)
    book.codes.mul_(scale)
    vectors = torch.randn(300, 6) * scale
    chosen = book.nearest(vectors)
    distances = np.linalg.norm(
        vectors.double().numpy()[:, None] - book.codes.double().numpy()[None], axis=2
    )
    taken = distances[np.arange(300), chosen.numpy()]
    assert np.allclose(taken, distances.min(1), rtol=1e-5)


def test_codes_are_running_means() -> None:
    """In training mode a code moves to the mean of what chose it, by its decay; else it stays."""
    book = Codebook(2, 1, decay=0.5)
    book.codes.copy_(torch.tensor([[0.0], [10.0]]))
    book.sums.copy_(book.codes)
    encoded = torch.tensor([1.0, 2.0, 12.0]).reshape(3, 1, 1, 1)
    book.eval()(encoded)
    assert book.codes.tolist() == [[0.0], [10.0]]
    assert book.train()(encoded).flatten().tolist() == [0.0, 0.0, 10.0]
    # Sizes (1 + 2) / 2 and (1 + 1) / 2; sums (0 + 3) / 2 and (10 + 12) / 2.
    assert book.codes.flatten().tolist() == pytest.approx([1.0, 11.0], rel=1e-4)


def test_training_lowers_the_loss() -> None:
    """A few steps of a small auto-encoder learn its images; the gradient passes the codes."""
    torch.manual_seed(0)
    vae = build({**SMALL_VAE, "shape": [8, 8], "hidden": 16}).train()
    assert isinstance(vae, VqVae)
    x = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8) * torch.rand(32, 1, 1, 1)
    vae.variance.fill_(float(x.var()))
    vae.codebook.start(vae.encode(x).detach().movedim(1, 3).flatten(0, 2))
    optimiser = torch.optim.Adam(vae.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = vae.loss(x)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
    assert all(each.grad is not None for each in vae.encoder.parameters())


def fitted(columns: int, components: int) -> tuple[GaussianMixture, Fitted, np.ndarray[Any, Any]]:
    """Fit a mixture to columns of different scales that depend on each other."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (600, columns)) @ rng.normal(0, 1, (columns, columns))
    x = (x + 3 * rng.integers(0, 3, (600, 1))) * 10.0 ** np.arange(columns)
    mean, std = x.mean(0), x.std(0)
    oracle = Fitted(components, random_state=0).fit((x - mean) / std)
    module = build({"kind": "gaussian-mixture", "shape": [columns], "components": components})
    assert isinstance(module, GaussianMixture)
    arrays = {
        "mean": mean,
        "std": std,
        "weights": oracle.weights_,
        "means": oracle.means_,
        "precisions": oracle.precisions_cholesky_,
    }
    module.load_state_dict({name: torch.from_numpy(each) for name, each in arrays.items()})
    return module, oracle, x


@pytest.mark.parametrize(("columns", "components"), [(1, 1), (4, 3), (7, 5)])
def test_the_mixture_is_scikit_learns(columns: int, components: int) -> None:
    """Log-densities are those of the fitted mixture, per dimension."""
    module, oracle, x = fitted(columns, components)
    x = x.astype(np.float32)
    standard = (x.astype(np.float64) - module.mean.numpy()) / module.std.numpy()
    expected = oracle.score_samples(standard) / columns
    assert np.allclose(module.log_likelihood(torch.from_numpy(x)).numpy(), expected, rtol=1e-5)


def test_the_mixture_bears_huge_vectors() -> None:
    """Far from all components the density is tiny, its logarithm finite."""
    module, *_ = fitted(4, 3)
    module.std.mul_(1e-30)
    far = torch.full((3, 4), torch.finfo(torch.float32).max)
    found: Tensor = module.features(far)
    assert found.shape == (3, 1)
    assert found.dtype == torch.float32
    assert found.isfinite().all()


def test_tables_are_standardised() -> None:
    """A vector encoder sees columns in units of their deviation."""
    module = build({"kind": "mlp-encoder", "shape": [2], "dimensions": 3}).eval()
    x = torch.rand(4, 2)
    plainly = module(x)
    module.load_state_dict(
        {**module.state_dict(), "mean": torch.tensor([5.0, 0]), "std": torch.tensor([2.0, 100])}
    )
    assert torch.allclose(module(x * torch.tensor([2.0, 100]) + torch.tensor([5.0, 0])), plainly)


def test_widths_are_the_specs() -> None:
    """Another depth and other widths are built as told."""
    module = build({**SMALL_ENCODER, "shape": [16, 16], "channels": [2, 3, 5]})
    assert isinstance(module, ConvEncoder)
    assert ("linear", 5 * 2 * 2, 9) in layers(module)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "kind"),
        ({"kind": "transformer", "shape": [8, 8]}, "kind"),
        ({"kind": "conv-encoder"}, "shape"),
        ({"kind": "conv-encoder", "shape": [7, 8]}, "sides of 8 to 64"),
        ({"kind": "conv-encoder", "shape": [65, 8]}, "sides of 8 to 64"),
        ({"kind": "conv-encoder", "shape": [64]}, "takes images"),
        ({"kind": "vq-vae", "shape": [1, 2, 8, 8]}, "takes images"),
        ({"kind": "conv-encoder", "shape": [8, 8], "channels": []}, "channels"),
        ({"kind": "conv-encoder", "shape": [8, 8], "hidden": 10**9}, "hidden"),
        ({"kind": "conv-encoder", "shape": [8, 8], "feature": "log_likelihood"}, "feature"),
        ({"kind": "conv-encoder", "shape": [8, 8], "depth": 3}, "depth"),
        ({"kind": "conv-encoder", "shape": [8, 8], "low": 1.0, "high": 1.0}, "give the range"),
        ({"kind": "mlp-encoder", "shape": [8, 8]}, "shape"),
        ({"kind": "mlp-encoder", "shape": [5000]}, "4096"),
        ({"kind": "gaussian-mixture", "shape": [], "components": 2}, "shape"),
        ({"kind": "gaussian-mixture", "shape": [3], "components": 0}, "components"),
        ({"kind": "mlp-encoder", "shape": [3], "high": 1e300}, "give the range"),
        ({"kind": "mlp-encoder", "shape": [3], "low": [0.0, 0.0]}, "give the range"),
        ({"kind": "mlp-encoder", "shape": [2], "high": [1.0, 0.0]}, "give the range"),
        ({"kind": "conv-encoder", "shape": [8, 8], "low": [0.0, 0.0]}, "give the range"),
        ({"kind": "mlp-encoder", "shape": [object()]}, "not the spec"),
    ],
)
def test_specs_that_mean_nothing_are_refused(spec: dict[str, Any], message: str) -> None:
    """A faulty spec raises `ProfileError` that names the fault."""
    with pytest.raises(ProfileError, match=message):
        build(spec)
