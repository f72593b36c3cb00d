"""IDX files, the format of MNIST: images, and their labels in the file beside them."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.tune.datasets.rows import Part
from gamekeeper.schemas.errors import TraceError

_NAME: Final = re.compile(r"images[-.]idx\d-ubyte(\.gz)?$")
# The third byte of an IDX file says what its values are; all are big-endian.
_TYPES: Final[dict[int, np.dtype[Any]]] = {
    8: np.dtype("u1"),
    9: np.dtype("i1"),
    11: np.dtype(">i2"),
    12: np.dtype(">i4"),
    13: np.dtype(">f4"),
    14: np.dtype(">f8"),
}


def is_idx(path: Path) -> bool:
    """Tell by its name whether a file holds images as IDX (`train-images-idx3-ubyte.gz`)."""
    return bool(_NAME.search(path.name))


def idx_files(folder: Path) -> list[Path]:
    """List a folder's image files: those for training where the names tell, else all."""
    found = sorted(path for path in folder.iterdir() if is_idx(path))
    return [path for path in found if path.name.startswith("train")] or found


def idx_parts(path: Path) -> Iterator[Part]:
    """Read an image file and its labels; `TraceError` names the file and what was expected."""
    labels_at = _labels_beside(path)
    images, labels = _read(path), _read(labels_at)
    if images.ndim < 2 or labels.shape != images.shape[:1]:
        raise TraceError(
            f"{labels_at}: expected {len(images)} labels, one per image of {path.name}, "
            f"not an array of shape {labels.shape}"
        )
    yield Part(str(path), images, labels.astype(np.int64))


def _labels_beside(path: Path) -> Path:
    stem = path.name.removesuffix(".gz")
    stem = re.sub(r"images([-.])idx\d", r"labels\1idx1", stem)
    for name in (stem, f"{stem}.gz"):
        if path.with_name(name).is_file():
            return path.with_name(name)
    raise TraceError(f"{path}: the labels are missing; expected {stem}[.gz] beside it")


def _read(path: Path) -> NDArray[Any]:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise TraceError(f"{path}: cannot be read: {error}") from error
    return _array(data, path)


def _array(data: bytes, path: Path) -> NDArray[Any]:
    dtype = _TYPES.get(data[2]) if len(data) >= 4 and data[:2] == b"\0\0" else None
    axes = data[3] if dtype else 0
    start = 4 + 4 * axes
    if dtype is None or not axes or len(data) < start:
        raise TraceError(f"{path}: not an IDX file: expected two zero bytes, a type and a rank")
    shape = struct.unpack_from(f">{axes}I", data, 4)
    if len(data) - start != math.prod(shape) * dtype.itemsize:
        raise TraceError(f"{path}: cut short or too long: expected {shape} values of {dtype.name}")
    values: NDArray[Any] = np.frombuffer(data, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))
