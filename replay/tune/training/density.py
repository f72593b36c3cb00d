"""The density of usual queries: a VQ-VAE for images, a Gaussian mixture for vectors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from gamekeeper.detectors.networks import GaussianMixture, VqVae, build
from gamekeeper.replay.tune.training.data import Prepared

CHUNK: Final = 256
COMPONENTS: Final = (1, 2, 4, 8, 16)
"""Numbers of Gaussians that are tried; the Bayesian information criterion chooses."""
_RIDGE = 1e-3  # added to the variances, in units of the columns' own: whole numbers have none
_COVARIANCE_ROWS = 2  # rows per component and column, below which a covariance is mostly noise


class Density:
    """Training of a VQ-VAE, with the loss and the optimiser of van den Oord et al.

    The learning rate is theirs, times 5: early stopping here ends after thousands of steps, not
    their 250,000.
    """

    name = "density"
    rate = 1e-3
    batch = 64

    def __init__(self, module: VqVae, data: Prepared) -> None:
        self._data = data
        self.rows = len(data.train)
        self.module = module
        self.optimiser: torch.optim.Optimizer = torch.optim.Adam(module.parameters())

    @torch.no_grad()
    def begin(self) -> None:
        """Measure the variance, and begin with codes where the encodings are."""
        self.module.variance.copy_(self._data.train.var(correction=0))
        drawn = torch.randperm(self.rows)[:CHUNK]
        encoded = self.module.encode(self._data.train[drawn])
        self.module.codebook.start(encoded.movedim(1, 3).flatten(0, 2))

    def loss(self, rows: Tensor) -> Tensor:
        """Give the loss of training rows."""
        return self.module.loss(self._data.train[rows])

    def held_out(self) -> float:
        """Give the mean squared reconstruction error over the variance, of the rows held out."""
        return -log_likelihoods(self.module, self._data.held_out).mean().item()


@torch.no_grad()
def log_likelihoods(module: VqVae | GaussianMixture, rows: Tensor) -> Tensor:
    """Give the log-likelihoods of prepared rows, `(n,)`."""
    return torch.cat([module.log_likelihood(chunk) for chunk in torch.split(rows, CHUNK)])


def fit_mixture(
    data: Prepared, spec: Mapping[str, Any], seed: int
) -> tuple[GaussianMixture, dict[str, Any]]:
    """Fit mixtures of several sizes to the standardised training vectors; keep the best by BIC.

    Returns the module and its spec, which has the number of components.
    """
    mean, std = (each.double().cpu() for each in (data.mean, data.std))
    rows = ((data.train.double().cpu() - mean) / std).numpy()
    fitted = min(_mixtures(rows, seed), key=lambda mixture: float(mixture.bic(rows)))
    spec = {**spec, "components": len(fitted.weights_)}
    module = build(spec)
    assert isinstance(module, GaussianMixture)
    values = {"weights": "weights_", "means": "means_", "precisions": "precisions_cholesky_"}
    module.load_state_dict(
        {"mean": mean, "std": std}
        | {name: torch.from_numpy(getattr(fitted, theirs)) for name, theirs in values.items()}
    )
    return module.eval().to(data.train.device), spec


def _mixtures(rows: Any, seed: int) -> Iterator[Any]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture as Fit

    most = max(1, len(rows) // (_COVARIANCE_ROWS * rows.shape[1]))
    for components in COMPONENTS:
        if components <= most:
            with warnings.catch_warnings():
                # A fit that has not converged is a worse one, which is for BIC to find.
                warnings.simplefilter("ignore", ConvergenceWarning)
                fit = Fit(components, reg_covar=_RIDGE, random_state=seed % 2**32)
                yield fit.fit(rows)
