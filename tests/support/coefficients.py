"""The process's cache of Shapiro-Wilk coefficients, emptied by whoever measures it."""

from __future__ import annotations

from gamekeeper.detectors.normality import shapiro


def forget_coefficients() -> None:
    """Forget all coefficients, as a new process begins."""
    shapiro._cache.clear()
    shapiro._blocks.clear()
    shapiro._cached_bytes = 0
