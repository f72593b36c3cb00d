"""numpy's archives: one array of inputs and one of labels."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.tune.datasets.rows import Part
from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.tensor import DTYPES

INPUTS: Final = ("x", "images", "x_train", "inputs")
"""What the inputs may be called, the first of these that is there."""
LABELS: Final = ("y", "labels", "y_train")
"""What the labels may be called, the first of these that is there."""


def npz_parts(path: Path) -> Iterator[Part]:
    """Read an archive; `TraceError` names the file and the arrays that were expected."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            inputs, labels = (_one_of(path, archive, names) for names in (INPUTS, LABELS))
    except (OSError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # What numpy says is left out: it advises to unpickle, which runs whatever the file says.
        raise TraceError(
            f"{path}: not a readable npz archive of plain arrays; write one with "
            "numpy.savez(path, x=images, y=labels)"
        ) from error
    labels = labels.reshape(len(labels), -1)[:, 0] if labels.size == len(labels) else labels
    if labels.dtype.kind not in "iu" or labels.shape != inputs.shape[:1]:
        raise TraceError(
            f"{path}: expected {len(inputs)} whole numbers as labels, one per input, not "
            f"{labels.dtype.name} of shape {labels.shape}"
        )
    yield Part(str(path), inputs, labels.astype(np.int64))


def _one_of(path: Path, archive: Any, names: Sequence[str]) -> NDArray[Any]:
    name = next((each for each in names if each in archive), None)
    if name is None:
        raise TraceError(f"{path}: holds none of {', '.join(names)}")
    values: NDArray[Any] = archive[name]
    if values.ndim == 0 or values.dtype.name not in DTYPES:
        raise TraceError(f"{path}: {name} is no array of numbers, one row per input")
    return values.astype(values.dtype.newbyteorder("="), copy=False)
