"""Encoded images to arrays, and folders of images whose sub-folders are the classes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gamekeeper.replay.tune.datasets.rows import Part
from gamekeeper.schemas.errors import TraceError

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".bmp", ".webp"})
"""The files that are taken for images."""
_FORMATS: Final = ("PNG", "JPEG", "PPM", "BMP", "WEBP")
_GREY: Final = frozenset({"1", "L", "LA"})
_DEEP: Final = ("I", "F")  # Pillow would cut them to 8 bits without a word


def decode_image(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode a file's bytes: `(h, w)` where the image is grey, else `(h, w, 3)`, 0 to 255.

    Transparency is left out. Raises `TraceError`, led by `where`, on what is no such image.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.mode.startswith(_DEEP):
                raise TraceError(f"{where}: an image of mode {image.mode}; store it with 8 bits")
            return np.asarray(image.convert("L" if image.mode in _GREY else "RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        expected = ", ".join(_FORMATS)
        raise TraceError(f"{where}: no image ({expected} expected): {error}") from error


def is_image_folder(folder: Path) -> bool:
    """Tell whether a folder has sub-folders with images in them."""
    return any(path.suffix.lower() in SUFFIXES for path in folder.glob("*/*"))


def image_folder(folder: Path) -> Iterator[Part]:
    """Read a folder of images, one by one; the sub-folder's name is the class.

    Names that are all whole numbers are taken as these numbers.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    classes = [path for path in classes if _images(path)]
    numbered = all(path.name.isdecimal() for path in classes)
    for each in classes:
        for path in _images(each):
            yield _part(path, each.name, numbered)


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _part(path: Path, name: str, numbered: bool) -> Part:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
    inputs: NDArray[Any] = decode_image(data, str(path))[np.newaxis]
    return Part(str(path), inputs, np.array([int(name)], np.int64) if numbered else [name])
