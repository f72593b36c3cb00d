"""Tensors of several events as one array, where their rows are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.schemas.tensor import Tensor

Kind = tuple[object, ...]


def kind(tensor: Tensor | None) -> Kind | None:
    """Name dtype and shape of a tensor's rows: tensors of one kind can be stacked."""
    return None if tensor is None else (tensor.dtype, *tensor.shape[1:])


def stack(tensors: Sequence[Tensor]) -> NDArray[Any]:
    """Stack tensors of one kind into `(n, *shape)`; a single one is a view."""
    return join([tensor.array() for tensor in tensors])


def stack_all(tensors: Sequence[Tensor | None]) -> NDArray[Any] | None:
    """Stack tensors that all events of a run have, or that none of them has."""
    present = [tensor for tensor in tensors if tensor is not None]
    return stack(present) if present else None


def join(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate arrays; a single one as it is."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
